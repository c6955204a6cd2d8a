"""The recipe of a preparation: all that determines what is written beside the scan itself, as a row keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..rows import ATLAS_FILE, ATLAS_MODALITY, BIAS, REGISTER, TOLD_LATER
from ..scans.registration import Atlas
from ..scans.scan_preparation import SCAN_PREPARATION_VERSION, ScanSettings
from ..scans.skull_strip import SkullStripper


@dataclass(frozen=True)
class PreparationRecipe:
    """All that determines what is written, beside the scan.

    Attributes:
        atlas: the space.
        stripper: finds the brain.
        settings: the numbers.
    """

    atlas: Atlas
    stripper: SkullStripper
    settings: ScanSettings

    def content(self) -> dict[str, Any]:
        """Plain JSON: the steps in order, each with its parameters."""
        settings = self.settings
        bias = asdict(settings.bias)
        registration = asdict(settings.registration)
        return {
            "version": SCAN_PREPARATION_VERSION,
            "steps": [
                {"step": "resample", "to": "isotropic RAS", "voxel_mm": settings.voxel},
                {"step": "skull strip", "by": self.stripper.name},
                {
                    "step": REGISTER,
                    "transform": "affine",
                    "metric": "Mattes mutual information",
                    "atlas": self.atlas.name,
                    "atlas_sha256": self.atlas.sha256,
                    ATLAS_FILE: self.atlas.file,
                    ATLAS_MODALITY: self.atlas.modality,
                    **{
                        name: list(value) if isinstance(value, tuple) else value for name, value in registration.items()
                    },
                },
                {"step": "move", "image": "linear", "masks": "nearest neighbour", "transforms": "one, composed"},
                {"step": "crop", "to": "bounding box of the brain"},
                {"step": BIAS, "shrink": bias["shrink"], "iterations": list(bias["iterations"])},
            ],
        }


def is_same_recipe(found: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether a row was made so; one of an older version names neither file nor modality of its atlas."""
    try:
        older = [{key: value for key, value in step.items() if key not in TOLD_LATER} for step in wanted["steps"]]
        pairs = zip(found["steps"], wanted["steps"], older, strict=True)
        same = all(step in (now, before) for step, now, before in pairs)
        return same and {**found, "steps": None} == {**wanted, "steps": None}
    except (KeyError, TypeError, ValueError):
        return False
