"""The command line: `bench`.

Only Typer is imported at the top, so that `bench --help` answers at once; each command imports what it needs.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from typer.core import TyperGroup

from ...stopping import end_quickly, exit_code, signals_stop

if TYPE_CHECKING:
    from rich.console import Console

    from ...datasets.cohort import Data
    from ..engine.job import Job
    from ..plan.preset import Preset
    from ..plan.suite import SuiteRow
    from ..records.record import RunRecord


#: What is imported where it is used, because a bare GPU node has none of it.
_LATE_LIBRARIES = frozenset({"matplotlib", "nibabel", "nilearn", "pooch", "SimpleITK", "xlrd"})


class _Sentences(TyperGroup):
    """Turns errors that the user can mend into one sentence and exit code 2; Ctrl-C is 130 and SIGTERM 143."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the chosen command."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except EOFError as error:
            traceback.print_exception(error)  # Typer would say "Aborted!" and nothing else
            raise typer.Exit(1) from None
        except BaseException as error:
            code = None if isinstance(error, Exception) else exit_code(error)
            if code is not None:
                end_quickly()
                print("Stopped. The same command goes on where it stopped.", file=sys.stderr)
                raise typer.Exit(code) from None
            sentence = _sentence(error)
            if sentence is None:
                raise
            if ctx.params.get("debug"):
                traceback.print_exception(error)
            print(f"error: {sentence}", file=sys.stderr)
            raise typer.Exit(2) from None


