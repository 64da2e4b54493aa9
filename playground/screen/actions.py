"""What every key does, in the order of their table."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import work
from textual.actions import parse
from textual.app import App
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from dlplay.engine.card import Card
from dlplay.screen import themes
from dlplay.screen.key_hints import works_while_typing

if TYPE_CHECKING:
    from dlplay.screen.tab import ArchitectureTab

STOP_SECONDS = 60.0
"""How long leaving waits for a run to save and end."""
TWICE_SECONDS = 3.0
"""Within which a second ctrl+c is meant."""
MAXIMISED = ("PanelView", "Chart", "ActionStage", "SettingsForm")
"""The parts of a tab that can fill the window."""


class ActingApp(App[None]):
    """Base of the playground: its actions. Whatever goes wrong in one is told in words."""

    cards: dict[str, Card]
    runs_dir: Path
    opened: str
    tabs: dict[str, ArchitectureTab]
    _asked_to_quit = float("-inf")

    @property
    def tab(self) -> ArchitectureTab:
        """The tab that is seen. Raises `KeyError` before it was built."""
        return self.tabs[self.opened]

    @work(group="run")
    async def do(self, doing: Coroutine[Any, Any, Any]) -> None:
        """Do it beside what is drawn."""
        tab = self.tab
        try:
            await doing
        except (OSError, ValueError, RuntimeError) as error:  # a name, a file, a lock, a disk: all of them say what is wrong
            tab.trouble("That could not be done", str(error), "")

    def action_train(self) -> None:
        """Start, pause, go on."""
        self.do(self.tab.steering.train())

    def action_step_once(self) -> None:
        """One step."""
        self.do(self.tab.steering.step_once())

    def action_reset(self) -> None:
        """Start over, paused."""
        self.do(self.tab.steering.start_over(paused=True))

    def action_faster(self) -> None:
        """One notch quicker."""
        self.tab.steering.change_speed(1)

    def action_slower(self) -> None:
        """One notch slower."""
        self.tab.steering.change_speed(-1)

    def action_save(self) -> None:
        """Write a checkpoint."""
        self.do(self.tab.steering.save())

    def action_stop(self) -> None:
        """Save and end the run."""
        self.do(self.tab.link.end())

    @work(group="dialog")
    async def action_load(self) -> None:
        """Open a model or a run."""
        from dlplay.screen.dialogs.load import LoadDialog

        tab = self.tab
        chosen = await self.push_screen_wait(LoadDialog(tab.card, self.runs_dir))
        if chosen is not None:
            self.do(tab.steering.load(chosen.name, run=chosen.kind == "run", train=chosen.how == "train"))

    def action_notes(self) -> None:
        """The architecture's notes."""
        from dlplay.screen.dialogs.notes import NotesScreen

        self.push_screen(NotesScreen(_notes_path(self.tab.card.task)))

    def action_maximise(self) -> None:
        """The focused part over the whole window, and back."""
        focused = self.screen.focused
        if self.screen.maximized is not None:
            self.screen.minimize()
            return
        for node in focused.ancestors_with_self if focused is not None else ():
            if isinstance(node, Widget) and node.is_on_screen and set(MAXIMISED) & node._css_type_names:
                self.screen.maximized = node
                return

    def action_help(self) -> None:
        """What is focused, and every key."""
        from dlplay.screen.dialogs.keys import KeysScreen

        card = self.cards[self.opened]
        acts = [(action.key or "–", f"{action.title}: {action.help}") for action in card.actions]
        self.push_screen(KeysScreen(*_about(self.screen.focused), card.title, acts))

    @work(group="leave", exclusive=True)
    async def action_leave(self) -> None:
        """Leave, asking when something trains."""
        from dlplay.screen.dialogs.leave import LeaveDialog

        tabs = [tab for tab in self.tabs.values() if tab.link.busy]
        if tabs:
            runs = [
                (tab.link.run.name if tab.link.run else tab.card.title, f"{tab.link.state} at step {tab.link.history.step:,}")
                for tab in tabs
            ]
            answer = await self.push_screen_wait(LeaveDialog(runs))
            if answer is None:
                return
            if answer == "stop":
                self.notify("saving", title="Leaving", timeout=STOP_SECONDS)
                for tab in tabs:
                    await tab.link.end(STOP_SECONDS)
        self.exit()

    async def action_quit(self) -> None:
        """Textual's own name for leaving."""
        self.action_leave()

    def action_help_quit(self) -> None:
        """ctrl+c does not end the playground by itself; say what does, and take a second one at its word."""
        now = time.monotonic()
        if now - self._asked_to_quit < TWICE_SECONDS:
            self.action_leave()
            return
        self._asked_to_quit = now
        self.notify("ctrl+q leaves the playground, and so does ctrl+c once more", timeout=3)

    def action_defaults(self) -> None:
        """Every setting back to its default."""
        self.tab.form.all_defaults()

    def action_next_tab(self) -> None:
        """The architecture to the right."""
        self._neighbour(1)

    def action_previous_tab(self) -> None:
        """The architecture to the left."""
        self._neighbour(-1)

    def _neighbour(self, by: int) -> None:
        names = list(self.cards)
        self.open_tab(names[(names.index(self.opened) + by) % len(names)])

    def action_next_theme(self) -> None:
        """Other colours."""
        known = [name for name in themes.CYCLE if name in self.available_themes]
        self.theme = known[(known.index(self.theme) + 1) % len(known) if self.theme in known else 0]

    def action_stage(self) -> None:
        """Where a person acts."""
        self.tab.show_page("4")

    def action_page(self, number: str) -> None:
        """A page of a small window."""
        self.tab.show_page(number)

    def action_act(self, architecture: str, name: str) -> None:
        """One of the architecture's own actions."""
        if architecture == self.opened:
            self.do(self.tab.act(name))

    def open_tab(self, name: str) -> object:
        """Show a tab."""
        raise NotImplementedError


