"""A trained run, found by the words that its user has at hand, and brought back from its record alone.

A run is a cell or a parent, all finished folds of one experiment. It is named by a cell's folder, its name
(`bench list runs`) or its id; by a parent's recipe id or the name of its table row, where only one experiment has it;
or by what MLflow calls either, the run id in its interface. No data set is needed: the record holds every number.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...datasets.cohort import HEALTHY, Provenance
from ...datasets.modality import Modality
from ...datasets.scans.atlases import MNI152, MODALITIES
from ...datasets.scans.preparation import PreparationSettings
from ...errors import UserError
from ...methods import Detector, methods
from ..engine.reading import Reader
from ..engine.scoring import score_of
from ..engine.slices import Slab
from ..plan import own
from ..plan.plan import Plan
from ..records.checkpoint import load_weights
from ..records.origin import without_weights
from ..records.record import CONFIG, RunRecord, all_records, finished
from ..records.record_files import CellConfig, CohortConfig, RecordError, ThresholdPair
from ..tracking.named import records_named


class CodeWarning(UserWarning):
    """Code that came with a run record is run."""


@dataclass(frozen=True)
class TrainedRun:
    """The finished folds of one experiment.

    Attributes:
        records: a run record a fold, in order of folds.
    """

    records: tuple[RunRecord, ...]

    @property
    def config(self) -> CellConfig:
        """What was run; all folds agree but for the fold."""
        return self.records[0].config

    @property
    def title(self) -> str:
        """Method, training data with their modality, and preset, for people."""
        return f"{self.config.title} on {self.config.data_title}, {self.modality.upper()}, {self.config.preset_title}"

    @property
    def plan(self) -> Plan:
        """Every number of the run.

        Raises:
            RecordError: it is damaged, or another version of uadbench wrote it.
        """
        try:
            return Plan.of_record(self.config.plan)
        except ValueError as error:
            reason = " ".join(str(error).split())[:200]
            raise RecordError(f"the plan in {self.records[0].folder / CONFIG} cannot be used: {reason}") from error

    @property
    def preparation(self) -> PreparationSettings:
        """The numbers of the preparation at load."""
        return self.plan.preparation.settings

    @property
    def slab(self) -> Slab:
        """The slices that the methods have learnt."""
        return Slab.central(self.preparation.shape[0], self.plan.data.slices)

    @property
    def modality(self) -> Modality:
        """The contrast of the scans that it has learnt from, and of those that it reads.

        Raises:
            RecordError: the record names none that is known.
        """
        word = self.config.modality
        if word not in list(Modality):
            raise RecordError(f"{self.records[0].folder / CONFIG}: there is no modality {word!r}")
        return Modality(word)

    @property
    def is_phantom(self) -> bool:
        """Whether it has learnt from the phantom's simulated brains."""
        return self._healthy.is_phantom

    @property
    def provenance(self) -> Provenance | None:
        """How its healthy scans were brought to where they lie; None where the record does not say."""
        if self.is_phantom:
            # Its brains are grown in the atlas, each with its scanner's bias.
            return Provenance(MNI152, None, n4_levels=0, atlas_modality=MODALITIES[MNI152])
        prepared = self._healthy.prepared
        return None if prepared is None else Provenance(**prepared.model_dump())

    @property
    def _healthy(self) -> CohortConfig:
        """The cohort that it has learnt from.

        Raises:
            RecordError: the record names none.
        """
        found = self.config.cohorts.get(HEALTHY)
        if found is None:
            raise RecordError(f"{self.records[0].folder / CONFIG} is damaged: it names no healthy cohort")
        return found

    @property
    def thresholds(self) -> dict[str, tuple[ThresholdPair, ...]]:
        """By key of the lesion set, the thresholds of each fold; only sets that every fold has."""
        found = [record.thresholds for record in self.records]
        return {key: tuple(one[key] for one in found) for key in found[0] if all(key in one for one in found)}

    def readers(self, device: str) -> tuple[Reader, ...]:
        """A reader a fold, with its trained weights.

        Raises:
            UserError: the method is not there any more, or the record lacks its weights.
        """
        return tuple(_reader(record, self.plan, self.slab, self.modality, device) for record in self.records)


