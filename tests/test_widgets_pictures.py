"""Frames, points and planes: what can be told apart, what a click means, what is dropped."""

import time

import numpy as np
import pytest

from dlplay.widgets import FrameView, Plane, Scatter
from dlplay.widgets.drawing import ansi
from dlplay.widgets.drawing.cells import resample
from dlplay.widgets.drawing.palette import MARKERS, palette
from dlplay.widgets.frame_view import crisp_size, invert_white
from tests.widget_stage import Stage, text, until

SCENE = palette((30, 30, 30), (224, 224, 224), (255, 166, 43), "full")
MONO = palette((30, 30, 30), (224, 224, 224), (255, 166, 43), "mono")


@pytest.fixture(autouse=True)
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


def painted(widget: Scatter | FrameView, width: int, height: int, scene: object = SCENE) -> list[str]:
    return ["".join(segment.text for segment in row) for row in widget.paint(width, height, scene)]  # type: ignore[arg-type]


# --- frames -----------------------------------------------------------------------------------------------------------------------


def test_a_thin_pole_is_not_lost_when_a_frame_is_made_smaller() -> None:
    frame = np.full((400, 600, 3), 255, np.uint8)
    frame[100:300, 299:302] = 0  # a pole of three pixels
    small = resample(frame, 60, 90)
    assert small.shape == (60, 90, 3)
    assert (small[20:44].min(axis=(1, 2)) < 180).all(), "it is seen in every row"
    assert small.mean() == pytest.approx(frame.mean(), abs=1e-6), "exactly the area's mean"


def test_a_frame_grows_by_whole_steps_only() -> None:
    assert crisp_size(10, 20, rows=10, columns=70) == (20, 40)
    assert crisp_size(30, 40, rows=20, columns=100) == (30, 40)
    assert crisp_size(400, 600, rows=20, columns=200) == (40, 60)


def test_where_the_scene_ends_there_is_a_line_and_where_it_goes_on_an_arrow() -> None:
    widget = FrameView()
    widget.show(np.full((10, 20, 3), 90, np.uint8), ends=[True, False])
    rows = painted(widget, 30, 5)
    assert [row[4] for row in rows] == ["│"] * 5
    assert [row[25] for row in rows] == [" ", " ", "›", " ", " "]
    rows = painted(widget, 20, 5)
    assert [row[0] for row in rows] == ["│"] * 5, "over the picture where it fills the width"
    widget.show(np.full((10, 20, 3), 90, np.uint8))
    assert "│" not in "".join(painted(widget, 30, 5))


def test_white_paper_takes_the_colour_of_a_dark_ground_and_other_pictures_stay() -> None:
    drawing = np.full((10, 10, 3), 255, np.uint8)
    drawing[5] = (0, 0, 0)
    dark = invert_white(drawing, (20, 24, 30))
    assert dark[0, 0].tolist() == [20, 24, 30]
    assert dark[5, 5].tolist() == pytest.approx([255, 255, 255])
    night = np.zeros((10, 10, 3), np.uint8)
    assert invert_white(night, (20, 24, 30)) is night


def test_text_keeps_its_colours_and_nothing_else_that_moves_a_terminal() -> None:
    hostile = "SF\x1b[41mF\x1b[0m\x1b]0;title\x07\x1b[2J\x1b[10;10H\x08\nHG\u202e"
    assert ansi.sanitise(hostile) == "SF\x1b[41mF\x1b[0m\nHG"
    widget = FrameView()
    widget.show(np.zeros((0, 0, 3)), hostile)
    rows = painted(widget, 12, 4)
    assert [row.split() for row in rows if row.strip()] == [["S", "F", "F"], ["H", "G"]]
    marked = [
        s
        for row in widget.paint(12, 4, SCENE)
        for s in row
        if s.style is not None and s.style.bgcolor == ansi.lines("\x1b[41mF")[0].spans[0].style.bgcolor
    ]  # type: ignore[union-attr]
    assert "".join(s.text for s in marked).strip() == "F"
    reversed_ = [s.text.strip() for row in widget.paint(12, 4, MONO) for s in row if s.style is not None and s.style.reverse]
    assert "F" in reversed_, "without colours the marked place is seen as well"


