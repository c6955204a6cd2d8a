"""Any directory in the Brain Imaging Data Structure (BIDS): as healthy scans, or as scans with lesions.

    sub-01/anat/sub-01_T2w.nii.gz                               images: T1w, T2w, FLAIR, PDw, by --modality
    sub-01/ses-1/anat/sub-01_ses-1_acq-tse_run-1_T2w.nii.gz     the same in sessions, with further entities
    derivatives/…/sub-01[_ses-1]_label-lesion_mask.nii.gz       lesions, of `bids-lesions`; another pattern may be given
    derivatives/…/sub-01[_ses-1]_desc-brain_mask.nii.gz         brain masks, for --skull-strip mask-file
    participants.tsv                                            participant_id, age, site

`bids` takes the images of a directory as healthy, `bids-lesions` those for which there is a lesion mask. A scan is
called `sub-01` or `sub-01_ses-1`; the person is `sub-01` whatever the session. Of several images of one scan the one
with the fewest further entities is taken, and of its runs the first; names do not tell which is the better one, so take
the others away where that matters. An image with the entity `ce` is T1 after a contrast agent.

The set has no citation of its own: cite whoever made the data. To have two of them in one data directory, or another
title, citation or pattern, write `DATA_SET = bids_set("my-strokes", …)` into a file of your own (it is imported from
here) and name it by `--data-set`.

Read in: Gorgolewski et al. 2016 and the BIDS specification, bids-specification.readthedocs.io (entities, derivatives;
`_label-lesion_mask` and `_desc-brain_mask` for masks).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from types import MappingProxyType

from ..errors import DataError
from .base import OTHER, DataSet, ParticipantSheet, Placed
from .cohort import Role
from .layout import MASK, SEGMENTATION, stem_of
from .modality import Modality
from .participants import read_participants

#: Where lesion masks lie, below the directory; `**/` is any folder, `*` any part of a name.
LESION_MASKS = "derivatives/**/*_label-lesion_mask.nii.gz"
BRAIN_MASKS = "derivatives/**/*_desc-brain_mask.nii.gz"

_IMAGES: Mapping[str, Modality] = MappingProxyType(
    {"T1w": Modality.T1, "T2w": Modality.T2, "FLAIR": Modality.FLAIR, "PDw": Modality.PD}
)
_NOT_RAW = frozenset({"derivatives", "sourcedata", "code"})
_PARTS_OF_ONE = frozenset({"part", "echo", "inv", "chunk"})  # entities of which one image alone is no whole scan
_NATIVE = frozenset({"", "orig", "native", "individual", "T1w", "T2w", "FLAIR", "PDw"})  # values of `space`
_ENTITY = re.compile(r"(?P<key>[a-z]+)-(?P<value>[A-Za-z0-9+]+)")
_RUNS = 100  # more than there are of one image


@dataclass(frozen=True)
class _Name:
    """A file name in BIDS: its entities, the word behind them, and whether it holds nothing else."""

    entities: Mapping[str, str]
    suffix: str
    is_plain: bool

    @classmethod
    def of(cls, path: PurePosixPath) -> _Name | None:
        """The parts of a name; None of one that names no person."""
        *words, suffix = stem_of(path.name).split("_")
        matches = [_ENTITY.fullmatch(word) for word in words]
        entities = {match["key"]: match["value"] for match in matches if match is not None}
        return cls(entities, suffix, all(matches)) if "sub" in entities else None

    @property
    def scan(self) -> str:
        """Person and session."""
        return "_".join(f"{key}-{self.entities[key]}" for key in ("sub", "ses") if key in self.entities)

    @property
    def rank(self) -> int:
        """How many further entities there are, then which run."""
        further = self.entities.keys() - {"sub", "ses"}
        run = self.entities.get("run", "")
        return _RUNS * len(further) + (int(run) if run.isdecimal() else 0)


@dataclass(frozen=True)
class BidsNames:
    """Recognises the files of a BIDS directory.

    Attributes:
        lesion_masks: where lesion masks lie, a pattern like `LESION_MASKS`; empty where nobody asks for any.
        brain_masks: where brain masks lie, likewise.
    """

    lesion_masks: str = ""
    brain_masks: str = BRAIN_MASKS

    def __call__(self, path: PurePosixPath) -> Placed | None:
        """Whose file this is."""
        name = _Name.of(path)
        if name is None:
            return None
        mask = self._mask_kind(path)
        if mask is not None:
            return Placed(name.scan, mask, int(name.entities.get("space", "") not in _NATIVE))
        is_raw = path.parent.name == "anat" and not _NOT_RAW & set(path.parts)
        is_image = name.is_plain and name.suffix in _IMAGES and not _PARTS_OF_ONE & name.entities.keys()
        if is_raw and is_image:
            return Placed(name.scan, self._contrast(name), name.rank)
        return Placed(name.scan, OTHER)

    def _mask_kind(self, path: PurePosixPath) -> str | None:
        for pattern, kind in ((self.lesion_masks, SEGMENTATION), (self.brain_masks, MASK)):
            if pattern and _expression(pattern).fullmatch(str(path.with_name(stem_of(path.name)))):
                return kind
        return None

    def _contrast(self, name: _Name) -> Modality:
        modality = _IMAGES[name.suffix]
        return Modality.T1CE if modality is Modality.T1 and "ce" in name.entities else modality


def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern of paths as a regular expression; the directory may lie deeper in the download."""
    path = PurePosixPath(pattern)
    parts = re.split(r"(\*\*/|\*)", str(path.with_name(stem_of(path.name))))
    meanings = {"**/": "(.*/)?", "*": "[^/]*"}
    return re.compile("(.*/)?" + "".join(meanings.get(part, re.escape(part)) for part in parts))


