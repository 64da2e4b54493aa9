"""Maps, images, points, bars, words, tables and the pad in a running app: what stands on the screen, what keys and mouse do."""

import re

import numpy as np
import pytest
from textual import events

from dlplay.widgets import Bars, HeatMap, ImageGrid, PixelPad, Scatter, TableView, TokenStrip
from dlplay.widgets.drawing.palette import Palette
from dlplay.widgets.drawing.rows import Row
from tests.widget_stage import Stage, text, until


@pytest.fixture(autouse=True)
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


# --- maps, images, points -----------------------------------------------------------------------------------------------------------


async def test_a_heat_map_prints_counts_and_reads_out_values() -> None:
    widget = HeatMap()
    async with Stage(widget).run_test(size=(60, 14)) as pilot:
        counts = np.arange(9).reshape(3, 3)
        widget.show(counts, ["cat", "dog", "cow"], ["cat", "dog", "cow"], "true", "taken for", counts=True)
        rows = text(widget)
        assert "↓ true · → taken for" in rows[-1]
        assert all(str(n) in "\n".join(rows) for n in range(1, 9))
        await pilot.press("right", "right", "down")
        assert text(widget)[-1].startswith("dog → dog: 4")
        await pilot.press("enter")
        stage = widget.app
        assert isinstance(stage, Stage)
        await until(pilot, lambda: stage.heard)
        message = stage.heard[0]
        assert isinstance(message, HeatMap.Selected)
        assert (message.row, message.column) == (1, 1)


@pytest.mark.parametrize(
    ("width", "shown"),
    [(60, ["86.5 %", "100 %", "3.4 %"]), (34, ["86 %", "100 %", "3 %"]), (28, ["86", "100", "3"]), (20, ["86", "3", "86"])],
)
async def test_percentages_in_cells_never_touch(width: int, shown: list[str]) -> None:
    """Where there is no room for all digits, those of all cells are left out; then only what fits is printed."""
    widget = HeatMap()
    async with Stage(widget).run_test(size=(width, 14)):
        widget.show(np.tile([0.865, 1.0, 0.034], (2, 5))[:, :5], ["one", "two"], list("abcde"), counts=True, percent=True, low=0.0)
        first = next(line for line in text(widget) if line.startswith("one"))
        printed = re.sub("[░▒▓█]", " ", first.removeprefix("one"))
        assert re.findall(r"(?<!\S)[\d.]+(?: %)?(?!\S)", printed)[:3] == shown


