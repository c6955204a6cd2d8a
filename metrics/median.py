"""The 3-D median filter, equal to SciPy's value by value and several times as fast.

Post-processing is the slowest CPU step of scoring, and the median filter the slowest of post-processing. Two facts:

* A window of which less than half is non-zero has median zero, so only the bounding box of the residual is filtered,
  slice by slice.
* A median is a choice among values, and so a network of `minimum` and `maximum` on whole arrays finds it exactly; see
  `sorting_network`. All its memory is asked for once: fresh arrays would cost more than the arithmetic (measured).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .checks import FloatArray, require_at_least, require_floats, require_volume
from .sorting_network import Lane, Network, median_network

# Cells of two by two voxels that go through the network together. Large enough that the arithmetic outweighs some 1800
# NumPy calls per block, small enough that the registers stay in the cache (measured: flat between 6 000 and 40 000).
_BLOCK_CELLS = 8_000
_PHASES = tuple(product(range(2), repeat=2))


def median_filter(volume: FloatArray, size: int, threads: int = 1) -> FloatArray:
    """Median over a cube around each voxel; beyond its borders the volume is mirrored (SciPy's mode "reflect").

    Args:
        volume: float32 or float64 [D, H, W], finite.
        size: side of the cube in voxels, odd; 1 changes nothing.
        threads: how many work on it; NumPy lets them. The result is the same.

    Returns:
        A new array of the same shape and type, equal to `scipy.ndimage.median_filter(volume, size)`.

    Raises:
        ValueError: the volume is not one of finite floats, or the size is not odd and positive.
    """
    require_floats("volume", volume)
    require_volume("volume", volume)
    require_at_least("size of the median filter", size, 1)
    require_at_least("threads", threads, 1)
    if size % 2 == 0:
        raise ValueError(f"size of the median filter must be odd, so that a voxel is its centre, not {size}")
    if size == 1:
        return volume.copy()
    filtered = np.zeros(volume.shape, volume.dtype)
    # Mirrored before the box is taken: near a border, mirrored voxels count in the majority too.
    padded = np.pad(volume, size // 2, mode="symmetric")
    stream = _Stream.of(padded, size)
    if stream.bands:
        stream.put_back(_medians(stream, padded, threads), filtered)
    return filtered


class _Band(NamedTuple):
    """The part of an output slice whose medians can be other than zero, in cells of two by two voxels."""

    slice: int
    first_row: int
    rows: int


@dataclass(frozen=True)
class _Stream:
    """All bands one behind the other, each with the halo that its windows reach into.

    Attributes:
        radius: voxels that a window reaches to each side, and cells that it reaches ahead.
        bands: of the output slices that have one.
        first_column: of all bands, in cells.
        columns: of all bands, in cells.
    """

    radius: int
    bands: tuple[_Band, ...]
    first_column: int
    columns: int

    @classmethod
    def of(cls, padded: FloatArray, size: int) -> _Stream:
        """The stream of a volume that is mirrored beyond its borders."""
        occupied = padded != 0
        columns = _reach(occupied.any(axis=(0, 1)), size)
        of_slice = occupied.any(axis=2)
        rows = [_reach(of_slice[z : z + size].any(axis=0), size) for z in range(len(padded) - size + 1)]
        bands = (_Band(z, one.start, len(one)) for z, one in enumerate(rows) if one)
        return cls(size // 2, tuple(bands), columns.start, len(columns))

    @property
    def width(self) -> int:
        """Cells of a row with its halo."""
        return self.columns + self.radius

    @property
    def cells(self) -> int:
        """Cells of all bands with their halo."""
        return self.width * sum(band.rows + self.radius for band in self.bands)

    def lanes(self, padded: FloatArray, cells: int) -> NDArray[Any]:
        """The input of the network, by slice of the window and phase, [4 * size, cells]; zeros behind the stream."""
        # A last odd row or column has no partner: it gets zeros, which no window of a voxel reaches.
        even = np.pad(padded, [(0, 0), (0, padded.shape[1] % 2), (0, padded.shape[2] % 2)])
        wanted = slice(self.first_column, self.first_column + self.width)
        phases = [even[:, y::2, x::2][:, :, wanted] for y, x in _PHASES]
        size = 2 * self.radius + 1
        lanes = np.zeros((size * len(phases), cells), padded.dtype)
        for lane, (z, phase) in zip(lanes, product(range(size), phases), strict=True):
            pieces = [phase[b.slice + z, b.first_row : b.first_row + b.rows + self.radius] for b in self.bands]
            np.concatenate(pieces, out=lane[: self.cells].reshape(-1, self.width))
        return lanes

    def put_back(self, medians: NDArray[Any], filtered: FloatArray) -> None:
        """Write the medians, [4, cells] by phase, to where they belong in the volume."""
        columns = slice(self.first_column, self.first_column + self.columns)
        for (y, x), lane in zip(_PHASES, medians, strict=True):
            rows = lane[: self.cells].reshape(-1, self.width)
            first = 0
            for band in self.bands:
                target = filtered[band.slice, y::2, x::2][band.first_row : band.first_row + band.rows, columns]
                target[...] = rows[first : first + target.shape[0], : target.shape[1]]
                first += band.rows + self.radius


def _reach(occupied: NDArray[np.bool_], size: int) -> range:
    """Cells along one axis with an output whose window is centred on or between occupied positions, padded axis."""
    positions = np.flatnonzero(occupied)
    if positions.size == 0:
        return range(0)
    radius = size // 2
    first, last = max(0, int(positions[0]) - radius), min(occupied.size - 2 * radius, int(positions[-1]) + 1 - radius)
    return range(first // 2, (last + 1) // 2) if last > first else range(0)


def _medians(stream: _Stream, padded: FloatArray, threads: int) -> NDArray[Any]:
    """The medians of a stream by phase, [4, cells and more]."""
    network = median_network(2 * stream.radius + 1)
    blocks = -(-stream.cells // _BLOCK_CELLS)
    threads = min(threads, blocks)
    block = -(-stream.cells // blocks)
    halo = stream.radius * (stream.width + 1)
    lanes = stream.lanes(padded, blocks * block + halo)
    medians = np.empty((len(_PHASES), blocks * block), padded.dtype)

    def work(first: int) -> None:
        filter_block = _Bound(network, stream.width, block, halo, padded.dtype)
        for start in range(first * block, blocks * block, threads * block):
            filter_block(lanes[:, start : start + block + halo], medians[:, start : start + block])

    if threads == 1:
        work(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
    return medians


class _Bound:
    """A network with memory of its own: each step knows its arrays, so that a call is all it costs.

    Args:
        network: what is done.
        width: cells of a row.
        block: cells that it gives the medians of.
        halo: cells behind these that it reads.
        dtype: of the voxels.
    """

    def __init__(self, network: Network, width: int, block: int, halo: int, dtype: np.dtype[Any]) -> None:
        self._registers = np.empty((network.registers, block + halo), dtype)
        self._inputs = self._registers[: 4 * network.size]
        self._outputs = [self._registers[number, :block] for number in network.medians]
        #: How far each register is known: what is read ahead is missing at the end.
        known = [block + halo] * network.registers

        def read(lane: Lane) -> tuple[int, int]:
            shift = lane.rows * width + lane.columns
            return shift, known[lane.register] - shift

        self._calls = []
        for step in network.steps:
            (one, left), (other, right) = read(step.one), read(step.other)
            length = known[step.target] = min(left, right)
            self._calls.append(
                (
                    np.maximum if step.larger else np.minimum,
                    self._registers[step.one.register, one : one + length],
                    self._registers[step.other.register, other : other + length],
                    self._registers[step.target, :length],
                )
            )

    def __call__(self, lanes: NDArray[Any], medians: NDArray[Any]) -> None:
        """Filter a block, [4 * size, block + halo] to [4, block]."""
        self._inputs[...] = lanes
        for choose, one, other, target in self._calls:
            choose(one, other, out=target)
        for result, found in zip(medians, self._outputs, strict=True):
            result[...] = found
