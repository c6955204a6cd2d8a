"""Which test scans count: those without a lesion in view by `score.lesion_free`, and a part by `score.test_volumes`."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, check_lesions, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.reading import reader_of
from uadbench.benchmarks.engine.samples import figure_samples
from uadbench.benchmarks.engine.scoring import (
    Reading,
    Truth,
    find_thresholds,
    lesion_mask,
    score_lesions,
    scored_scans,
    truth_of,
)
from uadbench.benchmarks.engine.slices import Slab
from uadbench.benchmarks.figures.cohort import _subject_title
from uadbench.benchmarks.plan.plan import plan_for
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record import RunRecord, all_records
from uadbench.datasets.cohort import HEALTHY, Cohort, Data, Subject
from uadbench.datasets.layout import SEGMENTATION
from uadbench.datasets.load import load_disk
from uadbench.datasets.modality import Modality
from uadbench.datasets.registry import data_sets
from uadbench.datasets.scans.preparation import PreparationSettings, PreparedVolume, prepare_volume
from uadbench.datasets.store.build import build_store
from uadbench.datasets.store.store import VolumeStore
from uadbench.errors import DataError, UserError
from uadbench.methods import Row

from cases import TINY


def hidden_brain(store: VolumeStore, place: int | None, hidden: frozenset[str], subject: Subject) -> PreparedVolume:
    """A brain of a store; a hidden one has its lesion in that slice alone, or nowhere."""
    volume, brain, lesion = (np.array(read(subject.id)) for read in (store.volume, store.brain_mask, store.lesion_mask))
    if subject.id in hidden:
        area = lesion.any(axis=0)
        lesion[:] = False
        if place is not None:
            lesion[place] = area
    return PreparedVolume(volume, brain, lesion)


def hiding(data: Data, folder: Path, *hidden: str, place: int | None = 0) -> Data:
    """The same data, the lesions of some tumour scans in slice 0, which no slab of four of six slices holds."""
    old = data.lesions["tumours"]
    make = partial(hidden_brain, old.store, place, frozenset(hidden))
    recipe = {"hidden": sorted(hidden), "preparation": {"factor": 2}}
    store = build_store(folder / "hidden", old.store.subjects, make, recipe, has_lesions=True, jobs=1)
    return replace(data, lesions={**data.lesions, "tumours": replace(old, store=store)})


def job_of(data: Data, *changes: str, row: str = "thresh") -> Job:
    return jobs_for(select_rows([row]), (0,), data, load_preset(str(TINY), changes), 0)[0]


def run(job: Job, runs: Path) -> RunRecord:
    return run_job(job, runs, "cpu", SilentReporter())


# ------------------------------------------------------------------------------------------- without a lesion in view


def test_an_excluded_scan_is_named_and_in_no_mean(tiny_data: Data, tmp_path: Path) -> None:
    data = hiding(tiny_data, tmp_path, "tumours-3")
    record = run(job_of(data, "score.lesion_free=exclude"), tmp_path / "runs")
    one, other = (score for score in record.scores() if score.role == "tumours")
    assert (other.subject, other.dice, other.dice_exact, other.auprc) == ("tumours-3", None, None, None)
    assert other.note == "no lesion in slices 1 to 4 (score.lesion_free=exclude)"
    assert other.lesion_ml == 0 and other.l1 > 0
    assert one.note is None and one.dice is not None
    assert record.metrics["tiny-tumours/dice"] == one.dice
    assert record.metrics["tiny-tumours/auprc"] == one.auprc
    counts = [record.metrics[f"tiny-tumours/scans_{word}"] for word in ("scored", "in_test", "lesion_free")]
    assert counts == [2, 2, 1]
    assert record.metrics["tiny-ms/scans_lesion_free"] == 0


@pytest.mark.parametrize("marked", [True, False])
def test_zero_is_what_the_published_code_makes_of_it(marked: bool, tiny_data: Data, tmp_path: Path) -> None:
    """Its formulas, written out: a quotient of NumPy numbers, recall as scikit-learn 1.0.1 has it, means by nanmean."""
    data = hiding(tiny_data, tmp_path, "tumours-3")
    job = job_of(data, "score.lesion_free=zero")
    cohort = data.lesions["tumours"]
    truth = lesion_mask(cohort, "tumours-3", job.slab)
    score_map = np.zeros(truth.shape, np.float32)
    score_map[1:3, 40:50, 40:50] = 0.9 if marked else 0.1
    reading = Reading(score_map, score_map, score_map, score_map > 0, 1.0)
    pair = find_thresholds(lambda: [score_map], lambda: [Truth(score_map > 0)], 10)
    pair = replace(pair, greedy=0.5, exact=0.5)
    score = score_lesions(cohort, "tumours-3", reading, pair, job.slab, job.plan.score)

    found = score_map > 0.5
    with np.errstate(invalid="ignore"):
        dice = 2 * np.sum(found & truth) / (np.sum(found) + np.sum(truth))
        order = np.argsort(-score_map.ravel(), kind="stable")
        recall = np.cumsum(truth.ravel()[order]) / np.sum(truth)
    assert score.auprc is None and np.isnan(recall).all()
    assert (score.dice is None) == bool(np.isnan(dice)) == (not marked)
    assert score.dice == score.dice_exact == (0 if marked else None)


def test_zero_counts_in_the_mean_of_dice_only(tiny_data: Data, tmp_path: Path) -> None:
    data = hiding(tiny_data, tmp_path, "tumours-3")
    record = run(job_of(data, "score.lesion_free=zero"), tmp_path / "runs")
    one, other = (score for score in record.scores() if score.role == "tumours")
    assert one.dice is not None and other.dice == 0  # Thresh marks something in every scan
    assert record.metrics["tiny-tumours/dice"] == pytest.approx(one.dice / 2)
    assert record.metrics["tiny-tumours/auprc"] == one.auprc


@pytest.mark.parametrize("scan", ["tumours-1", "tumours-3"])
def test_refuse_names_the_scan_and_what_helps(scan: str, tiny_data: Data, tmp_path: Path) -> None:
    data = hiding(tiny_data, tmp_path, scan)
    with pytest.raises(UserError, match=rf"{scan}: no lesion voxel in slices 1 to 4, hence no score; use more slices"):
        check_lesions(job_of(data, "score.lesion_free=refuse"))
    with pytest.raises(UserError, match=r"--set data.slices=6\), let score.lesion_free say"):
        run(job_of(data, "score.lesion_free=refuse"), tmp_path / "runs")
    assert check_lesions(job_of(data, "score.lesion_free=refuse", "data.slices=6")) == ()


def test_more_slices_are_not_advised_where_all_are_used(tiny_data: Data, tmp_path: Path) -> None:
    data = hiding(tiny_data, tmp_path, "tumours-2", place=None)
    for slices in (4, 6):
        with pytest.raises(UserError) as caught:
            check_lesions(job_of(data, "score.lesion_free=refuse", f"data.slices={slices}"))
        assert "more slices" not in str(caught.value) and "score.lesion_free=exclude" in str(caught.value)


def test_a_validation_scan_without_a_lesion_stays_in_the_pool(tiny_data: Data, tmp_path: Path) -> None:
    data = hiding(tiny_data, tmp_path, "tumours-1")
    job = job_of(data, "score.lesion_free=exclude")
    (note,) = check_lesions(job)
    assert note.startswith("tiny tumours: 1 of 2 validation scans without a lesion in slices 1 to 4: tumours-1; ")
    assert note.endswith("the threshold's pool keeps them")
    record = run(job, tmp_path / "runs")
    reader, cohort = reader_of(job, record, "cpu"), data.lesions["tumours"]
    val = data.splits.lesion["tumours"].val
    maps = [reader.read(cohort, subject).score_map for subject in val]
    truths = [truth_of(cohort, subject, job.slab) for subject in val]
    assert record.thresholds["tumours"] == find_thresholds(lambda: maps, lambda: truths, 10)
    assert record.thresholds["tumours"] != find_thresholds(lambda: maps[:1], lambda: truths[:1], 10)


@pytest.mark.parametrize("choice", ["exclude", "zero"])
@pytest.mark.parametrize(("scans", "part", "what"), [((0, 1), "validation", "threshold"), ((2, 3), "test", "score")])
def test_a_set_without_any_lesion_is_one_sentence(
    choice: str, scans: tuple[int, int], part: str, what: str, tiny_data: Data, tmp_path: Path
) -> None:
    data = hiding(tiny_data, tmp_path, *(f"tumours-{number}" for number in scans))
    sentence = (
        rf"none of the 2 {part} scans has a lesion voxel in slices 1 to 4, hence no {what}; use more slices \(--set"
    )
    with pytest.raises(UserError, match=sentence):
        check_lesions(job_of(data, f"score.lesion_free={choice}"))
    with pytest.raises(UserError, match=sentence):
        run(job_of(data, f"score.lesion_free={choice}"), tmp_path / "runs")


def test_figures_show_a_scan_with_a_lesion(tiny_data: Data, tmp_path: Path) -> None:
    data = hiding(tiny_data, tmp_path, "tumours-2")
    job = job_of(data, "score.lesion_free=exclude")
    record = run(job, tmp_path / "runs")
    titles = [sample.title for sample in figure_samples(job, reader_of(job, record, "cpu"), record.thresholds)]
    assert "tumours-3" in titles[0] and "ms-2" in titles[1]


def test_each_choice_is_a_cell_of_its_own_and_the_same_for_all_methods(tiny_data: Data, tmp_path: Path) -> None:
    jobs = [job_of(tiny_data, f"score.lesion_free={word}") for word in ("exclude", "zero", "refuse")]
    assert len({job.cell.id for job in jobs}) == 3
    own = tmp_path / "own.toml"
    own.write_text(f'{TINY.read_text()}\n[override.thresh.score]\nlesion_free = "zero"\n')
    (entry,) = select_rows(["thresh"])
    with pytest.raises(UserError, match=r"score.lesion_free is the same for all methods"):
        plan_for(load_preset(str(own)), entry.method, entry.row)


# ------------------------------------------------------------------------------------------------ a part of each list


def test_the_first_by_hash_depend_on_nothing_but_names() -> None:
    names = [f"IXI{number:03d}" for number in range(60)]
    chosen = scored_scans(names, 7)
    assert len(chosen) == 7 and list(chosen) == [name for name in names if name in chosen]
    assert set(scored_scans(names[::-1], 7)) == set(chosen)
    assert set(scored_scans([*names[30:], *chosen, *names[:30]], 7)) == set(chosen)
    assert set(scored_scans(names, 6)) < set(chosen)
    assert scored_scans(names, "all") == tuple(names) and scored_scans(names, 99) == tuple(names)
    # sha256("a") is ca97…, of "b" 3e23…, of "c" 2e7d…, of "d" 18ac…
    assert scored_scans(["a", "b", "c", "d", "d"], 2) == ("c", "d", "d")


@pytest.mark.parametrize("value", ["0", "-3", "some", "2.5", "true"])
def test_a_number_of_test_volumes_that_is_none_is_refused(value: str, tiny_data: Data) -> None:
    sentence = r'score.test_volumes must be "all" or a whole number of at least 1, got'
    with pytest.raises(UserError, match=sentence):
        job_of(tiny_data, f"score.test_volumes={value}")


def test_a_part_of_each_test_list_is_scored_and_named(tiny_data: Data, tmp_path: Path) -> None:
    job = job_of(tiny_data, "score.test_volumes=1", row="ae")
    assert job.cell.id != job_of(tiny_data, row="ae").cell.id
    record = run(job, tmp_path)
    chosen = {key: scored_scans(names, 1) for key, names in whole_lists(tiny_data)}
    assert [(score.role, score.subject) for score in record.scores()] == [
        (key, names[0]) for key, names in chosen.items()
    ]
    assert record.metrics["tiny-tumours/scans_scored"] == 1 and record.metrics["tiny-tumours/scans_in_test"] == 2
    assert record.metrics["tiny-healthy/l1"] == record.scores()[0].l1


def whole_lists(data: Data) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield HEALTHY, data.splits.healthy_test
    yield from ((role, part.test) for role, part in data.splits.lesion.items())


def test_the_untrained_control_is_measured_on_the_scans_that_are_scored(tiny_data: Data, tmp_path: Path) -> None:
    """Also where the weights, but not the scans, are those of another cell."""
    whole = run(job_of(tiny_data, row="ae"), tmp_path / "shared")
    alone = run(job_of(tiny_data, "score.test_volumes=1", row="ae"), tmp_path / "alone")
    taken = run(job_of(tiny_data, "score.test_volumes=1", row="ae"), tmp_path / "shared")
    assert taken.state.weights_from == whole.folder.name
    assert taken.untrained == alone.untrained != whole.untrained


# ----------------------------------------------------------------------------------------------------- millilitres


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_millilitres_follow_the_voxels_of_the_store(factor: int, tmp_path: Path) -> None:
    """A lesion of 16 × 16 × 8 mm is 2.048 ml, however coarse its voxels are."""
    settings = PreparationSettings(side=64, depth=16, factor=factor)
    lesion = np.zeros((16, 64, 64), bool)
    lesion[4:12, 24:40, 24:40] = True
    brain = np.ones_like(lesion)
    image = np.random.default_rng(0).uniform(1, 2, lesion.shape).astype(np.float32)

    def prepare(subject: Subject) -> PreparedVolume:
        return prepare_volume(image, brain, lesion, settings)

    recipe = {"preparation": asdict(settings)}
    store = build_store(tmp_path / "s", [Subject("t", 40.0, "x")], prepare, recipe, has_lesions=True, jobs=1)
    assert (store.voxel_mm, store.voxel_ml) == (factor, factor**3 / 1000)
    cohort = Cohort("t", "T", "tumours", store, Modality.T2)
    maps = np.array(store.volume("t"))
    reading = Reading(maps, maps, maps, store.brain_mask("t"), 1.0)
    score_settings = plan_for(load_preset(str(TINY)), select_rows(["thresh"])[0].method, Row("x", "x", {})).score
    pair = find_thresholds(lambda: [maps], lambda: [Truth(store.lesion_mask("t"))], 10)
    score = score_lesions(cohort, "t", reading, pair, Slab(0, 99), score_settings)
    assert score.lesion_ml == pytest.approx(2.048)
    assert _subject_title(cohort, "t", store.lesion_mask("t")) == "t, x, 40 years, 2.0 ml"


def test_a_store_that_does_not_say_its_voxels_is_one_sentence(tiny_data: Data, tmp_path: Path) -> None:
    old = tiny_data.lesions["ms"].store
    make = partial(hidden_brain, old, None, frozenset())
    store = build_store(tmp_path / "s", old.subjects, make, {"what": "x"}, has_lesions=True, jobs=1)
    with pytest.raises(DataError, match=r"manifest.json does not say how large a voxel is; delete .* prepare the data"):
        store.voxel_ml  # noqa: B018


# ------------------------------------------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, write_scan: Callable[..., None]) -> Path:
    """A directory `clinic` with ten healthy and six MS scans, of which one test scan's lesion is out of view."""
    root = tmp_path_factory.mktemp("user")
    rng = np.random.default_rng(0)
    x, y, z = np.mgrid[:60, :60, :14]
    for number in range(16):
        mask = np.hypot(x - 30, y - 30) < rng.uniform(24, 28)
        t2 = np.where(mask, 300 + 60 * np.cos(x / rng.uniform(6, 9)) + rng.normal(0, 5, mask.shape), 0)
        if number < 10:
            write_scan(root / "clinic/Train/ixi", f"IXI{number:03d}-Guys-0{number:03d}", {"t2": t2, "mask": mask})
            continue
        lesion = (np.hypot(x - 15 - number, y - 25) < 6) & (z > 2) & (z < 11)
        parts = {"t2": np.where(lesion, 520, t2), "mask": mask, "seg": lesion}
        write_scan(root / "clinic/Test/MSLUB", f"patient{number:02d}", parts)
    text = TINY.read_text().replace("depth = 100", "depth = 12").replace("side = 192", "side = 64")
    (root / "small.toml").write_text(text.replace("side = 96", "side = 32"))
    settings = PreparationSettings(depth=12, side=64)
    splits = load_disk(
        root / "clinic", root / "cache", splits="own", jobs=1, settings=settings, known=tuple(data_sets().values())
    ).splits
    patient = splits.lesion["ms"].test[0]
    path = root / "clinic/Test/MSLUB" / SEGMENTATION / f"{patient}.nii.gz"
    write_scan(
        path.parents[1], path.name.removesuffix(".nii.gz"), {SEGMENTATION: (z == 1) & (np.hypot(x - 30, y - 30) < 9)}
    )
    (root / "hidden").write_text(splits.lesion["ms"].test[0])
    return root


