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

import csv
import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, shorten
from ...files import locked, read_json, remove_partials, replacing, write_json
from ...workers import be_a_good_child, in_workers, one_itk_thread
from ..cohort import Provenance
from ..layout import AGES, IMAGE, MASK, SEGMENTATION, SPLITS_FOLDER, DataSetInfo, scan_path
from ..scans.atlases import MODALITIES, KnownAtlas
from ..scans.nifti import as_mask, read_header, read_volume, write_volume
from ..scans.registration import Atlas, doubt_about
from ..scans.scan_file import scan_parts, sha256_of
from ..scans.scan_header import ASSUMED, BY_QFORM, HEADS, ReadLimits
from ..scans.scan_preparation import SCAN_PREPARATION_VERSION, PreparedScan, RawVolumes, ScanSettings, prepare_scan
from ..scans.skull_strip import MASK_FILE, SkullStripper
from ..scans.space import Affine, Grid
from .ages import add_ages
from .raw_files import UNPACKED, RawFile
from .raw_layouts import RawScan, RawSet

Progress = Callable[[int, int], None]

ROWS, MANIFEST, FAILURES, SET_FILE = "prepared", "manifest.json", "failures.csv", "set.json"
_FORMAT = 1
_SHOWN = 8
_LOCK = ".lock"
_REGISTER, _BIAS = "register", "N4 in the brain mask"  # the steps that a new scan must have in common
_FRACTION = 0.01  # what a stored label may be off a whole number
_LIBRARIES = ("SimpleITK", "nibabel", "numpy", "scipy", "uadbench")
OUTLIER = 3.5  # modified z-score, as Iglewicz and Hoaglin advise
_FEWEST_TO_COMPARE = 5
_ATLAS_FILE, _ATLAS_MODALITY = _TOLD_LATER = "atlas_file", "atlas_modality"
_SMALLEST_SPREAD = 0.005  # of either figure: what alike scans differ by


@dataclass(frozen=True)
class Recipe:
    """All that determines what is written, beside the scan.

    Attributes:
        atlas: the space.
        stripper: finds the brain.
        settings: the numbers.
    """

    atlas: Atlas
    stripper: SkullStripper
    settings: ScanSettings

    def content(self) -> dict[str, Any]:
        """Plain JSON: the steps in order, each with its parameters."""
        settings = self.settings
        bias = asdict(settings.bias)
        registration = asdict(settings.registration)
        return {
            "version": SCAN_PREPARATION_VERSION,
            "steps": [
                {"step": "resample", "to": "isotropic RAS", "voxel_mm": settings.voxel},
                {"step": "skull strip", "by": self.stripper.name},
                {
                    "step": _REGISTER,
                    "transform": "affine",
                    "metric": "Mattes mutual information",
                    "atlas": self.atlas.name,
                    "atlas_sha256": self.atlas.sha256,
                    _ATLAS_FILE: self.atlas.file,
                    _ATLAS_MODALITY: self.atlas.modality,
                    **{
                        name: list(value) if isinstance(value, tuple) else value for name, value in registration.items()
                    },
                },
                {"step": "move", "image": "linear", "masks": "nearest neighbour", "transforms": "one, composed"},
                {"step": "crop", "to": "bounding box of the brain"},
                {"step": _BIAS, "shrink": bias["shrink"], "iterations": list(bias["iterations"])},
            ],
        }


