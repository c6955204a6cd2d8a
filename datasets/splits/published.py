"""The published split files of the field, fetched from where they were published and checked before they are placed.

Source: folder `Data/splits` of the code of Behrendt et al. 2023 (Patched Diffusion Models for Unsupervised Anomaly
Detection in Brain MRI, MIDL). The files are not ours to ship, so only their names and sha256 stand here. The hashes pin
the content, wherever it comes from: the repository, a mirror, or a local copy.

All files are obtained and verified before the first is placed, so a failure leaves the data directory as it was.
Verified downloads stay in a cache, so that the same command after a failure fetches only what is still missing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol
from urllib.parse import urlsplit

from ...download import TIMEOUT, download, own_cache, reason
from ...errors import DataError, shorten
from ...files import replacing, sha256_of_bytes, sha256_of_file
from ..base import DataSet
from ..cohort import HEALTHY, Splits
from ..found import FoundSet
from ..layout import SPLITS_FOLDER
from ..modality import Modality
from ..store.store import Progress
from .audit import leaks_among
from .choice import choose_splits
from .own import has_split_files

REPOSITORY = "FinnBehrendt/patched-Diffusion-Models-UAD"
COMMIT = "da14cd0"
#: The healthy set that the published files are of.
_HEALTHY_SET = "ixi"
BASE_URL = f"https://raw.githubusercontent.com/{REPOSITORY}/{COMMIT}/Data/splits"

#: The published files and the sha256 of each, at that commit (line ends are LF).
SHA256: Mapping[str, str] = MappingProxyType(
    {
        "Brats21_test.csv": "f3fe6ea6a223aaf6f109b4dc0203fc65b49131c74355399009d42f79b1fc13b9",
        "Brats21_val.csv": "e11357f9b62032fd785d68ded200fc07ddd9569e10e8e056c971e62792e2eb7b",
        "IXI_test.csv": "c24b025e07de7dbcfcbff69add5efba6142de42822392057941c73c719ca19ac",
        "IXI_train_fold0.csv": "7a09859f6618ed456507f3ed17526a64ced7e754b28ab631ef8b1f6737119681",
        "IXI_train_fold1.csv": "782fa530cdeb6c771cebd88f85c9077c65deb3e58f507c4a4959bb5315b01720",
        "IXI_train_fold2.csv": "5d0fabd5510784fe09b7c8bab0a695b859ad8d129f07253036e96f39c710ddbf",
        "IXI_train_fold3.csv": "267fd68a4ef62a0866965c6ec33f6f4dc1b0a8c421e38e2272cc718c2f94bd5e",
        "IXI_train_fold4.csv": "10b9a1aca2deecebf561d557ca20a90da055e2132f09ffc9e34dbfadb5908e01",
        "IXI_val_fold0.csv": "2961c34842225f1c424104fdfce2fd6a9957027e5d7497aec08aa973d0b19efd",
        "IXI_val_fold1.csv": "d7bbc28cce27e6d16ca99b47be7ecb5c60592bfe63380a5b3ab35b2d46e1db32",
        "IXI_val_fold2.csv": "4b4ec0eaf06f2b9f660e4f67e9068e064d612750e3c6d080834984f77bd250ab",
        "IXI_val_fold3.csv": "e5e70b9e3278c2fcadb2d00ea431bf59447b27da2dc4003cb1394961b5bdabc5",
        "IXI_val_fold4.csv": "7628186cf1952b36e03bea50decac78406f2d288e6bfd3e8da7e40d8712255b7",
        "MSLUB_test.csv": "10459c4a00b3f227040b0e6c15bf6a8cce588c51382123d6eb6a9581d8f3fa42",
        "MSLUB_val.csv": "31125da6434128c80ae1af875637820f282df72be565a7b441143701eab4c9e9",
        "avail_t2.csv": "993ecad38806aa83a441f36e508514440128c664a4ea66b4515d5340e2066f72",
    }
)


class Source(Protocol):
    """Where the files come from."""

    def obtain(self, name: str, sha256: str) -> bytes:
        """The content of a file, verified.

        Raises:
            DataError: it cannot be had, or it is another file than the one meant.
        """


@dataclass(frozen=True)
class Placed:
    """What a fetch did to the folder of split files.

    Attributes:
        folder: that folder.
        written: names of the files written, new or in place of others.
        kept: names of the files that were there already, identical.
    """

    folder: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]


def fetch_splits(
    directory: Path,
    source: Source,
    *,
    hashes: Mapping[str, str] = SHA256,
    force: bool = False,
    progress: Progress | None = None,
) -> Placed:
    """Put the published split files into a data directory: all of them, or none.

    Args:
        directory: the data directory; the files go to its `splits/`. Both are made where they are absent.
        source: where the files come from, e.g. `Server()` or `LocalCopy(folder)`.
        hashes: the files to place, and the sha256 of each.
        force: whether files of the same names but other content may be overwritten.
        progress: called with (files obtained, files to obtain).

    Raises:
        DataError: a file cannot be had, is not the published one, or would overwrite another; or the folder cannot be
            written. Nothing is placed then.
    """
    folder = directory / SPLITS_FOLDER
    found = {name: _sha256_of(folder / name) for name in hashes}
    kept = tuple(name for name in hashes if found[name] == hashes[name])
    others = tuple(name for name in hashes if found[name] not in (None, hashes[name]))
    if others and not force:
        raise DataError(f"{folder} holds files of these names with other content: {shorten(others)}; --force replaces")
    wanted = tuple(name for name in hashes if name not in kept)
    contents = dict(_obtain_all(source, wanted, hashes, progress))
    _write_all(folder, contents)
    return Placed(folder, wanted, kept)


def _obtain_all(
    source: Source, wanted: tuple[str, ...], hashes: Mapping[str, str], progress: Progress | None
) -> Iterator[tuple[str, bytes]]:
    for done, name in enumerate(wanted):
        if progress:
            progress(done, len(wanted))
        yield name, source.obtain(name, hashes[name])
    if progress and wanted:
        progress(len(wanted), len(wanted))


# ------------------------------------------------------------------------------------------------ where they come from


@dataclass(frozen=True)
class LocalCopy:
    """A folder that holds copies of the files, for a machine without a network.

    Attributes:
        folder: that folder.
    """

    folder: Path

    def obtain(self, name: str, sha256: str) -> bytes:
        """The content of a file of the folder, verified; see `Source.obtain`."""
        path = self.folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise DataError(f"{path} is missing; give --from a folder with every file of {REPOSITORY}") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {reason(error)}; give --from another folder") from error
        _verify(content, str(path), sha256, "take it from the repository again")
        return content


@dataclass(frozen=True)
class Server:
    """The repository of the publication or a mirror of it, behind a cache.

    Attributes:
        base_url: address of the folder that holds the files, http or https.
        cache: where verified downloads are kept; None is a folder in the user's own cache.
        timeout: seconds without a byte after which the server counts as silent.

    Raises:
        DataError: `base_url` is no such address.
    """

    base_url: str = BASE_URL
    cache: Path | None = None
    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:  # e.g. an unclosed bracket
            usable = False
        if not usable:
            raise DataError(
                f"--base-url {self.base_url} is no address; write http://HOST/FOLDER or https://HOST/FOLDER"
            )

    def obtain(self, name: str, sha256: str) -> bytes:
        """The content of a file, from the cache or else from the server, verified; see `Source.obtain`."""
        url = f"{self.base_url.rstrip('/')}/{name}"
        remedy = "try again, or take a local copy with --from DIR"
        path = (self.cache or own_cache(f"published-splits-{COMMIT}")) / name
        try:
            download(
                url,
                sha256,
                path,
                lambda content: _verify(content, url, sha256, remedy),
                remedy,
                timeout=self.timeout,
            )
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{path.parent} cannot keep {name}: {reason(error)}; choose another --cache") from error


def _verify(content: bytes, where: str, sha256: str, remedy: str) -> None:
    """Refuse a file that is not the published one, byte for byte."""
    found = sha256_of_bytes(content)
    if found == sha256:
        return
    # Copies of these very files with other line ends are about: a checkout on Windows makes them.
    if sha256_of_bytes(content.replace(b"\r\n", b"\n")) == sha256:
        remedy = f"only its line ends differ (CRLF instead of LF): {remedy}"
    raise DataError(f"{where} is not the published file: sha256 {sha256} was expected, {found} was found; {remedy}")


# --------------------------------------------------------------------------------------------------- where they go


def _sha256_of(path: Path) -> str | None:
    """The sha256 of a file, or None where there is none."""
    try:
        return sha256_of_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}; remove it or choose another --out") from error


def _write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write every file beside its place, then move all of them there.

    What can fail (a full disk, a missing right) fails before the first move.
    """
    try:
        with _made(folder), ExitStack() as stack:
            partials = {name: stack.enter_context(replacing(folder / name)) for name in contents}
            for name, partial in partials.items():
                with partial.open("wb") as file:
                    file.write(contents[name])
                    file.flush()
                    os.fsync(file.fileno())
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {reason(error)}; make room or choose another --out") from error


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Have a folder; on failure the folders made for it go again."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for one in missing:
            with suppress(OSError):
                one.rmdir()
        raise


