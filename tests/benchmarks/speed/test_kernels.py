"""Which kernels a step is made of: sorted by what they do, none lost, the device's own time."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from uadbench.benchmarks.speed.kernels import OTHER, Share, family, main, profile_calls, shares
from uadbench.errors import UserError

from cases import TINY


@pytest.mark.parametrize(
    ("kernel", "what"),
    [
        ("sm80_xmma_fprop_implicit_gemm_tf32f32_nhwckrsc_nhwc_tilesize128x128", "convolution"),
        ("void cudnn::ops::nchwToNhwcKernel<float, float>", "copy and layout"),
        ("nvjet_tst_128x256_64x4_2x1_v_bz_coopA_NNT", "product"),
        ("void at::native::GammaBetaBackwardCUDAKernel_32x32<float, float>", "normalisation"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>", "copy and layout"),
        ("void at::native::elementwise_kernel<128, 2, at::native::gpu_kernel_impl<silu>>", "element by element"),
        ("void at::native::upsample_bilinear2d_out_frame<float>", OTHER),
        ("fmha_cutlassF_f32_aligned_64x64_rf_sm80", "attention"),
        ("triton_poi_fused_add_silu_3", "compiled"),
        ("void at::native::multi_tensor_apply_kernel<FusedAdamMathFunctor>", "optimiser"),
    ],
)
def test_kernels_are_known_by_what_they_do(kernel: str, what: str) -> None:
    assert family(kernel) == what


def test_families_hold_every_kernel_once() -> None:
    kernels = [Share("a_gemm", 2.0, 3), Share("b_gemm", 1.0, 1), Share("triton_x", 5.0, 2), Share("?", 0.5, 1)]
    assert shares(kernels) == (Share("compiled", 5.0, 2), Share("product", 3.0, 4), Share(OTHER, 0.5, 1))


def test_calls_are_counted_one_by_one() -> None:
    left = torch.rand(64, 64)
    found = profile_calls(partial(torch.mm, left, left), torch.device("cpu"), calls=4)
    [product] = [kernel for kernel in found.kernels if kernel.name == "aten::mm"]
    assert product.launches == 1
    assert 0 < product.milliseconds / 1e3 <= found.busy_seconds
    assert next(share for share in found.families if share.name == "product").launches >= 1


def test_a_row_is_profiled_in_step_and_volume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(tmp_path / "kernels.json", method="ae", preset=str(TINY), device="cpu", calls=1, seed=0)
    found = json.loads((tmp_path / "kernels.json").read_text())
    assert (found["row"], found["changes"]) == ("ae", [])
    assert {"convolution", "optimiser"} <= {share["name"] for share in found["step"]["families"]}
    assert "optimiser" not in {share["name"] for share in found["volume"]["families"]}
    assert capsys.readouterr().out.startswith("step: ")


def test_what_is_not_trained_has_no_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--method thresh: name one row that is trained"):
        main(tmp_path / "kernels.json", method="thresh", preset=str(TINY), device="cpu", calls=1, seed=0)
