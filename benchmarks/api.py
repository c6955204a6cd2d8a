"""The Python functions behind `uadbench.run`, `uadbench.score` and `uadbench.predict`.

What they take is what the commands of the same names take. Progress goes to stderr, or nowhere with `quiet`; what the
user can mend is raised as `UserError`. Libraries are imported when a function is called.
"""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame

    from ..methods import Detector
    from .engine.progress import Reporter
    from .opening import Opened
    from .plan.request import Request, Where

    Method = str | type[Detector]
    Scan = str | Path | NDArray[Any]


def run(
    method: Method | Sequence[Method],
    *,
    folds: str | int | Iterable[int] = "all",
    data: str | Path = "phantom",
    data_sets: str | Path | Sequence[str | Path] = (),
    modality: str = "t2",
    preset: str | Path = "demo",
    changes: Mapping[str, Any] | Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    splits: str | None = None,
    on: str | Where = "processes",
    jobs: int = 0,
    results: str | Path = "results",
    with_checkpoint: bool = False,
    with_model: bool = False,
    system_metrics: bool = False,
    quiet: bool = False,
) -> DataFrame:
    """Train and score methods, as `bench run` does; finished cells are not run again, interrupted ones go on.

    Args:
        method: a row ("maediff"), a suite ("table1"), "all", "FILE.py:CLASS", a class in a file; or several of them.
        folds: "all", or indices.
        data: "phantom", or a directory of prepared scans.
        data_sets: files of your own that describe data sets.
        modality: "t1", "t1ce", "t2", "flair" or "pd": the contrast of the scans; a run has one.
        preset: "demo", "quick", "paper", or a .toml file.
        changes: numbers of the preset to change, {"train.epochs": 20} or ["train.epochs=20"].
        seed: of initialisation, slice choice and noise.
        device: "auto", "cpu" or "cuda".
        splits: "published", "deleaked" or "own"; None takes the published ones if they are there, and refuses leaks.
        on: "processes" runs `jobs` cells at a time, each in a process of its own; "here" does all in this process;
            "ray" and "slurm" hand them to these, and a `uadbench.Where` says more.
        jobs: cells at a time; 0 for one per core on the CPU and one on a GPU.
        results: folder of runs, volume stores and the MLflow file.
        with_checkpoint: log the weights to MLflow, too.
        with_model: log a model per cell to MLflow, too, which `mlflow.pyfunc.load_model` predicts with.
        system_metrics: note load and memory of the machine while cells run; needs psutil.
        quiet: print nothing, and time no steps for an estimate.

    Returns:
        One row per cell, as `load_results(results).to_dataframe()` has them.

    Raises:
        UserError: something to mend, or cells that failed; all others were run, and nothing computed is lost.
        KeyboardInterrupt: Ctrl-C, or a notebook's stop button; the same call goes on.
    """
    request = _request(method, on, jobs, folds=folds, data=data, data_sets=data_sets, modality=modality, preset=preset,
                       changes=changes, seed=seed, device=device, splits=splits, results=results,
                       with_checkpoint=with_checkpoint, with_model=with_model,
                       system_metrics=system_metrics)  # fmt: skip
    return _carry_out(request, quiet=quiet)


