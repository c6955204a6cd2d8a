"""What a metric is called in MLflow, so that its pages can be read.

    dice_brats21, auprc_brats21, l1_ixi   the columns of the paper, one name per data set, for the lists and charts
    train_loss, val_loss, learning_rate   the curves
    brats21/dice_exact, …                 every number of a data set, under its name
    training/…, cost/…, threshold/…       the rest, each kind under a prefix of its own
    spread/…                              of a parent: the standard deviation over folds of what has that name
    system/…                              of a run with `--system-metrics`: what the machine did

A parent's mean over folds has the name of the number of which it is the mean, so that parents and folds share charts.
Earlier versions wrote numbers without these prefixes; they are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping

from .tags import FORBIDDEN

#: The curves, here as in the record's history.
HISTORY = ("train_loss", "val_loss", "learning_rate")
SPREAD, SYSTEM = "spread/", "system/"
FOLDS_DONE = "training/folds_done"
#: Numbers of a record that belong to no data set, and what they are called in MLflow.
_OF_THE_CELL = {
    "val_loss": "training/best_val_loss",
    "parameters": "cost/parameters",
    "seconds_train": "cost/seconds_train",
    "seconds_score": "cost/seconds_score",
}
_BACK = {name: key for key, name in _OF_THE_CELL.items()} | {"best_val_loss": "val_loss"}
#: Columns of the paper: of a set without lesions, and of one with.
_HEALTHY, _LESIONS = ("l1",), ("dice", "auprc")
_COPIES = tuple(f"{metric}_" for metric in (*_HEALTHY, *_LESIONS))
#: What is no number of the record, though it stands among the metrics of a run.
_NO_NUMBERS = frozenset({*HISTORY, FOLDS_DONE, "folds_done", "training/learning_rate"})


def told(numbers: Mapping[str, float], cohorts: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    """The numbers of a cell, or their means, by the names that MLflow shows.

    Args:
        numbers: by the record's names, such as "brats21/dice".
        cohorts: role to (name, title) of each data set.
    """
    named = {FORBIDDEN.sub("_", _OF_THE_CELL.get(key, key)): value for key, value in numbers.items()}
    return {**headline(numbers, cohorts), **named}  # MLflow's pages begin with what was told first


def numbers_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """The numbers of a cell by the record's names, from the metrics of its MLflow run, of whatever version.

    Args:
        metrics: the newest value of each.
    """
    return {_BACK.get(key, key): value for key, value in metrics.items() if _is_number(key)}


def _is_number(key: str) -> bool:
    """Whether a metric is a number of the record and no copy of one, no curve and no spread."""
    is_copy = "/" not in key and key.startswith(_COPIES)
    return not is_copy and key not in _NO_NUMBERS and not key.startswith((SPREAD, SYSTEM))


def headline(numbers: Mapping[str, float], cohorts: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    """The columns of the paper without a prefix, in its order: tumours, other lesions, healthy.

    Args:
        numbers: by the record's names.
        cohorts: role to (name, title) of each data set.
    """
    found = {}
    for role, (name, _) in sorted(cohorts.items(), key=lambda pair: (pair[0] == "healthy", pair[0] != "tumours")):
        for metric in _HEALTHY if role == "healthy" else _LESIONS:
            if f"{name}/{metric}" in numbers:
                found[_headline_name(metric, name)] = numbers[f"{name}/{metric}"]
    return found


def _headline_name(metric: str, cohort: str) -> str:
    return FORBIDDEN.sub("_", f"{metric}_{cohort}".replace("/", "_"))
