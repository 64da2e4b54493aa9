"""The Textual app: a tab for each architecture, one timer that repaints, and every action, by key, palette and mouse."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.app import ComposeResult, SystemCommand
from textual.command import Provider
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Input
from textual.worker import Worker, WorkerFailed

from dlplay import architectures
from dlplay.engine.interventions import Intervention
from dlplay.engine.settings import SettingsError, to_dict
from dlplay.engine.units import size
from dlplay.lessons import progress
from dlplay.runs import directory, launch, saved_interventions
from dlplay.screen import themes
from dlplay.screen.changed_cells import SendsChangedCells
from dlplay.screen.dialogs.dialog import MainScreen, Modal
from dlplay.screen.dialogs.palette import Palette
from dlplay.screen.key_order import KeysInOrder
from dlplay.screen.keys import ACTIONS, RANK_OF_CARD_ACTIONS, Action, KeyHints, PaletteCommands, bindings, works_while_typing
from dlplay.screen.navigation import TabBar
from dlplay.screen.numbers import of_ranks, words
from dlplay.screen.run.run_bar import RunBar
from dlplay.screen.terminal import Hangup, Pace, Paced, PacedDriver
from dlplay.widgets.drawing.glyphs import Characters

if TYPE_CHECKING:
    from dlplay.screen.lessons.desk import LessonDesk
    from dlplay.screen.lessons.guide import GuidePane
    from dlplay.screen.runs.new_sweep import Begun
    from dlplay.screen.tab import ArchitectureTab

TICK_SECONDS = 0.1
STOP_SECONDS = 60.0
"""How long quitting waits for a run to save and end."""
REST_SECONDS = 0.15
"""For which the next or previous tab has to be the one that was asked for, before it is built."""
TWICE_SECONDS = 3.0
"""Within which a second ctrl+c quits."""
MAXIMISABLE = ("PanelView", "Chart", "ActionStage", "SettingsForm")
"""The parts of a tab that can fill the window."""
WITHOUT_TAB = {"quit", "help", "command_palette", "next_theme", "maximise", "next_tab", "previous_tab"}
QUITTING = {"quit", "help_quit"}
SWITCHING = {"next_tab", "previous_tab", "tab"}
TAB_ACTIONS = {action.name.partition("(")[0] for action in ACTIONS} - WITHOUT_TAB


class PlaygroundApp(KeysInOrder, SendsChangedCells):
    """`tab` is the architecture to open; `settings`, `origin`, `options` and `run_name` are for it.

    `attach` names a run to show, and `resume` resumes it. `lesson` is taken at once, on its own tab. `config_path` is where the choice of
    theme is kept, and beside it which lessons were done. `characters` are those
    that the terminal draws.
    """

    CSS_PATH = "app.tcss"
    TITLE = "dlplay"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS = bindings()
    ALLOW_IN_MAXIMIZED_VIEW = "KeyHints, RunBar"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {PaletteCommands}
    SCROLL_SENSITIVITY_Y: ClassVar[float] = 2.0

    def __init__(
        self,
        *,
        runs_dir: Path,
        tab: str | None = None,
        settings: Mapping[str, Any] | None = None,
        origin: str = "",
        options: Mapping[str, Any] | None = None,
        run_name: str = "",
        attach: str | None = None,
        resume: bool = False,
        lesson: str = "",
        config_path: Path | None = None,
        characters: Characters = "all",
    ) -> None:
        super().__init__()
        self.characters = characters
        self.cards = architectures.cards()
        self.runs_dir = runs_dir
        self.tabs: dict[str, ArchitectureTab] = {}
        """Those that were opened so far, by name."""
        self.opened = tab if tab in self.cards else next(iter(self.cards))
        """The tab that was asked for last; it may still have to be built."""
        wishes = {"settings": settings, "origin": origin, "options": options, "run_name": run_name}
        self._wishes: dict[str, dict[str, Any]] = {self.opened: wishes}
        """Arguments of tabs that are still to be built."""
        self._run_to_attach, self._resume = attach, resume
        self._config_path = config_path or themes.config_path()
        self._lesson = lesson
        """The one to begin once its tab is there."""
        self._lessons_path = self._config_path.with_name(progress.FILE)
        self._desk: LessonDesk | None = None
        self._examining = ""
        """The run that the doctor examines, or has examined and tells of."""
        self._greets = attach is None and not lesson and not progress.read(self._lessons_path).welcomed and not directory.names(runs_dir)
        """Whether this is the first start of all, which one line is shown for."""
        self._tab_bar = TabBar({card.name: card.title for card in self.cards.values()})
        self._hangup = Hangup(self)
        self._opening = True
        """Until the opened tab is shown and its focus is set."""
        self._building = asyncio.Lock()
        self._pace = Pace()
        self._poll_due = 0.0
        self._problems: list[ArchitectureTab.Problem] = []
        self._ctrl_c_at = float("-inf")
        for card in self.cards.values():
            for act in card.actions:
                if act.key:
                    self._bindings.bind(act.key, f"act('{card.name}', '{act.name}')", act.title.lower(), key_display=act.key)
        for number, card in enumerate(list(self.cards.values())[:9], start=1):
            self._bindings.bind(f"alt+{number}", f"tab('{card.name}')", card.title, show=False)
        self._bindings.bind("escape", "dismiss_welcome", "dismiss the line", show=False)
        for theme in (themes.DARK, themes.LIGHT):
            self.register_theme(theme)
        chosen = themes.remembered(self._config_path)
        self.theme = chosen if chosen in self.available_themes else themes.DARK.name

    def get_css_variables(self) -> dict[str, str]:
        """Those of the theme, with text that can be read."""
        self.theme_variables = themes.readable_variables(super().get_css_variables())
        return self.theme_variables

    def get_driver_class(self) -> type[Any]:
        """Textual's own, but one that knows how fast the terminal accepts output."""
        found = super().get_driver_class()
        return PacedDriver if found.__name__ == "LinuxDriver" else found

    def get_default_screen(self) -> Screen[Any]:
        return MainScreen(id="_default")

    @property
    def tab(self) -> ArchitectureTab:
        """The open tab. Raises `KeyError` before it was built: for actions, which `check_action` keeps back until then."""
        return self.tabs[self.opened]

    @property
    def looking_back(self) -> bool:
        """Whether an earlier checkpoint is shown."""
        return self.opened in self.tabs and self.tab.link.wanted is not None

    def _handle_exception(self, error: Exception) -> None:
        """What a worker looks for on a screen that is being taken down is not there any more, and that is no failure."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        taken_down = self._tab_bar.is_mounted and not self._tab_bar.is_attached
        if not (isinstance(cause, NoMatches) and taken_down):
            super()._handle_exception(error)

    # --- building -----------------------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield self._tab_bar
        yield ContentSwitcher(id="tabs")
        yield RunBar(id="maximised-run")
        if self._greets:
            from dlplay.screen.lessons.welcome import Welcome

            yield Welcome()
        yield KeyHints()

    def on_mount(self) -> None:
        self._hangup.listen()
        directory.clean(self.runs_dir)
        self.call_after_refresh(self.open_tab, self.opened)  # the first paint does not wait for what a tab needs
        self.set_interval(TICK_SECONDS, self._tick)
        self.theme_changed_signal.subscribe(self, lambda theme: themes.remember(self._config_path, theme.name))

    def open_tab(self, name: str, rest: float = 0.0) -> Worker[None]:
        """Show a tab, which is built when it is first opened, after these seconds of `rest`; not if another one is asked for meanwhile."""
        self.opened, self._opening = name, True
        self._tab_bar.active = name
        return self._show_tab(name, rest)

    @work(group="tabs")
    async def _show_tab(self, name: str, rest: float) -> None:
        if name not in self.tabs:
            await asyncio.sleep(rest)
        if name != self.opened:
            return
        switcher = self.query_one(ContentSwitcher)
        async with self._building:
            if name != self.opened:
                return
            new = name not in self.tabs
            if new:
                await self._build_tab(name, switcher)
        if name != self.opened:
            return
        tab = self.tabs[name]
        for part in (self.screen_stack[0].maximized, self.screen_stack[0].focused):
            if part is not None and tab not in part.ancestors:
                self.screen_stack[0].minimize()
                self.screen_stack[0].set_focus(None)
        switcher.current = f"tab-{name}"
        self.call_after_refresh(self._focus_first, tab, new)
        self._show_device()
        self.refresh_bindings()
        self._pace.hurry()
        if self._lesson and name in self.tabs:
            lesson, self._lesson = self._lesson, ""
            self.do(tab, self.desk.begin(lesson, tab))

    def _focus_first(self, tab: ArchitectureTab, new: bool) -> None:
        tab.focus_first(new)
        if self._desk is not None and self._desk.guide is not None and self._desk.guide.play.tab is tab:
            tab.call_after_refresh(self._desk.guide.focus)
        tab.call_after_refresh(self.call_later, self._tab_shown, tab)  # behind the focus, which a widget takes in the same way

    async def _tab_shown(self, tab: ArchitectureTab) -> None:
        if tab is self.tabs.get(self.opened):
            self._opening = False
            await self.deliver_held()

    @property
    def holds_keys(self) -> bool:
        """While a tab opens; a dialog over it takes its keys at once."""
        return self._opening and len(self.screen_stack) == 1

    async def act_meanwhile(self, key: str, *, first: bool) -> bool:
        """Quit, or switch to another tab, unless another key waits for the one that opens."""
        for binding in self._bindings.key_to_bindings.get(key, ()):
            name = binding.action.partition("(")[0]
            if (name in QUITTING and (first or works_while_typing(key))) or (name in SWITCHING and first):
                return await self.run_action(binding.action, self)
        return False

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A tab that was left may still have meant to focus one of its parts: then the focus goes back to the tab that is shown."""
        if any(not tab.display and tab in event.widget.ancestors for tab in self.tabs.values()):
            self.screen_stack[0].set_focus(None)
            if (shown := self.tabs.get(self.opened)) is not None and shown.display:
                shown.focus_first(False)

    async def _build_tab(self, name: str, switcher: ContentSwitcher) -> None:
        from dlplay.screen.tab import ArchitectureTab

        arguments = self._wishes.pop(name, {})
        await asyncio.to_thread(launch.prepare, name)
        tab = ArchitectureTab(self.cards[name], self.runs_dir, **arguments)
        run, self._run_to_attach = (self._run_to_attach, None) if arguments else (None, self._run_to_attach)
        tab.attaches = run is not None
        tab.fit(self.size.width, self.size.height - 2)
        with self.batch_update():  # drawn once, not part by part
            await switcher.add_content(tab, set_current=True)
        self.tabs[name] = tab
        if run is None:
            self.do(tab, tab.controls.explore())
        else:
            self.do(tab, tab.controls.attach(run, resume=self._resume, overrides=dict(arguments.get("settings") or {})))

    def on_tab_bar_chosen(self, event: TabBar.Chosen) -> None:
        self.open_tab(event.name)

    # --- the one timer ------------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        driver, now = self._driver, time.monotonic()
        if isinstance(driver, Paced) and driver.gone:
            self._hangup.exit()
            return
        if self.opened in self.tabs and self.tab.link.busy and not self.tab.link.history.training:
            self._pace.hurry()  # a person who has pressed the key waits for the first step
        if not self._pace.due(now, driver if isinstance(driver, Paced) else None):
            return
        tabs = list(self.tabs.values())
        for tab in tabs:
            if tab.card.name == self.opened and not self.covered:
                tab.draw_changes()
                if self.screen.maximized is not None:
                    for bar in self.query("#maximised-run").results(RunBar):  # none is left while the screen is taken down
                        bar.show(tab.run_bar_state())
            elif now >= self._poll_due:
                tab.link.poll()
        if now >= self._poll_due:
            self._poll_due = now + 1.0
            if self.covered:
                return
            signs = {"training": "▶", "paused": "‖", "failed": "✗"}
            self._tab_bar.marks = {tab.card.name: signs[tab.link.state] for tab in tabs if tab.link.state in signs}

    @property
    def _background_screens(self) -> list[Screen[Any]]:
        """Those that show through. Textual names the one below an opaque screen too, whose changes would then repaint that one whole."""
        return [] if self.screen.styles.background.a == 1 else super()._background_screens

    @property
    def covered(self) -> bool:
        """Whether nothing needs drawing: a dialog covers the tab, or the app is exiting."""
        return len(self.screen_stack) != 1

    def on_architecture_tab_status_changed(self, event: ArchitectureTab.StatusChanged) -> None:
        if event.tab.card.name == self.opened:
            self._show_device()
            if event.tab.link.state != "training":
                self._pace.hurry()

    def _show_device(self) -> None:
        if self.covered:
            return
        status = self.tab.link.status if self.opened in self.tabs else None
        parts = []
        if status is not None and status.ranks:
            parts = [status.device, *of_ranks(status.ranks)]
        elif status is not None and status.device:
            parts = [f"{status.device}  {status.device_name}".strip()]
            parts += [f"{100 * status.utilisation:3.0f} %"] if status.utilisation is not None else []
            parts += [size(status.memory)] if status.memory else []
        self._tab_bar.device = "  ".join(parts)

    # --- problems -----------------------------------------------------------------------------------------------------------------

    def on_architecture_tab_problem(self, event: ArchitectureTab.Problem) -> None:
        self._problems.append(event)
        if len(self._problems) == 1:
            self._show_problems()

    @work(group="problems")
    async def _show_problems(self) -> None:
        """One dialog after the other."""
        from dlplay.screen.dialogs.failure import FailureDialog

        while self._problems:
            problem = self._problems[0]
            offers = {offer.key: offer for offer in problem.offers}
            words = {key: offer.words for key, offer in offers.items()}
            chosen = await self.push_screen_wait(FailureDialog(problem.title, problem.why, problem.remedy, words))
            del self._problems[0]
            if chosen is not None:
                await offers[chosen].take()

    # --- the command palette ------------------------------------------------------------------------------------------------------

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action of the table and of the tab, in the order of the footer, and every architecture; or what a screen over them does."""
        if isinstance(screen, Modal):
            for active in screen.active_bindings.values():
                if active.binding.show:
                    title = f"{active.binding.description} ({active.binding.key_display or active.binding.key})"
                    yield SystemCommand(title, active.binding.tooltip, partial(self.run_action, active.binding.action, active.node))
            return
        ranked = sorted(ACTIONS, key=lambda action: action.footer or len(ACTIONS))
        first = [action for action in ranked if 0 < action.footer <= RANK_OF_CARD_ACTIONS]
        for action in first:
            yield self._command(action)
        for act in self.cards[self.opened].actions:
            shown = f"{act.title} ({act.key})" if act.key else act.title
            yield SystemCommand(shown, act.help, partial(self.action_act, self.opened, act.name))
        stage = self.tab.stage if self.opened in self.tabs else None
        for title, help_, do in stage.commands() if stage is not None else ():
            yield SystemCommand(title, help_, do)
        for action in ranked:
            if action not in first and action.name != "command_palette":
                yield self._command(action)
        if self.opened in self.tabs:
            yield SystemCommand(
                "New sweep of this tab's settings", "Search for the best of them; each trial is a run", self.action_new_sweep
            )
        for card in self.cards.values():
            yield SystemCommand(card.title, card.summary, partial(self.open_tab, card.name))
        if self.opened in self.tabs:
            tab = self.tab
            for panel in tab.inspector.panels:
                name = f" ({panel.name})" if panel.name != panel.title.lower() else ""  # as --panel has it
                yield SystemCommand(f"Panel: {panel.title}{name}", panel.hint, partial(tab.show_panel, panel.name))
            for name in tab.form.applying:
                yield SystemCommand(f"Setting: {words(name)}", tab.form.fields[name].doc, partial(tab.show_setting, name))
        yield SystemCommand("Theme", "Choose among all colour themes", self.action_change_theme)

    def _command(self, action: Action) -> SystemCommand:
        return SystemCommand(f"{action.label} ({action.shown})", action.help, partial(self.run_action, action.name))

    # --- actions, in the order of the table ---------------------------------------------------------------------------------------

    @work(group="run")
    async def do(self, tab: ArchitectureTab, action: Coroutine[Any, Any, Any]) -> None:
        """Do it for a tab in the background, and report what goes wrong."""
        try:
            await action
        except (OSError, ValueError, RuntimeError) as error:  # a name, a file, a lock, a disk: each error says what is wrong
            tab.problem("That failed", str(error), "")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """An action on a tab has to wait until there is one."""
        if action == "act":
            return self.opened in self.tabs and bool(parameters) and parameters[0] == self.opened
        if action == "stage" and self.cards[self.opened].stage is None:
            return False
        if action == "jump" and self.opened in self.tabs and self.tab.has_class("-small"):
            return False
        if action == "dismiss_welcome":
            return self._greets
        if action in ("earlier", "later", "now"):
            return self.looking_back
        return self.opened in self.tabs or action not in TAB_ACTIONS

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_train(self) -> None:
        self._dismiss_welcome()
        self.do(self.tab, self.tab.controls.train())

    def action_step_once(self) -> None:
        self.do(self.tab, self.tab.controls.step_once())

    def action_reset(self) -> None:
        """Start over; of a run that failed as its chart advises."""
        again = self.tab.train_again
        self.do(self.tab, again.take() if again is not None else self.tab.controls.start_over(paused=True))

    def action_look_back(self) -> None:
        tab = self.tab
        self.do(tab, tab.look_back() if tab.link.wanted is None else tab.return_to_now())

    def action_earlier(self) -> None:
        self.do(self.tab, self.tab.go(-1))

    def action_later(self) -> None:
        self.do(self.tab, self.tab.go(1))

    def action_now(self) -> None:
        self.do(self.tab, self.tab.return_to_now())

    def action_film(self) -> None:
        self.do(self.tab, self.tab.play_film())

    def action_branch(self) -> None:
        self.do(self.tab, self.tab.branch())

    def on_architecture_tab_looked_back(self, event: ArchitectureTab.LookedBack) -> None:
        self.do(event.tab, event.tab.return_to_now() if event.step is None else event.tab.look_back(event.step))

    def on_architecture_tab_run_chosen(self, event: ArchitectureTab.RunChosen) -> None:
        self.do(event.tab, event.tab.controls.load(event.name, run=True, train=False))

    def action_stage(self) -> None:
        self.tab.show_page("1", to_type=True)

    def action_faster(self) -> None:
        self.tab.controls.change_speed(1)

    def action_slower(self) -> None:
        self.tab.controls.change_speed(-1)

    def action_save(self) -> None:
        self.do(self.tab, self.tab.controls.save())

    @work(group="dialog")
    async def action_load(self) -> None:
        from dlplay.screen.dialogs.load import LoadDialog

        tab = self.tab
        choice = await self.push_screen_wait(LoadDialog(tab.card, self.runs_dir))
        if choice is not None:
            self.do(tab, tab.controls.load(choice.name, run=choice.kind == "run", train=choice.how == "train"))

    @work(group="dialog")
    async def action_runs(self) -> None:
        from dlplay.screen.runs.screen import RunsScreen

        choice = await self.push_screen_wait(RunsScreen(self.runs_dir, self.cards))
        if choice is None:
            return
        tab = await self._tab_of(choice.architecture)
        if choice.how == "overlay":
            tab.link.companions.mark(choice.runs)
            tab.show_page("2")
        else:
            self.do(tab, tab.controls.load(choice.runs[0].name, run=True, train=False, resume=choice.how == "resume"))

    async def _tab_of(self, architecture: str) -> ArchitectureTab:
        await self.open_tab(architecture).wait()
        return self.tabs[architecture]

    @work(group="dialog")
    async def action_sweeps(self) -> None:
        from dlplay.experiments.sweep import spec
        from dlplay.screen.run.answer import answers
        from dlplay.screen.runs.sweeps import NEW, SweepsDialog

        names = await asyncio.to_thread(spec.names, self.runs_dir)
        if len(names) != 1:
            try:
                listed = await answers(["sweep", "list"], self.runs_dir) if names else []
            except (RuntimeError, OSError) as error:
                self.notify(str(error), severity="error", timeout=8)
                return
            sweeps = [item for item in listed if "problem" not in item]
            name = await self.push_screen_wait(SweepsDialog(sweeps, self.tab.card.title))
            if name is None:
                return
            if name == NEW:
                await self._show_new_sweep()
                return
            names = [name]
        await self._show_sweep(names[0])

    @work(group="dialog")
    async def action_new_sweep(self) -> None:
        await self._show_new_sweep()

    async def _show_new_sweep(self) -> None:
        if (begun := await self._begin_sweep()) is not None:
            await self._show_sweep(begun.name, begun.worker)

    async def _begin_sweep(self) -> Begun | None:
        """Ask what to search for with the open tab's settings, and begin that."""
        from dlplay.screen.runs.new_sweep import NewSweepDialog

        tab = self.tab
        tab.form.close_editor()
        return await self.push_screen_wait(NewSweepDialog(tab.card, tab.form.values, tab.controls.origin, self.runs_dir))

    async def _show_sweep(self, name: str, worker: launch.Launched | None = None) -> None:
        from dlplay.screen.runs.sweeps import SweepScreen

        screen = SweepScreen(name, self.runs_dir, self._begin_sweep, worker)
        choice = await self.push_screen_wait(screen)
        if choice is None:
            return
        tab = await self._tab_of(screen.report["architecture"])
        if choice[0] == "open":
            self.do(tab, tab.controls.load(choice[1]["run"], run=True, train=False))
        else:
            taken = [key for key, value in choice[1].items() if tab.form.put(key, value)]
            self.notify(f"{', '.join(taken)}: in the form now" if taken else "the form has these settings already")

    def action_find_lr(self) -> None:
        self.do(self.tab, self._find_lr(self.tab))

    async def _find_lr(self, tab: ArchitectureTab) -> None:
        from dlplay.screen.dialogs.find_lr import FindRateDialog, range_test

        if tab.card.no_range_test:
            self.notify(f"{tab.card.title} has no range test: {tab.card.no_range_test}", timeout=8)
            return
        tab.form.close_editor()
        self.notify("the range test runs beside what trains; it takes some seconds", timeout=5)
        found = await range_test(tab.card, to_dict(tab.form.settings), tab.controls.origin, self.runs_dir)
        self.clear_notifications()  # they would cover its choices
        rate = await self.push_screen_wait(FindRateDialog(found))
        if rate is not None and tab.form.put("lr", rate):
            self.notify(f"lr {rate:g} is now in the form")

    @work(group="dialog")
    async def action_touch(self) -> None:
        from dlplay.screen.dialogs.touch import TouchDialog, begun
        from dlplay.screen.panels.panel_view import PanelView

        tab = self.tab
        view = next((node for node in (self.focused.ancestors_with_self if self.focused else ()) if isinstance(node, PanelView)), None)
        address = ""
        if view is not None:
            address = begun(view.part, view.panel.figure if view.panel is not None else "")

        def saved() -> tuple[Intervention, ...]:
            if tab.link.run is None:
                raise SettingsError("interventions are saved with a run, and no run is open in this tab")
            return saved_interventions.read(tab.link.run)

        def trained() -> str:
            return str(tab.link.history.settings.get("train_with", "")) if tab.link.past is None else ""

        link = tab.link
        dialog = TouchDialog(
            tab.touches, address, link.ask, lambda: link.answering, tab.show_touches, tab.train_with_touches, saved, trained
        )
        await self.push_screen_wait(dialog)

    def action_doctor(self) -> None:
        self.do(self.tab, self._doctor(self.tab))

    async def _doctor(self, tab: ArchitectureTab) -> None:
        """Have the tab's run examined, and the advice tried if that is chosen."""
        from dlplay.doctor.examine import recorded
        from dlplay.screen.dialogs.doctor import DoctorDialog, examination, trial
        from dlplay.screen.runs.compare import CompareScreen

        if tab.link.run is None:
            self.notify("there is no run in this tab yet; F5 trains one", timeout=5)
            return
        if self._examining:
            self.notify(f"the doctor examines {self._examining} already", timeout=5)
            return
        run = tab.link.run
        name = self._examining = run.name
        try:
            with tab.meanwhile("the doctor examines it, which takes some seconds"):
                found = await examination(name, self.runs_dir)
                history = await asyncio.to_thread(recorded, run, tab.card)
            await self._undisturbed(f"the doctor has examined {name}")
            chosen = await self.push_screen_wait(DoctorDialog(found, history))
        finally:
            self._examining = ""
        if chosen is None:
            return
        with tab.meanwhile(f"trying {chosen.words}, then a page opens"):
            came = await trial(name, chosen.rule, self.runs_dir)
        verdict = [line for line in (came["verdict"], came["next"]) if line]
        await self._undisturbed(verdict[0])
        self.push_screen(CompareScreen(came["groups"], self.runs_dir, verdict))

    async def _undisturbed(self, news: str) -> None:
        """Wait until no dialog is open and nobody types, and tell meanwhile that there is news, whose page is going to open."""

        def what() -> str:
            return "this is closed" if len(self.screen_stack) > 1 else "this line is left" if isinstance(self.focused, Input) else ""

        if before := what():
            self.notify(f"{news}; its page opens when {before}", timeout=30)
        while what():
            await asyncio.sleep(0.1)

    def action_notes(self) -> None:
        """The guide, where a lesson is open in this tab and something else has the focus; else the list of lessons and the notes."""
        self._dismiss_welcome()
        guide = self.desk.guide
        if guide is not None and guide.play.tab is self.tab and not guide.has_focus:
            guide.focus()
        else:
            self._choose_lesson()

    @work(group="dialog")
    async def _choose_lesson(self) -> None:
        from dlplay.screen.dialogs.notes import NotesScreen, notes_path
        from dlplay.screen.lessons.dialog import NOTES

        tab = self.tab
        chosen = await self.desk.choose(tab.card)
        if chosen == NOTES:
            self.push_screen(NotesScreen(notes_path(tab.card)))
        elif chosen is not None:
            self.do(tab, self.desk.begin(chosen, tab))

    @property
    def desk(self) -> LessonDesk:
        """What opens and moves the guide."""
        if self._desk is None:
            from dlplay.screen.lessons.desk import LessonDesk

            self._desk = LessonDesk(self, self._lessons_path)
        return self._desk

    async def on_guide_pane_left(self, event: GuidePane.Left) -> None:
        await self.desk.leave()
        self.tab.focus_first(False)

    def on_guide_pane_finished(self, event: GuidePane.Finished) -> None:
        self.desk.finished(event.lesson)

    @work(group="dialog")
    async def on_guide_pane_elsewhere(self, event: GuidePane.Elsewhere) -> None:
        if (guide := self.desk.guide) is not None:
            await self.desk.move(await self._tab_of(guide.play.room))

    def on_welcome_dismissed(self) -> None:
        self._dismiss_welcome()

    def action_dismiss_welcome(self) -> None:
        self._dismiss_welcome()

    def _dismiss_welcome(self) -> None:
        if self._greets:
            self._greets = False
            self.query_one("#welcome").remove()
            progress.mark_welcomed(self._lessons_path)

    def action_maximise(self) -> None:
        focused = self.screen.focused
        if self.screen.maximized is not None:
            self.screen.minimize()
            return
        for node in focused.ancestors_with_self if focused is not None else ():
            if isinstance(node, Widget) and node.is_on_screen and set(MAXIMISABLE) & node._css_type_names:
                self.screen.maximized = node
                return

    def action_jump(self) -> None:
        if self.screen.maximized is None:
            self._jump()
        else:
            self.screen.minimize()
            self.call_after_refresh(self._jump)

    def _jump(self) -> None:
        from dlplay.screen.jump import JumpScreen, Pane, panes

        def go(pane: Pane | None) -> None:
            if pane is not None:
                pane.go()

        self.push_screen(JumpScreen(panes(self.tab, self.action_runs)), go)

    def action_help(self) -> None:
        from dlplay.screen.dialogs.help import HelpScreen

        self.push_screen(HelpScreen(self.screen.focused, self.cards[self.opened]))

    async def action_quit(self) -> None:
        self._quit()

    @work(group="quit", exclusive=True)
    async def _quit(self) -> None:
        """Quit; ask first while something is training."""
        from dlplay.screen.dialogs.quit import QuitDialog

        tabs = [tab for tab in self.tabs.values() if tab.link.busy]
        if tabs:
            runs = [(tab.link.run.name if tab.link.run else tab.card.title, tab.link.state, tab.link.history.step) for tab in tabs]
            answer = await self.push_screen_wait(QuitDialog(runs))
            if answer is None:
                return
            if answer == "stop":
                self.notify("saving", title="Quitting", timeout=STOP_SECONDS)
                for tab in tabs:
                    await tab.link.end(STOP_SECONDS)
        self.exit()

    def action_help_quit(self) -> None:
        """ctrl+c does not quit by itself; it says what does, and a second one is taken at its word."""
        now = time.monotonic()
        if now - self._ctrl_c_at < TWICE_SECONDS:
            self._quit()
            return
        self._ctrl_c_at = now
        self.notify("ctrl+q quits, and so does a second ctrl+c", timeout=3)

    def action_stop(self) -> None:
        self.do(self.tab, self.tab.link.end())

    def action_defaults(self) -> None:
        self.tab.form.all_defaults()

    def action_companions(self) -> None:
        shown = self.tab.link.companions.toggle()
        self.notify(f"the curves of earlier runs are {'shown' if shown else 'left out'}", timeout=3)

    def action_next_tab(self) -> None:
        self._open_neighbour(1)

    def action_previous_tab(self) -> None:
        self._open_neighbour(-1)

    def _open_neighbour(self, by: int) -> None:
        names = list(self.cards)
        self.open_tab(names[(names.index(self.opened) + by) % len(names)], REST_SECONDS)

    def action_tab(self, name: str) -> None:
        self.open_tab(name)

    def action_next_theme(self) -> None:
        known = [name for name in themes.CYCLE if name in self.available_themes]
        self.theme = known[(known.index(self.theme) + 1) % len(known) if self.theme in known else 0]

    def action_page(self, number: str) -> None:
        self.tab.show_page(number)

    def action_act(self, architecture: str, name: str) -> None:
        if architecture == self.opened and (tab := self.tabs.get(architecture)) is not None:
            self.do(tab, tab.act(name))

    def on_architecture_tab_action_chosen(self, event: ArchitectureTab.ActionChosen) -> None:
        self.do(event.tab, event.tab.act(event.name))

    def exit(self, *args: Any, **options: Any) -> None:
        self._let_go()
        super().exit(*args, **options)

    def on_unmount(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        """Of every process; runs that are training continue."""
        with contextlib.suppress(Exception):
            for tab in self.tabs.values():
                tab.link.close()
