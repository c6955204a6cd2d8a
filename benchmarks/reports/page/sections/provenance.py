"""Where every number comes from: the command behind each row, its cells, versions, and the audit of the split."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from .....datasets.cohort import Data
from .....datasets.modality import Modality
from ....records.cost import cost_of
from ....records.record import DIGESTS, METRICS, SCORES, RunRecord
from ....records.record_files import Digests, read_as
from ...duration import duration
from ..html import Section, table_of_words
from ..study import Study, StudyRow

#: Letters of a hash that are shown.
_SHORT = 12
#: What an environment says that is no version of a library.
_FACTS = ("commit", "device", "machine", "threads", "started")


def provenance_section(study: Study, data: Data | None, why_not: str) -> Section:
    """Commands, cells, versions and the split.

    Args:
        study: the study.
        data: its data, where they can be opened; they know what the audit of the split found.
        why_not: a sentence that says why they cannot.
    """
    tables = (
        {"title": "The command behind every row", **table_of_words(("Method", "Command"), list(_commands(study)))},
        {"title": "Cells", **table_of_words(_CELL, list(_cells(study)))},
        {"title": "Machines and versions", **table_of_words(("What", "Which"), list(facts_of(study).items()))},
    )
    return Section(
        "provenance",
        "Where the numbers come from",
        "provenance.html.j2",
        lead=(
            "A cell is one row, one fold, one seed; its id is the hash of all that determines its numbers. Each of the "
            "cells below was found whole when this page was made: its files have the SHA-256 that it was finished "
            "with.",
        ),
        content={"tables": tables, "split": list(_split(study, data, why_not)), "page": command_of_page(study)},
    )


def command_of_page(study: Study) -> str:
    """The command that makes this page from the same records."""
    question = study.question
    which = question.suites[0].name.removeprefix("table") if len(question.suites) == 1 else "all"
    words = ["bench", "report", which, *_options(study, question.preset.changed)]
    if question.fingerprint:
        words += ["--fingerprint", question.fingerprint]
    if question.people:
        words += ["--people", str(question.people)]
    return shlex.join(words)


def _commands(study: Study) -> Iterator[tuple[str, str]]:
    for row in study.rows:
        yield row.title, _command(study, row)


def _command(study: Study, row: StudyRow) -> str:
    """What runs the cells of a row, or scores them again."""
    base, _, score = row.name.rpartition("+")
    words = (
        ["bench", "score", "--method", base, "--score", score]
        if row.entry.score
        else ["bench", "run", "--method", row.name]
    )
    folds = ["--folds", ",".join(map(str, row.cells["fold"]))]
    return shlex.join([*words, *folds, *_options(study, str(row.cells["changes"].iloc[-1]).split())])


def _options(study: Study, changes: Sequence[str]) -> list[str]:
    question = study.question
    modality = [] if question.modality is Modality.T2 else ["--modality", question.modality.value]
    changed = [word for change in changes for word in ("--set", change)]
    return [
        "--data",
        question.data,
        *modality,
        "--preset",
        question.preset.name,
        "--seed",
        str(question.seed),
        *changed,
    ]


_CELL = ("Cell", "Method", "Fold", "Commit", "Begun", "Took", "Data", "Numbers", "Computed by")


def _cells(study: Study) -> Iterator[tuple[str, ...]]:
    for row in study.rows:
        for cell, record in zip(row.cells.to_dict("records"), row.records, strict=True):
            yield (
                str(cell["id"]),
                row.title,
                str(cell["fold"]),
                str(cell["commit"]) or "unknown",
                str(cell["started"])[:16].replace("T", " "),
                _took(record),
                str(cell["fingerprint"])[:_SHORT],
                _digest(record),
                str(cell["origin"]) or "here",
            )


def _took(record: RunRecord) -> str:
    cost = cost_of(record)
    return duration(record.state.seconds if cost is None else cost.total)


def _digest(record: RunRecord) -> str:
    """The first letters of the SHA-256 of the cell's numbers and of its scores by volume."""
    digests: Digests | None = read_as(record.folder / DIGESTS, Digests)
    files = {} if digests is None else digests.files
    return "; ".join(f"{name} {files[name][:_SHORT]}" for name in (METRICS, SCORES) if name in files)


def numbers_of(record: RunRecord) -> tuple[tuple[str, float], ...]:
    """The numbers of a cell that do not tell how long it took, by name."""
    return tuple(sorted((name, value) for name, value in record.metrics.items() if "seconds" not in name))


def facts_of(study: Study) -> Mapping[str, str]:
    """Each fact of the cells' environments, and the version of the data; how many cells share one where they differ."""
    environments = [record.environment for row in study.rows for record in row.records]
    names = (*_FACTS[:3], *sorted({name for one in environments for name in one} - set(_FACTS)))
    facts = {name: _shared([one.get(name) or "unknown" for one in environments]) for name in names}
    return {**facts, "data": _shared([str(word)[:_SHORT] for word in study.cells["fingerprint"]])}


def _shared(words: Sequence[str]) -> str:
    counts = Counter(words)
    if len(counts) == 1:
        return words[0]
    return "; ".join(f"{value} ({count} cells)" for value, count in counts.most_common())


def _split(study: Study, data: Data | None, why_not: str) -> Iterator[str]:
    """What is known of the split, in sentences."""
    names = ", ".join(sorted({repr(name) for name in study.cells["splits"]}))
    yield f"Split: {names}; version of the data (SHA-256 of volumes and split): {study.cells['fingerprint'].iloc[0]}."
    if data is None:
        yield f"What its audit found is not known here: {why_not}"
        return
    healthy, lesion = data.splits.healthy_test, data.splits.lesion
    parts = [f"{len(fold.train)} train, {len(fold.val)} validate" for fold in data.splits.folds[:1]]
    yield (
        f"{data.healthy.title}: in the first of {len(data.splits.folds)} folds {parts[0]}; {len(healthy)} test. "
        + " ".join(
            f"{data.lesions[key].title}: threshold on {len(part.val)}, scores on {len(part.test)}."
            for key, part in lesion.items()
        )
    )
    findings = [str(one) for one in data.splits.findings]
    yield (
        f"The audit found, and the user accepted: {'; '.join(findings)}."
        if findings
        else "The audit found no scan and no person in two parts."
    )
    yield from data.splits.notes
