"""A line and its tokens, and a prompt with a memory, as a person meets them, with a model that is made up."""

import asyncio
import dataclasses
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta
from textual.pilot import Pilot
from textual.widgets import Input

from dlplay import widgets
from dlplay.engine import stages
from dlplay.engine.card import PanelCard
from dlplay.engine.panels import AnyPanel, Bars, Tokens
from dlplay.engine.settings import Options
from dlplay.runs.client import RunError
from dlplay.screen.stages import token_line
from dlplay.screen.stages.prompt.stage import PromptStage
from dlplay.screen.stages.token_line import TokenLineStage
from tests.stage_pilot import StageApp, card_of, message, stage_text, until


@dataclasses.dataclass(frozen=True, kw_only=True)
class Translated(Options):
    source: str = "a b c"
    """What is read."""

    output: str = ""
    """What the output is made to begin with."""

    words: Annotated[int, Meta(ge=0, le=500)] = 0
    """At most this many words; 0: all."""

    place: Annotated[int, Meta(ge=-1, le=500)] = -1
    """Which word is looked at."""

    beams: Annotated[int, Meta(ge=1, le=10)] = 1
    """How many outputs are followed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentence(Options):
    sentence: str = "the [MASK] of a [MASK]"
    """What is read."""

    place: Annotated[int, Meta(ge=-1, le=500)] = -1
    """Which word is looked at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remembered(Options):
    prompt: str = "what is k"
    """What is read."""

    read_before: str = "k is 7"
    """What was read before it."""


TRANSLATION = card_of(
    stages.TokenLine("translation", "source", place="place", changes="output", plays="words"),
    PanelCard("translation", "Output", "What the decoder says.", "Help.", Translated),
)
BLANKS = card_of(
    stages.TokenLine("fill", "sentence", place="place", changes="sentence"),
    PanelCard("fill", "Sentence", "What is masked.", "Help.", Sentence),
)
MEMORY = card_of(stages.Prompt("next", "prompt", before="read_before"), PanelCard("next", "Next", "What may follow.", "Help.", Remembered))


class Reverser:
    """Says the source backwards, word by word; what it is made to say comes first."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        values = dataclasses.asdict(Translated()) | options
        self.asked.append(values)
        said = values["source"].split()[::-1]
        forced = values["output"].split()
        whole = [*forced, *said[len(forced) :]]
        words = whole[: values["words"] or None]
        place = min(values["place"], len(words) - 1) if values["place"] >= 0 else len(words) - 1
        letters = ["x", "y", "z"]
        return Tokens(
            words=words,
            values=[None if position < len(forced) else 0.9 for position in range(len(words))],
            place=place,
            alternatives=Bars(
                labels=letters, values=[0.5, 0.3, 0.2], percent=True, sets=[" ".join([*words[:place], letter]) for letter in letters]
            ),
            ended=len(words) == len(whole),
            caption=f"{len(words)} words",
            figure="verdict",
        )


class Hesitating(Reverser):
    """Cannot say a second word when it is asked for exactly two."""

    refused = 0

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        if options.get("words") == 2:
            self.refused += 1
            raise RunError("the process is gone")
        return await super().ask(panel, options)


class Slow(Reverser):
    """Answers only while its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        await self.gate.wait()
        return await super().ask(panel, options)


class Filler:
    """Fills a mask with `cat`, `dog` or `hat`."""

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        words = options.get("sentence", Sentence.sentence).split()
        masks = [position for position, word in enumerate(words) if word == "[MASK]"]
        asked = options.get("place", -1)
        place = min(asked, len(words) - 1) if asked >= 0 else (masks or [len(words) - 1])[0]

        def put(word: str) -> str:
            return " ".join([*words[:place], word, *words[place + 1 :]])

        names = ["cat", "dog", "hat"]
        return Tokens(
            words=words,
            values=[0.6 if word == "[MASK]" else None for word in words],
            place=place,
            alternatives=Bars(labels=names, values=[0.6, 0.3, 0.1], percent=True, sets=[put(name) for name in names]),
            masked="" if words[place] == "[MASK]" else put("[MASK]"),
            filled=" ".join("cat" if word == "[MASK]" else word for word in words) if masks else "",
            filled_values=[0.6 if word == "[MASK]" else None for word in words] if masks else [],
        )


class Reader(Filler):
    """Cannot read @."""

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        found = await super().ask(panel, options)
        left_out = "left out, since no token has them: @" if "@" in options["sentence"] else ""
        return msgspec.structs.replace(found, remark=left_out)


