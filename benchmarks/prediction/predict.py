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

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.scans.native import write_native
from ...datasets.scans.new_scan import ReadyScan, ready_scan
from ...datasets.scans.preparation import PREPARATION_VERSION, bounding_box
from ...datasets.scans.scan_file import is_pair, sha256_of
from ...datasets.scans.scan_header import HEADS, ReadLimits
from ...datasets.scans.scan_preparation import SCAN_PREPARATION_VERSION
from ...datasets.scans.space import Grid, isotropic_grid, resample
from ...datasets.splits.own import scan_of
from ...errors import DataError, UserError
from ...files import read_json, write_json, write_text
from ...metrics import find_components
from ...out_of_memory import MemoryShortageError, Stage, free_memory, memory_watched
from ..engine.arithmetic import arithmetic
from ..engine.environment import describe_environment
from ..engine.memory import Halving, prediction_stage, scan_stage
from ..engine.progress import Bar, Reporter
from ..engine.scoring import Reader, binarise
from ..figures.overlay import Place, View, overlay_figure
from ..records.record import RunRecord
from .scan_recipe import ScanRecipe
from .trained import TrainedRun

NOTICE = "Research software and no medical device: not for diagnosis or treatment."
_HEADER_NOTICE = "uadbench: research software, no medical device"
_HEADER_DOUBT = "; REGISTRATION DOUBTFUL"  # the field takes 79 bytes
_VIEW_MARGIN = 12  # voxels of 1 mm around the brain
_COLUMNS = ("component", "volume_ml", "x_mm", "y_mm", "z_mm", "mean_score", "max_score")

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ScanFile:
    """A scan to predict, and its brain mask where it has one."""

    path: Path
    mask: Path | None = None

    @property
    def name(self) -> str:
        """What the results are called: the file's name without suffix, and without "_t2" as in the data layout."""
        return scan_of(self.path.name)


@dataclass(frozen=True)
class Finding:
    """A component in the scan's own world.

    Attributes:
        volume_ml: its volume, millilitres.
        centre_mm: mean position (x, y, z), RAS+ world millimetres.
        mean_score: mean anomaly score.
        max_score: highest anomaly score.
    """

    volume_ml: float
    centre_mm: tuple[float, float, float]
    mean_score: float
    max_score: float


@dataclass(frozen=True)
class Prediction:
    """What a run makes of a scan, on the slices that it looks at; arrays [D, H, W].

    Attributes:
        grid: where they lie, in atlas space.
        original: the prepared scan.
        reconstruction: mean over folds.
        score_map: mean over folds.
        spread: sample standard deviation over folds; None for a single one.
        found: above the threshold, small components dropped.
        findings: the components, the largest first.
    """

    grid: Grid
    original: Array
    reconstruction: Array
    score_map: Array
    spread: Array | None
    found: NDArray[np.bool_]
    findings: tuple[Finding, ...]

    @property
    def total_ml(self) -> float:
        """Volume of all findings."""
        return sum(finding.volume_ml for finding in self.findings)


