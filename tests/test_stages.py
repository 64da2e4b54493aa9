"""Acting on a model: the prompt and the pad, as a person at the keyboard or with a mouse meets them, with a model that is made up."""

import asyncio
import dataclasses
from typing import Annotated, Any

import msgspec
import numpy as np
import pytest
from msgspec import Meta
from textual.events import Key, Paste
from textual.pilot import Pilot
from textual.widgets import Input, Static

from dlplay import widgets
from dlplay.engine import stages
from dlplay.engine.card import Card, PanelCard
from dlplay.engine.panels import AnyPanel, Array, Bars, ImageGrid, Tokens
from dlplay.engine.settings import Options
from dlplay.runs.client import NotAnswered, RunError
from dlplay.screen.flow import Flow
from dlplay.screen.stages.pad import PadStage, read_drawing, write_drawing
from dlplay.screen.stages.prompt.passage import Passage
from dlplay.screen.stages.prompt.stage import PromptStage
from dlplay.screen.stages.prompt_line import MAX_LENGTH
from tests.stage_pilot import StageApp, card_of, stage_text, until


@dataclasses.dataclass(frozen=True, kw_only=True)
class NextOptions(Options):
    prompt: str = "the value of"
    """What is read."""

    temperature: Annotated[float, Meta(ge=0, le=10)] = 1.0
    """How much is left to chance."""

    top_k: Annotated[int, Meta(ge=0, le=100)] = 10
    """How many candidates."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassageOptions(NextOptions):
    words: Annotated[int, Meta(ge=1, le=500)] = 6
    """How many words."""

    sampling_seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    """Where chance begins."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawnOptions(Options):
    image: Annotated[int, Meta(ge=0, le=359)] = 0
    """Which image."""

    drawing: str = ""
    """What was drawn."""


PROMPT = card_of(
    stages.Prompt("next", "prompt", generate="passage"),
    PanelCard("next", "Next", "What may follow.", "Help.", NextOptions),
    PanelCard("passage", "Passage", "What follows.", "Help.", PassageOptions),
)
PAD = card_of(stages.Pad("answer", "drawing", size=(8, 8)), PanelCard("answer", "Answer", "What it is.", "Help.", DrawnOptions))