def score(
    method: Method | Sequence[Method],
    *,
    by: str | Sequence[str] = (),
    folds: str | int | Iterable[int] = "all",
    data: str | Path = "phantom",
    data_sets: str | Path | Sequence[str | Path] = (),
    modality: str = "t2",
    preset: str | Path = "demo",
    changes: Mapping[str, Any] | Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    splits: str | None = None,
    on: str | Where = "processes",
    jobs: int = 0,
    results: str | Path = "results",
    with_checkpoint: bool = False,
    with_model: bool = False,
    system_metrics: bool = False,
    quiet: bool = False,
) -> DataFrame:
    """Score trained cells again, as `bench score` does: by another score, or with other post-processing.

    Args:
        method: as for `run`.
        by: scores, e.g. "ssim"; none is the method's own, for changes such as {"score.median": 3}.
        folds: as for `run`, and so are all that follow.
        data: see `run`.
        data_sets: see `run`.
        modality: see `run`.
        preset: see `run`.
        changes: see `run`.
        seed: see `run`.
        device: see `run`.
        splits: see `run`.
        on: see `run`.
        jobs: see `run`.
        results: see `run`.
        with_checkpoint: see `run`.
        with_model: see `run`.
        system_metrics: see `run`.
        quiet: see `run`.

    Returns:
        One row per cell.

    Raises:
        UserError: as `run`, or a cell was never trained.
    """
    scores = (by,) if isinstance(by, str) else tuple(by)
    request = _request(method, on, jobs, scores=scores, train=False, folds=folds, data=data, data_sets=data_sets,
                       modality=modality, preset=preset, changes=changes, seed=seed, device=device, splits=splits,
                       results=results, with_checkpoint=with_checkpoint, with_model=with_model,
                       system_metrics=system_metrics)  # fmt: skip
    return _carry_out(request, quiet=quiet)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a run found in a scan. Research software and no medical device: not for diagnosis or treatment.

    Arrays have the scan's own voxels, [X, Y, Z] as nibabel reads them, and are 0 where the method did not look.

    Attributes:
        name: the scan's.
        affine: voxels to world millimetres, RAS+, [4, 4].
        scan: the scan as the method saw it, grey values in [0, 1].
        reconstruction: the healthy brain that the method believes to be behind it, the same scale.
        score: anomaly map, mean over folds.
        spread: its standard deviation over folds; None for a single fold.
        lesions: True where the score exceeds the run's threshold.
        components: what was found, the largest first: millilitres, centre in world millimetres, score.
        account: every step, and with what it was made; what NAME.json says.
        files: the files by kind ("score", "overlay", …); empty where no folder was given.
    """

    name: str
    affine: NDArray[np.float64]
    scan: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    score: NDArray[np.float32]
    spread: NDArray[np.float32] | None
    lesions: NDArray[np.bool_]
    components: DataFrame
    account: Mapping[str, Any]
    files: Mapping[str, Path]


def predict(
    scan: Scan,
    run: str,
    *,
    affine: NDArray[Any] | None = None,
    mask: Scan | None = None,
    series: str | int | None = None,
    name: str = "",
    out: str | Path | None = None,
    modality: str | None = None,
    threshold: str | float = "tumours",
    skull_strip: str = "auto",
    atlas: str = "auto",
    n4_levels: int | None = None,
    force: bool = False,
    device: str = "auto",
    results: str | Path = "results",
    quiet: bool = False,
) -> Prediction:
    """Find what a trained run holds for an anomaly in a new scan, as `bench predict` does.

    Args:
        scan: path of a scan of any orientation and voxel size, or of a folder of DICOM files; or its voxels [X, Y, Z]
            together with `affine`.
        run: a cell, a parent (all its folds), a row, or MLflow's id of one: `bench list runs`.
        affine: voxels to world millimetres, RAS+, [4, 4]; with an array only.
        mask: the brain mask, as path or as array of the scan's shape.
        series: of DICOM with several series: which, by number or UID.
        name: what to call the results; empty takes the file's name, of DICOM "series-NUMBER".
        out: folder to keep the maps, the table, the picture and the account in; None keeps no files.
        modality: "t1", "t2", ...: the contrast of the scan, which must be that of the run; None takes it to be.
        threshold: the run's threshold of a lesion set, by its name, or a number.
        skull_strip: "auto", "hd-bet", "deepbet", "synthstrip" or "none".
        atlas: "auto" is that of the run's own scans.
        n4_levels: resolutions of the bias field; None as the run's own scans.
        force: also where the registration is not to be believed.
        device: "auto", "cpu" or "cuda".
        results: the folder of the runs.
        quiet: print nothing.

    Raises:
        UserError: no such run, or an argument that does not do.
        DataError: the scan cannot be predicted; why.
    """
    from ..datasets.modality import modality_named
    from .engine.environment import choose_device, settle_process
    from .prediction.inputs import find_scans
    from .prediction.predict import predict_scans
    from .prediction.predictor import Predictor, choose_threshold
    from .prediction.same_modality import require_modality
    from .prediction.scan_recipe import recipe_for
    from .prediction.trained import find_run
    from .tracking.database import store_uri

    folder, reporter = Path(results), _reporter(quiet=quiet)
    chosen = choose_device(device)
    settle_process()
    declared = None if modality is None else modality_named(modality)
    trained = find_run(run, folder / "runs", store_uri(folder), declared)
    lesions, value = choose_threshold(str(threshold), trained)
    recipe = recipe_for(trained, atlas, n4_levels)
    with tempfile.TemporaryDirectory(prefix="uadbench-") as place:
        paths = [_as_file(scan, affine, Path(place) / "scan.nii.gz")]
        masks = [] if mask is None else [_as_file(mask, affine, Path(place) / "scan_mask.nii.gz")]
        kept = Path(place) / "maps" if out is None else Path(out)
        predictor = Predictor(trained, lesions, value, recipe, skull_strip, chosen, kept, force=force)
        names, chosen_series = [name] if name else [], [] if series is None else [str(series)]
        (found,) = find_scans(paths, masks, names, chosen_series).scans
        for doubt in require_modality(declared, trained, [found]):
            reporter.say(f"warning: {doubt}")
        outcome = predict_scans(predictor, [found], reporter)
        if outcome.failures:
            raise DataError(f"{found.name}: {outcome.failures[0].reason}")
        return _read_prediction(kept, found.name, keeps_files=out is not None)


def _read_prediction(folder: Path, name: str, *, keeps_files: bool) -> Prediction:
    """A prediction from the files that were written for a scan."""
    import nibabel as nib
    import numpy as np
    import pandas as pd

    account = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    paths = {file.removeprefix(f"{name}_").partition(".")[0]: folder / file for file in account["files"]}
    images = {kind: nib.Nifti1Image.from_filename(path) for kind, path in paths.items() if path.suffix == ".gz"}
    arrays = {kind: np.asarray(image.dataobj, dtype=np.float32) for kind, image in images.items()}
    return Prediction(
        name=name,
        affine=np.array(images["score"].affine, dtype=np.float64),
        scan=arrays["input"],
        reconstruction=arrays["reconstruction"],
        score=arrays["score"],
        spread=arrays.get("spread"),
        lesions=arrays["lesions"] > 0.5,
        components=pd.read_csv(paths["components"], comment="#"),
        account=account,
        files={**paths, "account": folder / f"{name}.json"} if keeps_files else {},
    )


# ------------------------------------------------------------------------------------------------------------- requests


def _request(method: Method | Sequence[Method], on: str | Where, jobs: int, **words: Any) -> Request:
    """The arguments of a call in the words of the command line."""
    from ..datasets.modality import modality_named
    from .plan.request import Request, Where

    return Request(
        methods=tuple(_method_words(method)),
        folds=_folds_word(words.pop("folds")),
        data=str(words.pop("data")),
        data_sets=_paths(words.pop("data_sets")),
        modality=modality_named(words.pop("modality")),
        preset=str(words.pop("preset")),
        changes=_change_words(words.pop("changes")),
        results=Path(words.pop("results")),
        where=replace(on, jobs=jobs or on.jobs) if isinstance(on, Where) else Where(on=on, jobs=jobs),
        **words,
    )


def _carry_out(request: Request, *, quiet: bool) -> DataFrame:
    """Understand, check, announce and run a request."""
    from .executors.main_guard import require_main_guard
    from .opening import open_request
    from .plan.request import requested_rows

    if request.where.on == "processes":
        require_main_guard()
    for row in requested_rows(request.methods):
        _refuse_main(row.card.place)
    reporter = _reporter(quiet=quiet)
    return _run(open_request(request, reporter), reporter, quiet=quiet)


def _run(opened: Opened, reporter: Reporter, *, quiet: bool) -> DataFrame:
    """Check, announce and run what has been understood; before that, PyTorch is not imported."""
    from .announcement import announce
    from .experiment import prepare, raise_failures
    from .reports.cells import cells_of_records

    experiment = prepare(opened)
    experiment.check(reporter)
    expected = {} if quiet else announce(experiment, reporter).by_recipe
    outcomes = experiment.run(reporter, expected)
    raise_failures(outcomes)
    return cells_of_records(outcome.record for outcome in outcomes)


def _reporter(*, quiet: bool) -> Reporter:
    from .engine.progress import RichReporter, SilentReporter
    from .reports.console import make_console

    return SilentReporter() if quiet else RichReporter(make_console())


def _method_words(method: Method | Sequence[Method]) -> list[str]:
    """What `--method` takes for each."""
    if isinstance(method, str):
        return [method]
    if isinstance(method, type):
        return _words_of_class(method)
    return [word for one in method for word in _method_words(one)]


def _words_of_class(cls: type[Detector]) -> list[str]:
    """The rows of a class that is registered; else the file that it stands in, as its text is part of a cell's id."""
    from ..methods import methods
    from ..own_files import own_file_of
    from ..registry import place_of

    _refuse_main(place_of(cls))
    if cls in methods().values():
        return [row.name for row in cls.info.rows]
    own = own_file_of(cls)
    file = str(own.path) if own is not None else inspect.getsourcefile(cls)
    return [f"{file}:{cls.__name__}"]


