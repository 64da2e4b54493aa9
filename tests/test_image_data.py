"""Pictures from every origin: the embedded digits, IDX files, class folders, downloads; and what hostile ones may not do."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import math
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from dlplay import cli
from dlplay.data import bounded, digits, download, folders, idx
from dlplay.data import images as images_module
from dlplay.data.batches import Batches
from dlplay.data.catalogue import IMAGE_SIDES
from dlplay.data.images import load_images
from dlplay.engine.errors import DataError
from dlplay.parts import image_baselines
from tests.samples import cifar_archive


def idx_bytes(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


def write_idx_pair(folder: Path, images: np.ndarray, labels: np.ndarray, names: tuple[str, str] = ("images.idx", "labels.idx")) -> Path:
    for name, array in zip(names, (images, labels), strict=True):
        (folder / name).write_bytes(gzip.compress(idx_bytes(array)) if name.endswith(".gz") else idx_bytes(array))
    return folder


def write_picture(path: Path, size: tuple[int, int] = (12, 10), mode: str = "RGB", value: int = 100, kind: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 255 - value)).save(path, kind)
    return path


# --- the embedded digits ----------------------------------------------------------------------------------------------------------


def test_the_digits_and_their_split_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    theirs = load_digits()
    images, labels = digits.load_digits()
    assert np.array_equal(images, theirs.images)
    assert np.array_equal(labels, theirs.target)
    train, test = train_test_split(np.arange(len(labels)), stratify=labels, test_size=0.2, random_state=0)
    mine = digits.stratified_split(labels)
    assert np.array_equal(mine[0], train)
    assert np.array_equal(mine[1], test)
    for seed in range(5):
        uneven = np.random.default_rng(seed).choice(5, size=97 + seed, p=[0.5, 0.2, 0.15, 0.1, 0.05])
        train, test = train_test_split(np.arange(len(uneven)), stratify=uneven, test_size=0.2, random_state=seed)
        assert np.array_equal(np.concatenate(digits.stratified_split(uneven, seed=seed)), np.concatenate([train, test]))


def test_every_listed_data_set_can_be_had_and_the_list_costs_nothing() -> None:
    assert set(IMAGE_SIDES) == {"moved-digits", "digits", *download.SETS}
    for name in ("moved-digits", "digits"):
        assert load_images(name).shape == (1, IMAGE_SIDES[name], IMAGE_SIDES[name])
    code = "import sys; import dlplay.data.catalogue; print({'torch', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout == "set()\n"


def test_loading_the_digits_does_not_import_scikit_learn() -> None:
    code = "import sys; from dlplay.data.images import load_images; load_images('digits'); print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr


def test_no_image_is_on_both_sides_of_the_split() -> None:
    data = load_images("digits")
    assert data.shape == (1, 8, 8)
    train, test = digits.stratified_split(digits.load_digits()[1])
    assert not set(train) & set(test)
    assert len(train) + len(test) == 1797
    assert np.bincount(data.test_labels).min() >= 35


def test_moved_digits_are_rotated_and_shifted_as_scipy_does() -> None:
    images = digits.load_digits()[0][:5, None]
    rng = np.random.RandomState(3)
    angles, down, right = (rng.uniform(-most, most, 5 * digits.COPIES) for most in (math.radians(digits.ROTATION), 4, 4))
    for number, picture in enumerate(digits.move(images, 16, seed=3)):
        cos, sin = math.cos(angles[number]), math.sin(angles[number])
        matrix = np.array([[cos, -sin], [sin, cos]])  # from a place on the canvas to one in the image
        offset = 3.5 - matrix @ (7.5 + np.array([down[number], right[number]]))
        source = images[number // digits.COPIES, 0].astype(float)
        expected = ndimage.affine_transform(source, matrix, offset, (16, 16), order=1, mode="grid-constant")
        assert np.abs(picture[0] - expected).max() <= 0.5 + 1e-6


def test_a_held_out_digit_is_never_drawn_for_training(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = digits.load_digits()
    train, test = digits.stratified_split(labels)
    for kept in ("_digits", "_moved_digits"):
        monkeypatch.setattr(images_module, kept, getattr(images_module, kept).__wrapped__)
    for blank in (train, test):
        left = images.copy()
        left[blank] = 0
        monkeypatch.setattr(images_module, "load_digits", lambda left=left: (left, labels))
        moved = load_images("moved-digits")
        inked = [part.any(axis=(1, 2, 3)) for part in (moved.train_images, moved.test_images)]
        assert inked[0].all() == (blank is test)
        assert inked[0].any() == (blank is test)
        assert inked[1].all() == inked[1].any() == (blank is train)
    assert np.array_equal(moved.train_labels, np.repeat(labels[train], digits.COPIES))
    assert np.array_equal(moved.test_labels, np.repeat(labels[test], digits.COPIES))


# --- what baselines are fitted on -------------------------------------------------------------------------------------------------


def test_baselines_get_all_training_images_or_their_names_say_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert image_baselines.subset(8000, 784, image_baselines.CLASSIFIED_PIXELS) == (8000, "")
    assert image_baselines.subset(60_000, 784, image_baselines.CLASSIFIED_PIXELS) == (10_000, " (10k of 60k)")
    rng = np.random.default_rng(0)
    labels = np.arange(2500) % 2
    write_idx_pair(tmp_path, rng.integers(0, 100, (2500, 4, 4)) + 100 * labels[:, None, None], labels)
    data = load_images(str(tmp_path))
    seen: list[int] = []
    fitted = image_baselines._nearest
    monkeypatch.setattr(image_baselines, "_nearest", lambda x, y, test_x: seen.append(len(x)) or fitted(x, y, test_x))
    assert set(image_baselines.classification_accuracies(data)) == {"logistic regression", "nearest neighbour", "SVC"}
    monkeypatch.setattr(image_baselines, "CLASSIFIED_IMAGES", 1900)  # many small images make a large kernel
    names = {f"{method} (1k of 2k)" for method in ("logistic regression", "nearest neighbour", "SVC")}
    assert set(image_baselines.classification_accuracies(data)) == names
    assert seen == [2000, 1000]


# --- batches ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "batch"), [(10, 3), (10, 10), (4, 9), (7, 1)])
def test_every_example_comes_once_an_epoch_in_batches_of_one_size(count: int, batch: int) -> None:
    batches = Batches(count, batch, torch.Generator().manual_seed(3))
    seen = [batches.next() for _ in range(6 * count)]
    assert {len(indices) for indices in seen} == {batch}
    stream = torch.cat(seen)
    epochs = stream[: len(stream) // count * count].view(-1, count)
    assert (epochs.sort(1).values == torch.arange(count)).all()
    assert (epochs[0] != epochs[1]).any()


def test_the_order_goes_on_from_a_saved_position() -> None:
    generator = torch.Generator().manual_seed(1)
    batches = Batches(10, 4, generator)
    batches.next()
    saved, random = batches.state(), generator.get_state()
    expected = [batches.next().tolist() for _ in range(9)]
    other_generator = torch.Generator().manual_seed(99)
    other = Batches(10, 4, other_generator)
    other.load_state(saved)
    other_generator.set_state(random)
    assert [other.next().tolist() for _ in range(9)] == expected
    with pytest.raises(DataError, match="10 examples and the data 11"):
        Batches(11, 4, generator).load_state(saved)


# --- IDX files --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("images.idx", "labels.idx"), ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz")])
def test_own_idx_files_are_read_and_split(tmp_path: Path, names: tuple[str, str]) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (50, 9, 7)), np.repeat([3, 5], 25)
    data = load_images(str(write_idx_pair(tmp_path, images, labels, names)))
    assert data.shape == (1, 9, 7)
    assert data.classes == ("3", "5")
    assert (len(data.train_labels), len(data.test_labels)) == (40, 10)
    where = [int(np.flatnonzero((images == image[0]).all((1, 2)))[0]) for image in data.test_images]
    assert [labels[position] for position in where] == [int(data.classes[label]) for label in data.test_labels]


def test_idx_arrays_go_to_torch_without_a_warning(tmp_path: Path) -> None:
    images, labels = np.zeros((12, 4, 4)), np.repeat([0, 1], 6)
    write_idx_pair(tmp_path, images, labels, ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"))
    write_idx_pair(tmp_path, images, labels, ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"))
    data = load_images(str(tmp_path))
    for array in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        assert array.flags.writeable
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.from_numpy(array)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_a_refusal_of_few_images_says_how_many_are_enough(tmp_path: Path, classes: int) -> None:
    def write(count: int) -> str:
        return str(write_idx_pair(tmp_path, np.zeros((count, 4, 4)), np.arange(count) % classes))

    enough = digits.least_examples(classes)
    with pytest.raises(DataError, match=rf"give 2 or more of each class and {enough} or more in all"):
        load_images(write(enough - 1))
    with pytest.raises(DataError, match=rf"give 2 or more of each class and {enough} or more in all"):
        digits.stratified_split(np.arange(enough - 1) % classes)
    assert set(load_images(write(enough)).test_labels.tolist()) == set(range(classes))


def test_held_out_idx_files_are_used_when_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_idx_pair(
        tmp_path, rng.integers(0, 256, (6, 8, 8)), np.array([0, 1, 2] * 2), ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    )
    held_out = rng.integers(0, 256, (3, 8, 8))
    write_idx_pair(tmp_path, held_out, np.array([2, 0, 1]), ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"))
    data = load_images(str(tmp_path))
    assert np.array_equal(data.test_images[:, 0], held_out)
    assert data.test_labels.tolist() == [2, 0, 1]
    assert len(data.train_labels) == 6


def hostile_idx(case: str) -> bytes:
    image = idx_bytes(np.zeros((4, 8, 8)))
    return {
        "terabytes": b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 2**20, 2**20),
        "half a gigabyte that is not there": b"\0\0\x08\x03" + struct.pack(">3I", 8000, 256, 256),
        "no header": b"\0\0",
        "cut header": image[:9],
        "cut": image[:-1],
        "too long": image + b"x",
        "floats": b"\0\0\x0d\x03" + image[4:],
        "an image file": b"\x89PNG" + image[4:],
        "labels": idx_bytes(np.zeros(4)),
        "empty": b"",
    }[case]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("terabytes", "the limit is 512 MiB"),
        ("half a gigabyte that is not there", "is truncated"),
        ("no header", "is truncated"),
        ("cut header", "is truncated"),
        ("cut", "is truncated"),
        ("too long", "more than its header says"),
        ("floats", "not an IDX file"),
        ("an image file", "begins with 89 50 4e 47"),
        ("labels", "with 3 or 4 axes"),
        ("empty", "is truncated"),
    ],
)
def test_damaged_and_hostile_idx_files_are_refused_in_words(tmp_path: Path, case: str, words: str, compressed: bool) -> None:
    path = tmp_path / ("images.idx" + (".gz" if compressed else ""))
    path.write_bytes(gzip.compress(hostile_idx(case)) if compressed else hostile_idx(case))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=words):
            idx.read_idx(path, (3, 4))
        assert tracemalloc.get_traced_memory()[1] < 2 * bounded.MIB
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_read_no_further_than_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "images.idx.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros((4, 8, 8))) + bytes(200 * bounded.MIB), compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="more than its header says"):
            idx.read_idx(path, (3, 4))
        assert tracemalloc.get_traced_memory()[1] < 2 * bounded.MIB
    finally:
        tracemalloc.stop()


def test_a_torn_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.idx.gz"
    whole = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, (40, 8, 8))))
    for torn in (whole[:-20], whole[:500], b"\x1f\x8b\x08" + bytes(40), whole[:100] + b"\xff\x00" * 50 + whole[200:]):
        path.write_bytes(torn)
        with pytest.raises(DataError, match="in the middle|not a valid gzip"):
            idx.read_idx(path, (3, 4))


def test_images_and_labels_must_belong_together(tmp_path: Path) -> None:
    write_idx_pair(tmp_path, np.zeros((4, 8, 8)), np.zeros(3))
    with pytest.raises(DataError, match="holds 4 images and labels.idx 3 labels"):
        load_images(str(tmp_path))
    (tmp_path / "labels.idx").unlink()
    with pytest.raises(DataError, match=r"lacks labels\.idx"):
        load_images(str(tmp_path))
    write_idx_pair(tmp_path, np.zeros((5, 8, 8)), np.array([0, 0, 0, 0, 7]))
    with pytest.raises(DataError, match="5 images of 2 classes, 1 of class 7; give 2 or more of each class and 6"):
        load_images(str(tmp_path))


def test_devices_and_pipes_are_refused_without_waiting(tmp_path: Path) -> None:
    write_idx_pair(tmp_path, np.zeros((4, 8, 8)), np.zeros(4))
    (tmp_path / "images.idx").unlink()
    os.mkfifo(tmp_path / "images.idx")
    with pytest.raises(DataError, match="not a regular file"):
        load_images(str(tmp_path))
    with pytest.raises(DataError, match="not a regular file"):
        bounded.read_bytes(Path("/dev/zero"), 100)
    (tmp_path / "big").write_bytes(bytes(101))
    with pytest.raises(DataError, match="larger than 100 bytes"):
        bounded.read_bytes(tmp_path / "big", 100)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnsit", "did you mean mnist"),
        ("/nowhere/at/all", "the path of a folder"),
        ("/dev/zero", "is not a folder"),
        ("a\0b\x1b[31m", "neither"),
    ],
)
def test_unknown_data_is_named_with_a_way_out(name: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        load_images(name)
    assert "\x1b" not in str(caught.value)


# --- class folders ----------------------------------------------------------------------------------------------------------------


def test_a_folder_of_class_folders_becomes_classes(tmp_path: Path) -> None:
    for number in range(5):
        write_picture(tmp_path / "cat\x1b[31m" / f"{number}.png", value=20)
        write_picture(tmp_path / "dog" / f"{number}.jpg", (40, 30), value=200, kind="JPEG")
    (tmp_path / "dog" / "notes.txt").write_text("not a picture")
    (tmp_path / "dog" / ".hidden.png").write_text("not a picture")
    (tmp_path / "empty").mkdir()
    data = load_images(str(tmp_path), 16)
    assert data.classes == ("cat[31m", "dog")
    assert data.shape == (3, 16, 16)
    assert (len(data.train_labels), len(data.test_labels)) == (8, 2)
    assert data.train_images[data.train_labels == 0][:, 0].max() == 20
    assert "\x1b" not in data.words


def test_grey_pictures_stay_grey_until_one_has_colour(tmp_path: Path) -> None:
    for number in range(2):
        write_picture(tmp_path / "a" / f"{number}.png", mode="L", value=7)
        write_picture(tmp_path / "b" / f"{number}.png", mode="L", value=9)
    images, labels, _ = folders.read_folder(tmp_path, 8)
    assert images.shape == (4, 1, 8, 8)
    assert images[labels == 1].min() == images[labels == 1].max() == 9
    write_picture(tmp_path / "b" / "2.png")
    assert folders.read_folder(tmp_path, 8)[0].shape == (5, 3, 8, 8)


def bomb() -> bytes:
    """A PNG of a few bytes that says it is 60,000 x 60,000 pixels."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bomb(), "cannot be read as an image|the limit is 4096x4096"),
        (b"no picture at all", "cannot be read as an image"),
        (b"", "cannot be read as an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read as an image"),
    ],
    ids=["bomb", "text", "empty", "postscript"],
)
def test_bad_pictures_are_named_and_refused(tmp_path: Path, data: bytes, words: str) -> None:
    write_picture(tmp_path / "a" / "1.png")
    bad = tmp_path / "b" / "bad.png"
    write_picture(bad)
    bad.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=words) as caught:
            folders.read_folder(tmp_path, 8)
        assert tracemalloc.get_traced_memory()[1] < 8 * bounded.MIB
    finally:
        tracemalloc.stop()
    assert "bad.png" in str(caught.value)