@dataclass(frozen=True)
class Failure:
    """A scan that could not be prepared, or an archive that could not be read to its end.

    Attributes:
        scan: its name.
        reason: one sentence.
    """

    scan: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What became of a set.

    Attributes:
        prepared: scans prepared now.
        kept: scans that were prepared already.
        failures: the others.
        outliers: for each scan whose registration should be looked at, a sentence.
        notes: what else the user should know.
    """

    prepared: tuple[str, ...]
    kept: tuple[str, ...]
    failures: tuple[Failure, ...]
    outliers: Mapping[str, str]
    notes: tuple[str, ...]

    def lines(self, out: Path, name: str) -> tuple[str, ...]:
        """What happened, for the screen: counts, notes, the first failures and outliers, and where the rest stands."""
        lines = [f"{len(self.prepared)} prepared, {len(self.kept)} were prepared already, {len(self.failures)} failed."]
        lines += [f"Note: {note}." for note in self.notes]
        lines += [f"Failed: {failure.reason}" for failure in self.failures[:_SHOWN]]
        lines += [f"Look at the registration of {scan}: {why}." for scan, why in list(self.outliers.items())[:_SHOWN]]
        if len(self.failures) > _SHOWN:
            lines.append(f"All {len(self.failures)} failures: {out / ROWS / name / FAILURES}")
        lines.append(f"What was done to each scan: {out / MANIFEST}")
        return tuple(lines)


def prepare_set(
    raw: RawSet,
    out: Path,
    recipe: Recipe,
    jobs: int = 1,
    progress: Progress | None = None,
    limits: ReadLimits = HEADS,
) -> Outcome:
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
    job = _Job(raw.info, out, recipe, limits)
    try:
        with job.held(raw):
            return _prepare_all(job, raw, jobs, progress or (lambda _done, _total: None))
    except OSError as error:
        raise _cannot_write(out, error) from error


def _prepare_all(job: _Job, raw: RawSet, jobs: int, report: Progress) -> Outcome:
    """Prepare what is not prepared yet, and sum up.

    Raises:
        DataError: a worker died.
        OSError: the data directory cannot be written.
    """
    waiting = [scan for scan in raw.scans if not job.is_current(scan)]
    redone = {scan.id for scan in waiting}
    kept = tuple(scan.id for scan in raw.scans if scan.id not in redone)
    failures = [
        Failure(name, reason) for problems in (raw.damaged, raw.incomplete) for name, reason in problems.items()
    ]
    done = len(kept)
    report(done, len(raw.scans))
    with closing(_run(job, waiting, jobs)) as results:
        for failure in results:
            failures += [failure] if failure else []
            done += 1
            report(done, len(raw.scans))
    failed = {failure.scan for failure in failures}
    prepared = tuple(scan.id for scan in waiting if scan.id not in failed)
    ordered = tuple(sorted(failures, key=lambda failure: failure.scan))
    rows = job.rows()
    notes = (
        *raw.notes,
        *_fraction_note(rows),
        *_orientation_note(rows),
        *_write_ages(job.out, raw),
        *job.strangers(raw),
    )
    outcome = Outcome(prepared, kept, ordered, find_outliers(rows), notes)
    _write_summary(job, raw, outcome)
    return outcome


def _refuse_inside(source: Path, out: Path) -> None:
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise DataError(
            f"--out {out} lies inside the download {source}, so that results would be taken for scans; "
            "choose a folder outside of it"
        )


def _fraction_note(rows: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    found = [scan for scan, row in rows.items() if row.get("fractional")]
    if not found:
        return ()
    said = (
        f"{len(found)} scans, such as {found[0]}, have a mask or segmentation with fractions, as a linear warp leaves"
    )
    return (f"{said}; voxels from one half up are taken",)


def _orientation_note(rows: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What the headers do not say plainly, a sentence per kind."""
    notes = []
    told = {str(row.get("orientation")) for row in rows.values()}
    for orientation in sorted(told):
        found = shorten(tuple(scan for scan, row in rows.items() if row.get("orientation") == orientation))
        if orientation.startswith(ASSUMED):
            notes.append(
                f"the header of {found} does not say which way its axes point; {orientation.removeprefix(ASSUMED)} is "
                "assumed, so left and right may be swapped"
            )
        elif orientation == BY_QFORM:
            notes.append(f"the header of {found} has a singular sform; its qform is read")
    return tuple(notes)


