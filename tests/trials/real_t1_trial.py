"""Real T1 heads from their files to a table: sets of one's own, prepare, check, run, table, figure.

    python tests/trials/real_t1_trial.py WORK                       # everything; an hour and more on two cores
    python tests/trials/real_t1_trial.py WORK --until check         # prepare and check, no training

The scans lie in ../shared/data/real_t1 beside the project (its README says whose they are): 35 scans of 30 healthy
people, two patients with multiple sclerosis and two with gliomas. They are for trying on the machine that has them:
nothing of them, no file, picture or derived volume, is ever committed, and WORK must lie outside the project.

Two sets of one's own are written to WORK/real_t1_sets.py and named to every command by `--data-set`. Five people stand
among the healthy twice, as other scans of another day under other numbers. The table that says so is not read until
`bench check` has been: what it finds is then compared with it. Every command goes on where it stopped, so the script
may be ended and started again.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data" / "real_t1"
STEPS = ("prepare", "check", "run", "table", "figure")
METHODS = ("thresh", "ae", "dae", "anoddpm")
ATLAS = ("--atlas", "mni152")  # which needs no network
_MODALITY = ("--modality", "t1")

SETS = '''"""Healthy people of OASIS-1 and patients of MSLUB and TCGA-LGG, T1: sets for a trial."""

import csv

from uadbench.datasets import MASK, DataSet, Modality, NamePattern, Participant, ParticipantSheet, Role


def ages(path):
    """Age by scan: every scan is taken for a person of its own, which is what the check has to find out."""
    with path.open(newline="") as file:
        return {row["scan"]: Participant(float(row["age"])) for row in csv.DictReader(file)}


HEALTHY = DataSet(
    name="real-healthy",
    title="Real healthy",
    citation="OASIS-1 (Marcus et al., J. Cogn. Neurosci. 19, 2007), as released for a challenge at MICCAI 2012",
    source="the shared folder of this machine",
    role=Role.HEALTHY,
    modalities={Modality.T1: "1000_SS.nii.gz"},
    recognise=NamePattern(r"(?P<scan>\\d{4})_(?P<kind>ss|mask)", {"ss": Modality.T1, "mask": MASK}),
    participants=ParticipantSheet(("participants.csv",), ages),
    stripper="mask-file",
)
LESIONS = DataSet(
    name="real-lesions",
    title="Real lesions",
    citation="MSLUB (Lesjak et al., Neuroinformatics 16, 2018) and TCGA-LGG (The Cancer Imaging Archive, 2016)",
    source="the shared folder of this machine",
    role=Role.LESIONS,
    modalities={Modality.T1: "patient07_t1.nii.gz"},
    recognise=NamePattern(r"(?P<scan>patient\\d+|TCGA-\\w+-\\d+)_(?P<kind>\\w+)"),
    held_out=(1, 2),
    stripper="none",
)
'''


def main() -> None:
    """Do the steps in order, each by the command that a user would type."""
    options = _options()
    work: Path = options.work.resolve()
    if ROOT in (work, *work.parents):
        raise SystemExit(f"{work} lies in the project, where nothing of these scans may be; choose another folder")
    if not SHARED.is_dir():
        raise SystemExit(f"{SHARED} is absent: no real heads to try on")
    work.mkdir(parents=True, exist_ok=True)
    (work / "real_t1_sets.py").write_text(SETS)
    steps = STEPS[: STEPS.index(options.until) + 1]
    if "prepare" in steps:
        _prepare(work, options.jobs)
    if "check" in steps:
        _check(work, options.jobs)
    if "run" in steps:
        _bench(work, "run", *_methods(options.methods), "--folds", options.folds, "--jobs", str(options.jobs), *_data())
    if "table" in steps:
        _bench(work, "table", "1", "--data", "data", *_MODALITY)
    if "figure" in steps:
        _bench(work, "figure", "reconstructions", *_methods(options.methods), "--out", "reconstructions.png", *_data())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="the folder to work in, outside the project; it may be there already")
    parser.add_argument("--until", choices=STEPS, default=STEPS[-1], help="the last step to do (default: %(default)s)")
    parser.add_argument("--methods", default=",".join(METHODS), help="rows to run, by commas (default: %(default)s)")
    parser.add_argument("--folds", default="all", help="folds to run, such as 0,1 (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: %(default)s)")
    return parser.parse_args()


def _prepare(work: Path, jobs: int) -> None:
    """Both sets in T1: the lesions from a folder of links, since their two sources lie apart."""
    patients = work / "patients"
    patients.mkdir(exist_ok=True)
    for path in (*SHARED.glob("mslub/*.nii.gz"), *SHARED.glob("glioma/*.nii.gz")):
        link = patients / path.name
        if not link.exists():
            link.symlink_to(path)
    for name, raw in (("real-healthy", SHARED / "healthy"), ("real-lesions", patients)):
        _bench(work, "prepare", name, str(raw), *ATLAS, "--out", "data", "--jobs", str(jobs), *_set_words())


def _check(work: Path, jobs: int) -> None:
    """The check, and whether the pairs that it finds are those that the table of people knows."""
    said = _bench(work, "check", "data", "--jobs", str(jobs), *_set_words(), fails=True)
    found = {frozenset(pair) for pair in re.findall(r"(\d{4}) \(and (\d{4}), [\d.]+\)", said)}
    with (SHARED / "healthy" / "participants.csv").open(newline="") as file:
        people = {row["scan"]: row["person"] for row in csv.DictReader(file)}
    true = {frozenset(pair) for pair in combinations(people, 2) if people[pair[0]] == people[pair[1]]}
    names = ", ".join("-".join(sorted(pair)) for pair in sorted(found & true, key=sorted))
    print(f"Of {len(true)} people who stand there twice the check found {len(found & true)}: {names}.")
    print(f"It took {len(found - true)} other pairs for one person.")
    if found != true:
        raise SystemExit(1)


def _methods(rows: str) -> list[str]:
    return [word for row in rows.split(",") for word in ("--method", row)]


def _set_words() -> tuple[str, ...]:
    return (*_MODALITY, "--data-set", "real_t1_sets.py")


def _data() -> tuple[str, ...]:
    return ("--data", "data", *_set_words())


def _bench(work: Path, *words: str, fails: bool = False) -> str:
    """What a command prints, shown as it comes; it must succeed, or may fail where `fails` says so."""
    print(f"\n$ bench {' '.join(words)}", flush=True)
    started = time.perf_counter()
    said = []
    command = [sys.executable, "-m", "uadbench", *words]
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            said.append(line)
    print(f"[{time.perf_counter() - started:.0f} s, exit code {process.returncode}]", flush=True)
    if process.returncode and not fails:
        raise SystemExit(process.returncode)
    return "".join(said)


if __name__ == "__main__":
    main()
