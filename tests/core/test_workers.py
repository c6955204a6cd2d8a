"""How many threads a worker of images takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from uadbench.workers import one_blas_thread

PROGRAM = """
import os

import numpy as np
from threadpoolctl import threadpool_info
from uadbench.workers import be_a_good_child, in_workers


def threads(number):
    np.ones((8, 8)) @ np.ones((8, 8))
    blas = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
    return number, blas, os.environ["OMP_NUM_THREADS"]


if __name__ == "__main__":
    print(sorted(in_workers(threads, range(3), 2, be_a_good_child)))
"""


def test_a_worker_of_images_takes_one_thread(tmp_path: Path) -> None:
    """Two workers of two threads each on two cores only wait for each other."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    said = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[(0, {1}, '1'), (1, {1}, '1'), (2, {1}, '1')]"


def test_one_thread_for_a_while() -> None:
    with threadpool_limits(2, user_api="blas"):
        assert blas_threads() == {2}
        with one_blas_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {2}


def blas_threads() -> set[int]:
    np.ones((8, 8)) @ np.ones((8, 8))
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
