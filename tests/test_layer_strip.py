"""A forward pass as one picture, the strip of curves, a plane and a pad with a picture behind."""

import numpy as np
import pytest

from dlplay.engine.panels import Array, HeatMap, ImageGrid, Table
from dlplay.screen.curve_strip import curve_lines
from dlplay.screen.stages.plane import picture_of
from dlplay.widgets import Layer, LayerStrip, PixelPad, Plane
from tests.widget_stage import Stage, text, until

BARS = Layer("next word", values=[0.58, 0.1], labels=["the", "a"], percent=True, chosen=0)


async def test_layers_stand_side_by_side_from_the_input_to_the_output() -> None:
    widget = LayerStrip()
    async with Stage(widget).run_test(size=(72, 8)):
        read = Layer("read", labels=["the", "value", "of"])
        maps = Layer("layer 0", images=np.ones((4, 6, 6)))
        state = Layer("hidden", values=np.linspace(-1, 1, 40).tolist(), signed=True)
        widget.show([read, maps, state, BARS])
        rows = text(widget)
        assert [rows[0].index(title) for title in ("read", "layer 0", "hidden", "next word")] == sorted(
            rows[0].index(title) for title in ("read", "layer 0", "hidden", "next word")
        )
        assert sum(row.count("→") for row in rows) == 3
        assert any("the value of" in row for row in rows)
        assert any("the" in row and "58 %" in row for row in rows)


async def test_no_title_is_cut_while_another_layer_has_cells_to_spare() -> None:
    widget = LayerStrip()
    async with Stage(widget).run_test(size=(50, 9)) as pilot:
        image = np.ones((1, 8, 8))
        widget.show(
            [
                Layer("input", images=image),
                *(Layer(f"encoder {n}", values=[1.0] * 9) for n in (1, 2)),
                Layer("reconstruction", images=image),
            ]
        )
        assert text(widget)[0].split() == ["input", "encoder", "1", "encoder", "2", "reconstruction"]
        cities = Layer("embedding", values=[0.4, 0.3], labels=["delhi", "berlin"], percent=True)
        widget.show(
            [
                Layer("read", labels=["a", "b"]),
                Layer("memory", labels=["."] * 20),
                cities,
                Layer("layer 0", values=[0.5], labels=["ottawa"], percent=True),
            ]
        )
        assert all(any(name in row for row in text(widget)) for name in ("delhi", "berlin", "ottawa"))
        await pilot.resize_terminal(34, 9)
        assert len(text(widget)) == 9


async def test_layers_that_do_not_fit_go_on_in_a_second_row() -> None:
    widget = LayerStrip()
    async with Stage(widget).run_test(size=(30, 12)):
        widget.show([Layer(f"layer {number}", values=[0.0, 1.0]) for number in range(5)])
        rows = text(widget)
        assert "layer 0" in rows[0]
        assert any("layer 4" in row for row in rows[1:])
        assert sum(row.count("→") for row in rows) == 4


async def test_every_image_is_seen_where_there_is_room_and_the_first_ones_where_there_is_none() -> None:
    widget = LayerStrip()
    images = np.stack([np.full((8, 8), number / 16) for number in range(1, 17)])
    async with Stage(widget).run_test(size=(60, 20)) as pilot:
        widget.show([Layer("maps", images=images)])
        tones = {tone for row in text(widget)[1:] for tone in row}
        assert len(tones) >= 5, "the sixteen images have levels of their own"
        await pilot.resize_terminal(10, 4)
        assert text(widget)[0].startswith("maps")


async def test_layers_of_a_wrong_shape_are_refused_in_words() -> None:
    widget = LayerStrip()
    async with Stage(widget).run_test(size=(40, 6)):
        with pytest.raises(ValueError, match=r"layer 0: images are \(count, height, width\)"):
            widget.show([Layer("layer 0", images=np.ones((6, 6)))])
        with pytest.raises(ValueError, match="next: 2 labels for 1 values"):
            widget.show([Layer("next", values=[0.5], labels=["a", "b"])])


def test_a_curve_of_braille_rises_where_the_values_do() -> None:
    x = np.arange(100.0)
    rising = curve_lines(x, x, 10, 2)
    assert [len(line) for line in rising] == [10, 10]
    assert rising[0][:4].strip() == ""
    assert rising[1][0] != " "
    assert rising[0][-1] != " "
    level = curve_lines(x, np.full(100, 3.0), 10, 2)
    assert level[0].strip() != ""
    assert level[1].strip() == "", "a constant stands at the top"
    assert curve_lines(np.zeros(0), np.zeros(0), 4, 2) == ["    ", "    "]
    assert "".join(curve_lines(x, np.where(x == 5, np.nan, x), 10, 2)) != ""


