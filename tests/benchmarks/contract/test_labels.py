"""No lesion mask is read while a method runs, by whatever route; outside, and other files, all is allowed."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from uadbench.benchmarks.contract.labels import LabelError, labels_hidden
from uadbench.datasets.cohort import Data
from uadbench.datasets.store.store import VolumeStore


def store_of(data: Data) -> VolumeStore:
    return data.lesions["tumours"].store


ROUTES: dict[str, Callable[[Data, Path], object]] = {
    "the open store": lambda data, seg: store_of(data).lesion_mask("tumours-0"),
    "the store again": lambda data, seg: VolumeStore.open(store_of(data).folder),
    "numpy": lambda data, seg: np.load(store_of(data).folder / "lesion_masks.npy"),
    "a memory map": lambda data, seg: np.load(str(store_of(data).folder / "lesion_masks.npy"), mmap_mode="r"),
    "io": lambda data, seg: io.open(store_of(data).folder / "lesion_masks.npy", "rb").close(),  # noqa: UP020
    "a segmentation": lambda data, seg: gzip.open(seg).close(),
    "its bytes": lambda data, seg: seg.read_bytes(),
}


@pytest.fixture
def segmentation(tmp_path: Path) -> Path:
    path = tmp_path / "Test/MSLUB/seg/patient01_seg.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(b"a label"))
    return path


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_to_a_lesion_mask_is_shut(route: str, tiny_data: Data, segmentation: Path) -> None:
    ROUTES[route](tiny_data, segmentation)
    with pytest.raises(LabelError, match="Nosy read a lesion mask") as caught, labels_hidden("Nosy"):
        ROUTES[route](tiny_data, segmentation)
    assert "\n" not in str(caught.value)
    ROUTES[route](tiny_data, segmentation)


@pytest.mark.parametrize("suffix", [".NII.GZ", ".mgz", ".MGH", ".img", ".hdr.gz"])
def test_a_segmentation_of_any_format_is_a_label(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "seg" / f"patient01_seg{suffix}"
    path.parent.mkdir()
    path.write_bytes(b"a label")
    with pytest.raises(LabelError, match="Nosy read a lesion mask"), labels_hidden("Nosy"):
        path.read_bytes()


def test_catching_the_error_does_not_help(tiny_data: Data) -> None:
    with pytest.raises(LabelError), labels_hidden("Nosy"):
        with suppress(OSError):
            store_of(tiny_data).lesion_mask("tumours-0")
        raise ValueError("something else")


def test_all_else_may_be_read(tiny_data: Data, segmentation: Path) -> None:
    image = segmentation.parent.parent / "t2" / "patient01_t2.nii.gz"
    image.parent.mkdir()
    image.write_bytes(b"a scan")
    with labels_hidden("Honest"):
        store_of(tiny_data).volume("tumours-0")
        store_of(tiny_data).brain_mask("tumours-0")
        np.load(store_of(tiny_data).folder / "volumes.npy", mmap_mode="r")
        image.read_bytes()


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(KeyError, match="mine"), labels_hidden("Honest"):
        raise KeyError("mine")
