"""A cell with all that is needed to run it, and what is looked at before any cell runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import lightning as L

from ...datasets.cohort import HEALTHY, Cohort, Data
from ...errors import UserError, shorten
from ...methods import Detector
from ..plan.cell import Cell, Recipe
from ..plan.plan import Plan, build_detector, plan_for
from ..plan.preset import Preset, PresetLabel
from ..plan.request import chosen_folds
from ..plan.suite import SuiteRow
from ..records.record_files import CellConfig, CohortConfig, PreparedConfig
from .scoring import lesion_free_scans, scored_scans
from .slices import Slab


@dataclass(frozen=True)
class Job:
    """A cell with everything needed to run it.

    Attributes:
        entry: the table row and its class.
        preset: what is said of where the numbers come from.
        plan: the numbers.
        data: the data source.
        fold: index of the fold.
        seed: the user's seed.
    """

    entry: SuiteRow
    preset: PresetLabel
    plan: Plan
    data: Data
    fold: int
    seed: int

    @cached_property
    def cell(self) -> Cell:
        """The cell's identity."""
        recipe = Recipe.of(self.entry.method, self.plan, self.seed, self.data.modality)
        return Cell(recipe, self.fold, self.data.name, self.data.fingerprint)

    @property
    def slab(self) -> Slab:
        """The slices that take part."""
        return Slab.central(self.data.healthy.store.shape[0], self.plan.data.slices)

    def test_scans(self, key: str) -> tuple[str, ...]:
        """The scans of a test set that are scored, see `scored_scans`."""
        splits = self.data.splits
        whole = splits.healthy_test if key == HEALTHY else splits.lesion[key].test
        return scored_scans(whole, self.plan.score.test_volumes)

    @property
    def fold_seed(self) -> int:
        """Seed of initialisation and slice choice; folds differ, so that their spread shows both kinds of chance."""
        return self.seed + 1000 * self.fold

    def detector(self) -> Detector:
        """A detector with the cell's own initial weights.

        Raises:
            UserError: numbers that do not fit together, e.g. patches that do not cover the image.
        """
        L.seed_everything(self.fold_seed, verbose=False)
        try:
            return build_detector(self.entry.method, self.plan)
        except ValueError as error:
            raise UserError(f"preset {self.preset.name}, row {self.entry.row.name}: {error}") from error

    def config(self) -> CellConfig:
        """What the run record and MLflow say about this cell."""
        cohorts = (self.data.healthy, *self.data.lesions.values())
        return CellConfig(
            cell=self.cell.id,
            recipe=self.cell.recipe.id,
            content=self.cell.recipe.content(),
            row=self.entry.row.name,
            title=self.entry.row.title,
            method=self.entry.method.info.name,
            control=self.entry.method.info.control,
            trainable=self.entry.method.trainable,
            preset=self.preset.name,
            changed=self.preset.changed,
            departures=self.preset.departures,
            data=self.data.name,
            data_title=self.data.title,
            cohorts={c.key: _cohort_config(c) for c in cohorts},
            fingerprint=self.data.fingerprint,
            splits=self.data.splits.name,
            fold=self.fold,
            folds=len(self.data.splits.folds),
            seed=self.seed,
            plan=self.plan.model_dump(mode="json", exclude_none=True),
        )


def _cohort_config(cohort: Cohort) -> CohortConfig:
    prepared = None if cohort.provenance is None else PreparedConfig(**asdict(cohort.provenance))
    return CohortConfig(name=cohort.name, title=cohort.title, prepared=prepared)


def jobs_for(entries: tuple[SuiteRow, ...], folds: tuple[int, ...], data: Data, preset: Preset, seed: int) -> list[Job]:
    """Every cell to run, each once, fold by fold within a row.

    Raises:
        UserError: a fold that the split does not have, or numbers that do not fit a method.
    """
    jobs: dict[str, Job] = {}
    for entry in entries:
        plan = plan_for(preset, entry.card, entry.row, entry.score)
        for fold in chosen_folds(folds, data):
            job = Job(entry, preset.label, plan, data, fold, seed)
            jobs.setdefault(job.cell.id, job)
    return list(jobs.values())


def check_lesions(job: Job) -> tuple[str, ...]:
    """Look at every lesion mask before anything is trained; sentences about scans without a lesion in view.

    Raises:
        UserError: an unhealthy scan has no lesion voxel in the slices that take part, and `score.lesion_free` is
            "refuse"; or no validation or test scan of a set has one.
    """
    settings = job.plan.score
    notes = []
    for key, cohort in job.data.lesions.items():
        val, test = job.data.splits.lesion[key].val, job.test_scans(key)
        free = lesion_free_scans(cohort, val, job.slab, settings, "validation")
        if free:
            notes.append(f"{_without(cohort, free, val, 'validation', job.slab)}; the threshold's pool keeps them")
        free = lesion_free_scans(cohort, test, job.slab, settings, "test")
        if free:
            notes.append(f"{_without(cohort, free, test, 'test', job.slab)}; score.lesion_free={settings.lesion_free}")
    return tuple(notes)


def _without(cohort: Cohort, free: tuple[str, ...], scans: tuple[str, ...], part: str, slab: Slab) -> str:
    place = f"without a lesion in slices {slab.start} to {slab.stop - 1}"
    return f"{cohort.title}: {len(free)} of {len(set(scans))} {part} scans {place}: {shorten(free)}"
