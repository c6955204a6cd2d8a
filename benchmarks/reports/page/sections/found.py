"""What is found, lesion by lesion: rates, operating points, false positives on healthy scans, healing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .....datasets.cohort import HEALTHY
from ....judgement.found import FOUND_TABLES
from ....plan.suite import Suite
from ...columns import found_suite
from ...table import PLAIN, Table, make_table
from ..html import Figure, Section
from ..study import SetOf, Study
from ..svg.axis import linear
from ..svg.plot import Plot
from ..svg.scatter import Named, named_points
from ..svg.strip import Strip, strip_plot
from .froc import froc_figure, row_frocs
from .tables import TableView, view_of

if TYPE_CHECKING:
    import pandas as pd


def found_section(
    study: Study, detections: pd.DataFrame, cells: pd.DataFrame, points: pd.DataFrame, missing: Sequence[str]
) -> Section:
    """Tables, FROC curves and operating points.

    Args:
        study: the study.
        detections: see `Results.detections`; may be empty.
        cells: the frame of cells with the numbers of `judgement.detection`.
        points: see `judgement.froc.froc_points`; may be empty.
        missing: sentences on cells that lack lesion-wise numbers or FROC.
    """
    if not len(detections):
        return Section(
            "lesions", "Lesion by lesion", lead=tuple(missing) or ("No cell of this study has lesion-wise numbers.",)
        )
    figures = [
        figure
        for one in study.lesion_sets
        for figure in (
            froc_figure(study, one, row_frocs(study, one, points, cells)),
            _operating_points(study, one, cells),
        )
        if figure is not None
    ]
    return Section(
        "lesions",
        "Lesion by lesion",
        "found.html.j2",
        lead=(
            "Lesions and marked components are connected by 26-neighbourhood and matched one to one by greatest "
            "overlap, at Dice 0.1 or more. All but the curves at the run's threshold, which was chosen on validation "
            "scans.",
            *missing,
        ),
        figures=tuple(figures),
        content={"tables": list(_views(study, cells))},
    )


def _views(study: Study, cells: pd.DataFrame) -> Iterator[TableView]:
    """The tables, each with the notes that stand neither below those of the study nor below one before it."""
    said = {note for table in study.tables for note in table.remarks}
    for table in found_tables(study, cells):
        yield view_of(table, said=said)
        said |= {*table.remarks}


def found_tables(study: Study, cells: pd.DataFrame) -> Iterator[Table]:
    """The tables of what was found, of all rows of the study at once."""
    question = study.question
    suite = Suite("study", "Study: of all rows", tuple(row.entry for row in study.rows))
    for found in FOUND_TABLES:
        further = found_suite(suite, found)
        table = make_table(
            further,
            cells,
            question.preset,
            str(cells["data"].iloc[0]),
            question.seed,
            modality=question.modality,
            options=PLAIN,
            notes=(found.note,),
        )
        title = table.title.partition(": ")[2]
        yield replace(table, title=title[:1].upper() + title[1:])


def healthy_section(study: Study, detections: pd.DataFrame) -> Section | None:
    """What is marked in healthy test scans, where nothing should be; None without detections."""
    healthy = detections[detections["set"] == HEALTHY] if len(detections) else detections
    if not len(healthy):
        return None
    figures = [figure for one in study.lesion_sets for figure in _false_volumes(study, one, healthy)]
    return Section(
        "healthy",
        "In healthy scans",
        lead=(
            "Millilitres that a row marks in each healthy test scan at the run's threshold of a lesion set, folds "
            "averaged first: every one of them is a false alarm.",
        ),
        figures=tuple(figures),
    )


def _operating_points(study: Study, one: SetOf, cells: pd.DataFrame) -> Figure | None:
    """Lesions found against false components, each row at its own threshold."""
    named = []
    for row in study.rows:
        own = cells[cells["id"].isin(row.cells["id"])]
        recall, false = (own.get(f"{one.key}/{name}") for name in ("lesion_recall", "false_per_scan"))
        if recall is None or false is None or not recall.notna().any():
            continue
        style = "front" if row.competes else "behind"
        named.append(Named(row.title, float(false.mean()), 100 * float(recall.mean()), style, not row.competes))
    if not named:
        return None
    plot = Plot(
        linear("false components per scan", [point.x for point in named], zero=False),
        linear("lesions found (%)", [point.y for point in named], zero=False),
        height=320,
    )
    says = f"lesions found against false components per scan, {one.title}"
    return Figure(
        plot.svg([named_points(plot, named)], says),
        "Each row at its own threshold; up and to the left is better.",
        f"{one.title}: operating points",
    )


def _false_volumes(study: Study, one: SetOf, healthy: pd.DataFrame) -> Iterator[Figure]:
    own = healthy[healthy["at"] == one.key]
    own = own.assign(found_ml=own["found_ml"].astype(float))
    if not len(own):
        return
    means = own.pivot_table(index="subject", columns="place", values="found_ml")
    strips = []
    for row in study.rows:
        if row.place in means:
            values = means[row.place].to_numpy(dtype=float)
            mean = float(np.nanmean(values))
            said = f"{mean:.1f} ml"
            strips.append(Strip(row.title, values, mean, np.nan, np.nan, said, not row.competes))
    picture = strip_plot(
        strips, "marked in a healthy scan (ml)", f"false volume in healthy scans at the threshold of {one.title}"
    )
    yield Figure(picture, f"{len(means)} healthy scans.", f"At the threshold of {one.title}")