# --- points -----------------------------------------------------------------------------------------------------------------------


def test_real_and_made_are_told_apart_without_colour() -> None:
    widget = Scatter()
    widget.show([[0, 0], [1, 1], [2, 2], [2, 2]], [0, 1, 0, 1], ["real", "made"], bounds=(0, 2, 0, 2))
    rows = painted(widget, 30, 9, MONO)
    assert rows[0].split() == ["●", "real", "▲", "made", "◈", "both"]
    assert "●" in rows[7]
    assert "▲" in rows[4]
    assert "◈" in rows[1]
    widget.show([[0, 0], [1, 1], [2, 2], [2, 2], [0, 2]], [0, 1, 0, 1, 2], ["real", "made", "cursor"], bounds=(0, 2, 0, 2), marked=4)
    for width in range(24, 40):  # in one line or in two
        rows = painted(widget, width, 9, MONO)
        assert len(rows) == 9
        assert "◈ both" in "\n".join(rows), "beside one point that stands out, too"


def test_arrows_leave_some_cells_that_both_kinds_share_in_sight() -> None:
    widget = Scatter()
    places = [[x, 0] for x in range(20)]
    arrows = [[0, 0]] * 20 + [[1, 0]] * 20
    widget.show(places * 2, [0] * 20 + [1] * 20, ["real", "made"], arrows=arrows, bounds=(0, 19, -1, 1))
    rows = "".join(painted(widget, 22, 8, MONO)[1:-1])
    assert "⇒" in rows
    assert "◈" in rows


@pytest.mark.parametrize("size", [(60, 12), (20, 30)])
def test_a_ring_is_round_where_both_axes_have_one_scale(size: tuple[int, int]) -> None:
    angles = np.linspace(0, 2 * np.pi, 200)
    widget = Scatter()
    widget.show(np.stack([np.cos(angles), np.sin(angles)], 1), bounds=(-1, 1, -1, 1))
    rows = painted(widget, *size, MONO)
    assert len(rows) == size[1]
    marks = [(y, x) for y, row in enumerate(rows) for x, cell in enumerate(row) if cell == "●"]
    tall, wide = (1 + max(at) - min(at) for at in zip(*marks, strict=True))
    assert wide == pytest.approx(2 * tall, abs=1)
    widget.show(np.stack([np.cos(angles), np.sin(angles)], 1))
    assert max(x for row in painted(widget, *size, MONO) for x, cell in enumerate(row) if cell == "●") > size[0] * 0.8, (
        "else the whole width"
    )


@pytest.mark.parametrize(("arrow", "glyph"), [((1, 0), "⇒"), ((0.1, 0.1), "↗"), ((0, -1), "⇓"), ((-0.3, 0), "←"), ((0, 0), "▲")])
def test_an_arrow_says_where_to_and_roughly_how_far(arrow: tuple[float, float], glyph: str) -> None:
    widget = Scatter()
    widget.show([[0, 0], [5, 5]], [1, 0], ["real", "made"], arrows=[arrow, (1, 0)], background=np.eye(4))
    assert glyph in painted(widget, 30, 12)[-2]


def test_a_point_that_stands_out_is_in_front_of_all_others() -> None:
    widget = Scatter()
    points, groups = [[0, 0], [1, 1], [1, 1], [1, 1]], [0, 0, 0, 1]
    widget.show(points, groups, ["real", "own"], bounds=(0, 2, 0, 2), arrows=[(0, 0), (1, 0)], marked=3)
    rows = painted(widget, 30, 9, MONO)
    assert rows[0].split() == ["●", "real", "◉", "own"]
    assert "◉" in rows[4]
    assert "⇒" not in rows[4]
    widget.show(points, groups, ["real", "own"], bounds=(0, 2, 0, 2))
    assert "◉" not in "".join(painted(widget, 30, 9, MONO))


