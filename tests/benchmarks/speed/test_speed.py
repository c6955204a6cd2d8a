"""`bench speed`: FLOPs against hand computation, figures against arithmetic, and a file that survives Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import SuiteRow, select_rows
from uadbench.benchmarks.speed import session
from uadbench.benchmarks.speed.counting import FlopCounter, count_cost
from uadbench.benchmarks.speed.measurement import (
    Measurement,
    as_markdown,
    as_rich,
    peak_tflops,
    read_measurements,
    write_measurements,
)
from uadbench.benchmarks.speed.peak import Product
from uadbench.benchmarks.speed.session import Conditions, measure_all
from uadbench.benchmarks.speed.timing import time_steps, time_volume
from uadbench.benchmarks.speed.words import significant
from uadbench.benchmarks.speed.workload import Workload, workloads
from uadbench.errors import UserError
from uadbench.methods import Batch, Detector, Frozen, MethodInfo, OptimizerSettings, Row, Scan, card_of

SIDE = 96


class NetSettings(Frozen):
    optimizer: OptimizerSettings


class Twice(Detector):
    """A convolution from 1 to 3 channels and a linear layer over columns; each slice goes through twice."""

    info = MethodInfo("twice", "Twice", "nobody", None, (Row("twice", "Twice"),))
    Settings = NetSettings

    def __init__(self, settings: NetSettings) -> None:
        super().__init__(settings)
        self.spread = nn.Conv2d(1, 3, 5, stride=2, padding=2)
        self.mix = nn.Linear(SIDE // 2, 2 * SIDE)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._once(batch.image).square().mean()

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        return volume + self._once(torch.cat([volume, volume])).mean()

    def _once(self, images: Tensor) -> Tensor:
        return self.mix(self.spread(images))


class Looking(Twice):
    """One whose control flow looks at values, which no meta device can answer."""

    info = MethodInfo("looking", "Looking", "nobody", None, (Row("looking", "Looking"),))

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        return super().reconstruct(volume, scan) if volume.max() > 0 else volume


HALF = SIDE // 2
CONV = 2 * 3 * HALF * HALF * 25
LINEAR = 2 * 3 * HALF * HALF * 2 * SIDE
PARAMETERS = 3 * 25 + 3 + HALF * 2 * SIDE + 2 * SIDE


def entry_of(cls: type[Detector]) -> SuiteRow:
    return SuiteRow(cls.info.rows[0], card_of(cls))


@pytest.fixture
def work(tiny_preset: Preset) -> Workload:
    return workloads([entry_of(Twice)], tiny_preset)[0]


@pytest.mark.parametrize("cls", [Twice, Looking])
def test_flops_of_a_convolution_and_a_linear_layer_by_hand(cls: type[Detector], tiny_preset: Preset) -> None:
    cost = count_cost(workloads([entry_of(cls)], tiny_preset)[0])
    assert cost.parameters == PARAMETERS
    assert cost.passes == 2
    assert cost.pass_flop == CONV + LINEAR
    assert cost.slice_flop == 2 * (CONV + LINEAR)


def test_counting_leaves_the_random_numbers_alone(work: Workload) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    count_cost(work)
    torch.testing.assert_close(torch.rand(2), expected)


def test_attention_of_the_cpu_counts_as_two_products_forward_and_five_backward() -> None:
    query, key, value = (torch.randn(2, 3, length, 8, requires_grad=True) for length in (5, 7, 7))
    product = 2 * 2 * 3 * 5 * 7 * 8
    with FlopCounter() as counter:
        mixed = F.scaled_dot_product_attention(query, key, value)
    assert counter.get_total_flops() == 2 * product
    with FlopCounter() as counter:
        mixed.sum().backward()
    assert counter.get_total_flops() == 5 * product


def test_a_gradient_inside_a_step_counts() -> None:
    layer, x = nn.Linear(4, 6, bias=False), torch.randn(5, 4, requires_grad=True)
    product = 2 * 5 * 4 * 6
    with FlopCounter() as counter:
        (slope,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        slope.square().sum().backward()
    # Forward and the gradient of x; then, through that gradient and through the layer, products for weight and input.
    assert counter.get_total_flops() == 6 * product


def test_the_published_network_and_its_passes(paper_preset: Preset) -> None:
    works = workloads(select_rows(["pddpm-s48", "unet-att", "unet"]), paper_preset)
    costs = {work.name: count_cost(work) for work in works}
    assert costs["unet"].pass_flop == pytest.approx(149.1e9, rel=5e-4)
    assert costs["unet-att"].pass_flop == pytest.approx(200.1e9, rel=5e-4)
    assert [costs[name].passes for name in ("pddpm-s48", "unet")] == [4, 16]
    assert costs["unet"].slice_flop == 16 * costs["unet"].pass_flop
    assert costs["unet-att"].parameters == pytest.approx(41.21e6, rel=1e-3)


def test_what_has_no_network_costs_nothing(tiny_preset: Preset) -> None:
    for work in workloads(select_rows(["thresh", "mean-brain"]), tiny_preset):
        cost = count_cost(work)
        assert (cost.parameters, cost.passes, cost.pass_flop, cost.slice_flop) == (0, 0, 0, 0)


def test_rows_of_the_same_numbers_are_one_workload(tiny_preset: Preset) -> None:
    works = workloads(select_rows(["table2", "pddpm-s16", "ae"]), tiny_preset)
    assert [work.name for work in works] == ["unet, pddpm-s16", "unet-att", "unet-mae", "unet-att-mae", "ae"]


def test_a_step_counts_forward_and_gradients(work: Workload) -> None:
    detector = work.detector()
    before = detector.mix.weight.detach().clone()
    ticks: list[None] = []
    timing = time_steps(detector, work.plan.train, 2, SIDE, steps=3, seed=0, advance=lambda: ticks.append(None))
    # Per image: both layers forward, the gradient of both weights, and that of the linear layer's input;
    # the image itself wants no gradient.
    assert timing.flop == 2 * (2 * CONV + 3 * LINEAR)
    assert timing.seconds > 0
    assert timing.peak_bytes is None
    assert len(ticks) == 4
    assert not torch.equal(detector.mix.weight, before)


def test_the_median_of_the_timed_steps(work: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    from uadbench.benchmarks.speed import timing

    clock = iter([0.0, 5.0, 10.0, 11.0, 20.0, 22.0])  # three timed steps: 5 s, 1 s, 2 s
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    assert time_steps(work.detector(), work.plan.train, 1, SIDE, steps=3, seed=0, advance=int).seconds == 2


def test_a_volume_is_reconstruction_and_score(work: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, int]] = []

    def reconstruct(self: Detector, volume: Tensor, scan: Scan) -> Tensor:
        seen.append(("reconstruct", len(volume), scan.batch_size))
        return volume

    def score(self: Detector, volume: Tensor, reconstruction: Tensor, scan: Scan) -> Tensor:
        seen.append(("score", len(volume), scan.batch_size))
        return volume

    monkeypatch.setattr(Twice, "reconstruct", reconstruct)
    monkeypatch.setattr(Twice, "anomaly_score", score)
    assert time_volume(work.detector(), "32-true", 7, SIDE, depth=5, seed=0).seconds > 0
    assert seen == [("reconstruct", 1, 7), ("score", 1, 7), ("reconstruct", 5, 7), ("score", 5, 7)]


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.4),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A100 80GB PCIe", 312.0),
        ("NVIDIA A100-PCIE-40GB", 312.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA L40S", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("CPU, 2 threads", None),
    ],
)
def test_peaks_of_cards(device: str, peak: float | None) -> None:
    assert peak_tflops(device) == peak


def test_figures_follow_from_time_flops_and_peak(
    work: Workload, conditions: Callable[..., Conditions], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from uadbench.benchmarks.speed.timing import Timing

    card = {"device": "NVIDIA L4", "machine": "m", "started": "2026-01-02", "torch": "2", "commit": ""}
    monkeypatch.setattr(session, "describe_environment", lambda device: card)
    monkeypatch.setattr(session, "time_steps", lambda *a, **k: Timing(0.5, 4_000_000_000_000, 3 * 2**30))
    monkeypatch.setattr(session, "time_volume", lambda *a, **k: Timing(0.25, 0, 2**20))
    monkeypatch.setattr(session, "count_step_bytes", lambda work, batch_size: 2.5 * 2**30)
    monkeypatch.setattr(session, "measure_product", lambda precision, device: Product(precision, 1, 16.0))
    [m] = measure_all((entry_of(Twice),), conditions(batch_size=16), tmp_path / "a.csv", SilentReporter(), again=False)
    assert (m.images_per_second, m.step_gflop, m.tflops) == (32, 4000, 8)
    assert m.peak_share == pytest.approx(8 / 121)
    assert (m.step_peak_mib, m.volume_peak_mib, m.volumes_per_second) == (3072, 1, 4)
    line = as_markdown([m]).splitlines()[2]
    assert line == "| `twice` | 0.01 | 4000 | 0.500 | 32.0 | 8.00 | 6.6 % | 50.0 % | 2.50 | 3.00 | 4.00 |"


def test_a_gpu_that_is_too_small_is_a_note(
    conditions: Callable[..., Conditions], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*words: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(session, "time_steps", full)
    entries = (entry_of(Twice), *select_rows(["thresh"]))
    first, second = measure_all(entries, conditions(batch_size=999), tmp_path / "a.csv", SilentReporter(), again=False)
    assert first.step_seconds is None
    assert "999 slices" in str(first.note)
    assert second.volume_seconds is not None


@pytest.fixture
def conditions(tiny_preset: Preset) -> Callable[..., Conditions]:
    def make(**changes: Any) -> Conditions:
        usual = {"preset": tiny_preset, "device": "cpu", "batch_size": 2, "steps": 1, "volumes": True, "seed": 0}
        return Conditions(**{**usual, **changes})

    return make


@pytest.fixture
def paper_preset() -> Preset:
    from uadbench.benchmarks.plan.preset import load_preset

    return load_preset("paper")


def test_ctrl_c_keeps_finished_rows_and_the_same_command_goes_on(
    conditions: Callable[..., Conditions], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out, entries = tmp_path / "deep" / "a.csv", select_rows(["thresh", "ae"])
    true_time = session.time_steps

    def interrupted(*words: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "time_steps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_all(entries, conditions(), out, SilentReporter(), again=False)
    [first] = read_measurements(out)
    assert first.rows == "thresh"
    monkeypatch.setattr(session, "time_steps", true_time)
    measured = measure_all(entries, conditions(), out, SilentReporter(), again=False)
    assert measured[0] == first  # its date too: it was not measured again
    assert [m.rows for m in read_measurements(out)] == ["thresh", "ae"]


def test_only_the_same_work_is_not_measured_again(conditions: Callable[..., Conditions], tmp_path: Path) -> None:
    out, entries = tmp_path / "a.csv", select_rows(["ae"])
    go = lambda again=False, **changes: measure_all(  # noqa: E731
        entries, conditions(**changes), out, SilentReporter(), again=again
    )[0]
    first = go(volumes=False)
    assert first.volume_seconds is None
    assert go(volumes=False).step_seconds == pytest.approx(first.step_seconds, rel=1e-5)
    with_volume = go()
    assert with_volume.volume_seconds is not None
    assert go(volumes=False).volume_seconds == pytest.approx(with_volume.volume_seconds, rel=1e-5)
    assert go(again=True).volume_seconds != pytest.approx(with_volume.volume_seconds, rel=1e-9)
    assert len(read_measurements(out)) == 1
    go(batch_size=3)
    assert [m.batch_size for m in read_measurements(out)] == [2, 3]


def test_the_file_gives_back_what_was_written(conditions: Callable[..., Conditions], tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    measured = measure_all(select_rows(["thresh"]), conditions(), out, SilentReporter(), again=False)
    exact = measured[0].model_copy(update={"changes": 'a.b="x, y"', "volume_seconds": 0.25, "volumes_per_second": 4.0})
    write_measurements(out, [exact])
    assert read_measurements(out) == (exact,)


def test_a_foreign_file_is_one_sentence(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    out.write_text("name,value\na,1\n")
    with pytest.raises(UserError, match=r"a\.csv.*--out"):
        read_measurements(out)


def test_both_tables_name_conditions_and_rows(conditions: Callable[..., Conditions], tmp_path: Path) -> None:
    from rich.console import Console

    entries = select_rows(["thresh", "ae"])
    measured = measure_all(entries, conditions(), tmp_path / "a.csv", SilentReporter(), again=False)
    console = Console(width=200, record=True, file=(tmp_path / "text").open("w"))
    console.print(as_rich(measured))
    for text in (as_markdown(measured), console.export_text()):
        for word in ("thresh", "ae", "32-true", "2 slices per step", "seed 0", measured[0].machine, torch.__version__):
            assert word in text
        assert "of bf16 peak" not in text  # no figure, no column
        assert "not measured on a CPU" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (149.124, "149.1"),
        (2385.999, "2386"),
        (0.714424, "0.7144"),
        (10.3172, "10.32"),
        (0, "0"),
        (99.999, "100.0"),
        (51234, "51230"),
    ],
)
def test_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_measurements_of_other_conditions_differ(conditions: Callable[..., Conditions], tmp_path: Path) -> None:
    [m] = measure_all(select_rows(["thresh"]), conditions(), tmp_path / "a.csv", SilentReporter(), again=False)
    others: list[Measurement] = [
        m.model_copy(update={key: value})
        for key, value in (("device", "NVIDIA L4"), ("seed", 1), ("torch", "1"), ("recipe", "x"), ("machine", "y"))
    ]
    assert m.same_work(m.model_copy(update={"date": "later", "commit": "another"}))
    assert not any(m.same_work(other) for other in others)
