"""The stages that may run out of memory, with what each needs less of, and batches that halve themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from ...methods import Detector
from ...methods.parts.recomputed import recomputing_networks
from ...out_of_memory import Stage, free_memory, gpu_in_use, is_out_of_memory
from ..plan.plan import Plan, has_batch_norm
from ..plan.settings import TrainSettings

_ResultT = TypeVar("_ResultT")
_ALONE = "one cell at a time (--jobs 1)"
_OTHERS = "no other program beside it"


def preflight_stage(who: str, plan: Plan, slices: int) -> Stage:
    """The check of a method on so few slices that a smaller batch is no help."""
    return Stage(who, "the check of its method", f"{slices} slices", (*_precision(plan.train), _OTHERS))


def training_stage(who: str, what: str, method: type[Detector], plan: Plan) -> Stage:
    """A stage that takes optimiser steps; only what the method allows is advised."""
    train = plan.train
    size, parts = train.batch_size, train.accumulate
    recomputes, cuts = _allowed(method, plan)
    twice = ["--set train.checkpoint_activations=true"] if recomputes and not train.checkpoint_activations else []
    more = next((n for n in range(parts + 1, size + 1) if size % n == 0), None)  # parts of a batch must be equal
    smaller = [] if more is None else [f"--set train.accumulate={more} (micro-batches)"]
    if not cuts:
        smaller = [f"--set train.batch_size={size // 2} (another experiment)"] if size > 1 else []
    cut = f" in parts of {size // parts}" if parts > 1 else ""
    return Stage(who, what, f"train.batch_size={size}{cut}", (*twice, *smaller, *_precision(train), _ALONE))


def scoring_stage(who: str, what: str, plan: Plan, halving: Halving) -> Stage:
    """A stage that reconstructs volumes."""
    wanted = plan.score.batch_size
    size = halving.size(wanted)
    smaller = [f"--set score.batch_size={size // 2}"] if size > 1 else []
    elsewhere = ["--device cpu"] if gpu_in_use() else []
    return Stage(who, what, halving.words(wanted), (*smaller, *_precision(plan.train), *elsewhere, _ALONE))


def prediction_stage(who: str, what: str, plan: Plan, halving: Halving, folds: int) -> Stage:
    """A stage of a trained run on a new scan; its precision and batch size are those of its record."""
    fewer = [f"--run of one cell instead of all {folds} folds (bench list runs)"] if folds > 1 else []
    elsewhere = ["--device cpu"] if gpu_in_use() else []
    return Stage(who, what, halving.words(plan.score.batch_size), (*fewer, *elsewhere, _OTHERS))


def scan_stage(what: str, *, with_mask: bool) -> Stage:
    """A stage that works on a scan's own voxels."""
    mask = [] if with_mask else ["a brain mask of its own (--mask) in place of skull stripping"]
    return Stage("", what, "", (*mask, "a scan of fewer voxels, cropped or resampled", _OTHERS))


def _allowed(method: type[Detector], plan: Plan) -> tuple[bool, bool]:
    """Whether a method's networks can compute activations twice, and whether they take a batch in parts."""
    try:
        with torch.device("meta"):  # tensors without values: this takes no memory
            detector = method(method.Settings.model_validate(plan.method))
    except Exception:  # noqa: BLE001  (a foreign constructor that looks at values; then neither is advised)
        return False, False
    return bool(recomputing_networks(detector)), not has_batch_norm(detector)


def _precision(train: TrainSettings) -> tuple[str, ...]:
    """Half the precision, which is another cell."""
    return ("--set train.precision=bf16-mixed (trained anew)",) if train.precision == "32-true" else ()


class Halving:
    """Halves the batch of a reconstruction where memory runs out, and goes on with the half from then on.

    Args:
        who: the cell's label, for the remark.
        say: takes the remark, once.
    """

    def __init__(self, who: str = "", say: Callable[[str], None] | None = None) -> None:
        self._who = who
        self._say = say
        self._times = 0

    def size(self, wanted: int) -> int:
        """The batch size in force where the preset wants another."""
        return max(1, wanted >> self._times)

    def words(self, wanted: int) -> str:
        """The batch size in force as a setting, and where it came from."""
        size = self.size(wanted)
        return f"score.batch_size={size}" + (f", halved from {wanted}" if size < wanted else "")

    def run(self, wanted: int, work: Callable[[int], _ResultT]) -> _ResultT:
        """Do the work with as large a batch as the memory holds.

        Args:
            wanted: the preset's batch size.
            work: takes the batch size; gives the same whatever it is.
        """
        while True:
            size = self.size(wanted)
            try:
                result = work(size)
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            else:
                self._tell(wanted, size)
                return result
            self._times += 1
            free_memory()

    def _tell(self, wanted: int, size: int) -> None:
        if self._say is not None and size < wanted:
            self._say(
                f"  {self._who}: ran out of memory with score.batch_size={wanted}; it goes on with {size}, which "
                "changes no number"
            )
            self._say = None
