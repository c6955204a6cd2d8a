"""What the labels mark but do not ask for is left out of every number: it is neither lesion nor background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import average_precision_score, f1_score

from uadbench.benchmarks.engine.scoring import (
    Reading,
    Truth,
    find_thresholds,
    lesion_free_scans,
    score_lesions,
    truth_of,
)
from uadbench.benchmarks.engine.slices import Slab
from uadbench.benchmarks.plan.plan import plan_for
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.settings import ScoreSettings
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record_files import ThresholdPair, VolumeScore
from uadbench.datasets.cohort import Cohort, Subject
from uadbench.datasets.modality import Modality
from uadbench.datasets.scans.preparation import PreparationSettings, PreparedVolume, prepare_volume
from uadbench.datasets.store.build import build_store
from uadbench.datasets.store.store import VolumeStore
from uadbench.errors import UserError
from uadbench.methods import Row

SHAPE = (8, 24, 24)
SLAB = Slab(0, SHAPE[0])
MIN_VOXELS = 7
Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@pytest.fixture
def settings() -> ScoreSettings:
    preset = load_preset(str(Path(__file__).parents[2] / "tiny.toml"))
    plan = plan_for(preset, select_rows(["thresh"])[0].method, Row("x", "x", {}))
    return plan.score.model_copy(update={"min_voxels": MIN_VOXELS, "lesion_free": "exclude"})


def box(z: slice, y: slice, x: slice) -> Mask:
    mask = np.zeros(SHAPE, bool)
    mask[z, y, x] = True
    return mask


LESIONS = box(slice(2, 5), slice(4, 9), slice(4, 9)) | box(slice(5, 7), slice(14, 17), slice(3, 6))
OTHER = box(slice(1, 6), slice(12, 20), slice(14, 21)) | box(slice(2, 4), slice(9, 12), slice(4, 7))


@pytest.fixture
def score_map() -> Array:
    """Lesions stand out a little, what is ignored stands out most, and noise lies over both."""
    noise = np.random.default_rng(3).uniform(0, 1, SHAPE).astype(np.float32)
    return (noise + 0.5 * LESIONS + 2 * OTHER).astype(np.float32)


def store_of(folder: Path, lesions: Mask, ignored: Mask | None) -> VolumeStore:
    def prepare(subject: Subject) -> PreparedVolume:
        volume = np.random.default_rng(1).uniform(0, 1, SHAPE).astype(np.float32)
        return PreparedVolume(volume, np.ones(SHAPE, bool), lesions, ignored)

    manifest = {"preparation": {"factor": 1}}
    return build_store(folder, [Subject("s", None, None)], prepare, manifest, has_lesions=True, jobs=1)


@pytest.fixture
def score(tmp_path: Path, settings: ScoreSettings) -> Callable[[Array, Mask, Mask | None, ThresholdPair], VolumeScore]:
    """The scores of a map that some method might have made."""

    def run(score_map: Array, lesions: Mask, ignored: Mask | None, thresholds: ThresholdPair) -> VolumeScore:
        store = store_of(tmp_path / f"s{len(list(tmp_path.iterdir()))}", lesions, ignored)
        cohort = Cohort("t", "T", "tumours", store, Modality.FLAIR)
        original = np.array(store.volume("s"))
        reading = Reading(original, original - score_map, score_map, store.brain_mask("s"), 1.0)
        return score_lesions(cohort, "s", reading, thresholds, SLAB, settings)

    return run


def found_by(score_map: Array, threshold: float) -> Mask:
    """Above the threshold and in a component of enough voxels, by another way than the benchmark's."""
    pieces, count = ndimage.label(score_map > threshold, np.ones((3, 3, 3)))
    kept = [number for number in range(1, count + 1) if int((pieces == number).sum()) >= MIN_VOXELS]
    return np.isin(pieces, kept)


def test_every_number_is_that_of_the_voxels_that_count(score, score_map) -> None:
    threshold = 0.9
    scored = score(score_map, LESIONS, OTHER, ThresholdPair(threshold, 0.0, threshold + 0.1, 0.0))
    counts = ~OTHER
    truth = LESIONS[counts]
    assert scored.dice == pytest.approx(f1_score(truth, found_by(score_map, threshold)[counts]))
    assert scored.dice_exact == pytest.approx(f1_score(truth, found_by(score_map, threshold + 0.1)[counts]))
    assert scored.auprc == pytest.approx(average_precision_score(truth, score_map[counts]))
    assert scored.l1 == pytest.approx(float(score_map[counts].mean()))
    assert scored.l1_brain == pytest.approx(float(score_map[counts].mean()))
    assert scored.lesion_ml == pytest.approx(LESIONS.sum() / 1000)


def test_what_is_ignored_is_no_lesion(score) -> None:
    """Whoever finds the lesions and nothing else is perfect."""
    scored = score(LESIONS.astype(np.float32), LESIONS, OTHER, ThresholdPair(0.5, 1.0, 0.5, 1.0))
    assert (scored.dice, scored.dice_exact, scored.auprc) == (1.0, 1.0, 1.0)


