"""Reconstructions on disk: with them another score, median or erosion needs no network.

They are kept in float32, as they left the network, so that whatever is made of them later has the very numbers that the
network's own would have had: 1.8 MB per volume of the paper, 2.6 GB per fold. (Float16 would take half of that and move
every residual by up to 2.4e-4.) Each file names the weights that it was made with by their SHA-256 and holds a checksum
of its own; one that is damaged or of other weights is passed over and made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...datasets.cohort import Cohort
from .fence import FencedFolder
from .record_files import RecordError, read_arrays, write_arrays

FOLDER = "reconstructions"


@dataclass(frozen=True)
class KeptReconstructions:
    """The reconstructions that some weights made of the volumes of a data source.

    Attributes:
        weights: SHA-256 of the weights.
        folders: of reconstructions, to be looked through in this order.
    """

    weights: str
    folders: Sequence[Path]

    def read(self, cohort: Cohort, subject: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """The first reconstructions of a volume, float32 [S, D, H, W]; None where fewer are kept.

        Args:
            cohort: of the volume.
            subject: whose volume it is.
            shape: [S, D, H, W], what is wanted.
        """
        for folder in self.folders:
            with suppress(RecordError, KeyError):
                found = read_arrays(folder / _name(cohort, subject))
                kept = found["reconstructions"]
                if str(found["weights"]) == self.weights and kept.shape[1:] == shape[1:] and len(kept) >= shape[0]:
                    return kept[: shape[0]]
        return None


def keep(folder: FencedFolder, weights: str, cohort: Cohort, subject: str, reconstructions: np.ndarray) -> None:
    """Keep the reconstructions of a volume, written whole or not at all.

    Args:
        folder: the cell's.
        weights: SHA-256 of the weights that made them.
        cohort: of the volume.
        subject: whose volume it is.
        reconstructions: float32 [S, D, H, W].

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    arrays = {"reconstructions": reconstructions, "weights": np.array(weights)}
    write_arrays(folder, f"{FOLDER}/{_name(cohort, subject)}", arrays)


def _name(cohort: Cohort, subject: str) -> str:
    return f"{cohort.name}-{subject}.npz"