def _sentence(error: BaseException) -> str | None:
    """The sentence of an error the user can mend; None for a defect of ours, which deserves its traceback."""
    from ...errors import DataError, UserError

    if not isinstance(error, Exception):  # nobody ends the program but by typer.Exit
        last = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}{f': {error}' if str(error) else ''}"
        return f"{last.filename}, line {last.lineno}, tried to end the program with {words}; mend the code that did"
    if isinstance(error, UserError | DataError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name in _LATE_LIBRARIES:
        return f"{error.name} is not installed here, and this command needs it; pip install {error.name}"
    if isinstance(error, MemoryError | OSError | RuntimeError | ImportError):  # else PyTorch is imported for nothing
        from ...out_of_memory import is_out_of_memory

        if is_out_of_memory(error):
            words = " ".join(str(error).split())[:300]
            return (
                f"out of memory ({type(error).__name__}{f': {words}' if words else ''}); end other programs, "
                "or take fewer processes (--jobs 1) or the CPU (--device cpu) where the command has them"
            )
    return None


_show_as_python_does = warnings.showwarning
#: Of our own warnings, those that tell of nothing wrong.
_NOTES = frozenset({"StoreWarning", "LockWarning", "CodeWarning"})


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show our own warnings as one sentence, all others as Python does."""
    if category.__module__.startswith("uadbench."):
        kind = "note" if category.__name__ in _NOTES else "warning"
        print(f"{kind}: {message}", file=sys.stderr)
    else:
        _show_as_python_does(message, category, filename, lineno, file, line)


app = typer.Typer(
    cls=_Sentences,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="uadbench: unsupervised anomaly detection in brain MRI, every method under one protocol.",
)
figure_app = typer.Typer(no_args_is_help=True, help="Draw figures: the cohort, reconstructions.")
prepare_app = typer.Typer(no_args_is_help=True, help="Write data sets in the layout that --data reads.")
app.add_typer(figure_app, name="figure")
app.add_typer(prepare_app, name="prepare")
splits_app = typer.Typer(no_args_is_help=True, help="The split files: who trains, validates and tests.")
app.add_typer(splits_app, name="splits")


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback behind an error, too.")] = False,
) -> None:
    """uadbench: unsupervised anomaly detection in brain MRI, every method under one protocol."""
    from ..reports.console import print_what_can_be_shown

    print_what_can_be_shown()


MethodOption = Annotated[
    list[str],
    typer.Option("--method", help="A row, a suite (table1, table2, frontier), all, or FILE.py:CLASS; may be repeated."),
]
FoldsOption = Annotated[str, typer.Option("--folds", help="all, or indices such as 0,2.")]
DataOption = Annotated[str, typer.Option("--data", help="phantom, or a directory of prepared scans.")]
PresetOption = Annotated[str, typer.Option("--preset", help="demo, quick, paper, or a .toml file.")]
SetOption = Annotated[list[str], typer.Option("--set", help="Change one number: section.key=value; may be repeated.")]
#: Lightning's and NumPy's seeds end at 2^32 - 1, and every fold adds 1000 to that of the run.
_MOST_SEED = 4_000_000_000
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=_MOST_SEED, help="Seed of initialisation, slice choice and noise.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
SplitsOption = Annotated[
    str | None,
    typer.Option("--splits", help="published, deleaked or own; default: published if there, refusing leaks."),
]
ResultsOption = Annotated[
    Path,
    typer.Option(
        "--results",
        envvar="UADBENCH_RESULTS",
        file_okay=False,
        help="Folder of runs, volume stores and the MLflow file.",
    ),
]
WithCheckpointOption = Annotated[bool, typer.Option(help="Log the checkpoint to MLflow too.")]
JobsOption = Annotated[
    int, typer.Option("--jobs", min=0, max=1024, help="Cells at a time; 0: one a core on the CPU, one on a GPU.")
]
_RESULTS = Path("results")


@app.command()
def run(
    method: MethodOption,
    folds: FoldsOption = "all",
    data: DataOption = "phantom",
    preset: PresetOption = "demo",
    change: SetOption = [],  # noqa: B006  (Typer copies it)
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    splits: SplitsOption = None,
    results: ResultsOption = _RESULTS,
    with_checkpoint: WithCheckpointOption = False,
    workers: JobsOption = 0,
) -> None:
    """Train and score methods; finished cells are not run again, interrupted ones go on."""
    from ..engine.environment import choose_device, default_workers, keep_to_own_cores
    from ..engine.preflight import preflight
    from ..engine.progress import RichReporter
    from ..plan.suite import select_rows

    console = _console()
    chosen = choose_device(device)
    keep_to_own_cores()
    entries = select_rows(method)
    settings = _preset(preset, change, entries)
    numbers = _fold_numbers(folds)
    source = _open(data, settings, results, splits, console)
    jobs = _jobs(entries, numbers, source, settings, seed)
    preflight(jobs, results / "runs", chosen, RichReporter(console))
    workers = min(workers or default_workers(chosen), len(jobs))
    _announce(jobs, source, settings, results, chosen, workers, console)
    _run_all(jobs, results, chosen, workers, with_checkpoint, console)


@app.command()
def score(
    method: MethodOption,
    by: Annotated[
        list[str], typer.Option("--score", help="A score (bench list scores); may be repeated. Default: its own.")
    ] = [],  # noqa: B006
    folds: FoldsOption = "all",
    data: DataOption = "phantom",
    preset: PresetOption = "demo",
    change: SetOption = [],  # noqa: B006
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    splits: SplitsOption = None,
    results: ResultsOption = _RESULTS,
    with_checkpoint: WithCheckpointOption = False,
    workers: JobsOption = 0,
) -> None:
    """Score trained cells again: by another score, or with other post-processing (--set score.median=3)."""
    from ..engine.environment import choose_device, default_workers, keep_to_own_cores
    from ..plan.own import word_of
    from ..plan.suite import select_rows, with_score
    from ..records.reuse import require_weights

    console = _console()
    chosen = choose_device(device)
    keep_to_own_cores()
    rows = select_rows(method)
    entries = tuple(with_score(row, name) for row in rows for name in by) if by else rows
    settings = _preset(preset, change, entries)
    numbers = _fold_numbers(folds)
    source = _open(data, settings, results, splits, console)
    jobs = _jobs(entries, numbers, source, settings, seed)
    words = [word_of(job.entry.method, job.entry.row.name.partition("+")[0]) for job in jobs]
    require_weights(list(zip(words, [job.cell for job in jobs], strict=True)), results / "runs")
    workers = min(workers or default_workers(chosen), len(jobs))
    _announce(jobs, source, settings, results, chosen, workers, console)
    _run_all(jobs, results, chosen, workers, with_checkpoint, console)


def _run_all(
    jobs: list[Job], results: Path, device: str, workers: int, with_checkpoint: bool, console: Console
) -> None:
    """Run the cells; MLflow is told after each, and a silent server costs nothing but a warning."""
    from ...errors import UserError
    from ..engine.progress import RichReporter
    from ..executors.processes import run_jobs
    from ..tracking.database import TrackingError, store_uri
    from ..tracking.sync import sync_record

    reporter = RichReporter(console)
    tracked = True
    problems = []
    outcomes = run_jobs(jobs, results / "runs", device, workers, reporter)
    for number, outcome in enumerate(outcomes, start=1):
        name = f"[{number}/{len(jobs)}] {outcome.job.entry.row.title}, fold {outcome.job.fold}"
        if outcome.problem:
            problems.append(outcome.problem)
            reporter.say(f"{name}: failed: {outcome.problem}")
            continue
        reporter.say(f"{name}: {_result(outcome.record)}")
        try:
            if tracked:
                sync_record(outcome.record, store_uri(results), with_checkpoint=with_checkpoint)
        except TrackingError as error:
            tracked = False  # a server that does not answer is asked once, not once a cell
            reporter.say(f"warning: {error}")
    if problems:
        raise UserError(f"{len(problems)} of {len(jobs)} cells failed, the others are done; the first: {problems[0]}")
    reporter.say("All cells are done. `bench table` shows them, `bench ui` compares them.")


def _result(record: RunRecord) -> str:
    shown = {key: value for key, value in record.metrics.items() if key.endswith(("/dice", "/auprc", "/l1"))}
    words = [f"{key} {value * (1e3 if key.endswith('l1') else 100):.2f}" for key, value in sorted(shown.items())]
    return ", ".join(words)


def _announce(
    jobs: list[Job], data: Data, preset: Preset, results: Path, device: str, workers: int, console: Console
) -> None:
    """Say what will be done and how long that should take."""
    from ..engine.environment import describe_environment
    from ..engine.job import check_lesions
    from ..records.record import record_of
    from ..speed.estimate import estimates

    runs = results / "runs"
    open_jobs = [job for job in jobs if not record_of(runs, job.cell).done]
    machine = describe_environment(device)
    console.print(
        f"Data: {data.title}, splits: {data.splits.name}. Preset: {preset.name}{_changes(preset)}.", highlight=False
    )
    console.print(f"Device: {machine['device']} on {machine['machine']}.", highlight=False)
    for departure in preset.departures:
        console.print(f"  departs from the paper: {departure}", markup=False, highlight=False)
    for note in data.splits.notes:
        console.print(f"  note: {note}", markup=False, highlight=False)
    for finding in data.splits.findings:
        console.print(f"  warning: {finding}", markup=False, highlight=False)
    console.print(f"Cells: {len(jobs)}, of which {len(jobs) - len(open_jobs)} are done.", highlight=False)
    if not open_jobs:
        return
    recipes = {job.cell.recipe.id: job for job in open_jobs}
    # Lesion sets are the same in every fold: one cell of a recipe speaks for all.
    for note in dict.fromkeys(note for job in recipes.values() for note in check_lesions(job)):
        console.print(f"  note: {note}", markup=False, highlight=False)
    found = estimates(recipes, runs, device, workers)
    for key, job in recipes.items():
        count = sum(other.cell.recipe.id == key for other in open_jobs)
        each = _duration(found[key].seconds) if not found[key].problem else "a time that could not be measured"
        console.print(f"  {job.entry.row.title}: {count} × {each}", markup=False, highlight=False)
        if found[key].problem:
            console.print(f"  warning: {found[key].problem}", markup=False, highlight=False)
    total = sum(found[job.cell.recipe.id].seconds for job in open_jobs) / min(workers, len(open_jobs))
    pace = f"{workers} cells at a time" if workers > 1 else "one cell at a time"
    rest = " without what could not be measured" if any(one.problem for one in found.values()) else ""
    console.print(
        f"This should take about {_duration(total)}{rest}, {pace}. Ctrl-C stops; the same command goes on.",
        highlight=False,
    )


@app.command()
def table(
    which: Annotated[str, typer.Argument(help="1, 2, frontier or all.")] = "all",
    form: Annotated[str, typer.Option("--format", help="rich, markdown, latex, csv or html.")] = "rich",
    paper: Annotated[bool, typer.Option("--paper", help="Put the published row under each of ours.")] = False,
    elsewhere: Annotated[bool, typer.Option("--elsewhere", help="Add what other papers reported.")] = False,
    controls: Annotated[bool, typer.Option("--controls", help="Add the control rows and the untrained l1.")] = False,
    beside: Annotated[bool, typer.Option("--beside", help="Add Dice at the exact threshold, l1 in the brain.")] = False,
    all_rows: Annotated[bool, typer.Option("--all-rows", help="Show the rows that were not run yet, too.")] = False,
    variants: Annotated[
        bool, typer.Option("--variants", help="Add runs with other --set and --seed, each in a line of its own.")
    ] = False,
    method: Annotated[
        list[str], typer.Option("--method", help="Add a row, e.g. your FILE.py:CLASS; may be repeated.")
    ] = [],  # noqa: B006
    data: DataOption = "phantom",
    preset: PresetOption = "demo",
    change: SetOption = [],  # noqa: B006
    seed: SeedOption = 0,
    results: ResultsOption = _RESULTS,
) -> None:
    """Print the tables from the runs in MLflow: 1 and 2 are the paper's, frontier is what came after it."""
    from ..plan.suite import select_rows
    from ..reports.tables import TableOptions, print_tables

    more = select_rows(method)
    print_tables(
        which,
        form,
        _preset(preset, change, more, alone=False),
        data,
        seed=seed,
        results=results,
        console=_console(sys.stdout),
        options=TableOptions(
            paper=paper,
            elsewhere=elsewhere,
            controls=controls,
            beside=beside,
            all_rows=all_rows,
            variants=variants,
        ),
        more=more,
    )


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="methods, scores, presets, data or runs.")],
    results: ResultsOption = _RESULTS,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Methods as README's table, with parameters and FLOPs (some seconds).")
    ] = False,
    preset: Annotated[str, typer.Option("--preset", help="Whose networks --markdown counts.")] = "paper",
) -> None:
    """List methods, scores, presets, data or runs."""
    from .listing import listing, markdown_listing

    if markdown:
        print(markdown_listing(what, _preset(preset, [])))
    else:
        _console(sys.stdout).print(listing(what, results))


