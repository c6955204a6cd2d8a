"""The tags by which runs are found again in MLflow, and what a server may refuse."""

from __future__ import annotations

import re

KIND, CELL, RECIPE, DATA, SPLITS = (f"uadbench.{word}" for word in ("kind", "cell", "recipe", "data", "splits"))
#: `COMPLETE` is written last: the hash of all that a run was told.
COMPLETE, CHECKPOINT, RESULT = (f"uadbench.{word}" for word in ("complete", "checkpoint", "result"))
PARENT_ID = "mlflow.parentRunId"
#: Who computed a cell elsewhere, and the SHA-256 of the archive in which it came. A server that several laboratories
#: tell of the same cell is told once, so these are no part of what makes two reports equal.
ORIGIN, ARCHIVE = "origin", "origin.archive"

#: What a parent's tags say of all its folds, beside those by which it is found.
OF_A_FAMILY = (
    "method",
    "row",
    "title",
    "data",
    "data_title",
    "modality",
    "splits",
    "preset",
    "changed",
    "seed",
    "phantom",
)

#: What is told once per epoch, by the names that MLflow shows.
HISTORY = ("train_loss", "val_loss", "learning_rate")

#: Limits that every MLflow server accepts, old ones too.
PARAM_LENGTH, TAG_LENGTH, PARAMS_PER_BATCH, METRICS_PER_BATCH = 500, 5000, 100, 500
FORBIDDEN = re.compile(r"[^/\w.\- ]")
