"""The arrays of a volume store on disk: how they are called, of which type they are, how they get there and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...files import sha256_of_bytes

FORMAT = 1
MANIFEST = "manifest.json"
VOLUME, BRAIN, LESION = "volume", "brain_mask", "lesion_mask"
LESION_FILE = "lesion_masks.npy"
#: The values in it.
IS_LESION, IS_IGNORED = 1, 2
FILES = {VOLUME: "volumes.npy", BRAIN: "brain_masks.npy", LESION: LESION_FILE}
DTYPES: dict[str, np.dtype[Any]] = {VOLUME: np.dtype("<f4"), BRAIN: np.dtype("u1"), LESION: np.dtype("u1")}


def array_names(has_lesions: bool) -> tuple[str, ...]:
    """The arrays of a store."""
    return (VOLUME, BRAIN, LESION) if has_lesions else (VOLUME, BRAIN)


def mapped(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array of a store, mapped and read-only.

    Raises:
        DataError: its file is missing, cut short or of another shape or type.
    """
    path = folder / FILES[name]
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is missing or cut short; delete {folder} and prepare the data again") from error
    if array.shape != shape or array.dtype != DTYPES[name]:
        raise DataError(f"{path} holds {array.dtype} {array.shape}, not {DTYPES[name]} {shape}; delete {folder}")
    return np.asarray(array)


def write_entry(path: Path, count: int, index: int, array: NDArray[Any]) -> None:
    """Write entry `index` of a .npy file of `count` entries by plain file output.

    Not through a memory map: on a full disk a map kills the process, plain output raises.
    """
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": (count, *array.shape)}
    if not path.exists():
        unfinished = path.with_suffix(".new")
        with unfinished.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + count * array.nbytes)
        unfinished.rename(path)
    with path.open("r+b") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        if tuple(shape) != header["shape"]:
            raise DataError(f"prepared volumes differ in shape: {shape[1:]} and {array.shape}")
        file.seek(index * array.nbytes, os.SEEK_CUR)
        file.write(array.data)


def sha256_of_array(array: NDArray[Any]) -> str:
    """SHA-256 of an array's content."""
    return sha256_of_bytes(np.ascontiguousarray(array).data)
