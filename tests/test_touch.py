"""Touching a model from the screen and from the command line."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Input, Static

from dlplay.engine.interventions import parse
from dlplay.engine.panels import AnyPanel, Table
from dlplay.engine.settings import SettingsError
from dlplay.runs import directory, saved_interventions
from dlplay.runs.client import RunError
from dlplay.screen.dialogs.touch import TouchDialog, begun
from dlplay.screen.panels.panel_view import PanelView
from dlplay.screen.run.run_bar import RunBar, RunBarState
from dlplay.screen.touches import Touches
from dlplay.widgets import TableView
from tests.conftest import Dlplay
from tests.screen_pilot import opened, part_text, screen_text, until


def test_every_change_can_be_undone_and_redone() -> None:
    touches = Touches()
    touches.add("a.b=0")
    touches.add("c[1]*2")
    assert touches.text == "a.b=0; c[1]*2"
    assert touches.move(-1)
    assert touches.text == "a.b=0"
    assert touches.move(1)
    assert not touches.move(1)
    assert touches.move(-1)
    touches.put(())
    assert touches.text == ""
    assert not touches.move(1)  # what was undone is gone once something else is done
    assert touches.move(-1)
    assert touches.text == "a.b=0"
    with pytest.raises(SettingsError):
        touches.add("nonsense")
    assert touches.text == "a.b=0"


def test_the_part_that_a_panel_shows_is_what_the_line_begins_with() -> None:
    assert begun("blocks.1.head.3", "blocks.0.head.2 +0.206") == "blocks.1.head.3="
    assert begun("", "blocks.0.head.2 +0.206") == "blocks.0.head.2="
    assert begun("", "27.0 %") == ""
    assert begun("", "") == ""


def test_interventions_are_saved_with_the_run_and_done_again_from_the_command_line(dlplay: Dlplay, tmp_path: Path) -> None:
    train = ["convnet", "--headless", "--steps", "2", "--eval-every", "2", "--name", "one", "--runs-dir", str(tmp_path / "runs")]
    assert dlplay(*train).status == 0
    run = directory.find(tmp_path / "runs", "one")
    ask = ["convnet", "--headless", "--from", "one", "--panel", "effect", "--json", "--runs-dir", str(tmp_path / "runs"), "--do"]
    refused = dlplay(*ask, "saved")
    assert (refused.status, "has no saved interventions" in refused.err) == (2, True)
    saved_interventions.write(run, parse("blocks.0.convolution[1]=mean; blocks.1*0.5"))
    saved, typed = (json.loads(dlplay(*ask, do).out) for do in ("saved", "blocks.0.convolution[1]=mean; blocks.1*0.5"))
    assert saved == typed
    assert [row[0] for row in saved["rows"]] == ["none", "blocks.0.convolution[1]=mean", "blocks.1*0.5", "all of them"]
    (run.path / saved_interventions.FILE).write_text('{"interventions": "x"}')
    assert "cannot be read" in dlplay(*ask, "saved").err


async def test_a_model_is_touched_from_the_screen(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet", explore=True) as (app, pilot):
        await until(lambda: app.tab.link._client is not None)
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TouchDialog))
        line = app.screen.query_one(Input)
        line.value = "blocks.0.nothing=0"
        await pilot.press("enter")
        await until(lambda: "the nearest is" in screen_text(app))
        await until(lambda: not app.tab.touches.now)  # what the model refuses is taken back
        line.value = "blocks.0.convolution[15]=mean"
        await pilot.press("enter")
        await until(lambda: "95 % interval" in screen_text(app) and "+0." in screen_text(app))
        await pilot.press("escape")
        await until(lambda: any(_touched(view) for view in app.tab.query(PanelView)))
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TouchDialog))
        await pilot.press("ctrl+z")
        await until(lambda: not app.tab.touches.now)
        await pilot.press("escape")
        await until(lambda: app.tab.query(PanelView) and not any(_touched(view) for view in app.tab.query(PanelView)))
        app.tab.inspector.go_to("ablations")
        view = next(view for view in app.tab.query(PanelView) if view.card.name == "ablations")
        await until(lambda: view.part == "blocks.0.convolution[15]")  # the one that its figure names
        await pilot.press("up", "T")
        await until(lambda: isinstance(app.screen, TouchDialog))
        assert app.screen.query_one(Input).value == "blocks.0.convolution[14]="


def _touched(view: PanelView) -> bool:
    return view.display and view.panel is not None and view.panel.caption.startswith("with 1 intervention")


async def test_interventions_are_trained_with_only_when_a_person_asks(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet", explore=True) as (app, pilot):
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TouchDialog))
        app.screen.query_one(Input).value = "blocks.0.convolution[3]=0"
        await pilot.press("enter")
        await until(lambda: app.tab.touches.now)
        assert app.tab.form.values["train_with"] == ""
        await pilot.press("f7")
        await until(lambda: "the next run trains with them" in screen_text(app))
        assert app.tab.form.values["train_with"] == "blocks.0.convolution[3]=0"


class Touching(App[None]):
    """The dialog alone, over a model whose effect is measured when `measured` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.measured = asyncio.Event()
        self.answers: object = "a model"
        self.refuses = self.trained = ""
        self.touches = Touches()
        self.touches.add("blocks.0=0")

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        if self.answers is None:
            raise RunError("the run is starting")
        if self.refuses and self.refuses in options["do"]:
            raise RunError(f"--do: there is no part {self.refuses!r}")
        await self.measured.wait()
        rows = [["measured"], *([str(each)] for each in parse(options["do"]))]
        return Table(columns=["intervention"], rows=rows, caption="loss (nats)")

    async def train_with(self, text: str) -> str:
        if self.refuses:
            raise SettingsError(f"{self.refuses} cannot be trained with")
        return f"the next run trains with {text}"

    def on_mount(self) -> None:
        dialog = TouchDialog(
            self.touches, "", self.ask, lambda: self.answers, lambda: None, self.train_with, lambda: (), lambda: self.trained
        )
        self.push_screen(dialog)


