"""Views of the experiment that MLflow's pages open by a link: methods side by side, and their curves.

MLflow keeps the state of its page of runs as JSON in a tag of the experiment, and a link names it ("share"). Left to
itself the page shows no number in its list and begins its charts with whatever prefix comes first in the alphabet. The
format is MLflow's own affair: a version that does not understand it says so and shows its usual page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..names import HISTORY
from ..tags import KIND, PARENT, TAG_LENGTH

#: Of the columns of the paper, a method a bar; and of the curves, a method a line.
VIEW, CURVES = "uadbench", "uadbench-curves"
VIEW_TAG, CURVES_TAG = (f"mlflow.sharedViewState.{view}" for view in (VIEW, CURVES))
_COLUMNS = "columns"
_RUNS = 20  # in a chart


def view_state(names: Iterable[str]) -> str:
    """The state of the page that shows parents by these metrics; as many as a tag has room for.

    Args:
        names: of metrics, in their order.
    """
    chosen = list(dict.fromkeys(names))
    while len(text := _text(_columns(chosen))) > TAG_LENGTH:
        chosen.pop()
    return text


def curves_state() -> str:
    """The state of the page that shows the curves of all folds, those in training, too, as means by parent."""
    line = {"xAxisKey": "step", "lineSmoothness": 0, "useGlobalLineChartConfig": False}
    charts = [{**_chart("LINE", name, name), "selectedMetricKeys": [name], **line} for name in HISTORY]
    by_parent = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": PARENT}]}
    return _text(_state("fold", charts, [_section(name, name, 1) for name in HISTORY], groupBy=by_parent))


def names_in(text: str) -> tuple[str, ...]:
    """The metrics of a state that `view_state` made; none where somebody else made it."""
    try:
        charts = json.loads(text)["compareRunCharts"]
        return tuple(str(chart["metricKey"]) for chart in charts if chart["metricSectionId"] == _COLUMNS)
    except (ValueError, TypeError, LookupError):
        return ()


def _columns(names: list[str]) -> dict[str, Any]:
    """Parents alone: a line through all columns per method, and a bar per method and column."""
    lines = {**_chart("PARALLEL", "", "lines"), "selectedParams": ["row"], "selectedMetrics": names}
    bars = [_chart("BAR", name, _COLUMNS) for name in names]
    sections = [_section("lines", "All columns at once", 1), _section(_COLUMNS, "Column by column", 3)]
    return _state("parent", [lines, *bars], sections, selectedColumns=[f"metrics.`{name}`" for name in names])


def _state(
    kind: str, charts: Sequence[Mapping[str, Any]], sections: Sequence[Mapping[str, Any]], **changes: Any
) -> dict[str, Any]:
    """All that MLflow wants to know of a page of runs.

    Args:
        kind: of the runs that it shows.
        charts: in their order.
        sections: of charts.
        changes: of what is said here.
    """
    return {
        "selectedColumns": [],
        "columnOrder": [],
        "columnWidths": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": f"FIRST_{_RUNS}_RUNS",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "searchFilter": f"tags.`{KIND}` = '{kind}'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        **changes,
    }


def _section(key: str, name: str, cards_in_a_row: int) -> dict[str, Any]:
    return {"uuid": key, "name": name, "display": True, "isReordered": False, "columns": cards_in_a_row}


def _chart(kind: str, metric: str, section: str) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": f"{section}-{metric}",
        "runsCountToCompare": _RUNS,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": True,
        "metricKey": metric,
    }


def _text(state: Mapping[str, Any]) -> str:
    return json.dumps(state, separators=(",", ":"))