@pytest.mark.parametrize("colours", ["truecolor", ""])
async def test_a_hatched_cell_is_empty_in_every_second_place(colours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", colours)
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    widget = HeatMap()
    async with Stage(widget).run_test(size=(60, 14)):
        mask = np.zeros((4, 4), bool)
        mask[0, 0] = True
        widget.show(np.ones((4, 4)), low=0.0, high=1.0)
        plain = widget.paint(60, 14, Palette.of(widget))
        widget.show(np.ones((4, 4)), low=0.0, high=1.0, hatched=mask)
        marked = widget.paint(60, 14, Palette.of(widget))
        grid = widget._grid
        assert grid is not None

        def cells(rows: list[Row]) -> list[list[tuple[str, object]]]:
            return [[(letter, segment.style) for segment in row for letter in segment.text] for row in rows]

        before, after = cells(plain), cells(marked)
        changed = {(y, x) for y in range(len(before)) for x in range(len(before[y])) if before[y][x] != after[y][x]}
        assert changed == {(y, x) for y in range(grid.tall // 2) for x in range(grid.wide) if (x + y) % 2 == 0}
        with pytest.raises(ValueError, match="hatched has the shape"):
            widget.show(np.ones((4, 4)), hatched=mask[:2])


async def test_clicking_a_heat_map_chooses_the_value_under_the_pointer() -> None:
    widget = HeatMap()
    stage = Stage(widget)
    async with stage.run_test(size=(60, 14)) as pilot:
        widget.show(np.eye(4))
        text(widget)
        grid = widget._grid
        assert grid is not None
        await pilot.click(widget, (grid.left + 2 * grid.wide, grid.top + 3 * grid.tall // 2))
        await until(pilot, lambda: stage.heard)
        message = stage.heard[0]
        assert isinstance(message, HeatMap.Selected)
        assert (message.row, message.column) == (3, 2)


async def test_a_matrix_that_does_not_fit_says_that_it_shows_means() -> None:
    widget = HeatMap()
    async with Stage(widget).run_test(size=(70, 10)):
        widget.show(np.random.default_rng(0).random((300, 500)))
        assert "300 x 500, averages of neighbours" in text(widget)[-1]


async def test_images_carry_labels_and_crosses_and_can_be_chosen() -> None:
    widget = ImageGrid()
    stage = Stage(widget)
    async with stage.run_test(size=(70, 15)) as pilot:
        widget.show(np.random.default_rng(0).random((40, 8, 8)), [f"image{i}" for i in range(40)], [i == 1 for i in range(40)], selected=0)
        seen = "\n".join(text(widget))
        assert "▸image0" in seen
        assert "✗ image1" in seen
        assert "more ↓" in seen
        await pilot.press("right", "enter")
        await until(pilot, lambda: stage.heard)
        await pilot.click(widget, (2, 2))
        await until(pilot, lambda: len(stage.heard) == 2)
        assert [m.index for m in stage.heard if isinstance(m, ImageGrid.Selected)] == [1, 0]
        await pilot.press(*["down"] * 20)
        assert "above ↑" in "\n".join(text(widget))


async def test_a_scatter_plot_names_groups_and_reads_out_points() -> None:
    widget = Scatter()
    stage = Stage(widget)
    async with stage.run_test(size=(60, 14)) as pilot:
        widget.show([[0, 0], [1, 1], [2, 0]], [0, 1, 0], ["cats", "dogs"], ["Tom", "Rex", "Kit"], x_title="size", y_title="noise")
        rows = text(widget)
        assert "● cats" in rows[0]
        assert "▲ dogs" in rows[0]
        assert "Rex" in "\n".join(rows)
        await pilot.press("right", "up", "enter")
        assert text(widget)[-1].startswith("Rex · dogs · size 1, noise 1")
        await until(pilot, lambda: stage.heard)


# --- bars, words, tables ------------------------------------------------------------------------------------------------------------


async def test_bars_are_as_long_as_their_values() -> None:
    widget = Bars()
    async with Stage(widget).run_test(size=(50, 5)):
        widget.show(["a", "b", "c", "d"], [1.0, 0.5, 0.25, 0.0], high=1.0)
        lengths = [row.count("█") for row in text(widget)]
        assert lengths[0] == pytest.approx(2 * lengths[1], abs=1)
        assert lengths[0] == pytest.approx(4 * lengths[2], abs=3)
        assert lengths[3] == 0


async def test_bars_below_zero_point_the_other_way() -> None:
    widget = Bars()
    async with Stage(widget).run_test(size=(40, 2)):
        widget.show(["left", "right"], [-1.0, 1.0])
        below, above = text(widget)
        assert below.index("█") < above.index("█")
        assert below.rindex("█") <= above.index("█")


async def test_the_chosen_bar_is_marked_and_digits_pick() -> None:
    widget = Bars(numbered=True)
    stage = Stage(widget)
    async with stage.run_test(size=(50, 12)) as pilot:
        widget.show([f"word{i}" for i in range(10)], [0.1] * 10, percent=True, chosen=2)
        rows = text(widget)
        assert rows[2].startswith("▸3 word2")
        assert rows[9].startswith(" 0 word9")
        await pilot.press("3", "0")
        await pilot.click(widget, (10, 4))
        await until(pilot, lambda: len(stage.heard) == 3)
        assert [m.index for m in stage.heard if isinstance(m, Bars.Selected)] == [2, 9, 4]


async def test_bars_that_do_not_fit_are_scrolled_to() -> None:
    widget = Bars()
    async with Stage(widget).run_test(size=(40, 5)) as pilot:
        widget.show([f"word{i}" for i in range(10)], list(range(10)))
        assert "6 more ↓" in text(widget)[-1]
        await pilot.press(*["down"] * 9)
        rows = text(widget)
        assert "word9" in rows[-2]
        assert "6 above ↑" in rows[-1]


async def test_words_wrap_and_notes_are_read_out() -> None:
    widget = TokenStrip()
    stage = Stage(widget)
    async with stage.run_test(size=(20, 5)) as pilot:
        widget.show(["the", "tower", "is", "very", "tall"], [None, 0.2, 0.9, 0.5, 1.0], ["first", "", "note on is"])
        rows = text(widget)
        assert "the" in rows[0]
        assert "tall" in rows[1]
        await pilot.press("right")
        assert text(widget)[-1].startswith("tower  20.0 %")
        await pilot.press("right", "enter")
        assert text(widget)[-1].startswith("note on is")
        await until(pilot, lambda: stage.heard)
        assert [m.index for m in stage.heard if isinstance(m, TokenStrip.Selected)] == [2]


async def test_a_table_is_aligned_and_scrolls() -> None:
    widget = TableView()
    stage = Stage(widget)
    async with stage.run_test(size=(40, 6)) as pilot:
        widget.show(["name", "norm"], [[f"layer {i}", f"{10.0**i:,.0f}"] for i in range(8)], right=[1])
        rows = text(widget)
        assert rows[1].rstrip().endswith(" 1")
        assert len({len(row.rstrip()) for row in rows[:5]}) == 1
        assert "4 more ↓" in rows[-1]
        await pilot.press("down", "enter")
        await until(pilot, lambda: stage.heard)
        assert [m.row for m in stage.heard if isinstance(m, TableView.Selected)] == [1]


async def test_the_column_that_names_the_rows_is_whole_and_stays_when_the_others_are_shifted() -> None:
    widget = TableView()
    stage = Stage(widget)
    async with stage.run_test(size=(44, 6)) as pilot:
        names = [f"blocks.{i}.head.2" for i in range(3)]
        columns = ["head", "without it", "previous", "first", "same token", "induction"]
        widget.show(columns, [[name, *(f"{c}{i}" for c in "abcde")] for i, name in enumerate(names)], right=[1, 2, 3, 4, 5])
        assert all(name in row for name, row in zip(names, text(widget)[1:], strict=False))
        assert "induction" not in text(widget)[0]
        await pilot.press(*["right"] * 4)
        await until(pilot, lambda: "induction" in text(widget)[0])
        assert all(name in row for name, row in zip(names, text(widget)[1:], strict=False))
        await pilot.press(*["left"] * 9)
        await until(pilot, lambda: "without it" in text(widget)[0])


# --- the pad ------------------------------------------------------------------------------------------------------------------------


async def test_a_quick_drag_leaves_no_holes() -> None:
    pad = PixelPad(8, 8)
    stage = Stage(pad)
    async with stage.run_test(size=(40, 9)) as pilot:
        text(pad)
        left, top, tall, wide = pad._area
        y = top + tall // 4
        await pilot.mouse_down(pad, (left, y))
        pad.post_message(events.MouseMove(pad, left + wide - 1, y, wide - 1, 0, 1, False, False, False, left + wide - 1, y))
        await until(pilot, lambda: len(stage.heard) >= 2)
        await pilot.mouse_up(pad, (left + wide - 1, y))
        assert pad.pixels[4].tolist() == [16.0] * 8
        assert 0 < pad.pixels[3, 4] < 16
        assert pad.pixels.max() == 16


async def test_drawing_and_erasing_with_keys() -> None:
    pad = PixelPad(8, 8)
    stage = Stage(pad)
    async with stage.run_test(size=(40, 9)) as pilot:
        await pilot.press("p", "right", "right", "p", "down")
        assert pad.pixels[4, 4:7].tolist() == [16.0] * 3
        assert pad.pixels[5, 6] < 16
        message = stage.heard[-1]
        assert isinstance(message, PixelPad.Changed)
        assert message.pixels[4, 6] == 16
        await pilot.press("x", "up", "d")
        assert pad.pixels[4, 6] == 0
        await pilot.press("c")
        assert not pad.pixels.any()


async def test_a_drawing_is_set_within_bounds() -> None:
    pad = PixelPad(2, 2, levels=4)
    async with Stage(pad).run_test(size=(20, 5)):
        pad.set(np.array([[9, -1], [np.nan, 2]]))
        assert pad.pixels.tolist() == [[4, 0], [0, 2]]
        with pytest.raises(ValueError, match="2 x 2 pixels, not \\(3, 3\\)"):
            pad.set(np.zeros((3, 3)))


async def test_labels_that_narrow_columns_cannot_hold_are_thinned_and_none_of_them_is_cut() -> None:
    widget = HeatMap()
    async with Stage(widget).run_test(size=(60, 12)):
        words = [f"word{i}" for i in range(24)]
        widget.show(np.zeros((4, 24)), ["a", "b", "c", "d"], words)
        assert text(widget)[0].split() == [f"╷word{i}" for i in (0, 4, 8, 12, 16, 20)]
        widget.show(np.zeros((4, 24)), ["a", "b", "c", "d"], [str(i) for i in range(24)])
        widget.show(np.zeros((4, 24)), ["a", "b", "c", "d"], [f"{i / 100}" for i in range(1, 25)])
        assert set(text(widget)[0].split()) < {f"{i / 100}" for i in range(1, 25)}, "none is cut"
        widget.show(np.zeros((4, 24)), ["a", "b", "c", "d"], [str(i) for i in range(24)])
        assert text(widget)[0].split() == ["0", "2", "4", "6", "8", "10", "12", "14", "16", "18", "20", "22"]


WORDS = ["[CLS]", *["if", "the", "nameerror", "is", "not", "found", ",", "a", "nameerror", "exception", "is", "raised", "."], "[SEP]"]
"""15 rows and columns of an attention map."""


async def test_an_attention_map_uses_the_room_and_every_row_is_labelled() -> None:
    widget = HeatMap()
    async with Stage(widget).run_test(size=(88, 18)):
        widget.show(np.eye(15), WORDS, WORDS)
        assert [row.split()[0] for row in text(widget)[1:16]] == WORDS, "one line a row where there is room"
        assert text(widget)[0].split() == [
            "[CLS",
            "if",
            "the",
            "name",
            "is",
            "not",
            "foun",
            ",",
            "a",
            "name",
            "exce",
            "is",
            "rais",
            ".",
            "[SEP",
        ]
        assert "…" not in text(widget)[0]
    async with Stage(widget := HeatMap()).run_test(size=(88, 11)):
        widget.show(np.eye(15), WORDS, WORDS)
        assert [word for row in text(widget)[1:9] for word in re.split(r"[ │]+", row[:20].strip())] == WORDS, (
            "two rows in a line, both labelled"
        )
        assert "means" not in text(widget)[-1]


async def test_a_label_over_a_narrower_column_says_where_its_column_is() -> None:
    widget = HeatMap()
    async with Stage(widget).run_test(size=(50, 8)):
        words = ["cat", "red", "paris", "plum", "gold", "tea", *["."] * 32]
        weights = np.full((3, 38), 0.001)
        weights[:, 2], weights[1, 30] = 0.9, 0.5
        widget.show(weights, ["animal", "cat", "city"], words, low=0.0, high=1.0)
        head, body = text(widget)[0], text(widget)[1]
        assert widget._grid is not None
        assert widget._grid.wide == 1
        assert head.index("╷paris") == widget._grid.left + 2, "where the weight is, a tick above its column"
        assert "cat" not in head
        assert "red" not in head, "there is no room"
        for place, mark in enumerate(head):
            assert mark != "╷" or head[place + 1 :].startswith(words[place - widget._grid.left])
        assert len(body) == 50


async def test_too_many_rows_leave_the_columns_as_wide_as_they_can_be() -> None:
    widget = HeatMap()
    async with Stage(widget).run_test(size=(60, 8)):
        widget.show(np.eye(40, 3), [f"row {i}" for i in range(40)], ["one", "two", "three"])
        assert "40 x 3, averages of neighbours" in text(widget)[-1]
        assert text(widget)[0].split() == ["one", "two", "three"]


async def test_columns_that_share_a_cell_are_labelled_here_and_there() -> None:
    widget = HeatMap()
    async with Stage(widget).run_test(size=(50, 8)):
        widget.show(np.eye(4, 80), WORDS[:4], [f"token{i:02}" for i in range(80)])
        labels = text(widget)[0].split()
        assert labels[:2] == ["╷token00", "╷token18"]
        assert all(len(label) == 8 for label in labels)


async def test_a_matrix_of_one_value_is_no_slab() -> None:
    widget = HeatMap()
    async with Stage(widget).run_test(size=(60, 14)):
        widget.show(np.ones((1, 1)), ["red"], ["red"])
        assert widget._grid is not None
        assert (widget._grid.pixel_columns, widget._grid.pixel_rows) == (8, 4)


async def test_two_series_have_two_numbers_where_there_is_room_and_a_tick_makes_no_hole_in_a_bar() -> None:
    widget = Bars()
    async with Stage(widget).run_test(size=(80, 4)):
        widget.show(["paris", "rome"], [0.98, 0.01], second=[0.1, 0.11], names=["with memory", "without"], percent=True, high=1.0)
        assert text(widget)[1].split()[-4:] == ["98.0", "%", "10.0", "%"]
        tick, bar = (next(s for s in widget.render_line(1) if glyph in s.text) for glyph in "┃█")
        assert tick.style is not None
        assert bar.style is not None
        assert tick.style.bgcolor == bar.style.color
    async with Stage(widget := Bars()).run_test(size=(30, 4)):
        widget.show(["paris", "rome"], [0.98, 0.01], second=[0.1, 0.11], names=["with memory", "without"], percent=True, high=1.0)
        assert "10.0" not in text(widget)[1]


async def test_labels_of_bars_take_what_they_need_before_they_are_cut() -> None:
    widget = Bars()
    async with Stage(widget).run_test(size=(46, 2)):
        widget.show(["encoder 0 self-attention", "final norm"], [12.25, 0.5])
        assert "encoder 0 self-attention" in text(widget)[0]
