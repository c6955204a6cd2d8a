"""Where the data comes from: the embedded phantom, or a directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cores import usable_cores
from ..datasets.base import DataSet
from ..datasets.modality import Modality
from ..datasets.registry import data_sets, register_file
from ..errors import UserError
from .records.handed_out import SPECS

if TYPE_CHECKING:
    from ..datasets.cohort import Data
    from ..datasets.scans.preparation import PreparationSettings
    from .engine.progress import Reporter

#: Seed of the embedded cohort: one phantom for everybody, whatever the seed of a run.
PHANTOM_SEED = 0


def open_data(
    word: str,
    size: str,
    settings: PreparationSettings,
    results: Path,
    splits: str | None,
    reporter: Reporter,
    modality: Modality = Modality.T2,
    *,
    jobs: int | None = None,
) -> Data:
    """Open what `--data` names, building volume stores where they are not built yet.

    Args:
        word: "phantom" or a directory.
        size: size of the phantom.
        settings: the numbers of the preparation.
        results: the folder whose `data/` holds the stores.
        splits: "published", "deleaked", "own" or None for the source's own choice.
        reporter: where progress goes.
        modality: the contrast of the scans.
        jobs: processes that prepare volumes; 1 is this one, None as many as there are cores.

    Raises:
        UserError: there is no such directory.
        DataError: the data cannot be used as they are.
    """
    from ..datasets.load import load_disk
    from ..datasets.phantom.load import load_phantom, phantom_size

    cache, jobs = results / "data", jobs or usable_cores()
    with StoreProgress(reporter, "prepare volumes") as progress:
        if word == "phantom":
            if splits not in (None, "own"):
                raise UserError(f"--splits {splits}: the phantom has only its own split; leave --splits out")
            people = phantom_size(size)
            return load_phantom(
                people, cache, PHANTOM_SEED, jobs, progress.update, settings=settings, modality=modality
            )
        directory = Path(word)
        if not directory.is_dir():
            raise UserError(f"--data {word}: there is no such directory; give one, or `phantom`")
        known = known_data_sets()
        return load_disk(directory, cache, settings, splits, jobs, progress.update, known=known, modality=modality)


def data_of_runs(results: Path, fingerprint: str) -> Data:
    """The data that runs of a results folder were made on, opened where their volumes lie; nothing is prepared.

    Args:
        results: the results folder, to which `bench run` wrote what its cells read.
        fingerprint: of the data.

    Raises:
        UserError: no run here was made on such data.
        DataError: a volume store is not there any more, or is another one.
    """
    from .executors.data_file import read_data

    data = read_data(results / SPECS, fingerprint)
    if data is None:
        raise UserError(f"no run in {results} was made on data {fingerprint[:12]}, only imported")
    return data


def known_data_sets(files: Sequence[Path] = ()) -> tuple[DataSet, ...]:
    """Every data set that this process knows, with those of the user's own files.

    Raises:
        UserError: a file cannot be read, or holds no data set or one that clashes with another.
    """
    for file in files:
        register_file(file)
    return tuple(data_sets().values())


class StoreProgress:
    """Turns the builders' (done, total) calls into bars, one per store."""

    def __init__(self, reporter: Reporter, title: str) -> None:
        self._reporter = reporter
        self._title = title
        self._context: Any = None
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> StoreProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self._close(*error)

    def update(self, done: int, total: int) -> None:
        """Show that `done` of `total` volumes are prepared."""
        if self._context is None:
            self._context = self._reporter.bar(self._title, total, done)
            self._bar = self._context.__enter__()
            self._done = done
        self._bar.advance(done - self._done)
        self._done = done
        if done == total:
            self._close(None, None, None)

    def _close(self, *error: object) -> None:
        if self._context is not None:
            self._context.__exit__(*error)
        self._context = None
