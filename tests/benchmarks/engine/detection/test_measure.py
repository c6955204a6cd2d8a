"""Every line of a volume, recomputed by SciPy, by brute force and by counting, with and without an ignored label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import average_precision_score, f1_score

from uadbench.benchmarks.engine.detection.measure import Measurer
from uadbench.benchmarks.engine.scoring import Reading
from uadbench.benchmarks.engine.slices import Slab
from uadbench.benchmarks.plan.plan import plan_for
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.settings import ScoreSettings
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.detection_lines import Measured, VolumeDetection, unpack
from uadbench.benchmarks.records.detections import DETECTION_VERSION, DetectionConfig, LadderStep, SetThresholds
from uadbench.datasets.cohort import Cohort, Subject
from uadbench.datasets.modality import Modality
from uadbench.datasets.scans.preparation import PreparedVolume
from uadbench.datasets.store.build import build_store
from uadbench.methods import Row
from uadbench.metrics.curves import ap_of, dice_at
from uadbench.metrics.lesions import ssim_map

from cases import TINY

SHAPE = (8, 40, 40)
MIN_VOXELS = 7
EVERY = np.ones((3, 3, 3))
GREEDY, EXACT, AT_1, AT_5, AT_10 = (float(np.float32(value)) for value in (0.8, 0.85, 1.1, 0.95, 0.9))
CONFIG = DetectionConfig(
    version=DETECTION_VERSION,
    thresholds={
        "tumours": SetThresholds(greedy=GREEDY, exact=EXACT, at_1=AT_1, at_5=AT_5, at_10=AT_10),
        "ms": SetThresholds(greedy=0.5, exact=EXACT, at_1=AT_1, at_5=AT_5, at_10=AT_10),
    },
    top=1.5,
    bins=4096,
    voxel_mm=2.0,
    # The second and third step have one threshold, as few voxels would give them; the last one joins components.
    ladder=tuple(
        LadderStep(share=share, threshold=float(np.float32(threshold)))
        for share, threshold in ((0.001, 1.4), (0.002, 1.0), (0.005, 1.0), (0.01, 0.8), (0.2, 0.6), (0.3, 0.05))
    ),
)
ML = 0.008

Mask = NDArray[np.bool_]


def box(*sides: tuple[int, int]) -> Mask:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


BRAIN = box((1, 8), (2, 38), (2, 38))
#: A large lesion, two small ones side by side, and one that nobody finds.
LESIONS = (
    box((2, 5), (5, 13), (5, 13))
    | box((2, 4), (20, 23), (20, 23))
    | box((2, 4), (20, 23), (25, 28))
    | box((5, 7), (30, 32), (6, 8))
)
IGNORED = box((2, 7), (28, 36), (28, 36)) | box((2, 5), (9, 13), (13, 15))
#: Marked: most of the first, both of the small ones at once, a component of its own, one over what is ignored.
MARKED = (
    box((2, 5), (6, 13), (5, 14))
    | box((2, 4), (20, 23), (20, 28))
    | box((3, 6), (30, 33), (18, 22))
    | box((3, 6), (30, 33), (30, 34))
)


@pytest.fixture
def settings() -> ScoreSettings:
    plan = plan_for(load_preset(str(TINY)), select_rows(["thresh"])[0].method, Row("x", "x", {}))
    return plan.score.model_copy(update={"min_voxels": MIN_VOXELS, "lesion_free": "exclude"})


@pytest.fixture
def reading() -> Reading:
    rng = np.random.default_rng(5)
    noise = rng.uniform(0, 1, SHAPE)
    scores = np.where(MARKED, 0.85 + 0.6 * noise, 0.75 * noise) * BRAIN
    scores[6, 20, 4:7] = 1.2  # too few voxels to stay
    original = (rng.uniform(0, 1, SHAPE) * BRAIN).astype(np.float32)
    return Reading(original, (0.5 * original).astype(np.float32), scores.astype(np.float32), BRAIN, 0.1)


@pytest.fixture
def measure(
    tmp_path: Path, settings: ScoreSettings, reading: Reading
) -> Callable[[str, Mask | None, Mask | None], Measured]:
    def of(key: str, lesions: Mask | None, ignored: Mask | None = None) -> Measured:
        def prepare(subject: Subject) -> PreparedVolume:
            return PreparedVolume(reading.original, BRAIN, lesions, ignored)

        manifest = {"preparation": {"factor": 2}}
        subjects = [Subject("s", None, None)]
        store = build_store(tmp_path / key, subjects, prepare, manifest, has_lesions=lesions is not None, jobs=1)
        cohort = Cohort(f"clinic-{key}", "clinic", key, store, Modality.T2)
        return Measurer(CONFIG, Slab(0, SHAPE[0]), settings).measure(cohort, "s", reading)

    return of


def marked_at(scores: NDArray[np.float32], threshold: float, ignored: Mask) -> Mask:
    """Score above threshold, components of at least seven voxels, without what is ignored."""
    labels, count = ndimage.label(scores > threshold, EVERY)
    kept = np.zeros(scores.shape, bool)
    for number in range(1, count + 1):
        piece = labels == number
        if piece.sum() >= MIN_VOXELS:
            kept |= piece
    return kept & ~ignored


def shell(mask: Mask) -> Mask:
    return mask & ~ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1))


@pytest.mark.parametrize("ignored", [np.zeros(SHAPE, bool), IGNORED], ids=["nothing ignored", "something ignored"])
def test_a_lesion_scan_by_hand(measure: Callable[..., Measured], reading: Reading, ignored: Mask) -> None:
    measured = measure("tumours", LESIONS, ignored if ignored.any() else None)
    (line,) = measured.volumes
    found, scores = marked_at(reading.score_map, GREEDY, ignored), reading.score_map
    counted, inner = ~ignored, BRAIN & ~ignored
    assert (line.cohort, line.role, line.subject, line.at) == ("clinic-tumours", "tumours", "s", "tumours")
    assert line.brain_ml == pytest.approx(inner.sum() * ML)
    assert line.found_ml == pytest.approx(found.sum() * ML)
    assert line.hit_ml == pytest.approx((found & LESIONS).sum() * ML)
    assert line.components == ndimage.label(found, EVERY)[1] == (3 if ignored.any() else 4)
    # The component over both small lesions has found one of them, the other is merged; the fourth lesion is missed.
    assert (line.lesions, line.hits, line.merged, line.split) == (4, 2, 1, 0)
    assert line.hits_iou == 1
    sizes = [part.sum() * ML for part in (box((3, 6), (30, 33), (18, 22)), box((3, 6), (30, 33), (30, 34)))]
    false = sizes[:1] if ignored.any() else sizes
    assert (line.false_below_01, line.false_01_1) == (0, len(false)) and (line.false_1_10, line.false_above_10) == (
        0,
        0,
    )

    ours, theirs = shell(found), shell(LESIONS)
    to_ours, to_theirs = (ndimage.distance_transform_edt(~mask, 2.0) for mask in (ours, theirs))
    there, back = to_theirs[ours], to_ours[theirs]
    assert line.hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert line.surface_dice == pytest.approx(((there <= 2).sum() + (back <= 2).sum()) / (there.size + back.size))

    labels = LESIONS[counted]
    best = max(f1_score(labels, scores[counted] >= value) for value in np.unique(scores[LESIONS]))
    assert line.ceiling_dice == pytest.approx(best)
    for threshold, dice, recall in (
        (AT_1, line.dice_at_1, line.recall_at_1),
        (AT_5, line.dice_at_5, line.recall_at_5),
        (AT_10, line.dice_at_10, line.recall_at_10),
    ):
        there = marked_at(scores, threshold, ignored)
        assert dice == pytest.approx(f1_score(labels, there[counted]))
        assert recall == pytest.approx((there & LESIONS).sum() / LESIONS.sum())
    error, similarity = (
        np.abs(reading.original - reading.reconstruction),
        ssim_map(reading.original, reading.reconstruction),
    )
    assert line.l1_inside == pytest.approx(error[LESIONS].mean(), rel=1e-5)
    assert line.l1_outside == pytest.approx(error[inner & ~LESIONS].mean(), rel=1e-5)
    assert line.ssim_inside == pytest.approx(similarity[LESIONS].mean())
    assert line.ssim_outside == pytest.approx(similarity[inner & ~LESIONS].mean())
    brain = np.sort(scores[inner].astype(float))
    assert line.score_mean == pytest.approx(brain.mean())
    assert line.score_top == pytest.approx(brain[-int(np.ceil(brain.size / 100)) :].mean())


def test_lesions_by_hand(measure: Callable[..., Measured]) -> None:
    lines = measure("tumours", LESIONS).lesions
    assert [line.lesion for line in lines] == [1, 2, 3, 4]
    assert [line.ml for line in lines] == pytest.approx([192 * ML, 18 * ML, 18 * ML, 8 * ML])
    shared, marked = 3 * 7 * 8, 3 * 7 * 9
    assert lines[0].dice == pytest.approx(2 * shared / (192 + marked))
    assert lines[0].iou == pytest.approx(shared / (192 + marked - shared))
    assert lines[0].touched == pytest.approx(shared / 192)
    assert sorted(line.dice for line in lines[1:3]) == pytest.approx([0, 2 * 18 / (18 + 48)])
    assert [line.touched for line in lines[1:]] == [1, 1, 0]
    assert (lines[3].dice, lines[3].iou) == (0, 0)


@pytest.mark.parametrize("ignored", [np.zeros(SHAPE, bool), IGNORED], ids=["nothing ignored", "something ignored"])
def test_every_step_of_the_ladder_is_counted(measure: Callable[..., Measured], reading: Reading, ignored: Mask) -> None:
    measured = measure("tumours", LESIONS, ignored if ignored.any() else None)
    assert [line.share for line in measured.froc] == [step.share for step in CONFIG.ladder]
    lesions, count = ndimage.label(LESIONS & ~ignored, EVERY)
    for line, step in zip(measured.froc, CONFIG.ladder, strict=True):
        found, components = ndimage.label(marked_at(reading.score_map, step.threshold, ignored), EVERY)
        false = [number for number in range(1, components + 1) if not (lesions[found == number] > 0).any()]
        assert (line.components, line.false, line.lesions) == (components, len(false), count)
        pairs = [
            (2 * ((lesions == i) & (found == j)).sum() / ((lesions == i).sum() + (found == j).sum()), i, j)
            for i in range(1, count + 1)
            for j in range(1, components + 1)
        ]
        matched: list[tuple[int, int]] = []
        for dice, i, j in sorted(pairs, reverse=True):
            if dice >= 0.1 and not any(i == a or j == b for a, b in matched):
                matched.append((i, j))
        assert line.hits == len(matched)
    assert len({(line.components, line.hits) for line in measured.froc}) > 2
    (run,) = measured.volumes  # the fourth step is the run's threshold
    same = measured.froc[3]
    assert (same.components, same.lesions, same.hits) == (run.components, run.lesions, run.hits)
    assert same.false == run.false_below_01 + run.false_01_1 + run.false_1_10 + run.false_above_10


@pytest.mark.parametrize("ignored", [None, IGNORED], ids=["nothing ignored", "something ignored"])
def test_curves_follow_from_the_histogram(
    measure: Callable[..., Measured], reading: Reading, ignored: Mask | None
) -> None:
    line = measure("tumours", LESIONS, ignored).histogram
    inside, outside = unpack(line.inside), unpack(line.outside)
    counted = np.ones(SHAPE, bool) if ignored is None else ~ignored
    scores, labels = reading.score_map[counted], LESIONS[counted]
    assert (inside.sum(), outside.sum()) == (labels.sum(), (~labels).sum())
    bins = np.digitize(scores, CONFIG.edges, right=True)
    np.testing.assert_array_equal(inside, np.bincount(bins[labels], minlength=inside.size))
    np.testing.assert_array_equal(outside, np.bincount(bins[~labels], minlength=outside.size))
    for threshold in (GREEDY, EXACT, AT_1, AT_5, AT_10):  # exact at the thresholds
        assert dice_at(inside, outside, CONFIG.edges, threshold) == pytest.approx(f1_score(labels, scores > threshold))
    assert ap_of(inside, outside) == pytest.approx(average_precision_score(labels, scores), abs=2e-3)
    slices = np.array([reading.score_map[z][BRAIN[z] & counted_slice].mean() if BRAIN[z].any() else np.nan
                       for z, counted_slice in enumerate(counted.reshape(SHAPE))])  # fmt: skip
    np.testing.assert_allclose(unpack(line.slice_scores), slices, rtol=1e-5)
    np.testing.assert_array_equal(unpack(line.slice_lesions), LESIONS.sum(axis=(1, 2)))


def test_a_healthy_scan_is_measured_at_the_thresholds_of_each_set(
    measure: Callable[..., Measured], reading: Reading
) -> None:
    measured = measure("healthy", None)
    nothing = np.zeros(SHAPE, bool)
    assert [line.at for line in measured.volumes] == ["tumours", "ms"] and measured.lesions == ()
    for line, threshold in zip(measured.volumes, (GREEDY, 0.5), strict=True):
        found = marked_at(reading.score_map, threshold, nothing)
        assert line.found_ml == pytest.approx(found.sum() * ML)
        counts = (line.false_below_01, line.false_01_1, line.false_1_10, line.false_above_10)
        assert sum(counts) == line.components == ndimage.label(found, EVERY)[1]
        assert without_lesion(line)
    assert [(line.role, line.share) for line in measured.froc] == [("healthy", one.share) for one in CONFIG.ladder]
    for point, step in zip(measured.froc, CONFIG.ladder, strict=True):
        components = ndimage.label(marked_at(reading.score_map, step.threshold, nothing), EVERY)[1]
        assert point.false == point.components == components
        assert point.lesions is None and point.hits is None
    assert unpack(measured.histogram.inside).sum() == 0
    assert unpack(measured.histogram.outside).sum() == np.prod(SHAPE)


def test_an_unhealthy_scan_without_a_lesion_in_view(measure: Callable[..., Measured]) -> None:
    measured = measure("ms", np.zeros(SHAPE, bool))
    (line,) = measured.volumes
    assert line.at == "ms" and without_lesion(line) and line.components > 0
    assert measured.lesions == ()
    assert all(point.lesions is None and point.hits is None for point in measured.froc)
    assert measured.froc[-2].components == measured.froc[-2].false > 0


def test_where_nothing_is_found(measure: Callable[..., Measured], reading: Reading) -> None:
    reading.score_map[...] = 0
    measured = measure("tumours", LESIONS)
    (line,) = measured.volumes
    assert (line.found_ml, line.hit_ml, line.components, line.hits) == (0, 0, 0, 0)
    assert line.hd95 is None and line.surface_dice == 0 and line.dice_at_10 == 0
    assert (line.score_mean, line.score_top) == (0, 0)
    assert [lesion.touched for lesion in measured.lesions] == [0] * 4


def without_lesion(line: VolumeDetection) -> bool:
    names = ("hit_ml", "lesions", "hits", "hits_iou", "merged", "split", "hd95", "surface_dice", "ceiling_dice")
    names += ("dice_at_1", "recall_at_10", "l1_inside", "l1_outside", "ssim_inside", "ssim_outside")
    return all(getattr(line, name) is None for name in names)
