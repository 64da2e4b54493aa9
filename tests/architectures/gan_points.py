"""The points a GAN learns from: distributions as they are described, drawings, and files that nobody vouches for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dlplay.architectures.gan.settings import HEART, GANSettings
from dlplay.data.catalogue import POINTS
from dlplay.data.points import load_points, parse_ink, read_points
from dlplay.engine.errors import DataError


@pytest.mark.parametrize("name", POINTS)
def test_named_distributions_are_the_same_in_every_run_and_hold_other_points_out(name: str) -> None:
    one, two = load_points(name, HEART), load_points(name, HEART)
    assert one.key == two.key
    assert one.train.shape == (20_000, 2)
    assert one.test.shape == (1000, 2)
    assert not set(map(tuple, one.test.tolist())) & set(map(tuple, one.train.tolist()))
    assert np.abs(one.train).max() < 2.5
    assert name in one.words


def test_eight_gaussians_are_those_of_the_paper() -> None:
    data = load_points("8-gaussians")
    assert np.allclose(np.linalg.norm(data.centres, axis=1), 2 / 1.414)
    assert data.sigma == pytest.approx(0.02 / 1.414)
    apart = data.train - data.centres[data.train_modes]
    assert apart.std() == pytest.approx(data.sigma, rel=0.02)
    assert np.bincount(data.train_modes).min() > 2300
    grid = load_points("25-gaussians")
    assert len(grid.centres) == 25
    assert grid.train.std() == pytest.approx(1.0, abs=0.02)


def test_points_lie_where_there_is_ink() -> None:
    data = load_points("drawn", "000f/0000/0000/7000")
    right = data.train[:, 0] > 0
    assert (data.train[right] > 0.8).all()  # the first row is on top
    assert (data.train[~right] < -0.8).all()
    assert right.mean() == pytest.approx(15 / 22, abs=0.02)
    assert GANSettings().drawing == HEART
    assert parse_ink(HEART).shape[1] == 16


@pytest.mark.parametrize(
    ("drawing", "words"),
    [
        ("", "has 1 rows of [0] pixels"),
        ("00/0", "rows of [1, 2] pixels"),
        ("0" * 17, "at most 16x16"),
        ("0g", "holds g"),
        ("000/000", "is empty"),
        ("0\x1b", "holds '\\x1b'"),
    ],
)
def test_a_drawing_that_says_nothing_is_refused(drawing: str, words: str) -> None:
    with pytest.raises(DataError) as refused:
        load_points("drawn", drawing)
    assert words in str(refused.value)
    assert "--drawing" in str(refused.value)


@pytest.mark.parametrize("separator", [",", " ", ";", "\t", ", "])
def test_a_text_with_two_numbers_a_line_is_read(separator: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((60, 2)) * [3, 1] + [5, -2]
    path = tmp_path / "points.csv"
    path.write_text(f"x{separator}y\n" + "\n".join(f"{x!r}{separator}{y!r}" for x, y in points.tolist()) + "\n# the end\n")
    assert np.array_equal(read_points(path), points)
    data = load_points(str(path))
    assert (len(data.train), len(data.test)) == (54, 6)
    every = np.concatenate([data.train, data.test])
    assert np.allclose(every.mean(0), 0, atol=1e-5)
    assert np.square(every).mean() == pytest.approx(1.0, rel=1e-4)
    assert every[:, 0].std() > 2 * every[:, 1].std()  # shapes keep their proportions


def test_an_array_file_is_read_and_its_labels_are_clean(tmp_path: Path) -> None:
    path = tmp_path / "p\x1b[31mts.npy"
    np.save(path, np.arange(40, dtype=np.int16).reshape(20, 2) % 7)
    data = load_points(str(path))
    assert len(data.train) == 18
    assert "\x1b" not in data.words


HOSTILE: dict[str, tuple[bytes, str]] = {
    "words.txt": (b"1 2\nx y\n", "line 2: 'x y' is not two numbers"),
    "three.txt": (b"1 2\n1 2 3\n", "is not two numbers"),
    "few.txt": (b"1 2\n3 4\n", "holds 2 points; between 10"),
    "empty.txt": (b"", "holds 0 points"),
    "nan.txt": (b"1 2\n" * 20 + b"nan 1\n", "point 21 is not finite"),
    "huge.txt": (b"1 2\n" * 20 + b"1e308 -1e308\n", "standard deviation of inf"),
    "same.txt": (b"1 2\n" * 20, "standard deviation of 0"),
    "binary.txt": (b"\xff\xfe\x00\x01" * 10, "neither text nor a .npy file"),
    "cut.npy": (b"\x93NUMPY\x01\x00\x10\x00{'descr'", "is not a valid .npy file"),
    "escape.txt": (b"1 2\n" * 11 + b"\x1b[2J\x07 1\n", "is not two numbers"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    data, words = HOSTILE[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as refused:
        load_points(str(tmp_path / name))
    assert words in str(refused.value)
    assert str(refused.value).isprintable()


def _header(path: Path, shape: tuple[int, ...], descr: str) -> None:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + b"\0" * 160)


@pytest.mark.parametrize(
    ("shape", "descr", "words"),
    [
        ((10**12, 2), "<f8", "it says it holds"),
        ((20,), "|O", "it says it holds"),
        ((20,), "<f8", "of shape (20,)"),
        ((-1, 2), "<f8", "says"),
    ],
)
def test_an_array_that_lies_or_holds_objects_is_refused_before_it_is_read(
    shape: tuple[int, ...], descr: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "lies.npy"
    _header(path, shape, descr)
    with pytest.raises(DataError) as refused:
        load_points(str(path))
    assert words in str(refused.value)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        load_points(str(tmp_path / "pipe"))
    with pytest.raises(DataError, match="did you mean 8-gaussians"):
        load_points("8-gausians")
    with pytest.raises(DataError, match="neither a known distribution nor a file"):
        load_points(str(tmp_path / "nothing"))
