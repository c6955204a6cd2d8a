"""The lines of `detections.csv`, `lesions.csv`, `froc.csv` and `histograms.csv`: what each column of them means."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Values that a packed array of a record of whatever origin may hold.
MOST_VALUES = 1 << 16


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
class VolumeFroc:
    """What was found in a test volume at a threshold of the ladder, after post-processing.

    Attributes:
        cohort: name of the data set.
        role: the key of its set.
        subject: id of the subject.
        share: of healthy validation brain voxels that the threshold lets through, see `DetectionConfig.ladder`.
        components: marked, by 26-neighbourhood.
        false: of these, such as touch no lesion at all.
        lesions: of the volume; None of a healthy volume and of one without a lesion in view.
        hits: lesions matched one to one, by greatest overlap, at Dice >= 0.1; None likewise.
    """

    cohort: str
    role: str
    subject: str
    share: float
    components: int
    false: int
    lesions: int | None
    hits: int | None


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


def unpack(word: str, most: int = MOST_VALUES) -> NDArray[np.generic]:
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
        froc: of `froc.csv`, one per threshold of the ladder.
        histogram: of `histograms.csv`.
    """

    volumes: tuple[VolumeDetection, ...]
    lesions: tuple[LesionDetection, ...]
    froc: tuple[VolumeFroc, ...]
    histogram: VolumeHistogram

    @property
    def volume(self) -> tuple[str, str]:
        """Whose lines these are: cohort, subject."""
        return self.histogram.cohort, self.histogram.subject
