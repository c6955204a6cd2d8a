"""Whoever stops reading ends nothing: commands go on to their end and say no odd word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from uadbench.unread import UNREAD, unsaid

#: A command that says more than a pipe holds, then does its work.
TALKER = """
import sys
from pathlib import Path
import typer
from uadbench.benchmarks.commands import app as cli
from uadbench.benchmarks.commands.sentences import Sentences
from uadbench.benchmarks.reports.console import make_console

talker = typer.Typer(cls=Sentences, pretty_exceptions_enable=False)

@talker.callback()
def options() -> None: ...

@talker.command()
def talk(where: Path, code: int = 0) -> None:
    for number in range(20_000):
        print(f"line {number}", flush=number % 100 == 0)
        print(f"progress {number}", file=sys.stderr)
    make_console(sys.stdout).print("a word by Rich")
    make_console().print("another one, on stderr")
    where.write_text("done")
    raise typer.Exit(code)

cli.app = talker
cli.main()
"""


def left_after_a_line(command: list[str], *, both: bool = False, cwd: Path | None = None) -> tuple[int, str, str]:
    """Exit code, first line and all of stderr of a command whose reader leaves after one line.

    Args:
        command: its words.
        both: whether stderr goes into the same pipe.
        cwd: where it is started.
    """
    errors = subprocess.STDOUT if both else subprocess.PIPE
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=errors, cwd=cwd, text=True, env={**os.environ, "COLUMNS": "80"}
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.stdout.close()
        said = "" if process.stderr is None else process.stderr.read()
        return process.wait(300), first, said


@pytest.mark.parametrize(("both", "unbuffered"), [(False, False), (True, False), (True, True)])
def test_the_work_is_done_whoever_listens(tmp_path: Path, *, both: bool, unbuffered: bool) -> None:
    script, done = tmp_path / "talker.py", tmp_path / "done"
    script.write_text(TALKER)
    options = ["-u"] if unbuffered else []
    code, first, said = left_after_a_line([sys.executable, *options, str(script), "talk", str(done)], both=both)
    assert code == UNREAD == 141
    assert first.split()[0] in ("line", "progress")
    assert done.read_text() == "done"
    assert "error" not in said and "Traceback" not in said and "Exception" not in said
    if not both:
        assert said.count("\n") == 20_001, "who listens on stderr hears all of it"


def test_a_full_disk_behind_the_output_is_a_sentence_after_the_work(tmp_path: Path) -> None:
    script, done = tmp_path / "talker.py", tmp_path / "done"
    script.write_text(TALKER)
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, str(script), "talk", str(done)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 2
    assert done.read_text() == "done"
    assert ended.stderr.splitlines()[-1].startswith("error: what this command says could not all be written to")
    assert "(No space left on device)" in ended.stderr and "Traceback" not in ended.stderr


def test_an_exit_code_that_says_more_is_kept(tmp_path: Path) -> None:
    script, done = tmp_path / "talker.py", tmp_path / "done"
    script.write_text(TALKER)
    assert left_after_a_line([sys.executable, str(script), "talk", str(done), "--code", "3"])[0] == 3


def test_a_list_ends_quietly() -> None:
    """`bench list metrics` waits for its reader to leave, since all of it fits into a pipe."""
    bench = Path(sys.executable).with_name("bench")
    with subprocess.Popen([bench, "list", "metrics"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == UNREAD


def test_streams_that_others_have_put_there_stay(capsys: pytest.CaptureFixture[str]) -> None:
    print("heard")
    assert unsaid() is None
    assert capsys.readouterr().out == "heard\n"
