"""What is found in test volumes, on disk: the same files whenever a run was cut, and in cells of before they were."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from uadbench.benchmarks.engine import cell_metrics, evaluate
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import Reporter, SilentReporter
from uadbench.benchmarks.engine.reading import reader_of
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.cost import cost_of
from uadbench.benchmarks.records.detection_lines import unpack
from uadbench.benchmarks.records.detections import (
    DETECTION,
    DETECTION_FILES,
    DETECTIONS,
    FROC,
    GROWING,
    HISTOGRAMS,
    LESIONS,
)
from uadbench.benchmarks.records.record import RunRecord, finished, record_of
from uadbench.benchmarks.records.record_files import RecordError
from uadbench.benchmarks.reports.results import Results
from uadbench.datasets.cohort import Data
from uadbench.methods.pddpm import PDDPM
from uadbench.methods.thresh import Thresh
from uadbench.metrics.curves import dice_at

from cases import TINY, as_version_1

QUIET = SilentReporter()
Stopper = Callable[[str, int], Reporter]


def job_of(row: str, data: Data, *changes: str) -> Job:
    return jobs_for(select_rows([row]), (0,), data, load_preset(str(TINY), changes), 0)[0]


def found_in(record: RunRecord) -> dict[str, bytes]:
    return {name: (record.folder / name).read_bytes() for name in DETECTION_FILES}


def others_in(record: RunRecord) -> dict[str, bytes]:
    """Every file but those that are added, and what tells of attempts and their cost."""
    left_out = (*DETECTION_FILES, "digests.json", "cost.json")
    files = [path for path in record.folder.rglob("*") if path.is_file() and "attempts" not in path.parts]
    return {str(path): path.read_bytes() for path in files if path.name not in left_out}


@pytest.fixture(scope="module")
def cell(tiny_data: Data, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A cell of Thresh that nobody disturbed."""
    return run_job(job_of("thresh", tiny_data), tmp_path_factory.mktemp("runs"), "cpu", QUIET)


@pytest.fixture
def copy(cell: RunRecord, tmp_path: Path) -> RunRecord:
    return RunRecord(shutil.copytree(cell.folder, tmp_path / "runs" / cell.folder.name))


@pytest.fixture
def old(copy: RunRecord) -> RunRecord:
    """The same cell as a version wrote it that knew nothing of what is found."""
    forget(copy)
    assert copy.done and not copy.has_detection
    return copy


def forget(record: RunRecord) -> None:
    digests = json.loads((record.folder / "digests.json").read_text())
    for name in DETECTION_FILES:
        (record.folder / name).unlink()
        del digests["files"][name]
    (record.folder / "digests.json").write_text(json.dumps(digests))


# ------------------------------------------------------------------------------------------------------------ in a run


def test_a_run_writes_a_line_per_volume_and_set_in_the_order_of_the_scores(cell: RunRecord, tiny_data: Data) -> None:
    lines = [(line.cohort, line.subject, line.at) for line in cell.detection.volumes()]
    expected = []
    for cohort, subject in cell_metrics.tested_volumes(job_of("thresh", tiny_data)):
        keys = tuple(tiny_data.lesions) if cohort.is_healthy else (cohort.key,)
        expected += [(cohort.name, subject, key) for key in keys]
    assert lines == expected
    steps = len(cell.detection.config.ladder) if cell.detection.config else 0
    assert [(one.cohort, one.subject) for one in cell.detection.froc()] == [
        (score.cohort, score.subject) for score in cell.scores() for _ in range(steps)
    ]
    assert [(one.cohort, one.subject) for one in cell.detection.histograms()] == [
        (score.cohort, score.subject) for score in cell.scores()
    ]
    assert cell.has_detection and set(DETECTION_FILES) <= cell.digests.keys()
    cost = cost_of(cell)
    assert cost is not None and cost.seconds["detection"] > 0


