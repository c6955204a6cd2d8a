"""What a record knows of each test volume beside the paper's numbers: lesions found, false positives, curves, healing.

    detection.json     thresholds, edges of the histograms, version of the rules; written before the first line
    detections.csv     a line per test volume and threshold: a lesion scan at its own set's, a healthy one at each set's
    lesions.csv        a line per lesion of a lesion scan
    histograms.csv     a line per test volume: how its scores are spread inside and outside lesions, and over slices

Score maps are not kept: whatever follows from the score of a voxel alone follows from the histograms without a network.
Records of before these files are whole without them; `bench score` adds them.
"""

from __future__ import annotations

import base64
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .fence import FencedFolder
from .record_files import Recorded, append_lines, read_as, read_lines, write_lines

DETECTION, DETECTIONS, LESIONS, HISTOGRAMS = "detection.json", "detections.csv", "lesions.csv", "histograms.csv"
#: Raised by a change of what the lines mean or of how they are measured; older lines are measured again.
DETECTION_VERSION = 1
#: All of them, and those that grow while test volumes are measured.
DETECTION_FILES = (DETECTION, DETECTIONS, LESIONS, HISTOGRAMS)
GROWING = (DETECTIONS, LESIONS, HISTOGRAMS)
#: Bins of the grid of a histogram; edges and slices that a record of whatever origin may have.
BINS = 4096
_MOST_EDGES = 1 << 16

LineT = TypeVar("LineT", "VolumeDetection", "LesionDetection")
_Score = Annotated[float, Field(allow_inf_nan=False)]


class SetThresholds(Recorded):
    """The thresholds that the volumes of a lesion set were measured at.

    Attributes:
        greedy: the run's, of the greedy search on validation volumes.
        exact: the optimum there.
        at_1: the score that 1 % of the brain voxels of healthy validation scans exceed; needs no lesion label.
        at_5: 5 % of them.
        at_10: 10 % of them.
    """

    greedy: _Score
    exact: _Score
    at_1: _Score
    at_5: _Score
    at_10: _Score


