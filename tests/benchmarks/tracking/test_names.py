"""The names of metrics in MLflow, and back."""

from __future__ import annotations

import math

from uadbench.benchmarks.tracking.names import numbers_of, told

COHORTS = {"healthy": ("ixi", "IXI"), "tumours": ("brats21", "BraTS21"), "mine": ("my_set", "Mine")}
NUMBERS = {
    "parameters": 3.0,
    "seconds_train": 4.0,
    "seconds_score": 5.0,
    "val_loss": 0.1,
    "ixi/l1": 0.2,
    "ixi/l1_untrained": 0.9,
    "brats21/dice": 0.3,
    "brats21/auprc": math.nan,
    "brats21/dice_exact": 0.5,
    "my_set/dice": 0.6,
}


def test_the_columns_of_the_paper_stand_first_and_everything_else_below_a_prefix() -> None:
    names = told(NUMBERS, COHORTS)
    assert {name for name in names if "/" not in name} == {
        "l1_ixi",
        "dice_brats21",
        "auprc_brats21",
        "dice_my_set",
    }
    assert names["dice_brats21"] == names["brats21/dice"] == 0.3
    assert names["training/best_val_loss"] == 0.1
    assert names["cost/parameters"] == 3.0


def test_there_and_back_nothing_is_lost_nor_added() -> None:
    metrics = {
        **told(NUMBERS, COHORTS),
        "train_loss": 1.0,
        "val_loss": 2.0,
        "learning_rate": 3.0,
        "training/folds_done": 5.0,
        "spread/brats21/dice": 0.1,
        "system/cpu_utilization_percentage": 99.0,
    }
    assert {key: repr(value) for key, value in numbers_of(metrics).items()} == {
        key: repr(value) for key, value in NUMBERS.items()
    }


def test_names_of_earlier_versions_are_read() -> None:
    old = {key: value for key, value in NUMBERS.items() if key != "val_loss"}
    metrics = {**old, "best_val_loss": 0.1, "val_loss": 0.7, "train_loss": 1.0, "learning_rate": 1e-3}
    assert {key: repr(value) for key, value in numbers_of(metrics).items()} == {
        key: repr(value) for key, value in NUMBERS.items()
    }
