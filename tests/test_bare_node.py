"""A bare GPU node has torch, numpy, scipy, scikit-learn, pandas, lightning, rich, typer and pydantic, and no more."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from cases import TESTS


def test_training_and_scoring_need_no_imaging_library(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import importlib.abc, sys
        import lightning, pandas, scipy, sklearn  # what they import by choice is their own affair
        absent = {{"mlflow", "nibabel", "SimpleITK", "nilearn", "opensimplex", "numba", "matplotlib", "pooch", "ray"}}

        class Bare(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in absent:
                    raise ModuleNotFoundError(f"No module named {{name!r}} (bare node)", name=name)

        sys.meta_path.insert(0, Bare())
        for name in [name for name in sys.modules if name.split(".")[0] in absent]:
            del sys.modules[name]
        import importlib.util
        true_find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *a: None if name.split(".")[0] in absent else true_find(name, *a)
        sys.path.insert(0, {str(TESTS)!r})
        from pathlib import Path
        from cases import TINY
        from conftest import make_tiny_data
        import runpy
        for name in ("conftest.py", "engine/test_gpu.py", "engine/test_out_of_memory.py"):  # what runs on a GPU node
            runpy.run_path(str(Path({str(TESTS)!r}) / "benchmarks" / name))
        from uadbench.benchmarks.engine.cell_run import run_job
        from uadbench.benchmarks.engine.job import jobs_for
        from uadbench.benchmarks.plan.preset import load_preset
        from uadbench.benchmarks.engine.progress import SilentReporter
        from uadbench.benchmarks.plan.suite import select_rows
        from uadbench.benchmarks.tracking.database import TrackingError, store_uri
        from uadbench.benchmarks.tracking.sync import sync_record
        folder = Path({str(tmp_path)!r})
        data = make_tiny_data(folder / "data")
        for job in jobs_for(select_rows(["thresh", "maediff"]), (0,), data, load_preset(str(TINY)), 0):
            record = run_job(job, folder / "runs", "cpu", SilentReporter())
            assert record.done
        try:
            sync_record(record, store_uri(folder), with_checkpoint=False)
        except TrackingError as error:
            print(error)
    """)
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "bench sync" in answer.stdout
