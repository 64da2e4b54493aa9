"""The playground on the screen: a tab for each architecture, one timer that repaints, and every action by key, palette and mouse."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult, SystemCommand
from textual.command import Provider
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from dlplay import architectures
from dlplay.engine import stages
from dlplay.screen import numbers, themes
from dlplay.screen.actions import ActingApp
from dlplay.screen.hangup import Hangup
from dlplay.screen.key_hints import OF_THE_TAB, KeyHints
from dlplay.screen.keys import ACTIONS, Action, bindings
from dlplay.screen.palette import TableCommands
from dlplay.screen.run_bar import RunBar
from dlplay.screen.tab_bar import TabBar
from dlplay.screen.terminal import Pace, PacedDriver

if TYPE_CHECKING:
    from dlplay.screen.tab import ArchitectureTab

TICK_SECONDS = 0.1


_TAB_ACTIONS = {action.name.partition("(")[0] for action in ACTIONS} - {"leave", "help", "command_palette", "next_theme", "maximise"}


class PlaygroundApp(ActingApp):
    """`tab` is the architecture to open; `settings`, `origin` and `options` are for it.

    `attach` names a run to show, and `resume` goes on with it. `config_path` is where the choice of colours is kept.
    """

    CSS_PATH = "app.tcss"
    TITLE = "dlplay"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS = bindings()
    ALLOW_IN_MAXIMIZED_VIEW = "KeyHints, RunBar"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {TableCommands}
    SCROLL_SENSITIVITY_Y: ClassVar[float] = 2.0

    def __init__(
        self,
        *,
        runs_dir: Path,
        tab: str | None = None,
        settings: Mapping[str, Any] | None = None,
        origin: str = "",
        options: Mapping[str, Any] | None = None,
        attach: str | None = None,
        resume: bool = False,
        config_path: Path | None = None,
    ) -> None:
        super().__init__(driver_class=None)
        self.cards = architectures.cards()
        self.runs_dir = runs_dir
        self.tabs: dict[str, ArchitectureTab] = {}
        """Those that were opened."""
        self.opened = tab if tab in self.cards else next(iter(self.cards))
        self._wishes: dict[str, Any] = {"settings": settings, "origin": origin, "options": options}
        self._wanted_run, self._resume = attach, resume
        self._config_path = config_path or themes.config_path()
        self._tab_bar = TabBar({card.name: card.title for card in self.cards.values()})
        self._hangup = Hangup(self)
        self._building = asyncio.Lock()
        self._pace = Pace()
        self._poll_due = 0.0
        self._troubles: list[ArchitectureTab.Trouble] = []
        for card in self.cards.values():
            for act in card.actions:
                if act.key:
                    self._bindings.bind(act.key, f"act('{card.name}', '{act.name}')", act.title.lower(), key_display=act.key)
        for theme in (themes.DARK, themes.LIGHT):
            self.register_theme(theme)
        chosen = themes.remembered(self._config_path)
        self.theme = chosen if chosen in self.available_themes else themes.DARK.name

    def get_driver_class(self) -> type[Any]:
        """Textual's own, but one that knows how readily the terminal takes what is written."""
        found = super().get_driver_class()
        return PacedDriver if found.__name__ == "LinuxDriver" else found

    # --- building -----------------------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Tabs above, keys below."""
        yield self._tab_bar
        yield ContentSwitcher(id="tabs")
        yield RunBar(id="maximised-run")
        yield KeyHints()

    def on_mount(self) -> None:
        """Paint first, build the tab then."""
        self._hangup.listen()
        self.call_after_refresh(self.open_tab, self.opened)  # the first paint does not wait for what a tab needs
        self.set_interval(TICK_SECONDS, self._tick)
        self.theme_changed_signal.subscribe(self, lambda theme: themes.remember(self._config_path, theme.name))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What concerns a tab has to wait until there is one."""
        if action == "act":
            return self.opened in self.tabs and bool(parameters) and parameters[0] == self.opened
        return self.opened in self.tabs or action not in _TAB_ACTIONS

    @work(group="tabs")
    async def open_tab(self, name: str) -> None:
        """Show a tab; its content is made when it is first shown."""
        self.opened = name
        self._tab_bar.active = name
        switcher = self.query_one(ContentSwitcher)
        async with self._building:
            new = name not in self.tabs
            if new:
                await self._build_tab(name, switcher)
        switcher.current = f"tab-{name}"
        self.call_after_refresh(self._focus_first, self.tabs[name], new)
        self._show_device()
        self.refresh_bindings()
        self._pace.hurry()

    async def _build_tab(self, name: str, switcher: ContentSwitcher) -> None:
        from dlplay.screen.tab import ArchitectureTab

        wishes, self._wishes = self._wishes, {}
        tab = ArchitectureTab(self.cards[name], self.runs_dir, **wishes)
        tab.fit(self.size.width, self.size.height - 2)
        with self.batch_update():  # drawn once, not part by part
            await switcher.add_content(tab, set_current=True)
        self.tabs[name] = tab
        self.do(self._begin(tab, wishes))

    def _focus_first(self, tab: ArchitectureTab, new: bool) -> None:
        """In a new tab whose model answers at once, where a person acts on it: the page of a small window, and for a prompt or a sentence
        the line, since whoever sees one types. Else the settings."""
        if new and tab.stage is not None and (tab.link.run is not None or tab.link.shipped):
            if not tab.has_class("-wide") and tab.link.run is None:
                tab.page = "4"
            if (tab.has_class("-wide") or tab.page == "4") and isinstance(tab.card.stage, (stages.Prompt, stages.TokenLine)):
                tab.show_page("4")
                return
        if tab.query("#form-scroll") and (self.focused is None or tab not in self.focused.ancestors):
            form = tab.query_one("#form-scroll")
            if form.is_on_screen:
                form.focus()

    async def _begin(self, tab: ArchitectureTab, wishes: Mapping[str, Any]) -> None:
        name, self._wanted_run = self._wanted_run, None
        if name is not None:
            await tab.steering.attach(name, resume=self._resume, overrides=dict(wishes.get("settings") or {}))
        else:
            await tab.steering.explore()

    def on_tab_bar_chosen(self, event: TabBar.Chosen) -> None:
        """A tab was clicked."""
        self.open_tab(event.name)

    # --- the one timer ------------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        driver, now = self._driver, time.monotonic()
        if isinstance(driver, PacedDriver) and driver.gone:
            self._hangup.leave()
            return
        if not self._pace.due(now, driver if isinstance(driver, PacedDriver) else None):
            return
        tabs = list(self.tabs.values())
        for tab in tabs:
            if tab.card.name == self.opened and not self.covered:
                tab.renew()
                if self.screen.maximized is not None:
                    self.query_one("#maximised-run", RunBar).show(tab.standing())
            elif now >= self._poll_due:
                tab.link.poll()
        if now >= self._poll_due:
            self._poll_due = now + 1.0
            if self.covered:
                return
            signs = {"training": "▶", "paused": "‖", "failed": "✗"}
            self._tab_bar.marks = {tab.card.name: signs[tab.link.state] for tab in tabs if tab.link.state in signs}

    def on_architecture_tab_action_wanted(self, event: ArchitectureTab.ActionWanted) -> None:
        """An action was clicked."""
        self.action_act(self.opened, event.name)

    def on_architecture_tab_reported(self) -> None:
        """The run stands otherwise than before: do not wait for the next frame."""
        self._show_device()
        if self.tab.link.state != "training":
            self._pace.hurry()

    @property
    def covered(self) -> bool:
        """Under a dialog nothing needs drawing."""
        return len(self.screen_stack) > 1

    def _show_device(self) -> None:
        if self.covered:
            return
        status = self.tab.link.status if self.opened in self.tabs else None
        parts = []
        if status is not None and status.device:
            parts = [f"{status.device}  {status.device_name}".strip()]
            parts += [f"{100 * status.utilisation:3.0f} %"] if status.utilisation is not None else []
            parts += [numbers.size(status.memory)] if status.memory else []
        self._tab_bar.device = "  ".join(parts)

    # --- troubles -----------------------------------------------------------------------------------------------------------------

    def on_architecture_tab_trouble(self, event: ArchitectureTab.Trouble) -> None:
        """Told one after the other."""
        self._troubles.append(event)
        if len(self._troubles) == 1:
            self._tell_troubles()

    @work(group="troubles")
    async def _tell_troubles(self) -> None:
        from dlplay.screen.dialogs.failure import FailureDialog

        while self._troubles:
            trouble = self._troubles[0]
            offer = trouble.offer
            accepted = await self.push_screen_wait(FailureDialog(trouble.title, trouble.words, trouble.remedy, offer[0] if offer else ""))
            del self._troubles[0]
            if accepted and offer:
                await offer[1]()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action of the table and of the tab, in the order of the footer, and every architecture."""
        ranked = sorted(ACTIONS, key=lambda action: action.footer or len(ACTIONS))
        first = [action for action in ranked if 0 < action.footer <= OF_THE_TAB]
        for action in first:
            yield self._command(action)
        for act in self.cards[self.opened].actions:
            shown = f"{act.title} ({act.key})" if act.key else act.title
            yield SystemCommand(shown, act.help, partial(self.action_act, self.opened, act.name))
        stage = self.tab.stage if self.opened in self.tabs else None
        for words, help_, do in stage.commands() if stage is not None else ():
            yield SystemCommand(words, help_, do)
        for action in ranked:
            if action not in first and action.name != "command_palette":
                yield self._command(action)
        for card in self.cards.values():
            yield SystemCommand(card.title, card.summary, partial(self.open_tab, card.name))
        yield SystemCommand("Theme", "Choose among all colours", self.action_change_theme)

    def _command(self, action: Action) -> SystemCommand:
        return SystemCommand(f"{action.words} ({action.shown})", action.help, partial(self.run_action, action.name))

    def exit(self, *args: Any, **options: Any) -> None:
        """Let go of every process; those that train go on by themselves."""
        with contextlib.suppress(Exception):
            for tab in self.tabs.values():
                tab.link.close()
        super().exit(*args, **options)
