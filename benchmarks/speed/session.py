"""`bench speed`: measure one workload after the other, and keep each as soon as it is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch

from ...methods import Detector
from ...out_of_memory import free_memory, is_out_of_memory
from ..engine.arithmetic import arithmetic
from ..engine.environment import describe_environment
from ..engine.progress import Bar, Reporter
from ..plan.cell import Recipe
from ..plan.preset import Preset
from ..plan.suite import SuiteRow
from .counting import count_cost
from .measurement import Measurement, peak_tflops, read_measurements, write_measurements
from .memory import count_step_bytes
from .peak import measure_product, precision_of
from .timing import Timing, time_steps, time_volume
from .workload import Workload, random_volume, workloads

_MIB = 2**20


@dataclass(frozen=True)
class Conditions:
    """How to measure.

    Attributes:
        preset: where the numbers come from.
        device: "cpu" or "cuda".
        batch_size: slices per step; None takes the preset's.
        steps: timed steps.
        volumes: whether to time the reconstruction of a volume too.
        seed: of weights and slices.
    """

    preset: Preset
    device: str
    batch_size: int | None
    steps: int
    volumes: bool
    seed: int


def measure_all(
    entries: tuple[SuiteRow, ...], conditions: Conditions, out: Path, reporter: Reporter, *, again: bool
) -> tuple[Measurement, ...]:
    """Measure the distinct workloads among rows; the CSV is complete after each.

    What `out` holds from the same machine, versions and numbers is not measured again unless `again` says so; lines
    under other conditions stay in the file.

    Returns:
        The measurements of these rows, in order.

    Raises:
        UserError: a preset, a row or the file that the user must mend.
        KeyboardInterrupt: the user pressed Ctrl-C; the finished rows are in the file.
    """
    kept = list(read_measurements(out))
    chosen: list[Measurement] = []
    products: dict[str, float] = {}
    for number, work in enumerate(works := workloads(entries, conditions.preset), start=1):
        blank = _blank(work, conditions, products)
        known = next((old for old in kept if old.same_work(blank)), None)
        if known is None or again or (conditions.volumes and known.volume_seconds is None):
            title = f"[{number}/{len(works)}] {work.rows[0].title}"
            with arithmetic(work.plan.train, conditions.device):
                fresh = _measure(work, conditions, blank, title, reporter)
            kept = [fresh if old is known else old for old in kept] if known else [*kept, fresh]
        else:
            fresh = known.model_copy(update={"rows": blank.rows, "title": blank.title})
            reporter.say(f"{fresh.title}: measured on {fresh.date[:10]} already, see {out} (--again measures anew)")
        chosen.append(fresh)
        write_measurements(out, kept)
    return tuple(chosen)


def _product_tflops(work: Workload, device: str, known: dict[str, float]) -> float:
    """The rate of a large matrix product in a workload's precision, measured once and kept among the known ones."""
    precision = precision_of(work.plan.train, device)
    if precision not in known:
        known[precision] = measure_product(precision, device).tflops
    return known[precision]


def _blank(work: Workload, conditions: Conditions, products: dict[str, float]) -> Measurement:
    """Everything about a measurement that is known before the work is timed."""
    cost, environment = count_cost(work), describe_environment(conditions.device)
    return Measurement(
        rows=work.name,
        title=work.rows[0].title,
        recipe=Recipe.of(work.method, work.plan, conditions.seed).id,
        parameters=cost.parameters,
        pass_gflop=cost.pass_flop / 1e9,
        passes=cost.passes,
        slice_gflop=cost.slice_flop / 1e9,
        precision=work.plan.train.precision,
        batch_size=conditions.batch_size or work.plan.train.batch_size,
        steps=conditions.steps,
        slices=work.plan.data.slices,
        score_batch_size=work.plan.score.batch_size,
        device=environment["device"],
        machine=environment["machine"],
        date=environment["started"],
        preset=conditions.preset.name,
        changes=", ".join(conditions.preset.changed) or None,
        seed=conditions.seed,
        product_tflops=_product_tflops(work, conditions.device, products) if work.method.trainable else None,
        torch=environment["torch"],
        commit=environment["commit"] or None,
    )


def _measure(work: Workload, conditions: Conditions, blank: Measurement, title: str, reporter: Reporter) -> Measurement:
    """Time one workload; a card without room for it is a note, not the end."""
    if work.compiled and not getattr(work.method, "compilable", True):
        return blank.model_copy(update={"note": "PyTorch cannot compile it"})
    L.seed_everything(conditions.seed, verbose=False)
    detector = work.detector().to(conditions.device)
    counted = count_step_bytes(work, blank.batch_size)
    figures: dict[str, float | str] = {} if counted is None else {"step_counted_mib": counted / _MIB}
    total = (conditions.steps + 1 if detector.trainable else 0) + conditions.volumes
    with reporter.bar(title, total) as bar:
        try:
            if detector.trainable:
                figures |= _step_figures(detector, work, blank, bar)
            else:
                figures["note"] = "nothing to train"
                detector.absorb([random_volume(blank.slices, work.side, blank.seed, torch.device("cpu"))])
            if conditions.volumes:
                figures |= _volume_figures(detector, work, blank)
                bar.advance()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            figures["note"] = f"the memory does not hold {blank.batch_size} slices per step, or the volume"
    del detector
    free_memory()
    return blank.model_copy(update=figures)


def _step_figures(detector: Detector, work: Workload, blank: Measurement, bar: Bar) -> dict[str, float | str]:
    step = time_steps(
        detector,
        work.plan.train,
        blank.batch_size,
        work.side,
        steps=blank.steps,
        seed=blank.seed,
        advance=bar.advance,
        compiled=work.compiled,
    )
    achieved, peak = step.flop / step.seconds / 1e12, peak_tflops(blank.device)
    figures = {
        "step_seconds": step.seconds,
        "images_per_second": blank.batch_size / step.seconds,
        "step_gflop": step.flop / 1e9,
        "tflops": achieved,
    }
    share = {} if peak is None else {"peak_share": achieved / peak}
    if blank.product_tflops:
        share["product_share"] = achieved / blank.product_tflops
    bar.note(f"{step.seconds:.3g} s a step")
    return {**figures, **share, **_peak("step_peak_mib", step)}


def _volume_figures(detector: Detector, work: Workload, blank: Measurement) -> dict[str, float | str]:
    volume = time_volume(
        detector,
        blank.precision,
        blank.score_batch_size,
        work.side,
        depth=blank.slices,
        seed=blank.seed,
        compiled=work.compiled,
    )
    figures = {"volume_seconds": volume.seconds, "volumes_per_second": 1 / volume.seconds}
    return {**figures, **_peak("volume_peak_mib", volume)}


def _peak(name: str, timing: Timing) -> dict[str, float]:
    return {} if timing.peak_bytes is None else {name: timing.peak_bytes / _MIB}
