"""Whether a record that has arrived may join those that are here: what it says of itself, and the data behind both."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ...datasets.modality import Modality
from ...files import sha256_of_file
from ...registry import is_name
from ..plan.cell import PROTOCOL_VERSION, Recipe
from ..plan.cell_id import digest
from ..plan.own import FILE_SOURCE
from ..plan.plan import Plan
from ..records.detections import HISTOGRAMS
from ..records.record import BEST, COVERED, DIGESTS, ENVIRONMENT, RecordWarning, RunRecord, all_records
from ..records.record_files import CellConfig, Digests, RecordError, file_digest, read_as
from ..reports.cells import IDENTITY, RECORDED
from .contents import ListedCell, fault_of_words, label_of

_SHOWN = 12  # letters of a fingerprint
_ANY_DATE = "2000-01-01"


def check_record(record: RunRecord, listed: ListedCell) -> CellConfig:
    """See that a record is whole, of this protocol, and what its list, its folder and its id say that it is.

    Args:
        record: in a folder of the cell's name, whose files are those that were sent.
        listed: what the list says.

    Raises:
        RecordError: it is not; the sentence begins with the cell's name.
    """
    name = listed.label
    config = record.config
    if listed.protocol != PROTOCOL_VERSION or config.content.get("protocol") != PROTOCOL_VERSION:
        raise RecordError(
            f"{name} was made by version {config.content.get('protocol')!r} of the protocol and this is version "
            f"{PROTOCOL_VERSION}: its numbers do not compare; both sides need the same version of uadbench"
        )
    problem = record.problem() or contradiction(config, listed) or _odd_files(record)
    if problem:
        raise RecordError(f"{name} {problem}")
    _read_all(record)
    return config


def contradiction(config: CellConfig, listed: ListedCell) -> str:
    """What a record says of itself in two ways, in words that follow its name."""
    if (config.cell, config.fingerprint) != (listed.cell, listed.fingerprint):
        return "is not the cell that the list says it is (its id or the fingerprint of its data is another)"
    names = (config.method, *config.row.split("+"))  # of a row by another score, "ae+ssim"
    if not all(map(is_name, names)) or label_of(config) != listed.label:
        return f"is not the cell of its folder's name, but {ascii(label_of(config))[:100]}"
    if digest(config.content) != config.recipe:
        return "bears the id of another recipe than its own"
    if _content(config) != config.content:
        return "bears an id that was not made of its own numbers (plan, method, seed and modality)"
    if not 0 <= config.fold < config.folds:
        return f"is fold {config.fold} of {config.folds}"
    return _odd_words(config)


def _content(config: CellConfig) -> Mapping[str, Any] | None:
    """What the id should be made of by the plan that is shown; None where the plan is none."""
    try:
        plan, modality = Plan.of_record(config.plan), Modality(config.modality)
    except (ValueError, TypeError, AttributeError):
        return None
    source = str(config.content.get("source", ""))
    return Recipe(config.method, plan, config.seed, config.trainable, source, modality).content()


def _odd_words(config: CellConfig) -> str:
    """A name that is none, or a word that cannot be shown."""
    names = [word for word in config.cohorts if not is_name(word)]
    if names:
        return f"calls a set {ascii(names[0])[:40]}, which is no name"
    titles = [word for cohort in config.cohorts.values() for word in (cohort.name, cohort.title)]
    shown = (config.title, config.preset, config.data, config.data_title, config.splits, *titles)
    bad = fault_of_words(*shown, *config.changed, *config.departures)
    return f"calls something {bad}, which is no line of text" if bad else ""


def _odd_files(record: RunRecord) -> str:
    """A file that the digests do not vouch for and should, or a method's text that is not the one that was run."""
    digests: Digests | None = read_as(record.folder / DIGESTS, Digests)
    vouched = {} if digests is None else digests.files
    for name in COVERED:
        if (record.folder / name).exists() and name not in vouched:
            return f"brings a file that {DIGESTS} does not vouch for, {name}"
    if (record.folder / BEST).exists() and sha256_of_file(record.folder / BEST) != vouched[BEST]:
        return "brings weights that are not those that it was finished with"
    source, text = str(record.config.content.get("source", "")), record.method_file
    if source.startswith(FILE_SOURCE) != text.exists():
        return f"brings {'a' if text.exists() else 'no'} {text.name}, and {'none' if text.exists() else 'one'} was run"
    if text.exists() and FILE_SOURCE + sha256_of_file(text) != source:
        return f"brings a {text.name} that is not the one that was run"
    return ""


