"""Looking back on the screen: every panel answers from an earlier checkpoint, as a film too, and a new run branches off there."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from textual.pilot import Pilot

from dlplay import architectures
from dlplay.checkpoints.history import kept
from dlplay.engine.settings import make, to_dict
from dlplay.runs import directory, process
from dlplay.runs.console import PlainLines
from dlplay.screen import tab as tab_module
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.run.peer import Peer
from dlplay.screen.run.run_link import RunLink
from dlplay.widgets import LineChart
from tests.conftest import Small
from tests.screen_pilot import opened, part_text, screen_text, until

QUICK = {"data": "digits", "image_size": 8, "batch": 16, "channels": "4", "eval_every": 50, "save_every": 50, "threads": 1, "device": "cpu"}
STEPS = 120


@pytest.fixture
def runs(small: Small, tmp_path: Path, as_before: None) -> Path:
    """A folder with the run `it`, of 120 steps."""
    card = architectures.card("convnet")
    run = directory.create(tmp_path, "convnet", to_dict(make(card.settings, QUICK | {"steps": STEPS})), name="it")
    assert process.run(run, lambda: PlainLines(card)) == process.FINISHED
    return tmp_path


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were started."""
    found: list[list[str]] = []
    launch = Peer.launch

    async def noted(peer: Peer, arguments: list[str]) -> None:
        found.append(arguments)
        await launch(peer, arguments)

    monkeypatch.setattr(Peer, "launch", noted)
    return found


def answered_of(app: PlaygroundApp, step: int) -> bool:
    """Whether title, run bar, stage and a panel say of which step they are."""
    words = f"as of step {step:,}"
    inspector = part_text(app, "#right Inspector")
    return words in part_text(app, "#titles") and f"{words} · " in inspector and f"◂ {words}" in part_text(app, "RunBar") and (
        f"at step {step:,}" in part_text(app, "ActionStage")
    )  # fmt: skip


@pytest.mark.slow
async def test_a_run_is_looked_back_at_as_a_film_and_branched(
    runs: Path, launched: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tab_module, "FILM_SECONDS", 0.05)
    moments = sorted({*kept(STEPS, 32), 50, 100, STEPS})
    async with opened(runs, tab="convnet", attach="it", explore=True) as (app, pilot):
        tab, link = app.tab, app.tab.link
        await until(lambda: link.answering is not None and link.state == "finished")
        assert link.moments() == moments
        chart = app.query(LineChart).first()

        # back, and to and fro with the keys of the chart and with those for anywhere
        await pilot.press("z")
        await until(lambda: link.past == STEPS)
        assert chart.has_focus
        await until(lambda: "( earlier" in screen_text(app) and "esc now" in screen_text(app))
        await pilot.press("left")
        await until(lambda: answered_of(app, 108))
        assert chart.cursor == 108
        await pilot.press("left", "left", "right")
        await until(lambda: answered_of(app, 100))
        await pilot.press("left_parenthesis", "left_parenthesis", "right_parenthesis")
        await until(lambda: answered_of(app, 91))
        shown = [widget.cursor for widget in app.query(LineChart) if widget.is_on_screen]
        assert shown == [91] * len(shown)

        # a click on the curves goes there
        assert chart._plot is not None
        column = chart._plot.gutter + chart._plot.column(20) + 1
        await pilot.click(chart, offset=(column, 4))
        await until(lambda: link.past is not None and link.past < 30 and answered_of(app, link.past))

        # the film shows them all, from the beginning or from here
        await tab._show_moment(STEPS)
        seen: list[int | None] = []
        watch = link._listener.status_changed

        def noted() -> None:
            seen.append(link.past)
            watch()

        monkeypatch.setattr(link._listener, "status_changed", noted)
        await pilot.press("f")
        await until(lambda: moments[0] in seen and seen[-1:] == [STEPS] and tab._film is None)
        assert [*dict.fromkeys(step for step in seen if step != STEPS), STEPS] == moments
        await pilot.press("f")
        await until(lambda: tab._film is not None and link.past in moments[1:-1])
        await pilot.press("f")
        await until(lambda: tab._film is None)
        assert link.past != STEPS

        # all of this was one process that changed its weights
        assert len([command for command in launched if "--explore" in command]) == 1

        # now
        await pilot.press("escape")
        await until(lambda: link.past is None and "as of" not in screen_text(app))
        assert chart.cursor is None
        await until(lambda: "it at step 120" in part_text(app, "ActionStage"))
        assert "esc now" not in screen_text(app)

        # a branch where the cursor stands, with what of the form can change
        await pilot.press("z", "left")
        await until(lambda: link.past == 108)
        app.tab.form.put("lr", "0.0002")
        app.tab.form.put("batch", "9")
        await pilot.press("B")
        await until(lambda: link.run is not None and link.run.name == "convnet-1" and link.state == "finished")
        assert link.past is None
        spec = directory.find(runs, "convnet-1").spec
        assert (spec.parent, spec.parent_step, spec.settings["lr"], spec.settings["batch"]) == ("it", 108, 0.0002, 16)
        assert [command[:2] for command in launched if "--explore" not in command] == [["resume", "convnet-1"]]
        await until(lambda: (108, "lr 0.0002") in link.history.marks)
        app.action_load()  # its key is another on a chart
        await until(lambda: "└ convnet-1 from step 108" in screen_text(app))
        await pilot.press("escape")
        assert list(link.history.training["train_loss"].x) == list(range(1, STEPS + 1))


