"""Figures show the right slice, on one honest scale, with the prediction that is scored."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uadbench.benchmarks.engine.samples import Sample
from uadbench.benchmarks.figures import cohort, reconstructions
from uadbench.benchmarks.figures.cohort import cohort_sheet, spread_subjects
from uadbench.benchmarks.figures.reconstructions import MethodMaps, comparison_figure, reconstruction_figure
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError

pytest.importorskip("matplotlib", reason="matplotlib is not installed here")
SHAPE = (10, 40, 40)
Make = Callable[..., Any]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were drawn, as matplotlib objects; they are written as well."""
    kept: list[Any] = []
    save = reconstructions.save

    def keep(figure: Any, path: Path) -> None:
        kept.append(figure)
        save(figure, path)

    for module in (cohort, reconstructions):
        monkeypatch.setattr(module, "save", keep)
    return kept


@pytest.fixture
def samples(ball: Make) -> list[Sample]:
    """A tumour at slice 7, an MS lesion at slice 3, a healthy volume; scores are where the lesion is, and noise."""
    rng = np.random.default_rng(0)

    def sample(title: str, centre: tuple[int, int, int] | None) -> Sample:
        original = rng.random(SHAPE, dtype=np.float32)
        truth = None if centre is None else ball(SHAPE, centre, 3.0)
        score = 0.1 * rng.random(SHAPE, dtype=np.float32)
        if truth is not None:
            score = score + np.float32(0.5) * truth
        score[0, 0, 0] = 0.9  # a component of one voxel, far from the lesion
        return Sample(title, original, original / 2, score, truth, None if truth is None else 0.3)

    return [sample("tumours\nt1", (7, 20, 12)), sample("MS\nm1", (3, 10, 30)), sample("healthy\nh1", None)]


def image(axes: Any, layer: int = 0) -> np.ndarray:
    return np.asarray(axes.get_images()[layer].get_array())


def grid_of(figure: Any, rows: int) -> list[list[Any]]:
    axes = [axes for axes in figure.axes if axes.get_images()]
    columns = len(axes) // rows
    return [axes[row * columns : (row + 1) * columns] for row in range(rows)]


def test_rows_are_volumes_at_the_slice_with_most_lesion(
    tmp_path: Path, samples: list[Sample], drawn: list[Any]
) -> None:
    reconstruction_figure(samples, tmp_path / "figure.png")
    grid = grid_of(drawn[0], 3)
    for row, sample, index in zip(grid, samples, (7, 3, 5), strict=True):
        np.testing.assert_array_equal(image(row[0]), sample.original[index])
        np.testing.assert_array_equal(image(row[1]), sample.reconstruction[index])
        np.testing.assert_array_equal(image(row[2]), sample.score_map[index])
        assert row[0].get_ylabel() == f"{sample.title}\nslice {index}"
        assert all(axes.get_images()[0].origin == "lower" for axes in row)
    assert [axes.get_title() for axes in grid[0]] == [
        "original",
        "reconstruction",
        "anomaly map",
        "prediction",
        "ground truth",
    ]


def test_all_maps_share_one_scale_and_all_images_the_fixed_one(
    tmp_path: Path, samples: list[Sample], drawn: list[Any]
) -> None:
    reconstruction_figure(samples, tmp_path / "figure.png")
    grid = grid_of(drawn[0], 3)
    assert len({row[2].get_images()[0].get_clim() for row in grid}) == 1
    assert {axes.get_images()[0].get_clim() for row in grid for axes in (row[0], row[1], row[4])} == {(0, 1)}
    low, high = grid[0][2].get_images()[0].get_clim()
    assert low == 0
    assert 0.5 < high <= 0.9


def test_the_prediction_is_what_is_scored(tmp_path: Path, samples: list[Sample], drawn: list[Any]) -> None:
    stray = samples[0].score_map.copy()
    stray[7, 35, 35] = 0.9
    sample = Sample("tumours", samples[0].original, samples[0].reconstruction, stray, samples[0].truth, 0.3)
    reconstruction_figure([sample, samples[2]], tmp_path / "figure.png", min_voxels=7)
    reconstruction_figure([sample], tmp_path / "figure.png")
    assert sample.truth is not None
    kept, everything = (
        image(grid_of(figure, rows)[0][3], 1)[..., 3] > 0 for figure, rows in ((drawn[0], 2), (drawn[1], 1))
    )
    np.testing.assert_array_equal(kept, sample.truth[7])
    assert everything[35, 35]
    assert everything.sum() == kept.sum() + 1
    np.testing.assert_array_equal(image(grid_of(drawn[0], 2)[0][4], 1)[..., 3] > 0, sample.truth[7])


def test_a_healthy_volume_has_neither_truth_nor_prediction(
    tmp_path: Path, samples: list[Sample], drawn: list[Any]
) -> None:
    reconstruction_figure(samples[2:], tmp_path / "figure.png")
    (row,) = grid_of(drawn[0], 1)
    assert [len(axes.get_images()) for axes in row] == [1] * 5
    assert row[3].get_xlabel() == "no threshold"