class Rememberer:
    """Knows what it read before."""

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        knows = "k is 7" in options.get("read_before", Remembered.read_before)
        return Bars(labels=["7", "3"], values=[0.99, 0.01] if knows else [0.1, 0.1], percent=True, appends=[" 7", " 3"])


def strip(app: StageApp) -> widgets.TokenStrip:
    return app.query_one(widgets.TokenStrip)


def line(app: StageApp) -> Input:
    return app.query_one("PromptLine", Input)


async def go_to_strip(app: StageApp, pilot: Pilot[None]) -> None:
    line(app).focus()
    await until(pilot, lambda: line(app).has_focus, "the line has the focus")
    await pilot.press("escape")
    await until(pilot, lambda: strip(app).has_focus, "escape leads to the tokens")


async def test_the_output_follows_what_is_typed() -> None:
    app = StageApp(TokenLineStage, TRANSLATION, Reverser())
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "the default source reversed")
        line(app).focus()
        await pilot.press(*" d")
        await until(pilot, lambda: strip(app).words == ["d", "c", "b", "a"], "the output follows")
        await until(pilot, lambda: any(values.get("source") == "a b c d" for values in app.told), "the tab hears of it")
        assert "words" not in stage_text(app).splitlines()[0], "what is set by hand needs no stepper"
        assert "beams" in stage_text(app).splitlines()[0]


async def test_a_word_is_forced_and_the_rest_goes_on_and_undo_takes_it_back() -> None:
    app = StageApp(TokenLineStage, TRANSLATION, Reverser())
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "an output")
        await go_to_strip(app, pilot)
        await pilot.press("home", "right")
        await until(pilot, lambda: app.options["place"] == 1 and strip(app).selected == 1, "the second word is looked at")
        await pilot.press("2")
        await until(pilot, lambda: strip(app).words == ["c", "y", "a"], "the second alternative stands there, the rest went on")
        assert app.options["output"] == "c y"
        await pilot.press("u")
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "undone")
        await pilot.press("2")
        await until(pilot, lambda: app.options["output"] == "c y", "forced again")
        line(app).focus()
        await pilot.press("e")
        await until(pilot, lambda: app.options["output"] == "" and app.options["place"] == -1, "another source is met without prejudice")


