"""How a new scan has to be prepared for a run: as the run's own scans were.

A method has learnt brains of one atlas, with or without their bias; a scan that comes otherwise is an anomaly as a
whole. The run record says how its scans were prepared, where `bench prepare` did it, and the user's word goes before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...datasets.cohort import Provenance
from ...datasets.scans.atlases import KnownAtlas, choose_atlas
from ...datasets.scans.registration import Atlas
from ...datasets.scans.scan_preparation import ScanSettings
from .trained import TrainedRun


@dataclass(frozen=True)
class ScanRecipe:
    """How new scans are prepared.

    Attributes:
        atlas: the space to bring them to.
        settings: the numbers of the preparation.
        notes: sentences that the user should read.
    """

    atlas: Atlas
    settings: ScanSettings
    notes: tuple[str, ...]


def recipe_for(run: TrainedRun, atlas: str, levels: int | None) -> ScanRecipe:
    """The preparation that a run expects, unless the user says otherwise.

    Args:
        run: the run.
        atlas: what `choose_atlas` takes; "auto" is the atlas of the run's own scans.
        levels: resolutions of N4; None for those of the run's own scans.

    Raises:
        DataError: see `choose_atlas`.
    """
    known = run.provenance
    choice = choose_atlas(atlas, () if known is None else (_known_atlas(known),))
    notes = choice.notes
    if known is None:
        notes = (f"the run's record does not say in which atlas its scans lie; {choice.atlas.name} is taken", *notes)
    settings = ScanSettings()
    if levels is None:
        levels = len(settings.bias.iterations) if known is None else known.n4_levels
    if not levels:
        notes = (*notes, "the bias is left in (N4: no levels)")
    return ScanRecipe(choice.atlas, replace(settings, bias=settings.bias.of_levels(levels)), notes)


def _known_atlas(known: Provenance) -> KnownAtlas:
    return KnownAtlas("the run's scans", known.atlas, known.atlas_sha256, known.atlas_modality)