class Model:
    """Answers at once, or only when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.words = 0
        self.error = ""
        self.silent = 0
        """Questions that it leaves unanswered."""

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        self.asked.append((panel, dict(options)))
        await self.gate.wait()
        if self.error:
            raise RunError(self.error)
        if self.silent:
            self.silent -= 1
            raise NotAnswered("no answer within 10 s")
        if panel == "next":
            last = options["prompt"].split()[-1] if options["prompt"].split() else "nothing"
            labels = [f"{last}{letter}" for letter in "abcdefghij"][: options.get("top_k", 10)]
            values = [0.5**position for position in range(1, len(labels) + 1)]
            return Bars(labels=labels, values=values, percent=True, appends=[" " + label for label in labels], caption="a caption")
        if panel == "passage":
            self.words += 1
            return Tokens(words=[f"w{self.words}"], values=[0.25], text=f" w{self.words}")
        drawing = options.get("drawing", "")
        values = [
            0.9 if (drawing and digit == 1) or (not drawing and digit == options.get("image", 0) % 10) else 0.01 for digit in range(10)
        ]
        return Bars(
            labels=[str(digit) for digit in range(10)], values=values, percent=True, chosen=values.index(max(values)), caption="seen"
        )


def candidates(app: StageApp) -> list[str]:
    return list(app.query(widgets.Bars).first().labels)


async def focus_line(pilot: Pilot[None]) -> Input:
    line = pilot.app.query_one("PromptLine", Input)
    line.focus()
    await until(pilot, lambda: line.has_focus, "the line has the focus")
    return line


async def test_a_model_that_was_busy_is_asked_again_until_it_answers() -> None:
    model = Model()
    model.silent = 2
    async with StageApp(PromptStage, PROMPT, model).run_test(size=(80, 24)) as pilot:
        app: Any = pilot.app
        await until(pilot, lambda: bool(candidates(app)), "it has answered")
        assert [panel for panel, _ in model.asked] == ["next"] * 3
        assert "no answer" not in stage_text(app)


async def test_candidates_follow_what_is_typed_and_the_other_panels_are_told() -> None:
    app = StageApp(PromptStage, PROMPT, Model())
    async with app.run_test(size=(80, 10)) as pilot:
        await until(pilot, lambda: candidates(app)[:1] == ["ofa"], "candidates for the default prompt")
        await focus_line(pilot)
        await pilot.press(*" cat")
        await until(pilot, lambda: candidates(app)[:1] == ["cata"], "candidates for what was typed")
        await until(pilot, lambda: any(values.get("prompt") == "the value of cat" for values in app.told), "the tab hears of it")
        assert app.options["prompt"] == "the value of cat"


async def test_only_the_newest_question_is_answered_and_one_is_in_flight() -> None:
    model = Model()
    app = StageApp(PromptStage, PROMPT, model)
    async with app.run_test(size=(80, 10)) as pilot:
        await until(pilot, lambda: candidates(app), "first candidates")
        await focus_line(pilot)
        model.gate.clear()
        before = len(model.asked)
        await pilot.press(*" abc")
        await until(pilot, lambda: app.options["prompt"].endswith("abc"), "all is typed")
        assert len(model.asked) == before + 1
        assert candidates(app)[0] == "ofa"
        model.gate.set()
        await until(pilot, lambda: candidates(app)[0] == "abca", "the newest candidates")
        assert len(model.asked) == before + 2, "what was typed in between is never asked about"


async def test_a_line_break_that_the_model_writes_is_shown_by_a_sign_and_stays_in_the_text() -> None:
    class Breaking(Model):
        async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
            return Bars(labels=["↵", "⇥"], values=[0.9, 0.1], percent=True, appends=["\n", "\t"])

    app = StageApp(PromptStage, PROMPT, Breaking())
    async with app.run_test(size=(80, 10)) as pilot:
        line = await focus_line(pilot)
        await until(pilot, lambda: candidates(app), "candidates")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: line.value.endswith("\n"), "a line break")
        await pilot.press("escape", "2")
        await until(pilot, lambda: line.value == "the value of\n\t", "and a tab")
        await until(pilot, lambda: "the value of↵⇥" in stage_text(app), "each is one sign")
        row = next(number for number, text in enumerate(stage_text(app).splitlines()) if "of↵⇥" in text)
        await pilot.click(offset=(stage_text(app).splitlines()[row].index("⇥"), row))
        await pilot.press("x")
        await until(pilot, lambda: app.options["prompt"] == "the value of\nx\t", "the mouse finds its place between them")
        await until(pilot, lambda: "the value of↵x⇥" in stage_text(app), "and it is seen there")


async def test_a_digit_and_a_click_append_a_candidate() -> None:
    app = StageApp(PromptStage, PROMPT, Model())
    async with app.run_test(size=(80, 10)) as pilot:
        line = await focus_line(pilot)
        await until(pilot, lambda: candidates(app), "candidates")
        await pilot.press("escape")
        await until(pilot, lambda: app.query_one(widgets.Bars).has_focus, "escape leaves the line")
        await pilot.press("2")
        await until(pilot, lambda: line.value == "the value of ofb", "the second candidate is appended")
        await until(pilot, lambda: candidates(app)[0] == "ofba", "candidates follow")
        await pilot.click(widgets.Bars, offset=(5, 0))
        await until(pilot, lambda: line.value == "the value of ofb ofba", "the clicked candidate is appended")


async def test_likeliest_words_pressed_faster_than_answers_come_are_all_appended() -> None:
    app = StageApp(PromptStage, PROMPT, Model())
    async with app.run_test(size=(80, 10)) as pilot:
        line = await focus_line(pilot)
        await until(pilot, lambda: candidates(app), "candidates")
        await pilot.press("ctrl+n", "ctrl+n", "ctrl+n")
        await until(pilot, lambda: line.value == "the value of ofa ofaa ofaaa", "three words")


async def test_a_sampled_word_and_undo_again_and_again() -> None:
    app = StageApp(PromptStage, PROMPT, Model())
    async with app.run_test(size=(80, 10)) as pilot:
        line = await focus_line(pilot)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: line.value == "the value of w1", "a word")
        await pilot.press(*" x", "ctrl+o")
        await until(pilot, lambda: line.value == "the value of w1 x w2", "another behind what was typed")
        for former in ("the value of w1 x", "the value of w1", "the value of"):
            await pilot.press("ctrl+z")
            await until(pilot, lambda former=former: line.value == former, f"back to {former}")
        await pilot.press("ctrl+z")
        assert line.value == "the value of"


async def test_a_passage_is_written_word_by_word_and_stops() -> None:
    model = Model()
    app = StageApp(PromptStage, PROMPT, model)
    async with app.run_test(size=(80, 10)) as pilot:
        line = await focus_line(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: line.value == "the value of w1 w2 w3 w4 w5 w6", "six words, as the option says")
        questions = [options for panel, options in model.asked if panel == "passage"]
        assert all(options["words"] == 1 for options in questions)
        assert len({options["sampling_seed"] for options in questions}) > 1
        strip = app.query_one(widgets.TokenStrip)
        assert strip.words == ["the", "value", "of", "w1", "w2", "w3", "w4", "w5", "w6"]
        await pilot.press("ctrl+z")
        await until(pilot, lambda: line.value == "the value of", "one undo takes the passage back")

        model.gate.clear()
        await pilot.press("enter")
        await until(pilot, lambda: [panel for panel, _ in model.asked].count("passage") == 7, "a word is on its way")
        await pilot.press("enter")
        model.gate.set()
        await until(pilot, lambda: not app.query_one(PromptStage)._asking, "everything was answered")
        assert line.value == "the value of", "the word that came after stop is dropped"


async def test_typing_stops_the_writing_and_nothing_typed_is_lost() -> None:
    model = Model()
    app = StageApp(PromptStage, PROMPT, model)
    async with app.run_test(size=(80, 10)) as pilot:
        line = await focus_line(pilot)
        model.gate.clear()
        await pilot.press("enter")
        await until(pilot, lambda: any(panel == "passage" for panel, _ in model.asked), "a word is on its way")
        await pilot.press(*" and")
        model.gate.set()
        await until(pilot, lambda: candidates(app)[:1] == ["anda"], "candidates for what was typed")
        assert line.value == "the value of and"


async def test_branches_are_kept_and_can_be_gone_back_to() -> None:
    app = StageApp(PromptStage, PROMPT, Model())
    async with app.run_test(size=(80, 14)) as pilot:
        line = await focus_line(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: line.value.endswith("w6"), "a passage")
        first = line.value
        await pilot.press("ctrl+y")
        await until(pilot, lambda: line.value == "the value of", "back at the point where it began")
        await pilot.press("enter")
        await until(pilot, lambda: line.value.endswith("w12"), "another passage")
        second = line.value
        await pilot.press("pageup")
        await until(pilot, lambda: line.value == first, "the first branch")
        await pilot.press("pagedown")
        await until(pilot, lambda: line.value == second, "the second branch")
        branches = app.query_one("BranchRows", Flow)
        place = branches.place("0")
        assert place is not None
        await pilot.click(branches, offset=place)
        await until(pilot, lambda: line.value == first, "a click goes to a branch")


async def test_picking_a_written_word_branches_before_it() -> None:
    app = StageApp(PromptStage, PROMPT, Model())
    async with app.run_test(size=(80, 14)) as pilot:
        line = await focus_line(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: line.value.endswith("w6"), "a passage")
        strip = app.query_one(widgets.TokenStrip)
        strip.focus()
        await pilot.press("end", "left", "enter")
        await until(pilot, lambda: line.value == "the value of w1 w2 w3 w4", "cut before the fifth word")
        assert app.stage.passage.branches[0].endswith("w6")  # type: ignore[union-attr]
        await pilot.press("home", "enter")
        await until(pilot, lambda: "you typed this word" in message(app), "a typed word is not cut")
        assert line.value == "the value of w1 w2 w3 w4"


def message(app: StageApp) -> str:
    line = app.query_one(".message", Static)
    return str(line.content) if line.display else ""


async def test_a_pasted_megabyte_is_cut_and_said() -> None:
    app = StageApp(PromptStage, PROMPT, Model())
    async with app.run_test(size=(120, 10)) as pilot:
        line = await focus_line(pilot)
        line.post_message(Paste(" word\n\x1b[31m" * 100_000))
        await until(pilot, lambda: len(line.value) == MAX_LENGTH, "as much as fits")
        assert "\n" not in line.value
        assert "\x1b" not in line.value
        await until(pilot, lambda: "kept the first 7,988 of 1,100,000 characters" in message(app), "how much was kept")
        assert not app.query_one(".message").has_class("problem"), "a notice, no error"
        await pilot.press("x")
        assert len(line.value) == MAX_LENGTH


async def test_keys_that_arrive_in_one_burst_act_in_their_order() -> None:
    app = StageApp(PromptStage, PROMPT, Model())
    async with app.run_test(size=(120, 10)) as pilot:
        line = await focus_line(pilot)
        burst = ["ctrl+a", "ctrl+k", "i", "g", "backspace", "f", "ctrl+z", "i", "f", "space", "left", "left", "t"]
        for key in burst:  # as fast as a connection that had stood still gives them
            app.post_message(Key(key, " " if key == "space" else key if len(key) == 1 else None))
        await until(pilot, lambda: line.value == "the value ofitf ", "every key in its turn")


async def test_refusals_and_a_missing_model_are_told_in_words() -> None:
    model = Model()
    app = StageApp(PromptStage, PROMPT, None)
    async with app.run_test(size=(80, 8)) as pilot:
        await until(pilot, lambda: "no model yet: F5 trains one, o loads one" in message(app), "why there is no answer")
        model.error = "the prompt is too long; give its end alone"
        app.stage.ask = model.ask
        await until(pilot, lambda: "the prompt is too long; give its end alone" in message(app), "the words of the refusal")
        model.error = ""
        app.stage.model_changed()
        await until(pilot, lambda: candidates(app) and not message(app), "the answer takes the words away")
        assert not app.query_one(widgets.Bars).styles.text_style.dim
        model.error = "the run was ended elsewhere"
        app.stage.model_changed()
        await until(pilot, lambda: app.query_one(widgets.Bars).styles.text_style.dim, "candidates that hold no more are dimmed")


async def test_options_step_by_key_and_by_mouse_and_can_be_typed() -> None:
    model = Model()
    app = StageApp(PromptStage, PROMPT, model)
    async with app.run_test(size=(100, 12)) as pilot:
        await until(pilot, lambda: candidates(app), "candidates")
        app.query_one(widgets.Bars).focus()
        await pilot.press("right_square_bracket", "right_curly_bracket", "right_square_bracket", "left_curly_bracket")
        await until(pilot, lambda: app.options.get("temperature") == 1.2 and app.options.get("top_k") == 11, "one step each")
        bar = app.stage.bar
        place = bar.place("top_k-")
        assert place is not None
        await pilot.click(bar, offset=place)
        await until(pilot, lambda: app.options.get("top_k") == 10, "a click on the arrow")
        await pilot.press("e", *"0.5", "enter")
        await until(pilot, lambda: app.options.get("temperature") == 0.5, "a typed value")
        assert app.query_one(widgets.Bars).has_focus, "the focus goes back"
        await until(pilot, lambda: model.asked[-1][1]["temperature"] == 0.5, "the question follows")
        await pilot.press("e", *"99", "enter")
        await until(pilot, lambda: "temperature 99 is out of bounds; use 0 to 10" in message(app), "the bound in words")
        await pilot.press("escape")
        assert app.options["temperature"] == 0.5


async def test_renewing_asks_again_but_not_at_every_step() -> None:
    model = Model()
    app = StageApp(PromptStage, PROMPT, model)
    async with app.run_test(size=(80, 10)) as pilot:
        await until(pilot, lambda: candidates(app), "candidates")
        before = len(model.asked)
        for _ in range(1000):
            app.stage.model_changed()
        await until(pilot, lambda: len(model.asked) > before, "asked again")
        assert len(model.asked) == before + 1
        app.stage.display = False
        app.stage.model_changed()
        await until(pilot, lambda: app.stage._next_question is None, "the renewal is over")
        assert len(model.asked) == before + 1, "what nobody sees is not asked"


# --- the pad ----------------------------------------------------------------------------------------------------------------------


def bars_shown(app: StageApp) -> str:
    return " ".join(label for bars in app.query(widgets.Bars) if bars.display for label in bars.labels)


EMPTY = ";".join([",".join(["0"] * 8)] * 8)


def chosen_tool(app: StageApp) -> str:
    groups = app.query_one(".actions", Flow)._groups
    return next(piece.text for group in groups for piece in group if piece.style == "flow--chosen")


async def test_a_drag_draws_and_the_answer_follows() -> None:
    model = Model()
    app = StageApp(PadStage, PAD, model)
    async with app.run_test(size=(80, 10)) as pilot:
        await until(pilot, lambda: bars_shown(app) == "0 1 2 3 4 5 6 7 8 9", "every class is seen in few rows")
        pad = app.query_one(widgets.PixelPad)
        await pilot.mouse_down(pad, offset=(7, 1))
        await pilot.hover(pad, offset=(7, 6))
        await pilot.mouse_up(pad, offset=(7, 6))
        await until(pilot, lambda: model.asked[-1][1].get("drawing"), "the drawing is asked about")
        drawing = read_drawing(model.asked[-1][1]["drawing"], (8, 8), 16)
        assert drawing is not None
        assert drawing[1, 3] == 16
        await until(pilot, lambda: any("drawing" in values for values in app.told), "the other panels hear of it")
        pad.focus()
        await pilot.press("c")
        await until(pilot, lambda: model.asked[-1][1].get("drawing") == EMPTY, "an empty pad is asked about as it is")
        assert not pad.pixels.any()
        assert "an empty pad: draw, or press i for an image" in message(app)
        app.stage.show_behind(ImageGrid(images=Array.of(np.ones((1, 8, 8)))))
        bare = pad.render_line(1)
        await pilot.press("i")
        await until(pilot, lambda: model.asked[-1][1].get("drawing") == "", "a key of its own brings the image back")
        assert pad.render_line(1) != bare, "it is on the pad again"


@pytest.mark.parametrize(("size", "scale"), [((98, 30), 6), ((98, 16), 3), ((62, 30), 4), ((62, 18), 4)])
async def test_the_pad_is_as_large_as_whole_pixels_allow(size: tuple[int, int], scale: int) -> None:
    app = StageApp(PadStage, PAD, Model())
    async with app.run_test(size=size) as pilot:
        pad = app.query_one(widgets.PixelPad)
        await until(pilot, lambda: bars_shown(app) and pad.size.width == 8 * scale, "its width")


async def test_drawing_with_keys_and_stepping_through_images() -> None:
    model = Model()
    app = StageApp(PadStage, PAD, model)
    async with app.run_test(size=(80, 10)) as pilot:
        await until(pilot, lambda: bars_shown(app), "an answer")
        app.query_one(widgets.PixelPad).focus()
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: model.asked[-1][1].get("image") == 1, "the next image")
        await pilot.press("p", "down", "down", "p")
        await until(pilot, lambda: model.asked[-1][1].get("drawing"), "a stroke by keys")
        await pilot.press("x")
        await until(pilot, lambda: chosen_tool(app) == "erase", "the line says what strokes do now")
        await pilot.press("x")
        await until(pilot, lambda: chosen_tool(app) == "brush", "and now")
        actions = app.query_one(".actions", Flow)
        place = actions.place("clear")
        assert place is not None
        await pilot.click(actions, offset=place)
        await until(pilot, lambda: model.asked[-1][1].get("drawing") == EMPTY, "cleared by mouse")
        place = actions.place("image")
        assert place is not None
        await pilot.click(actions, offset=place)
        await until(pilot, lambda: model.asked[-1][1].get("drawing") == "", "and back to the image")


async def test_an_image_picked_elsewhere_is_asked_about() -> None:
    model = Model()
    app = StageApp(PadStage, PAD, model)
    async with app.run_test(size=(80, 8)) as pilot:
        await until(pilot, lambda: bars_shown(app), "an answer")
        app.stage.set_options({"image": 7})
        await until(pilot, lambda: model.asked[-1][1].get("image") == 7, "asked about image 7")
        assert "7" in str(app.stage.bar.values)


def test_a_drawing_survives_its_way_through_text() -> None:
    pixels = np.round(np.random.default_rng(0).random((8, 8)) * 16, 1)
    read = read_drawing(write_drawing(pixels), (8, 8), 16)
    assert read is not None
    assert np.allclose(read, pixels)
    assert write_drawing(np.zeros((8, 8))) == EMPTY
    assert read_drawing("1,2;x", (8, 8), 16) is None
    assert read_drawing("1,nan;1,2", (2, 2), 16) is None


@pytest.mark.parametrize("size", [(40, 5), (80, 8), (80, 24), (140, 12), (220, 16)])
@pytest.mark.parametrize(("kind", "card"), [(PromptStage, PROMPT), (PadStage, PAD)])
async def test_it_can_be_drawn_at_any_size_and_without_colour(
    size: tuple[int, int], kind: type[PromptStage] | type[PadStage], card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = StageApp(kind, card, Model())
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: candidates(app), "an answer")
        await pilot.press("tab", "tab")
        app.export_screenshot()


# --- the text without a screen ----------------------------------------------------------------------------------------------------


def test_undo_goes_back_to_every_text_that_stood_still() -> None:
    passage = Passage("a")
    passage.typed("a b")
    passage.typed("a b c")
    passage.begin_change()
    passage.append(" d", 0.5)
    texts = []
    while passage.undo():
        texts.append(passage.text)
    assert texts == ["a b c", "a"]


def test_editing_keeps_the_probabilities_of_what_was_left_alone() -> None:
    passage = Passage("a")
    passage.append(" b", 0.5)
    passage.append(" c", 0.25)
    passage.typed("a b x")
    assert [(piece.text, piece.value) for piece in passage.pieces] == [("a", None), (" b", 0.5), (" x", None)]


def test_a_branch_keeps_everything_and_undo_takes_it_back() -> None:
    passage = Passage("a")
    passage.append(" b", 0.5)
    assert passage.branch()
    assert (passage.text, passage.branches) == ("a", ["a b", "a"])
    assert not passage.branch(), "there is nothing behind the point"
    passage.append(" c", 0.5)
    assert passage.switch(0)
    assert (passage.text, passage.branches) == ("a b", ["a b", "a c"])
    passage.switch(1)
    assert passage.undo()
    assert (passage.text, passage.branches) == ("a b", ["a b"])


def test_a_full_passage_takes_no_more() -> None:
    passage = Passage("x" * MAX_LENGTH)
    assert not passage.append(" y", 0.5)
    assert len(passage.text) == MAX_LENGTH


class Reader(Model):
    """Cannot read @."""

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        found = await super().ask(panel, options)
        left_out = "left out, since no token has them: @" if "@" in options["prompt"] else ""
        return msgspec.structs.replace(found, remark=left_out) if isinstance(found, Bars) else found


@pytest.mark.parametrize("size", [(100, 24), (80, 9)])
async def test_what_the_model_cannot_read_is_told_however_small_the_window(size: tuple[int, int]) -> None:
    app = StageApp(PromptStage, PROMPT, Reader())
    async with app.run_test(size=size) as pilot:
        app.stage._line.focus()
        await until(pilot, lambda: app.stage._current_candidates() is not None, "candidates")
        await pilot.press("space", "@")
        await until(pilot, lambda: "no token has them: @" in message(app), "the remark")
        await pilot.press("backspace")
        await until(pilot, lambda: "no token" not in message(app), "the remark is gone")