@app.command()
def speed(
    method: MethodOption,
    preset: PresetOption = "demo",
    change: SetOption = [],  # noqa: B006
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, max=100_000, help="Slices a step; default: the preset's.")
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=1, max=1_000_000, help="Timed steps, after one that is not timed.")
    ] = 10,
    volumes: Annotated[bool, typer.Option("--volumes/--no-volumes", help="Time a volume's reconstruction too.")] = True,
    out: Annotated[
        Path | None, typer.Option("--out", help="The CSV; default: local/speed-PRESET-DEVICE.csv in --results.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what the CSV holds already.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    results: ResultsOption = _RESULTS,
) -> None:
    """Time training steps and reconstructions on random slices; the CSV is complete after every row."""
    from ..engine.environment import choose_device, keep_to_own_cores
    from ..engine.progress import RichReporter
    from ..plan.suite import select_rows
    from ..speed.measurement import as_markdown, as_rich
    from ..speed.session import Conditions, measure_all

    chosen = choose_device(device)
    keep_to_own_cores()
    entries = select_rows(method)
    settings = _preset(preset, change, entries)
    path = out or results / "local" / f"speed-{settings.name}-{chosen}.csv"
    conditions = Conditions(settings, chosen, batch_size, steps, volumes, seed)
    measured = measure_all(entries, conditions, path, RichReporter(_console()), again=again)
    if markdown:
        print(as_markdown(measured))
    else:
        _console(sys.stdout).print(as_rich(measured))
    _console().print(f"Wrote {path}.", highlight=False)


@app.command("new-method")
def new_method(
    name: Annotated[str, typer.Argument(help="Name of the file and the method, e.g. my_detector.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to write.")] = Path(),
) -> None:
    """Write a file with a working detector of your own, and its test."""
    from ..contract.new_method import next_steps, write_method

    print(next_steps(*write_method(name, folder)))


@app.command()
def sync(
    results: ResultsOption = _RESULTS,
    with_checkpoint: Annotated[bool, typer.Option(help="Log the checkpoints too.")] = False,
) -> None:
    """Bring MLflow up to date with the run records; twice doubles nothing."""
    from ..engine.progress import RichReporter
    from ..tracking.database import store_uri
    from ..tracking.sync import sync_all

    console = _console()
    uri = store_uri(results)
    synced = sync_all(results / "runs", uri, RichReporter(console), with_checkpoint=with_checkpoint)
    console.print(f"{uri}: {synced.written} cells written, {synced.known} were there already.", highlight=False)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port on this machine.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    results: ResultsOption = _RESULTS,
) -> None:
    """Open MLflow's own interface on the store."""
    from ..engine.progress import RichReporter
    from ..tracking.database import store_uri, without_password
    from ..tracking.interface import check_address, is_server, runs_link, serve
    from ..tracking.sync import prepare_store

    say = RichReporter(_console()).say
    uri = store_uri(results)
    if is_server(uri):
        link = runs_link(without_password(uri), prepare_store(uri))
        say(f"The store is a server, which has its own interface: {link}")
        return
    check_address(host, port)
    raise typer.Exit(serve(uri, prepare_store(uri), host, port, say))