def test_a_picture_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    for cut in range(40, len(whole) - 64, 997):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match="cannot be read as an image"):
            folders.read_image(path, 8)


def test_pictures_larger_than_the_cap_are_refused(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "wide.png", (4097, 1), "L")
    with pytest.raises(DataError, match="4097x1 pixels; the limit is 4096x4096"):
        folders.read_image(path, 8)


@pytest.mark.parametrize("name", ["16.png", "16.tif", "16.pgm"])
def test_sixteen_bits_become_eight(tmp_path: Path, name: str) -> None:
    Image.fromarray(np.array([[0, 300], [20000, 65535]], dtype=np.uint16)).save(tmp_path / name)
    assert folders.read_image(tmp_path / name, 2).tolist() == [[[0, 1], [78, 255]]]


def test_what_is_transparent_shows_white(tmp_path: Path) -> None:
    alpha = np.array([[0, 255], [51, 255]], dtype=np.uint8)
    Image.fromarray(np.dstack([np.zeros((2, 2, 3), dtype=np.uint8), alpha])).save(tmp_path / "rgba.png")
    assert folders.read_image(tmp_path / "rgba.png", 2).tolist() == [[[255, 0], [204, 0]]] * 3
    Image.merge("LA", [Image.new("L", (2, 2), 0), Image.fromarray(alpha)]).save(tmp_path / "la.png")
    assert folders.read_image(tmp_path / "la.png", 2).tolist() == [[[255, 0], [204, 0]]]
    Image.new("L", (2, 2), 7).save(tmp_path / "key.png", transparency=7)
    assert folders.read_image(tmp_path / "key.png", 2).tolist() == [[[255, 255], [255, 255]]]
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.save(tmp_path / "palette.gif", transparency=0)
    assert folders.read_image(tmp_path / "palette.gif", 2).min() == 255