# ------------------------------------------------------------------------------------------------- what is in them


@dataclass(frozen=True)
class SplitReview:
    """What the split files of a directory say, judged without any scan.

    Attributes:
        published: the split as the files have it, with what the audit found on `findings`.
        deleaked: the same split without its leaks and duplicates.
    """

    published: Splits
    deleaked: Splits

    @property
    def leaks(self) -> bool:
        """Whether somebody stands on both sides of a line that evaluation draws."""
        return bool(leaks_among(self.published.findings))

    def lines(self) -> tuple[str, ...]:
        """The sizes of all parts and the findings: leaks one by one, lesser findings counted by kind."""
        leaks = leaks_among(self.published.findings)
        lesser = Counter(str(one.kind) for one in self.published.findings if not one.is_leak)
        return (
            f"published: {_sizes(self.published)}",
            *(f"  note: {note}" for note in self.published.notes),
            *(f"  leak: {finding}" for finding in leaks),
            *(f"  also: {kind} in {count} places" for kind, count in lesser.items()),
            *((f"deleaked: {_sizes(self.deleaked)}",) if leaks or lesser else ()),
        )


def review_splits(directory: Path, known: Sequence[DataSet]) -> SplitReview:
    """Audit the split files of a data directory; its scans need not be there yet.

    Args:
        directory: the data directory.
        known: every set whose split files may lie there; of the healthy ones the first that has some counts.

    Raises:
        DataError: a split file is missing or malformed.
    """
    folder = directory / SPLITS_FOLDER
    listed = [one for one in known if has_split_files(folder, one)]
    healthy = [one for one in listed if one.is_healthy] or [one for one in known if one.name == _HEALTHY_SET]
    sets = {
        one.key: FoundSet(one, Modality.T2, {kind: {} for kind in one.kinds(Modality.T2)}, is_phantom=False)
        for one in (*healthy[:1], *(one for one in listed if not one.is_healthy))
    }
    published, deleaked = (choose_splits(directory, sets, known, choice) for choice in ("published", "deleaked"))
    return SplitReview(published, deleaked)


def _sizes(splits: Splits) -> str:
    train = _range(len(fold.train) for fold in splits.folds)
    val = _range(len(fold.val) for fold in splits.folds)
    healthy = (
        f"{len(splits.folds)} folds of {train} training and {val} validation scans, {len(splits.healthy_test)} test"
    )
    lesion = (f"{key}: {len(part.val)} validation, {len(part.test)} test" for key, part in splits.lesion.items())
    return "; ".join((f"{HEALTHY}: {healthy}", *lesion))


def _range(counts: Iterable[int]) -> str:
    numbers = sorted(set(counts))
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
