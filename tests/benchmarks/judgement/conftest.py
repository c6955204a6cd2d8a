"""Frames of scored volumes, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest

Frame = Callable[..., pd.DataFrame]


@pytest.fixture
def volumes_of() -> Frame:
    """A frame of volumes of lines, from scores [folds, volumes] of each."""

    def make(
        lines: Mapping[str, np.ndarray], key: str = "tumours", metric: str = "dice", seed: int = 0
    ) -> pd.DataFrame:
        rows = [
            {"title": name, "fold": fold, "seed": seed, "set": key, "subject": f"{key}-{number}", metric: float(value)}
            for name, scores in lines.items()
            for fold, line in enumerate(np.atleast_2d(scores))
            for number, value in enumerate(line)
        ]
        return pd.DataFrame(rows)

    return make
