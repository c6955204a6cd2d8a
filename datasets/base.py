"""The contract of a data set: one frozen value that says what a set is and how its files are called.

A module of this package whose top level holds a `DataSet` is a data set; so is a file of the user's own and a module
that an installed package names (see `registry`). The command that prepares its download, the check, the split and the
columns of the tables follow from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from .cohort import HEALTHY, Role
from .layout import MASK, SEGMENTATION, stem_of
from .modality import Modality

#: The kind of a file of the set that nobody needs, such as a diffusion scan.
OTHER = "other"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_NAME_RULE = "1 to 32 letters of a to z, digits, hyphens and underscores, and begins with a letter or digit"
_YEAR = re.compile(r"\b(19|20)\d\d\b")
_COMMON_WORDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("t1", "t1w", "t1n"), Modality.T1),
        **dict.fromkeys(("t1ce", "t1c", "t1gd", "t1wks", "t1w_ks", "t1ks"), Modality.T1CE),
        **dict.fromkeys(("t2", "t2w"), Modality.T2),
        **dict.fromkeys(("flair", "t2flair", "t2f"), Modality.FLAIR),
        **dict.fromkeys(("pd", "pdw"), Modality.PD),
        **dict.fromkeys(("mask", "brainmask", "brain_mask"), MASK),
        **dict.fromkeys(("seg", "gt", "consensus_gt", "consensus", "consensus_seg"), SEGMENTATION),
        **dict.fromkeys(("lesion", "lesions", "lesion_mask"), SEGMENTATION),
        **dict.fromkeys(("mra", "dti"), OTHER),
    }
)


@dataclass(frozen=True)
class Placed:
    """Whose file it is.

    Attributes:
        scan: the scan's name, for ever: files, splits and persons go by it.
        kind: a modality, "mask", "seg", or `OTHER`.
        rank: of several files of one scan and kind the one of lowest rank is taken.
    """

    scan: str
    kind: str
    rank: int = 0


#: Whose file this is, by its path below the download's folder; None of a file that is none of the set's.
Recognise = Callable[[PurePosixPath], Placed | None]


def kind_of(word: str) -> str | None:
    """The kind that a word in a file's name usually means, such as T1 for "t1w"; None of an unknown word."""
    return _COMMON_WORDS.get(word.lower())


@dataclass(frozen=True)
class NamePattern:
    """Recognises a file by a regular expression, which must match all of its name.

    Attributes:
        pattern: with the groups "kind" and those that `scan` names; case does not count.
        words: the kinds of words that this set has for itself, in lower case; then come those of `kind_of`.
        scan: the scan's name as a format string of the groups.
        of: "name" matches the file's name without suffix, "path" the path below the download without suffix.
    """

    pattern: str
    words: Mapping[str, str] = field(default_factory=dict)
    scan: str = "{scan}"
    of: str = "name"

    def __post_init__(self) -> None:
        if self.of not in ("name", "path"):
            raise ValueError(f'of must be "name" or "path", got {self.of!r}')

    def __call__(self, path: PurePosixPath) -> Placed | None:
        """Whose file this is."""
        stem = stem_of(path.name)
        match = re.fullmatch(self.pattern, stem if self.of == "name" else str(path.with_name(stem)), re.IGNORECASE)
        if match is None:
            return None
        word = match["kind"].lower()
        kind = self.words.get(word) or kind_of(word)
        return None if kind is None else Placed(self.scan.format(**match.groupdict(default="")), kind)


@dataclass(frozen=True)
class Labels:
    """What the values of a segmentation mean.

    Attributes:
        lesion: the values that are lesion; none given: every value other than 0 that is not ignored.
        ignored: values that are neither lesion nor background.
    """

    lesion: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()

    @property
    def prepared(self) -> Labels:
        """What the values mean in a segmentation that was prepared: 1 is lesion; 2 is ignored, where anything is."""
        return PREPARED_LABELS if self.ignored else Labels()


#: The values that are written where a set has something to ignore.
PREPARED_LABELS = Labels(lesion=(1,), ignored=(2,))


@dataclass(frozen=True)
class Participant:
    """What is known of a person.

    Attributes:
        age: years, or None where unknown.
        site: scanner or hospital, or None where unknown.
        unfit: why the person is left out of the set, such as "dementia"; empty where nothing speaks against it.
        sex: "female", "male", or None where unknown. No volume store keeps it: their fingerprints, which cells are
            named by, would change.
    """

    age: float | None = None
    site: str | None = None
    unfit: str = ""
    sex: str | None = None


