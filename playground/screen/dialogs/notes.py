"""An architecture's notes: what it is, what to try, what to look for, the papers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Markdown

from dlplay.engine.card import Card
from dlplay.screen.dialogs.dialog import Modal


class NotesScreen(Modal[None]):
    """The notes as a page that scrolls."""

    DEFAULT_CSS = """
    NotesScreen { align: center middle; background: $background; }
    NotesScreen VerticalScroll { width: 100; max-width: 96%; height: 94%; background: $panel; padding: 1 2; scrollbar-size-vertical: 1;
        scrollbar-color: $foreground 60%; scrollbar-background: $panel; scrollbar-background-hover: $panel;
    }
    NotesScreen Markdown { background: transparent; padding: 0; margin: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,n,q", "dismiss(None)", "close")]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def compose(self) -> ComposeResult:
        try:
            text = self.path.read_text(encoding="utf-8")
        except OSError as error:
            text = f"There are no notes: {self.path} cannot be read ({error.strerror or error})."
        with VerticalScroll():
            yield Markdown(text, open_links=False)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


def notes_path(card: Card) -> Path:
    """`notes.md` beside the module of the card's task, found without importing it."""
    package = importlib.util.find_spec(card.task.partition(":")[0].rpartition(".")[0])
    return Path(package.origin if package is not None and package.origin else ".").parent / "notes.md"