async def test_what_is_said_of_a_key_is_not_overwritten_by_an_effect_that_comes_later() -> None:
    app = Touching()
    async with app.run_test(size=(100, 40)) as pilot:
        await until(lambda: isinstance(app.screen, TouchDialog))
        await pilot.press("f7")
        await until(lambda: "the next run trains with blocks.0=0" in screen_text(app))
        app.measured.set()
        await until(lambda: "measured" in screen_text(app))
        assert "the next run trains with blocks.0=0" in screen_text(app)


async def test_what_is_asked_for_is_listed_at_once_and_measured_once_a_model_answers() -> None:
    app = Touching()
    app.answers = None
    async with app.run_test(size=(100, 40)) as pilot:
        await until(lambda: "not measured yet: the run is starting" in screen_text(app))
        await pilot.press(*"blocks.1=0", "enter")
        await until(lambda: screen_text(app).count("not measured yet: the run is starting") == 2)
        assert "blocks.0=0 " in screen_text(app)
        assert "blocks.1=0 " in screen_text(app)
        assert "no interventions" not in screen_text(app)
        app.answers = "the run"
        await until(lambda: screen_text(app).count("measuring …") == 2)
        app.measured.set()
        await until(lambda: "loss (nats)" in screen_text(app))
        assert "not measured" not in screen_text(app)
        app.measured.clear()
        await pilot.press("ctrl+z", "ctrl+z")
        await until(lambda: "no interventions" in screen_text(app))
        await pilot.press("ctrl+y")
        await until(lambda: "blocks.0=0 " in screen_text(app) and "measuring …" in screen_text(app))


