"""What there is: methods, scores, metrics, presets, data sources, runs."""

from __future__ import annotations

from pathlib import Path

from rich.table import Column, Table

from ...datasets.registry import data_sets
from ...datasets.store.arrays import MANIFEST
from ...datasets.store.store import VolumeStore
from ...errors import DataError, UserError
from ...methods import card_rows
from ..judgement.scan_numbers import COMPARABLE
from ..plan.preset import Preset, load_preset, preset_names
from ..plan.suite import suites_by_row
from ..records.record import DIGESTS, RunRecord, all_records
from ..records.record_files import RecordError


def listing(what: str, results: Path) -> Table:
    """The table that `bench list WHAT` prints.

    Raises:
        UserError: there is no such list.
    """
    lists = {
        "methods": _methods,
        "scores": _scores,
        "metrics": _metrics,
        "presets": _presets,
        "data-sets": _data_sets,
        "data": _data,
        "runs": _runs,
    }
    if what not in lists:
        raise UserError(f"bench list {what}: choose one of {', '.join(lists)}")
    return lists[what](results)


def markdown_listing(what: str, preset: Preset) -> str:
    """What `bench list methods --markdown` prints, README's table of methods.

    Raises:
        UserError: another list is asked for.
    """
    from ..speed.catalogue import methods_markdown

    if what != "methods":
        raise UserError(f"bench list {what} --markdown: only methods are listed as Markdown; leave --markdown out")
    return methods_markdown(preset)


def _methods(results: Path) -> Table:
    table = Table("row", "title", "method", "suite", "citation", title="Methods")
    suites = suites_by_row()
    for name, (card, row) in card_rows().items():
        table.add_row(name, row.title, card.info.name, ", ".join(suites.get(name, ())), card.info.citation)
    return table


def _scores(results: Path) -> Table:
    from ...metrics.scores import scores

    table = Table("score", "title", "citation", title="Scores")
    for name, cls in scores().items():
        table.add_row(name, cls.info.title, cls.info.citation)
    return table


def _metrics(results: Path) -> Table:
    """What `bench compare` takes."""
    name = Column("--metric", no_wrap=True)
    table = Table(name, "what", "unit", "better", "of", title="Numbers of a scan, for bench compare --metric")
    scans = {"lesion": "lesion scans", "healthy": "healthy scans", "healthy at": "healthy scans, at a set's threshold"}
    for word, metric in COMPARABLE.items():
        way = "neither" if metric.higher is None else "higher" if metric.higher else "lower"
        table.add_row(word, metric.label, metric.unit or "ratio", way, scans[metric.scans])
    return table


def _presets(results: Path) -> Table:
    table = Table("preset", "what it is", "departures from the paper", title="Presets")
    for name in preset_names():
        preset = load_preset(name)
        table.add_row(name, preset.summary, "\n".join(preset.departures) or "none")
    return table


def _data_sets(results: Path) -> Table:
    table = Table("name", "title", "role", "key", "modalities", "ask at", title="Data sets that bench prepare knows")
    for data_set in data_sets().values():
        words = ", ".join(data_set.modalities)
        table.add_row(data_set.name, data_set.title, data_set.role, data_set.key, words, data_set.source)
    return table


def _data(results: Path) -> Table:
    """Built volume stores."""
    table = Table("store", "volumes", "MiB", title=f"Volume stores under {results / 'data'}")
    for manifest in sorted((results / "data").rglob(MANIFEST)):
        folder = manifest.parent
        name = folder.relative_to(results / "data")
        if any(part.endswith((".partial", ".old")) for part in name.parts):
            continue
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) / 2**20
        try:
            count = str(len(VolumeStore.open(folder).ids))
        except DataError as error:
            count = f"damaged: {error}"
        table.add_row(str(name), count, f"{size:.0f}")
    return table


def _runs(results: Path) -> Table:
    names = (Column("cell", overflow="fold", min_width=14), Column("parent", no_wrap=True, min_width=12))  # for --run
    table = Table(
        *names, "row", "data", "modality", "preset", "fold", "seed", "status", title=f"Runs under {results / 'runs'}"
    )
    for record in all_records(results / "runs"):
        config = record.config
        table.add_row(
            record.folder.name,
            config.recipe,
            config.title,
            config.data_title,
            config.modality,
            config.preset_title,
            str(config.fold),
            str(config.seed),
            _status(record),
        )
    return table


def _status(record: RunRecord) -> str:
    """How far a cell is; of one that was finished and is not whole any more, why."""
    if record.done:
        return "done"
    if (record.folder / DIGESTS).exists():
        return record.problem()
    try:
        status = record.state.status
    except RecordError as error:
        return f"damaged: {error}"
    return "scoring" if status == "done" else status  # of an older version, or stopped before the digests were written