@dataclass(frozen=True)
class Failure:
    """A scan that could not be predicted, with the reason in one sentence."""

    scan: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What became of the scans."""

    predicted: tuple[str, ...]
    kept: tuple[str, ...]
    failures: tuple[Failure, ...]

    def lines(self, out: Path) -> tuple[str, ...]:
        """What happened, for the screen; where the maps are, if there are any."""
        counts = (
            f"{len(self.predicted)} predicted, {len(self.kept)} were predicted already, {len(self.failures)} failed."
        )
        return (counts, f"Maps, tables and pictures: {out}") if self.predicted or self.kept else (counts,)


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
        """A reader a fold, loaded once."""
        return self.run.readers(self.device)

    def predict(
        self, ready: ReadyScan, name: str, step: Callable[[], None], halving: Halving | None = None
    ) -> Prediction:
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
        return Prediction(
            grid=grid,
            original=original,
            reconstruction=np.stack([reading.reconstruction for reading in readings]).mean(axis=0, dtype=np.float32),
            score_map=score_map,
            spread=scores.std(axis=0, ddof=1, dtype=np.float32) if len(readings) > 1 else None,
            found=found,
            findings=_findings(found, score_map, grid, ready),
        )

    def stage(self, who: str, what: str, halving: Halving) -> Stage:
        """A stage of every fold's own, as a lack of memory is told."""
        return prediction_stage(who, what, self.run.plan, halving, len(self.run.records))

    def request(self, scan: ScanFile) -> dict[str, Any]:
        """All that determines a scan's results; they are made again if any of it changed."""
        return {
            "scan_sha256": sha256_of(scan.path),
            "mask_sha256": None if scan.mask is None else sha256_of(scan.mask),
            "cells": [record.folder.name for record in self.run.records],
            "threshold": self.threshold,
            "atlas": self.recipe.atlas.name,
            "atlas_sha256": self.recipe.atlas.sha256,
            "skull_strip": self.stripping,
            "n4": [self.recipe.settings.bias.shrink, *self.recipe.settings.bias.iterations],
            "versions": [SCAN_PREPARATION_VERSION, PREPARATION_VERSION],
        }


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


def scan_files(paths: Sequence[Path], masks: Sequence[Path]) -> tuple[ScanFile, ...]:
    """Scans with their masks, in order.

    Raises:
        UserError: there are not as many masks as scans, or two scans would write the same results.
    """
    if masks and len(masks) != len(paths):
        raise UserError(
            f"{len(paths)} scans and {len(masks)} masks were given; give --mask once a scan, in their order"
        )
    partners: Sequence[Path | None] = masks or [None] * len(paths)
    scans = tuple(ScanFile(path, mask) for path, mask in zip(paths, partners, strict=True))
    first: dict[str, Path] = {}
    for scan in scans:
        known = first.setdefault(scan.name, scan.path)
        if known != scan.path and not (known.parent == scan.path.parent and is_pair(known, scan.path)):
            raise UserError(
                f"{known} and {scan.path} would both write {scan.name}_*; predict them into two --out folders"
            )
    return tuple({scan.name: scan for scan in scans}.values())


def predict_scans(predictor: Predictor, scans: Sequence[ScanFile], reporter: Reporter) -> Outcome:
    """Predict scan after scan; one that fails is said and the rest goes on, one that is done is left alone.

    Raises:
        UserError: the output folder cannot be written, or the run's weights cannot be read or find no memory.
    """
    predicted: list[str] = []
    kept: list[str] = []
    failures: list[Failure] = []
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
                reason = " ".join(str(error).split()) or type(error).__name__
                failures.append(Failure(scan.name, reason))
                reporter.say(f"{scan.name}: failed: {reason}")
            except OSError as error:
                raise UserError(
                    f"{error.filename or predictor.out} cannot be written: {error.strerror or error}; make room or "
                    "choose another --out, then start again: what is done is kept"
                ) from error
            free_memory()  # an error held what it had
    return Outcome(tuple(predicted), tuple(kept), tuple(failures))


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


def _predict_one(predictor: Predictor, scan: ScanFile, steps: _Steps, halving: Halving) -> tuple[str, bool]:
    """Predict and write a scan, unless that was done before; a line on it, and whether it was done now."""
    request = predictor.request(scan)
    proof = predictor.out / f"{scan.name}.json"
    if _is_current(proof, request):
        known = (read_json(proof) or {}).get("doubt", "")
        _refuse_doubtful(predictor, known)
        return f"{scan.name}: predicted already{_in_brackets(known)}", False
    recipe, settings = predictor.recipe, predictor.run.preparation
    with memory_watched(lambda: scan_stage("its preparation", with_mask=scan.mask is not None)):
        ready = ready_scan(
            scan.path, scan.mask, recipe.atlas, predictor.stripping, recipe.settings, settings, predictor.limits
        )
    _refuse_doubtful(predictor, ready.doubt)
    proof.unlink(missing_ok=True)
    steps.step()
    prediction = predictor.predict(ready, scan.name, steps.step, halving)
    with memory_watched(lambda: scan_stage("the writing of its maps", with_mask=True)):
        files = _write(predictor, scan, ready, prediction)
    write_json(proof, {**_account(predictor, scan, ready, prediction), "request": request, "files": files})
    steps.step()
    return f"{scan.name}: {_summary(prediction)}{_in_brackets(ready.doubt)}", True


