"""The engine's own sections of a preset: data, preparation, training and scoring."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ...datasets.scans.preparation import PreparationSettings
from ...methods import Frozen
from .validation import shown_value


class DataSettings(Frozen):
    """Which part of the prepared volumes takes part.

    Attributes:
        phantom: size of the embedded cohort that `--data phantom` builds.
        slices: number of central axial slices; 50 is the whole prepared volume.
    """

    phantom: Literal["demo", "paper"]
    slices: int = Field(ge=1)


class PreparationNumbers(Frozen):
    """The preparation at load; see `PreparationSettings`, whose defaults no preset falls back on.

    A number is kept as the preset writes it, 1 or 1.0, because the ids of cells are hashes of what it says.
    """

    side: int = Field(ge=1, le=1024)
    depth: int = Field(ge=1, le=1024)
    iterations: int = Field(ge=0, le=1000)
    time_step: int | float = Field(gt=0, le=1)
    lower_percentile: int | float = Field(ge=0, le=100)
    upper_percentile: int | float = Field(ge=0, le=100)
    factor: int = Field(ge=1, le=16)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("side", "depth"):
            if getattr(self, name) % self.factor:
                raise ValueError(
                    f"preparation.{name} ({getattr(self, name)}) must be a multiple of factor ({self.factor})"
                )
        if self.lower_percentile >= self.upper_percentile:
            raise ValueError(
                f"preparation.lower_percentile ({self.lower_percentile}) must be below "
                f"preparation.upper_percentile ({self.upper_percentile})"
            )
        return self

    @property
    def settings(self) -> PreparationSettings:
        """The same numbers as the data sets take them."""
        return PreparationSettings(**self.model_dump())


class TrainSettings(Frozen):
    """The training loop.

    Attributes:
        epochs: passes over the training volumes, one random slice per volume.
        batch_size: slices per optimiser step.
        drop_last: leave out the last, incomplete batch of an epoch, another one each time; never the only one.
        accumulate: parts that a batch is cut into, which go through the network one after the other. The gradient is
            the whole batch's, so this takes memory and not its place; with batch norm it would be another one.
        checkpoint_activations: keep what enters the blocks of a large network and compute the rest again for the
            gradient. The numbers stay the same, a step takes about a third longer, see `parts/recomputed.py`.
        validate_every: epochs between two validations, after each of which the best weights are looked for.
        validation_slices: slices of a validation volume that make the validation loss, always the same ones.
        checkpoint_minutes: minutes between two checkpoints on disk, at the least, and what a kill costs; one is written
            after the next validation, so that 0 writes after each. Changes no number.
        precision: Lightning's name, e.g. "32-true" or "bf16-mixed".
        compile: let PyTorch compile the networks, in training and scoring, see `parts/compiled.py`. Rounds differently;
            wants a C++ compiler on a CPU and Triton on a GPU, and minutes at the start of each cell.
        tf32: let a GPU round the factors of float32 products to ten bits of mantissa, in training and scoring.
        deterministic: use a GPU's repeatable algorithms alone, so that a training repeats bit by bit there too.
    """

    epochs: int = Field(ge=1, le=10_000_000)
    batch_size: int = Field(ge=1, le=100_000)
    drop_last: bool
    accumulate: int = Field(ge=1, le=100_000)
    checkpoint_activations: bool
    validate_every: int = Field(ge=1, le=10_000_000)
    validation_slices: int = Field(ge=1, le=1024)
    checkpoint_minutes: float = Field(ge=0, le=10_000)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    compile: bool
    tf32: bool
    deterministic: bool

    @model_validator(mode="after")
    def _divided(self) -> Self:
        if self.epochs % self.validation_interval:
            raise ValueError(
                f"train.epochs ({self.epochs}) must be a multiple of train.validate_every ({self.validate_every}), so "
                "that the last epoch is validated"
            )
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"train.accumulate ({self.accumulate}) must divide train.batch_size ({self.batch_size}), so that the "
                "parts of a batch weigh the same"
            )
        return self

    @property
    def validation_interval(self) -> int:
        """Epochs between two validations; a training that is shorter than that is validated at its end."""
        return min(self.validate_every, self.epochs)


class ScoreSettings(Frozen):
    """Reconstruction at test time, post-processing and threshold.

    Attributes:
        erosion: cycles of the brain mask's erosion.
        median: edge of the cubic median filter, voxels; odd.
        min_voxels: components of fewer voxels are dropped.
        threshold_steps: halvings of the greedy threshold search.
        batch_size: images per forward pass; does not change the numbers.
        untrained_control: also measure the healthy l1 of the network before training.
        lesion_free: what becomes of an unhealthy scan without a lesion voxel in the slices that take part. "exclude": a
            test scan has neither Dice nor AUPRC and is left out of both means. "zero", as the published code has it
            (see `scoring.score_lesions`). "refuse": nothing is run. Such a validation scan stays in the pool that the
            threshold is chosen on, unless refused: its false alarms count there as those of any other scan do.
        test_volumes: how many scans of each test set are scored, the first by hash of their names (see
            `scoring.scored_scans`); "all" is the whole set.
        keep: "reconstructions": those of every scored volume stay on disk in float32, so that another score or
            post-processing of the same weights needs no network and has the same numbers; does not change the numbers.
    """

    erosion: int = Field(ge=0)
    median: int = Field(ge=1)
    min_voxels: int = Field(ge=0)
    threshold_steps: int = Field(ge=1, le=1000)
    batch_size: int = Field(ge=1, le=100_000)
    untrained_control: bool
    lesion_free: Literal["exclude", "zero", "refuse"]
    test_volumes: Literal["all"] | int
    keep: Literal["nothing", "reconstructions"] = "nothing"  # presets of older versions do not say

    @field_validator("test_volumes", mode="before")
    @classmethod
    def _all_or_some(cls, value: object) -> object:
        if value != "all" and (type(value) is not int or value < 1):
            raise ValueError(
                f'score.test_volumes must be "all" or a whole number of at least 1, got {shown_value(value)}'
            )
        return value

    @model_validator(mode="after")
    def _centred(self) -> Self:
        if self.median % 2 == 0:
            raise ValueError(f"score.median must be odd, so that the cube has a middle voxel, got {self.median}")
        return self
