"""uadbench: the benchmark of unsupervised anomaly detection in brain MRI.

    import uadbench

    cells = uadbench.run("maediff", folds="all")     # trains and scores; a DataFrame, one row per cell
    results = uadbench.load_results("results")       # everything that was run: tables, volumes, cells
    found = uadbench.predict("scan.nii.gz", run="maediff")

These names are the whole public interface, and the command `bench` is built of the same functions. A name is imported
when it is first used, so that `import uadbench` costs nothing: no PyTorch, no pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import DataError, UserError

if TYPE_CHECKING:
    from .benchmarks.api import Prediction, predict, run, score
    from .benchmarks.contract.checks import check_detector
    from .benchmarks.plan.request import Where
    from .benchmarks.reports.results import CellView, Results, load_results, read_cell
    from .benchmarks.travel.door import export_cells, import_cells
    from .methods import Detector, register

    __version__: str

__all__ = [
    "CellView",
    "DataError",
    "Detector",
    "Prediction",
    "Results",
    "UserError",
    "Where",
    "__version__",
    "check_detector",
    "export_cells",
    "import_cells",
    "load_results",
    "predict",
    "read_cell",
    "register",
    "run",
    "score",
]

#: Where each name is imported from when it is first used.
_HOMES = {
    "CellView": "benchmarks.reports.results",
    "Detector": "methods",
    "Prediction": "benchmarks.api",
    "Results": "benchmarks.reports.results",
    "Where": "benchmarks.plan.request",
    "check_detector": "benchmarks.contract.checks",
    "export_cells": "benchmarks.travel.door",
    "import_cells": "benchmarks.travel.door",
    "load_results": "benchmarks.reports.results",
    "predict": "benchmarks.api",
    "read_cell": "benchmarks.reports.results",
    "register": "methods",
    "run": "benchmarks.api",
    "score": "benchmarks.api",
}


def __getattr__(name: str) -> object:
    """Import a public name; Python calls this for names that the module does not hold."""
    if name == "__version__":
        from importlib.metadata import version

        return version("uadbench")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """The public names, for completion in a notebook."""
    return sorted(__all__)