@figure_app.command("cohort")
def figure_cohort(
    data: DataOption = "phantom",
    preset: PresetOption = "demo",
    splits: SplitsOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="The PNG to write.")] = None,
    results: ResultsOption = _RESULTS,
) -> None:
    """Draw a contact sheet of the cohort."""
    from ..figures.cohort import cohort_sheet

    console = _console()
    source = _open(data, _preset(preset, []), results, splits, console)
    path = out or results / "figures" / f"cohort-{source.name}.png"
    cohort_sheet(source, path)
    console.print(f"Wrote {path}.", highlight=False)


@figure_app.command("reconstructions")
def figure_reconstructions(
    method: MethodOption,
    fold: Annotated[int, typer.Option("--fold", min=0, max=1000, help="The fold whose weights are shown.")] = 0,
    data: DataOption = "phantom",
    preset: PresetOption = "demo",
    change: SetOption = [],  # noqa: B006
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    splits: SplitsOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="The PNG to write.")] = None,
    results: ResultsOption = _RESULTS,
) -> None:
    """Draw reconstruction, map and truth of the same volumes for several methods, as in Figure 3 of the paper."""
    from ..engine.environment import choose_device
    from ..plan.suite import select_rows
    from ..reports.comparison import draw_comparison

    console = _console()
    entries = select_rows(method)
    settings = _preset(preset, change, entries)
    source = _open(data, settings, results, splits, console)
    jobs = _jobs(entries, (fold,), source, settings, seed)
    path = out or results / "figures" / f"reconstructions-{source.name}-{settings.name}-fold{fold}.png"
    draw_comparison(jobs, results / "runs", choose_device(device), path)
    console.print(f"Wrote {path}.", highlight=False)


