"""A whole download to the shared layout: every scan on its own, none of them fatal, nothing done twice.

Below the data directory each scan leaves its files (see `layout`) and a row, `prepared/<set>/<scan>.json`: sources and
results by sha256, the recipe, seconds, quality of the registration. A row is written after the files it speaks of and
taken away before they are touched, so it is the proof that they are whole; a scan whose row matches its sources and
the recipe is not prepared again. `prepared/<set>/failures.csv` lists what could not be prepared and why, and
`manifest.json` gathers all rows of all sets.

One process prepares a set at a time: a lock says so that ends with its holder. Whatever ended it, nothing half-written
stays: it is removed by the process itself or, if that was killed, by the next one.

A registration that went wrong rarely fails; it gives a figure unlike the others. So its quality is compared over the
set by the modified z-score (Iglewicz and Hoaglin 1993), and what stands out is listed for a look.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...errors import DataError
from ...stopping import raise_stop
from ...workers import be_a_good_child, in_workers, one_itk_thread
from ..base import DataSet
from ..modality import Modality
from ..rows import atlases_in, find_outliers
from ..scans.atlases import AUTO, choose_atlas, require_modality
from ..scans.scan_header import HEADS, ReadLimits, head_limits
from ..scans.scan_preparation import ScanSettings
from ..scans.skull_strip import make_stripper
from .one_scan import ScanFailure, prepare_one
from .raw_layouts import RawScan, RawSet, find_raw, refuse_lacking
from .recipe import PreparationRecipe
from .set_place import SetPlace
from .set_summary import PreparedSet, notes_on, write_summary

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PrepareOptions:
    """What the user chooses of a preparation.

    Attributes:
        modality: of the images that are prepared.
        skull_strip: a name that `skull_strip.make_stripper` takes; "" is the data set's own.
        atlas: "auto", or what `atlases.load_atlas` takes.
        atlas_modality: "t1" or "t2" where the name of the atlas's file does not say it.
        n4_levels: resolutions of the bias field; 0 leaves the bias in.
        max_voxels: a scan of more is refused before it is read; None is the usual number.
    """

    modality: Modality = Modality.T2
    skull_strip: str = ""
    atlas: str = AUTO
    atlas_modality: str = ""
    n4_levels: int = 4
    max_voxels: int | None = None


@dataclass(frozen=True)
class DownloadPlan:
    """What `prepare_download` is going to do.

    Attributes:
        raw: what the download holds.
        out: the data directory.
        recipe: how its scans are prepared.
        limits: what is refused unread.
        notes: sentences that the user should read before.
    """

    raw: RawSet
    out: Path
    recipe: PreparationRecipe
    limits: ReadLimits
    notes: tuple[str, ...]


def plan_download(
    data_set: DataSet, raw: Path, out: Path, options: PrepareOptions, known: Sequence[DataSet]
) -> DownloadPlan:
    """Recognise a download and choose atlas and skull stripper; no scan is read yet.

    Args:
        data_set: the set that the download is said to be.
        raw: its folder or its tar.
        out: the data directory to write to.
        options: the user's choices.
        known: every data set, to say which one it may be instead.

    Raises:
        DataError: the set lacks the modality, the download is another one, or a stripper or an atlas cannot be had.
    """
    refuse_lacking(data_set, options.modality)
    stripper = make_stripper(options.skull_strip or data_set.stripper)
    found = find_raw(data_set, raw, options.modality, known)
    settings = ScanSettings()
    settings = replace(settings, bias=settings.bias.of_levels(options.n4_levels))
    choice = choose_atlas(options.atlas, atlases_in(out), options.atlas_modality)
    require_modality(choice.atlas)
    recipe = PreparationRecipe(choice.atlas, stripper, settings)
    return DownloadPlan(found, out, recipe, head_limits(options.max_voxels), choice.notes)


def prepare_download(plan: DownloadPlan, jobs: int = 1, progress: Progress | None = None) -> PreparedSet:
    """Prepare a whole download as planned; see `prepare_set`."""
    return prepare_set(plan.raw, plan.out, plan.recipe, jobs, progress, plan.limits)


def prepare_set(
    raw: RawSet,
    out: Path,
    recipe: PreparationRecipe,
    jobs: int = 1,
    progress: Progress | None = None,
    limits: ReadLimits = HEADS,
) -> PreparedSet:
    """Prepare every scan of a download; those that fail are listed and the rest goes on.

    Args:
        raw: the download.
        out: the data directory.
        recipe: how.
        jobs: worker processes; each needs 3 GB with HD-BET, 1.6 GB with deepbet, else 0.8 GB.
        progress: called with (scans done, scans in all).
        limits: what is refused unread.

    Raises:
        DataError: the data directory cannot be written, lies in the download, holds scans of this set from elsewhere or
            is being written by another process; or a worker died.
    """
    _refuse_inside(raw.source, out)
    place = SetPlace.of(raw, out, recipe, limits)
    try:
        with place.held(raw):
            return _prepare_all(place, raw, jobs, progress or (lambda _done, _total: None))
    except OSError as error:
        raise _cannot_write(out, error) from error


def _prepare_all(place: SetPlace, raw: RawSet, jobs: int, report: Progress) -> PreparedSet:
    """Prepare what is not prepared yet, and sum up.

    Raises:
        DataError: a worker died.
        OSError: the data directory cannot be written.
    """
    waiting = [scan for scan in raw.scans if not place.is_current(scan)]
    redone = {scan.id for scan in waiting}
    kept = tuple(scan.id for scan in raw.scans if scan.id not in redone)
    failures = [
        ScanFailure(name, reason) for problems in (raw.damaged, raw.incomplete) for name, reason in problems.items()
    ]
    done = len(kept)
    report(done, len(raw.scans))
    with closing(_run(place, waiting, jobs)) as results:
        for failure in results:
            raise_stop()  # a library may have swallowed Ctrl-C
            failures += [failure] if failure else []
            done += 1
            report(done, len(raw.scans))
    failed = {failure.scan for failure in failures}
    prepared = tuple(scan.id for scan in waiting if scan.id not in failed)
    ordered = tuple(sorted(failures, key=lambda failure: failure.scan))
    rows = place.rows()
    outcome = PreparedSet(prepared, kept, ordered, find_outliers(rows), notes_on(place, raw, rows))
    write_summary(place, raw, outcome)
    return outcome


def _refuse_inside(source: Path, out: Path) -> None:
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise DataError(
            f"--out {out} lies inside the download {source}, so that results would be taken for scans; "
            "choose a folder outside of it"
        )


def _run(place: SetPlace, scans: Sequence[RawScan], jobs: int) -> Generator[ScanFailure | None, None, None]:
    """Prepare scans, here or in processes, in any order."""
    if jobs > 1 and len(scans) > 1:
        yield from _run_in_processes(place, scans, min(jobs, len(scans)))
        return
    with one_itk_thread():
        for scan in scans:
            yield prepare_one(place, scan)


def _run_in_processes(place: SetPlace, scans: Sequence[RawScan], workers: int) -> Iterator[ScanFailure | None]:
    try:
        yield from in_workers(partial(prepare_one, place), scans, workers, _start_worker)
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died, probably for lack of memory; start again with fewer --jobs: what is done is kept"
        ) from error


def _start_worker() -> None:
    """Make a worker a good child: one thread, Ctrl-C left to the parent, and no life after the parent's death."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    be_a_good_child()


def _cannot_write(out: Path, error: OSError) -> DataError:
    where = error.filename or out
    return DataError(
        f"{where} cannot be written: {error.strerror or error}; make room or choose another --out, then start again: "
        "what is done is kept"
    )