class DetectionConfig(Recorded):
    """How the lines were measured (`detection.json`).

    Attributes:
        version: of the rules, see `DETECTION_VERSION`.
        thresholds: by key of a lesion set.
        top: the highest score of the validation volumes; the histograms' grid ends there.
        bins: of the grid, evenly wide.
        voxel_mm: edge of a voxel.
    """

    version: int
    thresholds: Annotated[dict[str, SetThresholds], Field(max_length=1000)]
    top: Annotated[_Score, Field(ge=0)]
    bins: Annotated[int, Field(ge=1, le=_MOST_EDGES // 2)]
    voxel_mm: Annotated[_Score, Field(gt=0)]

    @property
    def edges(self) -> NDArray[np.float64]:
        """The edges of the histograms, ascending: the grid from 0 to `top`, and every threshold.

        Bin 0 counts scores <= edges[0], bin i scores in (edges[i - 1], edges[i]], the last one all above; so the voxels
        that a threshold marks (score > threshold) are counted exactly.
        """
        values = [value for one in self.thresholds.values() for value in one.model_dump().values()]
        every = np.concatenate([np.linspace(0.0, self.top, self.bins + 1), values])
        # As float32, which scores are: every edge then compares with a score as the threshold itself did.
        return np.unique(every.astype(np.float32)).astype(np.float64)


@dataclass(frozen=True)
class VolumeDetection:
    """What was found in a test volume at the greedy threshold of a lesion set, after post-processing.

    Numbers that need a lesion are None for a healthy volume and for one without a lesion in view.

    Attributes:
        cohort: name of the data set.
        role: the key of its set, "healthy", "tumours", "ms" or another.
        subject: id of the subject.
        at: the key of the lesion set whose thresholds were used.
        brain_ml: volume of the brain mask, without ignored voxels.
        found_ml: volume marked.
        hit_ml: of that, inside lesions.
        components: marked, by 26-neighbourhood.
        lesions: connected lesions, by 26-neighbourhood.
        hits: lesions matched one to one, by greatest overlap, at Dice >= 0.1.
        hits_iou: lesions matched one to one at IoU >= 0.5, the bar of panoptic quality.
        merged: unmatched lesions that a component matched to another one touches (many lesions to one component).
        split: unmatched components that touch a matched lesion (many components to one lesion).
        false_below_01: unmatched components below 0.1 ml that touch no lesion at all; likewise by size:
        false_01_1: 0.1 to 1 ml.
        false_1_10: 1 to 10 ml.
        false_above_10: 10 ml and above.
        hd95: 95th percentile of surface distances, mm; None too where nothing is found.
        surface_dice: share of both surfaces within 2 mm of the other; 0 where nothing is found.
        ceiling_dice: Dice at the best threshold of this very volume, before small components go: no result, a ceiling.
        dice_at_1: Dice at the threshold that 1 % of healthy validation brain voxels exceed, after post-processing.
        dice_at_5: 5 %.
        dice_at_10: 10 %.
        recall_at_1: share of lesion voxels marked there.
        recall_at_5: 5 %.
        recall_at_10: 10 %.
        l1_inside: mean |x - x_rec| inside lesions.
        l1_outside: the same in the brain outside lesions.
        ssim_inside: mean SSIM of scan and reconstruction inside lesions.
        ssim_outside: the same in the brain outside lesions.
        score_mean: mean score of the brain, for telling scans apart.
        score_top: mean of the highest hundredth of the brain's scores, likewise.
    """

    cohort: str
    role: str
    subject: str
    at: str
    brain_ml: float
    found_ml: float
    hit_ml: float | None
    components: int
    lesions: int | None
    hits: int | None
    hits_iou: int | None
    merged: int | None
    split: int | None
    false_below_01: int
    false_01_1: int
    false_1_10: int
    false_above_10: int
    hd95: float | None
    surface_dice: float | None
    ceiling_dice: float | None
    dice_at_1: float | None
    dice_at_5: float | None
    dice_at_10: float | None
    recall_at_1: float | None
    recall_at_5: float | None
    recall_at_10: float | None
    l1_inside: float | None
    l1_outside: float | None
    ssim_inside: float | None
    ssim_outside: float | None
    score_mean: float
    score_top: float


@dataclass(frozen=True)
class LesionDetection:
    """A lesion of a test volume, and whether it was found at the greedy threshold.

    Attributes:
        cohort: name of the data set.
        role: the key of its set.
        subject: id of the subject.
        lesion: its number within the volume, the largest first, from 1.
        ml: its volume.
        dice: with its match, one to one by greatest overlap; 0 where it has none.
        iou: likewise.
        touched: share of its voxels that are marked.
    """

    cohort: str
    role: str
    subject: str
    lesion: int
    ml: float
    dice: float
    iou: float
    touched: float


@dataclass(frozen=True)
class VolumeHistogram:
    """How the scores of a test volume are spread; arrays are packed into words, see `pack` and `unpack`.

    Attributes:
        cohort: name of the data set.
        role: the key of its set.
        subject: id of the subject.
        inside: voxels of lesions per bin of `DetectionConfig.edges`, int64 [edges + 1].
        outside: all other voxels that count, likewise.
        slice_scores: mean score of the brain of each slice, float32 [D]; NaN where a slice has none.
        slice_lesions: lesion voxels of each slice, int64 [D].
    """

    cohort: str
    role: str
    subject: str
    inside: str
    outside: str
    slice_scores: str
    slice_lesions: str


def pack(array: NDArray[np.generic]) -> str:
    """An array as a word without commas: dtype, compressed bytes in base 64."""
    content = zlib.compress(np.ascontiguousarray(array).tobytes(), 6)
    return f"{array.dtype.str}:{base64.b64encode(content).decode()}"


def unpack(word: str, most: int = _MOST_EDGES) -> NDArray[np.generic]:
    """The array that `pack` made a word of.

    Args:
        word: from a record, perhaps a stranger's.
        most: values that it may hold.

    Raises:
        ValueError: it is no such word, or holds more.
    """
    kind, colon, content = word.partition(":")
    if not colon or kind not in ("<i8", "<f4"):
        raise ValueError("is no packed array")
    dtype = np.dtype(kind)
    room = most * dtype.itemsize
    try:
        unzipped = zlib.decompressobj().decompress(base64.b64decode(content, validate=True), room + 1)
    except (ValueError, zlib.error) as error:
        raise ValueError("is no packed array") from error
    if len(unzipped) > room or len(unzipped) % dtype.itemsize:
        raise ValueError(f"is no packed array of at most {most} values")
    return np.frombuffer(unzipped, dtype)


@dataclass(frozen=True)
class Measured:
    """What a test volume adds to the files.

    Attributes:
        volumes: of `detections.csv`, one or, of a healthy volume, one per lesion set.
        lesions: of `lesions.csv`.
        histogram: of `histograms.csv`.
    """

    volumes: tuple[VolumeDetection, ...]
    lesions: tuple[LesionDetection, ...]
    histogram: VolumeHistogram

    @property
    def volume(self) -> tuple[str, str]:
        """Whose lines these are: cohort, subject."""
        return self.histogram.cohort, self.histogram.subject


@dataclass(frozen=True)
class DetectionFiles:
    """The files in a record's folder; whatever is read raises a `RecordError` where a file is damaged.

    Attributes:
        folder: the record's.
    """

    folder: FencedFolder

    @property
    def config(self) -> DetectionConfig | None:
        """How the lines were measured; None where there are none, or where older rules measured them."""
        found: DetectionConfig | None = read_as(self.folder.path / DETECTION, DetectionConfig)
        return None if found is None or found.version != DETECTION_VERSION else found

    def volumes(self) -> tuple[VolumeDetection, ...]:
        """The lines of `detections.csv` so far; one that a kill has cut does not count."""
        return read_lines(self.folder.path / DETECTIONS, VolumeDetection, appended=True)

    def lesions(self) -> tuple[LesionDetection, ...]:
        """The lines of `lesions.csv` so far."""
        return read_lines(self.folder.path / LESIONS, LesionDetection, appended=True)

    def histograms(self) -> tuple[VolumeHistogram, ...]:
        """The lines of `histograms.csv` so far."""
        return read_lines(self.folder.path / HISTOGRAMS, VolumeHistogram, appended=True)

    def measured(self) -> tuple[Measured, ...]:
        """What is there of each test volume, up to the first of which something is missing."""
        config = self.config
        if config is None:
            return ()
        volumes, lesions = deque(self.volumes()), deque(self.lesions())
        found = []
        for histogram in self.histograms():
            whose = (histogram.cohort, histogram.subject)
            own = _taken(volumes, whose, 1 if histogram.role in config.thresholds else len(config.thresholds))
            marked = _taken(lesions, whose, own[0].lesions or 0 if own else 0)
            if own is None or marked is None:
                break
            found.append(Measured(own, marked, histogram))
        return tuple(found)

    def begin(self, config: DetectionConfig) -> None:
        """Say how lines will be measured; those that were measured in another way are removed first."""
        if self.config != config:
            for name in DETECTION_FILES:
                self.folder.remove(name)
            self.folder.write_json(DETECTION, config.model_dump(mode="json"))

    def keep(self, measured: Sequence[Measured]) -> None:
        """Let the files hold these lines and no others."""
        write_lines(self.folder, DETECTIONS, [line for one in measured for line in one.volumes], VolumeDetection)
        write_lines(self.folder, LESIONS, [line for one in measured for line in one.lesions], LesionDetection)
        write_lines(self.folder, HISTOGRAMS, [one.histogram for one in measured], VolumeHistogram)

    def add(self, measured: Measured) -> None:
        """Add the lines of a volume, that of `histograms.csv` last; `measured` passes over what a kill leaves of it."""
        append_lines(self.folder, DETECTIONS, measured.volumes, VolumeDetection, durable=False)
        append_lines(self.folder, LESIONS, measured.lesions, LesionDetection, durable=False)
        append_lines(self.folder, HISTOGRAMS, [measured.histogram], VolumeHistogram, durable=False)

    def problem(self) -> str:
        """What the files of a stranger's record say in two ways, in words that follow its name; "" if nothing.

        Raises:
            RecordError: one is damaged.
        """
        config: DetectionConfig | None = read_as(self.folder.path / DETECTION, DetectionConfig)
        there = [name for name in GROWING if (self.folder.path / name).exists()]
        if config is None:
            return f"brings {there[0]} without {DETECTION}" if there else ""
        if any(line.at not in config.thresholds for line in self.volumes()):
            return f"measures volumes at the thresholds of a set that {DETECTION} does not name"
        bins = len(config.edges) + 1
        odd = [line.subject for line in self.histograms() if not _fits(line, bins)]
        return f"holds a histogram that is none, of {ascii(odd[0])[:40]}" if odd else ""


def _taken(lines: deque[LineT], whose: tuple[str, str], count: int) -> tuple[LineT, ...] | None:
    """The next lines, so many, where all of them are of one volume; else None."""
    if len(lines) < count:
        return None
    taken = tuple(lines.popleft() for _ in range(count))
    return taken if all((line.cohort, line.subject) == whose for line in taken) else None


def _fits(line: VolumeHistogram, bins: int) -> bool:
    """Whether arrays are of the types and sizes that they should be."""
    words = (line.inside, line.outside, line.slice_scores, line.slice_lesions)
    try:
        inside, outside, scores, lesions = map(unpack, words)
    except ValueError:
        return False
    counts = all(array.dtype == np.int64 for array in (inside, outside, lesions)) and scores.dtype == np.float32
    return counts and len(inside) == len(outside) == bins and len(scores) == len(lesions)