RawArgument = Annotated[Path, typer.Argument(help="The download: its folder, or the .tar.", show_default=False)]
PreparedOption = Annotated[Path, typer.Option("--out", help="The data directory to write to; give it to --data.")]
StripOption = Annotated[
    str,
    typer.Option(
        "--skull-strip",
        help="hd-bet (what the published preparation used), deepbet, synthstrip, auto (the first of these that is "
        "installed), mask-file (the brain masks of the download), or none (the scans are stripped; that is checked).",
    ),
]
AtlasOption = Annotated[
    str,
    typer.Option(
        "--atlas",
        help="sri24, the T1 that the published preparation used, or sri24-t2, the T2 beside it (each fetched once and "
        "verified); mni152; a stripped image, 0 outside the brain; or auto: that of the scans already there, else "
        "sri24 if it can be had, else mni152.",
    ),
]
AtlasModalityOption = Annotated[
    str,
    typer.Option("--atlas-modality", help="t1 or t2: what --atlas FILE is, where its name does not say so."),
]
PrepareJobsOption = Annotated[
    int,
    typer.Option(
        "--jobs", min=1, max=1024, help="Processes; each needs 3 GB with hd-bet, 1.6 GB with deepbet, else 0.8 GB."
    ),
]


MaxVoxelsOption = Annotated[
    int | None,
    typer.Option(
        "--max-voxels", min=1, help="Refuse a scan of more voxels before it is read; default: 250 million, some 3 GB."
    ),
]

N4LevelsOption = Annotated[
    int,
    typer.Option(
        "--n4-levels",
        min=0,
        max=6,
        help="Resolutions of the bias field; the finest of the usual 4 eats large tumours, 0 leaves the bias in.",
    ),
]


