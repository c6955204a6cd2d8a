"""Scoring in a stream: the network and the measuring side by side, to the files that one after the other would give."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from uadbench import metrics
from uadbench.benchmarks.contract.labels import LabelError
from uadbench.benchmarks.engine import cell_metrics, evaluate
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.reading import Reader, reader_of
from uadbench.benchmarks.engine.samples import Sample, figure_samples
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record import SCORES, RunRecord, record_of
from uadbench.benchmarks.records.record_files import VolumeScore, read_arrays
from uadbench.datasets.cohort import Data
from uadbench.methods.pddpm import PDDPM

from cases import TINY


def job_of(row: str, data: Data, *changes: str) -> Job:
    return jobs_for(select_rows([row]), (0,), data, load_preset(str(TINY), changes), 0)[0]


def numbers(record: RunRecord) -> tuple[object, ...]:
    metrics_found = {key: value for key, value in record.metrics.items() if not key.startswith("seconds")}
    return metrics_found, record.thresholds, [replace(score, seconds=0.0) for score in record.scores()]


def forbid(*words: object, **more: object) -> None:
    raise AssertionError("this must not be needed")


class Drawing:
    """Keeps what would be drawn."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def __call__(self, samples: Sequence[Sample], path: Path, min_voxels: int) -> None:
        self.samples.extend(samples)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"png")


