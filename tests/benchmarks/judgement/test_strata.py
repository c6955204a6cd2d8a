"""Strata against SciPy's test, Holm's rule by hand, and planted differences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from uadbench.benchmarks.judgement.measures import METRICS
from uadbench.benchmarks.judgement.strata import FALSE_RATE, healthy_strata, lesion_strata, strata_sentences
from uadbench.metrics.lesions import SIZE_NAMES

SITES = ("Oslo", "Bergen", "Tromso")
TITLES = {"tumours": "BraTS21"}


def study(*, planted: float = 0.0, scans: int = 60, folds: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Volumes of two lines in several folds, and the people; Tromso's scores of the AE are lower by so much."""
    rng = np.random.default_rng(3)
    subjects = [f"s{number:02}" for number in range(scans)]
    people = pd.DataFrame(
        {
            "cohort": "brats21",
            "subject": subjects,
            "age": rng.uniform(20, 80, scans),
            "site": [SITES[number % 3] for number in range(scans)],
            "sex": ["female" if number % 2 else "" for number in range(scans)],
        }
    )
    lesions = rng.lognormal(1.0, 1.5, scans)
    lines = [
        {
            **{"title": title, "seed": 0, "fold": fold, "set": "tumours", "cohort": "brats21", "subject": subject},
            "dice": 0.5 + 0.1 * rng.normal() - (planted if title == "AE" and number % 3 == 2 else 0),
            "lesion_ml": lesions[number],
        }
        for title in ("AE", "VAE")
        for fold in range(folds)
        for number, subject in enumerate(subjects)
    ]
    return pd.DataFrame(lines), people


def test_each_stratum_is_held_against_the_others_of_which_the_factor_is_known() -> None:
    volumes, people = study(planted=0.05)
    found = lesion_strata(volumes, people)
    means = volumes[volumes["title"] == "AE"].groupby("subject")["dice"].mean()
    site = people.set_index("subject")["site"]
    for name in SITES:
        own, others = means[site == name], means[site != name]
        (line,) = found[(found["line"] == "AE") & (found["stratum"] == name)].to_dict("records")
        assert (line["n"], line["others"]) == (len(own), len(others)) == (20, 40)
        assert (line["mean"], line["rest"]) == pytest.approx((own.mean(), others.mean()))
        assert line["p"] == pytest.approx(stats.mannwhitneyu(own, others).pvalue)
        assert line["low"] < line["mean"] < line["high"]
        assert line["doubtful"]
    assert "sex" not in set(found["factor"])  # all of whom it is known are of one
    assert list(found[found["line"] == "AE"]["factor"].unique()) == ["lesion size", "site", "age"]


def test_holms_rule_is_over_the_strata_of_a_line_on_a_set() -> None:
    volumes, people = study(planted=0.05)
    found = lesion_strata(volumes, people)
    own = found[found["line"] == "VAE"].dropna(subset=["p"])
    two = own.groupby("factor")["stratum"].transform("count") == 2
    tests = own[~two | ~own.duplicated("factor")]["p"].sort_values().to_numpy()  # two levels are one test
    expected = np.minimum(1, np.maximum.accumulate(tests * np.arange(len(tests), 0, -1)))
    assert sorted(own[~two | ~own.duplicated("factor")]["p_holm"]) == pytest.approx(list(expected))


def test_a_planted_difference_is_a_sentence_and_no_other_is() -> None:
    volumes, people = study(planted=0.3)
    found = lesion_strata(volumes, people)
    assert found[found["worse"]][["line", "stratum"]].to_numpy().tolist() == [["AE", "Tromso"]]
    (sentence,) = strata_sentences(found, METRICS["dice"], TITLES)
    assert sentence.startswith("AE is worse on BraTS21 for site Tromso: DICE 20.92 % in 20 scans, ")
    assert sentence.endswith("% in the 40 others (p < 0.001 by Holm's rule).")
    assert strata_sentences(lesion_strata(*study()), METRICS["dice"], TITLES) == ()


def test_few_scans_are_shown_and_not_tested() -> None:
    volumes, people = study(planted=0.5, scans=9)
    found = lesion_strata(volumes, people)
    sites = found[found["factor"] == "site"]
    assert sites["n"].tolist() == [3] * 6
    assert sites["p"].isna().all()
    assert not sites["worse"].any()


def test_a_scan_without_a_score_is_left_out_and_lesions_ascend() -> None:
    volumes, people = study()
    volumes.loc[volumes["subject"] == "s00", ["dice", "lesion_ml"]] = [np.nan, 0.0]
    found = lesion_strata(volumes, people)
    sizes = found[(found["factor"] == "lesion size") & (found["line"] == "AE")]
    assert sizes["n"].sum() == 59
    assert sizes["stratum"].tolist() == list(SIZE_NAMES)


def test_healthy_false_positives_are_worse_where_there_are_more() -> None:
    rng = np.random.default_rng(1)
    people = pd.DataFrame(
        {
            "cohort": "ixi",
            "subject": [f"h{n}" for n in range(40)],
            "age": [25.0 + n for n in range(40)],
            "site": "",
            "sex": "",
        }
    )
    lines = [
        {
            **{"title": "AE", "seed": 0, "fold": fold, "set": "healthy", "cohort": "ixi", "subject": f"h{n}"},
            **{"at": at, "brain_ml": 1000.0, "found_ml": (5.0 if n < 15 else 20.0) + rng.uniform(0, 4)},
        }
        for at in ("tumours", "ms")
        for fold in range(2)
        for n in range(40)
    ]
    found = healthy_strata(pd.DataFrame(lines), people)
    assert found[found["worse"]][["set", "stratum"]].to_numpy().tolist() == [
        ["tumours", "40 to 59 years"],
        ["ms", "40 to 59 years"],
    ]
    sentences = strata_sentences(found, FALSE_RATE, TITLES)
    words = "worse on healthy scans at the threshold of BraTS21 for age 40 to 59 years: marked share of the brain 2."
    assert sum(words in sentence for sentence in sentences) == 1


def test_no_volume_makes_no_stratum() -> None:
    volumes, people = study()
    assert len(lesion_strata(volumes.iloc[:0], people)) == 0


def test_the_tests_have_the_false_alarms_that_they_say() -> None:
    """Under the null one study in twenty says that any stratum is worse; without Holm's rule one in four would."""
    rng = np.random.default_rng(0)
    volumes, people = study(folds=1)
    alarms = raw = 0
    for _ in range(40):
        found = lesion_strata(volumes.assign(dice=rng.beta(2, 3, len(volumes))), people)
        for _, own in found.groupby("line"):
            alarms += bool((own["p_holm"] < 0.05).any())
            raw += bool((own["p"] < 0.05).any())
    assert alarms <= 8 < raw
