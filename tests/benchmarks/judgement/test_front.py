"""The front of cost against its definition, point by point."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from uadbench.benchmarks.judgement.front import dominating, front, front_sentence

NAN = float("nan")
PRICE = "cost/volume_seconds"


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_the_definition_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gains, prices = rng.integers(0, 6, size=(2, 12))  # few values, so that there are ties in both
    for place, rival in enumerate(dominating(gains, prices)):
        better = [
            other
            for other in range(12)
            if gains[other] >= gains[place]
            and prices[other] <= prices[place]
            and (gains[other], prices[other]) != (gains[place], prices[place])
        ]
        assert (rival is None) == (not better)
        if rival is not None:
            assert rival in better
            assert gains[rival] == max(gains[other] for other in better)


def test_what_is_not_known_dominates_nobody() -> None:
    assert dominating([0.5, NAN, 0.4, 0.4], [2.0, 1.0, NAN, 3.0]) == [None, None, None, 0]


def test_rows_are_means_over_folds_and_named_with_who_beats_them() -> None:
    lines = [
        ("ae", "AE", 0.30, 0.1),
        ("ae", "AE", 0.40, 0.3),
        ("vae", "VAE", 0.30, 0.4),
        ("maediff", "MAEDiff", 0.42, 30.0),
        ("dae", "DAE", NAN, 0.1),
    ]
    cells = pd.DataFrame(lines, columns=["row", "title", "tumours/dice", PRICE])
    points = front(cells, "tumours/dice", PRICE)
    assert [(one.title, one.gain, one.price, one.on_front, one.dominated_by) for one in points] == [
        ("AE", pytest.approx(0.35), pytest.approx(0.2), True, ""),
        ("VAE", 0.3, 0.4, False, "AE"),
        ("MAEDiff", 0.42, 30.0, True, ""),
    ]
    assert front_sentence(points, PRICE) == (
        "By seconds per volume, AE and MAEDiff are on the front; VAE is beaten by a row that costs no more."
    )
    assert front(cells, "ms/dice", PRICE) == ()
    assert front_sentence(points[:1], PRICE) == ""