@prepare_app.command("ixi")
def prepare_ixi(
    raw: RawArgument,
    out: PreparedOption,
    skull_strip: StripOption = "auto",
    atlas: AtlasOption = "auto",
    atlas_modality: AtlasModalityOption = "",
    n4_levels: N4LevelsOption = 4,
    jobs: PrepareJobsOption = 1,
    max_voxels: MaxVoxelsOption = None,
) -> None:
    """Prepare the download of IXI: IXI-T2.tar or its folder, with IXI.xls beside the scans for ages."""
    _prepare_download("ixi", raw, out, skull_strip, (atlas, atlas_modality), n4_levels, jobs, max_voxels)


@prepare_app.command("brats21")
def prepare_brats21(
    raw: RawArgument,
    out: PreparedOption,
    skull_strip: StripOption = "none",
    atlas: AtlasOption = "auto",
    atlas_modality: AtlasModalityOption = "",
    n4_levels: N4LevelsOption = 4,
    jobs: PrepareJobsOption = 1,
    max_voxels: MaxVoxelsOption = None,
) -> None:
    """Prepare the download of BraTS21: the training set's .tar or folder."""
    _prepare_download("brats21", raw, out, skull_strip, (atlas, atlas_modality), n4_levels, jobs, max_voxels)


@prepare_app.command("mslub")
def prepare_mslub(
    raw: RawArgument,
    out: PreparedOption,
    skull_strip: StripOption = "mask-file",
    atlas: AtlasOption = "auto",
    atlas_modality: AtlasModalityOption = "",
    n4_levels: N4LevelsOption = 4,
    jobs: PrepareJobsOption = 1,
    max_voxels: MaxVoxelsOption = None,
) -> None:
    """Prepare the download of MSLUB: the folder of the patients."""
    _prepare_download("mslub", raw, out, skull_strip, (atlas, atlas_modality), n4_levels, jobs, max_voxels)


def _prepare_download(
    name: str,
    raw: Path,
    out: Path,
    skull_strip: str,
    atlas: tuple[str, str],
    n4_levels: int,
    jobs: int,
    max_voxels: int | None,
) -> None:
    """Prepare a set, say what happened, and leave with 1 if a scan failed; `atlas` is the atlas and its modality."""
    from ...datasets.downloads.prepare import PrepareOptions, plan_download, prepare_download
    from ...datasets.registry import data_set_named, data_sets
    from ..engine.progress import RichReporter
    from ..sources import StoreProgress

    options = PrepareOptions(
        skull_strip=skull_strip, atlas=atlas[0], atlas_modality=atlas[1], n4_levels=n4_levels, max_voxels=max_voxels
    )
    plan = plan_download(data_set_named(name), raw, out, options, tuple(data_sets().values()))
    console = _console()
    for note in plan.notes:
        console.print(f"Note: {note}.", highlight=False, markup=False)
    with StoreProgress(RichReporter(console), f"prepare {plan.raw.data_set.title}") as progress:
        prepared = prepare_download(plan, jobs, progress.update)
    for line in (*plan.raw.lines(), *prepared.lines(out, name)):
        console.print(line, highlight=False, markup=False)
    if prepared.failures:
        raise typer.Exit(1)