def find_run(word: str, runs: Path, mlflow_uri: str, modality: Modality | None = None) -> TrainedRun:
    """The run that a word names (see the module's text).

    Args:
        word: what the user wrote.
        runs: the folder of run records.
        mlflow_uri: where to look up a run id of MLflow.
        modality: of several experiments of that name those are meant that have learnt this one, where there are any.

    Raises:
        UserError: nothing, or more than one experiment, has that name, or nothing of it is finished.
    """
    records = all_records(runs)
    named = records_named(word, records, mlflow_uri)
    if named:
        return _finished(word, [one for one in named if one.config.modality == modality] or named)
    known = ", ".join(sorted({record.config.row for record in finished(records)})) or "none"
    raise UserError(
        f"--run {word}: no cell or parent of that name under {runs}; `bench list runs` lists them, "
        f"finished rows: {known}"
    )


def _finished(word: str, records: Sequence[RunRecord]) -> TrainedRun:
    done = [record for record in records if record.counts]
    if not done:
        folder, problem = records[0].folder, records[0].problem()
        raise UserError(f"--run {word}: {folder.name} {problem}; run it to its end first")
    families: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in done:
        families.setdefault((*record.config.family, record.config.fingerprint), []).append(record)
    if len(families) > 1:
        raise UserError(f"--run {word} names {len(families)} experiments, choose one: {_listed(families.values())}")
    return TrainedRun(tuple(sorted(done, key=lambda record: record.config.fold)))


def _listed(families: Iterable[Sequence[RunRecord]]) -> str:
    """Each experiment's recipe id, what it is, and its first cell."""
    runs = [TrainedRun(tuple(records)) for records in families]
    return "; ".join(f"{run.config.recipe} ({run.title}; {run.records[0].folder.name})" for run in runs)


def _reader(record: RunRecord, plan: Plan, slab: Slab, modality: Modality, device: str) -> Reader:
    cls = _class_of(record)
    missing = without_weights(record)
    if missing:
        raise UserError(missing)
    try:
        detector = cls(cls.Settings.model_validate(plan.method))
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the settings of {record.folder.name} do not fit this version of {cls.__name__}: {reason}"
        ) from error
    load_weights(record, detector)
    score = score_of(plan)
    _, state = record.score_state
    if score is not None and state:
        score.restore(state)
    return Reader(
        detector=detector.to(device).eval(),
        slab=slab,
        settings=plan.score,
        precision=plan.train.precision,
        seed=record.config.seed,
        modality=modality,
        score=score,
    )


def _class_of(record: RunRecord) -> type[Detector]:
    """The class of a record's method: from the file kept in the record, or the registry.

    That file is code, perhaps a stranger's. So it is run only where the record was made with a file and this is it, to
    the letter, and that is said.

    Raises:
        UserError: the file is missing or another, or no installed package registers the method.
    """
    name, source = record.config.method, str(record.config.content.get("source", ""))
    if source.startswith(own.FILE_SOURCE):
        return _class_in_file(record.method_file, name, source)
    known = methods()
    if name not in known:
        raise UserError(f"{record.folder.name} is a run of {name!r}, which no installed package registers; install it")
    return known[name]


def _class_in_file(path: Path, name: str, source: str) -> type[Detector]:
    file = own.read_file(path)
    if own.FILE_SOURCE + file.digest != source:
        raise UserError(
            f"{path} is not the file that the cell was run with (sha256), so it is not run; bring that one back"
        )
    warnings.warn(f"the method {name} is the code in {path}, which is run now", CodeWarning, stacklevel=2)
    found = [cls for cls in own.detectors_in(file) if cls.info.name == name]
    if len(found) != 1:
        raise UserError(f"{path} does not hold the method {name!r} that it was kept for")
    return found[0]
