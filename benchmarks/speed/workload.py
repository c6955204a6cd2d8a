"""What is counted and timed: the distinct networks among some table rows, and random slices for them.

Two rows with the same class and the same numbers are one workload: the U-Net of Table 2 is pDDPM (s16) of Table 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ...errors import UserError
from ...methods import Batch, Detector, Row, Scan
from ..plan.cell import Recipe
from ..plan.plan import Plan, build_detector, plan_for
from ..plan.preset import Preset
from ..plan.suite import SuiteRow


@dataclass(frozen=True)
class Workload:
    """One class with one set of numbers, and the rows that it makes.

    Attributes:
        method: the class.
        plan: its numbers.
        rows: the rows of these numbers, in the order they were asked for; at least one.
    """

    method: type[Detector]
    plan: Plan
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """Names of the rows, with commas between them."""
        return ", ".join(row.name for row in self.rows)

    @property
    def side(self) -> int:
        """Height and width of a prepared slice, in pixels."""
        return self.plan.preparation.settings.shape[-1]

    @property
    def compiled(self) -> bool:
        """Whether PyTorch compiles the networks."""
        return bool(getattr(self.plan.train, "compile", False))

    def uncompiled(self) -> Workload:
        """The same as it is written, for whoever counts its operations."""
        if not self.compiled:
            return self
        train = self.plan.train.model_copy(update={"compile": False})
        return replace(self, plan=self.plan.model_copy(update={"train": train}))

    def detector(self) -> Detector:
        """A new detector on torch's default device, its weights drawn from torch's global generator.

        Raises:
            UserError: numbers that do not fit together, e.g. patches that do not cover the image.
        """
        try:
            return build_detector(self.method, self.plan)
        except ValueError as error:
            raise UserError(f"row {self.rows[0].name}: {error}") from error


def workloads(entries: Sequence[SuiteRow], preset: Preset) -> tuple[Workload, ...]:
    """The distinct workloads among rows, in order.

    Raises:
        UserError: a number of the preset is missing, misspelt or out of range.
    """
    found: dict[str, Workload] = {}
    for entry in entries:
        plan = plan_for(preset, entry.method, entry.row)
        key = Recipe.of(entry.method, plan, 0).id
        rows = (*found[key].rows, entry.row) if key in found else (entry.row,)
        found[key] = Workload(entry.method, plan, rows)
    return tuple(found.values())


def random_volume(depth: int, side: int, seed: int, device: torch.device) -> torch.Tensor:
    """Uniform noise in [0, 1), float32 [D, 1, H, W]; the same on every device, empty of values on the meta device."""
    if device.type == "meta":
        return torch.empty(depth, 1, side, side, device=device)
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(depth, 1, side, side, generator=generator).to(device)


def batch_of(volume: torch.Tensor, context: int) -> Batch:
    """A batch of all slices of a volume; each is its own neighbours, which costs what true neighbours cost."""
    brain = torch.ones_like(volume, dtype=torch.bool)
    seeds = torch.arange(len(volume), device=volume.device)
    return Batch(volume, brain, seeds, volume.expand(-1, 2 * context + 1, -1, -1).contiguous())


def scan_of(volume: torch.Tensor, batch_size: int) -> Scan:
    """What a method may know of a volume that is brain all over."""
    return Scan(brain_mask=torch.ones_like(volume, dtype=torch.bool), seed=0, batch_size=batch_size)