@dataclass(frozen=True)
class ParticipantSheet:
    """The table of the people that lies with the scans of a download.

    Attributes:
        names: of its file, the best first.
        read: what it says by person, as `DataSet.person_of` names them; raises DataError.
        without: what is lost where it is missing, for the note.
    """

    names: tuple[str, ...]
    read: Callable[[Path], Mapping[str, Participant]]
    without: str = "their ages stay unknown"


def whole_name(scan: str) -> str:
    """The scan itself, of a set that holds one scan per person."""
    return scan


def no_site(scan: str) -> str | None:
    """None: names do not tell."""
    return None


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set: its identity, its people, its place in the layout, and how the files of its download are called.

    Attributes:
        name: short name; the name of the file that describes it.
        title: name in tables.
        citation: who made it, with the year.
        source: where to ask for it.
        role: what it is for.
        modalities: per modality that it ships, the name of one image as its owners call it.
        recognise: whose file a path of the download is.
        key: the word for it in metrics and columns; "healthy" for every healthy set, else by default its name.
        folder: its folder below the data directory; by default Train/ or Test/ and its name.
        csv_prefix: its split files are `<csv_prefix>_test.csv` and so on; by default its name.
        held_out: (k, n): of n people k are held out, for test (healthy) or for the threshold (lesions).
        person_of: the person a scan shows, read from the scan's name.
        site_of: the site of a scan, read from its name, or None.
        participants: the table of ages and sites that lies with its scans.
        stripper: the skull stripper that its scans need, a name that `--skull-strip` takes.
        labels: what the values of its segmentations mean.

    Raises:
        ValueError: a name or a folder that cannot be one, a citation without a year, or no modality.
    """

    name: str
    title: str
    citation: str
    source: str
    role: Role
    modalities: Mapping[Modality, str]
    recognise: Recognise
    key: str = ""
    folder: str = ""
    csv_prefix: str = ""
    held_out: tuple[int, int] = (1, 4)
    person_of: Callable[[str], str] = whole_name
    site_of: Callable[[str], str | None] = no_site
    participants: ParticipantSheet | None = None
    stripper: str = "auto"
    labels: Labels = Labels()

    def __post_init__(self) -> None:
        top = "Train" if self.is_healthy else "Test"
        defaults = {
            "key": HEALTHY if self.is_healthy else self.name,
            "folder": f"{top}/{self.name}",
            "csv_prefix": self.name,
        }
        for attribute, default in defaults.items():
            object.__setattr__(self, attribute, getattr(self, attribute) or default)  # frozen, so not by assignment
        self._refuse_nonsense()

    def _refuse_nonsense(self) -> None:
        for word in (self.name, self.key):
            if not _NAME.fullmatch(word):
                raise ValueError(f"a data set cannot be called {word!r}: a name has {_NAME_RULE}")
        if (self.key == HEALTHY) != self.is_healthy:
            raise ValueError(f"{self.title}: the key {HEALTHY!r} is that of every healthy set, and of no other")
        folder = PurePosixPath(self.folder)
        if folder.is_absolute() or ".." in folder.parts:
            raise ValueError(f"{self.title}: its folder {self.folder!r} must lie below the data directory")
        if not _YEAR.search(self.citation):
            raise ValueError(f"{self.title}: the citation {self.citation!r} says no year")
        if not self.modalities:
            raise ValueError(f"{self.title}: name at least one modality and the name of one of its images")
        held_out, of = self.held_out
        if not 0 < held_out < of:
            raise ValueError(f"{self.title}: held_out is (k, n) with 0 < k < n, got {self.held_out}")

    @property
    def is_healthy(self) -> bool:
        """Whether methods learn from it."""
        return self.role is Role.HEALTHY

    def kinds(self, modality: Modality) -> tuple[str, ...]:
        """The subfolders that a run on one modality reads: segmentations only where there are lesions."""
        return (modality, MASK) if self.is_healthy else (modality, MASK, SEGMENTATION)

    @property
    def test_csv(self) -> str:
        """Name of the file that lists the test scans."""
        return f"{self.csv_prefix}_test.csv"

    @property
    def val_csv(self) -> str:
        """Name of the file that lists the validation scans of a lesion set."""
        return f"{self.csv_prefix}_val.csv"

    def fold_csv(self, part: str, fold: int) -> str:
        """Name of the file that lists the "train" or "val" scans of a fold of the healthy set."""
        return f"{self.csv_prefix}_{part}_fold{fold}.csv"
