"""Ours beside the straightforward way: the same numbers, timed in turns; forecasts and curves by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from uadbench.benchmarks.commands import app as cli
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.figures.cost_curves import draw_curves
from uadbench.benchmarks.plan.plan import plan_for
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import SuiteRow, select_rows
from uadbench.benchmarks.speed import curves as curves_module
from uadbench.benchmarks.speed.beside.side_by_side import Pair, compare, pairs, ratio_words
from uadbench.benchmarks.speed.curves import Bench, Curve, curves
from uadbench.benchmarks.speed.forecast import FoldSize, Forecast, fold_size, forecast_lines, forecasts, spoken
from uadbench.benchmarks.speed.measurement import Measurement
from uadbench.benchmarks.speed.peak import measure_copy, measure_product, precision_of
from uadbench.benchmarks.speed.session import Conditions, measure_all
from uadbench.errors import UserError

from cases import TINY


def test_every_pair_computes_the_same_numbers(tiny_preset: Preset) -> None:
    found = list(compare(pairs(tiny_preset), 1))
    names = [ratio.name.partition(",")[0] for ratio in found]
    assert names[:3] == ["post-processing", "components", "average precision"] and "a whole volume" in names
    assert all(ratio.difference < 2e-6 for ratio in found), found
    assert all(ratio.ours > 0 and ratio.theirs > 0 for ratio in found)


def test_both_ways_take_turns_and_the_medians_make_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    pair = Pair("it", lambda: calls.append("ours") or 1.0, lambda: calls.append("theirs") or 1.5)
    from uadbench.benchmarks.speed.beside import side_by_side

    took = {"ours": iter([1.0, 9.0, 2.0]), "theirs": iter([8.0, 8.0, 100.0])}

    def seconds(work: Callable[[], Any]) -> float:
        work()
        return next(took[calls[-1]])

    monkeypatch.setattr(side_by_side, "_seconds", seconds)
    (ratio,) = compare((pair,), 3)
    assert (ratio.ours, ratio.theirs, ratio.times, ratio.difference) == (2.0, 8.0, 4.0, 0.5)
    assert calls[2:] in (
        ["theirs", "ours", "ours", "theirs", "theirs", "ours"],
        ["ours", "theirs", "theirs", "ours", "ours", "theirs"],
    )
    assert ratio_words(ratio) == ("it", "2000", "8000", "4.00×", "5.0e-01")


def test_a_products_rate_is_its_operations_by_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from uadbench.benchmarks.speed import peak

    monkeypatch.setattr(peak, "_group_seconds", lambda work, times, device: 0.5 * times)
    found = measure_product("bf16", "cpu", side=100, seconds=1.5)
    assert found.tflops == pytest.approx(2 * 100**3 / 0.5 / 1e12)
    assert measure_copy("cpu", size=2**20) == pytest.approx(2 * 2**20 * 4 / 2.0 / 1e9)


@pytest.mark.parametrize(
    ("changes", "device", "precision"),
    [
        ((), "cpu", "fp32"),
        (("train.tf32=true",), "cpu", "fp32"),
        (("train.tf32=true",), "cuda", "tf32"),
        (("train.tf32=true", "train.precision=bf16-mixed"), "cuda", "bf16"),
        (("train.precision=16-mixed",), "cuda", "fp16"),
    ],
)
def test_the_precision_that_a_share_is_of(changes: tuple[str, ...], device: str, precision: str) -> None:
    (entry,) = select_rows(["ae"])
    plan = plan_for(load_preset(str(TINY), list(changes)), entry.method, entry.row)
    assert precision_of(plan.train, device) == precision


def measured(preset: Preset, path: Path, **changes: float) -> Measurement:
    conditions = Conditions(preset, "cpu", None, 1, volumes=True, seed=0)
    [line] = measure_all(select_rows(["ae"]), conditions, path, SilentReporter(), again=False)
    return line.model_copy(update=changes)


def test_the_paper_has_the_sizes_of_its_data_sets() -> None:
    (entry,) = select_rows(["ae"])
    preset = load_preset("paper")
    size = fold_size(preset, plan_for(preset, entry.method, entry.row))
    assert (size.healthy, size.lesions, size.folds) == (158, 100 + 1151 + 10 + 20, 5)
    assert size.train + size.validation == 402


def test_a_forecast_by_hand_and_its_error(
    tmp_path: Path,
    fake_record: Callable[..., Any],
    entry_of: Callable[..., SuiteRow],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from uadbench.benchmarks.speed import forecast

    entries, preset = select_rows(["ae"]), load_preset(str(TINY))
    monkeypatch.setattr(forecast, "fold_size", lambda preset, plan: FoldSize(10, 4, 3, 5, folds=2))
    line = measured(preset, tmp_path / "a.csv", step_seconds=2.0, volume_seconds=7.0)
    (found,) = forecasts(entries, preset, [line], tmp_path / "runs")
    # 6 epochs of 10 scans in batches of 4; every second epoch 4 scans with 2 slices, a third of a step's slice each.
    steps = math.ceil(10 / 4)
    assert found.train == pytest.approx(2.0 / 4 * 6 * (steps * 4 + 4 * 2 / 2 / 3))
    control = 3 if plan_for(preset, entries[0].method, entries[0].row).score.untrained_control else 0
    assert found.score == 7.0 * (3 + 5 + 4 + control)  # healthy validation scans, too
    assert (found.finished, found.error) == (None, None)
    record = fake_record(tmp_path / "runs", entry_of("toy", "Toy"))
    record.set_state("done", seconds=2 * found.fold)
    words = record.config.model_copy(update={"recipe": line.recipe})
    monkeypatch.setattr(type(record), "config", property(lambda self: words))
    monkeypatch.setattr(type(record), "environment", property(lambda self: {"device": line.device}))
    monkeypatch.setattr(type(record), "done", property(lambda self: True))
    (found,) = forecasts(entries, preset, [line], tmp_path / "runs")
    assert found.error == pytest.approx(-0.5)
    assert forecast_lines([found, found])[-1] == ("all rows", "", "", "", spoken(4 * (found.fold or 0)), "", "")
    assert forecast_lines([found])[0][-1] == "-50 %"


def test_without_a_timed_volume_there_is_no_fold() -> None:
    assert forecast_lines([Forecast("ae", 60.0, None, 5, 100.0)]) == [("ae", "60 s", "–", "–", "–", "1.7 min", "–")]


@pytest.mark.parametrize(
    ("seconds", "words"), [(45, "45 s"), (95, "1.6 min"), (5400, "1.5 h"), (200_000, "2.3 days"), (0.5, "0.5 s")]
)
def test_times_as_people_say_them(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_a_curve_knows_how_it_grows() -> None:
    sizes = (1.0, 2.0, 4.0, 8.0)
    assert Curve("t", "s", sizes, tuple(3 * size**2 for size in sizes)).exponent == pytest.approx(2)


def test_curves_of_a_row_are_measured_and_drawn(
    tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def volume(bench: Bench, work: Any, depth: int | None = None) -> float:
        return work.side * (depth or work.plan.data.slices) / 1000

    monkeypatch.setattr(curves_module, "_volume", volume)
    monkeypatch.setattr(curves_module, "_step", lambda bench, work, size: 0.1 * size)
    monkeypatch.setattr(curves_module, "_threshold", lambda shape, count: 0.1 * count)
    (entry,) = select_rows(["pddpm-s16"])
    found = {curve.size: curve for curve in curves(Bench(entry, tiny_preset, "cpu", 0))}
    assert set(found) == {"slices", "patches of a slice", "side of a slice", "slices of a batch", "pooled volumes"}
    assert found["slices"].sizes == (1, 2, 4) and found["slices"].exponent == pytest.approx(1)
    assert {4, 16} <= set(found["patches of a slice"].sizes)
    assert 96 in found["side of a slice"].sizes and 192 in found["side of a slice"].sizes
    draw_curves(list(found.values()), "a title", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="nothing to draw"):
        draw_curves([], "a title", tmp_path / "none.png")


def test_a_size_that_is_too_much_ends_its_curve() -> None:
    def measure(size: int) -> float:
        if size == 2:
            raise UserError("not allowed")
        if size > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return float(size)

    (curve,) = curves_module._curve("t", "s", [1, 2, 3, 4, 5, 6], measure)
    assert curve.sizes == (1, 3, 4)
    assert list(curves_module._curve("t", "s", [5, 6], measure)) == []


def test_the_command_needs_a_row_unless_it_only_compares() -> None:
    answer = CliRunner().invoke(cli.app, ["speed"])
    assert answer.exit_code == 2 and "--method" in answer.output
    answer = CliRunner().invoke(
        cli.app, ["speed", "--straightforward", "--preset", str(TINY), "--steps", "1", "--markdown"]
    )
    assert answer.exit_code == 0, answer.output
    assert "| post-processing, 4 slices |" in answer.output


def test_the_command_forecasts(tmp_path: Path) -> None:
    words = [
        "speed",
        "--method",
        "thresh",
        "--preset",
        str(TINY),
        "--results",
        str(tmp_path),
        "--forecast",
        "--steps",
        "1",
    ]
    answer = CliRunner().invoke(cli.app, [*words, "--markdown", "--device", "cpu"])
    assert answer.exit_code == 0, answer.output
    assert "forecast − finished" in answer.output


def test_a_row_is_measured_at_other_sides_and_refuses_numbers_that_it_does_not_read(tiny_preset: Preset) -> None:
    (entry,) = select_rows(["ae"])
    assert Bench(entry, tiny_preset, "cpu", 0).work(side=48).side == 48
    with pytest.raises(UserError, match="patch"):
        Bench(entry, tiny_preset, "cpu", 0).work({"patch.stride": 3})
