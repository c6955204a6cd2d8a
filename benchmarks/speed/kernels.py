"""What a training step and a volume are made of on a device: its kernels by family, and how long it waits for the host.

A step that is far from the floor either computes in slow kernels or waits while the host starts small ones. PyTorch's
profiler tells which. It slows the host down, so the wall-clock time stands beside it as measured without it: the
difference to what the kernels take is what the device waited.

    python -m uadbench.benchmarks.speed.kernels --method maediff --preset paper --device cuda --out kernels.json
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import lightning as L
import torch
import typer
from torch.profiler import ProfilerActivity, profile

from ...errors import UserError
from ...files import write_json
from ...methods import Detector
from ..engine.arithmetic import arithmetic
from ..engine.environment import choose_device, describe_environment
from ..plan.request import requested_preset
from ..plan.suite import select_rows
from .gpu_day import run_program
from .timing import Stepper, seconds_of, volume_reader
from .workload import Workload, batch_of, random_volume, workloads

_WARM_UP = 3  # calls before anything is measured: libraries choose kernels, a compiler compiles
_NAMED = 20  # kernels that are told by name
_LETTERS = 120  # of a kernel's name
OTHER = "other"
#: Words in the names of kernels (on a CPU: of operations), by what they do; the first family that fits is the one.
FAMILIES = {
    "compiled": ("triton",),
    "optimiser": ("adam", "multi_tensor"),
    "attention": ("flash", "fmha", "attention", "softmax"),
    "normalisation": ("norm", "welford", "moments", "gammabeta", "computefused"),
    "copy and layout": ("copy", "memcpy", "memset", "catarray", "::cat", "nchwtonhwc", "nhwctonchw", "fill", "zero_"),
    "convolution": ("convolution", "conv2d", "fprop", "dgrad", "wgrad", "winograd", "cudnn", "xmma"),
    "product": ("gemm", "gemv", "cutlass", "cublas", "nvjet", "::mm", "addmm", "bmm"),
    "sort and index": ("sort", "radix", "index", "gather", "scatter", "scan"),
    "reduction": ("reduce", "::sum", "::mean"),
    "element by element": ("elementwise", "aten::"),
}


@dataclass(frozen=True)
class Share:
    """What kernels of one kind take in one call.

    Attributes:
        name: a family, or a kernel.
        milliseconds: on the device.
        launches: how often one is started.
    """

    name: str
    milliseconds: float
    launches: float


@dataclass(frozen=True)
class Profile:
    """What a call is made of.

    Attributes:
        seconds: wall-clock time of one call, without the profiler.
        busy_seconds: time of all kernels of one call; what is missing to `seconds` the device waited for the host.
        families: kernels by what they do, the longest first.
        kernels: those that take most, the longest first.
    """

    seconds: float
    busy_seconds: float
    families: tuple[Share, ...]
    kernels: tuple[Share, ...]


def family(kernel: str) -> str:
    """What a kernel does, by its name; "other" where no word fits."""
    name = kernel.lower()
    return next((name_of for name_of, words in FAMILIES.items() if any(word in name for word in words)), OTHER)


def shares(kernels: Iterable[Share]) -> tuple[Share, ...]:
    """Kernels by family, the longest first."""
    sums: dict[str, Share] = {}
    for kernel in kernels:
        name = family(kernel.name)
        known = sums.get(name, Share(name, 0.0, 0.0))
        sums[name] = Share(name, known.milliseconds + kernel.milliseconds, known.launches + kernel.launches)
    return _longest_first(sums.values())


def profile_calls(call: Callable[[], object], device: torch.device, *, calls: int) -> Profile:
    """Measure calls of something that is warm.

    Args:
        call: what is measured.
        device: where it computes.
        calls: how many; the figures are those of one.
    """
    seconds = min(seconds_of(call, device) for _ in range(calls))
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as watched:
        for _ in range(calls):
            seconds_of(call, device)
    wanted = "CUDA" if on_gpu else "CPU"
    found = [
        Share(event.key, _microseconds(event, on_gpu) / 1e3 / calls, event.count / calls)
        for event in watched.key_averages()
        if event.device_type.name == wanted and not event.is_user_annotation
    ]
    busy = sum(kernel.milliseconds for kernel in found) / 1e3
    named = [replace(kernel, name=kernel.name[:_LETTERS]) for kernel in _longest_first(found)[:_NAMED]]
    return Profile(seconds, busy, shares(found), tuple(named))


def _microseconds(event: torch.autograd.profiler_util.FunctionEventAvg, on_gpu: bool) -> float:
    return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)


def _longest_first(kernels: Iterable[Share]) -> tuple[Share, ...]:
    return tuple(sorted(kernels, key=lambda share: -share.milliseconds))


def profile_step(work: Workload, detector: Detector, *, calls: int, seed: int) -> Profile:
    """What a training step of the preset's batch is made of.

    Args:
        work: row and numbers.
        detector: its network, on its device; its weights change.
        calls: profiled steps.
        seed: of the slices.
    """
    train = work.plan.train
    volume = random_volume(train.batch_size, work.side, seed, detector.device)
    step = Stepper(detector.train(), train.precision, batch_of(volume, detector.context), train.accumulate)
    for index in range(_WARM_UP):
        step(index)
    return profile_calls(partial(step, _WARM_UP), detector.device, calls=calls)


def profile_volume(work: Workload, detector: Detector, *, calls: int, seed: int) -> Profile:
    """What the reconstruction and the score of a volume are made of; arguments as of `profile_step`."""
    volume = random_volume(work.plan.data.slices, work.side, seed, detector.device)
    read = volume_reader(detector, work.plan.train.precision, work.plan.score.batch_size)
    read(volume)
    return profile_calls(partial(read, volume), detector.device, calls=calls)


def main(
    out: Annotated[Path, typer.Option("--out", help="The JSON file.")],
    method: Annotated[str, typer.Option("--method", help="A table row.")] = "maediff",
    preset: Annotated[str, typer.Option("--preset", help="A preset, or the path of one.")] = "paper",
    change: Annotated[list[str], typer.Option("--set", help="section.key=value; repeatable.")] = [],  # noqa: B006
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    calls: Annotated[int, typer.Option("--steps", min=1, help="Profiled steps, and volumes.")] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Of weights and slices.")] = 0,
) -> None:
    """Profile a training step and a volume, and write their kernels by family."""
    chosen = choose_device(device)
    numbers = requested_preset(preset, change, select_rows([method]))
    work, *others = workloads(select_rows([method]), numbers)
    if others or not work.method.trainable:
        raise UserError(f"--method {method}: name one row that is trained")
    with arithmetic(work.plan.train, chosen):
        L.seed_everything(seed, verbose=False)
        detector = work.detector().to(chosen)
        found = {
            "step": profile_step(work, detector, calls=calls, seed=seed),
            "volume": profile_volume(work, detector, calls=calls, seed=seed),
        }
    for what, one in found.items():
        typer.echo(f"{what}: {one.seconds:.3g} s, of which {one.busy_seconds:.3g} s in kernels")
        for share in one.families:
            typer.echo(f"  {share.name}: {share.milliseconds:.3g} ms, {share.launches:.0f} launches")
    numbers_used = {"row": method, "preset": numbers.name, "changes": list(numbers.changed)}
    profiles = {what: asdict(one) for what, one in found.items()}
    write_json(out, {"environment": describe_environment(chosen), **numbers_used, **profiles})


if __name__ == "__main__":
    run_program(main)