def find_outliers(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The scans whose registration is not to be believed or stands out from the set's for the worse, with a sentence.

    Args:
        rows: by scan, rows with "registration": {"mutual_information", "mask_dice"}.
    """
    reasons: dict[str, list[str]] = {scan: [] for scan in rows}
    for figure, title in (("mutual_information", "mutual information"), ("mask_dice", "Dice of the brain masks")):
        values = {scan: float(row["registration"][figure]) for scan, row in rows.items()}
        for scan, score in modified_z(values, _SMALLEST_SPREAD).items():
            if score < -OUTLIER:
                reasons[scan].append(f"{title} {values[scan]:.3f}, median {np.median(list(values.values())):.3f}")
    for scan, row in rows.items():
        doubt = doubt_of(row)
        reasons[scan] += [doubt] if doubt else []
    return {scan: "; ".join(said) for scan, said in reasons.items() if said}


def doubt_of(row: Mapping[str, Any]) -> str:
    """Why the registration of a row is not to be believed, see `doubt_about`; empty if it is."""
    quality = row["registration"]
    to_scan = np.asarray(quality.get("atlas_to_scan_mm", np.eye(4)), dtype=np.float64)
    brain_ml = float(row.get("brain_ml", "nan")) * abs(float(np.linalg.det(to_scan[:3, :3])))
    return doubt_about(float(quality["mask_dice"]), brain_ml)


def modified_z(values: Mapping[str, float], smallest_spread: float) -> dict[str, float]:
    """0.6745 (x - median) / MAD; all 0 where there are too few to compare.

    Args:
        values: by name.
        smallest_spread: taken where the MAD is smaller: what alike values differ by.
    """
    if len(values) < _FEWEST_TO_COMPARE:
        return dict.fromkeys(values, 0.0)
    numbers = np.array(list(values.values()))
    spread = max(float(np.median(np.abs(numbers - np.median(numbers)))), smallest_spread)
    scores = 0.6745 * (numbers - np.median(numbers)) / spread
    return dict(zip(values, scores.tolist(), strict=True))


def prepared_rows(out: Path, info: DataSetInfo) -> dict[str, dict[str, Any]]:
    """All finished rows of a set in a data directory by scan, in order; none where nothing was prepared."""
    paths = sorted((out / ROWS / info.name).glob("*.json"))
    found = {path.stem: read_json(path) for path in paths if path.name != SET_FILE}
    return {scan: row for scan, row in found.items() if row is not None and "results" in row}


def provenance_of(out: Path, info: DataSetInfo, images: Mapping[str, str]) -> Provenance | None:
    """How scans of a set were prepared; None where that is not known of every one, or not the same for all.

    Args:
        out: the data directory.
        info: the set.
        images: by scan, the sha256 of its image; a row speaks only of the file that it was written with.
    """
    rows = prepared_rows(out, info)
    ways = {
        row_provenance(rows[scan]) if scan in rows and _result_sha256(rows[scan]) == digest else None
        for scan, digest in images.items()
    }
    ways = _told(ways)
    return ways.pop() if len(ways) == 1 else None


def _told(ways: set[Provenance | None]) -> set[Provenance | None]:
    """Ways without those that differ from another only in not saying the atlas's modality: older rows do not."""
    return ways - {replace(way, atlas_modality=None) for way in ways if way is not None and way.atlas_modality}


def atlases_in(out: Path) -> tuple[KnownAtlas, ...]:
    """The atlases to which the scans of a data directory were brought; one, unless somebody mixed them."""
    rows = [read_json(path) for path in (out / ROWS).glob("*/*.json") if path.name != SET_FILE]
    ways = _told({row_provenance(row) for row in rows if row is not None})
    found = {(way.atlas, way.atlas_sha256 or "", way.atlas_modality or "") for way in ways if way is not None}
    return tuple(KnownAtlas(f"the scans in {out}", name, sha, kind or None) for name, sha, kind in sorted(found))


def row_provenance(row: Mapping[str, Any]) -> Provenance | None:
    """How the scan of a row was prepared; None of a row that another version wrote."""
    try:
        steps = {step["step"]: step for step in row["recipe"]["steps"]}
        register, bias = steps[_REGISTER], steps[_BIAS]
        name, modality = str(register["atlas"]), register.get(_ATLAS_MODALITY)
        modality = MODALITIES.get(name) if modality is None else str(modality)
        return Provenance(name, str(register["atlas_sha256"]), len(bias["iterations"]), modality)
    except (KeyError, TypeError):
        return None


def _result_sha256(row: Mapping[str, Any]) -> Any:
    return row["results"].get(IMAGE, {}).get("sha256")


# --------------------------------------------------------------------------------------------------- the files of a set


@dataclass(frozen=True)
class _Job:
    """A set on its way into a data directory; all state is on disk."""

    info: DataSetInfo
    out: Path
    recipe: Recipe
    limits: ReadLimits

    @property
    def folder(self) -> Path:
        return self.out / ROWS / self.info.name

    def row_path(self, scan: str) -> Path:
        return self.folder / f"{scan}.json"

    def results(self, scan: str) -> dict[str, Path]:
        return {kind: scan_path(self.out, self.info, kind, scan) for kind in self.info.kinds}

    def claim(self) -> None:
        """Make the set's place, and refuse one that holds somebody else's scans.

        Raises:
            DataError: scans lie there that no `bench prepare` wrote.
        """
        place = self.out / self.info.folder
        if not self.folder.is_dir() and place.is_dir() and any(place.iterdir()):
            raise DataError(f"{place} holds files that were not prepared here; choose another --out")
        self.folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def held(self, raw: RawSet) -> Iterator[None]:
        """Hold the set's place for this process; nothing half-written is there when it begins or when it ends.

        Raises:
            DataError: another process holds it, or somebody else's scans lie there.
        """
        self.claim()
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / _LOCK, wait=False))
            except BlockingIOError as error:
                raise DataError(
                    f"another `bench prepare {self.info.name}` is writing to {self.out}; wait for it or stop it, then "
                    "try again"
                ) from error
            self.tidy(raw)
            stack.callback(self.tidy, raw)
            yield

    def tidy(self, raw: RawSet) -> None:
        """Remove temporary files, and results of this download's scans that have no row."""
        for place in (self.folder, *(self.out / self.info.folder / kind for kind in self.info.kinds)):
            remove_partials(place)
        for unpacked in self.folder.glob(f"{UNPACKED}*"):
            shutil.rmtree(unpacked, ignore_errors=True)
        for scan in raw.scans:
            if not self.row_path(scan.id).exists():
                self.forget(scan.id)

    def rows(self) -> dict[str, dict[str, Any]]:
        """All finished rows of the set by scan, in order."""
        return prepared_rows(self.out, self.info)

    def is_current(self, scan: RawScan) -> bool:
        """Whether this scan was prepared from these sources by this recipe and its files are still there."""
        row = read_json(self.row_path(scan.id))
        if row is None or not _is_same_recipe(row.get("recipe"), self.recipe.content()):
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
            _is_same(file, sources[kind], self.folder) for kind, file in files.items()
        )

    def used(self, scan: RawScan) -> dict[str, RawFile]:
        """The files of a scan that this recipe reads."""
        wanted = {IMAGE, SEGMENTATION if SEGMENTATION in self.info.kinds else IMAGE}
        if self.recipe.stripper.name == MASK_FILE:
            wanted.add(MASK)
        return {kind: file for kind, file in scan.files.items() if kind in wanted}

    def forget(self, scan: str) -> None:
        """Remove a scan's row, then its files."""
        self.row_path(scan).unlink(missing_ok=True)
        for path in self.results(scan).values():
            path.unlink(missing_ok=True)

    def strangers(self, raw: RawSet) -> tuple[str, ...]:
        """A note if scans of another download or recipe lie in the same place."""
        known = {scan.id for scan in raw.scans} | set(raw.incomplete)
        count = len(set(self.rows()) - known)
        return (f"{count} scans of an earlier download lie in {self.out / self.info.folder}, too",) if count else ()