def _refuse_doubtful(predictor: Predictor, doubt: str) -> None:
    if doubt and not predictor.force:
        raise DataError(
            f"its registration to {predictor.recipe.atlas.name} is not to be believed ({doubt}); check the scan's "
            "orientation and brain mask, give one with --mask or by another --skull-strip, or go on with --force"
        )


def _in_brackets(doubt: str) -> str:
    return f" (registration doubtful: {doubt})" if doubt else ""


def _is_current(proof: Path, request: dict[str, Any]) -> bool:
    known = read_json(proof) or {}
    files = known.get("files")
    if known.get("request") != request or not isinstance(files, list):
        return False
    return all((proof.parent / str(name)).exists() for name in files)


def _findings(found: NDArray[np.bool_], score_map: Array, grid: Grid, ready: ReadyScan) -> tuple[Finding, ...]:
    """The components of a binary map, taken to the scan's world."""
    findings = []
    for one in find_components(found, score_map):
        atlas_mm = grid.world(np.array([one.centre]))[0]
        x, y, z = (float(value) for value in ready.to_scan[:3, :3] @ atlas_mm + ready.to_scan[:3, 3])
        volume = one.voxels * grid.voxel_ml * ready.volume_factor
        findings.append(Finding(volume, (x, y, z), one.mean_score, one.max_score))
    return tuple(findings)


def _summary(prediction: Prediction) -> str:
    if not prediction.findings:
        return "nothing above the threshold"
    largest = prediction.findings[0]
    place = ", ".join(f"{value:.0f}" for value in largest.centre_mm)
    count = len(prediction.findings)
    words = "1 component" if count == 1 else f"{count} components, {prediction.total_ml:.1f} ml in all"
    return f"{words}; the largest {largest.volume_ml:.1f} ml at ({place}) mm"


# ------------------------------------------------------------------------------------------------------ what is written


def _write(predictor: Predictor, scan: ScanFile, ready: ReadyScan, prediction: Prediction) -> list[str]:
    """Write everything but the account; the names of the files."""
    maps: dict[str, Any] = {
        "input": prediction.original,
        "reconstruction": prediction.reconstruction,
        "score": prediction.score_map,
        "lesions": prediction.found,
    }
    if prediction.spread is not None:
        maps["spread"] = prediction.spread
    files = []
    for kind, array in maps.items():
        path = predictor.out / f"{scan.name}_{kind}.nii.gz"
        native = ready.native.take(array, prediction.grid, ready.from_scan)
        write_native(path, native, ready.native, _HEADER_NOTICE + (_HEADER_DOUBT if ready.doubt else ""))
        files.append(path.name)
    table = predictor.out / f"{scan.name}_components.csv"
    write_text(table, _components_csv(prediction.findings, ready.doubt))
    picture = predictor.out / f"{scan.name}_overlay.png"
    overlay_figure(_view(predictor, ready, prediction), picture, _title(predictor, scan, ready, prediction), NOTICE)
    return [*files, table.name, picture.name]


