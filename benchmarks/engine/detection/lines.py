"""The lines of test volumes on disk: which of them count when a scoring goes on."""

from __future__ import annotations

from collections.abc import Sequence

from ....datasets.cohort import Cohort
from ...records.detections import DetectionFiles


def kept_lines(files: DetectionFiles, work: Sequence[tuple[Cohort, str]]) -> frozenset[tuple[str, str]]:
    """Let the files hold the volumes that are there whole and in order, and nothing of later ones.

    So what a kill has cut costs a volume, and the files come to be what an uninterrupted scoring writes.

    Args:
        files: of the cell, whose way of measuring is known.
        work: every test volume once, in the order of the files.

    Returns:
        Whose lines are there: cohort, subject.
    """
    found = files.measured()
    pairs = zip(found, work, strict=False)
    odd = (number for number, (one, (cohort, subject)) in enumerate(pairs) if one.volume != (cohort.name, subject))
    kept = found[: min(len(found), len(work), next(odd, len(found)))]
    files.keep(kept)
    return frozenset(one.volume for one in kept)
