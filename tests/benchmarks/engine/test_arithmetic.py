"""How a GPU computes is the preset's word, and torch's own settings come back."""

from __future__ import annotations

import os

import pytest
import torch

from uadbench.benchmarks.engine.arithmetic import allow_determinism, arithmetic
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.settings import TrainSettings
from uadbench.errors import UserError


def settings(*, tf32: bool, deterministic: bool) -> TrainSettings:
    numbers = load_preset("paper").sections["train"]
    return TrainSettings.model_validate({**numbers, "tf32": tf32, "deterministic": deterministic})


def state() -> tuple[bool, bool, bool]:
    return (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
    )


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_gpu_computes_as_the_preset_says(tf32: bool, deterministic: bool) -> None:
    before = state()
    with arithmetic(settings(tf32=tf32, deterministic=deterministic), "cuda"):
        assert state() == (tf32, tf32, deterministic)
    assert state() == before


def test_nothing_changes_on_the_cpu() -> None:
    before = state()
    with arithmetic(settings(tf32=not before[0], deterministic=True), "cpu"):
        assert state() == before


def test_settings_come_back_after_an_error_which_names_the_number() -> None:
    before = state()
    words = "upsample_bilinear2d_backward_out_cuda does not have a deterministic implementation, but you set 'torch…"
    with (
        pytest.raises(UserError, match=r"upsample_bilinear2d_backward_out_cuda .* train.deterministic=false"),
        arithmetic(settings(tf32=True, deterministic=True), "cuda"),
    ):
        raise RuntimeError(words)
    assert state() == before
    with (
        pytest.raises(RuntimeError, match="something else"),
        arithmetic(settings(tf32=True, deterministic=True), "cuda"),
    ):
        raise RuntimeError("something else")


def test_cublas_is_told_before_it_begins_and_the_users_word_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    allow_determinism()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    allow_determinism()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
