"""Series of numbers from CSV files that nobody vouches for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dlplay.data import series
from dlplay.data.series import read_series
from dlplay.engine.errors import DataError


def written(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "own.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_the_sines_are_the_same_every_time_and_made_of_three_periods() -> None:
    one, other = read_series("sines"), read_series("sines")
    assert np.array_equal(one.values, other.values)
    assert (len(one.train), len(one.held_out)) == (5400, 600)
    power = np.abs(np.fft.rfft(one.values)) ** 2
    strongest = sorted(6000 / np.argsort(power)[-4:])
    assert strongest[0] == pytest.approx(25, rel=0.02)
    assert strongest[1] == pytest.approx(40, rel=0.02)


@pytest.mark.parametrize(
    ("text", "column", "values"),
    [
        ("1\n2\n4\n", "", [1, 2, 4]),
        ("day,price,volume\nmon,1.5,10\ntue,2.5,20\n", "", [1.5, 2.5]),
        ("day,price,volume\nmon,1.5,10\ntue,2.5,20\n", "volume", [10, 20]),
        ("day,price,volume\nmon,1.5,10\ntue,2.5,20\n", "3", [10, 20]),
        ("a;b\r\n1;-2e3\r\n\r\n2;0.5\r\n", "b", [-2000, 0.5]),
        ("1\t5\n2\t6\n", "2", [5, 6]),
        ('"a, with comma",b\n"1",2\n3,4\n', "a, with comma", [1, 3]),
        ("\ufeffx\n7\n8\n", "x", [7, 8]),
        ("step,value\n0,5\n1,3\n2,4\n", "", [5, 3, 4]),
        ("step,value\n0,5\n1,3\n2,4\n", "step", [0, 1, 2]),
        ("step\n0\n10\n20\n", "", [0, 10, 20]),
        (",0\n0,50.5\n1,50.25\n2,51\n", "", [50.5, 50.25, 51]),  # as pandas writes a Series
        (",0\n0,50.5\n1,50.25\n2,51\n", "0", [50.5, 50.25, 51]),
        ("time,value\n0,5\n1.5,3\n9,4\n", "", [5, 3, 4]),
        ("time;value;other\n0;5;1\n1;3;1\n9;4;1\n", "", [5, 3, 4]),
        ("1,2\n3,4\n", "2", [2, 4]),
        ("step,name\n0,a\n1,b\n2,c\n", "", [0, 1, 2]),
    ],
)
def test_the_column_that_is_meant_is_read(tmp_path: Path, text: str, column: str, values: list[float]) -> None:
    assert read_series(written(tmp_path, text), column).values.tolist() == values


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", "", "is empty"),
        ("\n\n ,\n", "", "is empty"),
        ("a,b\n1,2\n3,x\n", "b", r"line 3 .* holds 'x'"),
        ("a,b\n1,2\n3\n", "b", r"line 3 .* holds ''"),
        ("a\n1\nnan\n", "a", "holds 'nan'"),
        ("1\n2\ninf\n", "1", "holds 'inf'"),
        ("1\n1e300\n", "1", "holds '1e300'"),
        ("a\nb\nc\n", "", "no column of .* holds only numbers"),
        ("a,b\n1,2\n", "price", r"--column 'price' is not in .*; its columns are a, b"),
        ("1,2\n3,4\n", "3", "its columns are 1 to 2"),
        ("1,2\n3,4\n", "9" * 100, "its columns are 1 to 2"),
        ("0,5\n1,5\n-2,25\n", "", "can be read in two ways: lines such as '0,5'"),
        ("value\n0,5\n1,5\n", "", "can be read in two ways"),
        ("a;b\n0,5;1,5\n2,5;1,5\n", "", "no column of .* holds only numbers; write decimal points, not commas"),
        ("0,5;1,5\n2,5;1,5\n", "", "write decimal points, not commas"),
        ("a;b\n0;1,5\n1;1,75\n", "b", "line 2 .* holds '1,5', which is not a finite number; write decimal points, not commas"),
        ("day,price\nmon,1\ntue,\nwed,3\n", "", r"price: line 3 .* holds '', which is not a finite number; fill it in"),
        ("step,price\n0,1\n1,\n2,3\n", "", r"price: line 3 .* holds '', which is not a finite number; fill it in"),
        ("step;price\n0;1,5\n1;1,75\n2;3\n", "", r"price: line 2 .* holds '1,5', which is not a finite number; write decimal points"),
        ("5\n5\n5\n", "", "3 equal values"),
        (b"1\n\xff\xfe\n", "", "not UTF-8: byte 2 is 0xff"),
        (b"1\n\x002\n", "", "NUL"),
        ("1\n" + "9" * 20_000 + "\n", "", "not a CSV file"),
        ("," * 20_000 + "\n1\n", "", "20,001 columns"),
        ("\x1b[2Jred,b\nx,y\n", "", r"columns: \[2Jred, b"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path, text: str | bytes, column: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as refused:
        read_series(written(tmp_path, text), column)
    assert "\x1b" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_words_say_which_column_was_read_and_how_it_begins(tmp_path: Path) -> None:
    text = ",height\n" + "".join(f"{line},{50 + line % 3 / 8}\n" for line in range(40))
    words = read_series(written(tmp_path, text)).words
    assert words.startswith("height of own.csv: 36 values to train on (first 50, 50.125, 50.25), the last 4 held out")


def test_a_file_is_not_read_beyond_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "1\n2\n3\n4\n")
    monkeypatch.setattr(series, "MAX_VALUES", 3)
    with pytest.raises(DataError, match="more than 3 lines"):
        read_series(path)
    monkeypatch.setattr(series, "MAX_BYTES", 4)
    with pytest.raises(DataError, match="larger than 4 bytes"):
        read_series(path)
    with pytest.raises(DataError, match="not a regular file"):
        read_series("/dev/zero")
    with pytest.raises(DataError, match="cannot read"):
        read_series(str(tmp_path / "none.csv"))
    link = tmp_path / "link.csv"
    link.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="not a regular file"):
        read_series(str(link))
