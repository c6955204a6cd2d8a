"""Run records of a study that nobody ran: 16 rows, 5 folds, 1,439 test volumes in each cell, numbers from a generator.

    python tests/trials/simulated_study.py /tmp/study                                  # all of it: 621 MB, minutes
    python tests/trials/simulated_study.py /tmp/study --rows 4 --volumes 20 30 12 --bins 256
    bench compare maediff pddpm-s16 --results /tmp/study

For trying how long reports and comparisons take and what memory they need, before there is a study of that size. Sets
are called phantom, since they are no patients. What is true is known: the anomaly score of each row finds lesions by a
skill of its own, but `maediff` and `pddpm-iqa` have the same. Volumes differ in difficulty for all rows alike, so that
paired tests have something to win; a row has a stroke of luck in each fold, and so has each volume in it.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from uadbench.benchmarks.engine.detection.config import LADDER
from uadbench.benchmarks.plan.cell import Cell, Recipe
from uadbench.benchmarks.plan.plan import Plan, plan_for
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import SuiteRow, select_rows
from uadbench.benchmarks.records.cost import CellCost, save_cost
from uadbench.benchmarks.records.detection_lines import (
    LesionDetection,
    VolumeDetection,
    VolumeFroc,
    VolumeHistogram,
    pack,
)
from uadbench.benchmarks.records.detections import (
    DETECTION,
    DETECTION_VERSION,
    DETECTIONS,
    FROC,
    HISTOGRAMS,
    LESIONS,
    DetectionConfig,
    LadderStep,
    SetThresholds,
)
from uadbench.benchmarks.records.record import RunRecord, record_of
from uadbench.benchmarks.records.record_files import (
    CellConfig,
    CohortConfig,
    Epoch,
    ThresholdPair,
    VolumeScore,
    write_lines,
)
from uadbench.files import sha256_of_bytes

KEYS = ("healthy", "tumours", "ms")
TITLES = {"healthy": "phantom healthy", "tumours": "phantom tumours", "ms": "phantom MS"}
#: By row, how far lesion scores stand above healthy ones, in logits of Dice; rows that are not named take what is left.
SAME = ("maediff", "pddpm-iqa")
DEPTH, VOXEL_MM, TOP = 50, 2.0, 1.0
EDGES_ML = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Shape:
    """How large the study is.

    Attributes:
        rows: how many rows.
        folds: folds of each.
        volumes: test volumes, healthy, tumours and MS.
        bins: of the histograms; 0 writes none of the files beside the paper's.
        seeds: the user's seeds, 0, 1, …
        preset: name of the preset.
    """

    rows: int = 16
    folds: int = 5
    volumes: tuple[int, int, int] = (268, 1151, 20)
    bins: int = 4096
    seeds: int = 1
    preset: str = "demo"


@dataclass(frozen=True)
class Lesions:
    """The truth about the volumes of one set: the same for all rows.

    Attributes:
        subjects: their names.
        sizes: of each volume, its lesions in millilitres, the largest first.
        difficulty: of each volume, in logits; larger lesions are easier.
        brain_ml: of each volume.
    """

    subjects: tuple[str, ...]
    sizes: tuple[tuple[float, ...], ...]
    difficulty: np.ndarray
    brain_ml: np.ndarray

    @cached_property
    def total_ml(self) -> np.ndarray:
        """Lesion volume of each volume."""
        return np.array([sum(sizes) for sizes in self.sizes])


def lesions_of(key: str, count: int, rng: np.random.Generator) -> Lesions:
    """Draw the truth of a set."""
    most, middle, spread = {"healthy": (0, 0.0, 0.0), "tumours": (4, 2.5, 1.2), "ms": (25, -0.5, 1.3)}[key]
    numbers = rng.integers(1, most + 1, count) if most else np.zeros(count, int)
    sizes = tuple(tuple(sorted(np.exp(rng.normal(middle, spread, n)).round(4), reverse=True)) for n in numbers)
    total = np.array([sum(one) for one in sizes])
    ease = 0.45 * (np.log(total) - 2.5) if most else np.zeros(count)
    subjects = tuple(f"phantom-{key}-{number:04d}" for number in range(count))
    return Lesions(subjects, sizes, ease + rng.normal(0, 0.7, count), rng.normal(1400, 120, count))


@dataclass(frozen=True)
class Result:
    """What one row got on one set in one fold, an array over its volumes each."""

    dice: np.ndarray
    exact: np.ndarray
    auprc: np.ndarray
    l1: np.ndarray


def logistic(logits: np.ndarray) -> np.ndarray:
    """From any number to (0, 1)."""
    return np.asarray(1 / (1 + np.exp(-logits)))


def result_of(lesions: Lesions, skill: float, key: str, rng: np.random.Generator) -> Result:
    """Draw what a row of this skill gets in one fold; hopeless volumes have a Dice of 0."""
    base = {"healthy": 0.0, "tumours": -0.4, "ms": -2.3}[key] + skill + rng.normal(0, 0.08)
    count = len(lesions.subjects)
    logits = base + lesions.difficulty + rng.normal(0, 0.35, count)
    dice = np.where(logits < -3.4, 0.0, logistic(logits))
    exact = np.clip(dice + np.abs(rng.normal(0, 0.01, count)) * (dice > 0), 0, 1)
    auprc = np.clip(logistic(logits + 0.2 + rng.normal(0, 0.1, count)), 1e-4, 1)
    l1 = 0.03 * np.exp(-0.1 * skill + rng.normal(0, 0.12, count))
    return Result(dice, exact, auprc, l1)


def skills_of(rows: Sequence[SuiteRow]) -> dict[str, float]:
    """The skill of each row, in logits of Dice: evenly spread, but for the pair that has the same."""
    names = [entry.row.name for entry in rows]
    found = dict(zip(names, np.linspace(-1.0, 0.6, len(names)).tolist(), strict=True))
    return {name: 0.5 if name in SAME else value for name, value in found.items()}


class Histograms:
    """Words of histograms, drawn once for a set and a skill and used again: the packing is what takes time."""

    def __init__(self, bins: int, edges: int, rng: np.random.Generator) -> None:
        self._bins, self._edges, self._rng = bins, edges, rng
        self._known: dict[tuple[str, float, int], tuple[str, str, str, str]] = {}

    def words(self, key: str, skill: float, number: int) -> tuple[str, str, str, str]:
        """Inside, outside, slice scores, slice lesions of a volume."""
        name = (key, skill, number % 16)
        if name not in self._known:
            self._known[name] = self._drawn(key, skill)
        return self._known[name]

    def _drawn(self, key: str, skill: float) -> tuple[str, str, str, str]:
        inside = self._counts(0.25 + 0.05 * skill, 0.10, 0 if key == "healthy" else 4000)
        slices = np.zeros(DEPTH, np.int64)
        if key != "healthy":
            slices[20:30] = inside.sum() // 10
        scores = self._rng.normal(0.05, 0.005, DEPTH).astype("<f4") + 0.02 * (slices > 0)
        return (
            pack(inside.astype("<i8")),
            pack(self._counts(0.06, 0.05, 150_000).astype("<i8")),
            pack(scores.astype("<f4")),
            pack(slices.astype("<i8")),
        )

    def _counts(self, middle: float, spread: float, voxels: int) -> np.ndarray:
        scores = np.abs(self._rng.normal(middle, spread, voxels))
        return np.bincount(np.minimum((scores * self._bins).astype(int), self._edges), minlength=self._edges + 1)


@dataclass(frozen=True)
class Study:
    """Writes the records.

    Attributes:
        runs: the folder of run records.
        shape: how large.
        seed: of the generator.
    """

    runs: Path
    shape: Shape
    seed: int = 0

    @cached_property
    def preset(self) -> Preset:
        """The preset that the rows are said to have been run with."""
        return load_preset(self.shape.preset, ())

    @cached_property
    def entries(self) -> tuple[SuiteRow, ...]:
        """The rows, each recipe once."""
        found: dict[str, SuiteRow] = {}
        first = ["maediff", "pddpm-s16", "pddpm-iqa", "ae"]
        for entry in select_rows([*first, "all"]):
            found.setdefault(Recipe.of(entry.card, self._plan(entry), 0).id, entry)
        return tuple(found.values())[: self.shape.rows]

    @cached_property
    def truth(self) -> dict[str, Lesions]:
        """The volumes by key of their set."""
        rng = np.random.default_rng(self.seed)
        return {key: lesions_of(key, count, rng) for key, count in zip(KEYS, self.shape.volumes, strict=True)}

    def write(self) -> Iterator[RunRecord]:
        """Write every record; yields each when it is whole."""
        skills = skills_of(self.entries)
        for number, entry in enumerate(self.entries):
            rng = np.random.default_rng([self.seed, number])
            histograms = Histograms(self.shape.bins, len(self.config.edges), rng)
            for seed in range(self.shape.seeds):
                for fold in range(self.shape.folds):
                    yield self._record(entry, fold, seed, skills[entry.row.name], rng, histograms)

    def _plan(self, entry: SuiteRow) -> Plan:
        return plan_for(self.preset, entry.card, entry.row, entry.score)

    def _record(
        self, entry: SuiteRow, fold: int, seed: int, skill: float, rng: np.random.Generator, histograms: Histograms
    ) -> RunRecord:
        config = self._config(entry, fold, seed)
        record = record_of(self.runs, Cell(Recipe.of(entry.card, self._plan(entry), seed), fold, config.data, _print()))
        record.begin(config, _ENVIRONMENT)
        results = {key: result_of(lesions, skill, key, rng) for key, lesions in self.truth.items()}
        seconds = float(np.exp(0.6 * skill + 0.5))
        scores = tuple(score for key in KEYS for score in self._scores(key, results[key], seconds))
        record.save_scores(scores)
        record.save_thresholds({key: ThresholdPair(0.2, 0.4, 0.21, 0.41) for key in KEYS[1:]})
        metrics = {"parameters": 1e6 * (2 + skill), "seconds_score": seconds * len(scores), **_means(scores)}
        if entry.card.trainable:
            record.save_history(tuple(Epoch(e, 50 * e, 0.2 / e, 0.21 / e, 1e-4) for e in range(1, 21)))
            record.save_untrained({"l1": 0.3, "l1_brain": 0.2})
            metrics |= {"val_loss": 0.01, "seconds_train": 3600.0, "phantom-healthy/l1_untrained": 0.3}
        if self.shape.bins:
            self._beside(record, results, skill, rng, histograms)
        record.save_metrics(metrics)
        record.set_state("scoring", trained=True, seconds_train=3600.0)
        record.finish(3600.0 + metrics["seconds_score"])
        save_cost(record, _cost(config.recipe, seconds, len(scores)))
        return record

    def _config(self, entry: SuiteRow, fold: int, seed: int) -> CellConfig:
        plan, card = self._plan(entry), entry.card
        recipe = Recipe.of(card, plan, seed)
        return CellConfig(
            cell=Cell(recipe, fold, "phantom", _print()).id,
            recipe=recipe.id,
            content=recipe.content(),
            row=entry.row.name,
            title=entry.row.title,
            method=card.info.name,
            control=card.info.control,
            trainable=card.trainable,
            preset=self.preset.name,
            changed=self.preset.changed,
            departures=self.preset.label.departures,
            data="phantom",
            data_title="phantom (simulated records, never run)",
            cohorts={key: CohortConfig(name=f"phantom-{key}", title=TITLES[key]) for key in KEYS},
            fingerprint=_print(),
            splits="phantom",
            fold=fold,
            folds=self.shape.folds,
            seed=seed,
            plan=plan.model_dump(mode="json", exclude_none=True),
        )

    def _scores(self, key: str, found: Result, seconds: float) -> Iterator[VolumeScore]:
        lesions, healthy = self.truth[key], key == "healthy"
        columns = zip(lesions.subjects, found.dice, found.exact, found.auprc, found.l1, lesions.total_ml, strict=True)
        for subject, dice, exact, auprc, l1, ml in columns:
            three = (None, None, None) if healthy else (float(dice), float(exact), float(auprc))
            size = None if healthy else float(ml)
            yield VolumeScore(f"phantom-{key}", key, subject, *three, float(l1), float(1.6 * l1), size, seconds)

    @cached_property
    def config(self) -> DetectionConfig:
        """Thresholds and grid of every cell."""
        sets = {
            key: SetThresholds(greedy=0.2, exact=0.21, at_1=0.3, at_5=0.16 + 0.01 * place, at_10=0.12)
            for place, key in enumerate(KEYS[1:])
        }
        return DetectionConfig(
            version=DETECTION_VERSION,
            thresholds=sets,
            top=TOP,
            bins=max(self.shape.bins, 1),
            voxel_mm=VOXEL_MM,
            ladder=_LADDER,
        )

    def _beside(
        self,
        record: RunRecord,
        results: dict[str, Result],
        skill: float,
        rng: np.random.Generator,
        histograms: Histograms,
    ) -> None:
        volumes: list[VolumeDetection] = []
        lesions: list[LesionDetection] = []
        spread: list[VolumeHistogram] = []
        points: list[VolumeFroc] = []
        apart = rng.spawn(1)[0]  # so that all else is what it was before there was FROC
        for key, truth in self.truth.items():
            for number, subject in enumerate(truth.subjects):
                head = (f"phantom-{key}", key, subject)
                found = list(_lesions(head, truth.sizes[number], results[key].dice[number], rng))
                sets = KEYS[1:] if key == "healthy" else (key,)
                volumes += [_detection(head, at, truth, number, results[key], found, rng) for at in sets]
                lesions += found
                points += _froc(head, self.config.ladder, found, apart)
                spread.append(VolumeHistogram(*head, *histograms.words(key, skill, number)))
        files: tuple[tuple[str, Sequence[Any], type], ...] = (
            (DETECTIONS, volumes, VolumeDetection),
            (LESIONS, lesions, LesionDetection),
            (FROC, points, VolumeFroc),
            (HISTOGRAMS, spread, VolumeHistogram),
        )
        record.fenced.write_json(DETECTION, self.config.model_dump(mode="json"))
        for name, lines, kind in files:
            write_lines(record.fenced, name, lines, kind)


def _lesions(
    head: tuple[str, str, str], sizes: Sequence[float], dice: float, rng: np.random.Generator
) -> Iterator[LesionDetection]:
    """Large lesions are found more often, and better."""
    for number, ml in enumerate(sizes, start=1):
        noise = rng.normal(0, 0.1)  # drawn for every lesion, so that the others keep theirs
        own = float(np.clip(dice * (1 + 0.2 * math.log10(ml + 0.01)) + noise, 0, 1)) if dice else 0.0
        yield LesionDetection(*head, number, float(ml), own, own / (2 - own), float(min(1.0, 1.1 * own)))


def _froc(
    head: tuple[str, str, str],
    ladder: Sequence[LadderStep],
    lesions: Sequence[LesionDetection],
    rng: np.random.Generator,
) -> Iterator[VolumeFroc]:
    """Each step doubles the false components, until they grow together; at the eighth they are as many as the run's."""
    steps = np.arange(len(ladder))
    false = rng.poisson(9.15 * 2.0 ** np.minimum(steps - 7, 17 - 2 * steps))
    share = sum(one.dice >= 0.1 for one in lesions) / max(len(lesions), 1)
    hits = rng.binomial(len(lesions), share * np.minimum((steps + 1) / 8, 1))
    for step, wrong, found in zip(ladder, false.tolist(), hits.tolist(), strict=True):
        sick = (len(lesions), found) if lesions else (None, None)
        yield VolumeFroc(*head, step.share, wrong + found, wrong, *sick)


