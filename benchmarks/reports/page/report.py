"""`bench report`: from a results folder to one file of HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ....datasets.cohort import Data
from ....errors import UserError
from ....files import write_text
from ...judgement.detection import detection_numbers, with_detection
from ...judgement.people import people_in
from ..results import Results
from .html import Page, Section, render
from .judged import judge
from .sections.curves import curves_section, first_cells
from .sections.downloads import downloads_section
from .sections.found import found_section, healthy_section
from .sections.gallery import gallery_section
from .sections.pairs import pairs_section
from .sections.price import price_section
from .sections.provenance import provenance_section
from .sections.reproduced import reproduced_section
from .sections.strata import strata_section
from .sections.tables import tables_section
from .sections.training import training_section
from .sections.verdict import verdict_section
from .sections.volumes import volume_data, volumes_section
from .study import Question, Study, study_of, with_rows_named
from .viewer import Viewer

if TYPE_CHECKING:
    import pandas as pd

#: Opens the data of a version, by its fingerprint, without preparing any.
Open = Callable[[str], Data]
#: Bytes of a report at most: what a mail still takes.
MOST_BYTES = 15_000_000


@dataclass(frozen=True, eq=False)
class Source:
    """What a results folder knows beside its records.

    Attributes:
        data: the data of the study, opened where they lie; None where they cannot be.
        why_not: a sentence that says why they cannot; "" where they can.
        people: whom the scans show, see `judgement.people`.
    """

    data: Data | None
    why_not: str
    people: pd.DataFrame


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        size: bytes.
        note: why it has no 3-D view though one was asked for; "" else.
    """

    size: int
    note: str


def write_report(
    results: Results,
    question: Question,
    path: Path,
    *,
    folder: Path,
    open_data: Open,
    viewer: Viewer | None = None,
) -> Written:
    """Write the report of a study.

    Args:
        results: the run records.
        question: which study.
        path: the file; written whole or not at all.
        folder: the results folder; its volume stores know ages and sites.
        open_data: opens the data of the runs; raises a `UserError` where they are not at hand, and what needs them is
            left out, with that sentence.
        viewer: shows the gallery's volumes in 3-D; left out, with a sentence, where the page gets too large.

    Raises:
        UserError: there is nothing to report, the table of persons cannot be read, or the file cannot be written.
    """
    study = study_of(results, question)
    page, text = rendered(page_of(study, source_of(study, folder, open_data), viewer))
    write_text(path, text)
    return Written(len(text.encode()), page.no_viewer)


def rendered(page: Page) -> tuple[Page, str]:
    """A page and its text: without its viewer where there is nothing for it to show, or no room."""
    if page.viewer is None:
        return page, render(page)
    if not any(case.solid for section in page.sections for case in section.content.get("cases", ())):
        bare = replace(page, viewer=None, no_viewer="There is no 3-D view, since no volume is shown here.")
        return bare, render(bare)
    text = render(page)
    size = len(text.encode())
    if size <= MOST_BYTES:
        return page, text
    why = (
        f"There is no 3-D view: with it this page would have {size / 1e6:.1f} MB, more than the "
        f"{MOST_BYTES / 1e6:.0f} MB that a report may have."
    )
    bare = replace(page, viewer=None, no_viewer=why)
    return bare, render(bare)


def source_of(study: Study, folder: Path, open_data: Open) -> Source:
    """What a results folder, and the table of persons, know beside the records.

    Raises:
        UserError: the table cannot be read, see `judgement.people`.
    """
    people = people_in(folder / "data", study.question.people, study.volumes[["cohort", "subject"]].drop_duplicates())
    try:
        return Source(open_data(str(study.cells["fingerprint"].iloc[0])), "", people)
    except UserError as error:
        return Source(None, f"The data of these runs are not at hand: {error}.", people)


def page_of(study: Study, source: Source, viewer: Viewer | None = None) -> Page:
    """The report of a study before it is rendered."""
    return Page(
        title="Unsupervised anomaly detection in brain MRI",
        conditions=study.tables[0].caption,
        banner=banner_of(study),
        made=made_now(),
        sections=sections_of(study, source, in_3d=viewer is not None),
        data=volume_data(study),
        viewer=viewer,
    )


def sections_of(study: Study, source: Source, *, in_3d: bool = False) -> tuple[Section, ...]:
    """From top to bottom; what a study knows nothing of is left out, or says so."""
    judgements = judge(study)
    detections = with_rows_named(study.results.detections(), study.rows)
    points = study.results.froc_points()
    cells = with_detection(study.cells, detection_numbers(detections, study.results.lesions(), points=points))
    missing = tuple(filter(None, (study.results.without_detection(), study.results.without_froc())))
    first = first_cells(study)
    histograms = Results(tuple(row.records[0] for row in study.rows)).histograms() if first else iter(())
    sections = (
        verdict_section(study, judgements),
        tables_section(study),
        pairs_section(study, judgements),
        volumes_section(study, judgements),
        found_section(study, detections, cells, points, missing),
        curves_section(study, histograms),
        healthy_section(study, detections),
        strata_section(study, detections, source.people),
        price_section(study),
        reproduced_section(study),
        training_section(study),
        gallery_section(study, source.data, source.why_not, in_3d=in_3d),
        provenance_section(study, source.data, source.why_not),
        downloads_section(study),
    )
    return tuple(section for section in sections if section is not None)


def made_now() -> str:
    """When and by what a page was made."""
    return f"Made by uadbench {version('uadbench')} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."


def banner_of(study: Study) -> str:
    """What must be known before a number is read; "" where nothing must."""
    simulated = [one.title.removeprefix("phantom ") for one in study.sets if one.simulated]
    if not simulated:
        return ""
    which = "all sets" if len(simulated) == len(study.sets) else f"these sets ({', '.join(simulated)})"
    return (
        f"The brains of {which} are simulated, no patients. These figures show that the machinery works; they say "
        "nothing about real scans and are no evidence for or against a method."
    )