async def test_what_the_run_is_trained_with_is_marked_and_only_a_refusal_looks_like_an_error() -> None:
    app = Touching()
    app.trained = "blocks.0=0"
    app.measured.set()

    def shown_as_error(words: str) -> bool:
        said = app.screen.query_one("#touch-words", Static)
        content = said.render()
        assert isinstance(content, Content)
        assert words in content.plain
        return not any("success" in str(span.style) for span in content.spans)

    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press(*"blocks.1=0", "enter")
        await until(lambda: "blocks.0=0 (trained with)" in screen_text(app))
        assert "blocks.1=0 (trained with)" not in screen_text(app)
        await pilot.press("f7")
        await until(lambda: "the next run trains with" in screen_text(app))
        assert not shown_as_error("the next run trains with")
        app.refuses = "blocks.0=from"
        await pilot.press("f7")
        await until(lambda: "cannot be trained with" in screen_text(app))
        assert shown_as_error("cannot be trained with")


async def test_what_was_measured_of_one_model_is_not_shown_as_that_of_another() -> None:
    app = Touching()
    app.measured.set()
    async with app.run_test(size=(100, 40)):
        await until(lambda: "loss (nats)" in screen_text(app))
        app.measured.clear()
        app.answers = "another model"
        await until(lambda: "measuring …" in screen_text(app))
        assert "loss (nats)" not in screen_text(app)
        app.measured.set()
        await until(lambda: "loss (nats)" in screen_text(app))


async def test_once_it_is_trained_with_them_their_effect_is_measured_anew() -> None:
    app = Touching()
    app.measured.set()
    async with app.run_test(size=(100, 40)) as pilot:
        await until(lambda: "loss (nats)" in screen_text(app))
        app.trained = "blocks.0=0"
        await pilot.press("f7")
        await until(lambda: "blocks.0=0 (trained with)" in screen_text(app) and "the next run trains with" in screen_text(app))


async def test_the_line_is_emptied_once_it_was_taken_and_keeps_what_is_refused() -> None:
    app = Touching()
    app.refuses = "blocks.9"
    app.measured.set()
    async with app.run_test(size=(100, 40)) as pilot:
        await until(lambda: isinstance(app.screen, TouchDialog))
        line = app.screen.query_one(Input)
        await pilot.press(*"blocks.1=0", "enter", *"blocks.2=mean", "enter")
        await until(lambda: app.touches.text == "blocks.0=0; blocks.1=0; blocks.2=mean")
        assert line.value == ""
        await pilot.press(*"blocks.2=mean", "enter")
        await until(lambda: "it is on already" in screen_text(app))
        assert line.value == "blocks.2=mean"
        line.value = ""
        await pilot.press(*"blocks.9=0", "enter")
        await until(lambda: "there is no part" in screen_text(app) and line.value == "blocks.9=0")
        assert "--do" not in screen_text(app)
        app.measured.clear()
        await pilot.press("enter")
        await until(lambda: "there is no part" in screen_text(app) and "measured" in screen_text(app))
        assert "measuring" not in screen_text(app)  # what was measured of the others stays
        assert app.touches.text == "blocks.0=0; blocks.1=0; blocks.2=mean"


def test_the_same_twice_compounds_or_is_refused() -> None:
    for one in ("a.b*2", "a.b+0.5", "a.b~0.1"):
        touches = Touches()
        touches.add(one)
        touches.add(one)
        assert touches.text == f"{one}; {one}"
    for one in ("a.b=0", "a.b=mean", "a.b=skip", "a.b=from prompt: the cat"):
        touches = Touches()
        touches.add(one)
        for again in (one, f"{one} ; c=0; c=0"):
            with pytest.raises(SettingsError, match="it is on already"):
                touches.add(again)
        assert touches.text == one
        touches.add("c*2")
        touches.add("a.b[1]=0")


def test_the_run_bar_says_that_interventions_are_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunBar, "content_size", Size(78, 1))
    for state in (RunBarState("training", name="convnet-12", step=100, steps=300), RunBarState("exploring", showing="convnet-digits")):
        for count, words in ((1, "1 intervention · T"), (12, "12 interventions · T")):
            bar = RunBar()
            bar.state = dataclasses.replace(state, interventions=count)
            assert words in bar.render().plain
            assert bar.render().cell_length <= 78
            bar.state = state
            assert "intervention" not in bar.render().plain


