"""`bench reproduce`: ours beside the paper's, with a verdict per figure and an exit code for the whole."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ...datasets.modality import Modality
from ..reports.console import make_console
from .options import RESULTS, DataOption, ModalityOption, PresetOption, ResultsOption, SeedOption, SetOption

#: Of a figure that is not reproduced; 2 is that of what the user can mend.
_FAILED = 1


def reproduce(
    which: Annotated[str, typer.Argument(help="table1 or table2.")],
    form: Annotated[str, typer.Option("--format", help="rich, markdown, csv or json.")] = "rich",
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="Of several versions of the data: the one whose fingerprint begins so.")
    ] = "",
    data: DataOption = "phantom",
    modality: ModalityOption = Modality.T2,
    preset: PresetOption = "paper",
    change: SetOption = [],  # noqa: B006
    seed: SeedOption = 0,
    results: ResultsOption = RESULTS,
) -> None:
    """Hold a table of ours against the paper's; exit code 1 where a figure is not reproduced.

    A verdict is given on the paper's sets with the published splits alone.
    """
    from ..plan.request import requested_preset
    from ..reports.judged.reproduction import reproduction_of
    from ..reports.renderers.reproduction import print_reproduction
    from ..reports.results import load_results

    records = load_results(results).looked_at()
    cells = records.to_dataframe()
    found = reproduction_of(
        which,
        cells[cells["done"].astype(bool)],
        records.volumes(),
        requested_preset(preset, change, (), alone=False),
        data,
        seed=seed,
        modality=modality,
        fingerprint=fingerprint,
    )
    print_reproduction(found, form, make_console(sys.stdout))
    if found.failed:
        raise typer.Exit(_FAILED)
