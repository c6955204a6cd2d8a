"""What is freed stays in the process, where glibc is its C library and nobody decided otherwise; no number changes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from uadbench.allocator import hand_back_memory, keep_freed_memory

IS_GLIBC = sys.platform == "linux" and bool(os.confstr("CS_GNU_LIBC_VERSION"))
glibc = pytest.mark.skipif(not IS_GLIBC, reason="another C library")

#: Page faults of asking for 48 MiB, touching and freeing them ten times, before and after.
FAULTS = """
import resource
from uadbench.allocator import hand_back_memory, keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytearray(48 << 20)[::4096]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults(), keep_freed_memory(), faults() and faults(), sep="\\n")
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
before = resident()
hand_back_memory()
print(before - resident())
"""
#: The digest of a small U-Net's weights and losses after two steps, before and after.
NUMBERS = """
import hashlib, torch
from uadbench.allocator import keep_freed_memory
from uadbench.methods.parts.unet import UNet, UNetSettings
settings = UNetSettings(channels=32, multipliers=(1, 2), blocks=1, head_channels=16, attention=True,
                        attention_sides=(16,), stem=1)
def digest():
    torch.manual_seed(0)
    network = UNet(settings, 32)
    optimizer, image, t = torch.optim.Adam(network.parameters(), lr=1e-3), torch.rand(8, 1, 32, 32), torch.arange(1, 9)
    found = hashlib.sha256()
    for _ in range(2):
        loss = (network(image, t) - image).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.update(loss.detach().numpy().tobytes())
    for weights in network.parameters():
        found.update(weights.detach().numpy().tobytes())
    return found.hexdigest()
print(digest(), keep_freed_memory(), digest(), sep="\\n")
"""


def said_by(script: str) -> list[str]:
    unset = {name: text for name, text in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=unset, capture_output=True, text=True, check=True).stdout.splitlines()


@glibc
def test_freed_memory_is_used_again_and_can_be_handed_back() -> None:
    before, is_done, after, handed_back = said_by(FAULTS)
    assert is_done == "True"
    assert int(before) > 10 * (48 << 20) / os.sysconf("SC_PAGE_SIZE") / 2
    assert int(after) < int(before) / 20
    assert int(handed_back) > 40 << 20


@glibc
def test_no_number_changes() -> None:
    before, is_done, after = said_by(NUMBERS)
    assert is_done == "True"
    assert before == after


class Library:
    """A C library that takes thresholds up to some size."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.asked: list[tuple[int, int]] = []

    def mallopt(self, name: int, value: int) -> int:
        self.asked.append((name, value))
        return int(value <= self.most or name == -1)


@glibc
def test_an_older_glibc_gets_the_highest_threshold_that_it_takes() -> None:
    library = Library(2**25)
    assert keep_freed_memory(library, {})
    assert library.asked == [(-3, 2**30), (-3, 2**25), (-1, 2**30)]
    assert not keep_freed_memory(Library(0), {})


@pytest.mark.parametrize(
    "words",
    [{"MALLOC_MMAP_THRESHOLD_": "1"}, {"MALLOC_TRIM_THRESHOLD_": "1"}, {"GLIBC_TUNABLES": "glibc.malloc.check=3"}],
)
def test_a_users_own_setting_stays(words: dict[str, str]) -> None:
    library = Library(2**30)
    assert not keep_freed_memory(library, words)
    assert library.asked == []


def test_where_there_is_no_such_function_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not keep_freed_memory(object(), {})
    hand_back_memory(object())
    monkeypatch.setattr(os, "confstr", lambda name: None)  # as musl answers
    library = Library(2**30)
    assert not keep_freed_memory(library, {}) and library.asked == []

    def unknown(name: str) -> str:
        raise ValueError("unrecognized configuration name")  # as macOS answers

    monkeypatch.setattr(os, "confstr", unknown)
    assert not keep_freed_memory(library, {}) and library.asked == []
    hand_back_memory(library)
