"""What a run says before it begins: data, device, departures from the paper, how many cells, how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .engine.environment import describe_environment
from .engine.progress import Reporter
from .experiment import Experiment
from .plan.departures import departures_of
from .records.record import record_of
from .reports.console import counted
from .reports.duration import duration
from .speed.estimate import Estimate, estimates


@dataclass(frozen=True)
class Forecast:
    """How long what is left should take.

    Attributes:
        cells: cells that are not finished.
        seconds: of all of them, as many at a time as the experiment runs; without those of `problems`.
        problems: why the time of some could not be measured.
        by_recipe: seconds of one cell, by id of its recipe; without those of `problems`.
    """

    cells: int
    seconds: float
    problems: tuple[str, ...]
    by_recipe: Mapping[str, float] = field(default_factory=dict)


def announce(experiment: Experiment, reporter: Reporter) -> Forecast:
    """Say what will be done and how long that should take; a few steps are timed where no finished fold tells.

    Args:
        experiment: what is going to run.
        reporter: where the lines go.

    Returns:
        The forecast that was said.
    """
    for line in _what(experiment):
        reporter.say(line)
    left = experiment.open_jobs()
    reporter.say(f"Cells: {len(experiment.jobs)}, of which {len(experiment.jobs) - len(left)} are done.")
    if not left:
        return Forecast(0, 0.0, ())
    for line in _additions(experiment):
        reporter.say(line)
    for note in experiment.lesion_notes:
        reporter.say(f"  note: {note}")
    recipes = {job.cell.recipe.id: job for job in left}
    found = estimates(recipes, experiment.runs, experiment.device, experiment.workers)
    for key, job in recipes.items():
        count = sum(other.cell.recipe.id == key for other in left)
        for line in _per_cell(job.entry.row.title, count, found[key]):
            reporter.say(line)
    seconds = sum(found[job.cell.recipe.id].seconds for job in left) / min(experiment.workers, len(left))
    known = {key: one.seconds for key, one in found.items() if not one.problem}
    forecast = Forecast(len(left), seconds, tuple(one.problem for one in found.values() if one.problem), known)
    reporter.say(_how_long(forecast, experiment.workers))
    return forecast


def _additions(experiment: Experiment) -> Iterator[str]:
    """What finished cells are given."""
    versions = [record_of(experiment.runs, job.cell).detection_version for job in experiment.incomplete_jobs()]
    without = versions.count(0)
    if without:
        yield f"  {counted(without, 'finished cell')} without lesion-wise numbers: these are added."
    if len(versions) > without:
        older = counted(len(versions) - without, "finished cell")
        yield f"  {older} with lesion-wise numbers of before FROC: they are measured again, and FROC is added."


def _what(experiment: Experiment) -> Iterator[str]:
    data, preset = experiment.data, experiment.preset
    changes = f" with {', '.join(preset.changed)}" if preset.changed else ""
    machine = describe_environment(experiment.device)
    yield f"Data: {data.title}, {data.modality.upper()}, splits: {data.splits.name}. Preset: {preset.name}{changes}."
    yield f"Device: {machine['device']} on {machine['machine']}."
    for departure in departures_of(preset, [job.entry for job in experiment.jobs]):
        yield f"  departs from the paper: {departure}"
    for note in data.splits.notes:
        yield f"  note: {note}"
    for finding in data.splits.findings:
        yield f"  warning: {finding}"


def _per_cell(title: str, count: int, estimate: Estimate) -> Iterator[str]:
    each = duration(estimate.seconds) if not estimate.problem else "a time that could not be measured"
    yield f"  {title}: {count} × {each}"
    if estimate.problem:
        yield f"  warning: {estimate.problem}"


def _how_long(forecast: Forecast, workers: int) -> str:
    pace = f"{workers} cells at a time" if workers > 1 else "one cell at a time"
    rest = " without what could not be measured" if forecast.problems else ""
    return f"This should take about {duration(forecast.seconds)}{rest}, {pace}. Ctrl-C stops; the same command goes on."