@app.command()
def predict(
    scan: Annotated[
        list[Path],
        typer.Argument(
            help="Scans of any orientation and voxel size: .nii, .nii.gz, .mgz, .mgh, pairs of .hdr and .img.",
            show_default=False,
        ),
    ],
    run_: Annotated[
        str,
        typer.Option("--run", help="A cell, a parent (all its folds), a row, or MLflow's id of one: bench list runs."),
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to write to.")],
    mask: Annotated[list[Path], typer.Option("--mask", help="A scan's brain mask; once a scan, in their order.")] = [],  # noqa: B006
    threshold: Annotated[
        str, typer.Option("--threshold", help="The run's threshold: of tumours or of ms; or a number.")
    ] = "tumours",
    skull_strip: Annotated[
        str,
        typer.Option(
            "--skull-strip",
            help="auto (a stripped scan is recognised, others go to the first of these that is installed), hd-bet, "
            "deepbet, synthstrip, none.",
        ),
    ] = "auto",
    atlas: Annotated[
        str, typer.Option("--atlas", help="As for bench prepare; auto: that of the run's own scans.")
    ] = "auto",
    n4_levels: Annotated[
        int | None,
        typer.Option("--n4-levels", min=0, max=6, help="As for bench prepare; default: as the run's own scans."),
    ] = None,
    max_voxels: MaxVoxelsOption = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Predict scans whose registration is not to be believed; every output says so."),
    ] = False,
    device: DeviceOption = "auto",
    results: ResultsOption = _RESULTS,
) -> None:
    """Write the anomaly map of new scans, in each scan's own space. Research software and no medical device."""
    from ...datasets.scans.scan_header import head_limits
    from ..engine.environment import choose_device, keep_to_own_cores
    from ..engine.progress import RichReporter
    from ..prediction.predict import NOTICE, Predictor, choose_threshold, predict_scans, scan_files
    from ..prediction.scan_recipe import recipe_for
    from ..prediction.trained import find_run
    from ..tracking.database import store_uri

    console = _console()
    chosen = choose_device(device)
    keep_to_own_cores()
    scans = scan_files(scan, mask)
    trained = find_run(run_, results / "runs", store_uri(results))
    name, value = choose_threshold(threshold, trained)
    recipe, limits = recipe_for(trained, atlas, n4_levels), head_limits(max_voxels)
    predictor = Predictor(trained, name, value, recipe, skull_strip, chosen, out, limits, force)
    for line in predictor.lines():
        console.print(line, highlight=False, markup=False)
    outcome = predict_scans(predictor, scans, RichReporter(console))
    for line in (*outcome.lines(out), NOTICE):
        console.print(line, highlight=False, markup=False)
    if outcome.failures:
        raise typer.Exit(1 if outcome.predicted or outcome.kept else 2)


@prepare_app.command("phantom")
def prepare_phantom(
    nifti: Annotated[Path, typer.Option("--nifti", help="The folder to write.")],
    size: Annotated[str, typer.Option("--size", help="demo or paper.")] = "demo",
) -> None:
    """Write the phantom as NIfTI files in the layout of the field."""
    from ...cores import usable_cores
    from ...datasets.phantom.export import export_nifti
    from ...datasets.phantom.load import phantom_size
    from ..engine.progress import RichReporter
    from ..sources import PHANTOM_SEED, StoreProgress

    console = _console()
    with StoreProgress(RichReporter(console), "write scans") as progress:
        export_nifti(phantom_size(size), nifti, PHANTOM_SEED, usable_cores(), progress.update)
    console.print(f"Wrote the phantom ({size}) to {nifti}; use it with --data {nifti}.", highlight=False)


@app.command()
def check(
    directory: Annotated[Path, typer.Argument(help="The data directory, as for --data.", show_default=False)],
    figure: Annotated[Path | None, typer.Option("--figure", help="Draw a contact sheet to this PNG, too.")] = None,
    splits: SplitsOption = None,
    jobs: Annotated[int, typer.Option("--jobs", min=0, max=1024, help="Processes, 0.5 GB each; 0: one a core.")] = 0,
    max_voxels: MaxVoxelsOption = None,
) -> None:
    """Look at every scan, mask and segmentation of a data directory and at its split: can a run be trusted?

    Exit code 0, or 2 with the reasons.
    """
    from ...cores import usable_cores
    from ...datasets.check.check import check_directory
    from ...datasets.registry import data_sets
    from ...datasets.scans.scan_header import usual_limits
    from ..engine.progress import RichReporter
    from ..figures.check_sheet import draw_sheet
    from ..sources import StoreProgress
    from .check_report import print_report

    console = _console()
    reading = usual_limits(max_voxels)
    try:
        with StoreProgress(RichReporter(console), "check scans") as progress:
            known = tuple(data_sets().values())
            report = check_directory(
                directory, splits, jobs or usable_cores(), progress.update, known=known, reading=reading
            )
        if figure is not None:
            with StoreProgress(RichReporter(console), "draw scans") as progress:
                draw_sheet(report, figure, progress.update, reading)
            console.print(f"Wrote {figure}.", highlight=False)
    except KeyboardInterrupt as stop:
        code = exit_code(stop)
        end_quickly()
        print("Stopped. The same command begins anew.", file=sys.stderr)
        raise typer.Exit(code or 2) from None
    print_report(report, _console(sys.stdout))
    if not report.is_sound:
        raise typer.Exit(2)