def test_opaque_pictures_are_read_as_they_are(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([colours, np.full((4, 4), 255, dtype=np.uint8)])).save(tmp_path / "rgba.png")
    for name in ("rgb.png", "rgba.png"):
        assert np.array_equal(folders.read_image(tmp_path / name, 4), colours.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["turned.png", "turned.jpg", "turned.tif", "turned16.png"])
def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right-hand side
    pixels = np.zeros((16, 16), dtype=np.uint8)
    pixels[:8] = 255
    image = Image.fromarray(pixels.astype(np.uint16) * 257) if "16" in name else Image.fromarray(pixels)
    image.save(tmp_path / name, exif=exif)
    read = folders.read_image(tmp_path / name, 2)
    assert (read[0] > 200).tolist() == [[False, True], [False, True]]


def test_damaged_exif_data_do_not_spoil_a_picture(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 9).save(tmp_path / "1.jpg", exif=b"Exif\0\0nonsense and more of it")
    assert folders.read_image(tmp_path / "1.jpg", 2).tolist() == [[[9, 9], [9, 9]]]


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full((4, 4), 0.5, dtype=np.float32), "floating-point numbers"),
        (np.full((4, 4), 70_000, dtype=np.int32), "values from 70000 to 70000"),
    ],
)
def test_numbers_without_a_known_white_are_refused(tmp_path: Path, pixels: np.ndarray, words: str) -> None:
    Image.fromarray(pixels).save(tmp_path / "1.tif")
    with pytest.raises(DataError, match=words):
        folders.read_image(tmp_path / "1.tif", 2)


