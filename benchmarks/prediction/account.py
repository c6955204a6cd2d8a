"""NAME.json: what was done to a scan, with what; and what was asked for, by which it is known again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...datasets.scans.new_scan import ReadyScan
from ...datasets.scans.preparation import PREPARATION_VERSION
from ...datasets.scans.scan_file import sha256_of
from ...datasets.scans.scan_preparation import SCAN_PREPARATION_VERSION
from ...files import read_json
from ..engine.environment import describe_environment
from ..records.record import RunRecord
from .components import NOTICE
from .inputs import NewScan
from .predictor import AtlasMaps, Predictor


def account_of(predictor: Predictor, scan: NewScan, ready: ReadyScan, made: AtlasMaps) -> dict[str, Any]:
    """What was done, for NAME.json."""
    run = predictor.run
    quality = ready.registration
    return {
        "notice": NOTICE,
        "doubt": ready.doubt,
        "scan": scan.source,
        "mask": scan.mask_source,
        "run": {
            "title": run.title,
            "method": run.config.method,
            "row": run.config.row,
            "trained_on": run.config.data_title,
            "modality": run.modality.value,
            "trained_on_phantom": run.is_phantom,
            "folds": [_fold(record) for record in run.records],
        },
        "threshold": {"of": predictor.threshold_name, "value": predictor.threshold},
        "slices": {"looked_at": run.slab.depth, "of": run.preparation.shape[0], "mm_each": run.preparation.factor},
        "steps": list(ready.steps),
        "brain_ml": round(ready.brain_ml, 1),
        "registration": None
        if quality is None
        else {"mutual_information": quality.mutual_information, "mask_dice": quality.mask_dice},
        "atlas_to_scan_mm": [[float(value) for value in line] for line in ready.to_scan],
        "components": [asdict(one) for one in made.components],
        "made_with": describe_environment(predictor.device),
    }


def _fold(record: RunRecord) -> dict[str, Any]:
    return {"fold": record.config.fold, "cell": record.folder.name}


def request_of(predictor: Predictor, scan: NewScan) -> dict[str, Any]:
    """All that determines a scan's results; they are made again if any of it changed."""
    recipe = predictor.recipe
    return {
        "scan_sha256": scan.fingerprint,
        "mask_sha256": None if scan.mask is None else sha256_of(scan.mask),
        "cells": [record.folder.name for record in predictor.run.records],
        "threshold": predictor.threshold,
        "atlas": recipe.atlas.name,
        "atlas_sha256": recipe.atlas.sha256,
        "skull_strip": predictor.stripping,
        "n4": [recipe.settings.bias.shrink, *recipe.settings.bias.iterations],
        "versions": [SCAN_PREPARATION_VERSION, PREPARATION_VERSION],
    }


def is_current(proof: Path, request: dict[str, Any]) -> bool:
    """Whether a NAME.json answers this very request and its files are there."""
    known = read_json(proof) or {}
    files = known.get("files")
    if known.get("request") != request or not isinstance(files, list):
        return False
    return all((proof.parent / str(name)).exists() for name in files)


def is_of_another_scan(proof: Path, request: dict[str, Any]) -> bool:
    """Whether a NAME.json tells of a scan of other content."""
    known = (read_json(proof) or {}).get("request")
    return isinstance(known, dict) and known.get("scan_sha256") != request["scan_sha256"]
