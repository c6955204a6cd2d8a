"""What a predicted scan leaves: maps in its own space, the table of what was found, the picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...datasets.scans.native import write_native
from ...datasets.scans.new_scan import ReadyScan
from ...datasets.scans.preparation import bounding_box
from ...datasets.scans.space import Grid, isotropic_grid, resample
from ...files import write_text
from ..figures.overlay import Place, View, overlay_figure
from .components import NOTICE, FoundComponent, components_csv, summary_of
from .predictor import AtlasMaps, Predictor

_HEADER_NOTICE = "uadbench: research software, no medical device"
_HEADER_DOUBT = "; REGISTRATION DOUBTFUL"  # the field takes 79 bytes
_VIEW_MARGIN = 12  # voxels of 1 mm around the brain


def write_outputs(predictor: Predictor, name: str, ready: ReadyScan, made: AtlasMaps) -> list[str]:
    """Write everything but the account; the names of the files."""
    maps: dict[str, Any] = {
        "input": made.original,
        "reconstruction": made.reconstruction,
        "score": made.score_map,
        "lesions": made.found,
    }
    if made.spread is not None:
        maps["spread"] = made.spread
    files = []
    for kind, array in maps.items():
        path = predictor.out / f"{name}_{kind}.nii.gz"
        native = ready.native.take(array, made.grid, ready.from_scan)
        write_native(path, native, ready.native, _HEADER_NOTICE + (_HEADER_DOUBT if ready.doubt else ""))
        files.append(path.name)
    table = predictor.out / f"{name}_components.csv"
    write_text(table, components_csv(made.components, ready.doubt))
    picture = predictor.out / f"{name}_overlay.png"
    overlay_figure(_view(predictor, ready, made), picture, _title(predictor, name, ready, made), NOTICE)
    return [*files, table.name, picture.name]


def _title(predictor: Predictor, name: str, ready: ReadyScan, made: AtlasMaps) -> str:
    folds = len(predictor.run.records)
    lines = [f"{name}: {summary_of(made.components)}"]
    lines += [f"registration doubtful: {ready.doubt}"] if ready.doubt else []
    return "\n".join([*lines, f"{predictor.run.title}, {folds} fold{'s' if folds > 1 else ''}"])


def _view(predictor: Predictor, ready: ReadyScan, made: AtlasMaps) -> View:
    """The prediction at 1 mm along the axes of the scan's world, around the brain."""
    whole = isotropic_grid(ready.image_grid)
    brain = resample(ready.volume.brain_mask, ready.grid, whole, ready.from_scan)
    box = tuple(
        slice(max(0, part.start - _VIEW_MARGIN), min(size, part.stop + _VIEW_MARGIN))
        for part, size in zip(bounding_box(brain), whole.shape, strict=True)
    )
    grid = whole.cropped(box)
    scan = resample(ready.image, ready.image_grid, grid)
    low, high = np.percentile(scan[brain[box]], [1, 99.5])
    places = tuple(
        Place(_place_title(number, one), _voxel_of(one.centre_mm, grid))
        for number, one in enumerate(made.components, start=1)
    )
    return View(
        scan=np.clip((scan - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32),
        reconstruction=resample(made.reconstruction, made.grid, grid, ready.from_scan),
        score_map=resample(made.score_map, made.grid, grid, ready.from_scan),
        found=resample(made.found, made.grid, grid, ready.from_scan),
        threshold=predictor.threshold,
        places=places,
    )


def _place_title(number: int, one: FoundComponent) -> str:
    place = ", ".join(f"{value:.0f}" for value in one.centre_mm)
    return f"{number}: {one.volume_ml:.1f} ml\n({place}) mm\nscore {one.mean_score:.3g}"


def _voxel_of(world: tuple[float, float, float], grid: Grid) -> tuple[int, int, int]:
    """The nearest voxel (z, y, x) of a world point, inside the grid."""
    x, y, z = np.linalg.solve(grid.affine[:3, :3], np.array(world) - grid.affine[:3, 3])
    k, j, i = (int(np.clip(round(value), 0, size - 1)) for value, size in zip((z, y, x), grid.shape, strict=True))
    return k, j, i
