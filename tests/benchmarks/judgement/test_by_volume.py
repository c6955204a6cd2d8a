"""Folds are averaged first, and seeds are no folds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from uadbench.benchmarks.judgement.by_volume import cube_of, sets_of, volume_scores

if TYPE_CHECKING:
    from .conftest import Frame


def test_one_number_per_volume_and_line(volumes_of: Frame) -> None:
    frame = volumes_of({"A": np.array([[0.1, 0.2], [0.3, math.nan]]), "B": np.array([[0.5, 0.6]])})
    found = volume_scores(frame.sample(frac=1, random_state=3), "tumours", "dice")
    assert found.loc["tumours-0", "A"] == pytest.approx(0.2)
    assert found.loc["tumours-1", "A"] == pytest.approx(0.2), "a fold without a score does not count"
    assert found["B"].sort_index().tolist() == [0.5, 0.6]


def test_a_cube_has_a_hole_where_a_line_has_no_fold(volumes_of: Frame) -> None:
    cube = cube_of(volumes_of({"A": np.full((3, 2), 0.4), "B": np.full((1, 2), 0.5)}), "tumours", "dice")
    assert (cube.lines, cube.folds, cube.subjects) == (("A", "B"), (0, 1, 2), ("tumours-0", "tumours-1"))
    assert np.isnan(cube.of("B")[1:]).all()
    assert (cube.of("A") == 0.4).all()


def test_seeds_are_never_averaged(volumes_of: Frame) -> None:
    scores = {"A": np.full((2, 3), 0.4)}
    both = pd.concat([volumes_of(scores), volumes_of(scores, seed=1)])
    with pytest.raises(ValueError, match="A has several seeds"):
        volume_scores(both, "tumours", "dice")
    both["line"] = both["title"] + both["seed"].astype(str)
    assert list(volume_scores(both, "tumours", "dice", line="line")) == ["A0", "A1"]


def test_the_papers_sets_come_first_and_the_healthy_one_last() -> None:
    frame = pd.DataFrame({"set": ["healthy", "ms", "stroke", "tumours", "ms"]})
    assert sets_of(frame) == ["tumours", "ms", "stroke", "healthy"]
