"""Tokens in reading order, each shaded by a value between 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message

from dlplay.widgets.drawing.cells import colour_key
from dlplay.widgets.drawing.palette import LEVELS, Palette, to_levels
from dlplay.widgets.drawing.rows import Row, out_of_sight, status_row
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import figure, fit, plain


class TokenStrip(Surface):
    """Wrapped words. Arrow keys move the cursor, which shows the word's note, and post `Moved`; enter or a click posts `Selected`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "left", show=False),
        Binding("right", "move(1)", "right", show=False),
        Binding("up", "move_line(-1)", "up", show=False),
        Binding("down", "move_line(1)", "down", show=False),
        Binding("home", "move(-100000)", "first", show=False),
        Binding("end", "move(100000)", "last", show=False),
        Binding("enter", "select", "select", show=False),
    ]

    class Selected(Message):
        """A word was chosen."""

        def __init__(self, widget: TokenStrip, index: int) -> None:
            super().__init__()
            self.widget, self.index = widget, index

        @property
        def control(self) -> TokenStrip:
            return self.widget

    class Moved(Message):
        """The cursor moved to another word."""

        def __init__(self, widget: TokenStrip, index: int) -> None:
            super().__init__()
            self.widget, self.index = widget, index

        @property
        def control(self) -> TokenStrip:
            return self.widget

    def __init__(
        self, *, empty: str = "nothing to show yet", name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.words: list[str] = []
        self.cursor = 0
        self.selected: int | None = None
        self._values: list[float | None] = []
        self._notes: list[str] = []
        self._ends = ("0", "100 %")
        self._hover: int | None = None
        self._places: list[tuple[int, int, int]] = []  # line, column, width of each word
        self._first = 0

    def show(
        self,
        words: Sequence[str],
        values: Sequence[float | None],
        notes: Sequence[str] = (),
        selected: int | None = None,
        ends: tuple[str, str] = ("0", "100 %"),
    ) -> None:
        """Show words; one with the value None is muted and not shaded. `ends` say what 0 and 1 stand for."""
        self._ends = ends
        self.words, self._values, self._notes, self.selected = [plain(w) for w in words], list(values), [plain(n) for n in notes], selected
        self.cursor = min(self.cursor, max(0, len(self.words) - 1))
        self._hover = None
        if selected is not None and not self.has_focus:
            self.cursor = min(selected, max(0, len(self.words) - 1))
        if self.styles.auto_dimensions and self._rows(self.size.width) != self.size.height:
            self.refresh(layout=True)
        self.repaint()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Rows that the words wrap into, and one for the note."""
        return self._rows(width)

    def _rows(self, width: int) -> int:
        self._wrap(max(1, width), Palette.of(self))
        return 1 + (self._places[-1][0] + 1 if self._places else 1)

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not self.words:
            return []
        self._wrap(width, palette)
        lines = self._places[-1][0] + 1
        room = max(1, height - 1)
        at = self._places[self._at()][0] if (self.has_focus or self._hover is not None or self.selected is not None) else lines - 1
        if not self._first <= at < self._first + room:
            self._first = at if at < self._first else at - room + 1
        self._first = max(0, min(self._first, lines - room))
        rows: list[Row] = [[] for _ in range(min(room, lines - self._first))]
        ends = [0] * len(rows)
        levels = to_levels(np.array([np.nan if v is None else v for v in self._values], dtype=np.float64), 0, 1)
        for index, (line, column, _) in enumerate(self._places):
            y = line - self._first
            if 0 <= y < len(rows):
                if column > ends[y]:
                    rows[y].append(Segment(" " * (column - ends[y]), palette.blank))
                segment = self._word(index, int(levels[index]) if index < len(levels) else LEVELS, width, palette)
                rows[y].append(segment)
                ends[y] = column + cell_len(segment.text)
        if height < 2:
            return rows
        rows += [[] for _ in range(height - 1 - len(rows))]
        note, unseen = self._note(), out_of_sight(self._first, lines - self._first - room, "line")
        key = self._shades(width - cell_len(note), palette) if not unseen else []
        return [*rows, status_row(note, width - sum(cell_len(part.text) for part in key), palette, unseen, strong=True) + key]

    def _shades(self, room: int, palette: Palette) -> Row:
        """What the shades stand for, where there are several."""
        shaded = len({value for value in self._values if value is not None}) > 1
        return colour_key(*self._ends, room, palette.levels, palette) if shaded and not palette.shaded else []

    def _shown(self, index: int, palette: Palette) -> str:
        word = self.words[index] or "∅"
        if palette.shaded:
            value = self._values[index] if index < len(self._values) else None
            return (palette.levels.shades[int(to_levels(value, 0, 1))] if value is not None else " ") + word
        return word

    def _wrap(self, width: int, palette: Palette) -> None:
        self._places = []
        line = column = 0
        for index in range(len(self.words)):
            length = min(width, cell_len(self._shown(index, palette)) + (0 if palette.shaded else 2))
            if column and column + length > width:
                line, column = line + 1, 0
            self._places.append((line, column, length))
            column += length + 1

    def _word(self, index: int, level: int, width: int, palette: Palette) -> Segment:
        _, _, length = self._places[index]
        here = index == self._hover or (self.has_focus and index == self.cursor)
        chosen = index == self.selected
        word = self._shown(index, palette)
        text = word if palette.shaded else f"{'▸' if chosen else ' '}{word} "
        text = fit(text, length)
        if level >= LEVELS or palette.shaded:
            style = palette.style("accent" if here or chosen else "text" if level < LEVELS else "muted", bold=chosen, reverse=here)
        elif here:
            style = palette.style("accent", bold=True, reverse=True)
        else:
            style = palette.levels.text(level, bold=chosen)
        return Segment(text, style)

    def _at(self) -> int:
        return self._hover if self._hover is not None else self.cursor

    def _note(self) -> str:
        if self._hover is None and not self.has_focus and self.selected is None:
            return ""
        index = self._at()
        if index < len(self._notes) and self._notes[index]:
            return self._notes[index]
        value = self._values[index] if index < len(self._values) else None
        return self.words[index] + (f"  {figure(value, percent=True)}" if value is not None else "")

    def action_move(self, by: int) -> None:
        if self.words:
            self._go(min(max(self.cursor + by, 0), len(self.words) - 1))

    def action_move_line(self, by: int) -> None:
        if not self._places or self.cursor >= len(self._places):
            return
        line, column, _ = self._places[self.cursor]
        others = [(abs(c - column), i) for i, (place, c, _) in enumerate(self._places) if place == line + by]
        if others:
            self._go(min(others)[1])

    def _go(self, index: int) -> None:
        moved, self.cursor, self._hover = index != self.cursor, index, None
        self.repaint()
        if moved:
            self.post_message(self.Moved(self, index))

    def action_select(self) -> None:
        if self.words:
            self.post_message(self.Selected(self, self.cursor))

    def _word_at(self, event: events.MouseEvent) -> int | None:
        offset = event.get_content_offset_capture(self)
        for index, (line, column, length) in enumerate(self._places):
            if line == offset.y + self._first and column <= offset.x < column + length:
                return index
        return None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        hover = self._word_at(event)
        if hover != self._hover:
            self._hover = hover
            self.repaint()

    def on_leave(self) -> None:
        if self._hover is not None:
            self._hover = None
            self.repaint()

    def on_click(self, event: events.Click) -> None:
        index = self._word_at(event)
        if index is not None:
            self.cursor = index
            self.repaint()
            self.post_message(self.Selected(self, index))