def _notes_path(task: str) -> Path:
    """notes.md beside the task's module, found without importing it."""
    package = importlib.util.find_spec(task.partition(":")[0].rpartition(".")[0])
    return Path(package.origin if package is not None and package.origin else ".").parent / "notes.md"


def _about(focused: Widget | None) -> tuple[str, str, list[tuple[str, str]]]:
    """Of what is focused: its title, what it is, and its keys."""
    title, words = "", ""
    nodes: list[Widget] = []
    for node in focused.ancestors_with_self if focused is not None else ():
        if isinstance(node, Screen) or node.has_class("tab") or not isinstance(node, Widget):
            break
        nodes.append(node)
        card = getattr(node, "question", None) or getattr(node, "card", None)
        title = title or getattr(card, "title", "") or ""
        words = words or getattr(card, "help", "") or ""
    names: dict[str, list[str]] = {}
    for node in reversed(nodes):
        for binding in _own_bindings(node, typing=isinstance(focused, Input)):
            shown = binding.key_display or (binding.key if "+" in binding.key else node.app.get_key_display(binding))
            names.setdefault(binding.description, []).append(shown)
    return title, words, [(" ".join(dict.fromkeys(shown)), description) for description, shown in names.items()]


def _own_bindings(node: Widget, *, typing: bool) -> Iterator[Binding]:
    """Those that mean something now; not those of Textual's own widgets, since everybody knows how to scroll and to type."""
    theirs = {
        (binding.action, binding.description)
        for base in type(node).__mro__
        if base.__module__.startswith("textual.")
        for binding in base.__dict__.get("BINDINGS", ())
        if isinstance(binding, Binding)
    }
    for _, binding in node._bindings:
        _, action, parameters = parse(binding.action)
        known = (binding.action, binding.description) in theirs or (typing and not works_while_typing(binding.key))
        if binding.description and not known and node.check_action(action, parameters):
            yield binding
