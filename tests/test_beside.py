"""The answer before interventions stands beside the one after, whatever kind of panel it is."""

from __future__ import annotations

import numpy as np
import pytest

from dlplay.engine.beside import beside, unaffected
from dlplay.engine.panels import AnyPanel, Array, Bars, Frame, HeatMap, ImageGrid, Layer, Layers, Lines, Scatter, Table, Tokens

ONE, TWO = Bars(labels=["a", "b"], values=[0.75, 0.25]), Bars(labels=["b", "c"], values=[0.5, 0.25])


def said(before: AnyPanel, after: AnyPanel) -> str:
    return beside(before, after, 1).caption


def test_bars_get_a_second_one_and_keep_their_own() -> None:
    shown = beside(ONE, TWO, 2)
    assert isinstance(shown, Bars)
    assert (shown.values, shown.names, shown.caption) == ([0.5, 0.25], ["with", "without"], "with 2 interventions")
    assert shown.second == pytest.approx([0.25, float("nan")], nan_ok=True)
    own = Bars(labels=["b"], values=[0.5], second=[0.125], names=["now", "then"], figure="50 %")
    shown = beside(Bars(labels=["b"], values=[0.75], figure="75 %"), own, 1)
    assert isinstance(shown, Bars)
    assert (shown.second, shown.names, shown.caption) == ([0.125], ["now", "then"], "with 1 intervention · before: 75 %")


def test_tokens_tell_the_former_text_and_the_former_alternatives() -> None:
    before = Tokens(words=["x"], values=[0.5], text="x\ny", place=0, alternatives=ONE)
    after = Tokens(words=["z"], values=[0.5], text="z", place=0, alternatives=TWO, caption="held out")
    shown = beside(before, after, 1)
    assert isinstance(shown, Tokens)
    assert shown.alternatives is not None
    assert shown.alternatives.second == pytest.approx([0.25, float("nan")], nan_ok=True)
    assert shown.caption == "with 1 intervention · before: x y · held out"
    elsewhere = beside(before, Tokens(words=["z"], values=[0.5], text="z", place=1, alternatives=TWO), 1)
    assert isinstance(elsewhere, Tokens)
    assert elsewhere.alternatives == TWO
    assert said(before, before) == "with 1 intervention"


def test_a_frame_has_the_former_action_values() -> None:
    pixels = Array.of(np.zeros((1, 1, 3), np.uint8))
    shown = beside(Frame(pixels=pixels, bars=ONE), Frame(pixels=pixels, bars=TWO), 1)
    assert isinstance(shown, Frame)
    assert shown.bars is not None
    assert shown.bars.names == ["with", "without"]


def test_images_that_became_others_stand_behind_as_they_were() -> None:
    old, new = np.zeros((3, 2, 2), np.float32), np.zeros((3, 2, 2), np.float32)
    new[1] = 1
    before = ImageGrid(images=Array.of(old), labels=["p", "q", "r"], ids=[7, 8, 9], wrong=[False, False, True])
    after = ImageGrid(images=Array.of(new), labels=["p", "s", "r"], ids=[7, 8, 9], wrong=[False, True, True])
    shown = beside(before, after, 1)
    assert isinstance(shown, ImageGrid)
    assert np.array_equal(shown.images.numpy(), np.concatenate([new, old[1:2]]))
    assert (shown.labels, shown.ids) == (["p", "s", "r", "before: q"], [7, 8, 9, 8])
    assert shown.wrong == [False, True, True, False]
    sheet = ImageGrid(images=Array.of(new), row_title="unit 1")
    assert beside(ImageGrid(images=Array.of(old), row_title="unit 1"), sheet, 1).images == sheet.images  # type: ignore[union-attr]


