"""What the run and the process that tells MLflow say to each other: a line of JSON each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Message(BaseModel):
    """Base of the messages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def line(self) -> bytes:
        """The message as it goes through a pipe."""
        return self.model_dump_json().encode() + b"\n"


class Begin(Message):
    """The first word to the teller.

    Attributes:
        uri: the store.
        folders: of the cells.
        checkpoint: upload the best weights, too.
        model: log a model, too.
    """

    kind: Literal["begin"] = "begin"
    uri: str
    folders: tuple[str, ...]
    checkpoint: bool
    model: bool


class Done(Message):
    """A cell is finished.

    Attributes:
        folder: the cell's.
    """

    kind: Literal["done"] = "done"
    folder: str


class Failed(Message):
    """A cell has failed.

    Attributes:
        folder: the cell's.
        problem: why.
    """

    kind: Literal["failed"] = "failed"
    folder: str
    problem: str


class End(Message):
    """All cells are over: the last word, where `stopped` says that somebody has stopped the run."""

    kind: Literal["end"] = "end"
    stopped: bool = False


Order = Annotated[Begin | Done | Failed | End, Field(discriminator="kind")]


class Sign(Message):
    """What the teller says.

    Attributes:
        left: finished cells that MLflow does not know yet.
        warning: a sentence for the user; "" where it has none.
    """

    left: int = 0
    warning: str = ""


ORDERS: TypeAdapter[Begin | Done | Failed | End] = TypeAdapter(Order)
