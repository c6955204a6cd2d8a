"""Cells on Ray: what is asked of it, who is tried again, and the sentences where it cannot be had.

Ray itself is played by `FakeRay`; the last test takes the real one where it is installed. What befalls real nodes is
tried by tests/trials/ray_trial.py.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.executors import ray as executor
from uadbench.benchmarks.executors import ray_cluster
from uadbench.benchmarks.executors.base import AGAIN, DEFECT, DONE, USER, Outcome
from uadbench.benchmarks.executors.data_file import write_data
from uadbench.benchmarks.executors.here import Here
from uadbench.benchmarks.executors.ray import OnRay, run_in_worker
from uadbench.benchmarks.executors.ray_cluster import Node, Share, address_of, share_for
from uadbench.benchmarks.executors.spec import CellSpec
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.request import Where
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.attempts import Attempt, path_of
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError
from uadbench.files import write_text
from uadbench.out_of_memory import Stage

Words = tuple[int, str, str]
WELL: Words = (DONE, "", "")
STAGE = Stage("a", "the training", "batches of 8", ("smaller batches",))


class RayError(Exception):
    """Ray's own errors, as far as we tell them apart."""


class RayTaskError(RayError):
    pass


class NodeDiedError(RayError):
    pass


class LocalRayletDiedError(RayError):
    pass


class OutOfMemoryError(RayError):
    pass


class WorkerCrashedError(RayError):
    pass