def _detection(
    head: tuple[str, str, str],
    at: str,
    truth: Lesions,
    number: int,
    result: Result,
    lesions: Sequence[LesionDetection],
    rng: np.random.Generator,
) -> VolumeDetection:
    """A line that fits its lesions: hits are those of Dice 0.1 and more, what is marked follows from Dice.

    In every other hopeless volume nothing is marked.
    """
    sizes = rng.poisson((6.0, 2.5, 0.6, 0.05))
    dice, ml = float(result.dice[number]), float(truth.total_ml[number])
    hits = sum(one.dice >= 0.1 for one in lesions)
    if lesions and not dice and not hits and number % 2:
        sizes[:] = 0
    false_ml = float(sizes @ (0.05, 0.4, 3.0, 15.0))
    hit_ml = dice * (ml + false_ml) / (2 - dice)
    sick = bool(lesions)
    beside = {name: float(np.clip(dice * factor, 0, 1)) for name, factor in _FACTORS.items()}
    inside = 0.12 * (1 + dice)
    numbers = {
        **{"hit_ml": hit_ml, "lesions": len(lesions), "hits": hits},
        **{"hits_iou": sum(one.iou >= 0.5 for one in lesions), "merged": 0, "split": 0},
        **{"hd95": 5 + 40 * (1 - dice) if hits + sizes.sum() else None, "surface_dice": 0.8 * dice, **beside},
        **{"l1_inside": inside, "l1_outside": 0.05, "ssim_inside": 0.5, "ssim_outside": 0.8},
    }
    return VolumeDetection(
        *head,
        at,
        brain_ml=float(truth.brain_ml[number]),
        found_ml=false_ml + (hit_ml if sick else 0.0),
        components=int(sizes.sum()) + hits,
        **dict(zip(("false_below_01", "false_01_1", "false_1_10", "false_above_10"), sizes.tolist(), strict=True)),
        **(numbers if sick else dict.fromkeys(numbers)),  # type: ignore[arg-type]
        score_mean=float(rng.normal(0.05 + 0.01 * sick, 0.008)),
        score_top=float(rng.normal(0.25 + 0.1 * sick * dice, 0.03)),
    )


