"""A trained run, ready for scans: every fold reconstructs and scores, the mean over folds meets the run's threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...datasets.scans.new_scan import ReadyScan
from ...datasets.scans.scan_header import HEADS, ReadLimits
from ...datasets.scans.space import Grid
from ...errors import DataError, UserError
from ...out_of_memory import Stage, memory_watched
from ..engine.arithmetic import arithmetic
from ..engine.memory import Halving, prediction_stage
from ..engine.reading import Reader
from ..engine.scoring import binarise
from .components import FoundComponent, components_of
from .scan_recipe import ScanRecipe
from .trained import TrainedRun

Array = NDArray[np.float32]


@dataclass(frozen=True)
class AtlasMaps:
    """What a run makes of a scan, on the slices that it looks at; arrays [D, H, W].

    Attributes:
        grid: where they lie, in atlas space.
        original: the prepared scan.
        reconstruction: mean over folds.
        score_map: mean over folds.
        spread: sample standard deviation over folds; None for a single one.
        found: above the threshold, small components dropped.
        components: what was found, the largest first.
    """

    grid: Grid
    original: Array
    reconstruction: Array
    score_map: Array
    spread: Array | None
    found: NDArray[np.bool_]
    components: tuple[FoundComponent, ...]


@dataclass(frozen=True)
class Predictor:
    """A trained run, ready for scans.

    Attributes:
        run: the run.
        threshold_name: "tumours", "ms" or "given".
        threshold: the score above which a voxel counts as lesion.
        recipe: how raw scans are prepared.
        stripping: `--skull-strip`.
        device: "cpu" or "cuda".
        out: where results go.
        limits: which scans are refused unread.
        force: whether a scan is predicted whose registration is not to be believed.
    """

    run: TrainedRun
    threshold_name: str
    threshold: float
    recipe: ScanRecipe
    stripping: str
    device: str
    out: Path
    limits: ReadLimits = HEADS
    force: bool = False

    def lines(self) -> tuple[str, ...]:
        """With what scans are predicted, for the screen."""
        folds, slab, shape = self.run.records, self.run.slab, self.run.preparation.shape
        lines = [f"Run: {self.run.title}, {len(folds)} of {self.run.config.folds} folds."]
        lines.append(f"Threshold: {self.threshold:.4g} ({self.threshold_name}). Atlas: {self.recipe.atlas.name}.")
        if slab.depth < shape[0]:
            millimetres = self.run.preparation.factor * slab.depth
            lines.append(f"Note: this run looks at the central {millimetres} mm of the brain only (data.slices).")
        if self.run.is_phantom:
            lines.append("Note: this run has learnt from simulated brains; on a real scan its map shows that.")
        lines += [f"Note: {note}." for note in self.recipe.notes]
        return tuple(lines)

    @cached_property
    def readers(self) -> tuple[Reader, ...]:
        """One reader per fold, loaded once."""
        return self.run.readers(self.device)

    def predict(
        self, ready: ReadyScan, name: str, step: Callable[[], None], halving: Halving | None = None
    ) -> AtlasMaps:
        """Reconstruct and score a prepared scan by every fold.

        Args:
            ready: the scan.
            name: its name; the noise is drawn from it, as in the benchmark.
            step: called after each fold.
            halving: halves the batch where memory runs out; None begins with the run's own.

        Raises:
            DataError: no brain lies in the slices that the run looks at.
            MemoryShortageError: memory ran out.
        """
        batch = halving or Halving()
        slab = self.run.slab
        original = np.array(slab.of(ready.volume.volume), dtype=np.float32)
        mask = np.array(slab.of(ready.volume.brain_mask), dtype=bool)
        if not mask.any():
            raise DataError(f"{name}: no brain lies in the slices that the run looks at; check scan and brain mask")
        readings = []
        for record, reader in zip(self.run.records, self.readers, strict=True):
            watched = memory_watched(partial(self.stage, record.folder.name, "the reconstruction", batch))
            with watched, arithmetic(self.run.plan.train, self.device):
                readings.append(replace(reader, halving=batch).read_arrays(original, mask, name))
            step()
        scores = np.stack([reading.score_map for reading in readings])
        score_map = scores.mean(axis=0, dtype=np.float32)
        found = binarise(score_map, self.threshold, self.run.plan.score)
        grid = ready.grid.cropped((slice(slab.start, slab.stop), *(slice(0, size) for size in original.shape[1:])))
        return AtlasMaps(
            grid=grid,
            original=original,
            reconstruction=np.stack([reading.reconstruction for reading in readings]).mean(axis=0, dtype=np.float32),
            score_map=score_map,
            spread=scores.std(axis=0, ddof=1, dtype=np.float32) if len(readings) > 1 else None,
            found=found,
            components=components_of(found, score_map, grid, ready),
        )

    def stage(self, who: str, what: str, halving: Halving) -> Stage:
        """A stage of every fold's own, as a lack of memory is told."""
        return prediction_stage(who, what, self.run.plan, halving, len(self.run.records))


def choose_threshold(word: str, run: TrainedRun) -> tuple[str, float]:
    """The threshold that a word stands for: the mean over folds of a lesion set's greedy one, or a number.

    Raises:
        UserError: the run has no such lesion set, or the number is negative.
    """
    found = run.thresholds
    if word in found:
        return word, float(np.mean([pair.greedy for pair in found[word]]))
    try:
        value = float(word)
    except ValueError:
        known = ", ".join(sorted(found, reverse=True)) or "none"
        raise UserError(
            f"--threshold {word}: the run has thresholds of {known}; name one of them or give a number"
        ) from None
    if not value >= 0 or not np.isfinite(value):
        raise UserError(f"--threshold {word}: a score is never negative; give a number of at least 0")
    return "given", value
