"""From the frame of scored volumes to what is compared: one number per volume and line, the folds averaged first.

Folds of one split share their test volumes, so five folds of twenty volumes are twenty volumes and not a hundred; a
test that took them for a hundred would call chance a result. Seeds are no folds: they are never averaged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import HEALTHY
from .measures import healthy_at, scans_of

if TYPE_CHECKING:
    import pandas as pd

_PAPER_ORDER = ("tumours", "ms")


def volume_scores(volumes: pd.DataFrame, key: str, metric: str, *, line: str = "title") -> pd.DataFrame:
    """Scores by volume, the mean over the folds of each line.

    Args:
        volumes: the frame of scored volumes, see `Results.volumes`.
        key: of the set.
        metric: name of the number, as in the frame.
        line: the column that tells the lines apart; a line has one seed.

    Returns:
        Index subject, one column per line, both in the order in which they are met; NaN where a line lacks a volume.

    Raises:
        ValueError: a line has several seeds.
    """
    import pandas as pd

    cube = cube_of(volumes, key, metric, line=line)
    known = np.isfinite(cube.scores)
    counts = known.sum(axis=1)
    means = np.full(counts.shape, np.nan)
    np.divide(np.where(known, cube.scores, 0.0).sum(axis=1), counts, out=means, where=counts > 0)
    return pd.DataFrame(means.T, index=pd.Index(cube.subjects, name="subject"), columns=list(cube.lines))


@dataclass(frozen=True, eq=False)
class Cube:
    """The scores of one number of one set.

    Attributes:
        lines: names.
        folds: numbers.
        subjects: ids of the volumes.
        scores: [lines, folds, volumes]; NaN where a line has no such fold, or a fold no such score.
    """

    lines: tuple[str, ...]
    folds: tuple[int, ...]
    subjects: tuple[str, ...]
    scores: NDArray[np.float64]

    def of(self, line: str) -> NDArray[np.float64]:
        """The scores of a line [folds, volumes]."""
        found: NDArray[np.float64] = self.scores[self.lines.index(line)]
        return found


def cube_of(volumes: pd.DataFrame, key: str, metric: str, *, line: str = "title") -> Cube:
    """Scores by line, fold and volume; args and errors are those of `volume_scores`."""
    import pandas as pd

    own = _of_set(volumes, key, line)
    lines, folds, subjects = (own[name].unique().tolist() for name in (line, "fold", "subject"))
    scores = np.full((len(lines), len(folds), len(subjects)), np.nan)
    places = tuple(pd.factorize(own[name])[0] for name in (line, "fold", "subject"))
    scores[places] = own[metric].to_numpy(dtype=np.float64)
    return Cube(tuple(lines), tuple(folds), tuple(subjects), scores)


def sets_of(volumes: pd.DataFrame) -> list[str]:
    """Keys of the sets in a frame of volumes: the paper's in its order, others by name, healthy scans last.

    Behind them healthy scans at the threshold of each lesion set, in the order of these.
    """
    known = {str(key) for key in volumes["set"].unique()}
    lesion_sets = {key for key in known if scans_of(key) == "lesion"}
    first = [key for key in _PAPER_ORDER if key in lesion_sets]
    ordered = [*first, *sorted(lesion_sets - {*first})]
    after = [key for key in (HEALTHY, *map(healthy_at, ordered)) if key in known]
    return [*ordered, *after, *sorted(known - {*ordered, *after})]


def _of_set(volumes: pd.DataFrame, key: str, line: str) -> pd.DataFrame:
    own = volumes[volumes["set"] == key]
    mixed = own.groupby(line, sort=False)["seed"].nunique()
    if (mixed > 1).any():
        raise ValueError(f"{mixed.index[mixed > 1][0]} has several seeds; seeds are no folds: compare them one by one")
    return own
