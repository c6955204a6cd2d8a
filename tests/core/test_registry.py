"""The registry that methods, scores and data sets have in common, on words: no module, no package of ours."""

from __future__ import annotations

import types
from collections.abc import Sequence
from importlib.metadata import EntryPoint

import pytest

from uadbench import registry as module
from uadbench.registry import Kind, Registry


class WordWarning(UserWarning):
    pass


def refuse(word: str, others: Sequence[str]) -> None:
    if word in others:
        raise ValueError(f"two words are {word!r}")


def gather(found: types.ModuleType) -> None:
    WORDS.add(found.word, f"{found.__name__}.word")


def registry_of_words() -> Registry[str]:
    kind = Kind("words", "a word", "uadbench.words", "json", frozenset({"tool"}), WordWarning, is_word, str, refuse)
    return Registry(kind, lambda found: None if found.__name__.startswith("json") else gather(found))


def is_word(found: object) -> bool:
    return isinstance(found, str)


WORDS = registry_of_words()


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> Registry[str]:
    monkeypatch.setattr(module, "entry_points", lambda group: [])
    fresh = registry_of_words()
    monkeypatch.setitem(globals(), "WORDS", fresh)
    return fresh


def test_one_place_holds_one_item(words: Registry[str]) -> None:
    assert words.add("alpha", "a.word") == "alpha"
    words.add("beta", "a.word")  # the place's new text
    assert words.items() == {"beta": "beta"}
    with pytest.raises(ValueError, match="two words are 'beta'"):
        words.add("".join(["be", "ta"]), "b.word")  # another object that is equal
    words.add(words.items()["beta"], "c.word")  # the very same: some other module imports it
    assert words.items() == {"beta": "beta"}


def test_what_is_refused_leaves_what_is_there(words: Registry[str]) -> None:
    words.add("alpha", "a.word")
    words.add("beta", "b.word")
    with pytest.raises(ValueError):
        words.add("".join(["al", "pha"]), "b.word")
    assert words.items() == {"alpha": "alpha", "beta": "beta"}


def test_isolated_gives_back_what_was_there(words: Registry[str]) -> None:
    words.add("alpha", "a.word")
    with words.isolated():
        words.add("beta", "b.word")
        assert set(words.items()) == {"alpha", "beta"}
    assert set(words.items()) == {"alpha"}


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no licence"), GeneratorExit()])
def test_a_broken_package_costs_a_warning(
    words: Registry[str], error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    broken, odd = entry("broken", error), entry("odd", 5)
    whole, mine = entry("gamma", "gamma"), entry("mine", types.SimpleNamespace())
    holder = types.ModuleType("outside")
    holder.word = "delta"  # type: ignore[attr-defined]
    points = [broken, odd, whole, entry("outside", holder), mine]
    with pytest.warns(WordWarning) as warned:
        found = words.items()
    assert found == {"gamma": "gamma", "delta": "delta"}
    said = [str(one.message) for one in warned]
    assert len(said) == 3 and all(text.startswith("the words of the package") for text in said)
    assert "broken_package" in said[0] and type(error).__name__ in said[0]
    assert "its entry point odd = odd_package is neither a word nor a module" in said[1]
    assert words.distribution_of("gamma") == "gamma_package" and words.distribution_of("alpha") == ""
    assert words.items() == found and len(warned) == 3  # once per process


def entry(name: str, found: object) -> EntryPoint:
    class Point(EntryPoint):
        def load(self) -> object:
            if isinstance(found, BaseException):
                raise found
            return found

    return Point(name, f"{name}_package", "uadbench.words")
