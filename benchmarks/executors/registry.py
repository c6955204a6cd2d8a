"""Which executors there are: a module of this package that holds one offers it.

Installed packages join by an entry point of the group `uadbench.executors`, whose value is the class.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ...errors import UserError
from ...registry import Kind, Registry, is_name, place_of
from ..plan.request import EXECUTOR_ENTRY_POINTS, Where
from .base import Executor


class ExecutorWarning(UserWarning):
    """A package offers executors that cannot be had."""


def _refuse(executor: type[Executor], others: Sequence[type[Executor]]) -> None:
    if not is_name(executor.name):
        raise ValueError(f"{place_of(executor)}: {executor.name!r} is no name")
    for other in others:
        if other.name == executor.name:
            raise ValueError(f"two executors are called {executor.name!r}: {place_of(other)} and {place_of(executor)}")


def _is_executor(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Executor) and not inspect.isabstract(found)


def _gather(module: ModuleType) -> None:
    for item in vars(module).values():
        if _is_executor(item) and item.__module__ == module.__name__:
            REGISTRY.add(item, place_of(item))


_PASSED_OVER = frozenset(
    {
        "attempt",
        "backlog",
        "base",
        "data_file",
        "exit_codes",
        "main_guard",
        "order",
        "ray_cluster",
        "registry",
        "spec",
        "watcher",
    }
)


#: Every executor; `executor_for` reads it.
REGISTRY: Registry[type[Executor]] = Registry(
    Kind(
        plural="executors",
        one="an Executor",
        group=EXECUTOR_ENTRY_POINTS,
        package="uadbench.benchmarks.executors",
        passed_over=_PASSED_OVER,
        warning=ExecutorWarning,
        is_one=_is_executor,
        name_of=lambda executor: executor.name,
        refuse=_refuse,
    ),
    _gather,
)


def executor_for(where: Where, device: str, results: Path) -> Executor:
    """The executor that `--on` names, as the user wants it.

    Args:
        where: what the user says.
        device: "cpu" or "cuda".
        results: the folder of runs, volume stores and the MLflow file.

    Raises:
        UserError: there is none of this name, an option means nothing to it, or the place cannot be reached.
    """
    known, name = REGISTRY.items(), where.name
    if name not in known:
        raise UserError(f"--on {where.on}: choose {', '.join(known)}")
    known[name].refuse_unread(where)
    return known[name].make(where, device, results)
