"""The many words for a lack of memory, and errors that only look alike."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from uadbench.benchmarks.contract.labels import LabelError
from uadbench.errors import DataError, UserError
from uadbench.out_of_memory import is_out_of_memory

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def raised(work: Callable[[], object]) -> Exception:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        work()
    return caught.value


def test_what_torch_and_numpy_raise_here_is_recognised() -> None:
    """Real requests for more than any machine has."""
    assert is_out_of_memory(raised(lambda: torch.empty(10**15)))
    assert is_out_of_memory(raised(lambda: np.empty(10**15)))


class Small(io.BytesIO):
    """A buffer that fails in its middle."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, content: object) -> int:
        if self.tell() > 256:
            raise self.error
        return super().write(content)  # type: ignore[arg-type]


def test_torch_save_hides_what_its_buffer_said() -> None:
    """Its RuntimeError of an "unexpected pos" is what reaches us, where memory ran out and where it was the disk."""
    full = OSError(errno.ENOSPC, "No space left on device")
    errors = [raised(partial(torch.save, {"weight": torch.ones(5000)}, Small(why))) for why in (MemoryError(), full)]
    assert all(type(error) is RuntimeError and "unexpected pos" in str(error) for error in errors)
    assert [is_out_of_memory(error) for error in errors] == [True, False]


@pytest.mark.parametrize(
    "error",
    [
        GPU,
        ImportError("libfreetype.so: failed to map segment from shared object: Cannot allocate memory"),
        MemoryError(),
        RuntimeError("[enforce fail at ...] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("Exception thrown in SimpleITK Execute: ... Failed to allocate memory for image."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        caused(ValueError("a step failed"), GPU),
        caused(DataError("HD-BET finds no brain"), GPU),
    ],
)
def test_other_words_for_it_are_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x3 and 5x6)"),
        RuntimeError("Storage size calculation overflowed with sizes=[4611686018427387904]"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("my ring buffer is out of memory cells"),
        OSError(errno.ENOSPC, "No space left on device"),
        ImportError("No module named 'matplotlib'"),
        ValueError("CUDA out of memory"),
        UserError("CUDA out of memory"),
        caused(LabelError("it read a lesion mask"), GPU),
    ],
)
def test_an_ordinary_error_stays_what_it_is(error: Exception) -> None:
    assert not is_out_of_memory(error)
