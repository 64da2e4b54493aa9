"""The list that `n` opens: this tab's lessons, those that were done marked, and its notes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from dlplay.engine.card import Card
from dlplay.lessons.lesson import Lesson
from dlplay.screen.dialogs.dialog import Choice, Dialog
from dlplay.screen.dialogs.palette import Options

NOTES = "."
"""What is chosen for the notes; no lesson has such a name."""


class LessonsDialog(Dialog[str | None]):
    """Its result is the name of a lesson, or `NOTES`. `problem`: why the lessons cannot be read."""

    DEFAULT_CSS = """
    LessonsDialog OptionList, LessonsDialog OptionList:focus {
        height: auto; background: transparent; border: none; padding: 0;
    }
    LessonsDialog OptionList:focus > .option-list--option-highlighted { background: $accent 20%; color: $foreground; }
    LessonsDialog .dialog { width: 96; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("n", "notes", "notes", show=False), Binding("q", "cancel", "close", show=False)]
    scrolled = "OptionList"
    choices = (
        Choice("enter", "take this lesson", "take"),
        Choice("n", "notes: what it is, what to try, what to look for, the papers", "notes"),
        Choice("esc", "close", "cancel"),
    )

    def __init__(self, card: Card, lessons: Sequence[Lesson], done: Collection[str], problem: str = "") -> None:
        super().__init__()
        self.heading = f"Lessons: {card.title}"
        self.lessons, self.done, self.problem = lessons, done, problem

    def body(self) -> ComposeResult:
        if self.lessons:
            yield Options(*(Option(self._row(lesson, chosen=False), id=lesson.name) for lesson in self.lessons), id="lessons-list")
        if self.problem:
            yield Static(Content.styled(self.problem, "$text-error"), classes="dialog-text")

    def _row(self, lesson: Lesson, *, chosen: bool) -> Content:
        mark = ("✓ ", "$text-success") if lesson.name in self.done else "  "
        return Content.assemble(
            ("▸" if chosen else " ", "$text-accent"), mark, (lesson.title, "bold"), "\n   ", (lesson.promise, "$text-muted")
        )

    def on_mount(self) -> None:
        for options in self.query(OptionList):
            options.focus()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        for lesson in self.lessons:
            event.option_list.replace_option_prompt(lesson.name, self._row(lesson, chosen=lesson.name == event.option_id))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option_id)

    def action_take(self) -> None:
        for options in self.query(OptionList):
            if (option := options.highlighted_option) is not None:
                self.dismiss(option.id)

    def action_notes(self) -> None:
        self.dismiss(NOTES)
