"""What the statistics promise, tried where the truth is known: false alarms of the tests, coverage of the intervals.

    python tests/trials/null_trial.py                  # 500 studies of each kind, three minutes of one core
    python tests/trials/null_trial.py --studies 200 --seed 1

Each study has volumes of different difficulty, on which Dice is skewed and often exactly 0, as on small lesions: two
methods, five trainings each. Under the null both have the same skill. Three kinds of chance: volumes alone; volumes and
noise of each training on each volume; and besides these a stroke of luck of each training, which lifts all its volumes,
as folds of real methods show. Counted is how often

    pooled        Wilcoxon's p is below 0.05 with each fold's volumes as volumes of their own, which is what not to do
    Wilcoxon      the same with the folds averaged first: right only where trainings have no luck of their own
    crossed       p of the test for which trainings are chance, too, is below 0.05
    interval      the 95 % interval of the difference leaves out zero
    called        what we call a difference (`judgement.comparison.tells_apart`)
    false claim   the probability of a false claim is below 5 %, in either direction: one in ten is what it promises
    family        of six methods of one skill one is called worse than the best (`judgement.family`)
    coverage      the 95 % interval of a method's mean holds the truth; and that of volumes alone

Prints tables in Markdown; they stand in benchmarks/judgement/README.md.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from uadbench.benchmarks.judgement.by_volume import Cube
from uadbench.benchmarks.judgement.comparison import ALPHA, tells_apart
from uadbench.benchmarks.judgement.family import near_best
from uadbench.metrics.inference import interval_of_mean, paired, two_level_interval
from uadbench.metrics.inference.paired import signed_rank

FOLDS = 5
#: Resamples of a study: fewer than in earnest, since the studies are many.
RESAMPLES = 1000


@dataclass(frozen=True)
class Chance:
    """What differs by chance, as standard deviations in logits of Dice.

    Attributes:
        name: in the table.
        noise: of a training on a volume.
        luck: of a training on all volumes.
    """

    name: str
    noise: float
    luck: float


CHANCES = (Chance("volumes", 0.0, 0.0), Chance("+ noise", 0.35, 0.0), Chance("+ luck", 0.35, 0.08))


def difficulty(count: int, rng: np.random.Generator) -> np.ndarray:
    """Of volumes: logits of Dice with a long tail of hopeless ones."""
    return np.asarray(-1.5 + rng.normal(0, 1.2, count) - rng.exponential(0.8, count))


def scores_of(hard: np.ndarray, methods: int, chance: Chance, rng: np.random.Generator) -> np.ndarray:
    """Dice of methods of one skill [methods, folds, volumes]; each method has its own strengths on each volume."""
    count = hard.size
    own = rng.normal(0, 0.5, (methods, 1, count))
    luck = rng.normal(0, chance.luck, (methods, FOLDS, 1))
    noise = rng.normal(0, chance.noise, (methods, FOLDS, count))
    logits = hard + own + luck + noise
    return np.where(logits < -4, 0.0, 1 / (1 + np.exp(-logits)))


def truth(chance: Chance) -> float:
    """The mean Dice of a method on all volumes that there are, by a million of them."""
    rng = np.random.default_rng(99)
    parts = [scores_of(difficulty(2000, rng), 10, chance, rng).mean() for _ in range(50)]
    return float(np.mean(parts))


def alarms(count: int, chance: Chance, mean: float, rng: np.random.Generator) -> Counter[str]:
    """One study: which of the statistics raise an alarm, and which intervals hold the truth."""
    first, second, *_ = every = scores_of(difficulty(count, rng), 6, chance, rng)
    words = {"resamples": RESAMPLES, "seed": int(rng.integers(1 << 30))}
    found = paired(first, second, **words)
    interval = found.interval
    cube = Cube(tuple("abcdef"), tuple(range(FOLDS)), tuple(map(str, range(count))), every)
    both, alone = two_level_interval(first, **words), interval_of_mean(first.mean(axis=0), **words)
    said = tells_apart(found.p_strict, interval.low, interval.high)
    return Counter(
        {
            "pooled": signed_rank((first - second).ravel()) < ALPHA,
            "Wilcoxon": found.p < ALPHA,
            "crossed": found.p_crossed < ALPHA,
            "interval": interval.low > 0 or interval.high < 0,
            "called": said,
            "false claim": found.false_claim < 0.05,
            "family": len(near_best(cube, higher=True, **words)) < 6,
            "coverage": both.low <= mean <= both.high,
            "volumes alone": alone.low <= mean <= alone.high,
        }
    )


HEADS = (
    *("pooled", "Wilcoxon", "crossed", "interval", "called", "false claim", "family"),
    *("coverage", "volumes alone"),
)


def row(count: int, chance: Chance, studies: int, seed: int) -> str:
    """A row of the table."""
    rng = np.random.default_rng([seed, count, CHANCES.index(chance)])
    mean = truth(chance)
    total: Counter[str] = Counter()
    for _ in range(studies):
        total.update(alarms(count, chance, mean, rng))
    return f"| {chance.name} | {count} | " + " | ".join(f"{100 * total[head] / studies:.1f}" for head in HEADS) + " |"


def main() -> int:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--volumes", type=int, nargs="+", default=[20, 100, 1000])
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    print(f"| chance | n | {' | '.join(HEADS)} |\n|---|{'--:|' * (len(HEADS) + 1)}")
    for chance in CHANCES:
        for count in words.volumes:
            print(row(count, chance, words.studies, words.seed), flush=True)
    error = 100 * math.sqrt(0.05 * 0.95 / words.studies)
    print(f"\n{words.studies} studies, seed {words.seed}; standard error of 5 %: {error:.1f}; ", end="")
    print(f"{time.process_time():.0f} s of one core")
    return 0


if __name__ == "__main__":
    sys.exit(main())
