"""A card says what the class says, is read without PyTorch, and is never older than the text it was made from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from uadbench.benchmarks.plan.plan import plan_for
from uadbench.benchmarks.plan.preset import load_preset, preset_names
from uadbench.benchmarks.plan.suite import load_suite, suite_names
from uadbench.methods import Detector, MethodCard, card_of, card_rows, cards, methods
from uadbench.methods.cards import read_cards
from uadbench.methods.kept_answers import digest_of_text, keep_answer, read_answer

ROOT = Path(__file__).resolve().parents[2]
#: Prints every card, every plan and whether PyTorch was imported for it; `uadbench` lies where the first word says.
ASK = """
import json, sys
from dataclasses import asdict
from uadbench.methods import cards
from uadbench.benchmarks.plan.plan import plan_for
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import load_suite, suite_names
known = {name: {"title": card.info.title, "trainable": card.trainable, "learns": card.learns,
                "scores_by_l1": card.scores_by_l1, "sections": card.sections, "brought": card.brought,
                "rows": [asdict(row) for row in card.info.rows], "citation": card.info.citation}
         for name, card in cards().items()}
plans = {f"{preset}/{entry.row.name}": plan_for(load_preset(preset), entry.card, entry.row).model_dump(mode="json")
         for preset in sys.argv[1:] for suite in suite_names() for entry in load_suite(suite).rows}
print(json.dumps([known, plans, "torch" in sys.modules]))
"""


def ask(cache: Path, *presets: str, **environment: str) -> list[object]:
    command = [sys.executable, "-c", ASK, *presets]
    words = {**os.environ, "XDG_CACHE_HOME": str(cache), **environment}
    done = subprocess.run(command, env=words, capture_output=True, text=True, check=True)
    found: list[object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_kept_card_and_plan_say_what_the_class_says(tmp_path: Path) -> None:
    ask(tmp_path, *preset_names())
    known, plans, has_torch = ask(tmp_path, *preset_names())
    assert has_torch is False
    assert isinstance(known, dict)
    assert set(known) == {cls.info.name for cls in methods().values() if cls.__module__.startswith("uadbench.")}
    for name, said in known.items():
        cls = methods()[name]
        assert (said["title"], said["citation"]) == (cls.info.title, cls.info.citation)
        assert said["trainable"] is cls.trainable
        assert said["learns"] is (cls.trainable or "absorb" in vars(cls))
        assert said["scores_by_l1"] is not any(
            "anomaly_score" in vars(base)
            for base in cls.__mro__[:-1]
            if base is not Detector and base.__module__.startswith("uadbench.")
        )
        assert said["sections"] == list(cls.Settings.model_fields)
        assert [row["name"] for row in said["rows"]] == [row.name for row in cls.info.rows]
        assert [row["settings"] for row in said["rows"]] == [row.settings for row in cls.info.rows]
    assert plans == {
        f"{name}/{entry.row.name}": plan_for(load_preset(name), entry.method, entry.row).model_dump(mode="json")
        for name in preset_names()
        for suite in suite_names()
        for entry in load_suite(suite).rows
    }


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """This package as files of its own, so that one can be changed."""
    home = tmp_path / "copy" / "uadbench"
    folders = {
        "core": home,
        **{name: home / name for name in ("benchmarks", "datasets", "methods", "metrics", "results")},
    }
    for name, folder in folders.items():
        shutil.copytree(ROOT / name, folder, ignore=shutil.ignore_patterns("__pycache__", "runs", "data", "*.db"))
    return home


@pytest.mark.slow
def test_a_changed_or_a_new_file_is_seen_at_once(copy: Path, tmp_path: Path) -> None:
    def said() -> tuple[dict[str, dict[str, object]], object]:
        known, _, has_torch = ask(tmp_path / "cache", PYTHONPATH=str(copy.parent), PYTHONDONTWRITEBYTECODE="1")
        assert isinstance(known, dict)
        return known, has_torch

    assert said()[0]["thresh"]["title"] == "Thresh"
    assert said()[1] is False
    file = copy / "methods" / "thresh.py"
    file.write_text(file.read_text().replace('title="Thresh"', 'title="Bright"').replace("bins: int", "bars: int"))
    assert said()[0]["thresh"]["title"] == "Bright"
    known, has_torch = said()
    assert (known["thresh"]["title"], has_torch) == ("Bright", False)
    text = file.read_text().replace('name="thresh"', 'name="fresh"').replace('Row("thresh"', 'Row("fresh"')
    (copy / "methods" / "fresh.py").write_text(text)
    assert "fresh" in said()[0]
    (copy / "methods" / "fresh.py").unlink()
    known, has_torch = said()
    assert "fresh" not in known and has_torch is False  # the text is again one that answers were kept of


@pytest.mark.slow
def test_damaged_or_unwritable_answers_are_asked_for_anew(tmp_path: Path) -> None:
    titles = {cls.info.title for cls in methods().values() if cls.__module__.startswith("uadbench.")}
    kept = tmp_path / "uadbench" / "methods" / digest_of_text()[:32] / "cards.json"
    kept.parent.mkdir(parents=True)
    kept.write_text('[{"place": "uadbench.methods.thresh.Thresh"}]')
    nowhere = tmp_path / "file"
    nowhere.write_text("")  # no folder can be made there
    for cache in (tmp_path, nowhere):
        known, _, has_torch = ask(cache)
        assert isinstance(known, dict)
        assert {said["title"] for said in known.values()} == titles and has_torch is True


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"place": "x"}]', "null", "7", '{"place": 3}'])
def test_damaged_cards_are_none(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "uadbench" / "methods" / "digest" / "cards.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert read_cards("digest") == ()


def test_answers_of_a_text_that_has_changed_meanwhile_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_answer("another digest", "question", [1])
    assert read_answer("another digest", "question") is None
    keep_answer(digest_of_text(), "question", [1])
    assert read_answer(digest_of_text(), "question") == [1]


def test_where_methods_are_imported_the_registry_is_asked() -> None:
    known = cards()
    assert {name: card.cls for name, card in known.items()} == methods()
    assert all(card.digest == "" for card in known.values())  # they were imported before anybody took the digest
    assert {name: card.place for name, (card, _) in card_rows().items()} == {
        row.name: f"{cls.__module__}.{cls.__qualname__}" for cls in methods().values() for row in cls.info.rows
    }


def test_a_card_finds_its_class() -> None:
    for cls in methods().values():
        card = card_of(cls)
        assert card_of(card) is card
        if cls.__module__.startswith("uadbench."):
            bare = MethodCard(**{name: getattr(card, name) for name in card.__dataclass_fields__ if name != "cls"})
            assert bare.load() is cls and bare == card