@pytest.fixture
def bench(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    common = ("--data", "clinic", "--preset", "small.toml")
    return lambda command, *words: CliRunner().invoke(app, [*command.split(), *common, *words])


def test_one_scan_out_of_view_at_the_command_line(place: Path, bench: Callable[..., Result]) -> None:
    scan = (place / "hidden").read_text()
    run_words = ("--method", "thresh", "--splits", "own", "--folds", "0")
    refused = bench("run", *run_words, "--set", "score.lesion_free=refuse")
    assert refused.exit_code == 2 and f"{scan}: no lesion voxel in slices 1 to 4" in refused.stderr
    assert not list(place.glob("results/runs/*/config.json"))
    for choice, dice in (("exclude", ""), ("zero", "0.0")):
        done = bench("run", *run_words, "--set", f"score.lesion_free={choice}")
        assert done.exit_code == 0, done.stderr
        assert f"without a lesion in slices 1 to 4: {scan}; score.lesion_free={choice}" in done.stderr
        (scores,) = place.glob("results/runs/*/scores.csv") if choice == "exclude" else newest(place)
        (line,) = (line for line in scores.read_text().splitlines() if scan in line)
        assert line.split(",")[3:6] == [dice, dice, ""] and f"score.lesion_free={choice}" in line
        table = bench("table 1", "--format", "markdown", "--set", f"score.lesion_free={choice}").stdout
        assert re.search(rf"\* MSLUB: 1 of \d+ test scans without a lesion .*score.lesion_free={choice}\)\.", table)


def test_a_run_whose_reader_leaves_goes_on_to_its_end(place: Path) -> None:
    """`bench run … 2>&1 | head -1`: what is said goes nowhere, what is computed stands."""
    words = ["run", "--method", "thresh", "--splits", "own", "--folds", "0", "--seed", "7", "--json"]
    common = ["--data", "clinic", "--preset", "small.toml", "--set", "score.lesion_free=exclude"]
    bench = Path(sys.executable).with_name("bench")
    with subprocess.Popen(
        [bench, *words, *common], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=place, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.stdout.close()
        assert process.wait(300) == 141, first
    (record,) = (one for one in all_records(place / "results/runs") if one.config.seed == 7)
    assert record.done


def newest(place: Path) -> list[Path]:
    return sorted(place.glob("results/runs/*/scores.csv"), key=lambda path: path.stat().st_mtime)[-1:]


def test_a_part_is_told_at_the_command_line(place: Path, bench: Callable[..., Result]) -> None:
    word = "score.test_volumes=2"
    done = bench(
        "run", "--method", "thresh", "--splits", "own", "--folds", "0", "--set", word, "--set", "data.slices=6"
    )
    assert done.exit_code == 0, done.stderr
    table = bench("table 1", "--format", "markdown", "--set", word, "--set", "data.slices=6").stdout
    assert "; of each test set 2 scans at most; mean" in table
    assert re.search(
        r"first scans by the SHA-256 of their names \(score.test_volumes\): IXI 2 of \d+, MSLUB 2 of \d+", table
    )


def test_a_run_at_factor_1_writes_its_millilitres(place: Path, bench: Callable[..., Result]) -> None:
    words = ("--method", "thresh", "--splits", "own", "--folds", "0", "--set", "preparation.factor=1")
    done = bench("run", *words, "--set", "data.slices=12")
    assert done.exit_code == 0, done.stderr
    (scores,) = newest(place)
    written = {line["subject"]: float(line["lesion_ml"]) for line in csv.DictReader(scores.open()) if line["lesion_ml"]}
    for subject, millilitres in written.items():
        lesion = nib.load(place / "clinic/Test/MSLUB" / SEGMENTATION / f"{subject}.nii.gz").get_fdata()
        assert millilitres == pytest.approx(lesion.sum() / 1000)
