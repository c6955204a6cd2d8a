"""The place of a set in a data directory while it is being prepared: who holds it, what is done, what is up to date."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...files import locked, read_json, remove_partials
from ..base import Labels
from ..layout import MASK, SEGMENTATION, scan_path
from ..rows import ROWS, prepared_rows
from ..scans.scan_file import sha256_of
from ..scans.scan_header import ReadLimits
from ..scans.skull_strip import MASK_FILE
from .raw_files import UNPACKED, RawFile
from .raw_layouts import RawScan, RawSet
from .recipe import PreparationRecipe, is_same_recipe

LOCK = ".lock"


@dataclass(frozen=True)
class SetPlace:
    """The place of a set on its way into a data directory; all state is on disk. Travels to worker processes.

    Attributes:
        name: the set's name.
        title: its title.
        folder: its folder below the data directory.
        kinds: the kinds of file of each scan, the image's modality first.
        labels: what the values of its segmentations mean.
        out: the data directory.
        recipe: how scans are prepared.
        limits: what is refused unread.
    """

    name: str
    title: str
    folder: str
    kinds: tuple[str, ...]
    labels: Labels
    out: Path
    recipe: PreparationRecipe
    limits: ReadLimits

    @classmethod
    def of(cls, raw: RawSet, out: Path, recipe: PreparationRecipe, limits: ReadLimits) -> SetPlace:
        """The place of a download's set."""
        data_set = raw.data_set
        kinds = data_set.kinds(raw.modality)
        return cls(data_set.name, data_set.title, data_set.folder, kinds, data_set.labels, out, recipe, limits)

    @property
    def image(self) -> str:
        """The kind of file of its images: their modality."""
        return self.kinds[0]

    @property
    def rows_folder(self) -> Path:
        """Where its rows lie."""
        return self.out / ROWS / self.name

    def row_path(self, scan: str) -> Path:
        """Where a scan's row lies."""
        return self.rows_folder / f"{scan}.json"

    def results(self, scan: str) -> dict[str, Path]:
        """By kind, the files that are written of a scan."""
        return {kind: scan_path(self.out, self, kind, scan) for kind in self.kinds}

    def claim(self) -> None:
        """Make the set's place, and refuse one that holds somebody else's scans.

        Raises:
            DataError: scans lie there that no `bench prepare` wrote, or that it wrote in another modality.
        """
        others = {kind for row in self.rows().values() for kind in row["results"]} - set(self.kinds)
        if others:
            raise DataError(
                f"{self.out} holds {self.title} prepared as {', '.join(sorted(others)).upper()}, with masks of their "
                f"own; prepare {self.image.upper()} to another --out"
            )
        place = self.out / self.folder
        if not self.rows_folder.is_dir() and place.is_dir() and any(place.iterdir()):
            raise DataError(f"{place} holds files that were not prepared here; choose another --out")
        self.rows_folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def held(self, raw: RawSet) -> Iterator[None]:
        """Hold the set's place for this process; nothing half-written is there when it begins or when it ends.

        Raises:
            DataError: another process holds it, or somebody else's scans lie there.
        """
        self.claim()
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.rows_folder / LOCK, wait=False))
            except BlockingIOError as error:
                raise DataError(
                    f"another `bench prepare {self.name}` is writing to {self.out}; wait for it or stop it, then "
                    "try again"
                ) from error
            self.tidy(raw)
            stack.callback(self.tidy, raw)
            yield

    def tidy(self, raw: RawSet) -> None:
        """Remove temporary files, and results of this download's scans that have no row."""
        for place in (self.rows_folder, *(self.out / self.folder / kind for kind in self.kinds)):
            remove_partials(place)
        for unpacked in self.rows_folder.glob(f"{UNPACKED}*"):
            shutil.rmtree(unpacked, ignore_errors=True)
        for scan in raw.scans:
            if not self.row_path(scan.id).exists():
                self.forget(scan.id)

    def rows(self) -> dict[str, dict[str, Any]]:
        """All finished rows of the set by scan, in order."""
        return prepared_rows(self.out, self.name)

    def is_current(self, scan: RawScan) -> bool:
        """Whether this scan was prepared from these sources by this recipe and its files are still there."""
        row = read_json(self.row_path(scan.id))
        if row is None or not is_same_recipe(row.get("recipe"), self.recipe.content()):
            return False
        paths = self.results(scan.id)
        written = row.get("results", {})
        if written.keys() != paths.keys():
            return False
        if any(not path.exists() or path.stat().st_size != written[kind]["bytes"] for kind, path in paths.items()):
            return False
        files = self.used(scan)
        sources = row.get("sources", {})
        return sources.keys() == files.keys() and all(
            _is_same(file, sources[kind], self.rows_folder) for kind, file in files.items()
        )

    def used(self, scan: RawScan) -> dict[str, RawFile]:
        """The files of a scan that this recipe reads."""
        wanted = {self.image, *({SEGMENTATION} & set(self.kinds))}
        if self.recipe.stripper.name == MASK_FILE:
            wanted.add(MASK)
        return {kind: file for kind, file in scan.files.items() if kind in wanted}

    def forget(self, scan: str) -> None:
        """Remove a scan's row, then its files."""
        self.row_path(scan).unlink(missing_ok=True)
        for path in self.results(scan).values():
            path.unlink(missing_ok=True)


def _is_same(file: RawFile, source: Mapping[str, Any], scratch: Path) -> bool:
    """Whether a source is what a row says; its content is hashed only if its date has changed."""
    if source.get("file") != str(file):
        return False
    try:
        if source.get("stamp") == stamp_of(file):
            return True
        with file.opened(scratch) as path:
            return sha256_of(path) == source.get("sha256")
    except (OSError, DataError):
        return False  # it is read again, and what is wrong with it is said then


def stamp_of(file: RawFile) -> list[int]:
    """What tells, without reading it, that a file is still the same."""
    state = file.path.stat()
    stamp = [state.st_size, state.st_mtime_ns, file.offset, file.size]
    return stamp if file.voxels is None else [*stamp, *stamp_of(file.voxels)]
