"""A cell as MLflow serves it: `mlflow.pyfunc.load_model(...)` reads what `bench run --with-model` has logged.

    model = mlflow.pyfunc.load_model("runs:/RUN_ID/model")
    found = model.predict({"volume": volume, "brain_mask": brain}, params={"name": "scan 7", "threshold": "tumours"})

`volume` is a prepared volume, grey values in [0, 1], float32 [slices, height, width] of the slices that the run looks
at; `brain_mask` its brain. Scans as they come from a hospital are prepared by `bench predict`. Research software and no
medical device: not for diagnosis or treatment.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.arithmetic import arithmetic
from ..engine.environment import choose_device
from ..engine.reading import Reader
from ..engine.scoring import binarise
from ..records.record import RunRecord
from .predictor import choose_threshold
from .trained import TrainedRun


class ServedCell:
    """A trained cell that answers as MLflow asks.

    Args:
        folder: copy of the cell's record.
        device: "auto", "cpu" or "cuda".
    """

    def __init__(self, folder: Path, device: str) -> None:
        self._run = TrainedRun((RunRecord(folder),))
        self._device = choose_device(device)

    @cached_property
    def _reader(self) -> Reader:
        (reader,) = self._run.readers(self._device)
        return reader

    def predict(
        self, model_input: Mapping[str, Any], params: Mapping[str, Any] | None = None
    ) -> dict[str, NDArray[Any]]:
        """What the cell makes of a volume.

        Args:
            model_input: "volume", float32 [D, H, W] in [0, 1], and "brain_mask", bool [D, H, W].
            params: "name", from which the noise is drawn; "threshold", a lesion set's name or a number.

        Returns:
            "reconstruction" and "score", float32 [D, H, W], and "lesions", bool [D, H, W].

        Raises:
            UserError: there is no such threshold.
        """
        given = dict(params or {})
        known = next(iter(self._run.thresholds), "")
        _, threshold = choose_threshold(str(given.get("threshold", known)), self._run)
        volume = np.array(model_input["volume"], dtype=np.float32)
        brain = np.array(model_input["brain_mask"], dtype=bool)
        with arithmetic(self._run.plan.train, self._device):
            reading = self._reader.read_arrays(volume, brain, str(given.get("name", "scan")))
        lesions = binarise(reading.score_map, threshold, self._run.plan.score)
        return {"reconstruction": reading.reconstruction, "score": reading.score_map, "lesions": lesions}


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ServedCell:
    """What MLflow calls.

    Args:
        path: of the folder that was logged.
        model_config: "device": "auto", "cpu" or "cuda".
    """
    return ServedCell(Path(path), str((model_config or {}).get("device", "auto")))