def test_links_and_pipes_in_a_class_folder_are_passed_over(tmp_path: Path) -> None:
    secret = write_picture(tmp_path / "elsewhere.png")
    for name in ("a", "b"):
        for number in range(2):
            write_picture(tmp_path / "data" / name / f"{number}.png")
    (tmp_path / "data" / "a" / "link.png").symlink_to(secret)
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    os.mkfifo(tmp_path / "data" / "b" / "pipe.png")
    images, _, names = folders.read_folder(tmp_path / "data", 8)
    assert len(images) == 4
    assert names == ("a", "b")
    with pytest.raises(DataError, match="symbolic link"):
        folders.read_image(tmp_path / "data" / "a" / "link.png", 8)


def test_links_are_named_as_passed_over(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(6):
            write_picture(tmp_path / "data" / name / f"{number}.png")
    assert "link" not in load_images(str(tmp_path / "data"), 8).words
    (tmp_path / "data" / "a" / "link.png").symlink_to("0.png")
    (tmp_path / "data" / "c").symlink_to("a")
    assert load_images(str(tmp_path / "data"), 8).words.endswith("2 links passed over (c, a/link.png)")
    (tmp_path / "linked").mkdir()
    for name in ("a", "b"):
        (tmp_path / "linked" / name).symlink_to(tmp_path / "data" / name)
    with pytest.raises(DataError, match=r"holds 0 class folders .*; 2 links passed over \(a, b\), so put the folders and files themselves"):
        load_images(str(tmp_path / "linked"), 8)


@pytest.mark.parametrize("held_out", ["test", "Val"])
def test_folders_train_and_test_are_the_split(tmp_path: Path, held_out: str) -> None:
    for name in ("cat", "dog"):
        for number in range(3):
            write_picture(tmp_path / "train" / name / f"{number}.png", mode="L", value=number)
        write_picture(tmp_path / held_out / name / "0.png", value=200)
    data = load_images(str(tmp_path), 8)
    assert data.classes == ("cat", "dog")
    assert data.shape == (3, 8, 8)
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test_labels.tolist() == [0, 1]
    assert data.test_images[:, 0].min() == 200
    write_picture(tmp_path / held_out / "eel" / "0.png")
    with pytest.raises(DataError, match=r"hold different classes \(eel\)"):
        load_images(str(tmp_path), 8)


def test_folders_train_and_test_without_classes_are_refused(tmp_path: Path) -> None:
    for name in ("train", "test"):
        for number in range(5):
            write_picture(tmp_path / name / f"{number}.png")
    with pytest.raises(DataError, match="train holds no class folders; put the images of each class into a folder of its own"):
        load_images(str(tmp_path), 8)
    for number in range(5):
        write_picture(tmp_path / "car" / f"{number}.png")
    assert load_images(str(tmp_path), 8).classes == ("car", "test", "train")


def test_too_much_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="holds 0 class folders"):
        load_images(str(tmp_path))
    for name in ("a", "b"):
        for number in range(2):
            write_picture(tmp_path / name / f"{number}.png")
    monkeypatch.setattr(folders, "MAX_BYTES", 4 * 3 * 64 - 1)
    with pytest.raises(DataError, match="smaller --image-size"):
        folders.read_folder(tmp_path, 8)
    monkeypatch.setattr(folders, "MAX_IMAGES", 3)
    with pytest.raises(DataError, match="more than 3 images"):
        folders.read_folder(tmp_path, 8)