def _is_same_recipe(found: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether a row was made so; one of an older version names neither file nor modality of its atlas."""
    try:
        older = [{key: value for key, value in step.items() if key not in _TOLD_LATER} for step in wanted["steps"]]
        pairs = zip(found["steps"], wanted["steps"], older, strict=True)
        same = all(step in (now, before) for step, now, before in pairs)
        return same and {**found, "steps": None} == {**wanted, "steps": None}
    except (KeyError, TypeError, ValueError):
        return False


def _is_same(file: RawFile, source: Mapping[str, Any], scratch: Path) -> bool:
    """Whether a source is what a row says; its content is hashed only if its date has changed."""
    if source.get("file") != str(file):
        return False
    try:
        if source.get("stamp") == _stamp(file):
            return True
        with file.opened(scratch) as path:
            return sha256_of(path) == source.get("sha256")
    except (OSError, DataError):
        return False  # it is read again, and what is wrong with it is said then


def _stamp(file: RawFile) -> list[int]:
    state = file.path.stat()
    stamp = [state.st_size, state.st_mtime_ns, file.offset, file.size]
    return stamp if file.voxels is None else [*stamp, *_stamp(file.voxels)]


# ------------------------------------------------------------------------------------------------------------ one scan


def _prepare_one(job: _Job, scan: RawScan) -> Failure | None:
    """Prepare and write a scan; None if it worked.

    Raises:
        OSError: the data directory or the temporary folder cannot be written, so no other scan can be either.
    """
    job.forget(scan.id)
    started = time.perf_counter()
    try:
        sources, volumes = _read(job, scan)
        read = time.perf_counter() - started
        prepared = prepare_scan(volumes, job.recipe.atlas, job.recipe.stripper, job.recipe.settings)
    except MemoryError:
        return Failure(scan.id, f"{scan.id} needs more memory than there is; start again with fewer --jobs")
    except (ValueError, RuntimeError, ArithmeticError, EOFError, IndexError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        return Failure(scan.id, text if scan.id in text else f"{scan.id}: {text}")
    try:
        _write(job, scan, sources, prepared, round(read, 3))
    except OSError:
        job.forget(scan.id)
        raise
    return None


@dataclass(frozen=True)
class _Sources:
    """What a row says of the files that a scan was made from: each by kind, and which masks hold fractions.

    `orientation`: where that of the image comes from, see `ScanHeader.orientation`.
    """

    files: Mapping[str, Any]
    fractional: tuple[str, ...]
    orientation: str


def _read(job: _Job, scan: RawScan) -> tuple[_Sources, RawVolumes]:
    """A scan's sources, for its row, and its volumes."""
    files = job.used(scan)
    if job.recipe.stripper.name == MASK_FILE and MASK not in files:
        raise DataError(f"no brain mask lies with {files[IMAGE]}; add it or choose another --skull-strip")
    sources: dict[str, Any] = {}
    orientation = ""
    read: dict[str, tuple[NDArray[np.float32], Grid]] = {}
    for kind, file in files.items():
        with file.opened(job.folder, job.limits.most_bytes) as path:
            read[kind] = _volume(file, path, job.limits)  # first, so that what is too large is not hashed
            sources[kind] = _identity(file, path)
            orientation = read_header(path, job.limits).orientation if kind == IMAGE else orientation
    image, grid = read[IMAGE]
    image_name = files[IMAGE].name.name
    labels = {
        kind: (as_mask(*read[kind], str(files[kind]), image_name, grid), read[kind][1])
        for kind in read
        if kind != IMAGE
    }
    lesions = labels.get(SEGMENTATION)
    if lesions is not None and not lesions[0].any():
        raise DataError(
            f"{files[SEGMENTATION]} marks no lesion, and a scan of {job.info.title} cannot be scored without; correct "
            "it or take the scan out of the download"
        )
    fractional = tuple(kind for kind in labels if _has_fractions(read[kind][0]))
    return _Sources(sources, fractional, orientation), RawVolumes(image, grid, labels.get(MASK), lesions)


def _identity(file: RawFile, path: Path) -> dict[str, Any]:
    """What a row says of a source.

    Raises:
        DataError: it cannot be read, which would else look like a failure of the data directory.
    """
    try:
        return {"file": str(file), "sha256": sha256_of(path), "stamp": _stamp(file)}
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{file} cannot be read ({reason}); check its permissions or copy it again") from error


def _has_fractions(values: NDArray[np.float32]) -> bool:
    return bool((np.abs(values - np.round(values)) > _FRACTION).any())


def _volume(file: RawFile, path: Path, limits: ReadLimits) -> tuple[NDArray[np.float32], Grid]:
    """Read a volume; a complaint names the file of the download, not its temporary copy."""
    try:
        return read_volume(path, limits)
    except DataError as error:
        text = str(error).replace(str(path), str(file))
        if file.voxels is not None:
            text = text.replace(str(scan_parts(path)[-1]), str(file.voxels))
        raise DataError(text) from error


def _write(job: _Job, scan: RawScan, sources: _Sources, prepared: PreparedScan, reading: float) -> None:
    """Write a scan's files, then its row."""
    started = time.perf_counter()
    arrays: dict[str, NDArray[Any]] = {IMAGE: prepared.image, MASK: prepared.brain}
    if prepared.lesions is not None:
        arrays[SEGMENTATION] = prepared.lesions
    results = {}
    for kind, path in job.results(scan.id).items():
        write_volume(path, arrays[kind], prepared.grid)
        where = path.relative_to(job.out).as_posix()
        results[kind] = {"file": where, "sha256": sha256_of(path), "bytes": path.stat().st_size}
    voxel_ml = prepared.grid.voxel_ml
    row = {
        "scan": scan.id,
        "sources": dict(sources.files),
        "fractional": list(sources.fractional),
        "orientation": sources.orientation,
        "results": results,
        "recipe": job.recipe.content(),
        "made_with": _versions(),
        "seconds": {"read": reading, **prepared.seconds, "write": round(time.perf_counter() - started, 3)},
        "registration": {
            "mutual_information": round(prepared.registration.mutual_information, 5),
            "mask_dice": round(prepared.registration.mask_dice, 5),
            "atlas_to_scan_mm": _plain(prepared.registration.to_scan),
        },
        "brain_ml": round(float(prepared.brain.sum()) * voxel_ml, 1),
        "lesions_ml": None if prepared.lesions is None else round(float(prepared.lesions.sum()) * voxel_ml, 3),
    }
    write_json(job.row_path(scan.id), row)


def _plain(matrix: Affine) -> list[list[float]]:
    return [[float(value) for value in line] for line in matrix]


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _LIBRARIES}}