@pytest.fixture(scope="module")
def trained(tiny_data: Data, tiny_preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with pDDPM in it."""
    runs = tmp_path_factory.mktemp("trained")
    run_job(job_of("pddpm-s48", tiny_data), runs, "cpu", SilentReporter())
    return runs


# --------------------------------------------------------------------------------------------------------- the stream


def test_lines_stand_in_the_order_of_the_list_whichever_volume_is_measured_first(
    tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of("thresh", tiny_data)
    whole, finished, begun = evaluate.score_lesions, [], []

    def slow_first(cohort: object, subject: str, *words: object) -> VolumeScore:
        begun.append(subject)
        time.sleep(0.2 if len(begun) == 1 else 0)
        score = whole(cohort, subject, *words)  # type: ignore[arg-type]
        finished.append(subject)
        return score

    monkeypatch.setattr(evaluate, "score_lesions", slow_first)
    record = run_job(job, tmp_path, "cpu", SilentReporter())
    expected = [(cohort.name, subject) for cohort, subject in cell_metrics.tested_volumes(job)]
    assert [(score.cohort, score.subject) for score in record.scores()] == expected
    assert finished != [subject for cohort, subject in expected if cohort != tiny_data.healthy.name]


def test_the_file_of_scores_is_what_writing_all_at_once_gives(trained: Path, tiny_data: Data, tmp_path: Path) -> None:
    record = record_of(trained, job_of("pddpm-s48", tiny_data).cell)
    whole = RunRecord(tmp_path)
    whole.save_scores(record.scores())
    assert (whole.folder / SCORES).read_bytes() == (record.folder / SCORES).read_bytes()


def test_every_volume_is_post_processed_once(tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    whole = metrics.postprocess
    monkeypatch.setattr(
        metrics, "postprocess", lambda raw, *words, **more: (seen.append(1), whole(raw, *words, **more))[1]
    )
    run_job(job_of("thresh", tiny_data), tmp_path / "a", "cpu", SilentReporter())
    splits = tiny_data.splits
    healthy = len(splits.folds[0].val) + len(splits.healthy_test)
    assert len(seen) == healthy + sum(len(part.val) + len(part.test) for part in splits.lesion.values())


def test_the_figure_shows_what_was_reconstructed_for_the_scores(
    tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, asked, drawing = job_of("thresh", tiny_data), [], Drawing()
    whole = Reader.infer
    monkeypatch.setattr(
        Reader, "infer", lambda self, cohort, subject: (asked.append(subject), whole(self, cohort, subject))[1]
    )
    record = run_job(job, tmp_path, "cpu", SilentReporter(), drawing)
    assert len(asked) == len(set(asked))  # none was reconstructed twice
    expected = figure_samples(job, reader_of(job, record, "cpu"), record.thresholds)
    assert len(drawing.samples) == len(expected) == 3
    for found, wanted in zip(drawing.samples, expected, strict=True):
        assert (found.title, found.threshold) == (wanted.title, wanted.threshold)
        for name in ("original", "reconstruction", "score_map"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert not list(record.folder.rglob("figures/*.npz"))


def test_a_figure_that_was_not_drawn_in_time_is_drawn_without_the_network(
    tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of("thresh", tiny_data)

    def stopped(samples: object, path: Path, min_voxels: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, tmp_path, "cpu", SilentReporter(), stopped)
    monkeypatch.setattr(Reader, "infer", forbid)
    assert run_job(job, tmp_path, "cpu", SilentReporter(), Drawing()).done


def test_labels_stay_hidden_from_a_method_while_other_threads_read_them(
    tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The method looks at a moment when the measuring threads may look, too, and have looked."""
    job = job_of("thresh", tiny_data)
    store = tiny_data.lesions["ms"].store
    method = job.entry.method
    whole, looked, readers = method.reconstruct, [], set()

    def peeking(self: object, volume: torch.Tensor, scan: object) -> torch.Tensor:
        if readers and not looked:
            looked.append(1)
            store.lesion_mask(store.ids[0])
        return whole(self, volume, scan)  # type: ignore[arg-type, no-any-return]

    measured = evaluate.score_lesions

    def note(*words: object) -> VolumeScore:
        readers.add(threading.get_ident())
        return measured(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "score_lesions", note)
    monkeypatch.setattr(evaluate, "_AHEAD", 1)
    monkeypatch.setattr(method, "reconstruct", peeking)
    with pytest.raises(LabelError, match="read a lesion mask"):
        run_job(job, tmp_path, "cpu", SilentReporter())
    assert looked and threading.get_ident() not in readers


# ------------------------------------------------------------------------------------------------ untrained control


@pytest.mark.parametrize("row", ["pddpm-s48", "pddpm-iqa", "cddpm", "maediff"])
def test_one_slice_tells_what_the_untrained_control_of_a_blind_network_gives(row: str, tiny_data: Data) -> None:
    job = job_of(row, tiny_data)
    detector = job.detector()
    assert detector.blind
    reader = replace(reader_for(job, detector), score=None)
    subjects = tiny_data.splits.healthy_test
    for subject, seen in zip(subjects, reader.untrained(tiny_data.healthy, subjects), strict=True):
        np.testing.assert_array_equal(seen.reconstruction, reader.infer(tiny_data.healthy, subject).reconstruction)
    with torch.no_grad():
        detector.unet.conv_out.bias[0] = 1e-3  # type: ignore[union-attr, operator, index]
    assert not detector.blind


def test_other_networks_see_every_slice(tiny_data: Data) -> None:
    assert not job_of("ae", tiny_data).detector().blind
    assert not job_of("pddpm-iqa", tiny_data, "iqa.reverse=true").detector().blind


def reader_for(job: Job, detector: object) -> Reader:
    from uadbench.benchmarks.engine.memory import Halving
    from uadbench.benchmarks.engine.reading import make_reader

    return make_reader(job, detector, "cpu", Halving())  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- kept reconstructions


@pytest.fixture
def keeping(tiny_data: Data, tmp_path: Path) -> Path:
    """A folder of runs with pDDPM in it, its reconstructions kept."""
    runs = tmp_path / "keeping"
    run_job(job_of("pddpm-s48", tiny_data, "score.keep=reconstructions"), runs, "cpu", SilentReporter())
    return runs


def test_keeping_changes_no_number_and_no_id(keeping: Path, trained: Path, tiny_data: Data) -> None:
    plain, kept = job_of("pddpm-s48", tiny_data), job_of("pddpm-s48", tiny_data, "score.keep=reconstructions")
    assert plain.cell.id == kept.cell.id
    assert numbers(record_of(keeping, kept.cell)) == numbers(record_of(trained, plain.cell))
    volumes = {(c.name, s) for c, s in cell_metrics.tested_volumes(plain)}
    volumes |= {(tiny_data.lesions[key].name, s) for key, part in tiny_data.splits.lesion.items() for s in part.val}
    volumes |= {(tiny_data.healthy.name, s) for s in tiny_data.splits.folds[0].val}
    found = {path.stem for path in (record_of(keeping, kept.cell).folder / "reconstructions").iterdir()}
    assert found == {f"{cohort}-{subject}" for cohort, subject in volumes}


@pytest.mark.parametrize(
    ("row", "change"), [("pddpm-s48+ssim", ()), ("pddpm-s48", ("score.median=3", "score.erosion=0"))]
)
def test_another_score_of_kept_reconstructions_needs_no_network_and_has_the_same_numbers(
    row: str, change: tuple[str, ...], keeping: Path, runs: Path, tiny_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(row, tiny_data, *change)
    by_network = run_job(job, runs, "cpu", SilentReporter())
    monkeypatch.setattr(PDDPM, "reconstruct", forbid)
    record = run_job(job, keeping, "cpu", SilentReporter())
    assert numbers(record) == numbers(by_network)


def test_what_is_damaged_or_of_other_weights_is_reconstructed_again(
    keeping: Path, runs: Path, tiny_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of("pddpm-s48", tiny_data, "score.median=3")
    by_network = run_job(job, runs, "cpu", SilentReporter())
    folder = record_of(keeping, job_of("pddpm-s48", tiny_data).cell).folder / "reconstructions"
    damaged, foreign, gone = sorted(folder.iterdir())[:3]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    arrays = read_arrays(foreign)
    np.savez(foreign, reconstructions=arrays["reconstructions"] + 1, weights=np.array("0" * 64))
    gone.unlink()
    asked = []
    whole: Callable[..., torch.Tensor] = PDDPM.reconstruct
    monkeypatch.setattr(PDDPM, "reconstruct", lambda self, *words: (asked.append(1), whole(self, *words))[1])
    record = run_job(job, keeping, "cpu", SilentReporter())
    assert numbers(record) == numbers(by_network)
    assert len(asked) == 3
