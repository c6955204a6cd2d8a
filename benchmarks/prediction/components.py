"""What was found in a scan: the components of its anomaly map, in the scan's own world, as a list, a line and a CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...datasets.scans.new_scan import ReadyScan
from ...datasets.scans.space import Grid
from ...metrics import find_components

NOTICE = "Research software and no medical device: not for diagnosis or treatment."
_COLUMNS = ("component", "volume_ml", "x_mm", "y_mm", "z_mm", "mean_score", "max_score")


@dataclass(frozen=True)
class FoundComponent:
    """A component in the scan's own world.

    Attributes:
        volume_ml: its volume, millilitres.
        centre_mm: mean position (x, y, z), RAS+ world millimetres.
        mean_score: mean anomaly score.
        max_score: highest anomaly score.
    """

    volume_ml: float
    centre_mm: tuple[float, float, float]
    mean_score: float
    max_score: float


def components_of(
    found: NDArray[np.bool_], score_map: NDArray[np.float32], grid: Grid, ready: ReadyScan
) -> tuple[FoundComponent, ...]:
    """The components of a binary map, taken to the scan's world."""
    components = []
    for one in find_components(found, score_map):
        atlas_mm = grid.world(np.array([one.centre]))[0]
        x, y, z = (float(value) for value in ready.to_scan[:3, :3] @ atlas_mm + ready.to_scan[:3, 3])
        volume = one.voxels * grid.voxel_ml * ready.volume_factor
        components.append(FoundComponent(volume, (x, y, z), one.mean_score, one.max_score))
    return tuple(components)


def summary_of(components: Sequence[FoundComponent]) -> str:
    """What was found, in a line."""
    if not components:
        return "nothing above the threshold"
    largest = components[0]
    place = ", ".join(f"{value:.0f}" for value in largest.centre_mm)
    total = sum(one.volume_ml for one in components)
    words = "1 component" if len(components) == 1 else f"{len(components)} components, {total:.1f} ml in all"
    return f"{words}; the largest {largest.volume_ml:.1f} ml at ({place}) mm"


def doubt_in_brackets(doubt: str) -> str:
    """Why a scan's place in the atlas is not to be believed, to be put behind a line; empty if it is."""
    return f" (registration doubtful: {doubt})" if doubt else ""


def components_csv(components: Sequence[FoundComponent], doubt: str) -> str:
    """The components as a table, under a line that says what this is not for."""
    text = io.StringIO(newline="")
    text.write(f"# uadbench. {NOTICE}{doubt_in_brackets(doubt)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for number, one in enumerate(components, start=1):
        place = [f"{value:.1f}" for value in one.centre_mm]
        scores = [f"{one.mean_score:.5g}", f"{one.max_score:.5g}"]
        writer.writerow([number, f"{one.volume_ml:.3f}", *place, *scores])
    return text.getvalue()
