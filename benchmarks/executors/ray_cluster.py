"""A Ray cluster: one that runs already, or one of this machine alone that begins and ends with the run."""

from __future__ import annotations

import logging
import math
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from ...errors import UserError
from ...workers import signals_held

#: What Ray itself reads; the word "local" in it asks for a cluster of one's own.
ADDRESS = "RAY_ADDRESS"
_INSTALL = "install it with pip install 'uadbench[ray]'"
_SECONDS_TO_ANSWER = 5.0
#: Nothing of a cell travels through Ray's store of objects; this is about the least that it takes.
_STORE_BYTES = 80 * 2**20
_NO_ROUNDING = 1e-9


@dataclass(frozen=True)
class Node:
    """A machine of a cluster.

    Attributes:
        name: its address.
        cpus: cores that Ray hands out there.
        gpus: cards that Ray hands out there.
    """

    name: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Share:
    """What a cell gets of a node.

    Attributes:
        cpus: cores.
        gpus: cards; below one several cells share a card.
    """

    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """Threads of PyTorch in a cell."""
        return max(1, int(self.cpus))

    def places(self, node: Node) -> int:
        """How many such cells a node holds at a time."""
        room = [have / want for have, want in ((node.cpus, self.cpus), (node.gpus, self.gpus)) if want > 0]
        return math.floor(min(room) + _NO_ROUNDING)


def share_for(nodes: Iterable[Node], device: str, cpus: int, gpus: float | None) -> Share:
    """What each cell gets.

    A cell on a CPU has one core, as one of our own processes has where each core runs a cell. On GPUs each card runs
    one cell, or as many as fit by `gpus`, and these share the node's cores evenly.

    Args:
        nodes: of the cluster.
        device: "cpu" or "cuda".
        cpus: cores of a cell; 0 leaves it to this function.
        gpus: cards of a cell; None is one, on "cuda".

    Raises:
        UserError: no node has so much.
    """
    if gpus is not None and gpus > 1:
        raise UserError(f"--gpus-per-cell {gpus:g}: a cell computes on one card; choose 1, or a fraction to share one")
    cards = 0.0 if device == "cpu" else gpus or 1.0
    known = tuple(nodes)
    if max((node.gpus for node in known), default=0.0) < cards:
        most = max((node.gpus for node in known), default=0.0)
        raise UserError(
            f"no node of the Ray cluster has {_cards(cards)} for a cell, the best has {most:g}; start nodes with "
            "`ray start --num-gpus`, or choose --device cpu and no --gpus-per-cell"
        )
    share = Share(float(cpus) if cpus else _even_cpus(known, cards), cards)
    if not any(share.places(node) for node in known):
        most = max((node.cpus for node in known if node.gpus >= cards), default=0.0)
        raise UserError(f"no node of the Ray cluster has {share.cpus:g} cores for a cell, the best has {most:g}")
    return share


def _even_cpus(nodes: tuple[Node, ...], cards: float) -> float:
    """Cores of a cell where each of a node's cells gets as many; a whole number where there is one for each."""
    if cards == 0:
        return 1.0
    cells = {node: math.floor(node.gpus / cards + _NO_ROUNDING) for node in nodes}
    least = min((node.cpus / count for node, count in cells.items() if count), default=1.0)
    return float(math.floor(least)) if least >= 1 else least


def _cards(count: float) -> str:
    return "a GPU" if count == 1 else f"{count:g} of a GPU"


class RayCluster:
    """The connection to a cluster.

    Args:
        address: "ray://HOST:PORT", "HOST:PORT" or "auto" for a cluster that runs; "" starts one on this machine.
        cores: of this machine that a cluster of our own hands out.
        device: "cpu" or "cuda": whether a cluster of our own hands out cards.
    """

    def __init__(self, address: str, cores: int, device: str) -> None:
        self.is_own = not address
        self._address = address
        self._cores = cores
        self._device = device
        self._folder = ""
        self._is_open = False
        self.ray = import_ray()

    def open(self) -> None:
        """Connect, or start the cluster; nothing where that is done.

        Ray takes SIGTERM for itself when it starts, and its processes must not hear the terminal's Ctrl-C.

        Raises:
            UserError: nobody answers at the address, or the cluster is of another version.
        """
        if self._is_open or self.ray.is_initialized():  # the connection of a notebook stays what it is
            return
        if not self.is_own:
            _knock(self._address)
        with signals_held():
            self._connect()
        self._is_open = True

    def _connect(self, attempts: int = 2) -> None:
        """Start or connect; once more where that fails, as a head under load does not always manage at once."""
        where = self._own() if self.is_own else {"address": self._address}
        try:
            self.ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
        except Exception as error:
            self._remove_folder()
            if attempts > 1:
                self._connect(attempts - 1)
                return
            what = "no Ray cluster could be started here" if self.is_own else f"no Ray cluster at {self._address}"
            raise UserError(f"{what}: {_gist(error)}") from error

    def _own(self) -> dict[str, Any]:
        """A cluster of this machine alone; Ray lets nobody in who has not the token in ~/.ray."""
        self._folder = tempfile.mkdtemp(prefix="uadbench-ray-")
        return {
            "address": "local",
            "num_cpus": self._cores,
            "num_gpus": 0 if self._device == "cpu" else None,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_temp_dir": self._folder,
        }

    def nodes(self) -> tuple[Node, ...]:
        """The machines that are there now; where a cluster of our own is still to be started, this one."""
        if self.is_own and not self.ray.is_initialized():
            cards = torch.cuda.device_count() if self._device == "cuda" else 0
            return (Node("this machine", self._cores, cards),)
        found = [node for node in self.ray.nodes() if node["Alive"]]
        return tuple(
            Node(node["NodeManagerAddress"], node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
            for node in found
        )

    def close(self) -> None:
        """End the connection and all that runs over it; a cluster of our own ends with it."""
        if not self._is_open:
            return
        with signals_held():
            self.ray.shutdown()
        self._is_open = False
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def import_ray() -> Any:
    """Ray, which tells nobody that it is used.

    Raises:
        UserError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--on ray needs Ray, which is not installed here; {_INSTALL}") from error
    return ray


def address_of(where: str) -> str:
    """The cluster's address by the word after `--on`; "" where one is to be started here."""
    return where if "://" in where else os.environ.get(ADDRESS, "").removeprefix("local")


def _knock(address: str) -> None:
    """See that somebody listens: Ray itself would try for half a minute.

    Raises:
        UserError: nobody does, or the address is none.
    """
    host, colon, port = address.partition("://")[2].rpartition(":") if "://" in address else address.rpartition(":")
    if not colon:
        if address == "auto":
            return
        raise UserError(f"{address} is no address of a Ray cluster; write ray://HOST:10001")
    try:
        socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster answers at {address}: {_gist(error)}; start one there with `ray start --head`, "
            "whose client server listens at port 10001"
        ) from error


def _gist(error: BaseException) -> str:
    """The first and the last line of what an error says; between them stands a traceback of Ray's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " … ".join(dict.fromkeys((lines[0], lines[-1]))) if lines else type(error).__name__