#: Thresholds at the shares that a run has, falling evenly.
_LADDER = tuple(LadderStep(share=share, threshold=round(0.6 - 0.045 * place, 3)) for place, share in enumerate(LADDER))
_FACTORS = {
    "ceiling_dice": 1.15,
    **{"dice_at_1": 0.95, "dice_at_5": 0.8, "dice_at_10": 0.6},
    **{"recall_at_1": 0.8, "recall_at_5": 1.2, "recall_at_10": 1.4},
}
_ENVIRONMENT = {
    **{"python": "3.11.7", "uadbench": "0.1.0", "torch": "none", "commit": "simulated"},
    **{"device": "none", "machine": "a generator of random numbers", "started": "2026-11-26T20:00:00+00:00"},
}


def _print() -> str:
    """The fingerprint of volumes that are not there."""
    return sha256_of_bytes(b"simulated study")


def _means(scores: Sequence[VolumeScore]) -> dict[str, float]:
    """The cell's means over its volumes."""
    found: dict[str, float] = {}
    for key in KEYS:
        own = [score for score in scores if score.role == key]
        names = ("l1", "l1_brain") if key == "healthy" else ("dice", "dice_exact", "auprc")
        found |= {f"phantom-{key}/{name}": float(np.mean([getattr(one, name) for one in own])) for name in names}
        counts = {"scans_scored": len(own), "scans_in_test": len(own)}
        found |= {f"phantom-{key}/{name}": float(count) for name, count in counts.items()}
        if key != "healthy":
            found[f"phantom-{key}/scans_lesion_free"] = 0.0
    return found


