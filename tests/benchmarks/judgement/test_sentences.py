"""What is said of a comparison follows from its numbers."""

from __future__ import annotations

import pandas as pd
import pytest

from uadbench.benchmarks.judgement.sentences import sentence_of, sentence_of_seeds

TITLES = {"tumours": "BraTS21", "ms": "MSLUB", "healthy": "IXI"}


def row(key: str, metric: str, difference: float, low: float, high: float, p_holm: float, n: int = 200) -> dict:
    numbers = {"difference": difference, "low": low, "high": high, "p_holm": p_holm}
    return {"set": key, "metric": metric, "n": n, "doubtful": n < 50, **numbers}


@pytest.fixture
def compared() -> pd.DataFrame:
    return pd.DataFrame(
        [
            row("tumours", "dice", 0.021, 0.012, 0.03, 0.001),
            row("tumours", "auprc", -0.3, -0.4, -0.2, 0.001),
            row("ms", "dice", 0.004, -0.01, 0.02, 0.7, n=20),
            row("healthy", "l1", 0.0021, 0.001, 0.003, 0.001),
        ]
    )


def test_each_set_is_spoken_of_once(compared: pd.DataFrame) -> None:
    assert sentence_of(compared, "MAEDiff", "pDDPM", TITLES) == (
        "On BraTS21 MAEDiff is better than pDDPM (DICE +2.1 points, 95 % +1.2 to +3.0); on MSLUB nothing tells the two "
        "apart (DICE +0.4 points, 95 % −1.0 to +2.0, and 20 volumes are few); on IXI pDDPM is better than MAEDiff "
        "(l1 +0.0021, 95 % +0.0010 to +0.0030)."
    )


@pytest.mark.parametrize(("low", "p_holm"), [(0.012, 0.06), (-0.001, 0.001)])
def test_nothing_is_claimed_unless_test_and_interval_agree(compared: pd.DataFrame, low: float, p_holm: float) -> None:
    compared.loc[0, ["low", "p_holm"]] = [low, p_holm]
    assert sentence_of(compared, "A", "B", TITLES).startswith("On BraTS21 nothing tells A and B apart")


def test_nothing_in_common_is_said() -> None:
    assert sentence_of(pd.DataFrame(columns=["set"]), "A", "B", TITLES) == "A and B have no volume in common."


def test_seeds_are_reported_as_seeds(compared: pd.DataFrame) -> None:
    assert sentence_of_seeds(compared.assign(seed=0), TITLES) == ""
    other = compared.assign(seed=3, difference=-0.5)
    said = sentence_of_seeds(pd.concat([compared.assign(seed=0), other]), TITLES)
    assert said.startswith("With the seeds 0, 3 the difference is on BraTS21 +2.1 points, −50.0 points; on MSLUB +0.4")