def test_thresholds_come_from_validation_volumes_alone(cell: RunRecord, tiny_data: Data) -> None:
    job = job_of("thresh", tiny_data)
    config, reader, splits = cell.detection.config, reader_of(job, cell, "cpu"), tiny_data.splits
    assert config is not None and config.thresholds.keys() == tiny_data.lesions.keys()
    healthy = [reader.read(tiny_data.healthy, subject) for subject in splits.folds[0].val]
    pool = np.concatenate([one.score_map[one.brain_mask] for one in healthy])
    for key, one in config.thresholds.items():
        pair = cell.thresholds[key]
        assert (one.greedy, one.exact) == (pair.greedy, pair.exact)
        for threshold, share in ((one.at_1, 0.01), (one.at_5, 0.05), (one.at_10, 0.10)):
            assert (pool > threshold).mean() <= share
            assert (pool > np.nextafter(np.float32(threshold), np.float32(-1))).mean() > share
    assert [step.share for step in config.ladder] == [
        *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
    ]
    for step in config.ladder:
        assert (pool > step.threshold).mean() <= step.share
        assert (pool > np.nextafter(np.float32(step.threshold), np.float32(-1))).mean() > step.share
    lesions = [reader.read(cohort, s) for key, cohort in tiny_data.lesions.items() for s in splits.lesion[key].val]
    assert config.top == max(float(one.score_map.max()) for one in (*healthy, *lesions))


def test_the_histograms_give_what_the_scores_say(cell: RunRecord, tiny_data: Data) -> None:
    """Thresh's maps are not post-processed away to nothing, and Dice before small components go is a little less."""
    config, reader = cell.detection.config, reader_of(job_of("thresh", tiny_data), cell, "cpu")
    assert config is not None
    for line in cell.detection.histograms():
        if line.role in config.thresholds:
            threshold, cohort = config.thresholds[line.role].greedy, tiny_data.lesions[line.role]
            found = reader.read(cohort, line.subject).score_map > threshold
            truth = reader.slab.of(cohort.store.lesion_mask(line.subject))
            dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
            assert dice_at(unpack(line.inside), unpack(line.outside), config.edges, threshold) == pytest.approx(dice)


@pytest.mark.parametrize(("word", "steps"), [("threshold", 1), ("threshold", 5), ("score", 1), ("score", 3)])
def test_a_run_that_is_stopped_comes_to_the_same_files(
    word: str, steps: int, cell: RunRecord, tiny_data: Data, tmp_path: Path, stop_after: Stopper
) -> None:
    job = job_of("thresh", tiny_data)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, tmp_path, "cpu", stop_after(word, steps))
    assert not record_of(tmp_path, job.cell).done
    record = run_job(job, tmp_path, "cpu", QUIET)
    assert found_in(record) == found_in(cell)
    assert not (record.folder / "maps").exists()


@pytest.mark.parametrize("seed", range(8))
def test_files_that_are_cut_anywhere_come_to_the_same(
    seed: int, cell: RunRecord, copy: RunRecord, tiny_data: Data
) -> None:
    """Whatever each file had when the machine died: the lines of a volume may be in one and not in another."""
    rng = np.random.default_rng(seed)
    (copy.folder / "digests.json").unlink()
    for name in (*GROWING, "scores.csv"):
        path = copy.folder / name
        content = path.read_bytes()
        path.write_bytes(content[: rng.integers(0, len(content) + 1)])
    record = run_job(job_of("thresh", tiny_data), copy.folder.parent, "cpu", QUIET)
    assert found_in(record) == found_in(cell)
    dices = [(score.subject, score.dice, score.auprc) for score in record.scores()]
    assert dices == [(score.subject, score.dice, score.auprc) for score in cell.scores()]


@pytest.mark.parametrize("name", DETECTION_FILES)
@pytest.mark.parametrize(
    "damage", [b"", b"\xff\xfe", b"cohort,role\n1,2\n", None], ids=["empty", "bytes", "other", "gone"]
)
def test_a_damaged_file_is_made_again(
    name: str, damage: bytes | None, cell: RunRecord, copy: RunRecord, tiny_data: Data
) -> None:
    (copy.folder / "digests.json").unlink()
    if damage is None:
        (copy.folder / name).unlink()
    else:
        (copy.folder / name).write_bytes(damage)
    record = run_job(job_of("thresh", tiny_data), copy.folder.parent, "cpu", QUIET)
    assert found_in(record) == found_in(cell) and record.scores() == cell.scores()


@pytest.mark.parametrize("name", [DETECTION, DETECTIONS, LESIONS, FROC])
def test_a_file_that_was_changed_after_the_end_is_made_again(
    name: str, cell: RunRecord, copy: RunRecord, tiny_data: Data
) -> None:
    path = copy.folder / name
    path.write_text(path.read_text().replace("2", "3", 1))
    assert f"{name} was changed after the cell was finished" in copy.problem()
    record = run_job(job_of("thresh", tiny_data), copy.folder.parent, "cpu", QUIET)
    assert record.done and found_in(record) == found_in(cell) and record.scores() == cell.scores()


