"""The screen's shell: tabs, pages, keys, palette, dialogs, theme."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from textual import events
from textual._xterm_parser import XTermParser
from textual.command import CommandList
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Input, OptionList, Static
from textual.widgets.input import Selection

from dlplay import architectures
from dlplay.engine.commands import AnyCommand
from dlplay.engine.events import Failed, Started
from dlplay.runs import directory
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.charts import Chart, ChartColumn
from dlplay.screen.dialogs.help import HelpScreen
from dlplay.screen.dialogs.palette import Options, Palette
from dlplay.screen.keys import ACTIONS
from dlplay.screen.navigation import TabBar
from dlplay.screen.run.controls import RunControls
from dlplay.screen.run.run_link import RunLink
from dlplay.screen.runs.screen import RunsScreen
from tests.screen_pilot import opened, part_text, screen_text, until


async def test_a_wide_window_shows_everything_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, _):
        for words in ("Settings", "Loss", "Accuracy", "Kernels", "Forward pass", "Draw", "train/pause"):
            await until(lambda words=words: words in screen_text(app))  # type: ignore[misc]
        assert "┈┈ pretrained" in part_text(app, "ChartColumn")


async def test_a_narrow_window_has_pages(tmp_path: Path) -> None:
    async with opened(tmp_path, (80, 24), tab="convnet") as (app, pilot):
        await until(lambda: "2 Curves" in screen_text(app))
        await until(lambda: "Draw" in screen_text(app))  # a model is shipped that answers at once
        await pilot.press("2")
        await until(lambda: "Loss" in screen_text(app) and "Draw" not in screen_text(app))
        await pilot.press("4")
        await until(lambda: "preset" in screen_text(app) and "Loss" not in screen_text(app))
        await pilot.press("3")
        await until(lambda: "Kernels" in screen_text(app) and "preset" not in screen_text(app))
        await pilot.press("1")
        await until(lambda: "Draw" in screen_text(app) and "Kernels" not in screen_text(app))
        await pilot.click("PageBar", offset=(18, 0))
        await until(lambda: "Loss" in screen_text(app))


async def test_a_tiny_window_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, (50, 12), tab="convnet") as (app, pilot):
        await until(lambda: "50 columns and 12 rows" in screen_text(app))
        await pilot.resize_terminal(140, 42)
        await until(lambda: "Settings" in screen_text(app) and "columns and" not in screen_text(app))


async def test_tabs_by_key_and_mouse(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        names = list(app.cards)
        await pilot.press("ctrl+right")
        await until(lambda: app.opened == names[names.index("convnet") + 1] and app.opened in app.tabs)
        await pilot.press("ctrl+pageup")
        await until(lambda: app.opened == "convnet" and "Draw" in screen_text(app))
        place = screen_text(app).splitlines()[0].index("GPT")
        await pilot.click("TabBar", offset=(place, 0))
        await until(lambda: app.opened == "gpt" and "Prompt" in screen_text(app))


async def test_nothing_breaks_while_a_tab_is_being_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        built, build = asyncio.Event(), app._build_tab

        async def slowly(name: str, switcher: ContentSwitcher) -> None:
            await built.wait()
            await build(name, switcher)

        monkeypatch.setattr(app, "_build_tab", slowly)
        left, names = app.tab, list(app.cards)
        await pilot.press("<")
        await until(lambda: app.opened != "convnet")
        left.status_changed()  # the run in the tab that was left reports
        left.problem("The run was interrupted", "it was killed", "")
        await until(lambda: "it was killed" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        await pilot.press("<", "<")
        passed, built_first = names[names.index("convnet") - 2], names[names.index("convnet") - 1]
        await until(lambda: app.opened == names[names.index(passed) - 1])
        for clicked in ("train", "step_once", "reset", "stage", "faster", "notes", "save", "stop", "defaults", "page('1')", "maximise"):
            await app.run_action(clicked)
        built.set()
        await until(lambda: app.opened in app.tabs and app.tab.display)
        assert list(app.tabs) == ["convnet", built_first, app.opened]  # the tab that was passed by is not built
        assert directory.names(tmp_path) == []


@pytest.mark.parametrize("key", ["n", "f1", "o"])
async def test_a_dialog_that_is_closed_twice_at_once_is_closed_once(tmp_path: Path, key: str) -> None:
    async with opened(tmp_path) as (app, pilot):
        await pilot.press(key)
        await until(lambda: len(app.screen_stack) == 2 and app.screen.is_current)
        for _ in range(2):
            app.screen.call_next(app.screen.run_action, "dismiss(None)")
        await until(lambda: len(app.screen_stack) == 1)
        await pilot.press("ctrl+t")
        await until(lambda: app.theme == "playground-light")


async def test_what_was_asked_for_one_tab_is_not_given_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = PlaygroundApp(runs_dir=tmp_path, config_path=tmp_path / "screen.json", tab="convnet", settings={"channels": "3"}, origin="own")
    attached: list[str] = []

    async def attach(controls: RunControls, name: str, **_: object) -> None:
        attached.append(f"{controls.link.card.name} {name}")

    async def explore(controls: RunControls) -> None:
        return None

    monkeypatch.setattr(RunControls, "attach", attach)
    monkeypatch.setattr(RunControls, "explore", explore)
    app._run_to_attach = "own"
    # a key that came before the first tab was built
    monkeypatch.setattr(PlaygroundApp, "on_mount", lambda app: app.call_after_refresh(app.open_tab, "gan"))
    async with app.run_test(size=(140, 42)):
        await until(lambda: "gan" in app.tabs)
        app.open_tab("convnet")
        await until(lambda: "convnet" in app.tabs)
        await until(lambda: attached == ["convnet own"])
        assert app.tab.form.values["channels"] == (3,)


async def test_every_action_is_in_the_palette(tmp_path: Path) -> None:
    async with opened(tmp_path) as (app, _):
        found = {command.help for command in app.get_system_commands(app.screen)}
        assert {action.help for action in ACTIONS if action.name != "command_palette"} <= found
        for action in ACTIONS:
            name = action.name.partition("(")[0]
            assert hasattr(app, f"action_{name}"), name


async def test_every_key_stands_in_the_help(tmp_path: Path) -> None:
    async with opened(tmp_path) as (app, pilot):
        await pilot.press("f1")
        await until(lambda: "The playground" in screen_text(app))
        assert "Start training with the settings in the form" in screen_text(app)
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)


async def test_function_keys_work_in_a_line_of_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        line = next(iter(app.tab.stage.query(Input)))
        line.focus()
        await until(lambda: app.focused is line)
        await until(lambda: "f5 train/pause" in screen_text(app).splitlines()[-1])
        await pilot.press("f4")
        await until(lambda: isinstance(app.screen, RunsScreen))
        await pilot.press("escape")
        await until(lambda: app.focused is line)
        trained: list[object] = []
        monkeypatch.setattr(app, "action_train", lambda: trained.append(1))
        await pilot.press("f5")
        await until(lambda: trained)
        await pilot.press("f2")
        await until(lambda: app.focused is not None and app.tab.form in app.focused.ancestors_with_self)
        line.focus()
        await until(lambda: app.focused is line)
        await pilot.press("f10")
        await until(lambda: app._exit)


async def test_what_a_dialog_covers_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its changes would send the whole window again, once a second while a run trains."""
    async with opened(tmp_path) as (app, pilot):
        await pilot.press("f1")
        await until(lambda: "The playground" in screen_text(app))
        await pilot.pause()
        drawn: list[object] = []
        display = app._display

        def noted(screen: Screen[object], update: object) -> None:
            drawn.append(update)
            display(screen, update)

        monkeypatch.setattr(app, "_display", noted)
        app.query_one(TabBar).device = "cuda:7"
        painted = asyncio.Event()
        app.screen_stack[0].call_after_refresh(painted.set)
        await painted.wait()
        await pilot.pause()
        assert drawn == []
        await pilot.press("escape")
        await until(lambda: "cuda:7" in screen_text(app))
        assert drawn


