"""`bench compare`: two rows, volume by volume."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ...datasets.modality import Modality
from .completion import complete_method, complete_metric
from .options import RESULTS, DataOption, ModalityOption, PresetOption, ResultsOption, SeedOption, SetOption

_ROW = "A row, such as maediff, or FILE.py:CLASS."


def compare(
    first: Annotated[str, typer.Argument(help=_ROW, autocompletion=complete_method)],
    second: Annotated[str, typer.Argument(help="The row that it is compared with.", autocompletion=complete_method)],
    metric: Annotated[
        list[str],
        typer.Option(
            "--metric",
            help="dice, auprc, hd95, lesion_f1, … (bench list metrics shows all); may be repeated. Default: the "
            "paper's.",
            autocompletion=complete_metric,
        ),
    ] = [],  # noqa: B006
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="Of several versions of the data: the one whose fingerprint begins so.")
    ] = "",
    data: DataOption = "phantom",
    modality: ModalityOption = Modality.T2,
    preset: PresetOption = "demo",
    change: SetOption = [],  # noqa: B006
    seed: SeedOption = 0,
    results: ResultsOption = RESULTS,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say which of two rows is better: difference, interval, p, wins, ties and losses, by the volumes of each set."""
    from ..judgement.scan_numbers import known_metrics
    from ..plan.request import requested_preset
    from ..reports.console import make_console
    from ..reports.judged.asked import Asked, comparison_of, row_of
    from ..reports.judged.printed import as_json as json_of
    from ..reports.judged.printed import print_comparison
    from ..reports.results import load_results

    rows = (row_of(first), row_of(second))
    asked = Asked(
        first=first,
        second=second,
        preset=requested_preset(preset, change, rows),
        data=data,
        seed=seed,
        modality=modality,
        metrics=known_metrics(metric),
        fingerprint=fingerprint,
    )
    found = comparison_of(load_results(results).looked_at().records, asked)
    if as_json:
        print(json_of(found))
    else:
        print_comparison(found, make_console(sys.stdout))
