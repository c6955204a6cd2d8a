"""What may be wrong with a scan, and how bad that is.

An error is what a run would refuse or what would make its numbers mean something else; a remark is what a reader should
know. The bounds are wide: they are meant for what no brain and no correct preparation gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from ...errors import shorten
from ..layout import MASK, SEGMENTATION
from ..scans.nifti import VOXEL_TOLERANCE
from ..scans.preparation import PreparationSettings
from .facts import BrainFacts, IntensityFacts, LesionFacts, ScanFacts, VoxelFacts


class Severity(StrEnum):
    """Whether a finding stands against a run."""

    ERROR = "error"
    REMARK = "remark"


class Kind(StrEnum):
    """What a finding is about."""

    UNREADABLE = "unreadable"
    INCOMPLETE = "incomplete"
    NO_IMAGE = "no image"
    DOUBLED = "two files"
    MISFIT = "misfit"
    SIZE = "size"
    VOXELS = "voxels"
    SHEARED = "sheared"
    TILTED = "tilted"
    AXES = "axes"
    UNPLACED = "no orientation"
    BY_QFORM = "read by qform"
    PLACE = "place"
    EXTENT = "extent"
    POSE = "turned"
    EMPTY_MASK = "empty mask"
    BRAIN_VOLUME = "brain volume"
    LEAKING_MASK = "leaking mask"
    CUT = "cut"
    MASK_FRACTIONS = "mask fractions"
    NOT_STRIPPED = "not stripped"
    RIM = "rim"
    NOT_FINITE = "not a number"
    CONSTANT = "constant"
    FEW_VALUES = "few values"
    UNLIKE = "unlike the others"
    SITES = "sites"
    NO_LESION = "no lesion"
    LESION_OUT_OF_VIEW = "lesion out of view"
    LESION_OUTSIDE = "lesion outside the brain"
    LABEL_FRACTIONS = "label fractions"
    DUPLICATE = "duplicate"
    TURNED_DUPLICATE = "mirrored duplicate"
    SAME_SOURCE = "same source"
    SAME_PERSON = "same person"
    NO_HEALTHY = "no healthy scans"
    ABSENT = "absent set"
    UNKNOWN = "unknown set"
    SPLIT = "split"
    LEAK = "leak"
    NOT_THERE = "listed, not there"
    CHANGED = "changed"
    LOST = "lost"
    NO_ROW = "no row"
    RECIPES = "recipes"
    REGISTRATION = "registration"
    NOT_PREPARED = "not prepared"


#: What a kind means for the scans that are named behind it, and what to do; the others bring whole sentences.
TEXTS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.UNREADABLE: "files that cannot be used",
        Kind.INCOMPLETE: "files are missing; add them or take the scans out",
        Kind.NO_IMAGE: "masks or segmentations without an image; add the image or remove them",
        Kind.DOUBLED: "two files of one kind",
        Kind.MISFIT: "masks or segmentations that do not fit their image",
        Kind.SIZE: "images of a size that no 1 mm brain scan has (z, y, x)",
        Kind.VOXELS: "voxels that are not 1 mm (x, y, z); resample these scans",
        Kind.SHEARED: "affines whose axes do not stand at right angles; resample these scans",
        Kind.TILTED: "axes tilted against the world, which a run does not undo; resample these scans",
        Kind.AXES: "axes stored otherwise than RAS; reading turns them",
        Kind.UNPLACED: "headers that do not say which way their axes point (sform and qform code 0); LAS is assumed, "
        "or what is named, so left may be right",
        Kind.BY_QFORM: "headers whose sform is singular; their qform is read",
        Kind.PLACE: "the brain lies elsewhere in the world than in the other scans; look at its registration",
        Kind.EXTENT: "the brain is larger or smaller than in the other scans; look at its registration",
        Kind.POSE: "by the shape of its mask the brain does not lie as the header says; look at these scans",
        Kind.EMPTY_MASK: "the brain mask marks nothing; repeat the skull stripping",
        Kind.BRAIN_VOLUME: "no brain has this volume; repeat the skull stripping",
        Kind.LEAKING_MASK: "the brain mask covers background; repeat the skull stripping",
        Kind.CUT: "the brain is larger than the field of view and is cut at load",
        Kind.MASK_FRACTIONS: "brain masks with fractions, as a linear warp leaves them; one half and more is brain",
        Kind.NOT_STRIPPED: "the image goes on outside the brain mask (share of the brain's volume); strip the skull",
        Kind.RIM: "the image goes on a little outside the brain mask (share of the brain's volume)",
        Kind.NOT_FINITE: "the image holds not-a-number or infinite voxels inside the brain",
        Kind.CONSTANT: "the image is constant inside the brain",
        Kind.FEW_VALUES: "the image holds few distinct values",
        Kind.UNLIKE: "grey values unlike the set's (median between the 1st and 99th percentile); look at its modality",
        Kind.NO_LESION: "the segmentation marks nothing; correct it or take the scan out",
        Kind.LESION_OUT_OF_VIEW: "no lesion lies within the field of view; a run does as score.lesion_free says",
        Kind.LESION_OUTSIDE: "lesion voxels outside the brain mask, which no method can find (share)",
        Kind.LABEL_FRACTIONS: "segmentations with fractions, as a linear warp leaves them (largest label)",
        Kind.DUPLICATE: "the same voxels under two names; keep one",
        Kind.TURNED_DUPLICATE: "the same voxels under two names, mirrored or turned; keep one",
        Kind.SAME_SOURCE: "prepared from the same source file; keep one",
        Kind.SAME_PERSON: "may show the same person by the folds of the brain (correlation, 1 at most); look at them, "
        "and if they do, keep one or let `person_of` say so",
        Kind.NOT_THERE: "scans that stand in the split but have no image; add them or take them out of the split files",
        Kind.CHANGED: "files changed since `bench prepare` wrote them; prepare them again, or remove their rows",
        Kind.LOST: "`bench prepare` wrote files that are gone; prepare these scans again, or remove their rows",
        Kind.NO_ROW: "scans among prepared ones that `bench prepare` did not write",
        Kind.REGISTRATION: "the registration failed or stands out for the worse; look at these scans and their masks",
        Kind.NOT_PREPARED: "scans of the download that could not be prepared",
    }
)


_TOLD_BY_SENTENCES = (Kind.UNREADABLE, Kind.DOUBLED, Kind.MISFIT)


@dataclass(frozen=True)
class Limits:
    """The bounds beyond which something is said.

    Attributes:
        brain_ml: the smallest and largest brain.
        side: the least and the most voxels along an axis.
        box_share: a mask that fills more of the image leaks.
        background_share: a mask that holds more of the background's very value leaks.
        rim_share: image outside the mask, as a share of the brain, that is worth a remark.
        skull_share: the same, that means a skull.
        lesion_outside: share of a lesion outside the brain that is worth a remark, and that is an error.
        distinct: fewer distinct values are worth a remark.
        tilt: degrees.
        field_mm: edge of the field of view at load, left to right and front to back.
        centre_mm: distance of a brain's centre from the others', along an axis.
        extent_mm: difference of a brain's edges from the others'.
        pose_margin: by how much the Dice of another way up must win.
        site_gap: difference of scaled medians between two sites.
    """

    brain_ml: tuple[float, float] = (500.0, 2500.0)
    side: tuple[int, int] = (64, 512)
    box_share: float = 0.85
    background_share: float = 0.1
    rim_share: float = 0.01
    skull_share: float = 0.1
    lesion_outside: tuple[float, float] = (0.01, 0.2)
    distinct: int = 64
    tilt: float = 1.0
    field_mm: float = PreparationSettings.side
    centre_mm: float = 15.0
    extent_mm: float = 25.0
    pose_margin: float = 0.03
    site_gap: float = 0.2


@dataclass(frozen=True)
class Defect:
    """One thing about one scan, or about a set or all of them.

    Attributes:
        kind: what it is about.
        severity: how bad.
        keys: of the sets concerned.
        scan: the scan's name; empty where it is about sets.
        value: what was measured; a whole sentence of the kinds that need one.
        own_key: of the set of the scan, where several are concerned.
    """

    kind: Kind
    severity: Severity
    keys: tuple[str, ...]
    scan: str
    value: str = ""
    own_key: str | None = None

    @property
    def key(self) -> str | None:
        """The key of the scan's set; None where it is about several sets or none."""
        return self.own_key or (self.keys[0] if len(self.keys) == 1 else None)

    @property
    def label(self) -> str:
        """The scan and its value, or the sentence."""
        if not self.scan or self.kind in _TOLD_BY_SENTENCES:
            return self.value
        return f"{self.scan} ({self.value})" if self.value else self.scan