def person_of(scan: str) -> str:
    """sub-01 of sub-01_ses-1."""
    return scan.partition("_")[0]


def bids_set(
    name: str,
    title: str,
    role: Role,
    *,
    citation: str,
    source: str,
    lesion_masks: str = LESION_MASKS,
    stripper: str = "auto",
    held_out: tuple[int, int] = (1, 4),
) -> DataSet:
    """A data set that comes as a BIDS directory.

    Args:
        name: short name of the set.
        title: name in tables.
        role: what it is for.
        citation: who made it, with the year.
        source: where to ask for it.
        lesion_masks: where its lesion masks lie below the directory; see `LESION_MASKS`.
        stripper: the skull stripper that its scans need.
        held_out: see `DataSet`.

    Raises:
        ValueError: as `DataSet`.
    """
    masks = lesion_masks if role is Role.LESIONS else ""
    return DataSet(
        name=name,
        title=title,
        citation=citation,
        source=source,
        role=role,
        modalities={modality: f"sub-01/anat/sub-01_{suffix}.nii.gz" for suffix, modality in _IMAGES.items()}
        | {Modality.T1CE: "sub-01/anat/sub-01_ce-gadolinium_T1w.nii.gz"},
        recognise=BidsNames(masks),
        held_out=held_out,
        person_of=person_of,
        participants=ParticipantSheet(names=("participants.tsv",), read=read_participants),
        stripper=stripper,
    )


def with_lesion_masks(data_set: DataSet, pattern: str) -> DataSet:
    """The same BIDS set, its lesion masks elsewhere.

    Args:
        data_set: a set with lesions that comes as a BIDS directory.
        pattern: where its masks lie, like `LESION_MASKS`.

    Raises:
        DataError: the set is no such set.
    """
    if data_set.is_healthy or not isinstance(data_set.recognise, BidsNames):
        raise DataError(f"{data_set.name} is no BIDS set with lesions, so it takes no pattern of lesion masks")
    return replace(data_set, recognise=replace(data_set.recognise, lesion_masks=pattern))


_CITATION = (
    "whoever made the data; of the structure: Gorgolewski et al., The brain imaging data structure, a format for "
    "organizing and describing outputs of neuroimaging experiments, Scientific Data 3, 2016"
)
_SOURCE = "whoever made the data, for example on openneuro.org"

DATA_SET = bids_set("bids", "BIDS", Role.HEALTHY, citation=_CITATION, source=_SOURCE)
LESIONS = bids_set("bids-lesions", "BIDS lesions", Role.LESIONS, citation=_CITATION, source=_SOURCE)
