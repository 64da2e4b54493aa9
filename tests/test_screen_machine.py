"""What the machine does, on the screen: while a run trains, once it is opened again, and as of an earlier step."""

from __future__ import annotations

from pathlib import Path

from dlplay.engine.panels import Lines
from dlplay.runs.lock import holder
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.panels.inspector import Inspector
from dlplay.screen.panels.panel_view import PanelView
from dlplay.widgets import Bars, LineChart
from tests.screen_pilot import opened, part_text, screen_text, until

QUICK = {"data": "digits", "image_size": 8, "batch": 16, "channels": "4", "eval_every": 50, "save_every": 50, "threads": 1, "device": "cpu"}


def inspector(app: PlaygroundApp) -> Inspector:
    return app.tab.query_one("#right Inspector", Inspector)


def last_of_the_curve(app: PlaygroundApp) -> float:
    """The step up to which the panel's curve goes; 0 where none is drawn."""
    views = [view for view in inspector(app).query(PanelView) if view.card.name == "system"]
    panel = views[0].panel if views else None
    return panel.x[-1] if isinstance(panel, Lines) and panel.x else 0.0


async def test_it_is_drawn_live_and_of_a_run_that_is_opened_again(tmp_path: Path) -> None:
    async with opened(tmp_path, (220, 60), tab="convnet", settings=QUICK | {"steps": 10**6}) as (app, pilot):
        link = app.tab.link
        await pilot.press("space")
        await until(lambda: link.state == "training" and link.history.step > 100)
        inspector(app).go_to("system")
        await until(lambda: "processors" in part_text(app, "#right Inspector"))
        await until(lambda: inspector(app).query(LineChart))
        before = last_of_the_curve(app)
        await until(lambda: last_of_the_curve(app) > before > 0)  # it goes on with the training
        inspector(app).go_to("time_shares")
        await until(lambda: "steps timed" in part_text(app, "#right Inspector"))
        await until(lambda: "backward" in part_text(app, "#right Inspector"))
        assert inspector(app).query(Bars)
        await pilot.press("q")
        await until(lambda: "stop and save" in screen_text(app))
        await pilot.press("s")
        await until(lambda: app._exit)
    await until(lambda: holder(tmp_path / "convnet-1" / "lock") is None)

    async with opened(tmp_path, (220, 60), tab="convnet", attach="convnet-1", explore=True) as (app, _):
        link = app.tab.link
        await until(lambda: link.answering is not None and link.state == "stopped")
        inspector(app).go_to("system")
        await until(lambda: last_of_the_curve(app) == link.history.step)