def _components_csv(findings: Sequence[Finding], doubt: str) -> str:
    text = io.StringIO(newline="")
    text.write(f"# uadbench. {NOTICE}{_in_brackets(doubt)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for number, finding in enumerate(findings, start=1):
        place = [f"{value:.1f}" for value in finding.centre_mm]
        scores = [f"{finding.mean_score:.5g}", f"{finding.max_score:.5g}"]
        writer.writerow([number, f"{finding.volume_ml:.3f}", *place, *scores])
    return text.getvalue()


def _title(predictor: Predictor, scan: ScanFile, ready: ReadyScan, prediction: Prediction) -> str:
    folds = len(predictor.run.records)
    lines = [f"{scan.name}: {_summary(prediction)}"]
    lines += [f"registration doubtful: {ready.doubt}"] if ready.doubt else []
    return "\n".join([*lines, f"{predictor.run.title}, {folds} fold{'s' if folds > 1 else ''}"])


def _view(predictor: Predictor, ready: ReadyScan, prediction: Prediction) -> View:
    """The prediction at 1 mm along the axes of the scan's world, around the brain."""
    whole = isotropic_grid(ready.image_grid)
    brain = resample(ready.volume.brain_mask, ready.grid, whole, ready.from_scan)
    box = tuple(
        slice(max(0, part.start - _VIEW_MARGIN), min(size, part.stop + _VIEW_MARGIN))
        for part, size in zip(bounding_box(brain), whole.shape, strict=True)
    )
    grid = whole.cropped(box)
    scan = resample(ready.image, ready.image_grid, grid)
    low, high = np.percentile(scan[brain[box]], [1, 99.5])
    places = tuple(
        Place(_place_title(number, finding), _voxel_of(finding.centre_mm, grid))
        for number, finding in enumerate(prediction.findings, start=1)
    )
    return View(
        scan=np.clip((scan - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32),
        reconstruction=resample(prediction.reconstruction, prediction.grid, grid, ready.from_scan),
        score_map=resample(prediction.score_map, prediction.grid, grid, ready.from_scan),
        found=resample(prediction.found, prediction.grid, grid, ready.from_scan),
        threshold=predictor.threshold,
        places=places,
    )


def _place_title(number: int, finding: Finding) -> str:
    place = ", ".join(f"{value:.0f}" for value in finding.centre_mm)
    return f"{number}: {finding.volume_ml:.1f} ml\n({place}) mm\nscore {finding.mean_score:.3g}"


def _voxel_of(world: tuple[float, float, float], grid: Grid) -> tuple[int, int, int]:
    """The nearest voxel (z, y, x) of a world point, inside the grid."""
    x, y, z = np.linalg.solve(grid.affine[:3, :3], np.array(world) - grid.affine[:3, 3])
    k, j, i = (int(np.clip(round(value), 0, size - 1)) for value, size in zip((z, y, x), grid.shape, strict=True))
    return k, j, i


def _account(predictor: Predictor, scan: ScanFile, ready: ReadyScan, prediction: Prediction) -> dict[str, Any]:
    """What was done, for NAME.json."""
    run = predictor.run
    quality = ready.registration
    return {
        "notice": NOTICE,
        "doubt": ready.doubt,
        "scan": str(scan.path),
        "mask": None if scan.mask is None else str(scan.mask),
        "run": {
            "title": run.title,
            "method": run.config.method,
            "row": run.config.row,
            "trained_on": run.config.data_title,
            "modality": run.modality.value,
            "trained_on_phantom": run.is_phantom,
            "folds": [_fold(record) for record in run.records],
        },
        "threshold": {"of": predictor.threshold_name, "value": predictor.threshold},
        "slices": {"looked_at": run.slab.depth, "of": run.preparation.shape[0], "mm_each": run.preparation.factor},
        "steps": list(ready.steps),
        "brain_ml": round(ready.brain_ml, 1),
        "registration": None
        if quality is None
        else {"mutual_information": quality.mutual_information, "mask_dice": quality.mask_dice},
        "atlas_to_scan_mm": [[float(value) for value in line] for line in ready.to_scan],
        "components": [asdict(finding) for finding in prediction.findings],
        "made_with": describe_environment(predictor.device),
    }


def _fold(record: RunRecord) -> dict[str, Any]:
    return {"fold": record.config.fold, "cell": record.folder.name}