async def test_a_new_run_begins_without_interventions_and_they_can_be_put_on_again(tmp_path: Path) -> None:
    async with opened(tmp_path, (80, 24), tab="convnet") as (app, pilot):
        app.tab.form.put("steps", "2")
        await pilot.press("r")
        await until(lambda: app.tab.link.run is not None)
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TouchDialog))
        await pilot.press(*"blocks.0.convolution[15]=0", "enter")
        await until(lambda: "blocks.0.convolution[15]=0" in screen_text(app))
        await until(lambda: "95 % interval" in screen_text(app))  # by the run, once it has started
        first = app.tab.link.run
        assert first is not None
        await pilot.press("escape")
        await until(lambda: "1 intervention · T" in part_text(app, "RunBar"))
        await pilot.press("r")
        await until(lambda: app.tab.link.run is not None and app.tab.link.run.name != first.name)
        await until(lambda: "intervention" not in part_text(app, "RunBar"))
        assert not app.tab.options["do"]
        assert saved_interventions.read(first) == parse("blocks.0.convolution[15]=0")
        await pilot.press("T", "ctrl+z")
        await until(lambda: app.tab.touches.text == "blocks.0.convolution[15]=0")
        await pilot.press("escape")
        await until(lambda: "1 intervention · T" in part_text(app, "RunBar"))
        await app.tab.link.end(60)


async def test_those_of_the_command_line_are_on_and_can_be_undone(tmp_path: Path) -> None:
    async with opened(tmp_path, (80, 24), tab="convnet", options={"do": "blocks.0=0"}) as (app, pilot):
        await until(lambda: "1 intervention · T" in part_text(app, "RunBar"))
        await pilot.press("T", "ctrl+z")
        await until(lambda: not app.tab.options["do"])


def test_the_answer_before_stands_beside_the_one_after(dlplay: Dlplay) -> None:
    ask = ["convnet", "--headless", "--panel", "probabilities", "--json"]
    before, after = json.loads(dlplay(*ask).out), json.loads(dlplay(*ask, "--do", "blocks.0=0").out)
    assert after["kind"] == "bars"
    values = {row["label"]: row["value"] for row in before["rows"]}
    assert after["second"] == pytest.approx([values[row["label"]] for row in after["rows"]])
    assert after["names"] == ["with", "without"]
    assert {row["label"]: row["value"] for row in after["rows"]} != values
    prompt = ["gpt", "--headless", "--prompt", "the value of", "--do", "blocks.0=0; blocks.1=0", "--json"]
    assert None in json.loads(dlplay(*prompt).out)["second"]  # of words that were not named before


def test_training_with_an_intervention_is_a_setting_of_the_run(dlplay: Dlplay, tmp_path: Path) -> None:
    train = ["convnet", "--headless", "--steps", "4", "--runs-dir", str(tmp_path / "runs"), "--json"]
    found = [json.loads(dlplay(*train, *more).out.splitlines()[-1])["metrics"] for more in ([], ["--train-with", "blocks.0=0"])]
    assert found[0] != found[1]
    refused = dlplay(*train, "--train-with", "blocks.7=0")
    assert (refused.status, "there are blocks.0 to blocks." in refused.err) == (2, True)


def test_what_did_not_act_is_told_and_the_others_are_shown(dlplay: Dlplay) -> None:
    ask = ["gan", "--headless", "--panel", "map", "--json", "--do"]
    alone, both = (json.loads(dlplay(*ask, do).out) for do in ("generator.body=0", "generator.body=0; discriminator.body=0"))
    assert alone["caption"].startswith("with 1 intervention")
    assert "discriminator.body=0: nothing passed through discriminator.body here" in both["caption"]
    assert {name: value for name, value in both.items() if name != "caption"} == {
        name: value for name, value in alone.items() if name != "caption"
    }
    neither = json.loads(dlplay(*ask, "discriminator.body=0").out)
    assert neither["caption"].startswith("interventions do not act here")


