"""What stands after `--slurm`: options of sbatch by their long names, "partition=gpu,time=12:00:00,gpus=1"."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from ....errors import UserError

#: Seconds before the end of its time at which a job is warned, unless `signal=` says otherwise.
_WARNING = 120
#: Less does not do for the end of an epoch, a checkpoint and a requeue.
_LEAST_WARNING = 10
#: Options of sbatch that say what a cell needs. A comma in a value of these goes on with it.
_LISTS = frozenset(
    {"constraint", "exclude", "gpus", "gres", "licenses", "mail-type", "nodelist", "partition", "prefer", "setup"}
)
_VALUES = _LISTS | {
    "account", "begin", "comment", "cores-per-socket", "cpu-freq", "cpus-per-gpu", "cpus-per-task", "deadline", "gid",
    "gpu-bind", "gpu-freq", "gpus-per-node", "gpus-per-task", "gres-flags", "hint", "mail-user", "mem", "mem-bind",
    "mem-per-cpu", "mem-per-gpu", "mincpus", "priority", "profile", "qos", "reservation", "signal", "switches",
    "thread-spec", "threads-per-core", "time", "time-min", "tmp", "tres-per-task", "wckey",
}  # fmt: skip
#: Options that may stand without a value.
_FLAGS = frozenset({"exclusive", "get-user-env", "nice", "oversubscribe", "reboot", "spread-job", "use-min-nodes"})
_KNOWN = _VALUES | _FLAGS
#: Options that are set here, and why.
_OURS = {
    "array": "uadbench makes one array of the cells; how many run at a time is said by --parallel",
    "dependency": "a cell waits for no other",
    "error": "each cell has a log of its own below results/slurm",
    "job-name": "uadbench finds its jobs by their name",
    "nodes": "a cell is one process on one node",
    "ntasks": "a cell is one process",
    "ntasks-per-node": "a cell is one process",
    "no-requeue": "a cell that is preempted or runs out of time goes on in the next place of the queue",
    "output": "each cell has a log of its own below results/slurm",
    "requeue": "uadbench asks for it in any case",
}  # fmt: skip
_GPUS = ("gpus", "gpus-per-node", "gpus-per-task", "gres", "tres-per-task")
_EXAMPLE = "--slurm partition=gpu,time=12:00:00,gpus=1"
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


@dataclass(frozen=True)
class Wish:
    """What a job should be.

    Attributes:
        minutes: of its time.
        warning: s before the end of its time at which it is warned.
        setup: a line of the script before the cell is started; "" for none.
        options: of sbatch, by long name; True stands for an option without a value.
    """

    minutes: int
    warning: int
    setup: str
    options: tuple[tuple[str, str | bool], ...]

    @property
    def has_gpus(self) -> bool:
        """Whether a job has a GPU."""
        return any("gpu" in f"{name}={value}" for name, value in self.options if name in _GPUS)

    @property
    def cores(self) -> str:
        """What `cpus-per-task` says; "" where it is left out."""
        return str(dict(self.options).get("cpus-per-task", ""))


def read_wish(text: str) -> Wish:
    """Read what stands after `--slurm`.

    Args:
        text: NAME=VALUE, separated by commas; `time` must be among them.

    Raises:
        UserError: a word is misspelt, means nothing for a cell or is set by this package, or `time` is missing.
    """
    found: dict[str, str | bool] = {}
    for name, value in _pairs(text):
        if name in found:
            raise UserError(f"--slurm says {name} twice; say it once")
        found[name] = value
    if "time" not in found:
        raise UserError(f"--slurm needs the time that a job may take, {_EXAMPLE}; a cell that needs more is requeued")
    minutes = _minutes(str(found.pop("time")))
    warning = _warning(str(found.pop("signal", min(_WARNING, 30 * minutes))), minutes)
    return Wish(minutes, warning, str(found.pop("setup", "")), tuple(found.items()))


def _pairs(text: str) -> Iterator[tuple[str, str | bool]]:
    """Names and values, in order; a part without "=" is a flag or goes on with a list."""
    name, values = "", list[str]()
    for part in (part.strip() for part in text.split(",")):
        word, equals, value = part.partition("=")
        if not equals and name in _LISTS and _long_name(word) not in _FLAGS:
            values.append(part)
            continue
        if name:
            yield name, ",".join(values) or True
        name, values = _known(word, has_value=bool(equals)), [value.strip()] if equals else []
        if equals and not values[0]:
            raise UserError(f"--slurm {part}: nothing stands after {name}=; {_EXAMPLE}")
    if name:
        yield name, ",".join(values) or True


def _long_name(word: str) -> str:
    return word.strip().removeprefix("--").replace("_", "-")


def _known(word: str, *, has_value: bool) -> str:
    """The long name of an option.

    Raises:
        UserError: there is no such option, or it is none for the user.
    """
    name = _long_name(word)
    if not name:
        raise UserError(f"--slurm takes NAME=VALUE, separated by commas: {_EXAMPLE}")
    if name in _OURS:
        raise UserError(f"--slurm {name}: {_OURS[name]}; leave it out")
    if name not in _KNOWN:
        near = get_close_matches(name, sorted(_KNOWN), n=1)
        meant = f"did you mean {near[0]}?" if near else "see `man sbatch`, long names"
        raise UserError(f"--slurm {name}: no option that a cell's job takes; {meant}")
    if not has_value and name not in _FLAGS:
        raise UserError(f"--slurm {name}: it needs a value, {name}=…")
    return name


def _minutes(text: str) -> int:
    """A time as sbatch takes it, in minutes, rounded up.

    Args:
        text: "90" (minutes), "90:00", "12:00:00", "1-12", "1-12:30" or "1-12:30:00".
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise UserError(f"--slurm time={text}: write minutes, hours:minutes:seconds or days-hours, as time=12:00:00")
    days, *parts = (int(part) if part else None for part in match.groups())
    first, second, third = parts
    if days is not None or third is not None:
        hours, minutes, seconds = first, second, third
    else:
        hours, minutes, seconds = 0, first, second
    total = (days or 0) * 1440 + (hours or 0) * 60 + (minutes or 0) + (seconds or 0) / 60
    if total <= 0:
        raise UserError(f"--slurm time={text}: a cell needs some time; write minutes or hours, as time=12:00:00")
    return math.ceil(total)


def _warning(text: str, minutes: int) -> int:
    """The seconds of `signal=`, which must leave a job some time to compute."""
    number = text.rpartition("@")[2]
    if not number.isascii() or not number.isdigit():
        raise UserError(f"--slurm signal={text}: say how many seconds before the end a job is warned, as signal=300")
    seconds = int(number)
    if not _LEAST_WARNING <= seconds <= 30 * minutes:
        raise UserError(
            f"--slurm signal={text}: a job of {minutes} min is warned {_LEAST_WARNING} to {30 * minutes} s before its "
            "end: time for an epoch and a checkpoint, and at most half of its time"
        )
    return seconds
