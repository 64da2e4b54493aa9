"""Help: what is focused and its keys, the architecture's own actions, then every key of the app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from rich.table import Table
from rich.text import Text
from textual.actions import parse
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from dlplay.engine.card import Card
from dlplay.screen.dialogs.dialog import Modal
from dlplay.screen.keys import ACTIONS, Action, works_while_typing


class HelpScreen(Modal[None]):
    """Opened with f1 over whatever has the focus."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background; }
    HelpScreen VerticalScroll {
        width: 84; max-width: 96%; height: auto; max-height: 94%; background: $panel; padding: 1 2; scrollbar-size-vertical: 1;
        scrollbar-color: $foreground 60%; scrollbar-background: $panel; scrollbar-background-hover: $panel;
    }
    HelpScreen Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,f1,q", "dismiss(None)", "close")]

    def __init__(self, focused: Widget | None, card: Card) -> None:
        super().__init__()
        self.card = card
        self.about = about(focused)
        self._picks = picks_by_digit(focused)

    def compose(self) -> ComposeResult:
        title, text, keys = self.about
        actions = [(action.key or "–", f"{action.title}: {action.help}") for action in self.card.actions]
        with VerticalScroll():
            if title:
                yield Static(Content.assemble((title, "bold $text-accent"), f"\n{text}" if text else ""))
                yield Static(_table(keys))
                yield Static("")
            if actions:
                yield Static(Content.styled(self.card.title, "bold $text-accent"))
                yield Static(_table(actions))
                yield Static("")
            yield Static(Content.styled("The playground", "bold $text-accent"))
            yield Static(_table([(shown, action.help) for action in ACTIONS if (shown := self.keys_of(action))]))
            yield Static(
                Content.styled(
                    "\nescape closes this; tab and shift+tab move between the parts; everything works with the mouse as well",
                    "$text-muted",
                )
            )

    def keys_of(self, action: Action) -> str:
        """Those that do it where the focus is."""
        return " ".join(key for key in (action.shown, action.also) if key and not (self._picks and key.isdecimal()))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


class About(NamedTuple):
    title: str
    text: str
    keys: list[tuple[str, str]]
    """The keys as a person reads them, and what they do."""


def picks_by_digit(focused: Widget | None) -> bool:
    """Whether digits pick something where the focus is, and go to no part of the tab."""
    return any(getattr(node, "numbered", False) for node in (focused.ancestors_with_self if focused is not None else ()))


def about(focused: Widget | None) -> About:
    """Help on the widget that has the focus: the title and help of the panel it is in, and the keys of both."""
    title, text = "", ""
    nodes: list[Widget] = []
    for node in focused.ancestors_with_self if focused is not None else ():
        if isinstance(node, Screen) or node.has_class("tab") or not isinstance(node, Widget):
            break
        nodes.append(node)
        card = getattr(node, "question", None) or getattr(node, "card", None)
        title = title or getattr(card, "title", "") or ""
        text = text or getattr(card, "help", "") or ""
    keys: dict[str, list[str]] = {"pick the one with this number": ["1 … 9", "0"]} if picks_by_digit(focused) else {}
    for node in reversed(nodes):
        for binding in _own_bindings(node, typing=isinstance(focused, Input)):
            shown = binding.key_display or (binding.key if "+" in binding.key else node.app.get_key_display(binding))
            keys.setdefault(binding.description, []).append(shown)
    return About(title, text, [(" ".join(dict.fromkeys(shown)), description) for description, shown in keys.items()])


def _own_bindings(node: Widget, *, typing: bool) -> Iterator[Binding]:
    """Those that do something now, without those of Textual's own widgets: everybody knows how to scroll and to type."""
    of_textual = {
        (binding.action, binding.description)
        for base in type(node).__mro__
        if base.__module__.startswith("textual.")
        for binding in base.__dict__.get("BINDINGS", ())
        if isinstance(binding, Binding)
    }
    for _, binding in node._bindings:
        _, action, parameters = parse(binding.action)
        known = (binding.action, binding.description) in of_textual or (typing and not works_while_typing(binding.key))
        if binding.description and not known and node.check_action(action, parameters):
            yield binding


def _table(rows: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True, style="bold", min_width=10)
    table.add_column()
    for key, text in rows:
        table.add_row(Text(key), Text(text))
    return table
