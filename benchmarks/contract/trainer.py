"""Lightning's trainer, told that a cell is one process on one device, whatever scheduler or launcher started it."""

from __future__ import annotations

import inspect
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ...stopping import Stop


class OneProcess(LightningEnvironment):
    """Lightning's plain environment, without what it reads from variables that launchers set."""

    def __init__(self) -> None:
        super().__init__()
        self.set_global_rank(0)  # Lightning took another one from SLURM_PROCID and the like when it was imported

    @property
    def creates_processes_externally(self) -> bool:
        """No launcher made this process for a distributed training."""
        return False

    @property
    def main_address(self) -> str:
        """This machine."""
        return "127.0.0.1"

    def local_rank(self) -> int:
        """The only one."""
        return 0

    def node_rank(self) -> int:
        """The only one."""
        return 0

    def teardown(self) -> None:
        """Leave the variables as they are: they belong to whoever set them."""


class Handover(TorchCheckpointIO):
    """Lightning's access to checkpoints: reads files as Lightning does, and gives away what it would have written.

    Args:
        take: is given the content, whose tensors are those of the training itself.
    """

    def __init__(self, take: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._take = take

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Give the content away."""
        self._take(checkpoint)


def make_trainer(device: str, **settings: Any) -> L.Trainer:
    """A trainer of one process that prints, logs and keeps nothing of its own, and is as told here alone.

    Args:
        device: "cpu" or "cuda".
        settings: further arguments of `L.Trainer`.
    """
    defaults = {name: known.default for name, known in inspect.signature(L.Trainer).parameters.items()}
    ours = {
        "accelerator": "gpu" if device.startswith("cuda") else device,
        "devices": 1,
        "plugins": [OneProcess()],
        "default_root_dir": os.devnull,  # else a SLURM job takes up any hpc_ckpt_*.ckpt of the working directory
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(**{**defaults, **ours, **settings})  # all arguments: Lightning takes others from PL_TRAINER_*


def fit(trainer: L.Trainer, *words: Any, **settings: Any) -> None:
    """Run Lightning's loop; its ways of leaving on Ctrl-C and SIGTERM are turned back into KeyboardInterrupt.

    Lightning ignores SIGINT from then on and raises SystemExit, which a method may raise as well.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(*words, **settings)
    except SystemExit as stop:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
        if isinstance(stop, SIGTERMException):
            raise Stop(signal.SIGTERM) from None
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
