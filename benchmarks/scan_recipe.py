"""How a new scan has to be prepared for a run: as the run's own scans were.

A method has learnt brains of one atlas, with or without their bias; a scan that comes otherwise is an anomaly as a
whole. The run record says how its scans were prepared, where `bench prepare` did it, and the user's word goes before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..datasets.atlases import MNI152, NAMED, SRI24, load_atlas
from ..datasets.cohort import Provenance
from ..datasets.registration import Atlas
from ..datasets.scan_preparation import ScanSettings
from .errors import UserError
from .trained import TrainedRun

_SHOWN_DIGITS = 12


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


def recipe_for(run: TrainedRun, atlas: str | None, levels: int | None) -> ScanRecipe:
    """The preparation that a run expects, unless the user says otherwise.

    Args:
        run: the run.
        atlas: what `load_atlas` takes; None for the atlas of the run's own scans.
        levels: resolutions of N4; None for those of the run's own scans.

    Raises:
        UserError: the run's scans lie in an atlas that only its file can give.
        DataError: see `load_atlas`.
    """
    known = run.provenance
    loaded = load_atlas(atlas or _atlas_of(known))
    notes = _atlas_notes(known, atlas, loaded)
    settings = ScanSettings()
    if levels is None:
        levels = len(settings.bias.iterations) if known is None else known.n4_levels
    if not levels:
        notes = (*notes, "the bias is left in (N4: no levels)")
    return ScanRecipe(loaded, replace(settings, bias=settings.bias.of_levels(levels)), notes)


def _atlas_of(known: Provenance | None) -> str:
    """The word for a run's own atlas; MNI152 where the record does not say."""
    if known is None:
        return MNI152
    if known.atlas in NAMED:
        return known.atlas
    digest = f" (sha256 {known.atlas_sha256[:_SHOWN_DIGITS]}…)" if known.atlas_sha256 else ""
    raise UserError(
        f"the run's scans were brought to the atlas {known.atlas}{digest}, of which the record keeps only the name; "
        "give the file with --atlas FILE"
    )


def _atlas_notes(known: Provenance | None, chosen: str | None, atlas: Atlas) -> tuple[str, ...]:
    if known is None:
        if chosen is not None:
            return ()
        return (
            f"the run's record does not say in which atlas its scans lie, so {MNI152} is taken; --atlas chooses "
            f"another ({SRI24} is that of the published preparation)",
        )
    if known.atlas_sha256 in (None, atlas.sha256):
        return ()
    return (f"the run's scans lie in another atlas, {known.atlas}; a map of a scan in {atlas.name} shows that",)
