"""In which order cells are begun, where several run at a time; what is shown keeps the order of the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from ..engine.job import Job
from ..plan.cell import training_content
from ..plan.cell_id import cell_id


def longest_first(jobs: Sequence[Job], seconds: Mapping[str, float]) -> tuple[Job, ...]:
    """The longest cells first, so that no core waits long for the last one; equals as they stand.

    A cell that can take over the weights of one before it comes after all that train: begun beside it, it would train
    as well.

    Args:
        jobs: the cells in the order of the request.
        seconds: how long a cell of a recipe should take, by its id; one that is not there may take long.
    """
    trainings: set[str] = set()
    leaders: list[Job] = []
    followers: list[Job] = []
    for job in jobs:
        training = _training(job)
        (followers if training in trainings else leaders).append(job)
        trainings.add(training)

    def expected(job: Job) -> float:
        return seconds.get(job.cell.recipe.id, inf)

    return (*sorted(leaders, key=expected, reverse=True), *sorted(followers, key=expected, reverse=True))


def _training(job: Job) -> str:
    """What a cell's weights depend on, as one word."""
    return cell_id(training_content(job.cell.recipe.content()), job.fold, job.cell.fingerprint)
