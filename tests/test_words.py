"""What a person reads is words: no name of a variable, none of the terms that were given up."""

import re
from pathlib import Path

import pytest

from dlplay import architectures
from dlplay.engine.settings import fields
from tests.screen_pilot import opened, screen_text, until

CARDS = architectures.cards()
ROOT = Path(__file__).parents[1]
GIVEN_UP = (
    "known-good settings|likeliest|guessed right|right as a whole|equal choices|drawn here|real against real|broad Gaussian"
    "|place in the code|used of the memory|silenc(e|ed|ing)\\b(?! by)|commonest"
)


@pytest.mark.parametrize("name", CARDS)
async def test_no_name_of_a_variable_stands_on_a_tab(name: str, tmp_path: Path) -> None:
    async with opened(tmp_path, (140, 50), tab=name) as (app, pilot):
        await until(lambda: "quit" in screen_text(app))
        await pilot.pause()
        assert re.findall(r"\b[a-z]+_[a-z_]+\b", screen_text(app)) == []


def texts() -> dict[str, str]:
    """Everything a card says, and every page, by where it stands."""
    found = {
        str(path.relative_to(ROOT)): path.read_text()
        for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        if path.name != "words.md"
    }
    found |= {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "playground").rglob("*.md")}
    for card in CARDS.values():
        said = [card.title, card.summary, *(chart.title for chart in card.charts), *(preset.why for preset in card.presets.values())]
        said += [text for panel in card.panels for text in (panel.title, panel.hint, panel.help)]
        said += [text for action in card.actions for text in (action.title, action.help)]
        kinds = {card.settings, *(panel.options for panel in card.panels), *(action.options for action in card.actions)}
        said += [text for kind in kinds for field in fields(kind) for text in (field.doc, field.label, field.least, *field.choices)]
        found[card.name] = "\n".join(said)
    return found


def test_no_term_that_was_given_up_is_used() -> None:
    for where, text in texts().items():
        assert (re.search(GIVEN_UP, text) or [""])[0] == "", where


@pytest.mark.parametrize("name", CARDS)
def test_the_help_explains_no_choice_that_a_setting_does_not_take(name: str) -> None:
    """A choice in parentheses, such as (bpe), is one of the architecture's own."""
    known = {choice for card in CARDS.values() for field in fields(card.settings) for choice in field.choices}
    own = fields(CARDS[name].settings)
    choices = {choice for field in own for choice in field.choices}
    explained = {word for field in own for word in re.findall(r"\(([\w-]+)\)", field.doc)} & known
    assert explained <= choices
