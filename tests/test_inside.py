"""Looking inside a model: which panels are seen and asked for, their options, what picking in them does, and errors in words."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from msgspec import Meta
from textual.app import App, ComposeResult
from textual.containers import Container, VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Input, Static

from dlplay import widgets
from dlplay.engine import stages
from dlplay.engine.card import Card, PanelCard
from dlplay.engine.commands import View
from dlplay.engine.panels import AnyPanel, Array, Bars, Frame, HeatMap, ImageGrid, Layer, Layers, Lines, Scatter, Table, Tokens
from dlplay.engine.settings import Options, Settings, fields
from dlplay.engine.settings import field as setting
from dlplay.microscope.options import Ablations
from dlplay.screen.flow import Flow
from dlplay.screen.panels.inspector import Inspector, panels_that_fit
from dlplay.screen.panels.options_bar import OptionsBar, stepped
from dlplay.screen.panels.panel_view import PanelView
from tests.widget_stage import text as stage_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapOptions(Options):
    image: Annotated[int, Meta(ge=0, le=359)] = 0
    """Which image."""

    layer: Annotated[int, Meta(ge=0, le=15)] = 0
    """Which layer."""

    after: Literal["convolution", "activation"] = "activation"
    """Where in the layer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordOptions(Options):
    word: str = ""
    """Whose neighbours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerOptions(Options):
    image: Annotated[int, Meta(ge=0, le=359)] = 0
    """Which image."""

    drawing: str = ""
    """What was drawn."""


CARD = Card(
    "made-up",
    "Made up",
    "",
    Settings,
    "nowhere:Nothing",
    "loss",
    "lower",
    (),
    (
        PanelCard("answer", "Answer", "What it is.", "Help.", AnswerOptions, rows=10),
        PanelCard("images", "Images", "Pick one.", "Help.", selects="image", rows=8),
        PanelCard("maps", "Maps", "Where it found what it looks for.", "What a map is.", MapOptions, rows=8),
        PanelCard("words", "Words", "Pick a word.", "Help.", selects="word", rows=4),
        PanelCard("neighbours", "Neighbours", "What is near.", "Help.", WordOptions, rows=8),
    ),
    stages.Pad("answer", "drawing"),
)


class InspectorApp(App[None]):
    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.options = dict(options or {})
        self.changes = 0
        self.picked: list[tuple[str, Any]] = []

    def compose(self) -> ComposeResult:
        with Container(id="page"):
            yield Inspector(CARD)

    @property
    def inspector(self) -> Inspector:
        return self.query_one(Inspector)

    def on_inspector_views_changed(self) -> None:
        self.changes += 1

    def on_inspector_option_changed(self, event: Inspector.OptionChanged) -> None:
        self.options[event.name] = event.value
        self.picked.append((event.name, event.value))

    def names(self) -> list[str]:
        return [view.panel for view in self.inspector.views(self.options)]

    def view(self, name: str) -> PanelView:
        return next(view for view in self.query(PanelView) if view.card.name == name)


async def until(pilot: Pilot[None], condition: Callable[[], object], what: str) -> None:
    for _ in range(500):
        if condition():
            return
        await pilot.pause(0.01)
    raise AssertionError(f"never: {what}")


def grid(count: int = 6) -> ImageGrid:
    return ImageGrid(
        images=Array.of(np.zeros((count, 8, 8), "f4")), labels=[str(n) for n in range(count)], ids=[100 + n for n in range(count)]
    )


def hint(view: PanelView) -> str:
    return str(view.query_one(".hint").render())


async def test_only_what_is_seen_is_asked_for_with_the_options_it_knows() -> None:
    app = InspectorApp({"image": 3, "layer": 1, "prompt": "of"})
    async with app.run_test(size=(60, 24)) as pilot:
        await until(pilot, lambda: app.names() == ["images", "maps"], "two panels fit; the stage's own comes last")
        assert app.inspector.views(app.options)[1] == View("maps", {"image": 3, "layer": 1})
        before = app.changes
        await pilot.resize_terminal(60, 12)
        await until(pilot, lambda: app.names() == ["images"], "one panel fits")
        assert app.changes > before
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: app.names() == ["images", "maps", "words", "neighbours", "answer"], "all fit in two columns")


async def test_a_panel_of_another_step_than_the_run_says_of_which() -> None:
    app = InspectorApp()
    async with app.run_test(size=(60, 24)) as pilot:
        await until(pilot, lambda: app.names() == ["images", "maps"], "two panels")
        view = app.view("images")
        await until(pilot, lambda: view.size.width > 40, "it is laid out")
        app.inspector.show(View("images"), grid(), 1_200)
        app.inspector.set_step(None)
        assert hint(view) == "Pick one."  # it trains, and is up to date in a moment
        app.inspector.set_step(1_240)
        assert hint(view) == "as of step 1,200 · Pick one."
        app.inspector.show(View("images"), grid(), 1_240)
        assert hint(view) == "Pick one."


async def test_an_answer_that_comes_while_a_panel_is_hidden_is_explained_in_full_when_it_is_shown() -> None:
    app = InspectorApp()
    async with app.run_test(size=(60, 14)) as pilot:
        await until(pilot, lambda: app.names() == ["images"], "one panel")
        view = app.view("images")
        app.inspector.show(View("images"), Bars(labels=["a"], values=[1.0], caption="a caption of some length"))
        await until(pilot, lambda: "a caption of some length" in hint(view), "the caption")
        view.display = False
        await pilot.pause()
        app.inspector.show(View("images"), Bars(labels=["a"], values=[1.0], caption="another caption of some length"))
        await pilot.pause()
        view.display = True
        await until(pilot, lambda: "another caption of some length" in hint(view), "the other caption")


def test_what_the_stage_shows_with_all_its_options_is_no_panel_as_well() -> None:
    card = dataclasses.replace(CARD, stage=stages.Plane("answer", "drawing"))
    assert [panel.name for panel in Inspector(card).panels] == ["images", "maps", "words", "neighbours"]


async def test_keys_and_clicks_choose_the_panels() -> None:
    app = InspectorApp()
    async with app.run_test(size=(60, 24)) as pilot:
        await until(pilot, lambda: app.names() == ["images", "maps"], "the first panels")
        app.view("images").focus()
        await pilot.press("full_stop")
        await until(pilot, lambda: app.names()[0] == "maps", "from the next one onwards")
        await until(pilot, lambda: app.view("maps").has_focus, "the focus follows")
        await pilot.press("comma", "comma")
        await until(pilot, lambda: "answer" in app.names(), "past the first comes the last")
        titles = app.query_one("#titles", Flow)
        assert titles.size.height == 1
        place = titles.place("words")
        assert place is not None
        await pilot.click(titles, offset=(place[0] + 1, place[1]))
        await until(pilot, lambda: app.names()[0] == "words", "a click on a title")


async def test_what_is_hidden_or_behind_a_maximised_panel_is_not_asked_for() -> None:
    app = InspectorApp()
    async with app.run_test(size=(60, 24)) as pilot:
        await until(pilot, lambda: app.names() == ["images", "maps"], "two panels")
        before = app.changes
        app.query_one("#page").display = False
        await until(pilot, lambda: app.changes > before, "the tab hears of it")
        assert app.names() == []
        app.query_one("#page").display = True
        await until(pilot, lambda: app.names() == ["images", "maps"], "two panels again")
        app.view("maps").focus()
        await pilot.press("m")
        await until(pilot, lambda: app.names() == ["maps"], "the maximised one alone")
        await pilot.press("m")
        await until(pilot, lambda: app.names() == ["images", "maps"], "both again")


async def test_picking_an_image_or_a_word_sets_the_option_for_the_whole_tab() -> None:
    app = InspectorApp()
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: len(app.names()) == 5, "all panels")
        app.inspector.show(View("images"), grid())
        app.inspector.show(View("words"), Tokens(words=["the", "value"], values=[None, 0.5]))
        await until(pilot, lambda: len(app.query(widgets.ImageGrid)) == 1 and len(app.query(widgets.TokenStrip)) == 1, "two widgets")
        app.query_one(widgets.ImageGrid).focus()
        await pilot.press("right", "enter")
        await until(pilot, lambda: ("image", 101) in app.picked, "the image's own number")
        assert app.view("maps").query_one(OptionsBar).values["image"] == 101, "the others show it"
        await pilot.click(widgets.TokenStrip, offset=(8, 0))
        await until(pilot, lambda: ("word", "value") in app.picked, "the word itself, where the option is text")


async def test_options_are_changed_by_keys_and_what_the_stage_sets_has_no_control() -> None:
    app = InspectorApp()
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: len(app.names()) == 5, "all panels")
        bars = {view.card.name: list(view.query_one(OptionsBar).values) for view in app.query(PanelView)}
        assert bars["answer"] == ["image"], "the drawing is drawn, not typed"
        assert bars["maps"] == ["layer", "after", "image"], "what is picked elsewhere comes last"
        app.view("maps").focus()
        await pilot.press(
            "right_square_bracket", "right_square_bracket", "left_square_bracket", "right_curly_bracket", "left_square_bracket"
        )
        await until(pilot, lambda: app.picked[-1:] == [("after", "convolution")], "the second option")
        assert app.options["layer"] == 1
        app.view("neighbours").focus()
        await pilot.press("e", *"object", "enter")
        await until(pilot, lambda: app.options.get("word") == "object", "a word is typed")


async def test_an_option_that_is_refused_goes_back_and_the_words_stay() -> None:
    app = InspectorApp()
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: len(app.names()) == 5, "all panels")
        app.inspector.show(View("maps", {"layer": 0}), grid())
        app.view("maps").focus()
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: app.options.get("layer") == 1, "the step")
        app.inspector.fail(View("maps", {"layer": 1}), "the net has layer 0 alone")
        await until(pilot, lambda: app.options.get("layer") == 0, "back again")
        app.inspector.show(View("maps", {"layer": 0}), grid())
        assert hint(app.view("maps")) == "✗ the net has layer 0 alone"
        await pilot.press("right_curly_bracket", "left_square_bracket")
        await until(pilot, lambda: "✗" not in hint(app.view("maps")), "the next change takes the words away")


async def test_an_empty_panel_says_what_appears_and_an_error_is_told_in_words() -> None:
    app = InspectorApp()
    async with app.run_test(size=(60, 24)) as pilot:
        await until(pilot, lambda: app.names(), "panels")
        empty = app.view("images").query_one(".empty", Static)
        assert "F5 trains one, o loads one" in str(empty.content)
        app.inspector.fail(View("images"), "image 900 is not there; use 0 to 359")
        assert hint(app.view("images")) == "✗ image 900 is not there; use 0 to 359"
        app.inspector.show(View("images"), grid())
        await until(pilot, lambda: hint(app.view("images")) == "Pick one." and not empty.display, "the answer takes the words away")
        broken = ImageGrid(images=Array((9, 8, 8), "f4", b"short"))
        app.inspector.show(View("images"), broken)
        assert "this answer cannot be drawn" in hint(app.view("images"))


@pytest.mark.parametrize(
    "nothing",
    [
        Bars(labels=[], values=[], caption="no image yet"),
        Lines(x=[], series={}, caption="no image yet"),
        Table(columns=["image"], rows=[], caption="no image yet"),
        Tokens(words=[], values=[], caption="no image yet"),
        ImageGrid(images=Array.of(np.zeros((0, 8, 8), "f4")), caption="no image yet"),
        Scatter(points=Array.of(np.zeros((0, 2), "f4")), caption="no image yet"),
        Layers(layers=[], caption="no image yet"),
    ],
    ids=lambda panel: type(panel).__name__,
)
async def test_an_answer_that_holds_nothing_says_why_in_one_place(nothing: AnyPanel) -> None:
    app = InspectorApp()
    async with app.run_test(size=(60, 24)) as pilot:
        await until(pilot, lambda: app.names(), "panels")
        view = app.view("images")
        app.inspector.show(View("images"), nothing)
        await until(pilot, lambda: view.query(".body") and view.query_one(".body").size.width > 20, "it is laid out")
        assert hint(view) == "Pick one."
        assert view.query_one(".body").empty == "no image yet"  # type: ignore[attr-defined]
        app.inspector.show(View("images"), grid())
        app.inspector.show(View("images"), ImageGrid(images=grid().images, caption="six images"))
        assert hint(view) == "six images"


async def test_help_opens_and_closes_in_the_panel() -> None:
    app = InspectorApp()
    async with app.run_test(size=(60, 24)) as pilot:
        await until(pilot, lambda: app.names(), "panels")
        app.inspector.show(View("maps"), grid())
        view = app.view("maps")
        view.focus()
        await pilot.press("question_mark")
        await until(pilot, lambda: view.query_one(".help").display, "help")
        words = str(view.query_one(".help > Static", Static).content)
        assert "What a map is." in words
        assert "layer ([ and ]): which layer. Default 0; 0 to 15." in words
        await pilot.press("question_mark")
        await until(pilot, lambda: not view.query_one(".help").display and view.query_one(widgets.ImageGrid).display, "the panel again")


PANELS: list[AnyPanel] = [
    HeatMap(values=Array.of(np.eye(4)), rows=list("abcd"), columns=list("abcd"), figure="4"),
    grid(),
    Bars(labels=["a", "b"], values=[1.0, 2.0]),
    Tokens(words=["a", "b"], values=[None, 0.5]),
    Scatter(points=Array.of(np.random.default_rng(0).random((20, 2))), groups=[0, 1] * 10, names=["x", "y"]),
    Lines(x=[0, 1, 2], series={"one": [1.0, None, 3.0]}, log=True),
    Table(columns=["a", "b"], rows=[["1", "2"], ["3", "4"]], shades=Array.of(np.ones((2, 2)))),
    Frame(pixels=Array.of(np.zeros((8, 8, 3), "u1"))),
]


@pytest.mark.parametrize("no_colour", [False, True])
async def test_every_kind_of_panel_has_its_widget_and_gives_way_to_another(no_colour: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    app = InspectorApp()
    async with app.run_test(size=(60, 14)) as pilot:
        await until(pilot, lambda: app.names() == ["images"], "one panel")
        view = app.view("images")
        view.focus()
        await until(pilot, lambda: view.has_focus, "an empty panel takes the focus")
        for panel in PANELS:
            app.inspector.show(View("images"), panel)
            await until(pilot, lambda: len(view.query(".body")) == 1 and view.query_one(".body").region.height > 3, type(panel).__name__)
            assert "✗" not in hint(view), hint(view)
            assert view.query_one(".body").has_focus, "the focus stays in the panel"
            app.export_screenshot()


async def test_curves_in_a_panel_name_their_own_axis_and_unit() -> None:
    app = InspectorApp()
    async with app.run_test(size=(60, 14)) as pilot:
        await until(pilot, lambda: app.names() == ["images"], "one panel")
        app.inspector.show(View("images"), Lines(x=[0, 1, 2], series={"one": [1.0, 0.5, 0.25]}, x_title="tokens back", percent=True))
        await until(pilot, lambda: app.view("images").query(widgets.LineChart), "the chart")
        chart = app.view("images").query_one(widgets.LineChart)
        await until(pilot, lambda: "tokens back" in "".join(stage_text(chart)), "the axis")
        shown = "".join(stage_text(chart))
        assert "step" not in shown
        assert "25.0 %" in shown


def test_as_many_panels_as_fit_from_the_chosen_one_onwards() -> None:
    rows = [10, 6, 6, 10]
    assert panels_that_fit(rows, 0, 17, 1) == (range(2), [10, 6])
    assert panels_that_fit(rows, 0, 16, 1) == (range(1), [10])
    assert panels_that_fit(rows, 1, 13, 1) == (range(1, 3), [6, 6])
    assert panels_that_fit(rows, 3, 17, 1) == (range(2, 4), [6, 10]), "at the end the space is filled with what comes before"
    assert panels_that_fit(rows, 2, 1, 1) == (range(2, 3), [6]), "never none"
    assert panels_that_fit(rows, 0, 21, 2) == (range(4), [10, 10])


def test_a_value_that_is_none_of_its_kind_is_shown_in_words() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Some(Options):
        head: Annotated[int, Meta(ge=-1, le=3, extra={"least": "mean"})] = -1
        """Which head."""

    bar = OptionsBar(fields(Some))
    assert [piece.text for piece in bar._group(bar.fields[0], -1)][3] == "mean"
    assert [piece.text for piece in bar._group(bar.fields[0], 2)][3] == "   2"


def test_steps_stay_within_their_bounds() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Some(Options):
        share: Annotated[float, Meta(gt=0, le=1)] = 1.0
        """A share."""

        count: Annotated[int, Meta(ge=0, le=3)] = 0
        """A count."""

        yes: bool = False
        """A switch."""

    share, count, yes = setting(Some, "share"), setting(Some, "count"), setting(Some, "yes")
    assert stepped(share, 1.0, 1) == 1.0
    assert stepped(share, 1.0, -1) == 0.95
    assert stepped(share, 0.05, -1) == 0.05
    assert [stepped(count, value, 1) for value in (0, 2, 3)] == [1, 3, 3]
    assert stepped(count, 0, -1) == 0
    assert stepped(yes, False, 1) is True
    assert stepped(setting(MapOptions, "after"), "activation", 1) == "convolution"


async def test_a_layer_of_a_forward_pass_is_the_one_that_other_panels_show() -> None:
    app = InspectorApp()
    async with app.run_test(size=(60, 60)) as pilot:
        await until(pilot, lambda: "images" in app.names(), "the panels are there")
        view = View("images", {})  # any panel may be a forward pass
        layers = [Layer(title="read", labels=["of"]), *(Layer(title=f"layer {n}", values=[1.0], selects={"layer": n}) for n in range(2))]
        app.inspector.show(view, Layers(layers=layers))
        strip = app.view("images").query_one(widgets.LayerStrip)
        await until(pilot, lambda: strip.selected == 1, "the layer that the other panels show by default is marked")
        strip.focus()
        await pilot.press("right", "enter")
        await until(pilot, lambda: app.picked == [("layer", 1)], "the option is set")
        await until(pilot, lambda: strip.selected == 2, "and marked")
        assert next(each for each in app.inspector.views(app.options) if each.panel == "maps").options["layer"] == 1


async def test_what_the_model_before_said_is_told_apart_until_the_new_one_answers() -> None:
    app = InspectorApp()
    async with app.run_test(size=(60, 24)) as pilot:
        await until(pilot, lambda: app.names() == ["images", "maps"], "two panels")
        app.inspector.show(View("images"), grid())
        app.inspector.another_model()
        view = app.view("images")
        assert hint(view) == "of the model before · Pick one."
        assert view.has_class("-stale")
        assert not app.view("maps").has_class("-stale"), "it has shown nothing"
        app.inspector.show(View("images"), grid())
        assert hint(view) == "Pick one."
        assert not view.has_class("-stale")


class TwoTexts(App[None]):
    def compose(self) -> ComposeResult:
        yield OptionsBar(fields(Ablations), "What each part carries")


async def test_a_text_is_typed_in_the_rest_of_its_line_which_says_what_it_is() -> None:
    app = TwoTexts()
    async with app.run_test(size=(48, 6)) as pilot:
        bar = app.query_one(OptionsBar)
        await until(pilot, lambda: bar.place("module"), "the options")
        bar.step(0, 1)  # it has no steps
        await until(pilot, lambda: bar.query(Input) and bar.query_one(Input).size.width, "a line to type in")
        line = bar.query_one(Input)
        assert line.size.width >= 30
        assert "as the panel anatomy lists them" in line.placeholder
        await pilot.press(*"blocks.0", "enter")
        await until(pilot, lambda: bar.values["module"] == "blocks.0", "what was typed")


async def test_a_long_explanation_is_scrolled_to_its_end() -> None:
    app = InspectorApp()
    async with app.run_test(size=(24, 12)) as pilot:
        await until(pilot, lambda: app.names() == ["images"], "one panel")
        app.inspector.show(View("images"), grid())
        view = app.view("images")
        view.focus()
        await pilot.press("question_mark")
        await until(pilot, lambda: view.query_one(VerticalScroll).has_focus, "the explanation")
        await pilot.resize_terminal(24, 7)
        await until(pilot, lambda: view.query_one(VerticalScroll).max_scroll_y > 0, "more than fits")
        assert view.query_one(OptionsBar).focused_title
        await pilot.press("end")
        await until(pilot, lambda: view.query_one(VerticalScroll).is_vertical_scroll_end, "its end")
        await pilot.press("question_mark")
        await until(pilot, lambda: not view.query_one(VerticalScroll).display, "the panel again")
        assert view.query_one(OptionsBar).focused_title