def test_an_empty_map_is_drawn(tmp_path: Path, samples: list[Sample]) -> None:
    empty = np.zeros(SHAPE, np.float32)
    sample = Sample("dark", samples[0].original, empty, empty, np.zeros(SHAPE, bool), 0.3)
    reconstruction_figure([sample], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def maps(title: str, samples: list[Sample], kind: str = "residual") -> MethodMaps:
    return MethodMaps(title, kind, tuple(samples))


def louder(samples: list[Sample], factor: float) -> list[Sample]:
    return [Sample(s.title, s.original, s.original / 3, s.score_map * factor, s.truth, s.threshold) for s in samples]


def bars(figure: Any) -> dict[str, tuple[float, float]]:
    """By label, the limits of each colour bar."""
    return {axes.get_ylabel(): axes.get_ylim() for axes in figure.axes if not axes.get_images()}


def test_methods_stand_side_by_side_on_the_same_slices(tmp_path: Path, samples: list[Sample], drawn: list[Any]) -> None:
    fainter = louder(samples, 0.5)
    comparison_figure([maps("AE", samples), maps("MAEDiff", fainter)], tmp_path / "figure.png")
    grid = grid_of(drawn[0], 6)
    assert [axes.get_title() for axes in grid[0]] == ["AE", "MAEDiff", "original and truth"]
    np.testing.assert_array_equal(image(grid[0][1]), fainter[0].reconstruction[7])
    np.testing.assert_array_equal(image(grid[3][1]), fainter[1].score_map[3])
    np.testing.assert_array_equal(image(grid[4][2]), samples[2].original[5])
    assert len({axes.get_images()[0].get_clim() for row in grid[1::2] for axes in row[:2]}) == 1
    assert list(bars(drawn[0])) == ["residual"]


def test_each_kind_of_score_has_one_scale_and_a_bar_that_names_it(
    tmp_path: Path, samples: list[Sample], drawn: list[Any]
) -> None:
    faint = [maps(f"faint {factor}", louder(samples, 0.05 * factor)) for factor in (1, 2)]
    comparison_figure([maps("Thresh", samples, "grey value"), *faint], tmp_path / "figure.png")
    grid = grid_of(drawn[0], 6)
    ends = [{row[column].get_images()[0].get_clim() for row in grid[1::2]} for column in range(3)]
    assert len(ends[0]) == 1 and ends[1] == ends[2] and len(ends[1]) == 1
    assert ends[0].pop()[1] > 10 * ends[1].pop()[1]
    assert list(bars(drawn[0])) == ["grey value", "residual"]


def test_one_loud_method_leaves_the_maps_of_the_others_readable(
    tmp_path: Path, samples: list[Sample], drawn: list[Any]
) -> None:
    """The scale ends where the middle method does, not where the loudest one does."""
    methods = [maps(f"x{factor}", louder(samples, factor)) for factor in (0.9, 20, 1)]
    comparison_figure(methods, tmp_path / "figure.png")
    grid = grid_of(drawn[0], 6)
    pooled = np.concatenate([s.score_map[s.score_map > 0] for s in samples])
    assert grid[1][0].get_images()[0].get_clim()[1] == pytest.approx(np.quantile(pooled, 0.999))
    assert bars(drawn[0])["residual"][1] == pytest.approx(np.quantile(pooled, 0.999))


def test_methods_on_other_volumes_cannot_be_compared(tmp_path: Path, samples: list[Sample]) -> None:
    path = tmp_path / "figure.png"
    with pytest.raises(UserError, match="MAEDiff was run on other volumes than AE"):
        comparison_figure([maps("AE", samples), maps("MAEDiff", samples[:2])], path)
    with pytest.raises(UserError, match="other volumes"):
        comparison_figure([maps("AE", samples), maps("MAEDiff", [samples[1], samples[0], samples[2]])], path)
    with pytest.raises(UserError, match="nothing to compare"):
        comparison_figure([], path)
    with pytest.raises(UserError, match="nothing to draw"):
        reconstruction_figure([], path)


def test_the_cohort_sheet_shows_every_set_with_its_lesions(tmp_path: Path, tiny_data: Data, drawn: list[Any]) -> None:
    cohort_sheet(tiny_data, tmp_path / "sheet.png", subjects=3, slices=2)
    grid = grid_of(drawn[0], 3)
    assert [row[0].get_ylabel().splitlines()[0] for row in grid] == ["tiny healthy", "tiny tumours", "tiny ms"]
    assert [len(row) for row in grid] == [6, 6, 6]
    assert not any(axes.collections for axes in grid[0])
    assert all(axes.collections for row in grid[1:] for axes in row)  # outlines
    assert grid[0][0].get_title(loc="left") == "healthy-0, here, 30 years"
    assert "ml" in grid[1][0].get_title(loc="left")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_shown_subjects_span_ages_and_lesion_volumes(tiny_data: Data) -> None:
    healthy = spread_subjects(tiny_data.healthy, 3)
    assert (healthy[0], healthy[-1]) == ("healthy-0", "healthy-9")
    (tumours, _) = tiny_data.lesions.values()
    chosen = spread_subjects(tumours, 2)
    volumes = {subject: int(tumours.store.lesion_mask(subject).sum()) for subject in tumours.store.ids}
    assert [volumes[subject] for subject in chosen] == [min(volumes.values()), max(volumes.values())]
    assert spread_subjects(tumours, 99) == sorted(volumes, key=lambda subject: (volumes[subject], subject))


def test_without_matplotlib_it_is_one_sentence(
    tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def bare(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", bare)
    with pytest.raises(UserError, match="matplotlib is not installed here"):
        reconstruction_figure(samples, tmp_path / "figure.png")
    assert not (tmp_path / "figure.png").exists()
