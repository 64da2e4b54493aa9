"""Panels on standard output, for a person."""

from __future__ import annotations

import numpy as np
import pytest

from dlplay.engine.panels import Array, HeatMap
from dlplay.runs.panel_text import print_panel


def matrix(rows: list[str], columns: list[str]) -> HeatMap:
    values = np.arange(len(rows) * len(columns), dtype=np.float32).reshape(len(rows), len(columns))
    return HeatMap(values=Array.of(values), rows=rows, columns=columns, row_title="site", column_title="position", counts=True)


@pytest.mark.parametrize("columns", [12, 41])
def test_a_wide_matrix_is_turned_on_its_side_and_no_name_of_a_row_is_cut(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_panel(matrix(["blocks.0", "blocks.1"], [f"word{at}→other" for at in range(columns)]), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["position", "blocks.0", "blocks.1"]
    assert lines[2].split() == ["word1→other", "1", str(columns + 1)]
    assert len(lines) == columns + 1


def test_a_matrix_that_fits_neither_way_keeps_the_names_of_its_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_panel(matrix([f"blocks.{at}.attention" for at in range(12)], [f"position {at}" for at in range(12)]), as_json=False)
    assert "blocks.11.attention" in capsys.readouterr().out


def test_a_small_matrix_stands_upright_and_what_is_unknown_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    panel = HeatMap(values=Array.of(np.array([[1.0, np.nan]], dtype=np.float32)), rows=["a"], columns=["x", "y"], counts=True)
    print_panel(panel, as_json=False)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [["x", "y"], ["a", "1"]]