def _read_all(record: RunRecord) -> None:
    """Read every file as what it should be.

    Raises:
        RecordError: one is something else.
    """
    try:
        record.untrained, record.score_state  # noqa: B018
        words = [*record.environment.keys(), *record.environment.values(), *record.metrics, *record.thresholds]
        words += [record.state.weights_from or ""]
        scores = record.scores()
        record.history()
    except RecordError as error:
        raise RecordError(f"{record.folder.name} is damaged: {error}") from error
    bad = fault_of_words(*words, *(word for line in scores for word in (line.cohort, line.role, line.subject)))
    if bad:
        raise RecordError(f"{record.folder.name} holds {bad}, which is no line of text")
    check_detection(record)
    odd = [name for name in record.metrics if _hides_a_column(name)]
    if odd:
        raise RecordError(f"{record.folder.name} calls a number {odd[0][:40]!r}, which is the name of something else")
    try:
        datetime.fromisoformat(record.environment.get("started", "") or _ANY_DATE)
    except ValueError as error:
        raise RecordError(f"{record.folder.name} was begun at no time that is one ({ENVIRONMENT}: started)") from error


def check_detection(record: RunRecord) -> None:
    """Read what was found in test volumes as what it should be.

    Raises:
        RecordError: it is something else.
    """
    files, name = record.detection, record.folder.name
    try:
        problem, config = files.problem(), files.config
        words = {word for line in files.volumes() for word in (line.cohort, line.role, line.subject)}
        words |= {word for line in files.lesions() for word in (line.cohort, line.role, line.subject)}
        words |= {word for line in files.froc() for word in (line.cohort, line.role, line.subject)}
        words |= {word for line in files.histograms() for word in (line.cohort, line.role, line.subject)}
    except RecordError as error:
        raise RecordError(f"{name} is damaged: {error}") from error
    bad = fault_of_words(*words, *(() if config is None else config.thresholds))
    if problem or bad:
        raise RecordError(f"{name} {problem or f'holds {bad}, which is no line of text'}")
    if HISTOGRAMS in (known := record.digests) and file_digest(record.folder / HISTOGRAMS) != known[HISTOGRAMS]:
        raise RecordError(f"{name} brings a {HISTOGRAMS} that is not the one that it was finished with")


def _hides_a_column(metric: str) -> bool:
    """Whether a number would take the place of what a table knows a cell or a set by."""
    return metric in (*IDENTITY, *RECORDED) or metric.rpartition("/")[2] in ("cohort", "title")


@dataclass(frozen=True)
class DataHere:
    """The data that finished cells of a results folder were computed on.

    Attributes:
        fingerprints: by what the data are called and how they were prepared, those that are here.
    """

    fingerprints: Mapping[tuple[str, ...], frozenset[str]]

    @classmethod
    def of(cls, runs: Path, but: frozenset[str]) -> DataHere:
        """The data behind the finished cells under a folder of runs.

        Args:
            runs: the folder.
            but: names of cells that do not count.
        """
        found: dict[tuple[str, ...], frozenset[str]] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecordWarning)  # `bench list runs` says what is wrong with others
            for record in all_records(runs):
                if record.folder.name not in but and (record.folder / DIGESTS).exists():
                    key = _data_of(record.config)
                    found[key] = found.get(key, frozenset()) | {record.config.fingerprint}
        return cls(found)

    def check(self, config: CellConfig, name: str) -> None:
        """See that a cell was computed on the data that are here, if any are.

        Raises:
            RecordError: it was computed on others.
        """
        here = self.fingerprints.get(_data_of(config), frozenset())
        if here and config.fingerprint not in here:
            shown = ", ".join(sorted(one[:_SHOWN] for one in here))
            raise RecordError(
                f"{name} was computed on other data: {config.data_title} has the fingerprint "
                f"{config.fingerprint[:_SHOWN]} there and {shown} here, and no table mixes them; import it into a "
                "results folder of its own (--results)"
            )


def _data_of(config: CellConfig) -> tuple[str, ...]:
    """What two cells on the same data have in common, but for the fingerprint."""
    preparation = digest({"preparation": config.content.get("preparation")})
    return config.data, config.data_title, config.modality, config.splits, preparation
