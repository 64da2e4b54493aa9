"""The line in which one setting is edited, with what is wrong with it right below."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from dlplay.screen.field_rows import LEAST_LABEL
from dlplay.screen.line_input import LineInput


class FieldEditor(Vertical):
    """Hidden until a setting is edited. It knows nothing of settings: what is typed is told, what is wrong with it is said to it."""

    DEFAULT_CSS = """
    FieldEditor { height: auto; }
    FieldEditor Horizontal { height: 1; }
    FieldEditor #editor-label { color: $accent; }
    FieldEditor Input { width: 1fr; background: $boost; }
    FieldEditor #editor-problem { height: auto; padding: 0 1 0 2; color: $text-error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "drop", "leave the field"),
        Binding("up", "take(-1)", "take, and up", show=False),
        Binding("down", "take(1)", "take, and down", show=False),
    ]

    class Typed(Message):
        """The text is another one now."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    @dataclasses.dataclass
    class Entered(Message):
        """The text is to be taken, and the cursor to move on by so many rows."""

        text: str
        by: int

    class Dropped(Message):
        """The text is to be forgotten."""

    class Left(Message):
        """The focus went elsewhere."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, label: int = LEAST_LABEL) -> None:
        super().__init__()
        self._label = Static(id="editor-label")
        self._label.styles.width = label
        self._input = LineInput(id="editor-input", compact=True, select_on_focus=True)
        self._problem = Static(id="editor-problem")

    def compose(self) -> ComposeResult:
        """Label and input side by side, the problem below."""
        with Horizontal():
            yield self._label
            yield self._input
        yield self._problem

    def on_mount(self) -> None:
        """Nothing is edited yet."""
        self.display = False

    def open(self, label: str, text: str) -> None:
        """Edit `text`."""
        self._label.update(Content(" " + label))
        with self._input.prevent(Input.Changed):
            self._input.value = text
        self.say("")
        self.display = True
        self._input.focus()

    def close(self) -> None:
        """Nothing is edited any more."""
        self.display = False

    def say(self, problem: str) -> None:
        """What is wrong with the text; empty when nothing is."""
        self._problem.update(Content(problem))
        self._problem.display = bool(problem)

    def action_drop(self) -> None:
        """Forget what was typed."""
        self.post_message(self.Dropped())

    def action_take(self, by: int) -> None:
        """Take what was typed and move on."""
        self.post_message(self.Entered(self._input.value, by))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(event.value))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Entered(event.value, 0))

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        """Told once the focus has settled elsewhere."""
        if self.display:
            self.call_after_refresh(self._tell_left)

    def _tell_left(self) -> None:
        if self.display and not self._input.has_focus:
            self.post_message(self.Left(self._input.value))