@pytest.fixture
def held_play(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first word stands until something ends the play."""
    monkeypatch.setattr(token_line, "PLAY_SECONDS", 3600.0)


async def test_enter_plays_the_output_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_line, "PLAY_SECONDS", 0.0)
    model = Reverser()
    app = StageApp(TokenLineStage, TRANSLATION, model)
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "an output")
        line(app).focus()
        await until(pilot, lambda: line(app).has_focus, "the line has the focus")
        del model.asked[:]
        await pilot.press("enter")
        await until(pilot, lambda: len(model.asked) >= 3 and app.options["words"] == 0, "then all words are wanted again")
        assert [values["words"] for values in model.asked][:3] == [1, 2, 3]
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "all of them at last")


@pytest.mark.usefixtures("held_play")
async def test_enter_stops_a_play() -> None:
    app = StageApp(TokenLineStage, TRANSLATION, Reverser())
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "an output")
        line(app).focus()
        await until(pilot, lambda: line(app).has_focus, "the line has the focus")
        await pilot.press("enter")
        await until(pilot, lambda: strip(app).words == ["c"], "the first word alone")
        assert "stop" in stage_text(app)
        await pilot.press("enter")
        await until(
            pilot, lambda: strip(app).words == ["c", "b", "a"] and app.options["words"] == 0, "stopped: the whole output stands there"
        )


async def play(app: StageApp, pilot: Pilot[None]) -> None:
    line(app).focus()
    await until(pilot, lambda: line(app).has_focus, "the line has the focus")
    await pilot.press("enter")
    await until(pilot, lambda: app.options.get("words", 0) > 0 and len(strip(app).words) == 1, "the first word alone")


@pytest.mark.usefixtures("held_play")
@pytest.mark.parametrize("key", ["ctrl+z", "escape,home", "x"])
async def test_whatever_ends_a_play_shows_the_whole_output(key: str) -> None:
    app = StageApp(TokenLineStage, TRANSLATION, Reverser())
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "an output")
        await play(app, pilot)
        if key == "x":
            app.stage.set_options({"place": 0})
        else:
            await pilot.press(*key.split(","))
            strip(app).post_message(widgets.TokenStrip.Moved(strip(app), 0))
        await until(pilot, lambda: app.options["words"] == 0, "all words are wanted")
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "and shown")


async def test_an_error_in_a_play_is_told_and_the_output_not_left_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_line, "PLAY_SECONDS", 0.0)
    model = Hesitating()
    app = StageApp(TokenLineStage, TRANSLATION, model)
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "an output")
        line(app).focus()
        await until(pilot, lambda: line(app).has_focus, "the line has the focus")
        await pilot.press("enter")
        await until(pilot, lambda: model.refused, "the second word")
        await until(pilot, lambda: app.options["words"] == 0 and len(strip(app).words) == 3, "the whole output again")


async def test_another_line_from_elsewhere_is_met_without_the_forced_words() -> None:
    app = StageApp(TokenLineStage, TRANSLATION, Reverser())
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "an output")
        await go_to_strip(app, pilot)
        await pilot.press("2")
        await until(pilot, lambda: bool(app.options.get("output")), "a word is forced")
        app.options["source"] = "k l m"  # as the tab does, whose dictionary it is
        app.stage.set_options({"source": "k l m"})
        await until(pilot, lambda: strip(app).words == ["m", "l", "k"], "the other line's own output")
        assert line(app).value == "k l m"
        await pilot.press("u")
        await until(pilot, lambda: line(app).value == "a b c" and app.options["output"] != "", "undo brings back both")


async def test_the_cursor_goes_to_the_token_that_is_looked_at() -> None:
    app = StageApp(TokenLineStage, BLANKS, Filler())
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).selected == 1, "the first mask is looked at")
        await go_to_strip(app, pilot)
        await pilot.press("1")
        await until(pilot, lambda: strip(app).selected == 4 and strip(app).cursor == 4, "the cursor is at the next mask")


async def test_the_line_of_words_tells_of_the_token_that_is_looked_at() -> None:
    app = StageApp(TokenLineStage, BLANKS, Filler())
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).selected == 1, "the first mask is looked at")
        await go_to_strip(app, pilot)
        await pilot.press("1")
        await until(pilot, lambda: strip(app).selected == 4, "the next mask")
        await until(pilot, lambda: "[MASK]  60.0 %" in stage_text(app).splitlines()[-1], "and the words below are about it")
        await pilot.press("2")
        await until(pilot, lambda: strip(app).words == ["the", "cat", "of", "a", "dog"], "the last mask is filled")
        await until(pilot, lambda: strip(app).selected == 4, "and what fills it stays the word that is looked at")


async def test_a_pick_that_is_ahead_of_the_answer_is_done_when_that_comes() -> None:
    model = Slow()
    app = StageApp(TokenLineStage, TRANSLATION, model)
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "an output")
        await go_to_strip(app, pilot)
        model.gate.clear()
        await pilot.press("left", "3")
        await until(pilot, lambda: app.options["place"] == 1, "the second word is looked at")
        assert not app.options.get("output")
        model.gate.set()
        await until(pilot, lambda: strip(app).words == ["c", "z", "a"], "the third alternative stands there")
        model.gate.clear()
        await pilot.press("home", "2", "u")
        model.gate.set()
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "what was pressed last counts")
        await pilot.pause(0.05)
        assert not app.options.get("output")


@pytest.mark.parametrize("size", [(100, 24), (80, 9)])
async def test_what_the_model_cannot_read_is_told_however_small_the_window(size: tuple[int, int]) -> None:
    app = StageApp(TokenLineStage, BLANKS, Reader())
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: strip(app).selected == 1, "the first mask is looked at")
        app.stage.query_one(Input).focus()
        await pilot.press("end", "space", "@")
        await until(pilot, lambda: "no token has them: @" in message(app), "the remark")
        await pilot.press("backspace")
        await until(pilot, lambda: "no token" not in message(app), "the remark is gone")


@pytest.mark.parametrize("width", [60, 120])
async def test_the_figure_stays_where_the_window_is_narrow(width: int) -> None:
    app = StageApp(TokenLineStage, TRANSLATION, Reverser())
    async with app.run_test(size=(width, 16)) as pilot:
        await until(pilot, lambda: "verdict" in stage_text(app).splitlines()[0], "the verdict stands in the first line")


async def test_masks_are_set_filled_and_picked() -> None:
    app = StageApp(TokenLineStage, BLANKS, Filler())
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).selected == 1, "the first mask is looked at")
        await go_to_strip(app, pilot)
        await pilot.press("2")
        await until(pilot, lambda: line(app).value == "the dog of a [MASK]", "the second word fills it")
        await until(pilot, lambda: strip(app).selected == 4, "then the next mask is looked at")
        await pilot.press("home")
        await until(pilot, lambda: strip(app).selected == 0, "the first word")
        await pilot.press("x")
        await until(pilot, lambda: line(app).value == "[MASK] dog of a [MASK]", "it is masked")
        await until(pilot, lambda: strip(app).words[0] == "[MASK]", "and shown so")
        await pilot.press("x")
        await until(pilot, lambda: "masked already" in message(app), "what is masked stays so")
        await pilot.press("g")
        await until(pilot, lambda: line(app).value == "cat dog of a cat", "all are filled")
        await until(pilot, lambda: "[MASK]" not in strip(app).words, "and shown")
        await until(pilot, lambda: 'filled 2: "cat" 60.0 %, "cat" 60.0 %' in message(app), "what was filled is told")
        assert (strip(app).selected, strip(app).cursor) == (0, 0), "the first word that was filled"
        assert strip(app)._values == [0.6, None, None, None, 0.6], "and each is shaded"
        await pilot.press("end")
        await until(pilot, lambda: strip(app).selected == 4, "the other one")
        assert '"cat": 60.0 % when it was filled in' in stage_text(app)
        await pilot.press("g")
        await until(pilot, lambda: "no mask to fill" in message(app), "nothing is left")
        await pilot.press("u", "u")
        await until(pilot, lambda: line(app).value == "the dog of a [MASK]", "two changes taken back")


async def test_everything_has_a_mouse_target_and_a_palette_entry() -> None:
    app = StageApp(TokenLineStage, BLANKS, Filler())
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).words, "an answer")
        row = next(number for number, text in enumerate(stage_text(app).splitlines()) if "fill" in text and "undo" in text)
        await pilot.click(offset=(stage_text(app).splitlines()[row].index("fill"), row))
        await until(pilot, lambda: line(app).value == "the cat of a cat", "a click fills")
        await until(pilot, lambda: "[MASK]" not in strip(app).words, "and is shown")
        await pilot.click(widgets.TokenStrip, offset=(1, 0))
        await until(pilot, lambda: app.options["place"] == 0, "a click chooses a word")
        commands = {words.split(" (")[0]: do for words, _, do in app.stage.commands()}
        assert commands.keys() == {"fill", "mask the word", "undo"}
        await until(pilot, lambda: strip(app).selected == 0, "the answer has come")
        commands["mask the word"]()
        await until(pilot, lambda: line(app).value == "[MASK] cat of a cat", "the palette masks")


async def test_an_answer_of_another_kind_and_a_line_of_another_part() -> None:
    class Wrong:
        async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
            await asyncio.sleep(0)
            return Bars(labels=["a"], values=[1.0])

    app = StageApp(TokenLineStage, BLANKS, Wrong())
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: "not with tokens" in message(app), "it says so")
        app.stage.set_options({"sentence": "from\x1b elsewhere"})
        await until(pilot, lambda: line(app).value == "from  elsewhere", "shown without control characters")


async def test_what_was_answered_last_stays_clear_until_something_else_is_asked() -> None:
    app = StageApp(TokenLineStage, TRANSLATION, Reverser())
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "an output")
        app.stage.ask = None
        app.stage.set_unavailable("the run was stopped at step 7: F5 resumes it")
        await until(pilot, lambda: "stopped at step 7" in message(app), "told in words")
        assert not app.stage.has_class("-stale")
        line(app).focus()
        await pilot.press("z")
        await until(pilot, lambda: app.stage.has_class("-stale"), "the answer is not one to this line")


async def test_a_part_is_read_into_the_memory_and_forgotten() -> None:
    app = StageApp(PromptStage, MEMORY, Rememberer())
    async with app.run_test(size=(100, 14)) as pilot:
        bars = app.query_one(widgets.Bars)
        await until(pilot, lambda: bars.values[:1] == [0.99], "it remembers")
        assert "in memory (6 characters)  k is 7" in stage_text(app)
        line(app).focus()
        await until(pilot, lambda: line(app).has_focus, "the line has the focus")
        await pilot.press("escape", "x")
        await until(pilot, lambda: bars.values[:1] == [0.1], "forgotten, and another prediction")
        assert app.options["read_before"] == ""
        assert "the memory is empty" in stage_text(app)
        app.stage.set_options({"prompt": "k is 7 for sure"})
        line(app).focus()
        await pilot.press("ctrl+l")
        await until(pilot, lambda: app.options["read_before"] == "k is 7 for sure" and line(app).value == "", "read into the memory")
        await until(pilot, lambda: bars.values[:1] == [0.99], "and it knows again")
        await pilot.press(*"so", "ctrl+l")
        await until(pilot, lambda: app.options["read_before"] == "k is 7 for sure so", "the next part follows")
        await pilot.press("ctrl+z")
        await until(pilot, lambda: line(app).value == "so" and app.options["read_before"] == "k is 7 for sure", "undo brings back both")
        await pilot.press("ctrl+l")
        await until(pilot, lambda: app.options["read_before"] == "k is 7 for sure so", "read once, not twice")
        await pilot.press("escape", "x")
        await until(pilot, lambda: app.options["read_before"] == "", "emptied")
        await pilot.press("u")
        await until(pilot, lambda: app.options["read_before"] == "k is 7 for sure so", "which can be undone")
        line(app).focus()
        await until(pilot, lambda: line(app).has_focus, "the line has the focus")
        await pilot.press("ctrl+l")
        await until(pilot, lambda: "type a part" in message(app), "an empty line is no part")


async def test_a_prompt_without_a_memory_offers_none() -> None:
    app = StageApp(PromptStage, card_of(stages.Prompt("next", "prompt"), MEMORY.panels[0]), Rememberer())
    async with app.run_test(size=(100, 14)) as pilot:
        await until(pilot, lambda: app.query_one(widgets.Bars).values, "candidates")
        assert "memory" not in stage_text(app)
        assert not any("memory" in words for words, _, _ in app.stage.commands())


class Reading:
    """A model that reads texts of its own as long as nobody has set another."""

    def __init__(self, prompt: str, before: str) -> None:
        self.own = {"prompt": prompt, "read_before": before}
        self.asked: list[dict[str, Any]] = []

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        await asyncio.sleep(0)
        values = dataclasses.asdict(Remembered()) | options
        self.asked.append(values)
        read = {
            name: self.own[name] for name, value in dataclasses.asdict(Remembered()).items() if values[name] == value and self.own[name]
        }
        return Bars(labels=["x"], values=[0.5], appends=[" x"], read=read)


async def test_a_text_of_the_models_own_stands_in_the_line_until_another_is_typed() -> None:
    text = Reading("once upon", "a long time ago")
    app = StageApp(PromptStage, MEMORY, text)
    async with app.run_test(size=(100, 14)) as pilot:
        await until(pilot, lambda: line(app).value == "once upon", "the text that it reads")
        assert "in memory (15 characters)  a long time ago" in stage_text(app)
        assert not app.stage.passage.can_undo
        app.stage.ask = Reading("who", "tom ann " + "." * 30).ask
        await until(pilot, lambda: line(app).value == "who", "a memory that ends in dots")
        assert "in memory (38 characters)  tom ann . ×30" in stage_text(app)
        app.stage.ask = Reading("", "").ask
        await until(pilot, lambda: line(app).value == "what is k", "another model reads the usual one")
        assert "in memory (6 characters)  k is 7" in stage_text(app)
        app.stage.ask = text.ask
        await until(pilot, lambda: line(app).value == "once upon", "and back")
        line(app).focus()
        await until(pilot, lambda: line(app).has_focus, "the line has the focus")
        await pilot.press("s")
        await until(
            pilot, lambda: text.asked[-1] == {"prompt": "once upons", "read_before": "a long time ago"}, "what is typed goes on from it"
        )
        assert line(app).value == "once upons"
        await pilot.press("ctrl+z")
        await until(pilot, lambda: line(app).value == "once upon", "undo")
        await pilot.press("escape", "x")
        await until(pilot, lambda: text.asked[-1]["read_before"] == "", "emptied stays empty")
        assert "the memory is empty" in stage_text(app)


async def test_the_alternatives_stand_right_below_the_tokens_however_many_there_are() -> None:
    app = StageApp(TokenLineStage, TRANSLATION, Reverser())
    async with app.run_test(size=(60, 40)) as pilot:
        await until(pilot, lambda: strip(app).words == ["c", "b", "a"], "the default source reversed")
        bars = app.query_one(widgets.Bars)
        await until(pilot, lambda: bars.region.y - strip(app).region.y == 4, "a line of tokens, one for the note, and a gap")
        line(app).value = " ".join("abcdefgh" * 6)
        await until(pilot, lambda: len(strip(app).words) == 48, "many tokens")
        await until(pilot, lambda: bars.region.y - strip(app).region.y >= 5, "more lines")
        assert bars.size.height >= 8
