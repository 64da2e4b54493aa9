"""Every room has the same plan: who has read one finds any line of the others."""

from __future__ import annotations

import ast
import inspect
import sys
import typing
from collections.abc import Sequence
from pathlib import Path

import pytest

from dlplay import architectures
from dlplay.engine.card import ActionCard, Card, PanelCard
from dlplay.engine.panels import Panel
from dlplay.engine.settings import fields
from dlplay.screen.keys import ACTIONS

CARDS = architectures.cards()

PLAN = {"__init__.py", "card.py", "settings.py", "presets.py", "model.py", "task.py", "panels.py", "notes.md"}
MAY_HAVE = {"gpt": {"hf.py"}, "bert": {"hf.py"}, "gan": {"doctor.py"}, "dqn": {"doctor.py"}, "transformer-xl": {"doctor.py"}}
"""The bridge to `transformers`; a doctor's rules of its own."""
PACKAGES = {
    "autoencoder": {"activations"},
    "bert": {"classification", "pretraining", "sentences"},
    "dqn": {"env", "evaluation", "player", "replay"},
    "gan": {"data", "evaluation", "nets"},
    "recurrent": {"problems"},
    "seq2seq": {"decoding", "problems"},
    "transformer-xl": {"problems"},
    "convnet": set(),
    "gpt": set(),
}
"""What the rooms of dlplay have besides; one of your own may have any package that says what it is."""


@pytest.fixture(params=CARDS)
def card(request: pytest.FixtureRequest) -> Card:
    return CARDS[request.param]


def folder(card: Card) -> Path:
    return Path(str(sys.modules[card.settings.__module__].__file__)).parent


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_a_room_has_the_plan_and_otherwise_named_packages_alone(card: Card) -> None:
    there = {path.name for path in folder(card).iterdir() if path.name != "__pycache__"}
    packages = {path.name for path in folder(card).iterdir() if (path / "__init__.py").exists()}
    assert there - packages - MAY_HAVE.get(card.name, set()) - {"lessons"} == PLAN
    assert packages == PACKAGES.get(card.name, packages)
    for package in packages:
        words = ast.get_docstring(parsed(folder(card) / package / "__init__.py"))
        assert words, f"{package}/__init__.py says what the package is"


def test_the_room_hands_on_its_card_and_nothing_else(card: Card) -> None:
    statements = parsed(folder(card) / "__init__.py").body
    assert isinstance(statements[0], ast.Expr), "a docstring"
    assert [ast.unparse(item).split(" import ")[-1] for item in statements[1:]] == ["card as card"]


def test_each_thing_is_in_its_file(card: Card) -> None:
    name = card.settings.__module__.rpartition(".")[0]
    assert card.settings.__module__ == f"{name}.settings"
    assert card.task.startswith(f"{name}.task:")
    assert not card.hf or card.hf.startswith(f"{name}.hf:")
    for asked in [*card.panels, *card.actions]:
        kind = asked.options.__module__
        assert kind == f"{name}.settings" or not kind.startswith(name), f"options of {asked.name} are in {kind}"


def test_a_method_is_a_panel_and_a_panel_is_a_method(card: Card) -> None:
    task = card.load_task()
    everybodys = [panel for panel in card.panels if panel.source]
    own = [panel for panel in card.panels if not panel.source]
    sources: list[tuple[typing.Any, Sequence[PanelCard | ActionCard]]] = [
        (typing.get_type_hints(task.panels)["return"], own),
        (typing.get_type_hints(task.actions)["return"], card.actions),
        *(
            (source, [panel for panel in everybodys if panel.load_source() is source])
            for source in {each.load_source() for each in everybodys}
        ),
    ]
    for answers, kind in sources:
        methods = {name: method for name, method in inspect.getmembers(answers, inspect.isfunction) if not name.startswith("_")}
        assert set(methods) == {item.name for item in kind}, answers
        for item in kind:
            hints = typing.get_type_hints(methods[item.name])
            returned = hints.pop("return")
            [options] = hints.values()
            assert issubclass(item.options, options), f"{item.name} takes {options.__name__}, and the card says {item.options.__name__}"
            kinds = [part for part in typing.get_args(returned) or [returned] if part is not type(None)]
            assert all(issubclass(part, Panel) for part in kinds), f"{item.name} returns {returned}"


def test_settings_come_with_bounds(card: Card) -> None:
    """A number without a bound would be a text that anybody can fill the memory with."""
    for item in fields(card.settings):
        assert item.kind in ("bool", "text") or item.low is not None or item.high is not None


def test_there_are_notes(card: Card) -> None:
    notes = (folder(card) / "notes.md").read_text(encoding="utf-8")
    assert notes.startswith("# ")
    assert len(notes) > 1000


def test_the_keys_of_actions_are_free(card: Card) -> None:
    taken = {key for action in ACTIONS for key in action.key.split(",")} | set(",.[]{}")
    keys = [action.key for action in card.actions if action.key]
    assert not taken & set(keys)
    assert len(keys) == len(set(keys))