async def test_a_checkpoint_that_was_dropped_meanwhile_gives_way_to_the_one_before(runs: Path) -> None:
    """A run that trains drops some between the key and the opening."""
    async with opened(runs, tab="convnet", attach="it", explore=True) as (app, _):
        link = app.tab.link
        await until(lambda: link.answering is not None and link.state == "finished")
        link._leave_explorer()
        assert 105 not in link.moments()
        await link.rewind(105)
        assert link.past == 100
        await until(lambda: answered_of(app, 100))


@pytest.mark.slow
async def test_a_run_that_trains_is_looked_back_at_while_it_goes_on(tmp_path: Path, launched: list[list[str]]) -> None:
    async with opened(tmp_path, tab="convnet", settings=QUICK | {"steps": 10**6}, explore=True) as (app, pilot):
        link = app.tab.link
        await until(lambda: link.answering is not None)
        await pilot.press("z")
        await until(lambda: "convnet-digits has no earlier checkpoints" in screen_text(app))
        await pilot.press("space")
        await until(lambda: link.state == "training" and link.history.step > 60)
        await pilot.press("z")
        await until(lambda: link.past is not None and answered_of(app, link.past))
        past, then = link.past, link.history.step
        await until(lambda: link.history.step > then + 20)
        assert link.past == past
        assert link.state == "training"
        await pilot.press("left_parenthesis")
        await until(lambda: link.past is not None and past is not None and link.past < past and answered_of(app, link.past))

        # a process that dies takes nobody along: it is now again
        folder = next(Path(command[command.index("--explore") + 1]) for command in reversed(launched) if "--explore" in command)
        holder = directory.RunDirectory(folder)
        os.kill(_holder_of(holder), signal.SIGKILL)
        await until(lambda: link.past is None and "as of" not in screen_text(app))
        await until(lambda: link.answering is not None)

        # wishes that come faster than they are granted: the newest counts
        moments = link.moments()
        await asyncio.gather(*(link.rewind(step) for step in [*moments[:5], moments[3]]))
        assert link.past == moments[3]
        await pilot.press("Z")
        await until(lambda: link.past is None)
        await until(lambda: "layer 0" in part_text(app, "#right Inspector"))

        # a branch from a living run leaves it alive
        await pilot.press("z")
        await until(lambda: link.past is not None)
        await pilot.press("B")
        await until(lambda: "continues in the background" in screen_text(app))
        await until(lambda: link.run is not None and link.run.name == "convnet-2" and link.state == "training")
        assert directory.summary(directory.find(tmp_path, "convnet-1")).state == "training"

        # one that ends meanwhile is asked as it ended
        await pilot.press("z")
        await until(lambda: link.past is not None)
        for name in ("convnet-1", "convnet-2"):
            os.kill(_holder_of(directory.find(tmp_path, name)), signal.SIGTERM)
        await until(lambda: all(directory.summary(run).held_by is None for run in (link.run, directory.find(tmp_path, "convnet-1")) if run))
        await until(lambda: link.state == "interrupted")
        assert link.past is not None
        await pilot.press("escape")
        await until(lambda: link.past is None)
        await until(lambda: f"convnet-2 at step {link.history.step:,}" in part_text(app, "ActionStage"))