def _refuse_main(place: str) -> None:
    """Refuse a class of a notebook or of the script itself.

    Args:
        place: where the class is defined, "module.name".

    Raises:
        UserError: nobody could say later which code made its numbers, and no worker process could import it.
    """
    if place.startswith("__main__."):
        name = place.rpartition(".")[2]
        raise UserError(
            f"{name} is defined in the notebook or script that runs; put it into a file of its own and pass "
            f'method="FILE.py:{name}", so that its code is part of the cell\'s id and workers can import it'
        )


def _paths(files: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    return (Path(files),) if isinstance(files, str | Path) else tuple(map(Path, files))


def _folds_word(folds: str | int | Iterable[int]) -> str:
    return str(folds) if isinstance(folds, str | int) else ",".join(map(str, folds))


def _change_words(changes: Mapping[str, Any] | Sequence[str]) -> tuple[str, ...]:
    """`section.key=value` for each change; values as TOML writes them, which is as JSON does for all that presets hold.

    Raises:
        UserError: a value that is neither a number, a text, a truth value nor a list of these.
    """
    if isinstance(changes, str):
        return (changes,)
    if not isinstance(changes, Mapping):
        return tuple(changes)
    try:
        return tuple(f"{key}={json.dumps(value)}" for key, value in changes.items())
    except TypeError as error:
        raise UserError(f"changes: {error}; give numbers, texts, truth values or lists of these") from error


def _as_file(scan: Scan, affine: NDArray[Any] | None, path: Path) -> Path:
    """The scan's own path, or `path` with the array written to it.

    Raises:
        UserError: an array without an affine, or of another shape than a volume has.
    """
    import numpy as np

    if not isinstance(scan, np.ndarray):
        return Path(scan)
    if affine is None or np.shape(affine) != (4, 4):
        raise UserError("an array needs affine=, the 4 x 4 matrix from its voxels to world millimetres (RAS+)")
    if scan.ndim != 3:
        raise UserError(f"a scan has three dimensions [X, Y, Z], this array has the shape {scan.shape}")
    import nibabel as nib

    voxels = scan.astype(np.uint8 if scan.dtype == bool else np.float32)
    nib.save(nib.Nifti1Image(voxels, np.asarray(affine, dtype=np.float64)), path)
    return path
