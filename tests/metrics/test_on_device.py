"""The post-processing on tensors against SciPy and against that on arrays, value by value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from uadbench.metrics import on_device, postprocess
from uadbench.metrics.on_device import postprocess_on_device

CROSS = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)


def processed(residual, brain, erosion, median, device="cpu"):
    tensors = (torch.from_numpy(array).to(device) for array in (residual, brain))
    return postprocess_on_device(*tensors, erosion, median).cpu().numpy()


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 12), st.integers(1, 12)),
    erosion=st.integers(0, 3),
    size=st.sampled_from([1, 3, 5, 7]),
    share=st.sampled_from([0.3, 0.9, 1.0]),
    room=st.sampled_from([1, 5000, 2**26]),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_scipy(*, shape, erosion, size, share, room, seed):
    rng = np.random.default_rng(seed)
    residual = rng.random(shape, dtype=np.float32).round(rng.integers(1, 8))
    brain = rng.random(shape) < share
    eroded = ndimage.binary_erosion(brain, CROSS, iterations=erosion) if erosion else brain
    expected = ndimage.median_filter(np.where(eroded, residual, np.float32(0)), size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_device, "_LAID_OUT", room)
        found = processed(residual, brain, erosion, size)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_values_of_the_cpu():
    rng = np.random.default_rng(0)
    residual = rng.random((50, 96, 96), dtype=np.float32)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, side) for side in residual.shape], indexing="ij")
    brain = (z / 1.5) ** 2 + (y / 0.9) ** 2 + (x / 0.75) ** 2 < 1
    np.testing.assert_array_equal(processed(residual, brain, 3, 5, "cuda"), postprocess(residual, brain))