def test_what_is_ignored_is_no_background(score) -> None:
    """Whoever marks it on top of the lesions is just as perfect; who marks as much elsewhere is not."""
    both = (LESIONS | OTHER).astype(np.float32)
    scored = score(both + OTHER, LESIONS, OTHER, ThresholdPair(0.5, 1.0, 0.5, 1.0))
    assert (scored.dice, scored.dice_exact, scored.auprc) == (1.0, 1.0, 1.0)
    punished = score(both + OTHER, LESIONS, None, ThresholdPair(0.5, 1.0, 0.5, 1.0))
    assert punished.dice is not None and punished.auprc is not None
    assert punished.dice < 0.6 and punished.auprc < 0.6


def test_components_are_those_of_the_whole_map(score) -> None:
    """A piece of eight voxels stays, though six of them are ignored: the two others are found."""
    piece = box(slice(3, 4), slice(11, 12), slice(14, 22))
    lesions = box(slice(3, 4), slice(11, 12), slice(14, 16))
    scored = score(piece.astype(np.float32), lesions, piece & ~lesions, ThresholdPair(0.5, 1.0, 0.5, 1.0))
    assert scored.dice == 1.0


def test_thresholds_are_chosen_on_the_voxels_that_count(score_map) -> None:
    other_map = np.roll(score_map, 5, axis=2)
    truths = [Truth(LESIONS, OTHER), Truth(np.roll(LESIONS, 5, axis=2), np.roll(OTHER, 5, axis=2))]
    pair = find_thresholds(lambda: [score_map, other_map], lambda: truths, 10)
    pooled = np.concatenate([score_map[~truths[0].ignored], other_map[~truths[1].ignored]])
    labels = np.concatenate([LESIONS[~truths[0].ignored], truths[1].lesions[~truths[1].ignored]])

    def dice_at(cut: float) -> float:
        return float(f1_score(labels, pooled > cut))

    cuts = np.unique(pooled)
    best = max(dice_at(cut) for cut in cuts[:: max(1, len(cuts) // 400)])
    assert pair.exact_dice >= best
    assert pair.exact_dice == pytest.approx(dice_at(pair.exact))
    assert pair.greedy_dice == pytest.approx(dice_at(pair.greedy))
    low, high = 0.0, float(pooled.max())
    seen = []
    for _ in range(10):  # the protocol's search, written out again
        ends = [low + (high - low) / 4, low + 3 * (high - low) / 4]
        values = [dice_at(end) for end in ends]
        seen.append((max(values), ends[int(values[1] > values[0])]))
        low, high = (low, (low + high) / 2) if values[0] >= values[1] else ((low + high) / 2, high)
    assert pair.greedy_dice == pytest.approx(max(seen)[0])


def test_a_scan_that_marks_only_what_is_ignored_is_free_of_lesions(tmp_path, score, settings) -> None:
    nothing = np.zeros(SHAPE, bool)
    store = store_of(tmp_path / "only", nothing, OTHER)
    cohort = Cohort("t", "T", "tumours", store, Modality.FLAIR)
    assert not store.lesion_mask("s").any()
    assert np.array_equal(store.ignored_mask("s"), OTHER)
    with pytest.raises(UserError, match="none of the 1 test scans"):
        lesion_free_scans(cohort, ["s"], SLAB, settings, "test")
    scored = score(OTHER.astype(np.float32), nothing, OTHER, ThresholdPair(0.5, 1.0, 0.5, 1.0))
    assert (scored.dice, scored.auprc, scored.lesion_ml) == (None, None, 0.0)
    assert scored.note is not None and scored.note.startswith("no lesion")


def test_without_anything_ignored_arrays_go_as_they_are(tmp_path) -> None:
    """The numbers of sets without such a label cannot change: not even the order of a sum does."""
    store = store_of(tmp_path / "plain", LESIONS, None)
    truth = truth_of(Cohort("t", "T", "tumours", store, Modality.FLAIR), "s", SLAB)
    array = np.zeros(SHAPE)
    assert truth.ignored is None
    assert truth.counted(array) is array
    assert truth.within(None) is None
    assert truth.within(LESIONS) is LESIONS
    assert not store.ignored_mask("s").any()


def test_preparation_and_store_keep_both(tmp_path) -> None:
    """Both masks take the same way: the voxels that a plain picture of their labels would have, sampled alike."""
    settings = PreparationSettings(side=20, depth=6, factor=2)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (9, 30, 28))
    brain = np.ones(labels.shape, bool)
    image = rng.uniform(1, 2, labels.shape).astype(np.float32)
    prepared = prepare_volume(image, brain, labels == 1, settings, labels == 2)
    # The centre 6 × 20 × 20 of it (an odd voxel too many stays at the upper end), and of each 2 × 2 × 2 the upper one.
    centre = labels[1:7, 5:25, 4:24][1::2, 1::2, 1::2]
    assert prepared.ignored_mask is not None
    store = build_store(
        tmp_path / "s", [Subject("s", None, None)], lambda subject: prepared, {}, has_lesions=True, jobs=1
    )
    assert np.array_equal(store.lesion_mask("s"), centre == 1)
    assert np.array_equal(store.ignored_mask("s"), centre == 2)
    assert np.array_equal(np.load(tmp_path / "s" / "lesion_masks.npy")[0], centre)
    overlapping = replace(prepared, ignored_mask=np.ones_like(prepared.ignored_mask))
    again = build_store(
        tmp_path / "o", [Subject("s", None, None)], lambda subject: overlapping, {}, has_lesions=True, jobs=1
    )
    assert np.array_equal(again.lesion_mask("s"), centre == 1)
