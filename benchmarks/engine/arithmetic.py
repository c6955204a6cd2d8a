"""How a GPU computes: TF32 and repeatable algorithms, as the preset says and not as a library happens to be set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch.utils import deterministic

from ...errors import UserError
from ..plan.settings import TrainSettings

_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
#: For how many cases one code is compiled: more than any network has blocks, times the sizes of batches that it meets.
_CASES = 256
_NOT_DETERMINISTIC = "does not have a deterministic implementation"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """What Lightning does about a precision by name while a network runs: mixed ones cast, "32-true" does not."""
    return torch.autocast(device.type, dtype=_MIXED[precision]) if precision in _MIXED else nullcontext()


def allow_determinism() -> None:
    """Let cuBLAS repeat itself; it reads this once per process, so before anything is computed on a GPU."""
    os.environ.setdefault(_CUBLAS, ":4096:8")


@contextmanager
def arithmetic(train: TrainSettings, device: str) -> Iterator[None]:
    """Compute as a preset says, and put torch's own settings of a GPU back afterwards.

    Args:
        train: `tf32` and `deterministic`, which change nothing on the CPU, and `compile`.
        device: "cpu" or "cuda".

    Raises:
        UserError: a method asks for an operation that cannot be repeated on a GPU, or no compiler works here.
    """
    compiling = _compiling() if train.compile else nullcontext()
    on_gpu = _gpu_set(train) if device.startswith("cuda") else nullcontext()
    with compiling, on_gpu:
        yield


@contextmanager
def _compiling() -> Iterator[None]:
    """Compile every block of a network, and tell in one sentence where networks cannot be compiled here.

    The blocks of a network run the same code with other widths, each in training and in scoring. PyTorch compiles a
    code for eight such cases and then, without a word, runs it as written.
    """
    from torch import _dynamo  # a second's import that few need
    from torch._dynamo.exc import TorchDynamoException

    try:
        with _dynamo.config.patch(recompile_limit=_CASES, accumulated_recompile_limit=8 * _CASES):
            yield
    except TorchDynamoException as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the networks cannot be compiled here ({reason}); that takes a C++ compiler on a CPU, and Triton with a C "
            "compiler on a GPU; run with --set train.compile=false"
        ) from error


@contextmanager
def _gpu_set(train: TrainSettings) -> Iterator[None]:
    """Let a GPU compute as a preset says, see `arithmetic`."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, torch.are_deterministic_algorithms_enabled())
    filling = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    allow_determinism()
    try:
        _set(train.tf32, train.tf32, False, train.deterministic)
        # It would find reads of memory that nobody wrote, and costs a tenth of a step.
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        yield
    except RuntimeError as error:
        if _NOT_DETERMINISTIC not in str(error):
            raise
        what = str(error).partition(_NOT_DETERMINISTIC)[0].strip()
        raise UserError(
            f"{what} has no algorithm that repeats itself on a GPU; run with --set train.deterministic=false"
        ) from error
    finally:
        _set(*before)
        deterministic.fill_uninitialized_memory = filling  # type: ignore[attr-defined]


def _set(matmul: bool, convolutions: bool, benchmark: bool, repeatable: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cudnn.benchmark = benchmark
    torch.use_deterministic_algorithms(repeatable)