def test_a_position_that_the_input_does_not_have_is_refused_with_those_it_has(dlplay: Dlplay) -> None:
    ask = ["gpt", "--headless", "--do", "blocks.0.head.3@999=0"]
    refused = dlplay(*ask, "--panel", "effect")
    assert (refused.status, "positions of this input are 0 to 63, or -1 to -64 from its end" in refused.err) == (2, True)
    beside = json.loads(dlplay(*ask, "--prompt", "the value of", "--json").out)
    assert beside["caption"].startswith("interventions do not act here: positions of this input are 0 to ")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--do", "blocks.0=0", "--do", "blocks.1*2"), 'several go into one, as in --do "blocks.0=0; blocks.1*2"'),
        (("--train-with", "blocks.0=0", "--train-with", "blocks.1*2"), 'as in --train-with "blocks.0=0; blocks.1*2"'),
        (("--seeds", "1", "--seeds", "2"), "as in --seeds 0..4 or 0,2,7"),
        (("--at", "1", "--at", "2"), "as in --at 0,100,1000"),
        (("--steps", "1", "--steps", "2"), "--steps 2: --steps is there more than once; give it once"),
    ],
)
def test_a_flag_that_is_given_twice_is_refused_with_the_way_to_give_several(dlplay: Dlplay, flags: tuple[str, ...], words: str) -> None:
    refused = dlplay("gpt", "--headless", *flags)
    assert (refused.status, words in refused.err) == (2, True)


def test_looking_back_is_with_the_interventions_of_that_time(dlplay: Dlplay, tmp_path: Path) -> None:
    runs = ["--runs-dir", str(tmp_path / "runs")]
    train = ["convnet", "--headless", "--steps", "2", "--eval-every", "2", "--name", "one"]
    assert dlplay(*train, *runs).status == 0
    assert dlplay("resume", "one", "--headless", "--steps", "8", "--set", "train_with=blocks.0.convolution=0", *runs).status == 0
    ask = ["convnet", "--headless", "--panel", "probabilities", "--json", *runs]
    looked = [json.loads(line) for line in dlplay(*ask, "--from", "one", "--at", "2,8,2").out.splitlines()]
    opened = [json.loads(dlplay(*ask, "--from", f"one@{step}").out) for step in (2, 8, 2)]
    assert [one["rows"] for one in looked] == [one["rows"] for one in opened]


def test_what_was_trained_with_interventions_is_not_exported_without_them(dlplay: Dlplay, tmp_path: Path) -> None:
    runs = ["--runs-dir", str(tmp_path / "runs")]
    train = ["convnet", "--headless", "--steps", "2", "--name", "one", "--train-with", "blocks.0.convolution=0"]
    assert dlplay(*train, *runs).status == 0
    refused = dlplay("export", "one", "--to", "torch", str(tmp_path / "out"), *runs)
    assert (refused.status, "was trained with interventions (blocks.0.convolution=0)" in refused.err) == (2, True)


async def test_the_keys_of_the_dialog_are_seen_in_a_small_window(tmp_path: Path) -> None:
    async with opened(tmp_path, (80, 24), tab="convnet", explore=True) as (app, pilot):
        await until(lambda: app.tab.link._client is not None)
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TouchDialog))
        for unit in range(8):
            app.screen.query_one(Input).value = f"blocks.0.convolution[{unit}]=mean"
            await pilot.press("enter")
        await until(lambda: "none" in screen_text(app))
        wanted = ("remove all", "train with these", "esc ", "blocks.0.convolution[0]=mean", "95 % interval", "360 held-out examples")
        await until(lambda: all(word in screen_text(app) for word in wanted))


@pytest.mark.slow
async def test_the_part_under_the_cursor_is_what_the_line_begins_with(tmp_path: Path) -> None:
    async with opened(tmp_path, (140, 50), tab="gpt", explore=True) as (app, pilot):
        await until(lambda: app.tab.link._client is not None)
        await pilot.press("ctrl+p", *"anatomy")
        await pilot.press("enter")
        await until(lambda: isinstance(app.focused, TableView) and len(app.focused.rows) > 20)
        assert isinstance(app.focused, TableView)
        await pilot.press(*["down"] * [row[0].strip() for row in app.focused.rows].index("attention"), "T")
        await until(lambda: isinstance(app.screen, TouchDialog))
        assert app.screen.query_one(Input).value == "blocks.0.attention="
