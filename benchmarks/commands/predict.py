"""`bench predict`: a new scan through a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...datasets.modality import Modality
from ..reports.console import make_console
from .options import RESULTS, DeviceOption, MaxVoxelsOption, ResultsOption


def predict(
    scan: Annotated[
        list[Path],
        typer.Argument(
            help="Scans of any orientation and voxel size: .nii, .nii.gz, .mgz, .mgh, pairs of .hdr and .img; DICOM "
            "files, or folders of them.",
            show_default=False,
        ),
    ],
    run_: Annotated[
        str,
        typer.Option("--run", help="A cell, a parent (all its folds), a row, or MLflow's id of one: bench list runs."),
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to write to.")],
    mask: Annotated[
        list[Path], typer.Option("--mask", help="A scan's brain mask; once per scan, in their order.")
    ] = [],  # noqa: B006
    series: Annotated[
        list[str], typer.Option("--series", help="Of DICOM with several series: which, by number or UID; repeatable.")
    ] = [],  # noqa: B006
    name: Annotated[
        list[str],
        typer.Option(
            "--name",
            help="What to call a scan's results; once per scan, in their order. Default: the file's name, of DICOM "
            "series-NUMBER.",
        ),
    ] = [],  # noqa: B006
    modality: Annotated[
        Modality | None,
        typer.Option(
            "--modality",
            help="The contrast of the scans, which must be that of the run; default: it is, and a name that says "
            "otherwise (_T1w) is pointed out.",
        ),
    ] = None,
    threshold: Annotated[
        str, typer.Option("--threshold", help="The run's threshold: of tumours or of ms; or a number.")
    ] = "tumours",
    skull_strip: Annotated[
        str,
        typer.Option(
            "--skull-strip",
            help="auto (a stripped scan is recognised, others go to the first of these that is installed), hd-bet, "
            "deepbet, synthstrip, none.",
        ),
    ] = "auto",
    atlas: Annotated[
        str, typer.Option("--atlas", help="As for bench prepare; auto: that of the run's own scans.")
    ] = "auto",
    n4_levels: Annotated[
        int | None,
        typer.Option("--n4-levels", min=0, max=6, help="As for bench prepare; default: as the run's own scans."),
    ] = None,
    max_voxels: MaxVoxelsOption = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Predict scans whose registration is not to be believed; every output says so."),
    ] = False,
    device: DeviceOption = "auto",
    results: ResultsOption = RESULTS,
) -> None:
    """Write the anomaly map of new scans, in each scan's own space. Research software and no medical device."""
    from ...datasets.scans.scan_header import head_limits
    from ..engine.environment import choose_device, settle_process
    from ..engine.progress import RichReporter
    from ..prediction.components import NOTICE
    from ..prediction.inputs import find_scans
    from ..prediction.predict import predict_scans
    from ..prediction.predictor import Predictor, choose_threshold
    from ..prediction.same_modality import require_modality
    from ..prediction.scan_recipe import recipe_for
    from ..prediction.trained import find_run
    from ..tracking.database import store_uri

    console = make_console()
    chosen = choose_device(device)
    settle_process()
    found = find_scans(scan, mask, name, series)
    trained = find_run(run_, results / "runs", store_uri(results), modality)
    doubts = require_modality(modality, trained, found.scans)
    lesions, value = choose_threshold(threshold, trained)
    recipe, limits = recipe_for(trained, atlas, n4_levels), head_limits(max_voxels)
    predictor = Predictor(trained, lesions, value, recipe, skull_strip, chosen, out, limits, force)
    for line in (*found.notes, *predictor.lines(), *(f"Warning: {doubt}." for doubt in doubts)):
        console.print(line, highlight=False, markup=False)
    outcome = predict_scans(predictor, found.scans, RichReporter(console))
    for line in (*outcome.lines(out), NOTICE):
        console.print(line, highlight=False, markup=False)
    if outcome.failures:
        raise typer.Exit(1 if outcome.predicted or outcome.kept else 2)