def test_a_method_that_draws_from_the_global_generator_draws_as_before(
    tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Healthy validation volumes stand between those with lesions and the test volumes, and leave no trace."""
    whole, states = Thresh.reconstruct, []

    def drawing(self: Thresh, volume: torch.Tensor, scan: object) -> torch.Tensor:
        states.append(torch.get_rng_state().numpy().tobytes())
        torch.rand(7)
        states.append(torch.get_rng_state().numpy().tobytes())
        return whole(self, volume, scan)  # type: ignore[arg-type]

    monkeypatch.setattr(Thresh, "reconstruct", drawing)
    run_job(job_of("thresh", tiny_data), tmp_path, "cpu", QUIET)
    lesions = sum(len(part.val) for part in tiny_data.splits.lesion.values())
    healthy = len(tiny_data.splits.folds[0].val)
    after_lesions, before_tests = states[2 * lesions - 1], states[2 * (lesions + healthy)]
    assert after_lesions == before_tests != states[0]


# ------------------------------------------------------------------------------------------------------- in old cells


def test_an_old_cell_is_given_the_files_and_no_other_byte_changes(
    old: RunRecord, cell: RunRecord, tiny_data: Data
) -> None:
    before = others_in(old)
    job = job_of("thresh", tiny_data)
    run_job(job, old.folder.parent, "cpu", QUIET)  # `bench run` leaves finished cells alone
    assert not (old.folder / DETECTION).exists()
    old.reopen()
    assert not old.done and old.counts
    run_job(job, old.folder.parent, "cpu", QUIET)
    assert old.done and old.has_detection and not old.is_reopened
    assert found_in(old) == found_in(cell)
    assert others_in(old) == before
    assert json.loads((old.folder / "digests.json").read_text()) == json.loads(
        (cell.folder / "digests.json").read_text()
    )


def test_an_old_cell_counts_while_it_is_added_to(
    old: RunRecord, cell: RunRecord, tiny_data: Data, stop_after: Stopper
) -> None:
    job, results = job_of("thresh", tiny_data), Results((old,))
    table = results.to_dataframe().to_dict("records")
    old.reopen()
    with pytest.raises(KeyboardInterrupt):
        run_job(job, old.folder.parent, "cpu", stop_after("score", 3))
    assert finished([old]) == (old,)
    now = results.to_dataframe().to_dict("records")
    assert [{**line, "state": ""} for line in now] == [{**line, "state": ""} for line in table]
    assert 0 < len(results.detections()) < len(cell.detection.volumes())
    run_job(job, old.folder.parent, "cpu", QUIET)
    assert old.done and found_in(old) == found_in(cell)


def test_lines_of_older_rules_are_measured_anew(copy: RunRecord, cell: RunRecord, tiny_data: Data) -> None:
    config = json.loads((copy.folder / DETECTION).read_text())
    (copy.folder / DETECTION).write_text(json.dumps({**config, "version": 0}))
    copy.reopen()
    assert not (copy.folder / DETECTIONS).exists()
    run_job(job_of("thresh", tiny_data), copy.folder.parent, "cpu", QUIET)
    assert copy.done and found_in(copy) == found_in(cell)


@pytest.fixture
def of_version_1(copy: RunRecord) -> RunRecord:
    """The same cell as version 1 measured it, without FROC."""
    as_version_1(copy)
    assert copy.done and not copy.has_detection and copy.detection_version == 1
    return copy


def test_a_cell_of_version_1_keeps_its_numbers_and_is_said_to_lack_froc(
    of_version_1: RunRecord, cell: RunRecord
) -> None:
    old, new = Results((of_version_1,)), Results((cell,))
    for name in ("detections", "lesions"):
        assert getattr(old, name)().equals(getattr(new, name)())
    (before,), (now,) = old.histograms(), new.histograms()
    assert len(before.config.edges) < len(now.config.edges)
    for own, other in zip(before.lines, now.lines, strict=True):
        at = now.config.thresholds["ms"].greedy
        assert dice_at(unpack(own.inside), unpack(own.outside), before.config.edges, at) == dice_at(
            unpack(other.inside), unpack(other.outside), now.config.edges, at
        )
    assert old.froc().empty and old.froc_points().empty and not new.froc().empty
    assert list(old.froc().columns) == list(new.froc().columns)
    assert list(old.froc_points().columns) == list(new.froc_points().columns)
    numbers, wanted = old.found(), new.found()
    assert [name for name in wanted if name not in numbers] == [name for name in wanted if "/froc_" in name]
    np.testing.assert_allclose(numbers["ms/ceiling_pooled"], wanted["ms/ceiling_pooled"], atol=1e-3)
    assert numbers["ms/lesion_f1"].equals(wanted["ms/lesion_f1"])
    assert old.without_detection() == new.without_froc() == ""
    assert old.without_froc() == (
        "1 cell has no FROC yet: `bench score --method thresh` with the options of its run adds it."
    )


def test_a_cell_of_version_1_is_given_froc_and_no_other_byte_changes(
    of_version_1: RunRecord, cell: RunRecord, tiny_data: Data
) -> None:
    before, job = others_in(of_version_1), job_of("thresh", tiny_data)
    of_version_1.reopen()
    assert of_version_1.counts and of_version_1.detection_version == 1
    run_job(job, of_version_1.folder.parent, "cpu", QUIET)
    assert of_version_1.done and of_version_1.has_detection
    assert found_in(of_version_1) == found_in(cell) and others_in(of_version_1) == before
    digests = [json.loads((record.folder / "digests.json").read_text()) for record in (of_version_1, cell)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(("word", "steps"), [("threshold", 1), ("threshold", 5), ("score", 1), ("score", 3)])
def test_a_cell_of_version_1_counts_while_it_is_measured_again(
    word: str, steps: int, of_version_1: RunRecord, cell: RunRecord, tiny_data: Data, stop_after: Stopper
) -> None:
    job, wanted = job_of("thresh", tiny_data), Results((cell,)).detections()
    of_version_1.reopen()
    with pytest.raises(KeyboardInterrupt):
        run_job(job, of_version_1.folder.parent, "cpu", stop_after(word, steps))
    assert finished([of_version_1]) == (of_version_1,)
    now = Results((of_version_1,)).detections()
    if word == "threshold":  # until the new lines begin, the old ones count
        assert now.equals(wanted)
    else:
        assert 0 < len(now) < len(wanted)
    run_job(job, of_version_1.folder.parent, "cpu", QUIET)
    assert of_version_1.done and found_in(of_version_1) == found_in(cell)


def test_a_cell_of_version_1_without_weights_keeps_what_it_has(
    of_version_1: RunRecord, cell: RunRecord, tiny_data: Data
) -> None:
    of_version_1.best_checkpoint.unlink()
    of_version_1.reopen()
    with pytest.raises(RecordError, match="weights"):
        run_job(job_of("thresh", tiny_data), of_version_1.folder.parent, "cpu", QUIET)
    assert of_version_1.done and of_version_1.detection_version == 1
    assert Results((of_version_1,)).detections().equals(Results((cell,)).detections())


@pytest.mark.parametrize("step", range(3))
def test_a_cell_of_version_1_counts_wherever_it_is_cut(
    step: int, of_version_1: RunRecord, cell: RunRecord, tiny_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last moment of the old lines and the first of the new ones."""
    config = cell.detection.config
    assert config is not None
    of_version_1.reopen()
    done: list[int] = []
    folder = type(of_version_1.fenced)
    for name in ("write_json", "remove"):
        monkeypatch.setattr(folder, name, cut_at(step, done, getattr(folder, name)))
    with pytest.raises(KeyboardInterrupt):
        of_version_1.forget_detection()
        of_version_1.detection.begin(config)
    monkeypatch.undo()
    assert of_version_1.counts
    run_job(job_of("thresh", tiny_data), of_version_1.folder.parent, "cpu", QUIET)
    assert of_version_1.done and found_in(of_version_1) == found_in(cell)


def cut_at(step: int, done: list[int], whole: Callable[..., None]) -> Callable[..., None]:
    """The same, but that the call after so many is a kill."""

    def write(*words: object) -> None:
        if len(done) == step:
            raise KeyboardInterrupt
        done.append(1)
        whole(*words)

    return write


@pytest.mark.parametrize("step", range(7))
def test_a_cell_counts_wherever_its_opening_is_cut(step: int, copy: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    folder = type(copy.fenced)
    for name in ("write_json", "remove", "rename"):
        monkeypatch.setattr(folder, name, cut_at(step, done, getattr(folder, name)))
    with pytest.raises(KeyboardInterrupt):
        copy.reopen()
    assert copy.counts


def test_a_number_that_is_changed_while_the_cell_is_open_does_not_count(
    old: RunRecord, cell: RunRecord, tiny_data: Data
) -> None:
    old.reopen()
    path = old.folder / "metrics.json"
    path.write_text(path.read_text().replace("0.", "0.1", 1))
    assert not old.counts and "metrics.json was changed" in old.problem()
    run_job(job_of("thresh", tiny_data), old.folder.parent, "cpu", QUIET)
    assert old.done and found_in(old) == found_in(cell)
    assert (old.metrics["tiny-ms/dice"], old.thresholds) == (cell.metrics["tiny-ms/dice"], cell.thresholds)


def test_without_weights_nothing_is_added_and_the_cell_is_as_it_was(old: RunRecord, tiny_data: Data) -> None:
    old.best_checkpoint.unlink()
    before = others_in(old)
    old.reopen()
    with pytest.raises(RecordError, match="weights"):
        run_job(job_of("thresh", tiny_data), old.folder.parent, "cpu", QUIET)
    assert old.done and not old.has_detection and others_in(old) == before


def test_kept_reconstructions_are_used(tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell of before kept none of healthy validation volumes; these are reconstructed, and kept now."""
    job = job_of("pddpm-s48", tiny_data, "score.keep=reconstructions")
    record = run_job(job, tmp_path, "cpu", QUIET)
    wanted = found_in(record)
    forget(record)
    validation = tiny_data.splits.folds[0].val
    for subject in validation:
        (record.folder / "reconstructions" / f"tiny-healthy-{subject}.npz").unlink()
    asked, whole = [], PDDPM.reconstruct
    monkeypatch.setattr(PDDPM, "reconstruct", lambda self, *words: (asked.append(1), whole(self, *words))[1])
    record.reopen()
    run_job(job, tmp_path, "cpu", QUIET)
    assert found_in(record) == wanted and len(asked) == len(validation)
    forget(record)
    record.reopen()
    run_job(job, tmp_path, "cpu", QUIET)
    assert found_in(record) == wanted and len(asked) == len(validation)


def test_a_score_that_learnt_is_restored(tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of("thresh+mahalanobis", tiny_data)
    record = run_job(job, tmp_path, "cpu", QUIET)
    wanted = found_in(record)
    forget(record)
    monkeypatch.setattr(evaluate.Reader, "healthy_scan", None)  # nothing is learnt again
    record.reopen()
    run_job(job, tmp_path, "cpu", QUIET)
    assert record.done and found_in(record) == wanted


# ----------------------------------------------------------------------------------------------------------- as frames


def test_frames_hold_what_the_lines_say(cell: RunRecord) -> None:
    results = Results((cell,))
    detections, lesions = results.detections(), results.lesions()
    lines = cell.detection.volumes()
    assert list(detections["subject"]) == [line.subject for line in lines]
    assert list(detections["set"]) == [line.role for line in lines] and set(detections["id"]) == {cell.config.cell}
    for name in ("brain_ml", "hits", "hd95", "ssim_inside", "score_top"):
        expected = [np.nan if (value := getattr(line, name)) is None else value for line in lines]
        np.testing.assert_array_equal(detections[name], np.array(expected, float))
    assert [tuple(line) for line in lesions[["subject", "lesion", "ml", "dice"]].itertuples(index=False)] == [
        (line.subject, line.lesion, line.ml, line.dice) for line in cell.detection.lesions()
    ]
    froc, points = results.froc(), cell.detection.froc()
    assert list(zip(froc["set"], froc["subject"], froc["share"], strict=True)) == [
        (one.role, one.subject, one.share) for one in points
    ]
    assert froc["false"].tolist() == [one.false for one in points] and set(froc["id"]) == {cell.config.cell}
    (histograms,) = results.histograms()
    assert histograms.lines == cell.detection.histograms() and histograms.config == cell.detection.config
    assert (histograms.row, histograms.fold, histograms.seed) == ("thresh", 0, 0)
    assert results.without_detection() == ""


def test_cells_without_them_are_said_in_a_sentence_and_have_no_rows(old: RunRecord) -> None:
    (old.folder / LESIONS).write_text("left by a scoring that was given up\n")
    results = Results((old,))
    assert (
        results.without_detection()
        == "1 cell has no lesion-wise numbers yet: `bench score --method thresh` with the options of its run adds them."
    )
    assert results.detections().empty and results.lesions().empty and list(results.histograms()) == []
    assert list(results.detections().columns) == list(Results(()).detections().columns)


def test_histograms_that_were_changed_are_left_out_with_a_warning(copy: RunRecord) -> None:
    path = copy.folder / HISTOGRAMS
    path.write_text(path.read_text().replace("tiny-ms", "tiny-MS", 1))
    assert copy.done and not copy.has_detection
    with pytest.warns(UserWarning, match=r"histograms.csv is not the file .*`bench score` makes it anew"):
        assert list(Results((copy,)).histograms()) == []
