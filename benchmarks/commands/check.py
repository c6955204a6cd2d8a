"""`bench check`: can these data be trusted?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ...datasets.modality import Modality
from ...stopping import end_quickly, exit_code
from ..reports.console import make_console
from .options import DataSetOption, MaxVoxelsOption, ModalityOption, SplitsOption


def check(
    directory: Annotated[Path, typer.Argument(help="The data directory, as for --data.", show_default=False)],
    figure: Annotated[Path | None, typer.Option("--figure", help="Draw a contact sheet to this PNG, too.")] = None,
    splits: SplitsOption = None,
    modality: ModalityOption = Modality.T2,
    data_set: DataSetOption = [],  # noqa: B006
    jobs: Annotated[int, typer.Option("--jobs", min=0, max=1024, help="Processes, 0.5 GB each; 0: one per core.")] = 0,
    max_voxels: MaxVoxelsOption = None,
) -> None:
    """Look at every scan, mask and segmentation of a data directory and at its split: can a run be trusted?

    Exit code 0, or 2 with the reasons.
    """
    from ...cores import usable_cores
    from ...datasets.check.check import check_directory
    from ...datasets.scans.scan_header import usual_limits
    from ..engine.progress import RichReporter
    from ..figures.check_sheet import draw_sheet
    from ..sources import StoreProgress, known_data_sets
    from .check_report import print_report

    console = make_console()
    reading = usual_limits(max_voxels)
    try:
        with StoreProgress(RichReporter(console), "check scans") as progress:
            known = known_data_sets(data_set)
            report = check_directory(
                directory,
                splits,
                jobs or usable_cores(),
                progress.update,
                known=known,
                modality=modality,
                reading=reading,
            )
        if figure is not None:
            with StoreProgress(RichReporter(console), "draw scans") as progress:
                draw_sheet(report, figure, progress.update, reading)
            console.print(f"Wrote {figure}.", highlight=False)
    except KeyboardInterrupt as stop:
        code = exit_code(stop)
        end_quickly()
        print("Stopped. The same command begins anew.", file=sys.stderr)
        raise typer.Exit(code or 2) from None
    print_report(report, make_console(sys.stdout))
    if not report.is_sound:
        raise typer.Exit(2)
