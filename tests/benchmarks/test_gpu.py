"""On a CUDA device: a cell trains and scores there, and its weights read a volume as the CPU does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from uadbench.benchmarks.engine import jobs_for, reader_of, run_job
from uadbench.benchmarks.preset import Preset
from uadbench.benchmarks.progress import SilentReporter
from uadbench.benchmarks.suite import select_rows
from uadbench.datasets.cohort import Data, Role

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("row", ["ae", "anoddpm", "maediff"])
def test_a_cell_runs_on_the_gpu(row: str, tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> None:
    job = jobs_for(select_rows([row]), (0,), tiny_data, tiny_preset, 0)[0]
    record = run_job(job, tmp_path, "cuda", SilentReporter())
    assert record.done
    cohort = tiny_data.lesions[Role.TUMOURS]
    subject = tiny_data.splits.lesion[Role.TUMOURS].test[0]
    readings = [reader_of(job, record, device).read(cohort, subject) for device in ("cpu", "cuda")]
    np.testing.assert_allclose(readings[0].reconstruction, readings[1].reconstruction, atol=2e-2)