@dataclass(frozen=True)
class CheckFinding:
    """The defects of one kind and severity in the same sets.

    Attributes:
        title: the sets' titles.
        defects: at least one.
    """

    title: str
    defects: tuple[Defect, ...]

    @property
    def kind(self) -> Kind:
        """What it is about."""
        return self.defects[0].kind

    @property
    def severity(self) -> Severity:
        """How bad."""
        return self.defects[0].severity

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the sets concerned."""
        return self.defects[0].keys

    def __str__(self) -> str:
        labels = shorten(tuple(defect.label for defect in self.defects))
        return ": ".join(word for word in (self.title, TEXTS.get(self.kind), labels) if word)


def scan_defects(facts: ScanFacts, limits: Limits) -> tuple[Defect, ...]:
    """What is wrong with a scan by itself."""
    rules = [*_file_rules(facts, limits), *_mask_rules(facts, limits)]
    if facts.brain is not None:
        rules += _brain_rules(facts.brain, limits)
    if facts.intensities is not None:
        rules += _intensity_rules(facts.intensities, limits)
    if facts.voxels is not None:
        rules += _voxel_rules(facts.voxels, limits)
    if facts.lesions is not None:
        rules += _lesion_rules(facts, facts.lesions, limits)
    return tuple(Defect(kind, severity, (facts.key,), facts.scan, value) for kind, severity, value in rules)


_Rule = tuple[Kind, Severity, str]
_ERROR, _REMARK = Severity.ERROR, Severity.REMARK


def _file_rules(facts: ScanFacts, limits: Limits) -> Iterator[_Rule]:
    for sentence in facts.unreadable:
        yield Kind.UNREADABLE, _ERROR, sentence
    for sentence in facts.misfits:
        yield Kind.MISFIT, _ERROR, sentence
    if facts.changed:
        yield Kind.CHANGED, _ERROR, ", ".join(facts.changed)
    axes = {one.axes for one in facts.files.values() if one.is_placed} - {"RAS"}
    if axes:
        yield Kind.AXES, _REMARK, ", ".join(sorted(axes))
    image = facts.files.get(facts.modality)
    if image is None:
        return
    if not image.is_placed:
        yield Kind.UNPLACED, _REMARK, "" if image.axes == "LAS" else image.axes
    if image.by_qform:
        yield Kind.BY_QFORM, _REMARK, ""
    if not all(limits.side[0] <= count <= limits.side[1] for count in image.shape):
        yield Kind.SIZE, _ERROR, " x ".join(map(str, image.shape))
    if any(abs(size - 1) > VOXEL_TOLERANCE for size in image.spacing):
        yield Kind.VOXELS, _ERROR, " x ".join(f"{size:.2f}" for size in image.spacing)
    if image.is_sheared:
        yield Kind.SHEARED, _ERROR, ""
    elif image.tilt > limits.tilt:
        yield Kind.TILTED, _REMARK, f"{image.tilt:.0f}°"


def _mask_rules(facts: ScanFacts, limits: Limits) -> Iterator[_Rule]:
    if MASK in facts.empty:
        yield Kind.EMPTY_MASK, _ERROR, ""
    if facts.brain is not None and facts.brain.box_share > limits.box_share:
        yield Kind.LEAKING_MASK, _ERROR, f"{facts.brain.box_share:.0%} of the image"
    elif facts.intensities is not None and facts.intensities.background_share > limits.background_share:
        yield Kind.LEAKING_MASK, _ERROR, f"{facts.intensities.background_share:.0%} of it is background"
    if MASK in facts.largest_label:
        yield Kind.MASK_FRACTIONS, _REMARK, ""
    if SEGMENTATION in facts.largest_label:
        # Of a binary label one half is the outline; a label of 4 outgrows it by what was interpolated from 4 to 0.5.
        largest = facts.largest_label[SEGMENTATION]
        yield Kind.LABEL_FRACTIONS, _ERROR if largest > 1.5 else _REMARK, f"{largest:g}"


def _brain_rules(brain: BrainFacts, limits: Limits) -> Iterator[_Rule]:
    if not limits.brain_ml[0] <= brain.ml <= limits.brain_ml[1]:
        yield Kind.BRAIN_VOLUME, _ERROR, f"{brain.ml:.0f} ml"
    if max(brain.extent[:2]) > limits.field_mm:
        yield Kind.CUT, _REMARK, f"{max(brain.extent[:2]):.0f} mm"


def _intensity_rules(grey: IntensityFacts, limits: Limits) -> Iterator[_Rule]:
    if grey.not_finite:
        yield Kind.NOT_FINITE, _ERROR, f"{grey.not_finite} voxels"
    if not grey.high > grey.low:
        yield Kind.CONSTANT, _ERROR, f"{grey.low:g}"
        return
    if grey.outside_share > limits.skull_share:
        yield Kind.NOT_STRIPPED, _ERROR, f"{grey.outside_share:.0%}"
    elif grey.outside_share > limits.rim_share:
        yield Kind.RIM, _REMARK, f"{grey.outside_share:.1%}"


def _voxel_rules(voxels: VoxelFacts, limits: Limits) -> Iterator[_Rule]:
    if 1 < voxels.distinct < limits.distinct:
        yield Kind.FEW_VALUES, _REMARK, str(voxels.distinct)


def _lesion_rules(facts: ScanFacts, lesions: LesionFacts, limits: Limits) -> Iterator[_Rule]:
    if SEGMENTATION in facts.empty:
        yield Kind.NO_LESION, _ERROR, ""
        return  # the rest would say the same again
    if not lesions.kept_ml:
        yield Kind.LESION_OUT_OF_VIEW, _REMARK, f"{lesions.ml:.2f} ml in all"
    remark, error = limits.lesion_outside
    if lesions.outside_share > remark:
        severity = _ERROR if lesions.outside_share > error else _REMARK
        yield Kind.LESION_OUTSIDE, severity, f"{lesions.outside_share:.0%}"


# ----------------------------------------------------------------------------------------------------------- findings


def group(defects: Iterable[Defect], titles: Mapping[str, str]) -> tuple[CheckFinding, ...]:
    """Defects of one kind, severity and set become one finding; errors come first, then the order of kinds.

    Args:
        defects: in any order.
        titles: of the sets by key, in the order that findings shall have.
    """
    grouped: dict[tuple[Severity, Kind, tuple[str, ...], str], list[Defect]] = {}
    for defect in defects:
        alone = "" if defect.kind in TEXTS else defect.value
        grouped.setdefault((defect.severity, defect.kind, defect.keys, alone), []).append(defect)
    kinds, keys = list(Kind), list(titles)

    def rank(key: tuple[Severity, Kind, tuple[str, ...], str]) -> tuple[bool, int, list[int]]:
        return key[0] is Severity.REMARK, kinds.index(key[1]), [keys.index(one) for one in key[2]]

    return tuple(
        CheckFinding(" and ".join(titles[one] for one in key[2]), tuple(grouped[key]))
        for key in sorted(grouped, key=rank)
    )


def median(values: Iterable[float]) -> float:
    """The median of some values."""
    return float(np.median(np.fromiter(values, dtype=np.float64)))
