"""What a device really does: the rate of a large matrix product in each precision, and of a large copy.

A data sheet's peak assumes clocks that a card under load does not hold. The rate of the library's own product of two
large matrices of random numbers is what a network made of products can come near to, and it is measured in seconds.

    python -m uadbench.benchmarks.speed.peak --device cuda --out peak.json
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from ...files import write_json
from ..plan.settings import TrainSettings
from .gpu_day import run_program

#: Names of the precisions in which a product is measured.
FP32, TF32, BF16, FP16 = "fp32", "tf32", "bf16", "fp16"
_TYPES = {FP32: torch.float32, TF32: torch.float32, BF16: torch.bfloat16, FP16: torch.float16}
_SIDE = {"cpu": 1024, "cuda": 8192}
_GROUPS = 3


@dataclass(frozen=True)
class Product:
    """The rate of a matrix product.

    Attributes:
        precision: "fp32", "tf32", "bf16" or "fp16".
        side: rows and columns of both square factors.
        tflops: TFLOP/s, a multiply-add being two.
    """

    precision: str
    side: int
    tflops: float


def precision_of(train: TrainSettings, device: str) -> str:
    """The precision in which a preset's products are computed on a device.

    Args:
        train: `precision` and `tf32`.
        device: "cpu" or "cuda".
    """
    mixed = {"bf16-mixed": BF16, "16-mixed": FP16}
    return mixed.get(train.precision) or (TF32 if train.tf32 and device == "cuda" else FP32)


def measure_product(precision: str, device: str, *, side: int | None = None, seconds: float = 0.3) -> Product:
    """Time the product of two square matrices of random numbers; the best of three groups, after one that is not timed.

    Args:
        precision: "fp32", "tf32", "bf16" or "fp16".
        device: "cpu" or "cuda".
        side: of the matrices; None takes one that fills the device.
        seconds: about how long the timed products take in all.
    """
    side = side or _SIDE[device]
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(2, side, side, generator=generator).to(device, _TYPES[precision])
    result = torch.empty(side, side, device=device, dtype=_TYPES[precision])

    def multiply(times: int) -> None:
        for _ in range(times):
            torch.mm(factors[0], factors[1], out=result)

    with _tf32(precision == TF32):
        one = _group_seconds(multiply, 1, device)
        one = min(one, _group_seconds(multiply, 1, device))  # the very first pays for the library's start
        times = max(1, round(seconds / _GROUPS / one))
        best = min(_group_seconds(multiply, times, device) for _ in range(_GROUPS)) / times
    return Product(precision, side, 2 * side**3 / best / 1e12)


def measure_copy(device: str, *, size: int | None = None) -> float:
    """Rate of a copy within the device's memory, GB/s, bytes read and bytes written counted.

    Args:
        device: "cpu" or "cuda".
        size: bytes to copy; None takes more than any cache holds.
    """
    size = size or (2**32 if device == "cuda" else 2**27)
    source = torch.empty(size // 4, device=device).normal_()
    target = torch.empty_like(source)

    def copy(times: int) -> None:
        for _ in range(times):
            target.copy_(source)

    copy(1)
    return 2 * size * 4 / min(_group_seconds(copy, 4, device) for _ in range(_GROUPS)) / 1e9


def _group_seconds(work: Callable[[int], None], times: int, device: str) -> float:
    """Seconds until the device has done the work so many times."""
    _wait(device)
    started = time.perf_counter()
    work(times)
    _wait(device)
    return time.perf_counter() - started


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32 = before


def main(
    out: Annotated[Path, typer.Option("--out", help="The JSON file.")],
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    side: Annotated[int | None, typer.Option("--side", min=1, help="Of the matrices; default: by the device.")] = None,
) -> None:
    """Measure products in fp32, tf32 (GPU) and bf16, and a copy; write them with the machine's description."""
    from ..engine.environment import choose_device, describe_environment

    chosen = choose_device(device)
    names = (FP32, TF32, BF16) if chosen == "cuda" else (FP32, BF16)
    products = [measure_product(name, chosen, side=side) for name in names]
    copy = measure_copy(chosen, size=None if side is None else side**2 * 4)
    for product in products:
        typer.echo(f"{product.precision}: {product.tflops:.4g} TFLOP/s ({product.side} x {product.side})")
    typer.echo(f"copy: {copy:.4g} GB/s")
    write_json(
        out,
        {
            "environment": describe_environment(chosen),
            "products": [asdict(product) for product in products],
            "copy_gb_per_s": copy,
        },
    )


if __name__ == "__main__":
    run_program(main)
