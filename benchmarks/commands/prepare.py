"""`bench prepare`: whole downloads, and the phantom as files, in the layout that --data reads."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ...datasets.modality import Modality
from ..reports.console import make_console
from .options import DataSetOption, MaxVoxelsOption, ModalityOption

_PHANTOM, _ANY_SET = "phantom", "any-set"


class DataSets(TyperGroup):
    """A command per data set: the registered ones are listed, one of the user's own file is known by its name, too."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The phantom, then the sets that are registered."""
        from ...datasets.registry import data_sets

        return [_PHANTOM, *data_sets()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a set: the one that prepares any set, under this set's name."""
        if cmd_name == _PHANTOM:
            return super().get_command(ctx, cmd_name)
        from ...datasets.registry import data_sets

        found = copy(super().get_command(ctx, _ANY_SET))
        if found is not None:
            known = data_sets().get(cmd_name)
            title = known.title if known is not None else cmd_name
            found.name, found.help = cmd_name, f"Prepare the download of {title}: its folder or its .tar."
        return found


app = typer.Typer(cls=DataSets, no_args_is_help=True, help="Write data sets in the layout that --data reads.")

RawArgument = Annotated[Path, typer.Argument(help="The download: its folder, or the .tar.", show_default=False)]
PreparedOption = Annotated[Path, typer.Option("--out", help="The data directory to write to; give it to --data.")]
StripOption = Annotated[
    str,
    typer.Option(
        "--skull-strip",
        help="hd-bet (what the published preparation used), deepbet, synthstrip (each if installed), "
        "auto (the first of these that is installed), mask-file (the brain masks of the download), or none (the scans "
        "are stripped; that is checked); default: the set's own.",
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

LesionMasksOption = Annotated[
    str,
    typer.Option(
        "--lesion-masks",
        help="Of a BIDS directory: where its lesion masks lie, such as 'derivatives/**/*_desc-lesion_mask.nii.gz'.",
    ),
]


@app.command(_ANY_SET)
def prepare_any_set(
    context: typer.Context,
    raw: RawArgument,
    out: PreparedOption,
    modality: ModalityOption = Modality.T2,
    skull_strip: StripOption = "",
    atlas: AtlasOption = "auto",
    atlas_modality: AtlasModalityOption = "",
    n4_levels: N4LevelsOption = 4,
    jobs: PrepareJobsOption = 1,
    max_voxels: MaxVoxelsOption = None,
    lesion_masks: LesionMasksOption = "",
    data_set: DataSetOption = [],  # noqa: B006
) -> None:
    """Prepare a set, say what happened, and leave with 1 if a scan failed."""
    from ...datasets.bids import with_lesion_masks
    from ...datasets.downloads.prepare import PrepareOptions, plan_download, prepare_download
    from ...datasets.registry import data_set_named
    from ..engine.progress import RichReporter
    from ..sources import StoreProgress, known_data_sets

    known = known_data_sets(data_set)
    options = PrepareOptions(modality, skull_strip, atlas, atlas_modality, n4_levels, max_voxels)
    chosen = data_set_named(str(context.info_name))
    if lesion_masks:
        chosen = with_lesion_masks(chosen, lesion_masks)
    plan = plan_download(chosen, raw, out, options, known)
    console = make_console()
    for note in plan.notes:
        console.print(f"Note: {note}.", highlight=False, markup=False)
    with StoreProgress(RichReporter(console), f"prepare {plan.raw.data_set.title}") as progress:
        prepared = prepare_download(plan, jobs, progress.update)
    for line in (*plan.raw.lines(), *prepared.lines(out, plan.raw.data_set.name)):
        console.print(line, highlight=False, markup=False)
    if prepared.failures:
        raise typer.Exit(1)


@app.command(_PHANTOM)
def prepare_phantom(
    nifti: Annotated[Path, typer.Option("--nifti", help="The folder to write.")],
    size: Annotated[str, typer.Option("--size", help="demo or paper.")] = "demo",
    modality: ModalityOption = Modality.T2,
) -> None:
    """Write the phantom as NIfTI files in the layout of the field."""
    from ...cores import usable_cores
    from ...datasets.phantom.export import export_nifti
    from ...datasets.phantom.load import phantom_size
    from ..engine.progress import RichReporter
    from ..sources import PHANTOM_SEED, StoreProgress

    console = make_console()
    with StoreProgress(RichReporter(console), "write scans") as progress:
        export_nifti(phantom_size(size), nifti, PHANTOM_SEED, usable_cores(), progress.update, modality=modality)
    use = f"--data {nifti}" if modality is Modality.T2 else f"--data {nifti} --modality {modality}"
    console.print(f"Wrote the phantom ({size}, {modality.upper()}) to {nifti}; use it with {use}.", highlight=False)