@pytest.mark.parametrize("size", [(46, 12), (34, 14), (26, 14), (60, 8)])
@pytest.mark.parametrize(
    "names",
    [[str(digit) for digit in range(10)], ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Bag", "Ankle boot"]],
)
async def test_every_class_stands_in_the_legend(size: tuple[int, int], names: list[str]) -> None:
    widget = Scatter()
    async with Stage(widget).run_test(size=size) as pilot:
        widget.show([[n, 0] for n in range(len(names))], range(len(names)), names, bounds=(0, len(names) - 1, -1, 1))
        rows = text(widget)
        legend = rows[: widget._plane[0]]
        assert len(legend) <= size[1] // 3
        for marker, name in zip(MARKERS, names, strict=False):
            assert sum(marker in row for row in legend) == 1
            assert any(f"{marker} {name}" in row for row in legend) or len("".join(names)) > size[0], "\n".join(legend)
        await pilot.hover(widget, (0, widget._plane[0] + (widget._plane[1] - 1) // 2))
        await until(pilot, lambda: names[0] in text(widget)[-1])


def test_what_low_and_high_look_like_is_said() -> None:
    widget = Scatter()
    widget.show([[0, 0]], background=[[0.25, 3.5]], bounds=(-1, 1, -1, 1))
    last = painted(widget, 60, 12)[-1]
    assert " 0.25 " in last
    assert last.endswith(" 3.5")


async def test_a_place_is_picked_with_the_mouse_and_with_keys() -> None:
    widget = Scatter()
    stage = Stage(widget)
    async with stage.run_test(size=(41, 12)) as pilot:
        widget.show([[0.5, 0.5]], bounds=(-2, 2, -1, 1), pick="place")
        text(widget)
        await pilot.click(widget, (40, 0))
        await until(pilot, lambda: stage.heard)
        message = stage.heard[0]
        assert isinstance(message, Scatter.Placed)
        assert (message.x, message.y) == (2.0, 1.0)
        await pilot.press("left", "shift+left", "down", "enter")
        await until(pilot, lambda: len(stage.heard) == 2)
        message = stage.heard[1]
        assert isinstance(message, Scatter.Placed)
        assert (message.x, message.y) == pytest.approx((1.4, 0.8))
        assert "x 1.4" in text(widget)[-1]


def test_a_thousand_points_are_painted_quickly() -> None:
    random = np.random.default_rng(0)
    widget = Scatter()
    widget.show(
        random.normal(size=(2000, 2)), random.integers(0, 2, 2000).tolist(), ["real", "made"], background=random.normal(size=(40, 40))
    )
    best = min(_seconds(widget) for _ in range(5))
    assert best < 0.1, "far more than it takes, so that only a loop over all points fails this"


def _seconds(widget: Scatter) -> float:
    began = time.perf_counter()
    widget.paint(46, 14, SCENE)
    return time.perf_counter() - began


# --- the plane --------------------------------------------------------------------------------------------------------------------


async def test_the_cursor_of_a_plane_follows_the_mouse_and_goes_home() -> None:
    widget = Plane((-1.0, 1.0, -1.0, 1.0))
    stage = Stage(widget)
    async with stage.run_test(size=(41, 12)) as pilot:
        text(widget)
        await pilot.click(widget, (40, 0))
        assert (widget.x, widget.y) == (1.0, 1.0)
        await pilot.press("home")
        assert (widget.x, widget.y) == (0.0, 0.0)
        widget.set_titles("latent 0", "latent 1")
        assert text(widget)[-1].split() == ["latent", "0", "0.00", "latent", "1", "0.00"]
        assert [type(message) for message in stage.heard] == [Plane.Moved, Plane.Moved]
        widget.set_heading("Latent plane")
        assert text(widget)[0].strip() == "Latent plane -1 to 1"
        await pilot.click(widget, (40, 1))
        assert (widget.x, widget.y) == (1.0, 1.0), "the first row of the plane is below the heading"
