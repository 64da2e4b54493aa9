"""Small images side by side, each with a label; one can be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from dlplay.widgets.drawing.cells import level_rows, resample, rgb_rows
from dlplay.widgets.drawing.palette import Palette, to_levels
from dlplay.widgets.drawing.rows import Row, out_of_sight, overlay, status_row
from dlplay.widgets.drawing.surface import Surface
from dlplay.widgets.drawing.text import fit, plain


@dataclass(frozen=True)
class Layout:
    """The size and arrangement of the images."""

    pixel_rows: int
    pixel_columns: int
    """Pixels of one image."""
    cell_rows: int
    cell_columns: int
    """Cells of one image, with its label and the gutter."""
    per_row: int
    seen: int
    """Rows of images that fit."""


class ImageGrid(Surface):
    """Images of one size. Arrows move the cursor, enter or a click posts `Selected`; up, down and the wheel scroll."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "left", show=False),
        Binding("right", "move(1)", "right", show=False),
        Binding("up", "move_row(-1)", "up", show=False),
        Binding("down", "move_row(1)", "down", show=False),
        Binding("enter", "select", "select", show=False),
    ]

    class Selected(Message):
        """An image was chosen."""

        def __init__(self, widget: ImageGrid, index: int) -> None:
            super().__init__()
            self.widget, self.index = widget, index

        @property
        def control(self) -> ImageGrid:
            return self.widget

    def __init__(
        self, *, empty: str = "nothing to show yet", name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(empty=empty, name=name, id=id, classes=classes)
        self.images: NDArray[np.generic] = np.zeros((0, 1, 1))
        self.selected: int | None = None
        self.cursor = 0
        self._labels: list[str] = []
        self._wrong: list[bool] = []
        self._signed = False
        self._ranges: list[tuple[float, float]] = []
        self._first = 0
        self._layout: Layout | None = None

    def show(
        self, images: ArrayLike, labels: Sequence[str] = (), wrong: Sequence[bool] = (), signed: bool = False, selected: int | None = None
    ) -> None:
        """Show images (count, height, width) of floats or u1, or (count, height, width, 3) u1.

        Floats share one scale; when `signed`, each image has its own, symmetric about zero. `wrong` marks images with a cross. Raises
        `ValueError` for another shape.
        """
        array = np.asarray(images)
        if array.ndim == 4 and array.shape[-1] == 1:
            array = array[..., 0]
        if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] != 3):
            raise ValueError(f"an image grid shows (count, height, width) or (count, height, width, 3), not {array.shape}")
        self.images, self.selected, self._signed = array, selected, signed
        self._labels, self._wrong = [plain(label) for label in labels], list(wrong)
        self._ranges = self._find_ranges()
        self.cursor = min(self.cursor, max(0, len(array) - 1))
        if not self.has_focus and selected is not None and 0 <= selected < len(array):
            self.cursor = selected
        self.repaint()

    def paint(self, width: int, height: int, palette: Palette) -> list[Row]:
        if not self.images.size:
            self._layout = None
            return []
        self._layout = layout = self._fit(width, height)
        total_rows = -(-len(self.images) // layout.per_row)
        self._first = max(0, min(self._first, total_rows - layout.seen))
        rows: list[Row] = []
        for grid_row in range(self._first, min(total_rows, self._first + layout.seen)):
            first = grid_row * layout.per_row
            rows += self._image_row(range(first, min(len(self.images), first + layout.per_row)), layout, palette)
        hidden = len(self.images) - (self._first + layout.seen) * layout.per_row
        above = self._first * layout.per_row
        status = out_of_sight(above, hidden)
        if status and len(rows) < height:
            rows += [[] for _ in range(height - 1 - len(rows))]
            rows.append(status_row("", width, palette, status))
        elif status:
            short = " ".join(f"{arrow}{count}" for arrow, count in (("↑", above), ("↓", hidden)) if count > 0)
            rows[-1] = self._beside_labels(rows[-1], width, [status, short], palette)
        return rows

    @staticmethod
    def _beside_labels(labels: Row, width: int, texts: list[str], palette: Palette) -> Row:
        """The last row of labels with the first of `texts` that fits at its right end."""
        row = list(Strip(labels).adjust_cell_length(width, palette.blank))
        used = len(Strip(row).text.rstrip())
        for text in texts:
            if used + 1 + len(text) <= width:
                return overlay(row, width - len(text), text, palette.style("muted"))
        return row

    def _fit(self, width: int, height: int) -> Layout:
        """The largest whole scale at which all images fit; if none does, the smallest, and the others are scrolled to."""
        count, tall, wide = self.images.shape[:3]
        labelled = 1 if self._labels or self._wrong else 0
        longest = (
            max((len(label) for label in self._labels), default=0)
            + (2 if any(self._wrong) else 0)
            + (1 if self.selected is not None else 0)
        )
        best: Layout | None = None
        for scale in range(1, 33):
            layout = self._layout_at(tall * scale, wide * scale, labelled, longest, width, height)
            if wide * scale > width or layout.cell_rows - 1 > height:
                break
            if best is None or layout.per_row * layout.seen >= count:
                best = layout
        if best is None:  # one image is larger than the widget
            shrink = min(width / wide, 2 * max(1, height - labelled) / tall)
            best = self._layout_at(max(1, int(tall * shrink)), max(1, int(wide * shrink)), labelled, longest, width, height)
        elif best.per_row * best.seen < count and best.seen * best.cell_rows == height and not self._room_for_status(best, width):
            best = self._layout_at(best.pixel_rows, best.pixel_columns, labelled, longest, width, height - 1)
        return best

    def _room_for_status(self, layout: Layout, width: int) -> bool:
        """Whether any row of labels has room for the number of images out of sight at its right end."""
        room = width - (layout.per_row - 1) * layout.cell_columns - max((len(label) for label in self._labels), default=0)
        return room - 3 * any(self._wrong) > len(f"↑{len(self.images)} ↓{len(self.images)}")

    @staticmethod
    def _layout_at(pixel_rows: int, pixel_columns: int, labelled: int, longest: int, width: int, height: int) -> Layout:
        rows = -(-pixel_rows // 2) + labelled + (0 if labelled else 1)
        columns = max(pixel_columns, min(longest, pixel_columns + 4, 24)) + 2
        return Layout(pixel_rows, pixel_columns, rows, columns, max(1, (width + 2) // columns), max(1, (height + (not labelled)) // rows))

    def _image_row(self, indices: range, layout: Layout, palette: Palette) -> list[Row]:
        pictures = [self._picture(i, layout, palette) for i in indices]
        pad = Segment(" " * (layout.cell_columns - layout.pixel_columns), palette.blank)
        rows: list[Row] = []
        for line in range(-(-layout.pixel_rows // 2)):
            rows.append([segment for picture in pictures for segment in (*picture[line], pad)])
        if self._labels or self._wrong:
            rows.append([segment for i in indices for segment in self._label(i, layout, palette)])
        else:
            rows.append([segment for i in indices for segment in self._underline(i, layout, palette)])
        return rows

    def _picture(self, index: int, layout: Layout, palette: Palette) -> list[Row]:
        image = self.images[index]
        if image.ndim == 3:
            return rgb_rows(resample(image, layout.pixel_rows, layout.pixel_columns), palette)
        low, high = self._ranges[index if self._signed else 0]
        values = resample(np.asarray(image, dtype=np.float64), layout.pixel_rows, layout.pixel_columns)
        return level_rows(to_levels(values, low, high, self._signed), palette.signed if self._signed else palette.levels, palette)

    def _find_ranges(self) -> list[tuple[float, float]]:
        """The range of the colours: one for each image when signed, else one for all, in which zero is the lowest level."""
        if self.images.ndim == 4:
            return []
        if self.images.dtype == np.uint8:
            return [(0.0, 255.0)] * max(1, len(self.images))
        array = np.asarray(self.images, dtype=np.float64)
        array = np.where(np.isfinite(array), array, 0.0)
        if self._signed:
            return [(-end, end) for end in np.abs(array).max(axis=(1, 2), initial=0.0).tolist()]
        return [(min(0.0, float(array.min())), float(array.max()))] if array.size else [(0.0, 1.0)]

    def _label(self, index: int, layout: Layout, palette: Palette) -> Row:
        wrong = index < len(self._wrong) and self._wrong[index]
        text = (
            ("▸" if index == self.selected else "") + ("✗ " if wrong else "") + (self._labels[index] if index < len(self._labels) else "")
        )
        chosen = index == self.selected
        here = index == self.cursor and self.has_focus
        style = palette.style("accent" if chosen or here else "text" if wrong else "muted", bold=chosen or wrong, reverse=here)
        width = layout.cell_columns - 2
        return [Segment(fit(text, width), style), Segment("  ", palette.blank)]

    def _underline(self, index: int, layout: Layout, palette: Palette) -> Row:
        chosen, here = index == self.selected, index == self.cursor and self.has_focus
        mark = "▔" if here else "▸" if chosen else " "
        return [
            Segment(mark * (layout.pixel_columns if here else 1), palette.style("accent")),
            Segment(" " * (layout.cell_columns - (layout.pixel_columns if here else 1)), palette.blank),
        ]

    def _reveal(self) -> None:
        if self._layout is not None:
            row = self.cursor // self._layout.per_row
            self._first = min(max(self._first, row - self._layout.seen + 1), row)
        self.repaint()

    def action_move(self, by: int) -> None:
        if len(self.images):
            self.cursor = min(max(self.cursor + by, 0), len(self.images) - 1)
            self._reveal()

    def action_move_row(self, by: int) -> None:
        if self._layout is not None and 0 <= self.cursor + by * self._layout.per_row < len(self.images):
            self.action_move(by * self._layout.per_row)

    def action_select(self) -> None:
        if len(self.images):
            self.post_message(self.Selected(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        layout, offset = self._layout, event.get_content_offset_capture(self)
        if layout is None or offset.x // layout.cell_columns >= layout.per_row or offset.y // layout.cell_rows >= layout.seen:
            return
        index = (self._first + offset.y // layout.cell_rows) * layout.per_row + offset.x // layout.cell_columns
        if 0 <= index < len(self.images):
            self.cursor = index
            self.repaint()
            self.post_message(self.Selected(self, index))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll(event, 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll(event, -1)

    def _scroll(self, event: events.MouseEvent, by: int) -> None:
        layout = self._layout
        if layout is not None:
            last = -(-len(self.images) // layout.per_row) - layout.seen
            first = min(max(self._first + by, 0), max(0, last))
            if first != self._first:
                event.stop()
                self._first = first
                self.repaint()