def test_points_that_moved_are_shown_where_they_were() -> None:
    old, new = np.array([[0, 0], [1, 1], [2, 2]], np.float32), np.array([[0, 0], [1, 3], [2, 2]], np.float32)
    before, after = (
        Scatter(points=Array.of(p), groups=[0, 1, 1], names=["real", "made"], arrows=Array.of(np.ones((3, 2), np.float32)), marked=2)
        for p in (old, new)
    )
    shown = beside(before, after, 1)
    assert isinstance(shown, Scatter)
    assert shown.arrows is not None
    assert shown.points.numpy().tolist() == [[0, 0], [1, 3], [2, 2], [1, 1], [2, 2]]
    assert (shown.groups, shown.names, shown.marked) == ([0, 1, 1, 2, 2], ["real", "made", "made before"], 2)
    assert shown.arrows.numpy().tolist() == [[1, 1]] * 3 + [[0, 0]] * 2


def test_curves_and_a_forward_pass_keep_what_became_another() -> None:
    curves = beside(Lines(x=[0, 1], series={"a": [1, 2], "b": [3, 4]}), Lines(x=[0, 1], series={"a": [1, 2], "b": [3, 5]}), 1)
    assert isinstance(curves, Lines)
    assert curves.series == {"a": [1, 2], "b": [3, 5], "b before": [3, 4]}
    first, last, other = (Layer(title=title, values=[value]) for title, value in (("in", 1.0), ("out", 2.0), ("out", 3.0)))
    passes = beside(Layers(layers=[first, last]), Layers(layers=[first, other]), 1)
    assert isinstance(passes, Layers)
    assert [(layer.title, layer.values) for layer in passes.layers] == [("in", [1.0]), ("out", [3.0]), ("out before", [2.0])]


def test_what_fills_its_panel_tells_the_former_figure() -> None:
    grid = Array.of(np.zeros((1, 1), np.float32))
    assert said(HeatMap(values=grid, figure="1.0"), HeatMap(values=grid, figure="2.0", caption="c")) == (
        "with 1 intervention · before: 1.0 · c"
    )
    assert said(Table(columns=[], rows=[], figure="x"), Table(columns=[], rows=[], figure="x")) == "with 1 intervention"


def test_an_answer_that_is_not_reached_says_so() -> None:
    assert unaffected(ONE).caption == "interventions do not act here"
    assert unaffected(Table(columns=[], rows=[], caption="c"), "why").caption == "interventions do not act here: why · c"


def test_a_value_that_was_not_there_before_and_is_not_there_now_has_not_changed() -> None:
    nan = float("nan")
    images = np.array([[[nan, 1.0]]], np.float32)
    grid = beside(ImageGrid(images=Array.of(images)), ImageGrid(images=Array.of(images.copy())), 1)
    points = np.array([[nan, 1.0], [2.0, 3.0]], np.float32)
    scatter = beside(Scatter(points=Array.of(points)), Scatter(points=Array.of(points.copy())), 1)
    lines = beside(Lines(x=[0, 1], series={"a": [float("nan"), 1.0]}), Lines(x=[0, 1], series={"a": [nan, 1.0]}), 1)
    passes = beside(Layers(layers=[Layer(title="out", values=[float("nan")])]), Layers(layers=[Layer(title="out", values=[nan])]), 1)
    assert isinstance(grid, ImageGrid)
    assert isinstance(scatter, Scatter)
    assert isinstance(lines, Lines)
    assert isinstance(passes, Layers)
    assert (len(grid.images.numpy()), len(scatter.points.numpy()), list(lines.series), len(passes.layers)) == (1, 2, ["a"], 1)


def test_where_nothing_can_stand_beside_an_answer_its_former_figure_is_told() -> None:
    points, images = Array.of(np.zeros((1, 2), np.float32)), Array.of(np.zeros((1, 2, 2), np.float32))
    for before, after in (
        (Scatter(points=points, labels=["a"], figure="1"), Scatter(points=points, labels=["a"], figure="2")),
        (Lines(x=[0, 1], series={}, figure="1"), Lines(x=[0, 2], series={}, figure="2")),
        (ImageGrid(images=images, row_title="unit", figure="1"), ImageGrid(images=images, row_title="unit", figure="2")),
        (Bars(labels=["a", "a"], values=[1.0, 2.0], figure="1"), Bars(labels=["a", "b"], values=[1.0, 2.0], figure="2")),
    ):
        assert said(before, after) == "with 1 intervention · before: 1"
