"""What one scan of a data directory is, in a few numbers: read once, judged elsewhere (see `check_rules`).

A scan's facts are some kilobytes, so that those of all scans fit into memory and can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...files import sha256_of_bytes
from ..base import Labels
from ..layout import MASK, SEGMENTATION
from ..modality import Modality
from ..scans.intensities import common_value, faces_of, without_signal
from ..scans.nifti import as_lesions, as_mask, read_header, read_volume
from ..scans.pose import mask_shape
from ..scans.preparation import PreparationSettings, bounding_box, crop_or_pad, downsample_mask
from ..scans.scan_file import sha256_of
from ..scans.scan_header import USUAL, ReadLimits
from ..scans.space import Grid
from .same_person import BrainPrint, brain_print

_FEW_VALUES = 8  # as a mask has; without its place such a value says nothing
_SAME_GREY = 0.01  # of the grey values' range in the brain: ringing of an interpolation stays below it

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ScanFiles:
    """A scan to be examined.

    Attributes:
        key: the key of its set.
        modality: the contrast of its image, which is the image's kind of file.
        scan: its name.
        paths: by kind ("t2", "mask", "seg"), the files that are there.
        written: by kind, the sha256 that `bench prepare` noted; empty where it noted none.
        labels: what the values of its segmentation mean.
    """

    key: str
    modality: Modality
    scan: str
    paths: Mapping[str, Path]
    written: Mapping[str, str]
    labels: Labels = field(default_factory=Labels)


@dataclass(frozen=True)
class FileFacts:
    """A file that can be read.

    Attributes:
        shape: voxels (z, y, x), axes turned as near to RAS as they go.
        spacing: voxel sizes (x, y, z), mm.
        axes: its axes as stored, e.g. "LAS".
        is_placed: whether the header says so; if not, they are assumed.
        by_qform: whether its sform is singular, so that its qform is read.
        is_sheared: whether they do not stand at right angles.
        tilt: the largest angle between an axis and its axis of the world, degrees.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    axes: str
    is_placed: bool
    by_qform: bool
    is_sheared: bool
    tilt: float


@dataclass(frozen=True)
class VoxelFacts:
    """The voxels of an image, wherever they are.

    Attributes:
        digest: hash of the values in their places, without an empty margin.
        loose_digest: hash of the values in any order, so that mirroring or turning does not change it.
        distinct: number of distinct values; the background's counts as one.
    """

    digest: str
    loose_digest: str
    distinct: int


@dataclass(frozen=True)
class BrainFacts:
    """A brain mask that is not empty.

    Attributes:
        ml: its volume.
        box_share: how much of the image it fills.
        low: its lowest corner (x, y, z) in the world, mm.
        high: its highest corner.
        shape: see `pose.mask_shape`.
    """

    ml: float
    box_share: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    shape: bytes

    @property
    def centre(self) -> NDArray[np.float64]:
        """Centre of its box (x, y, z), mm."""
        return np.asarray((np.asarray(self.low) + np.asarray(self.high)) / 2)

    @property
    def extent(self) -> NDArray[np.float64]:
        """Edges of its box (x, y, z), mm."""
        return np.asarray(np.asarray(self.high) - np.asarray(self.low))