# ------------------------------------------------------------------------------------------------------- many scans


def _run(job: _Job, scans: Sequence[RawScan], jobs: int) -> Generator[Failure | None, None, None]:
    """Prepare scans, here or in processes, in any order."""
    if jobs > 1 and len(scans) > 1:
        yield from _run_in_processes(job, scans, min(jobs, len(scans)))
        return
    with one_itk_thread():
        for scan in scans:
            yield _prepare_one(job, scan)


def _run_in_processes(job: _Job, scans: Sequence[RawScan], workers: int) -> Iterator[Failure | None]:
    try:
        yield from in_workers(partial(_prepare_one, job), scans, workers, _start_worker)
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died, probably for lack of memory; start again with fewer --jobs: what is done is kept"
        ) from error


def _start_worker() -> None:
    """Make a worker a good child: one thread, Ctrl-C left to the parent, and no life after the parent's death."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # read by torch if a learned skull stripper imports it
    be_a_good_child()


# ---------------------------------------------------------------------------------------------------- the whole set


def _write_ages(out: Path, raw: RawSet) -> tuple[str, ...]:
    """Write ages where a split of our own looks for them, and say so."""
    path = out / SPLITS_FOLDER / AGES
    added = add_ages(path, raw.ages)
    if added is None:
        return (f"{path} is no table of img_name and age, so the ages of this download are not added to it",)
    return (f"the ages of {added} scans are written to {path}",) if added else ()


def _write_summary(job: _Job, raw: RawSet, outcome: Outcome) -> None:
    """The set's failures and notes, then the manifest of all sets."""
    with (
        replacing(job.folder / FAILURES) as path,
        path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["scan", "reason"])
        writer.writerows((failure.scan, failure.reason) for failure in outcome.failures)
    summary = {
        "set": raw.info.name,
        "title": raw.info.title,
        "citation": raw.info.citation,
        "failures": [asdict(failure) for failure in outcome.failures],
        "registration_outliers": dict(outcome.outliers),
        "unplaced_files": list(raw.unplaced),
        "files_not_needed": raw.passed_over,
        "notes": list(outcome.notes),
    }
    write_json(job.folder / SET_FILE, summary)
    _write_manifest(job.out)


def _write_manifest(out: Path) -> None:
    """Gather all rows; processes that prepare other sets of the same directory take turns."""
    with locked(out / ROWS / _LOCK):
        remove_partials(out, MANIFEST)
        sets = []
        for path in sorted((out / ROWS).glob(f"*/{SET_FILE}")):
            rows = [read_json(row) for row in sorted(path.parent.glob("*.json")) if row.name != SET_FILE]
            sets.append({**(read_json(path) or {}), "scans": [row for row in rows if row is not None]})
        write_json(out / MANIFEST, {"format": _FORMAT, "sets": sets})


def _cannot_write(out: Path, error: OSError) -> DataError:
    where = error.filename or out
    return DataError(
        f"{where} cannot be written: {error.strerror or error}; make room or choose another --out, then start again: "
        "what is done is kept"
    )
