"""What `bench prepare` noted of each scan: the rows that lie beside the scans of a data directory, and what they tell.

A row is `prepared/<set>/<scan>.json`: sources and results by sha256, the recipe, seconds, quality of the registration.
Rows are written by `downloads`; here they are read, by whoever wants to know how scans got where they lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_json
from .cohort import Provenance
from .modality import Modality
from .outliers import OUTLIER, modified_z
from .scans.atlases import MODALITIES, KnownAtlas
from .scans.registration import doubt_about

#: Folder of the rows below a data directory, and the file of a set among them.
ROWS, SET_FILE = "prepared", "set.json"
#: The steps of a recipe that a new scan must have in common, and what a row of an older version does not tell.
REGISTER, BIAS = "register", "N4 in the brain mask"
ATLAS_FILE, ATLAS_MODALITY = TOLD_LATER = "atlas_file", "atlas_modality"
_SMALLEST_SPREAD = 0.005  # of either figure: what alike scans differ by


def prepared_rows(out: Path, name: str) -> dict[str, dict[str, Any]]:
    """All finished rows of the set of a name in a data directory by scan, in order; none where nothing was prepared."""
    paths = sorted((out / ROWS / name).glob("*.json"))
    found = {path.stem: read_json(path) for path in paths if path.name != SET_FILE}
    return {scan: row for scan, row in found.items() if row is not None and "results" in row}


def provenance_of(out: Path, name: str, modality: Modality, images: Mapping[str, str]) -> Provenance | None:
    """How scans of a set were prepared; None where that is not known of every one, or not the same for all.

    Args:
        out: the data directory.
        name: of the set.
        modality: of the images.
        images: by scan, the sha256 of its image; a row speaks only of the file that it was written with.
    """
    rows = prepared_rows(out, name)
    ways = {
        row_provenance(rows[scan]) if scan in rows and _result_sha256(rows[scan], modality) == digest else None
        for scan, digest in images.items()
    }
    ways = _told(ways)
    return ways.pop() if len(ways) == 1 else None


def _told(ways: set[Provenance | None]) -> set[Provenance | None]:
    """Ways without those that differ from another only in not saying the atlas's modality: older rows do not."""
    return ways - {replace(way, atlas_modality=None) for way in ways if way is not None and way.atlas_modality}


def atlases_in(out: Path) -> tuple[KnownAtlas, ...]:
    """The atlases to which the scans of a data directory were brought; one, unless somebody mixed them."""
    rows = [read_json(path) for path in (out / ROWS).glob("*/*.json") if path.name != SET_FILE]
    ways = _told({row_provenance(row) for row in rows if row is not None})
    found = {(way.atlas, way.atlas_sha256 or "", way.atlas_modality or "") for way in ways if way is not None}
    return tuple(KnownAtlas(f"the scans in {out}", name, sha, kind or None) for name, sha, kind in sorted(found))


def row_provenance(row: Mapping[str, Any]) -> Provenance | None:
    """How the scan of a row was prepared; None of a row that another version wrote."""
    try:
        steps = {step["step"]: step for step in row["recipe"]["steps"]}
        register, bias = steps[REGISTER], steps[BIAS]
        name, modality = str(register["atlas"]), register.get(ATLAS_MODALITY)
        modality = MODALITIES.get(name) if modality is None else str(modality)
        return Provenance(name, str(register["atlas_sha256"]), len(bias["iterations"]), modality)
    except (KeyError, TypeError):
        return None


def _result_sha256(row: Mapping[str, Any], modality: Modality) -> Any:
    return row["results"].get(modality, {}).get("sha256")


def find_outliers(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The scans whose registration is not to be believed or stands out from the set's for the worse, with a sentence.

    Args:
        rows: by scan, rows with "registration": {"mutual_information", "mask_dice"}.
    """
    reasons: dict[str, list[str]] = {scan: [] for scan in rows}
    for figure, title in (("mutual_information", "mutual information"), ("mask_dice", "Dice of the brain masks")):
        values = {scan: float(row["registration"][figure]) for scan, row in rows.items()}
        for scan, score in modified_z(values, _SMALLEST_SPREAD).items():
            if score < -OUTLIER:
                reasons[scan].append(f"{title} {values[scan]:.3f}, median {np.median(list(values.values())):.3f}")
    for scan, row in rows.items():
        doubt = doubt_of(row)
        reasons[scan] += [doubt] if doubt else []
    return {scan: "; ".join(said) for scan, said in reasons.items() if said}


def doubt_of(row: Mapping[str, Any]) -> str:
    """Why the registration of a row is not to be believed, see `doubt_about`; empty if it is."""
    quality = row["registration"]
    to_scan = np.asarray(quality.get("atlas_to_scan_mm", np.eye(4)), dtype=np.float64)
    brain_ml = float(row.get("brain_ml", "nan")) * abs(float(np.linalg.det(to_scan[:3, :3])))
    return doubt_about(float(quality["mask_dice"]), brain_ml)