@splits_app.command("fetch")
def splits_fetch(
    out: Annotated[Path, typer.Option("--out", help="The data directory; the files go to its splits/.")],
    copy: Annotated[Path | None, typer.Option("--from", help="A folder that holds a copy; no network then.")] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", help="A mirror of the published folder.")] = None,
    cache: Annotated[Path | None, typer.Option("--cache", help="Where downloads are kept; default: yours.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files of the same names that differ.")] = False,
) -> None:
    """Fetch the published split files, verify each one's sha256, and say what the audit finds in them."""
    import shlex

    from ...datasets.registry import data_sets
    from ...datasets.splits.published import BASE_URL, LocalCopy, Server, fetch_splits, review_splits
    from ...errors import UserError
    from ..engine.progress import RichReporter
    from ..sources import StoreProgress

    if copy is not None and (base_url is not None or cache is not None):
        raise UserError("--from takes a local copy, without a server or a cache; leave out --base-url and --cache")
    source = LocalCopy(copy) if copy is not None else Server(base_url or BASE_URL, cache)
    with StoreProgress(RichReporter(_console()), "fetch split files") as progress:
        placed = fetch_splits(out, source, force=force, progress=progress.update)
    review = review_splits(out, tuple(data_sets().values()))
    choice = " --splits deleaked" if review.leaks else ""
    console = _console(sys.stdout)
    for line in (
        f"{placed.folder}: {len(placed.written)} files written, {len(placed.kept)} were there already.",
        *review.lines(),
        f"Next, with the scans in place: bench run --method table1 --data {shlex.quote(str(out))}{choice}",
    ):
        console.print(line, markup=False, highlight=False)


def _preset(name: str, changes: list[str], entries: Sequence[SuiteRow] = (), *, alone: bool = True) -> Preset:
    """The preset with its changes, which may name numbers that the chosen methods bring along.

    `alone`: no other rows read it, so that a change that none of these reads is refused.
    """
    from ..plan.plan import brought_sections, check_changes, plan_for
    from ..plan.preset import load_preset

    preset = load_preset(name, changes, brought_sections(entry.method for entry in entries))
    check_changes(preset, entries, alone=alone)
    for entry in entries:  # a number that will not do is said before data are prepared
        plan_for(preset, entry.method, entry.row, entry.score)
    return preset


def _open(word: str, preset: Preset, results: Path, splits: str | None, console: Console) -> Data:
    from ..engine.progress import RichReporter
    from ..sources import open_data

    return open_data(word, preset.phantom, preset.preparation, results, splits, RichReporter(console))


def _jobs(
    entries: tuple[SuiteRow, ...], folds: tuple[int, ...] | None, data: Data, preset: Preset, seed: int
) -> list[Job]:
    from ..engine.job import jobs_for

    chosen = tuple(range(len(data.splits.folds))) if folds is None else folds
    return jobs_for(entries, chosen, data, preset, seed)


def _fold_numbers(word: str) -> tuple[int, ...] | None:
    """The folds that `--folds` names; None for all. Read before the data, whose preparation may take minutes."""
    from ...errors import UserError

    if word == "all":
        return None
    parts = [part.strip() for part in word.split(",")]
    # Only these ten digits: int() also takes those of other scripts, signs and underscores.
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise UserError(f"--folds {word}: write all, or indices such as 0,2")
    folds = [int(part) for part in parts]
    twice = [fold for fold in dict.fromkeys(folds) if folds.count(fold) > 1]
    if twice:
        raise UserError(f"--folds {word}: fold {twice[0]} stands there {folds.count(twice[0])} times; write it once")
    return tuple(folds)


def _changes(preset: Preset) -> str:
    return f" with {', '.join(preset.changed)}" if preset.changed else ""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _console(stream: TextIO | None = None) -> Console:
    """A console on stderr: progress and remarks; tables go to stdout."""
    from ..reports.console import make_console

    return make_console(stream)


def main() -> None:
    """Entry point of the command `bench`: a process of its own, and its workers', which shows no windows.

    A notebook's shell names a backend for figures that this environment may not have; Lightning imports matplotlib.
    """
    os.environ["MPLBACKEND"] = "agg"
    with signals_stop():
        app()