# --- downloads --------------------------------------------------------------------------------------------------------------------


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a local server, and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    Quiet.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}/", folder
        served.shutdown()
        thread.join()


def serve_mnist(address: str, folder: Path) -> download.RemoteSet:
    """A small set of MNIST's form at the address, behind a mirror that does not answer."""
    rng = np.random.default_rng(0)
    files = []
    for remote, shape in zip(download.SETS["mnist"].files, [(20, 28, 28), (20,), (10, 28, 28), (10,)], strict=True):
        data = gzip.compress(idx_bytes(rng.integers(0, 10, shape)))
        (folder / remote.name).write_bytes(data)
        files.append(dataclasses.replace(remote, md5=hashlib.md5(data).hexdigest()))
    return download.RemoteSet(("http://127.0.0.1:9/", address), tuple(files), tuple("0123456789"))


def test_a_set_is_fetched_once_and_then_read_from_the_cache(server: tuple[str, Path], tmp_path: Path) -> None:
    remote = serve_mnist(*server)
    images, labels, test_images, test_labels = download.download_set("mnist", remote, tmp_path / "cache")
    assert (images.shape, labels.shape, test_images.shape, test_labels.shape) == ((20, 1, 28, 28), (20,), (10, 1, 28, 28), (10,))
    assert len(Quiet.asked) == 4
    again = download.download_set("mnist", remote, tmp_path / "cache")
    assert len(Quiet.asked) == 4
    assert np.array_equal(again[0], images)
    (tmp_path / "cache" / "mnist" / remote.files[0].name).write_bytes(b"torn")
    assert np.array_equal(download.download_set("mnist", remote, tmp_path / "cache")[0], images)
    assert len(Quiet.asked) == 5


