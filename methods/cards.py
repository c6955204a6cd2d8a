"""What is known of a method without importing it: its card.

A method is a Lightning module, whose import takes seconds. A list, a table and a misspelt name need no more than names,
citations and numbers, which a card has. Cards of this package's own methods are kept on disk (see `kept_answers`), so
that nothing is imported for them; methods of installed packages and of the user's own files are asked themselves.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from ..files import sha256_of_json
from ..registry import place_of
from .identity import Frozen, MethodInfo, Row
from .kept_answers import digest_of_text, keep_answer, read_answer
from .registry import ENTRY_POINTS, methods

if TYPE_CHECKING:
    from .base import Detector


@dataclass(frozen=True)
class MethodCard:
    """A method as far as it is known without running it.

    Attributes:
        place: where its class is defined, "module.name".
        info: names, source and rows.
        trainable: see `Detector.trainable`.
        learns: whether it learns from healthy scans at all, by gradients or otherwise.
        scores_by_l1: whether its anomaly score is the l1 residual.
        sections: the preset sections that it reads.
        brought: of these, those that it brings along: section to numbers.
        digest: of the text of this package that the card was made from; "" for a method from elsewhere.
        cls: the class, where it is imported already.
    """

    place: str
    info: MethodInfo
    trainable: bool
    learns: bool
    scores_by_l1: bool
    sections: tuple[str, ...]
    brought: dict[str, dict[str, Any]]
    digest: str = field(default="", compare=False)
    cls: type[Detector] | None = field(default=None, compare=False, repr=False)

    def load(self) -> type[Detector]:
        """The class; imports PyTorch."""
        if self.cls is not None:
            return self.cls
        module, _, name = self.place.rpartition(".")
        found: type[Detector] = getattr(importlib.import_module(module), name)
        return found

    def kept_numbers(self, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        """What `Settings` made of such numbers before; None where nobody knows, or the class itself is at hand."""
        if not self.digest or self.cls is not None:
            return None
        kept: dict[str, Any] | None = read_answer(self.digest, self._question(wanted))
        return kept

    def keep_numbers(self, wanted: Mapping[str, Any], read: Mapping[str, Any]) -> None:
        """Keep what `Settings` made of numbers, for a process that has not imported the class."""
        if self.digest:
            keep_answer(self.digest, self._question(wanted), read)

    def _question(self, wanted: Mapping[str, Any]) -> str:
        """A name for the numbers that are to be read; text, since 1 and 1.0 may be read in two ways."""
        return f"numbers-{sha256_of_json([self.place, json.dumps(wanted, default=str)])}"


def card_of(method: type[Detector] | MethodCard) -> MethodCard:
    """The card of a class; a card is its own."""
    if isinstance(method, MethodCard):
        return method
    from .base import Detector

    return MethodCard(
        place=place_of(method),
        info=method.info,
        trainable=method.trainable,
        learns=method.trainable or method.absorb is not Detector.absorb,
        scores_by_l1=method.anomaly_score is Detector.anomaly_score,
        sections=tuple(method.Settings.model_fields),
        brought=_brought_by(method.Settings),
        digest=_digest() if _is_own(method) else "",
        cls=method,
    )


#: The question that the cards answer, and which of their attributes are kept.
_CARDS = "cards"
_KEPT = ("place", "trainable", "learns", "scores_by_l1", "sections", "brought")
_INFO = TypeAdapter(MethodInfo)


def cards() -> dict[str, MethodCard]:
    """The card of every registered method by name.

    No method is imported, unless one has changed since that was last done, a package offers others, or another part of
    this program has imported some, which may have registered more.
    """
    may_be_kept = bool(_digest()) and not entry_points(group=ENTRY_POINTS)
    if may_be_kept and not _is_any_imported():
        kept = _kept_cards()
        if kept:
            return {card.info.name: card for card in kept}
    found = {name: card_of(cls) for name, cls in methods().items()}
    if may_be_kept:
        _keep(tuple(found.values()))
    return found


def card_rows() -> dict[str, tuple[MethodCard, Row]]:
    """Every table row by name, with the card of the method that makes it."""
    return {row.name: (card, row) for card in cards().values() for row in card.info.rows}


def read_cards(digest: str) -> tuple[MethodCard, ...]:
    """The cards that were kept of this very text; none where there are none, or they are damaged."""
    try:
        return tuple(_from_plain(plain, digest) for plain in read_answer(digest, _CARDS) or ())
    except (KeyError, TypeError, ValueError):
        return ()


@cache
def _kept_cards() -> tuple[MethodCard, ...]:
    return read_cards(_digest())


def _keep(known: Sequence[MethodCard]) -> None:
    """Keep cards, if they are all of this package and none holds what JSON does not."""
    plain = [{name: getattr(card, name) for name in _KEPT} | {"info": asdict(card.info)} for card in known]
    with suppress(TypeError, ValueError):
        read_back = [_from_plain(one, _digest()) for one in json.loads(json.dumps(plain))]
        if read_back == list(known) and all(card.digest for card in known):
            keep_answer(_digest(), _CARDS, plain)


def _from_plain(plain: Mapping[str, Any], digest: str) -> MethodCard:
    info = _INFO.validate_python(plain["info"])
    return MethodCard(**{**plain, "info": info, "sections": tuple(plain["sections"])}, digest=digest)


def _brought_by(settings: type[Frozen]) -> dict[str, dict[str, Any]]:
    """The sections that a method brings along: the fields of its `Settings` that have a default."""
    brought = {}
    for section, one in settings.model_fields.items():
        default = None if one.is_required() else one.get_default(call_default_factory=True)
        if isinstance(default, Frozen):
            brought[section] = default.model_dump(mode="json")
    return brought


def _is_own(cls: type) -> bool:
    """Whether a class stands in a file of this folder, whose text the digest covers."""
    return cls.__module__.rpartition(".")[0] == __package__ and "." not in cls.__qualname__


def _is_any_imported() -> bool:
    return f"{__package__}.base" in sys.modules


@cache
def _digest() -> str:
    """The digest of the text that this process's methods come from; "" where some were imported unseen."""
    return "" if _is_any_imported() else digest_of_text()
