"""The price: what a point of Dice costs in seconds, arithmetic and memory, and which rows are not beaten in both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from ....judgement.front import PRICES, FrontPoint, front, front_sentence
from ....judgement.measures import METRICS
from ..html import Figure, Section
from ..study import SetOf, Study
from ..svg.axis import linear, logarithmic
from ..svg.marks import line
from ..svg.plot import Plot
from ..svg.scatter import Named, named_points
from .tables import cost_view_of


def price_section(study: Study) -> Section:
    """A figure per lesion set and price."""
    figures, sentences = [], []
    for one in study.lesion_sets:
        for price in PRICES:
            points = _front(study, one, price)
            if len(points) > 1:
                figures.append(_figure(one, price, points))
                sentences.append(f"{one.title}. {front_sentence(points, price)}")
    views = [view for table in study.tables if (view := cost_view_of(table)).groups]
    lead = (
        "A row is on the front (large dots, joined) where no other reaches as high a mean DICE at a lower price. "
        "Seconds and memory were measured and compare on one machine alone; GFLOP are counted."
        if figures
        else "The records of these rows hold no bill, or there is but one row."
    )
    return Section(
        "price",
        "At what price",
        lead=(lead,),
        figures=tuple(figures),
        notes=(*sentences, *_machines(study)),
        content={"views": views},
    )


def _front(study: Study, one: SetOf, price: str) -> tuple[FrontPoint, ...]:
    competing = [row for row in study.rows if row.competes]
    ids = {cell for row in competing for cell in row.cells["id"]}
    cells = study.cells[study.cells["id"].isin(ids)]
    if not len(cells) or price not in cells:
        return ()
    titles = {cell: row.title for row in competing for cell in row.cells["id"]}
    return tuple(
        point
        for point in front(cells.assign(title=cells["id"].map(titles)), f"{one.key}/dice", price)
        if point.price > 0
    )


def _figure(one: SetOf, price: str, points: Sequence[FrontPoint]) -> Figure:
    metric = METRICS["dice"]
    plot = Plot(
        logarithmic(PRICES[price], [point.price for point in points]),
        linear(f"mean {metric.label} ({metric.unit})", [metric.scale * point.gain for point in points], zero=False),
        height=320,
    )
    named = [
        Named(
            point.title,
            point.price,
            metric.scale * point.gain,
            "front" if point.on_front else "behind",
            not point.on_front,
        )
        for point in points
    ]
    says = f"mean {metric.label} on {one.title} against {PRICES[price]}"
    return Figure(
        plot.svg([_stairs(plot, named), named_points(plot, named)], says), "", f"{one.title}, {PRICES[price]}"
    )


def _stairs(plot: Plot, named: Sequence[Named]) -> Markup:
    """The front as stairs: what is reached at most for a price."""
    on = sorted((one.x, one.y) for one in named if not one.faint)
    steps = [
        (x, y) for place, (x, y) in enumerate(on) for x, y in ([(x, on[place - 1][1])] if place else []) + [(x, y)]
    ]
    return line(plot.across([x for x, _ in steps]), plot.up([y for _, y in steps]), "stairs")


def _machines(study: Study) -> Iterator[str]:
    devices = sorted({str(word) for word in study.cells["cost/device"].dropna() if word})
    if devices:
        yield f"Measured on: {'; '.join(devices)}."
    if len(devices) > 1:
        yield "These are several machines: seconds and memory of rows from different ones do not compare."