def test_data_that_is_not_the_publishers_is_not_kept(server: tuple[str, Path], tmp_path: Path) -> None:
    remote = serve_mnist(*server)
    (server[1] / remote.files[1].name).write_bytes(b"something else")
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz does not match its checksum"):
        download.download_set("mnist", remote, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache" / "mnist").iterdir()] == [remote.files[0].name]


def test_an_endless_answer_is_cut_off(server: tuple[str, Path], tmp_path: Path) -> None:
    (server[1] / "file").write_bytes(bytes(2 * bounded.MIB))
    with pytest.raises(DataError, match="the server sent more than 1 MiB"):
        download.fetch(download.Remote("file", "0" * 32, bounded.MIB), (server[0],), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_network_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot download file: .*refused.*check the network, or put the file into"):
        download.fetch(download.Remote("file", "0" * 32), ("http://127.0.0.1:9/",), tmp_path)


def test_cifar_is_read_without_unpacking_it(tmp_path: Path) -> None:
    records = cifar_archive(tmp_path / "cifar.tar.gz")
    images, labels, test_images, test_labels = download.read_cifar(tmp_path / "cifar.tar.gz")
    assert images.shape == (10, 3, 32, 32)
    assert np.array_equal(np.concatenate([labels, test_labels]), records[:, 0])
    assert np.array_equal(test_images.reshape(2, -1), records[10:, 1:])
    cifar_archive(tmp_path / "short.tar.gz", leave_out="test_batch.bin")
    with pytest.raises(DataError, match=r"lacks test_batch\.bin"):
        download.read_cifar(tmp_path / "short.tar.gz")
    whole = (tmp_path / "cifar.tar.gz").read_bytes()
    (tmp_path / "torn.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a valid tar archive"):
        download.read_cifar(tmp_path / "torn.tar.gz")


@pytest.mark.slow
def test_a_residual_net_trains_on_what_a_server_sends(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The preset for CIFAR-10, as `--headless` trains it, with fewer channels and steps: it tells ten shades of noise apart."""
    address, folder = server
    whole = download.SETS["cifar10"]
    cifar_archive(folder / whole.files[0].name, images=60)
    sent = dataclasses.replace(whole.files[0], md5=hashlib.md5((folder / whole.files[0].name).read_bytes()).hexdigest())
    monkeypatch.setitem(download.SETS, "cifar10", dataclasses.replace(whole, mirrors=(address,), files=(sent,)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small = ["--channels", "8,16,32,32", "--batch", "32", "--steps", "60", "--eval-every", "30", "--lr", "0.1", "--device", "cpu"]
    given = ["--headless", "--json", "--preset", "cifar10-resnet", *small, "--runs-dir", str(tmp_path / "runs")]
    assert cli.run(["convnet", *given]) == 0
    [*_, finished] = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert finished["metrics"]["test_accuracy"] > 0.5
    assert cli.run(["convnet", *given]) == 0
    assert Quiet.asked == [f"/{sent.name}"], "it is downloaded once"
