"""What every score shares: a map of the right shape and type, never negative, and a registry that nobody edits."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from uadbench import registry as plugins
from uadbench.metrics.scores import HealthyScan, Score, ScoreInfo, UnknownScoreError, score_named, scores
from uadbench.metrics.scores import registry as registry_module

SECTIONS = {
    "ssim": {"windows": [0.5, 1.5], "adaptive": True, "volumetric": True},
    "mahalanobis": {"seeds": 3, "cutoff": 1e-3},
}
SHAPE = (4, 12, 10)


def make(name: str) -> Score:
    cls = score_named(name)
    wanted = {section: SECTIONS[section] for section in cls.Settings.model_fields}
    return cls(cls.Settings.model_validate(wanted))


def scan_of(score: Score, seed: int = 0) -> HealthyScan:
    rng = np.random.default_rng(seed)
    volume = rng.random(SHAPE, dtype=np.float32)
    reconstructions = np.stack([rng.random(SHAPE, dtype=np.float32) for _ in range(score.reconstructions)])
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, 2:-2, 2:-2] = True
    return HealthyScan(volume, reconstructions, mask)


@pytest.fixture(params=sorted(scores()))
def score(request: pytest.FixtureRequest) -> Score:
    return make(request.param)


def test_a_map_is_float32_finite_and_never_negative(score: Score) -> None:
    if score.learns:
        score.learn(scan_of(score, 1))
    result = score.map(*scan_of(score))
    assert result.shape == SHAPE and result.dtype == np.float32
    assert np.isfinite(result).all() and result.min() >= 0 and result.max() > 0


def test_a_larger_deviation_scores_higher(score: Score) -> None:
    if score.learns:
        score.learn(scan_of(score, 1))
    volume = np.full(SHAPE, 0.5, dtype=np.float32)
    same = np.stack([volume] * score.reconstructions)
    lesion = volume.copy()
    lesion[1:3, 4:8, 3:7] = 3.0  # beyond any residual of the healthy scan
    mask = np.ones(SHAPE, dtype=bool)
    marked, clean = score.map(lesion, same, mask), score.map(volume, same, mask)
    assert marked[1:3, 5:7, 4:6].min() > clean.max()


def test_inputs_are_not_changed(score: Score) -> None:
    scan = scan_of(score)
    copies = [array.copy() for array in scan]
    if score.learns:
        score.learn(scan)
    score.map(*scan)
    for before, after in zip(copies, scan, strict=True):
        np.testing.assert_array_equal(before, after)


def test_arrays_that_do_not_belong_together_are_refused(score: Score) -> None:
    if score.learns:
        score.learn(scan_of(score, 1))
    volume, reconstructions, mask = scan_of(score)
    with pytest.raises(ValueError, match="wants reconstructions of shape"):
        score.map(volume, reconstructions[:, :-1], mask)
    with pytest.raises(ValueError, match="must be equal"):
        score.map(volume, reconstructions, mask[:-1])
    with pytest.raises(ValueError, match="must be finite"):
        score.map(volume, np.full_like(reconstructions, np.nan), mask)


def test_every_score_has_a_title_and_a_source() -> None:
    assert set(scores()) >= {"l1", "l2", "ssim", "mahalanobis"}
    for name, cls in scores().items():
        assert cls.info.name == name and cls.info.title and cls.info.paper
        assert str(cls.info.year) in cls.info.citation


def test_l1_and_l2_are_the_norms_of_the_residual() -> None:
    volume, reconstructions, mask = scan_of(make("l1"))
    residual = [[a - b for a, b in zip(volume.ravel().tolist(), reconstructions[0].ravel().tolist(), strict=True)]]
    np.testing.assert_allclose(make("l1").map(volume, reconstructions, mask).ravel(), np.abs(residual[0]), atol=1e-6)
    np.testing.assert_allclose(
        make("l2").map(volume, reconstructions, mask).ravel(), [r * r for r in residual[0]], atol=1e-6
    )


def test_an_unknown_score_is_one_sentence_with_the_list() -> None:
    with pytest.raises(UnknownScoreError, match=r"no score 'sim'; choose one of l1, l2, mahalanobis, ssim"):
        score_named("sim")


@pytest.fixture
def clean_registry() -> Iterator[None]:
    """Registers nothing for the other tests."""
    with registry_module.REGISTRY.isolated():
        yield


def info_of(name: str) -> ScoreInfo:
    return ScoreInfo(name=name, title=name, citation="nobody, 2000", year=2000, paper="nobody 2000")


def test_a_name_belongs_to_one_class(clean_registry: None) -> None:
    other = type("Other", (Score,), {"info": info_of("l1")})
    with pytest.raises(ValueError, match="two scores are called 'l1'"):
        registry_module.register_score(other)
    for name in ("a+b", "", ".a", "../../evil", "a/b", "ä", "[/red]", "a b", "a\n", 65 * "a"):
        with pytest.raises(ValueError, match="cannot be called"):
            registry_module.register_score(type("Plus", (Score,), {"info": info_of(name)}))


class Foreign(Score):
    info = info_of("foreign")


def test_an_installed_package_brings_its_scores(clean_registry: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Distribution:
        name, version = "more-scores", "1.2"

    class Point:
        name, value, dist = "foreign", "more_scores:Foreign", Distribution()

        @staticmethod
        def load() -> type[Score]:
            return Foreign

    broken = EntryPoint("broken", "no_such_module_anywhere", registry_module.ENTRY_POINTS)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [broken, Point()])
    with pytest.warns(registry_module.ScorePluginWarning, match="no_such_module_anywhere"):
        assert registry_module.scores()["foreign"] is Foreign
    assert registry_module.distribution_of("foreign") == "more-scores 1.2"
    assert registry_module.distribution_of("l1") == ""
