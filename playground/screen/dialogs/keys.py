"""Every key: those of what is focused first, then those of the playground, from the one table."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from dlplay.screen.keys import ACTIONS


class KeysScreen(ModalScreen[None]):
    """What is focused: a title, what it is in words, and its keys with their meaning; then the architecture's own actions."""

    DEFAULT_CSS = """
    KeysScreen { align: center middle; background: $background; }
    KeysScreen VerticalScroll {
        width: 84; max-width: 96%; height: auto; max-height: 94%; background: $panel; padding: 1 2; scrollbar-size-vertical: 1;
        scrollbar-color: $foreground 30%; scrollbar-background: $panel; scrollbar-background-hover: $panel;
    }
    KeysScreen Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,f1,q", "dismiss(None)", "close")]

    def __init__(
        self, title: str, words: str, keys: list[tuple[str, str]], architecture: str = "", acts: list[tuple[str, str]] | None = None
    ) -> None:
        super().__init__()
        self.heading, self.words, self.keys = title, words, keys
        self.architecture, self.acts = architecture, acts or []

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            if self.heading:
                yield Static(Content.assemble((self.heading, "bold $text-accent"), f"\n{self.words}" if self.words else ""))
                yield Static(_table(self.keys))
                yield Static("")
            if self.acts:
                yield Static(Content.styled(self.architecture, "bold $text-accent"))
                yield Static(_table(self.acts))
                yield Static("")
            yield Static(Content.styled("The playground", "bold $text-accent"))
            yield Static(_table([(action.shown, action.help) for action in ACTIONS]))
            yield Static(
                Content.styled(
                    "\nescape closes this; tab and shift+tab go from part to part; the mouse does all of this as well", "$foreground 60%"
                )
            )

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


def _table(rows: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True, style="bold", min_width=10)
    table.add_column()
    for key, words in rows:
        table.add_row(Text(key), Text(words))
    return table