class FakeRay:
    """A cluster of one node whose cells end as a script says, or by the real function where it says nothing.

    Args:
        script: by label the ends of a cell's attempts, in order; an exception is raised by `get`.
    """

    exceptions = SimpleNamespace(
        RayError=RayError,
        RayTaskError=RayTaskError,
        NodeDiedError=NodeDiedError,
        LocalRayletDiedError=LocalRayletDiedError,
        OutOfMemoryError=OutOfMemoryError,
    )

    def __init__(self, script: dict[str, list[Words | Exception]] | None = None, gpus: float = 0) -> None:
        self.script = script or {}
        self.gpus = gpus
        self.calls: list[str] = []
        self.asked: dict[str, Any] = {}
        self.started: dict[str, Any] = {}
        self.is_open = False
        self.failures = 0
        self._ends: dict[int, Words | Exception] = {}

    def is_initialized(self) -> bool:
        return self.is_open

    def init(self, **words: Any) -> None:
        self.started = words
        if self.failures:
            self.failures -= 1
            raise ConnectionError("Initialization failure\nTraceback\n  line\nRuntimeError: the reason")
        self.is_open = True
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as the real one does

    def shutdown(self) -> None:
        self.is_open = False

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"Alive": True, "NodeManagerAddress": "n1", "Resources": {"CPU": 4.0, "GPU": self.gpus}},
            {"Alive": False, "NodeManagerAddress": "n2", "Resources": {"CPU": 400.0, "GPU": 400.0}},
        ]

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        self.asked = options
        return lambda function: SimpleNamespace(
            options=lambda name: SimpleNamespace(remote=lambda *words: self._call(name, function, words))
        )

    def _call(self, label: str, function: Any, words: tuple[Any, ...]) -> int:
        self.calls.append(label)
        ends = self.script.get(label)
        self._ends[len(self.calls)] = ends.pop(0) if ends else function(*words)
        return len(self.calls)

    def wait(self, given: Sequence[int], num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        return list(given[:num_returns]), list(given[num_returns:])

    def get(self, given: int) -> Words:
        end = self._ends[given]
        if isinstance(end, Exception):
            raise end
        return end


class Heard(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(autouse=True)
def sigterm() -> Iterator[None]:
    """Leave SIGTERM as it was: the fake Ray takes it, and so does a worker, which here is this process."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Outcome]]:
    """Run cells of these labels on a fake cluster; they exist as labels alone."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("uadbench.benchmarks.executors.backlog._LATER", 0.0)
    monkeypatch.setattr(executor, "_LOOK", 0.0)
    monkeypatch.setattr(executor, "stage_of", lambda *_: STAGE)
    monkeypatch.setattr(CellSpec, "job", lambda _: None)

    def run(ray: FakeRay, *labels: str, heard: Heard | None = None, where: Where = Where("ray")) -> list[Outcome]:  # noqa: B008
        monkeypatch.setitem(sys.modules, "ray", ray)
        specs = [CellSpec.model_construct(cell=label, label=label, title=label, fold=0, runs=str(tmp_path / "runs"))
                 for label in labels]  # fmt: skip
        return list(OnRay.make(where, "cpu", tmp_path).run(specs, heard or Heard()))

    return run


def test_each_cell_ends_once_and_the_cluster_with_the_last(run: Callable[..., list[Outcome]]) -> None:
    ray = FakeRay({label: [WELL] for label in "abc"})
    outcomes = run(ray, "a", "b", "c")
    assert [outcome.spec.label for outcome in outcomes] == ray.calls == ["a", "b", "c"]
    assert not any(outcome.problem for outcome in outcomes)
    assert not ray.is_open
    assert ray.asked == {"num_cpus": 1.0, "num_gpus": 0.0, "max_retries": 0}  # whose fault it was is asked by us
    assert ray.started["address"] == "local"
    assert not Path(ray.started["_temp_dir"]).exists()


def test_a_lost_process_costs_one_retry_and_no_other_cell(run: Callable[..., list[Outcome]]) -> None:
    heard = Heard()
    ray = FakeRay(
        {"a": [WorkerCrashedError(), WELL], "b": [WorkerCrashedError(), OutOfMemoryError(), WELL], "c": [WELL]}
    )
    found = {outcome.spec.label: outcome.end for outcome in run(ray, "a", "b", "c", heard=heard)}
    assert found["a"].code == found["c"].code == DONE
    assert (
        found["b"].code == USER
        and "for the second time; less memory is needed with smaller batches" in found["b"].problem
    )
    assert ray.calls.count("a") == ray.calls.count("b") == 2 and ray.calls.count("c") == 1
    assert sum("tried again" in text for text in heard.said) == 2


def test_a_lost_machine_is_not_the_cells_fault_but_there_is_an_end(run: Callable[..., list[Outcome]]) -> None:
    ray = FakeRay({"a": [NodeDiedError(), WorkerCrashedError(), LocalRayletDiedError(), NodeDiedError(), WELL],
                   "b": [NodeDiedError()] * 4 + [WELL]})  # fmt: skip
    found = {outcome.spec.label: outcome.end for outcome in run(ray, "a", "b")}
    assert found["a"].code == DONE
    assert "its machine was lost at the training with batches of 8, for the fourth time; what" in found["b"].problem


def test_what_the_user_must_mend_is_not_tried_again(run: Callable[..., list[Outcome]]) -> None:
    ray = FakeRay({"a": [(USER, "mend me", ""), WELL], "b": [(DEFECT, "ours", "Traceback"), WELL]})
    found = {outcome.spec.label: outcome.end for outcome in run(ray, "a", "b")}
    assert found["a"].problem == "mend me" and found["b"].trace == "Traceback"
    assert ray.calls == ["a", "b"]


def test_a_cell_that_somebody_else_holds_is_looked_at_again(run: Callable[..., list[Outcome]]) -> None:
    heard = Heard()
    ray = FakeRay({"a": [(AGAIN, "held by p", "")] * 5 + [WELL], "b": [WELL]})
    assert [outcome.end.code for outcome in run(ray, "a", "b", heard=heard)] == [DONE, DONE]
    assert sum("held by p" in text for text in heard.said) == 1
    assert ray.calls.count("a") == 6


def test_ray_gets_no_more_cells_than_it_has_room_for(
    run: Callable[..., list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay({str(number): [WELL] for number in range(50)})
    most = 0

    def wait(given: Sequence[int], num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        nonlocal most
        most = max(most, len(given))
        return list(given[:1]), list(given[1:])

    monkeypatch.setattr(ray, "wait", wait)
    assert len(run(ray, *map(str, range(50)))) == 50
    assert most == 4  # cores


def test_a_cell_whose_machine_is_frozen_goes_on_elsewhere(
    run: Callable[..., list[Outcome]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ray, heard = FakeRay({"a": [WELL, WELL], "b": [WELL]}), Heard()
    monkeypatch.setattr(executor, "_SURVEY", 0.0)
    attempts = tmp_path / "runs" / "a" / "attempts"
    write_text(path_of(attempts, 1), Attempt.here({}, 60.0).text())  # of an earlier run: its silence means nothing
    os.utime(path_of(attempts, 1), (0, 0))
    waits: list[int] = []

    def wait(given: Sequence[int], num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        waits.append(1)
        if len(waits) == 6:  # meanwhile `b` is done; the first process of `a` begins, and freezes
            write_text(path_of(attempts, 2), Attempt.here({}, 60.0).text())
            os.utime(path_of(attempts, 2), (0, 0))
        awake = [one for one in given if one != 1]
        return awake[:num_returns], awake[num_returns:]

    cancelled: list[int] = []
    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(ray, "cancel", lambda given, force: cancelled.append(given), raising=False)
    assert {outcome.spec.label for outcome in run(ray, "a", "b", heard=heard)} == {"a", "b"}
    assert cancelled == [1] and ray.calls == ["a", "b", "a"]
    assert path_of(attempts, 2).exists()  # it was not for the first one
    assert any("gave no sign of life" in text for text in heard.said)


def test_ctrl_c_ends_the_cluster(run: Callable[..., list[Outcome]], monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay({"a": [WELL]})

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(ray, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(ray, "a")
    assert not ray.is_open


def test_ray_does_not_keep_sigterm(run: Callable[..., list[Outcome]]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run(FakeRay({"a": [WELL]}), "a")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_connection_of_the_callers_own_is_used_and_left(run: Callable[..., list[Outcome]]) -> None:
    ray = FakeRay({"a": [WELL]})
    ray.is_open = True
    assert run(ray, "a")[0].end.code == DONE
    assert ray.is_open and not ray.started


def test_a_start_that_fails_is_tried_once_more(run: Callable[..., list[Outcome]]) -> None:
    ray = FakeRay({"a": [WELL]})
    ray.failures = 1
    assert run(ray, "a")[0].end.code == DONE
    ray.failures = 2
    with pytest.raises(UserError, match="no Ray cluster .* here: Initialization failure … RuntimeError: the reason"):
        run(ray, "a")
    assert not Path(ray.started["_temp_dir"]).exists()


def test_a_cluster_that_is_lost_is_told(run: Callable[..., list[Outcome]], monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay({"a": [WELL]})

    def lost(*_: Any, **__: Any) -> Any:
        raise ConnectionError("gone")

    monkeypatch.setattr(ray, "wait", lost)
    with pytest.raises(UserError, match=r"the Ray cluster was lost \(gone\); what was finished is kept"):
        run(ray, "a")


def test_machines_without_this_package_are_told(run: Callable[..., list[Outcome]]) -> None:
    ray = FakeRay({"a": [RayTaskError("Traceback\n  line\nModuleNotFoundError: No module named 'uadbench'\n")]})
    with pytest.raises(UserError, match="No module named 'uadbench'; install the same uadbench there"):
        run(ray, "a")


def test_what_this_machine_has_not_is_told_before_a_cluster_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_cluster.torch.cuda, "device_count", lambda: 2)
    assert OnRay.make(Where("ray", gpus_per_cell=0.5), "cuda", tmp_path).workers == 4
    with pytest.raises(UserError, match="has 5000 cores for a cell"):
        OnRay.make(Where("ray", cpus_per_cell=5000), "cpu", tmp_path)
    assert not ray.started


def test_cells_that_get_a_card_compute_on_it_whatever_the_driver_has(
    run: Callable[..., list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster.torch.cuda, "device_count", lambda: 2)
    ray = FakeRay({"a": [WELL]}, gpus=2)
    (outcome,) = run(ray, "a", where=Where("ray", gpus_per_cell=0.5))
    assert outcome.spec.device == "cuda"
    assert ray.asked == {"num_cpus": 1.0, "num_gpus": 0.5, "max_retries": 0}


def test_ray_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'uadbench\[ray\]'"):
        OnRay.make(Where("ray"), "cpu", tmp_path)


def test_a_head_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{one.getsockname()[1]}"  # taken, and nobody listens
        with pytest.raises(UserError, match=f"no Ray cluster answers at {address}: .*refused.*ray start --head"):
            OnRay.make(Where(address), "cpu", tmp_path)


@pytest.mark.parametrize("address", ["ray://head", "head", "ray://head:port", "ray://head:99999999"])
def test_an_address_that_is_none_is_told(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match="ray"):
        OnRay.make(Where("ray"), "cpu", tmp_path)


def test_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert address_of("ray") == ""
    assert address_of("ray://head:10001") == "ray://head:10001"
    monkeypatch.setenv("RAY_ADDRESS", "other:6379")
    assert address_of("ray") == "other:6379"
    assert address_of("ray://head:10001") == "ray://head:10001"  # what is typed counts
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert address_of("ray") == ""


CPU, ONE, EIGHT = Node("c", 64, 0), Node("g1", 4, 1), Node("g8", 96, 8)


@pytest.mark.parametrize(
    ("nodes", "device", "cpus", "gpus", "share", "places"),
    [
        ((CPU, ONE), "cpu", 0, None, Share(1, 0), 68),
        ((CPU, ONE), "cpu", 4, None, Share(4, 0), 17),
        ((CPU, EIGHT), "cuda", 0, None, Share(12, 1), 8),
        ((CPU, EIGHT), "cuda", 0, 0.25, Share(3, 0.25), 32),
        ((ONE, EIGHT), "cuda", 0, None, Share(4, 1), 9),  # the least that a node has for each of its cells
        ((Node("g5", 7, 5),), "cuda", 0, 0.2, Share(7 / 25, 0.2), 25),  # 7 / (7 / 25) is a little less, as floats go
        ((ONE,), "cuda", 2, 0.25, Share(2, 0.25), 2),
    ],
)
def test_what_a_cell_gets(
    nodes: tuple[Node, ...], device: str, cpus: int, gpus: float | None, share: Share, places: int
) -> None:
    found = share_for(nodes, device, cpus, gpus)
    assert found == share
    assert sum(found.places(node) for node in nodes) == places


@pytest.mark.parametrize(
    ("nodes", "device", "cpus", "gpus", "words"),
    [
        ((CPU,), "cuda", 0, None, "no node of the Ray cluster has a GPU for a cell, the best has 0"),
        ((CPU,), "cuda", 0, 0.5, "has 0.5 of a GPU for a cell"),
        ((EIGHT,), "cuda", 0, 2.0, "a cell computes on one card"),
        ((CPU,), "cpu", 65, None, "has 65 cores for a cell, the best has 64"),
        ((CPU, ONE), "cuda", 8, None, "has 8 cores for a cell, the best has 4"),  # the 64 have no card
    ],
)
def test_what_no_node_has_is_told(
    nodes: tuple[Node, ...], device: str, cpus: int, gpus: float | None, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        share_for(nodes, device, cpus, gpus)


def test_threads_of_a_cell() -> None:
    assert [Share(cpus, 0).threads for cpus in (0.25, 1, 3.5)] == [1, 1, 3]


def _specs(data: Data, preset: Preset, results: Path) -> list[CellSpec]:
    jobs = jobs_for(select_rows(["thresh", "mean-brain"]), (0,), data, preset, 0)
    place = write_data(data, results / "specs")
    return [CellSpec.of(job, place, results / "runs", "cpu") for job in jobs]


def test_a_machine_without_the_results_folder_is_told(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> None:
    spec = _specs(tiny_data, tiny_preset, tmp_path / "here")[0]
    text = spec.model_copy(update={"runs": str(tmp_path / "elsewhere" / "runs")}).model_dump_json()
    code, problem, _ = run_in_worker(text, 1, None)
    assert code == USER and "does not see" in problem and "--results" in problem
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"))])  # fmt: skip
def test_cells_on_ray_are_those_of_this_process(
    real: bool, tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if not real:
        monkeypatch.setitem(sys.modules, "ray", FakeRay())
    serial = list(Here().run(_specs(tiny_data, tiny_preset, tmp_path / "serial"), Heard()))
    executor = OnRay.make(Where("ray"), "cpu", tmp_path / "ray")
    on_ray = list(executor.run(_specs(tiny_data, tiny_preset, tmp_path / "ray"), Heard()))
    found = {outcome.spec.cell: outcome for outcome in on_ray}
    assert len(found) == len(serial) == 2
    for one in serial:
        other = found[one.spec.cell]
        assert other.record.done and not other.problem
        metrics = other.record.metrics
        assert {key: value for key, value in one.record.metrics.items() if "seconds" not in key} == {
            key: value for key, value in metrics.items() if "seconds" not in key
        }
