"""Progress: whoever moves a bar on learns that somebody has stopped the run, even where a library swallowed it."""

from __future__ import annotations

import io
import os
import signal
import time
from contextlib import suppress

import pytest
from rich.console import Console

from uadbench.benchmarks.engine.progress import Reporter, RichReporter, SilentReporter
from uadbench.stopping import Stop, signals_stop


@pytest.mark.parametrize("reporter", [SilentReporter(), RichReporter(Console(file=io.StringIO()))])
def test_a_swallowed_stop_is_raised_by_the_next_step_of_a_bar(reporter: Reporter) -> None:
    with pytest.raises(Stop), signals_stop(), reporter.bar("scans", 2) as bar:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        bar.advance()
        pytest.fail("the run went on")


def test_a_bar_of_a_run_that_nobody_stopped_moves_on() -> None:
    with signals_stop(), SilentReporter().bar("scans", 1) as bar:
        bar.advance()
