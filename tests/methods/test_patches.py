"""The partition: against brute force over pixels."""

import pytest
import torch

from uadbench.methods.parts.patches import PatchGrid, PatchSettings

GEOMETRIES = [(96, 48, 16, 16), (96, 48, 48, 16), (96, 96, 96, 96), (24, 12, 4, 4), (24, 8, 4, 2)]


@pytest.mark.parametrize(("side", "size", "stride", "grid"), GEOMETRIES)
def test_tables_against_brute_force(side: int, size: int, stride: int, grid: int) -> None:
    patches = PatchGrid(PatchSettings(size=size, stride=stride, grid=grid), side)
    assert len(patches) == ((side - size + stride) // stride) ** 2
    per_row = (side - size) // stride + 1
    for k in range(len(patches)):
        top, left = k // per_row * stride, k % per_row * stride
        inside = [(i, j) for i in range(side) for j in range(side) if top <= i < top + size and left <= j < left + size]
        assert patches.masks[k].nonzero().tolist() == [list(pixel) for pixel in inside]
        assert patches.pixels[k].tolist() == [i * side + j for i, j in inside]
        masked = sorted({i // grid * (side // grid) + j // grid for i, j in inside})
        assert patches.masked_cells[k].tolist() == masked
        assert patches.visible_cells[k].tolist() == [n for n in range((side // grid) ** 2) if n not in masked]


@pytest.mark.parametrize(("stride", "count"), [(16, 16), (48, 4)])
def test_paper_counts(stride: int, count: int) -> None:
    patches = PatchGrid(PatchSettings(size=48, stride=stride, grid=16), 96)
    assert len(patches) == count
    assert patches.masked_cells.shape == (count, 9)
    assert patches.visible_cells.shape == (count, 27)


def test_assemble_averages_overlaps() -> None:
    patches = PatchGrid(PatchSettings(size=12, stride=4, grid=4), 24)
    crops = torch.randn(2, len(patches), 12, 12)
    total, count = torch.zeros(2, 24, 24), torch.zeros(24, 24)
    for k, mask in enumerate(patches.masks):
        count += mask
        for b in range(2):
            total[b][mask] += crops[b, k].flatten()
    torch.testing.assert_close(patches.assemble(crops), (total / count)[:, None])


def test_crop_then_assemble_gives_the_image_back() -> None:
    patches = PatchGrid(PatchSettings(size=48, stride=16, grid=16), 96)
    image = torch.rand(1, 1, 96, 96)
    crops = patches.crop(image.expand(16, -1, -1, -1), torch.arange(16))
    torch.testing.assert_close(patches.assemble(crops[None]), image)


@pytest.mark.parametrize(("size", "stride", "grid"), [(48, 20, 4), (48, 96, 16), (100, 16, 16), (16, 32, 16)])
def test_patches_that_leave_gaps_are_refused(size: int, stride: int, grid: int) -> None:
    with pytest.raises(ValueError, match="do not cover"):
        PatchGrid(PatchSettings(size=size, stride=stride, grid=grid), 96)


def test_a_stride_that_splits_cells_is_refused() -> None:
    with pytest.raises(ValueError, match=r"patch\.grid \(16\)"):
        PatchGrid(PatchSettings(size=48, stride=8, grid=16), 96)
