"""`bench prepare`: whole downloads, and the phantom as files, in the layout that --data reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..reports.console import make_console
from .options import MaxVoxelsOption

app = typer.Typer(no_args_is_help=True, help="Write data sets in the layout that --data reads.")

RawArgument = Annotated[Path, typer.Argument(help="The download: its folder, or the .tar.", show_default=False)]
PreparedOption = Annotated[Path, typer.Option("--out", help="The data directory to write to; give it to --data.")]
StripOption = Annotated[
    str,
    typer.Option(
        "--skull-strip",
        help="hd-bet (what the published preparation used), deepbet, synthstrip, auto (the first of these that is "
        "installed), mask-file (the brain masks of the download), or none (the scans are stripped; that is checked).",
    ),
]
AtlasOption = Annotated[
    str,
    typer.Option(
        "--atlas",
        help="sri24, the T1 that the published preparation used, or sri24-t2, the T2 beside it (each fetched once and "
        "verified); mni152; a stripped image, 0 outside the brain; or auto: that of the scans already there, else "
        "sri24 if it can be had, else mni152.",
    ),
]
AtlasModalityOption = Annotated[
    str,
    typer.Option("--atlas-modality", help="t1 or t2: what --atlas FILE is, where its name does not say so."),
]
PrepareJobsOption = Annotated[
    int,
    typer.Option(
        "--jobs", min=1, max=1024, help="Processes; each needs 3 GB with hd-bet, 1.6 GB with deepbet, else 0.8 GB."
    ),
]

N4LevelsOption = Annotated[
    int,
    typer.Option(
        "--n4-levels",
        min=0,
        max=6,
        help="Resolutions of the bias field; the finest of the usual 4 eats large tumours, 0 leaves the bias in.",
    ),
]


@app.command("ixi")
def prepare_ixi(
    raw: RawArgument,
    out: PreparedOption,
    skull_strip: StripOption = "auto",
    atlas: AtlasOption = "auto",
    atlas_modality: AtlasModalityOption = "",
    n4_levels: N4LevelsOption = 4,
    jobs: PrepareJobsOption = 1,
    max_voxels: MaxVoxelsOption = None,
) -> None:
    """Prepare the download of IXI: IXI-T2.tar or its folder, with IXI.xls beside the scans for ages."""
    _prepare_download("ixi", raw, out, skull_strip, (atlas, atlas_modality), n4_levels, jobs, max_voxels)


@app.command("brats21")
def prepare_brats21(
    raw: RawArgument,
    out: PreparedOption,
    skull_strip: StripOption = "none",
    atlas: AtlasOption = "auto",
    atlas_modality: AtlasModalityOption = "",
    n4_levels: N4LevelsOption = 4,
    jobs: PrepareJobsOption = 1,
    max_voxels: MaxVoxelsOption = None,
) -> None:
    """Prepare the download of BraTS21: the training set's .tar or folder."""
    _prepare_download("brats21", raw, out, skull_strip, (atlas, atlas_modality), n4_levels, jobs, max_voxels)


@app.command("mslub")
def prepare_mslub(
    raw: RawArgument,
    out: PreparedOption,
    skull_strip: StripOption = "mask-file",
    atlas: AtlasOption = "auto",
    atlas_modality: AtlasModalityOption = "",
    n4_levels: N4LevelsOption = 4,
    jobs: PrepareJobsOption = 1,
    max_voxels: MaxVoxelsOption = None,
) -> None:
    """Prepare the download of MSLUB: the folder of the patients."""
    _prepare_download("mslub", raw, out, skull_strip, (atlas, atlas_modality), n4_levels, jobs, max_voxels)


def _prepare_download(
    name: str,
    raw: Path,
    out: Path,
    skull_strip: str,
    atlas: tuple[str, str],
    n4_levels: int,
    jobs: int,
    max_voxels: int | None,
) -> None:
    """Prepare a set, say what happened, and leave with 1 if a scan failed; `atlas` is the atlas and its modality."""
    from ...datasets.downloads.prepare import PrepareOptions, plan_download, prepare_download
    from ...datasets.registry import data_set_named, data_sets
    from ..engine.progress import RichReporter
    from ..sources import StoreProgress

    options = PrepareOptions(
        skull_strip=skull_strip, atlas=atlas[0], atlas_modality=atlas[1], n4_levels=n4_levels, max_voxels=max_voxels
    )
    plan = plan_download(data_set_named(name), raw, out, options, tuple(data_sets().values()))
    console = make_console()
    for note in plan.notes:
        console.print(f"Note: {note}.", highlight=False, markup=False)
    with StoreProgress(RichReporter(console), f"prepare {plan.raw.data_set.title}") as progress:
        prepared = prepare_download(plan, jobs, progress.update)
    for line in (*plan.raw.lines(), *prepared.lines(out, name)):
        console.print(line, highlight=False, markup=False)
    if prepared.failures:
        raise typer.Exit(1)


@app.command("phantom")
def prepare_phantom(
    nifti: Annotated[Path, typer.Option("--nifti", help="The folder to write.")],
    size: Annotated[str, typer.Option("--size", help="demo or paper.")] = "demo",
) -> None:
    """Write the phantom as NIfTI files in the layout of the field."""
    from ...cores import usable_cores
    from ...datasets.phantom.export import export_nifti
    from ...datasets.phantom.load import phantom_size
    from ..engine.progress import RichReporter
    from ..sources import PHANTOM_SEED, StoreProgress

    console = make_console()
    with StoreProgress(RichReporter(console), "write scans") as progress:
        export_nifti(phantom_size(size), nifti, PHANTOM_SEED, usable_cores(), progress.update)
    console.print(f"Wrote the phantom ({size}) to {nifti}; use it with --data {nifti}.", highlight=False)