def test_a_picture_of_the_plane_is_a_matrix_or_images_in_rows() -> None:
    numbers = np.arange(6.0).reshape(2, 3)
    found = picture_of(HeatMap(values=Array.of(numbers)))
    assert found is not None
    assert found.tolist() == numbers.tolist()
    images = np.arange(4.0)[:, None, None] * np.ones((4, 2, 2))
    tiled = picture_of(ImageGrid(images=Array.of(images)))
    assert tiled is not None
    assert tiled[::2, ::2].tolist() == [[0, 1], [2, 3]]
    assert picture_of(ImageGrid(images=Array.of(np.ones((3, 2, 2))))) is None
    assert picture_of(Table(columns=[], rows=[])) is None


async def test_the_cursor_stands_on_the_picture_of_a_plane() -> None:
    plane = Plane((-1, 1, -1, 1))
    async with Stage(plane).run_test(size=(21, 12)) as pilot:
        bare = text(plane)
        plane.show_picture(np.arange(100.0).reshape(10, 10))
        painted = text(plane)
        assert any("╌" in row for row in bare)
        assert not any("╌" in row for row in painted)
        assert sum(row.count("◉") for row in painted) == 1
        await pilot.press("right")
        assert text(plane) != painted
        with pytest.raises(ValueError, match="a picture of the plane"):
            plane.show_picture(np.ones(3))


@pytest.mark.parametrize(
    ("width", "said"), [(44, "Latent grid: KL up to 0.15 nats, -3 to 3"), (30, "KL up to 0.15 nats, -3 to 3"), (20, "KL up to 0.15 nats")]
)
async def test_what_the_colours_of_a_plane_mean_is_said_above_it(width: int, said: str) -> None:
    plane = Plane((-3, 3, -3, 3))
    async with Stage(plane).run_test(size=(width, 14)):
        plane.set_heading("Latent grid")
        plane.show_picture(np.ones((3, 3)), "KL up to 0.15 nats")
        assert text(plane)[0].strip() == said
        plane.show_picture(np.ones((3, 3)))
        assert text(plane)[0].strip() in ("Latent grid -3 to 3", "-3 to 3")


async def test_the_eraser_takes_away_from_the_picture_behind_and_the_pen_begins_anew() -> None:
    pad = PixelPad(8, 8)
    async with Stage(pad).run_test(size=(20, 6)) as pilot:
        pad.show_behind(np.ones((16, 16)))
        assert not pad.pixels.any(), "it is shown, not drawn"
        await pilot.press("x", "d")
        assert pad.pixels[pad.cursor] == 0
        assert (pad.pixels == 16).sum() > 50
        await pilot.press("c")
        empty = pad.render_line(0)
        await pilot.press("i")
        assert pad.render_line(0) != empty, "the picture comes back with a key of its own, not by clearing"
        await pilot.press("c", "d")
        assert 1 <= (pad.pixels > 0).sum() <= 5


async def test_a_layer_is_selected_with_keys_and_mouse_where_it_can_be() -> None:
    widget = LayerStrip()
    app = Stage(widget)
    async with app.run_test(size=(60, 8)) as pilot:
        widget.show([Layer("read", labels=["the"]), *(Layer(f"layer {n}", values=[0.0, 1.0], can_be_selected=True) for n in range(3))])
        await until(pilot, lambda: widget.has_focus)
        await pilot.press("right", "enter")
        title = text(widget)[0]
        await pilot.click(widget, (title.index("layer 2") + 1, 0))
        await pilot.click(widget, (title.index("read") + 1, 0))
        await pilot.press("left", "left", "left", "enter")
        await until(pilot, lambda: len(app.heard) == 3)
        assert [message.index for message in app.heard if isinstance(message, LayerStrip.Selected)] == [2, 3, 1]
        widget.select(1)
        widget.show([Layer("read", labels=["the"])])
        await pilot.press("enter")
        assert len(app.heard) == 3, "there is nothing to select any more"


async def test_names_are_told_apart_where_there_is_little_room_and_one_number_has_no_bar() -> None:
    widget = LayerStrip()
    async with Stage(widget).run_test(size=(38, 5)):
        actions = Layer("Q", labels=["push gently left", "push gently right"], values=[1.0, 2.0])
        widget.show([Layer("x", values=[1.0]), Layer("y", values=[1.0]), actions])
        rows = "\n".join(text(widget))
        assert "left" in rows
        assert "right" in rows
        assert "push" not in rows
        widget.show([Layer("score", labels=["score"], values=[-0.5])])
        assert "█" not in "\n".join(text(widget))
        assert "-0.50" in "\n".join(text(widget))
