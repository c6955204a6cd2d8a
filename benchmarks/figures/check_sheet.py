"""The contact sheet of `bench check`: of each scan three slices with the outlines of mask and lesions, and findings.

A number says that something is unlike the rest; whether that is a patient, a wrong mask or an upside-down head, an eye
tells in a second. So scans with a finding are drawn, up to a bound, and some without for comparison; errors are red.
The slices go through the middle of the brain, or where most of the lesion is. Arrays are drawn as they lie: the
subject's left is at the left, and the front of the head is up in axial slices and at the right in sagittal ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...datasets.base import Labels
from ...datasets.check.check import Report
from ...datasets.check.facts import ScanFacts
from ...datasets.check.rules import Severity
from ...datasets.layout import MASK, SEGMENTATION
from ...datasets.modality import Modality
from ...datasets.scans.intensities import without_background
from ...datasets.scans.nifti import read_volume
from ...datasets.scans.preparation import bounding_box, crop_or_pad
from ...datasets.scans.scan_header import USUAL, ReadLimits
from ...datasets.store.store import Progress
from ...errors import DataError
from .drawing import FOUND, TRUE, axes_grid, grey, outline, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPREAD, _MOST = 6, 24  # scans of a set: evenly spread, and in all
_A_ROW = 3  # scans
_SHRINK = 0.97  # of a scan's slices, to leave a gap
_SLICES = 3  # axial, coronal, sagittal
_SIDE, _LARGEST_SIDE = 200, 400  # mm that a slice shows, more where the image is larger, and pixels at most
_BRAIN, _REMARK = "#ffd60a", "#b25e00"
_ERROR = "ERROR "
_WIDTH, _LINES = 66, 3  # letters and lines of the findings below a scan

Volume = NDArray[np.float32]
_ScalarT = TypeVar("_ScalarT", np.float32, np.bool_)
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Picture:
    """What is drawn of a scan: three slices, each with the masks that fit, at 1 mm."""

    images: tuple[Volume, ...]
    brains: tuple[Mask, ...]
    lesions: tuple[Mask, ...]


def draw_sheet(report: Report, path: Path, progress: Progress | None = None, reading: ReadLimits = USUAL) -> None:
    """Draw the contact sheet of a checked directory.

    Args:
        report: what was found.
        path: the PNG to write.
        progress: called with (scans drawn, scans in all).
        reading: what is not read.

    Raises:
        UserError: matplotlib is not installed, no scan can be drawn, or the file cannot be written.
    """
    told = _told(report)
    chosen = {key: _chosen(report, key, told) for key in report.sets}
    rows = [(key, part) for key, scans in chosen.items() for part in _parts(scans)]
    names = [f"{report.sets[key].title}\n{len(chosen[key])} of {len(report.sets[key].scans)}" for key, _ in rows]
    lines = max((len(_red(told.get((key, one.scan), ()))) for key, scans in rows for one in scans), default=0)
    figure, grid = axes_grid(names, _A_ROW * _SLICES, right=0.15, gap=0.2 + 0.11 * lines)
    _set_apart(grid)
    total = sum(len(scans) for _, scans in rows)
    done = 0
    for line, (key, scans) in zip(grid, rows, strict=True):
        for axes in line[len(scans) * _SLICES :]:
            axes.set_visible(False)
        for place, facts in enumerate(scans):
            paths = {kind: files[facts.scan] for kind, files in report.sets[key].files.items() if facts.scan in files}
            picture = _picture(paths, facts.modality, report.sets[key].data_set.labels.prepared, reading)
            _draw(line[place * _SLICES : (place + 1) * _SLICES], facts, picture, told.get((key, facts.scan), ()))
            done += 1
            (progress or _silent)(done, total)
    figure.suptitle(f"{report.directory}   outlines: brain mask yellow, lesions green", fontsize=10, y=0.995, va="top")
    save(figure, path)


def _set_apart(grid: Sequence[Sequence[Axes]]) -> None:
    """Leave a gap between scans that is wider than that between the slices of one."""
    for line in grid:
        for number, axes in enumerate(line):
            place = axes.get_position()
            first = line[number - number % _SLICES].get_position().x0 if number % _SLICES else place.x0
            axes.set_position((first + (place.x0 - first) * _SHRINK, place.y0, place.width * _SHRINK, place.height))


def _silent(_done: int, _total: int) -> None:
    """Tell nobody."""


# -------------------------------------------------------------------------------------------------------------- choice


def _told(report: Report) -> dict[tuple[str, str], tuple[str, ...]]:
    """By scan, what was found, errors first."""
    told: dict[tuple[str, str], tuple[str, ...]] = {}
    for finding in report.findings:
        mark = _ERROR if finding.severity is Severity.ERROR else ""
        for defect in finding.defects:
            if defect.scan and defect.key is not None:
                key = (defect.key, defect.scan)
                words = f"{mark}{finding.kind}: {defect.value}" if defect.value else f"{mark}{finding.kind}"
                told[key] = (*told.get(key, ()), words)
    return told


def _chosen(report: Report, key: str, told: Mapping[tuple[str, str], tuple[str, ...]]) -> list[ScanFacts]:
    """The scans of a set to draw, in order of name: some evenly spread, then those with findings, worst first."""
    own = [facts for facts in report.facts if facts.key == key]
    even = [own[round(place)] for place in np.linspace(0, len(own) - 1, min(_SPREAD, len(own))).tolist()]
    by_name = {facts.scan: facts for facts in own}
    worst = [by_name[scan] for known, scan in told if known == key and scan in by_name]
    chosen = list({facts.scan: facts for facts in (*even, *worst)}.values())[:_MOST]
    return sorted(chosen, key=lambda facts: facts.scan)


def _parts(scans: Sequence[ScanFacts]) -> list[Sequence[ScanFacts]]:
    return [scans[start : start + _A_ROW] for start in range(0, len(scans), _A_ROW)]


# ------------------------------------------------------------------------------------------------------------- drawing


def _draw(axes: Sequence[Axes], facts: ScanFacts, picture: _Picture | None, findings: Sequence[str]) -> None:
    brain = "" if facts.brain is None else f"  brain {facts.brain.ml:.0f} ml"
    lesion = "" if facts.lesions is None else f", lesions {facts.lesions.ml:.1f} ml"
    axes[0].set_title(f"{facts.scan}{brain}{lesion}", fontsize=7, loc="left", pad=2)
    colour = FOUND if any(finding.startswith(_ERROR) for finding in findings) else _REMARK
    text = "\n".join(_red(findings))
    axes[0].text(0, -0.03, text, color=colour, fontsize=6.5, va="top", transform=axes[0].transAxes, clip_on=False)
    if picture is None:
        axes[0].text(0.05, 0.5, "cannot be drawn", color=FOUND, fontsize=7, transform=axes[0].transAxes)
        return
    for one, image, mask, seg in zip(axes, picture.images, picture.brains, picture.lesions, strict=True):
        grey(one, image)
        outline(one, mask, _BRAIN)
        outline(one, seg, TRUE)


def _red(findings: Sequence[str]) -> list[str]:
    """The lines below a scan, as many as there is room for."""
    lines = [line for finding in findings for line in wrap(finding, _WIDTH)]
    return lines if len(lines) <= _LINES else [*lines[: _LINES - 1], f"… ({len(findings)} findings)"]


def _picture(paths: Mapping[str, Path], modality: Modality, labels: Labels, reading: ReadLimits) -> _Picture | None:
    """The slices of a scan; None if its image cannot be read. Masks that do not fit are left out."""
    try:
        image, grid = read_volume(paths[modality], reading)
    except DataError:
        return None
    brain = _mask(paths.get(MASK), image.shape, reading)
    lesions = _mask(paths.get(SEGMENTATION), image.shape, reading, labels.ignored)
    image = without_background(image, brain)
    inside = image[brain] if brain.any() else image[image != image.min()]
    low, high = np.percentile(inside, [0.5, 99.5]) if inside.size else (0, 1)
    image = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
    # A header may claim voxels of a metre; it must not make a picture of a kilometre.
    extent = float((grid.spacing[::-1] * image.shape).max())
    sizes = grid.spacing[::-1] * min(1.0, _LARGEST_SIDE / extent)
    places, side = _places(brain, lesions), max(_SIDE, round(min(extent, _LARGEST_SIDE)))
    return _Picture(
        _slices(image.astype(np.float32), places, sizes, side),
        _slices(brain, places, sizes, side),
        _slices(lesions, places, sizes, side),
    )


def _mask(path: Path | None, shape: tuple[int, ...], reading: ReadLimits, ignored: Sequence[int] = ()) -> Mask:
    """A mask without what is ignored; nothing of one that is not there, cannot be read or has another shape."""
    nothing = np.zeros(shape, dtype=np.bool_)
    if path is None:
        return nothing
    try:
        values, _ = read_volume(path, reading)
    except DataError:
        return nothing
    if values.shape != shape:
        return nothing
    return (values >= np.float32(0.5)) & ~np.isin(np.rint(values), ignored)


def _places(brain: Mask, lesions: Mask) -> tuple[int, ...]:
    """Along each axis the slice with the most lesion, or the middle of the brain, or of the image."""
    if lesions.any():
        return tuple(int(np.argmax(lesions.sum(axis=tuple({0, 1, 2} - {axis})))) for axis in range(3))
    if brain.any():
        return tuple((part.start + part.stop) // 2 for part in bounding_box(brain))
    return tuple(size // 2 for size in brain.shape)


def _slices(
    volume: NDArray[_ScalarT], places: Sequence[int], sizes: NDArray[np.float64], side: int
) -> tuple[NDArray[_ScalarT], ...]:
    """Axial, coronal and sagittal slice, each drawn at 1 mm on a square."""
    cut = []
    for axis, place in enumerate(places):
        plane: NDArray[_ScalarT] = np.moveaxis(volume, axis, 0)[place]
        rows, columns = (
            _sampled(count, size) for count, size in zip(plane.shape, np.delete(sizes, axis).tolist(), strict=True)
        )
        cut.append(crop_or_pad(plane[np.ix_(rows, columns)], (side, side)))
    return tuple(cut)


def _sampled(count: int, size: float) -> NDArray[np.int64]:
    """The voxel that is drawn at each millimetre of an axis."""
    millimetres = np.arange(max(1, round(count * size)))
    return np.minimum((millimetres / size).astype(np.int64), count - 1)