def _cost(recipe: str, seconds: float, volumes: int) -> CellCost:
    """A bill: whoever is better is dearer, on the whole."""
    return CellCost(
        recipe=recipe,
        seconds={"step": 3600.0, "reconstruct": seconds * volumes},
        total=3700.0 + seconds * volumes,
        sessions=1,
        peak_bytes=int(1e9 * (1 + seconds)),
        peak_of="GPU",
        slice_gflop=50 * seconds,
        step_gflop=4800 * seconds,
        gflop=50 * seconds * volumes * DEPTH,
    )


def main() -> int:
    """Write the study and say what it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results folder; the records land in its folder runs")
    parser.add_argument("--rows", type=int, default=Shape.rows)
    parser.add_argument("--folds", type=int, default=Shape.folds)
    parser.add_argument("--volumes", type=int, nargs=3, default=Shape.volumes, metavar=("HEALTHY", "TUMOURS", "MS"))
    parser.add_argument("--bins", type=int, default=Shape.bins, help="of the histograms; 0: no detection files")
    parser.add_argument("--seeds", type=int, default=Shape.seeds)
    parser.add_argument("--preset", default=Shape.preset)
    parser.add_argument("--seed", type=int, default=0, help="of the generator")
    words = parser.parse_args()
    shape = Shape(words.rows, words.folds, tuple(words.volumes), words.bins, words.seeds, words.preset)
    began = time.monotonic()
    records = list(Study(words.results / "runs", shape, words.seed).write())
    size = sum(file.stat().st_size for record in records for file in record.folder.rglob("*") if file.is_file())
    titles = ", ".join(dict.fromkeys(record.config.row for record in records))
    print(
        f"{len(records)} cells of {sum(shape.volumes)} volumes, {size / 1e6:.0f} MB, {time.monotonic() - began:.0f} s"
    )
    print(f"rows: {titles}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
