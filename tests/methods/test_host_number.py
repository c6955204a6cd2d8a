"""A training step never waits for the device; a phase is kept in Python and travels with the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from uadbench.methods import Batch, methods
from uadbench.methods.parts.host_number import HostNumber

Make = Callable[..., Any]
Blobs = Callable[[int, int], Batch]
#: What hands a value, or a size that depends on values, to Python: on a GPU each waits for all work before it.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal")
TRAINABLE = [name for name, cls in methods().items() if cls.trainable]


class NoWaiting(TorchDispatchMode):
    """Refuses operations that wait for the device."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        assert func.overloadpacket.__name__ not in WAITING, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_step_does_not_wait_for_the_device(make: Make, blobs: Blobs, name: str) -> None:
    net, batch = make(methods()[name]), blobs(3, 0)
    stack = batch.image.expand(-1, 2 * net.context + 1, -1, -1)
    numbers = [module for module in net.modules() if isinstance(module, HostNumber)]
    for phase in range(2 if numbers else 1):
        if numbers:
            numbers[0].set(phase)
        for step in range(7):  # f-AnoGAN's seventh is its generator's and one more of its critic
            with NoWaiting():
                net.training_step(batch._replace(stack=stack), step).backward()


def test_the_watchman_sees_a_branch_on_a_tensor() -> None:
    with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
        if torch.tensor(True):
            pass


def test_a_number_travels_with_the_weights_of_whatever_holds_it() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.phase = HostNumber()
            self.layer = nn.Linear(2, 2)

    one, other = Net(), Net()
    one.phase.set(7)
    other.load_state_dict(one.state_dict())
    assert other.phase.value == 7
    assert one.state_dict()["phase.saved"].item() == 7
