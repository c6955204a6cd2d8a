"""What a record knows of each test volume beside the paper's numbers: lesions found, false positives, curves, healing.

    detection.json     thresholds, edges of the histograms, version of the rules; written before the first line
    detections.csv     a line per test volume and threshold: a lesion scan at its own set's, a healthy one at each set's
    lesions.csv        a line per lesion of a lesion scan
    froc.csv           a line per test volume and threshold of the ladder: lesions hit, false components
    histograms.csv     a line per test volume: how its scores are spread inside and outside lesions, and over slices

Score maps are not kept: whatever follows from the score of a voxel alone follows from the histograms without a network.
What the columns mean stands in `detection_lines.py`. Records of before these files are whole without them, and those of
version 1 without `froc.csv`: whatever they have counts, and `bench score` adds what they lack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .detection_lines import (
    MOST_VALUES,
    LesionDetection,
    Measured,
    VolumeDetection,
    VolumeFroc,
    VolumeHistogram,
    unpack,
)
from .fence import FencedFolder
from .record_files import Recorded, append_lines, read_as, read_lines, write_lines

DETECTION, DETECTIONS, LESIONS, HISTOGRAMS = "detection.json", "detections.csv", "lesions.csv", "histograms.csv"
FROC = "froc.csv"
#: Raised by a change of what the lines mean or of how they are measured; `bench score` measures older lines again.
DETECTION_VERSION = 2
#: All of them, and those that grow while test volumes are measured.
DETECTION_FILES = (DETECTION, DETECTIONS, LESIONS, FROC, HISTOGRAMS)
GROWING = (DETECTIONS, LESIONS, FROC, HISTOGRAMS)
#: The files of each version whose lines mean what they mean today; others are as if they were not there.
_FILES = {1: (DETECTION, DETECTIONS, LESIONS, HISTOGRAMS), DETECTION_VERSION: DETECTION_FILES}
#: Bins of the grid of a histogram.
BINS = 4096
_MOST_STEPS = 1000

LineT = TypeVar("LineT", VolumeDetection, LesionDetection, VolumeFroc)
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


class LadderStep(Recorded):
    """A threshold of the ladder of operating points.

    Attributes:
        share: of the brain voxels of healthy validation scans, at most so many exceed it.
        threshold: needs no lesion label, and is the same for every set; two steps may have the same.
    """

    share: Annotated[_Score, Field(gt=0, lt=1)]
    threshold: _Score


class DetectionConfig(Recorded):
    """How the lines were measured (`detection.json`).

    Attributes:
        version: of the rules, see `DETECTION_VERSION`.
        thresholds: by key of a lesion set.
        top: the highest score of the validation volumes; the histograms' grid ends there.
        bins: of the grid, evenly wide.
        voxel_mm: edge of a voxel.
        ladder: the operating points of `froc.csv`, the smallest share first; version 1 had none.
    """

    version: int
    thresholds: Annotated[dict[str, SetThresholds], Field(max_length=1000)]
    top: Annotated[_Score, Field(ge=0)]
    bins: Annotated[int, Field(ge=1, le=MOST_VALUES // 2)]
    voxel_mm: Annotated[_Score, Field(gt=0)]
    ladder: Annotated[tuple[LadderStep, ...], Field(max_length=_MOST_STEPS)] = ()

    @property
    def edges(self) -> NDArray[np.float64]:
        """The edges of the histograms, ascending: the grid from 0 to `top`, and every threshold.

        Bin 0 counts scores <= edges[0], bin i scores in (edges[i - 1], edges[i]], the last one all above; so the voxels
        that a threshold marks (score > threshold) are counted exactly.
        """
        values = [value for one in self.thresholds.values() for value in one.model_dump().values()]
        values += [step.threshold for step in self.ladder]
        every = np.concatenate([np.linspace(0.0, self.top, self.bins + 1), values])
        # As float32, which scores are: every edge then compares with a score as the threshold itself did.
        return np.unique(every.astype(np.float32)).astype(np.float64)


def files_of(version: int) -> tuple[str, ...]:
    """The names of the files that lines of a version stand in; none where they do not mean what they mean today."""
    return _FILES.get(version, ())


@dataclass(frozen=True)
class DetectionFiles:
    """The files in a record's folder; whatever is read raises a `RecordError` where a file is damaged.

    Attributes:
        folder: the record's.
    """

    folder: FencedFolder

    @property
    def config(self) -> DetectionConfig | None:
        """How the lines were measured; None where there are none, or where other rules measured them."""
        found: DetectionConfig | None = read_as(self.folder.path / DETECTION, DetectionConfig)
        return found if found is not None and files_of(found.version) else None

    def volumes(self) -> tuple[VolumeDetection, ...]:
        """The lines of `detections.csv` so far; one that a kill has cut does not count."""
        return read_lines(self.folder.path / DETECTIONS, VolumeDetection, appended=True)

    def lesions(self) -> tuple[LesionDetection, ...]:
        """The lines of `lesions.csv` so far."""
        return read_lines(self.folder.path / LESIONS, LesionDetection, appended=True)

    def froc(self) -> tuple[VolumeFroc, ...]:
        """The lines of `froc.csv` so far."""
        return read_lines(self.folder.path / FROC, VolumeFroc, appended=True)

    def histograms(self) -> tuple[VolumeHistogram, ...]:
        """The lines of `histograms.csv` so far."""
        return read_lines(self.folder.path / HISTOGRAMS, VolumeHistogram, appended=True)

    def measured(self) -> tuple[Measured, ...]:
        """What is there of each test volume, up to the first of which something is missing."""
        config = self.config
        if config is None:
            return ()
        volumes, lesions, froc = deque(self.volumes()), deque(self.lesions()), deque(self.froc())
        found = []
        for histogram in self.histograms():
            whose = (histogram.cohort, histogram.subject)
            own = _taken(volumes, whose, 1 if histogram.role in config.thresholds else len(config.thresholds))
            marked = _taken(lesions, whose, own[0].lesions or 0 if own else 0)
            points = _taken(froc, whose, len(config.ladder))
            if own is None or marked is None or points is None:
                break
            found.append(Measured(own, marked, points, histogram))
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
        write_lines(self.folder, FROC, [line for one in measured for line in one.froc], VolumeFroc)
        write_lines(self.folder, HISTOGRAMS, [one.histogram for one in measured], VolumeHistogram)

    def add(self, measured: Measured) -> None:
        """Add the lines of a volume, that of `histograms.csv` last; `measured` passes over what a kill leaves of it."""
        append_lines(self.folder, DETECTIONS, measured.volumes, VolumeDetection, durable=False)
        append_lines(self.folder, LESIONS, measured.lesions, LesionDetection, durable=False)
        append_lines(self.folder, FROC, measured.froc, VolumeFroc, durable=False)
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
        if not {line.share for line in self.froc()} <= {step.share for step in config.ladder}:
            return f"counts at a share of voxels that the ladder of {DETECTION} does not name"
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
