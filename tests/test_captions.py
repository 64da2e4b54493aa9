"""Words on the screen that are not cut: captions, lists, names of axes, what stands in a line."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.app import App, ComposeResult

from dlplay import architectures
from dlplay.engine import stages
from dlplay.engine.card import PanelCard
from dlplay.engine.panels import AnyPanel, Bars, Tokens
from dlplay.engine.settings import Options
from dlplay.screen.panels.panel_view import PanelView
from dlplay.screen.recent_runs import RecentRuns
from dlplay.screen.stages.token_line import TokenLineStage
from dlplay.widgets import HeatMap
from tests.screen_pilot import opened, part_text, until
from tests.stage_pilot import StageApp, card_of
from tests.stage_pilot import until as until_of
from tests.widget_stage import Stage, text

LONG = "From the sentence, the selected word masked, through each layer's best guesses to the word"


class OnePanel(App[None]):
    def __init__(self, card: PanelCard) -> None:
        super().__init__()
        self.view = PanelView(card)

    def compose(self) -> ComposeResult:
        yield self.view


@pytest.mark.parametrize(("rows", "lines"), [(11, 2), (10, 1)])
async def test_a_caption_takes_two_lines_where_the_panel_keeps_the_rows_it_needs(rows: int, lines: int) -> None:
    """Of which the title takes one; a large widget can do with two rows fewer."""
    app = OnePanel(PanelCard("bars", "Bars", LONG, "Help.", rows=10))
    async with app.run_test(size=(62, rows)) as pilot:
        app.view.show(Bars(labels=["a", "b"], values=[0.2, 0.8]))
        hint = app.view.query_one(".hint")
        await until_of(pilot, lambda: hint.size.height == lines, "so many lines")
        assert str(hint.render()).endswith("…") == (lines == 1)


class Answers:
    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        return Tokens(words=["a"], values=[0.5], caption=LONG)


@pytest.mark.parametrize(("rows", "cut"), [(24, False), (14, True)])
async def test_the_line_of_a_stage_wraps_where_the_stage_is_tall(rows: int, cut: bool) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Line(Options):
        sentence: str = "a"
        """The sentence."""

        place: int = -1
        """The place."""

    card = card_of(
        stages.TokenLine("tokens", "sentence", changes="sentence", place="place"), PanelCard("tokens", "Tokens", "", "Help.", Line)
    )
    app = StageApp(TokenLineStage, card, Answers())
    async with app.run_test(size=(62, rows)) as pilot:
        message = app.stage.message
        await until_of(pilot, lambda: "From the sentence" in str(message.render()), "the caption")
        await until_of(pilot, lambda: message.size.height == (1 if cut else 2), "its lines")
        assert str(message.render()).endswith("…") == cut


async def test_the_line_below_the_charts_names_only_charts_that_it_has_room_for(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt", size=(140, 42)) as (app, _):
        await until(lambda: " more" in part_text(app, "#more-charts"))
        line = part_text(app, "#more-charts")
        assert "…" not in line
        assert any(chart.title in line for chart in architectures.card("gpt").charts)


async def test_an_axis_of_a_heat_map_is_named_before_colours_are_shown() -> None:
    widget = HeatMap()
    async with Stage(widget).run_test(size=(40, 10)):
        widget.show(np.eye(4), ["a"] * 4, ["b"] * 4, "true class", "predicted class", low=0.0, high=1.0)
        assert text(widget)[-1].startswith("↓ true class · → predicted class")
        widget.show(np.eye(4), ["a"] * 4, ["b"] * 4, "query", "key", low=0.0, high=1.0)
        assert text(widget)[-1].rstrip().endswith("1"), "with the colours where there is room"


class OneList(App[None]):
    CSS = "RecentRuns { width: 28; height: 12; }"

    def __init__(self, runs_dir: Path) -> None:
        super().__init__()
        self.runs = RecentRuns(architectures.card("dqn"), runs_dir)

    def compose(self) -> ComposeResult:
        yield self.runs


async def test_a_long_name_in_the_list_of_runs_goes_on_in_a_second_line(tmp_path: Path) -> None:
    app = OneList(tmp_path)
    async with app.run_test(size=(60, 14)):
        app.runs.compare(app.runs._card_shown, {"heuristic (θ + ω > 0)": 486.8, "two words on each side": 29.0, "random": 22.01})
        rows = str(app.runs.render()).splitlines()
        assert "…" not in "\n".join(rows)
        at = rows.index(next(row for row in rows if row.startswith("heuristic")))
        assert rows[at : at + 2] == ["heuristic", "  (θ + ω > 0)        486.8"]
        assert all(len(row) <= 26 for row in rows)
        assert rows[-1].split() == ["random", "22.01"]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(architectures.cards()))
async def test_no_caption_of_a_shipped_model_is_cut_at_140_columns(name: str, tmp_path: Path) -> None:
    """What comes behind the words of the panel itself, such as how the prompt was read, may be."""
    async with opened(tmp_path, tab=name, size=(140, 42), explore=True) as (app, _):
        inspector = app.tab.inspector
        await until(lambda: app.tab.link.answering is not None)
        position = 0

        def views() -> list[PanelView]:
            return [inspector._views[card.name] for card in inspector.visible_panels()]

        def hints() -> list[str]:
            return [str(view.query_one(".hint").render()) for view in views() if view.query_one(".hint").size.width]

        while position < len(inspector.panels):
            inspector.choose(position)
            await until(lambda: views() and all(view.panel is not None or view.problem for view in views()))
            await until(lambda: len(hints()) == len(views()))
            await until(lambda: not [hint for hint in hints() if hint.endswith("…") and "·" not in hint])  # once it is laid out
            position = max(inspector._shown) + 1
        assert app.tab.stage is not None
        assert not str(app.tab.stage.message.render()).endswith("…")
