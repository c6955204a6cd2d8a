"""From a new scan to its anomaly map: the whole of the benchmark's way, run on one scan by a trained run.

    prepare (what is not done yet) → every fold: reconstruct, score, post-process → mean over folds → threshold of the
    run, small components dropped → everything back in the scan's own space

Below the output folder a scan leaves, NAME being its file's name:

    NAME_input.nii.gz           the scan as the method saw it, intensities in [0, 1]
    NAME_reconstruction.nii.gz  the healthy brain that the method believes to be behind it, the same scale
    NAME_score.nii.gz           anomaly map after erosion and median filter, mean over folds
    NAME_spread.nii.gz          its standard deviation over folds, where there are several
    NAME_lesions.nii.gz         1 where the score exceeds the run's threshold
    NAME_components.csv         what was found: millilitres, centre in the scan's world, score
    NAME_overlay.png            the picture
    NAME.json                   what was done, with what, to which file; written last, so it is the proof of the rest

All NIfTI files have the scan's own voxels and affine and are 0 where the method did not look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...datasets.scans.new_scan import ready_scan
from ...errors import DataError, UserError
from ...files import read_json, write_json
from ...out_of_memory import MemoryShortageError, free_memory, memory_watched
from ..engine.memory import Halving, scan_stage
from ..engine.progress import Bar, Reporter
from .account import account_of, is_current, is_of_another_scan, request_of
from .components import doubt_in_brackets, summary_of
from .inputs import NewScan
from .outputs import write_outputs
from .predictor import Predictor


@dataclass(frozen=True)
class FailedScan:
    """A scan that could not be predicted, with the reason in one sentence."""

    scan: str
    reason: str


@dataclass(frozen=True)
class PredictedScans:
    """What became of the scans."""

    predicted: tuple[str, ...]
    kept: tuple[str, ...]
    failures: tuple[FailedScan, ...]

    def lines(self, out: Path) -> tuple[str, ...]:
        """What happened, for the screen; where the maps are, if there are any."""
        counts = (
            f"{len(self.predicted)} predicted, {len(self.kept)} were predicted already, {len(self.failures)} failed."
        )
        return (counts, f"Maps, tables and pictures: {out}") if self.predicted or self.kept else (counts,)


def predict_scans(predictor: Predictor, scans: Sequence[NewScan], reporter: Reporter) -> PredictedScans:
    """Predict scan after scan; one that fails is said and the rest goes on, one that is done is left alone.

    Raises:
        UserError: the output folder cannot be written, or the run's weights cannot be read or find no memory.
    """
    predicted: list[str] = []
    kept: list[str] = []
    failures: list[FailedScan] = []
    halving = Halving(predictor.run.title, reporter.say)
    with memory_watched(lambda: predictor.stage(predictor.run.title, "loading the weights", halving)):
        predictor.readers  # noqa: B018  (weights that cannot be read are found before the first scan)
    folds = len(predictor.run.records)
    with reporter.bar("predict", len(scans) * (folds + 2)) as bar:
        for scan in scans:
            steps = _Steps(bar, folds + 2)
            try:
                line, is_new = _predict_one(predictor, scan, steps, halving)
                (predicted if is_new else kept).append(scan.name)
                reporter.say(line)
                steps.finish()
            except (DataError, MemoryShortageError, RuntimeError, ArithmeticError, MemoryError) as error:
                reason = scan.told(" ".join(str(error).split())) or type(error).__name__
                failures.append(FailedScan(scan.name, reason))
                reporter.say(f"{scan.name}: failed: {reason}")
            except OSError as error:
                raise UserError(
                    f"{error.filename or predictor.out} cannot be written: {error.strerror or error}; make room or "
                    "choose another --out, then start again: what is done is kept"
                ) from error
            free_memory()  # an error held what it had
    return PredictedScans(tuple(predicted), tuple(kept), tuple(failures))


class _Steps:
    """A scan's share of the bar, which is used up when the scan is done; of one that failed some is left."""

    def __init__(self, bar: Bar, count: int) -> None:
        self._bar = bar
        self._left = count

    def step(self) -> None:
        self._left -= 1
        self._bar.advance()

    def finish(self) -> None:
        if self._left > 0:
            self._bar.advance(self._left)
        self._left = 0


def _predict_one(predictor: Predictor, scan: NewScan, steps: _Steps, halving: Halving) -> tuple[str, bool]:
    """Predict and write a scan, unless that was done before; a line on it, and whether it was done now."""
    request = request_of(predictor, scan)
    proof = predictor.out / f"{scan.name}.json"
    if is_current(proof, request):
        known = (read_json(proof) or {}).get("doubt", "")
        _refuse_doubtful(predictor, known)
        return f"{scan.name}: predicted already{doubt_in_brackets(known)}", False
    if not scan.overwrites and is_of_another_scan(proof, request):
        raise DataError(f"{proof} is of another scan; give this one a --name, or choose another --out")
    recipe, settings = predictor.recipe, predictor.run.preparation
    with memory_watched(lambda: scan_stage("its preparation", with_mask=scan.mask is not None)):
        opened = scan.open(predictor.limits)
        ready = ready_scan(
            opened, scan.mask, recipe.atlas, predictor.stripping, recipe.settings, settings, predictor.limits
        )
    _refuse_doubtful(predictor, ready.doubt)
    proof.unlink(missing_ok=True)
    steps.step()
    made = predictor.predict(ready, scan.name, steps.step, halving)
    with memory_watched(lambda: scan_stage("the writing of its maps", with_mask=True)):
        files = write_outputs(predictor, scan.name, ready, made)
    write_json(proof, {**account_of(predictor, scan, ready, made), "request": request, "files": files})
    steps.step()
    return f"{scan.name}: {summary_of(made.components)}{doubt_in_brackets(ready.doubt)}", True


def _refuse_doubtful(predictor: Predictor, doubt: str) -> None:
    if doubt and not predictor.force:
        raise DataError(
            f"its registration to {predictor.recipe.atlas.name} is not to be believed ({doubt}); check the scan's "
            "orientation and brain mask, give one with --mask or by another --skull-strip, or go on with --force"
        )