@dataclass(frozen=True)
class IntensityFacts:
    """The grey values inside the brain mask, and what lies outside.

    Attributes:
        low: 1st percentile, of voxels that do not hold the background, as the others.
        middle: median.
        high: 99th percentile.
        not_finite: voxels of the brain that are not a number or infinite.
        background_share: share of the mask that has the very value of the background.
        outside_share: voxels outside that are no background, as a share of the brain.
    """

    low: float
    middle: float
    high: float
    not_finite: int
    background_share: float
    outside_share: float

    @property
    def scaled_middle(self) -> float | None:
        """The median once the percentiles are 0 and 1, as the run has it; None of a constant image."""
        if not self.high > self.low:
            return None
        return (self.middle - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class LesionFacts:
    """A segmentation.

    Attributes:
        ml: its volume.
        kept_ml: what is left of it in the volumes that methods are scored on.
        outside_share: share of its voxels that lie outside the brain mask.
    """

    ml: float
    kept_ml: float
    outside_share: float


@dataclass(frozen=True)
class ScanFacts:
    """A scan. What could not be found out, for want of a file or of its fit to the others, is None or absent.

    Attributes:
        key: the key of its set.
        modality: the contrast of its image, which is the image's kind of file.
        scan: its name.
        files: by kind, the files that can be read.
        unreadable: a sentence for each that cannot.
        misfits: a sentence for each mask or segmentation that does not fit the image.
        largest_label: of each mask and segmentation that holds fractions, its largest value.
        changed: kinds of file that are not what was written.
        voxels: the image's voxels.
        brain: the mask.
        intensities: the image inside the mask.
        lesions: the segmentation.
        empty: kinds of mask that mark nothing.
        structure: what tells the brain from others; None where it cannot be had.
    """

    key: str
    modality: Modality
    scan: str
    files: Mapping[str, FileFacts]
    unreadable: tuple[str, ...]
    misfits: tuple[str, ...]
    largest_label: Mapping[str, float]
    changed: tuple[str, ...]
    voxels: VoxelFacts | None
    brain: BrainFacts | None
    intensities: IntensityFacts | None
    lesions: LesionFacts | None
    empty: tuple[str, ...]
    structure: BrainPrint | None = None


def examine_scan(files: ScanFiles, settings: PreparationSettings, reading: ReadLimits = USUAL) -> ScanFacts:
    """Read a scan and find out what there is to know; a file that cannot be read is a fact, too.

    Args:
        files: the scan.
        settings: the preparation at load, which decides what of a lesion is in the field of view.
        reading: what is refused unread.
    """
    volumes, unreadable = _read(files.paths, reading)
    masks, misfits = _fit(volumes, files)
    brain, lesions = masks.get(MASK), masks.get(SEGMENTATION)
    image, grid = volumes.get(files.modality, (None, None))
    return ScanFacts(
        key=files.key,
        modality=files.modality,
        scan=files.scan,
        files={kind: _file_facts(files.paths[kind], grid, reading) for kind, (_, grid) in volumes.items()},
        unreadable=unreadable,
        misfits=misfits,
        largest_label=_fractions(volumes, files.modality),
        changed=_changed(files),
        voxels=None if image is None else _voxel_facts(image),
        brain=None if brain is None or grid is None or not brain.any() else _brain_facts(brain, grid),
        intensities=None if image is None or brain is None else _intensity_facts(image, brain),
        lesions=None if lesions is None or grid is None else _lesion_facts(lesions, brain, grid, settings),
        empty=tuple(kind for kind, mask in masks.items() if not mask.any()),
        structure=None if image is None or brain is None or grid is None else brain_print(image, brain, grid),
    )


# --------------------------------------------------------------------------------------------------------------- files


def _read(paths: Mapping[str, Path], reading: ReadLimits) -> tuple[dict[str, tuple[Array, Grid]], tuple[str, ...]]:
    volumes, unreadable = {}, []
    for kind, path in paths.items():
        try:
            volumes[kind] = read_volume(path, reading)
        except (DataError, MemoryError) as error:
            unreadable.append(str(error) or f"{path} does not fit into memory")
    return volumes, tuple(unreadable)


def _fit(volumes: Mapping[str, tuple[Array, Grid]], files: ScanFiles) -> tuple[dict[str, Mask], tuple[str, ...]]:
    """The masks as a run reads them, of a segmentation the lesions, and a sentence for each that it would refuse."""
    masks: dict[str, Mask] = {}
    misfits: list[str] = []
    if files.modality not in volumes:
        return masks, ()
    _, image_grid = volumes[files.modality]
    image_name = files.paths[files.modality].name
    for kind, (values, grid) in volumes.items():
        if kind == files.modality:
            continue
        name = files.paths[kind].name
        try:
            if kind == SEGMENTATION:
                labels = files.labels
                both = as_lesions(
                    (values, grid), name, image_name, image_grid, lesion=labels.lesion, ignored=labels.ignored
                )
                masks[kind] = both[0]
            else:
                masks[kind] = as_mask(values, grid, name, image_name, image_grid)
        except DataError as error:
            misfits.append(str(error))
    return masks, tuple(misfits)


def _file_facts(path: Path, grid: Grid, reading: ReadLimits) -> FileFacts:
    header = read_header(path, reading)
    linear = grid.affine[:3, :3] / grid.spacing
    tilt = float(np.degrees(np.arccos(np.clip(np.abs(linear).max(axis=0), 0, 1)).max()))
    return FileFacts(
        shape=tuple(grid.shape),
        spacing=tuple(grid.spacing.tolist()),
        axes=header.axes,
        is_placed=header.assumed is None,
        by_qform=header.by_qform,
        is_sheared=grid.is_sheared,
        tilt=tilt,
    )


def _changed(files: ScanFiles) -> tuple[str, ...]:
    changed = []
    for kind, digest in files.written.items():
        try:
            same = sha256_of(files.paths[kind]) == digest
        except (DataError, OSError):
            continue  # that it cannot be read is said already
        changed += [] if same else [kind]
    return tuple(changed)


# -------------------------------------------------------------------------------------------------------------- voxels


def _voxel_facts(image: Array) -> VoxelFacts:
    background = common_value(faces_of(image))
    held = np.isfinite(image) & (image != np.float32(0 if background is None else background))
    values = np.sort(image[held])
    distinct = int(np.count_nonzero(np.diff(values))) + bool(values.size) + bool(values.size < image.size)
    core = np.where(held, image, np.float32(0))[bounding_box(held)] if values.size else image
    digest = sha256_of_bytes(repr(core.shape).encode() + np.ascontiguousarray(core).tobytes())
    loose = digest if distinct <= _FEW_VALUES else sha256_of_bytes(values.tobytes())
    return VoxelFacts(digest, loose, distinct)


def _fractions(volumes: Mapping[str, tuple[Array, Grid]], image: Modality) -> dict[str, float]:
    """The largest value of each mask or segmentation that holds fractions, as a linear warp leaves them."""
    found = {}
    for kind, (values, _) in volumes.items():
        finite = values[np.isfinite(values)]
        if kind != image and np.any(finite != np.rint(finite)):
            found[kind] = float(finite.max())
    return found


def _brain_facts(brain: Mask, grid: Grid) -> BrainFacts:
    box = bounding_box(brain)
    corners = np.array([[part.start - 0.5 for part in box], [part.stop - 0.5 for part in box]])
    world = grid.world(corners)
    count = int(np.count_nonzero(brain))
    return BrainFacts(
        ml=count * grid.voxel_ml,
        box_share=count / brain.size,
        low=tuple(world.min(axis=0).tolist()),
        high=tuple(world.max(axis=0).tolist()),
        shape=mask_shape(brain, grid),
    )


def _intensity_facts(image: Array, brain: Mask) -> IntensityFacts | None:
    """The grey values of the brain; None where the mask is empty or no voxel of it holds a number."""
    inside, outside = image[brain], image[~brain]
    finite = inside[np.isfinite(inside)]
    if not finite.size:
        return None
    common = common_value(outside)
    empty = without_signal(finite, common)
    signal = finite[~empty] if not empty.all() else finite
    outside = outside[np.isfinite(outside)]
    low, middle, high = (float(value) for value in np.percentile(signal, [1, 50, 99]))
    background = common if common is not None else float(np.median(outside)) if outside.size else 0.0
    near = np.abs(outside - np.float32(background)) <= _SAME_GREY * (
        high - low
    )  # of a background that is no number, none
    return IntensityFacts(
        low=low,
        middle=middle,
        high=high,
        not_finite=int(inside.size - finite.size),
        background_share=float(np.mean(empty)),
        outside_share=float(np.count_nonzero(~near)) / inside.size,
    )


def _lesion_facts(lesions: Mask, brain: Mask | None, grid: Grid, settings: PreparationSettings) -> LesionFacts:
    count = int(np.count_nonzero(lesions))
    ml = count * grid.voxel_ml
    if brain is None or not brain.any() or not count:
        return LesionFacts(ml, ml, 0.0)
    kept = downsample_mask(crop_or_pad(lesions[bounding_box(brain)], settings.fine_shape), settings.factor)
    kept_ml = int(np.count_nonzero(kept)) * settings.factor**3 * grid.voxel_ml
    return LesionFacts(ml, kept_ml, int(np.count_nonzero(lesions & ~brain)) / count)
