"""Intervals, comparisons, families and ranks of frames, against the functions behind them and cases that are known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from uadbench.benchmarks.judgement.by_volume import cube_of
from uadbench.benchmarks.judgement.comparison import compare, judged_rows, pairwise
from uadbench.benchmarks.judgement.family import near_best
from uadbench.benchmarks.judgement.intervals import intervals_of
from uadbench.benchmarks.judgement.ranking import ranks_of
from uadbench.benchmarks.judgement.scan_numbers import measured
from uadbench.metrics.inference import holm, paired, rank_stability, two_level_interval

if TYPE_CHECKING:
    from .conftest import Frame

DICE = [("tumours", "dice")]


@pytest.fixture
def scores() -> dict[str, np.ndarray]:
    """Three lines of five folds on 60 volumes: A and B alike, C clearly worse."""
    rng = np.random.default_rng(0)
    hard = rng.beta(2, 3, 60)
    shift = {"A": 0.0, "B": 0.002, "C": -0.1}
    return {name: hard + by + rng.normal(0, 0.02, (5, 60)) for name, by in shift.items()}


def test_an_interval_is_that_of_folds_and_volumes(scores: dict[str, np.ndarray], volumes_of: Frame) -> None:
    found = intervals_of(volumes_of(scores), DICE).set_index("line")
    for name, matrix in scores.items():
        wanted = two_level_interval(matrix)
        row = found.loc[name]
        assert (row["low"], row["high"], row["n"], row["folds"]) == (wanted.low, wanted.high, 60, 5)
        assert row["mean"] == pytest.approx(matrix.mean())
        assert (row["method"], row["doubtful"]) == ("BCa", False)


def test_a_line_without_the_number_has_no_interval(volumes_of: Frame) -> None:
    (row,) = intervals_of(volumes_of({"A": np.full((2, 3), math.nan)}), DICE).itertuples()
    assert (row.n, row.folds, row.method) == (0, 0, "none")
    assert math.isnan(row.mean) and math.isnan(row.low)


def test_a_comparison_is_paired_by_volume(scores: dict[str, np.ndarray], volumes_of: Frame) -> None:
    frame = volumes_of(scores).sample(frac=1, random_state=1)
    (row,) = compare(frame, "A", "C", DICE).itertuples()
    wanted = paired(scores["A"], scores["C"])
    assert (row.n, row.folds, row.wins, row.ties, row.losses) == (60, 5, wanted.wins, wanted.ties, wanted.losses)
    assert (row.p, row.p_crossed) == pytest.approx((wanted.p, wanted.p_crossed))
    assert (row.first, row.second) == pytest.approx((scores["A"].mean(), scores["C"].mean()))
    assert row.difference == pytest.approx(row.first - row.second)
    assert row.low < row.difference < row.high
    assert row.p_holm == pytest.approx(max(row.p, row.p_crossed)), "a family of one is not adjusted"


def test_folds_that_one_alone_has_do_not_count(scores: dict[str, np.ndarray], volumes_of: Frame) -> None:
    scores["A"][3:] += 100
    frame = volumes_of({"A": scores["A"], "C": scores["C"][:3]})
    (row,) = compare(frame, "A", "C", DICE).itertuples()
    assert row.folds == 3
    assert row.first == pytest.approx(scores["A"][:3].mean())
    late = frame[(frame["title"] == "C") | (frame["fold"] > 2)]
    with pytest.raises(ValueError, match="share no fold"):
        compare(late, "A", "C", DICE)


def test_all_numbers_are_one_family(scores: dict[str, np.ndarray], volumes_of: Frame) -> None:
    frame = pd.concat([volumes_of(scores), volumes_of(scores, "ms"), volumes_of(scores, "healthy", "l1")])
    found = compare(frame, "A", "B", measured(["tumours", "ms", "healthy"], ("dice", "l1")))
    assert found[["set", "metric"]].to_numpy().tolist() == [["tumours", "dice"], ["ms", "dice"], ["healthy", "l1"]]
    assert found["p_holm"].tolist() == holm(found[["p", "p_crossed"]].max(axis=1)).tolist()
    assert (found["wins"].iloc[0], found["losses"].iloc[0]) == (found["losses"].iloc[2], found["wins"].iloc[2])


def test_every_pair_stands_once_and_all_are_one_family(scores: dict[str, np.ndarray], volumes_of: Frame) -> None:
    found = pairwise(volumes_of(scores), "tumours", "dice")
    assert found[["row", "column"]].to_numpy().tolist() == [["A", "B"], ["A", "C"], ["B", "C"]]
    assert found["p_holm"].tolist() == holm(found[["p", "p_crossed"]].max(axis=1)).tolist()
    assert [verdict for _, verdict in judged_rows(found)] == ["nothing", "first", "first"]
    assert len(pairwise(volumes_of({"A": scores["A"]}), "tumours", "dice")) == 0


def test_where_less_is_better_the_smaller_is(scores: dict[str, np.ndarray], volumes_of: Frame) -> None:
    found = compare(volumes_of(scores, "healthy", "l1"), "A", "C", [("healthy", "l1")])
    assert [verdict for _, verdict in judged_rows(found)] == ["second"]


def test_what_is_no_worse_than_the_best(scores: dict[str, np.ndarray], volumes_of: Frame) -> None:
    cube = cube_of(volumes_of(scores), "tumours", "dice")
    assert set(near_best(cube, higher=True)) == {"A", "B"}
    assert set(near_best(cube, higher=False)) == {"C"}
    few = cube_of(volumes_of({name: one[:, :3] for name, one in scores.items()}), "tumours", "dice")
    assert set(near_best(few, higher=True)) == {"A", "B", "C"}, "three volumes show nothing"
    assert near_best(cube_of(volumes_of({"A": scores["A"]}), "tumours", "dice"), higher=True) == {}


def test_ranks_are_those_of_the_scores(scores: dict[str, np.ndarray], volumes_of: Frame) -> None:
    found = ranks_of(volumes_of(scores), DICE)
    wanted = rank_stability(np.stack(list(scores.values())))
    assert found["line"].tolist() == ["A", "B", "C"]
    assert found["rank"].tolist() == list(wanted.rank)
    assert found["first"].tolist() == list(wanted.first)
    assert found["first"].sum() == pytest.approx(1)
    assert found.set_index("line").loc["C", ["low", "high"]].tolist() == [3.0, 3.0]