async def test_alt_and_a_digit_go_to_a_tab(tmp_path: Path) -> None:
    assert [event.key for event in XTermParser().feed("\x1b4") if isinstance(event, events.Key)] == ["alt+4"]
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        line = next(iter(app.tab.stage.query(Input)))
        line.focus()
        await until(lambda: app.focused is line)
        await pilot.press("alt+4")
        await until(lambda: app.tabs.keys() >= {list(app.cards)[3]} and app.tab.display)
        assert app.opened == list(app.cards)[3]


async def test_keys_type_while_a_field_has_the_focus(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        line = next(iter(app.tab.stage.query(Input)))
        line.value = ""
        line.focus()
        await until(lambda: app.focused is line)
        await pilot.press("q", "s", "space", "r")
        assert line.value == "qs r"
        assert len(app.screen_stack) == 1
        hints = screen_text(app).splitlines()[-1]
        assert "ctrl+q quit" in hints
        assert " s step" not in hints
        await pilot.press("escape")
        await until(lambda: app.focused is not line)


async def test_ctrl_x_in_the_line_ends_the_run_unless_something_is_selected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[RunLink] = []

    async def end(link: RunLink, timeout: float = 0.0) -> bool:
        ended.append(link)
        return True

    monkeypatch.setattr(RunLink, "end", end)
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        line = next(iter(app.tab.stage.query(Input)))
        line.value = "abc"
        line.focus()
        await until(lambda: app.focused is line)
        line.select_all()
        await pilot.press("ctrl+x")
        await until(lambda: not line.value)
        assert not ended
        await pilot.press("ctrl+x")
        await until(lambda: ended == [app.tab.link])


@pytest.mark.parametrize(("size", "part"), [((140, 42), "PromptLine"), ((80, 24), "PromptLine"), ((80, 24), "#form-scroll")])
async def test_the_focus_comes_back_when_the_window_was_too_small_for_a_moment(tmp_path: Path, size: tuple[int, int], part: str) -> None:
    async with opened(tmp_path, size, tab="seq2seq") as (app, pilot):
        app.tab.show_page("4" if part == "#form-scroll" else "1", to_type=part == "PromptLine")
        await until(lambda: app.focused is app.tab.query_one(part))
        await pilot.resize_terminal(30, 8)
        await until(lambda: "30 columns" in screen_text(app) and app.focused is None)
        await pilot.resize_terminal(*size)
        await until(lambda: app.focused is app.tab.query_one(part))


async def test_a_page_that_was_turned_to_while_the_tab_opened_stays(tmp_path: Path) -> None:
    async with opened(tmp_path, (80, 24), tab="seq2seq") as (app, pilot):
        tab = app.tab
        await pilot.press("4")
        await until(lambda: app.focused is tab.query_one("#form-scroll"))
        tab.focus_first(True)  # comes after the first drawing, which a busy machine does late
        await pilot.pause()
        assert tab.page == "4"
        assert app.focused is tab.query_one("#form-scroll")


async def test_the_footer_of_a_sentence_begins_with_the_way_to_type_it(tmp_path: Path) -> None:
    async with opened(tmp_path, (80, 24), tab="bert") as (app, _):
        await until(lambda: screen_text(app).splitlines()[-1].strip().startswith("/ type the line"))


async def test_what_is_typed_after_the_slash_replaces_what_stood_in_the_line(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await pilot.press("slash")
        line = app.tab.query_one("PromptLine", Input)
        await until(lambda: app.focused is line)
        await until(lambda: line.selection == Selection(0, len(line.value)))
        await pilot.press(*"an")
        await until(lambda: line.value == "an")
        await pilot.press("escape", "slash", "end", *" x")
        await until(lambda: line.value == "an x")


async def test_the_help_of_a_line_holds_its_own_keys_and_nothing_that_does_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="seq2seq") as (app, pilot):
        await pilot.press("slash")
        await until(lambda: app.focused is app.tab.query_one("PromptLine"))
        await pilot.press("f1")
        await until(lambda: "The playground" in screen_text(app))
        about = screen_text(app).partition("The playground")[0]
        assert "ctrl+z  undo" in about
        assert "esc  leave the line" in about
        for absent in ("Submit", "Scroll Up", "mask\n", "edit option", "shift+"):
            assert absent not in about
        await pilot.press("escape", "escape")
        await until(lambda: app.focused is not None and type(app.focused).__name__ == "TokenStrip")
        await pilot.press("f1")
        await until(lambda: "edit option" in screen_text(app))


async def test_what_a_training_begins_with_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt", origin="gpt-stdlib") as (app, _):
        await until(lambda: "F5 trains from these weights" in part_text(app, "RunBar"))
        app.tab.controls.origin = ""
        await until(lambda: "F5 trains from scratch" in part_text(app, "RunBar"))


async def test_quitting_an_idle_playground_asks_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as (app, pilot):
        await pilot.press("q")
        await until(lambda: app._exit)


async def test_quitting_while_something_trains_asks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as (app, pilot):
        monkeypatch.setattr(RunLink, "busy", property(lambda link: True))
        ended: list[RunLink] = []

        async def end(link: RunLink, timeout: float = 0.0) -> bool:
            ended.append(link)
            return True

        monkeypatch.setattr(RunLink, "end", end)
        await pilot.press("q")
        await until(lambda: "stop and save" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        assert not app._exit
        await pilot.press("q")
        await until(lambda: "stop and save" in screen_text(app))
        await pilot.press("s")
        await until(lambda: app._exit)
        assert ended == [app.tab.link]


async def test_keeping_a_run_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as (app, pilot):
        monkeypatch.setattr(RunLink, "busy", property(lambda link: True))
        sent: list[AnyCommand] = []
        monkeypatch.setattr(RunLink, "send", lambda link, command: sent.append(command))
        await pilot.press("q")
        await until(lambda: "keep it running" in screen_text(app))
        await pilot.press("k")
        await until(lambda: app._exit)
        assert sent == []


async def test_a_paused_run_is_not_said_to_keep_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as (app, pilot):
        monkeypatch.setattr(RunLink, "state", property(lambda link: "paused"))
        await pilot.press("q")
        await until(lambda: "leave it paused in the background" in screen_text(app))
        assert "running" not in part_text(app, "QuitDialog")
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        monkeypatch.undo()


async def test_a_pane_says_which_model_is_being_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, tab="gpt") as (app, _):
        await until(lambda: "Appears once there is a model" in screen_text(app))
        monkeypatch.setattr(app.tab.link, "_opening", True)
        app.tab.link.showing = "gpt-reference (pretrained)"
        await until(lambda: "opening gpt-reference …" in part_text(app, "#right Inspector"))
        assert "Appears once" not in screen_text(app)


async def test_the_chosen_theme_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as (app, pilot):
        await pilot.press("ctrl+t")
        await until(lambda: app.theme == "playground-light")
        kept = tmp_path / "config" / "screen.json"
        await until(kept.exists)
        assert json.loads(kept.read_text()) == {"theme": "playground-light"}
    async with opened(tmp_path) as (app, _):
        assert app.theme == "playground-light"


async def test_a_failure_is_told_in_words_that_can_be_copied(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        started = Started(
            architecture="convnet", name="convnet-1", settings={}, device="cpu", device_name="", threads=1, parameters=1, data=""
        )
        failed = Failed(step=7, what="the loss is not finite [x]", why="at step 7 it was nan", remedy="lower lr")
        app.tab.link.history.add([started, failed])
        await until(lambda: "the loss is not finite [x]" in screen_text(app))
        await until(lambda: "at step 7 it was nan" in screen_text(app) and "Lower lr" in screen_text(app))
        await pilot.press("c")
        await until(lambda: "at step 7 it was nan" in app.clipboard)
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)


async def test_the_speed_has_notches(tmp_path: Path) -> None:
    async with opened(tmp_path) as (app, pilot):
        await pilot.press("minus")
        assert app.tab.link.limit == 1000.0
        await pilot.press("minus", "minus")
        assert app.tab.link.limit == 200.0
        await pilot.press("plus", "plus", "plus", "plus")
        assert app.tab.link.limit == 0.0


@pytest.mark.slow
def test_the_screen_never_loads_torch(tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from pathlib import Path
from dlplay.runs import launch
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.run.run_link import RunLink

async def nothing(link, origin=""): pass
RunLink.explore = nothing
launch.prepare = lambda name: None  # a process with torch

async def main():
    app = PlaygroundApp(runs_dir=Path({str(tmp_path)!r}), config_path=Path({str(tmp_path)!r}) / "screen.json")
    async with app.run_test(size=(140, 42)) as pilot:
        for name in app.cards:
            app.open_tab(name)
            while name not in app.tabs:
                await asyncio.sleep(0.01)
            await pilot.press("n", "escape")
        await pilot.press("o", "escape", "f1", "escape")
    heavy = [name for name in ("torch", "sklearn", "scipy", "gymnasium") if name in sys.modules]
    assert not heavy, heavy

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]


async def test_a_part_that_fills_the_window_keeps_the_run_in_view_and_names_the_way_back(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        await pilot.press("m")
        await until(lambda: app.screen.maximized is not None and "escape back" in screen_text(app))
        await until(lambda: "no model" in screen_text(app) or "ready" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: app.screen.maximized is None and "escape back" not in screen_text(app))


async def test_a_panel_is_found_in_the_palette_by_its_name_on_the_command_line(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="autoencoder") as (app, pilot):
        titles = [command.title for command in app.get_system_commands(app.screen)]
        for panel in app.tab.inspector.panels:
            assert any(title.startswith(f"Panel: {panel.title}") and panel.name in title.lower() for title in titles)
        await pilot.press("ctrl+p", *"ablations")
        await until(lambda: "What each part carries" in screen_text(app))


async def test_what_is_called_just_so_comes_first_in_the_palette(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await pilot.press("ctrl+p", *"layer")
        await until(lambda: "Logit lens (layer_lens)" in screen_text(app))
        await until(lambda: screen_text(app).index("Panel: Layer") < screen_text(app).index("Logit lens (layer_lens)"))


async def test_the_help_says_where_digits_pick_and_go_to_no_part_of_the_tab(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await pilot.press("f1")
        await until(lambda: "1 … 9 0  pick the one with this number" in screen_text(app))
        assert isinstance(app.screen, HelpScreen)
        assert {app.screen.keys_of(action) for action in ACTIONS if action.shown in ("1", "4")} == {"", "f2"}
        await pilot.press("escape")
        app.tab.inspector.go_to("heads")
        await pilot.press("f1")
        await until(lambda: "pick the one" not in screen_text(app) and "Heads" in screen_text(app))


async def test_the_palette_begins_with_what_is_done_most(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gan") as (app, pilot):
        await pilot.press("ctrl+p")
        await until(lambda: "train/pause (space)" in screen_text(app))
        text = screen_text(app)
        assert text.index("train/pause") < text.index("step (s)") < text.index("reset (r)") < text.index("Step the discriminator")


def titles(app: PlaygroundApp) -> list[str]:
    """Of the charts that there is something to say in."""
    return [chart.card.title for chart in app.tab.query_one(ChartColumn)._arranged]


async def test_the_charts_before_training_are_those_that_the_settings_will_have(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="transformer-xl") as (app, _):
        await until(lambda: titles(app) == ["Loss (nats per token)", "Words recalled", "Gradient norm before clipping"])
        app.tab.form.put("task", "text")
        await until(lambda: titles(app)[1:3] == ["Perplexity (held-out)", "Perplexity of known words (held-out)"])


async def test_charts_stay_apart_when_their_number_changes(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="seq2seq") as (app, pilot):
        for rows in (42, 60, 42, 30, 42):
            await pilot.resize_terminal(140, rows)
            await until(lambda rows=rows: app.size.height == rows)  # type: ignore[misc]
            await until(
                lambda: all(b.region.y - a.region.bottom == 1 for a, b in itertools.pairwise(c for c in app.tab.query(Chart) if c.display))
            )


async def test_a_page_key_may_come_before_a_list_is_laid_out(tmp_path: Path) -> None:
    """Textual's own lists raise `KeyError` then."""
    with pytest.raises(KeyError):
        OptionList("one", "two", id="theirs")._move_page(1)
    options = Options("one", "two")
    options.highlighted = 0
    options.action_page_down()
    options.action_page_up()
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await pilot.press("escape", "ctrl+p")
        await until(lambda: Palette.is_open(app))
        assert isinstance(app.screen, Palette)
        commands = app.screen.query_one(CommandList)
        commands.display = False
        await until(lambda: not commands.size.height)
        await pilot.press("pagedown", "pageup")
        assert Palette.is_open(app)


async def test_a_command_chosen_as_the_palette_closes_closes_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await pilot.press("ctrl+p")
        await until(lambda: isinstance(app.screen, Palette) and app.screen.query_one(CommandList).option_count)
        palette = app.screen
        assert isinstance(palette, Palette)
        commands = palette.query_one(CommandList)
        options = [commands.get_option_at_index(at) for at in range(commands.option_count)]
        at = next(at for at, option in enumerate(options) if "theme (" in str(option.prompt))
        before = app.theme
        chosen = CommandList.OptionSelected(commands, options[at], at)
        palette.dismiss()
        palette._select_command(chosen)  # as its message is handled when escape was pressed right behind enter
        await until(lambda: len(app.screen_stack) == 1 and app.theme != before)


async def test_the_mouse_goes_down_on_a_part_that_was_removed_but_is_still_drawn(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt") as (app, _):
        words = Static("a few words")
        await app.screen.mount(words)
        await until(lambda: words.region.area)
        x, y = words.region.offset
        assert app.screen.get_widget_and_offset_at(x, y)[0] is words
        parent = words._parent
        words._detach()  # as `remove` leaves it until the next layout
        try:
            assert app.screen.get_widget_at(x, y)[0] is words
            app.screen._forward_event(events.MouseDown(None, x, y, 0, 0, 1, False, False, False, x, y))
        finally:
            words._attach(parent)  # type: ignore[arg-type]


def test_no_key_of_an_architecture_is_one_of_the_playground() -> None:
    taken = {key for action in ACTIONS for key in action.key.split(",")}
    for card in architectures.cards().values():
        assert {action.key for action in card.actions if action.key} & taken == set(), card.name
