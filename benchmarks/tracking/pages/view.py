"""A view of the experiment that MLflow's pages open by a link: methods side by side, the columns of the paper first.

MLflow keeps the state of its page of runs as JSON in a tag of the experiment, and a link names it ("share"). Left to
itself the page shows no number in its list and begins its charts with whatever prefix comes first in the alphabet. The
format is MLflow's own affair: a version that does not understand it says so and shows its usual page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..tags import KIND, TAG_LENGTH

VIEW = "uadbench"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
_CURVES = ("val_loss", "train_loss")
_RUNS = 20  # in a chart


def view_state(names: Iterable[str]) -> str:
    """The state of the page for these metrics; as many as a tag has room for.

    Args:
        names: of metrics, in their order.
    """
    chosen = list(dict.fromkeys(names))
    while len(text := json.dumps(_state(chosen), separators=(",", ":"))) > TAG_LENGTH:
        chosen.pop()
    return text


def names_in(text: str) -> tuple[str, ...]:
    """The metrics of a state that `view_state` made; none where somebody else made it."""
    try:
        charts = json.loads(text)["compareRunCharts"]
        return tuple(str(chart["metricKey"]) for chart in charts if chart["metricSectionId"] == "columns")
    except (ValueError, TypeError, LookupError):
        return ()


def _state(names: list[str]) -> dict[str, Any]:
    lines = {**_chart("PARALLEL", "", "lines"), "selectedParams": ["row"], "selectedMetrics": names}
    columns = [_chart("BAR", name, "columns") for name in names]
    curves = [{**_chart("LINE", name, "curves"), "selectedMetricKeys": [name], "xAxisKey": "step"} for name in _CURVES]
    sections = (("lines", "All columns at once"), ("columns", "Column by column"), ("curves", "Curves"))
    return {
        "selectedColumns": [f"metrics.`{name}`" for name in names],
        "columnOrder": [],
        "columnWidths": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": f"FIRST_{_RUNS}_RUNS",
        "compareRunCharts": [lines, *columns, *curves],
        "compareRunSections": [
            {"uuid": key, "name": name, "display": True, "isReordered": False} for key, name in sections
        ],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "searchFilter": f"tags.`{KIND}` = 'parent'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
    }


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
