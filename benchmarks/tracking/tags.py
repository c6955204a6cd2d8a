"""The tags by which runs are found again in MLflow, and what a server may refuse."""

from __future__ import annotations

import re

EXPERIMENT = "uadbench"

KIND, CELL, RECIPE, DATA, SPLITS = (f"uadbench.{word}" for word in ("kind", "cell", "recipe", "data", "splits"))
#: `COMPLETE` is written last: the hash of all that a run was told.
COMPLETE, CHECKPOINT, RESULT = (f"uadbench.{word}" for word in ("complete", "checkpoint", "result"))
#: A fold's parent: for MLflow, and by its name for charts that take folds together.
PARENT_ID, PARENT = "mlflow.parentRunId", "parent"
NOTE = "mlflow.note.content"
#: Which process tells of a cell that runs; why a cell failed.
TELLER, PROBLEM = "uadbench.teller", "problem"
#: How the metrics and parameters of a parent are called, and of what its table and plots were made.
NAMES, SHOWN_OF = "uadbench.names", "uadbench.shown"
NAMES_VERSION = "3"
#: By these a run was told of the weights and the model.
MODEL = "uadbench.model"
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

#: Limits that every MLflow server accepts, old ones too.
PARAM_LENGTH, TAG_LENGTH, PARAMS_PER_BATCH, METRICS_PER_BATCH = 500, 5000, 100, 500
FORBIDDEN = re.compile(r"[^/\w.\- ]")