def _holder_of(run: directory.RunDirectory) -> int:
    from dlplay.runs.lock import holder

    held = holder(run.lock_path)
    assert held is not None
    return held.pid


async def test_in_a_small_window_it_works_on_every_page(runs: Path) -> None:
    async with opened(runs, size=(80, 24), tab="convnet", attach="it", explore=True) as (app, pilot):
        link = app.tab.link
        await until(lambda: link.answering is not None and link.state == "finished")
        await show_page(app, pilot, "3")
        await pilot.press("z")
        await until(lambda: f"as of step {STEPS}" in part_text(app, "#titles"))
        await until(lambda: all(hint in part_text(app, "KeyHints") for hint in ("( earlier", ") later", "esc now")))
        await pilot.press("left_parenthesis")
        await until(lambda: "as of step 108 · " in part_text(app, "#right Inspector"))
        await pilot.press("escape")
        await until(lambda: "as of" not in screen_text(app))


async def show_page(app: PlaygroundApp, pilot: Pilot[None], number: str) -> None:
    app.tab.show_page(number)
    await until(lambda: ", label " in part_text(app, "#right Inspector"))


async def test_without_history_and_without_a_run_it_says_so(runs: Path) -> None:
    async with opened(runs, tab="autoencoder") as (app, pilot):
        for key in ("z", "f"):
            await pilot.press(key)
            await until(lambda: "this run kept no checkpoints to look back at" in screen_text(app))
            app.clear_notifications()
        await pilot.press("B")
        await until(lambda: "there is no run to branch from" in screen_text(app))


async def test_a_shipped_model_is_looked_back_at(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt", explore=True) as (app, pilot):
        link = app.tab.link
        app.do(app.tab, app.tab.controls.load("gpt-induction", run=False, train=False))
        await until(lambda: link.model == "gpt-induction at step 1,500")
        assert link.moments()[::5] == [0, 431, 1500]
        await pilot.press("z")
        await until(lambda: "◂ as of step 1,500" in part_text(app, "RunBar"))
        for _ in range(5):
            await pilot.press("(")
        await until(lambda: answered_of(app, 431))
        assert app.query(LineChart).first().cursor == 431
        assert link.model == "gpt-induction at step 431"
        await pilot.press("B")
        await until(lambda: "there is no run to branch from" in screen_text(app))

        # another model has no earlier time, and is shown as it is
        app.do(app.tab, app.tab.controls.load("gpt-reference", run=False, train=False))
        await until(lambda: link.model == "gpt-reference at step 4,000")
        await until(lambda: "as of step" not in screen_text(app))
        assert (link.past, link.moments()) == (None, [4000])
        for key in ("z", "f"):
            await pilot.press(key)
            await until(lambda: "gpt-reference has no earlier checkpoints" in screen_text(app))
            assert link.past is None
            app.clear_notifications()


async def test_a_model_opened_at_a_step_comes_back_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, tab="gpt", explore=True) as (app, pilot):
        link = app.tab.link
        app.do(app.tab, app.tab.controls.load("gpt-induction@431", run=False, train=False))
        await until(lambda: link.model == "gpt-induction at step 431")
        showing = link.showing
        assert showing == "gpt-induction@431 (pretrained)"
        await pilot.press("z")
        await until(lambda: link.past == 431)
        await pilot.press("(")
        await until(lambda: answered_of(app, 403))
        await pilot.press("escape")
        await until(lambda: link.past is None and link.model == "gpt-induction at step 431")

        # by another process too, where that one has died
        link._leave_explorer()
        await link.rewind(354)
        assert (link.model, link.showing) == ("gpt-induction at step 354", showing)
        await link.rewind(None)
        assert link.model == "gpt-induction at step 431"

        # a run that cannot start leaves the model as it was opened, and not one that says nothing of its earlier step
        async def launch(link: RunLink, run: directory.RunDirectory, *, paused: bool) -> None:
            directory.remove(run)

        monkeypatch.setattr(RunLink, "_launch", launch)
        await link.rewind(354)
        await link.start({})
        assert (link.past, link.model, link.showing) == (None, "gpt-induction at step 431", showing)
