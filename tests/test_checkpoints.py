"""Checkpoints: what was saved comes back to the bit, whatever dies or fills up; what is damaged, hostile or foreign is refused in words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from dlplay.checkpoints import CheckpointError, shipped, store
from dlplay.checkpoints.format import HEADER_LIMIT, read_tensors, signature, write_tensors
from dlplay.checkpoints.store import Store

ROOT = Path(__file__).parents[1]

Arrays = dict[str, NDArray[Any]]


def some_tensors(value: float = 1.5) -> Arrays:
    return {
        "model/weight": np.full((3, 5), value, np.float32),
        "model/mask": np.array([True, False, True]),
        "model/steps": np.array(7, np.int64),
        "half": np.arange(3, dtype=np.float16),
        "none": np.empty((0, 4), np.float64),
        "bytes": np.arange(5, dtype=np.uint8),
        "whole": np.arange(4, dtype=np.int32),
    }


def equal(first: Arrays, second: Arrays) -> bool:
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype
        and first[name].shape == second[name].shape
        and first[name].tobytes() == second[name].tobytes()
        for name in first
    )


def raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    body = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(body) if length is None else length).to_bytes(8, "little") + body + data


def entry(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


# --- the format --------------------------------------------------------------------------------------------------------------------------


def test_tensors_come_back_to_the_bit_and_as_safetensors_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(write_tensors(some_tensors()))
    found = read_tensors(path)
    assert equal(found, some_tensors())
    assert equal(found, safetensors.numpy.load(path.read_bytes()))
    assert all(array.flags.writeable and array.flags.aligned for array in found.values())
    assert signature(path) == {name: (array.shape, array.dtype) for name, array in some_tensors().items()}


def test_the_same_tensors_give_the_same_bytes_in_whatever_order_they_come() -> None:
    tensors = some_tensors()
    assert write_tensors(tensors) == write_tensors(dict(reversed(tensors.items())))


def test_large_tensors_are_written_without_a_copy(tmp_path: Path) -> None:
    weights = {"w": np.ones((16, 1 << 20), np.float32)}  # 64 MiB
    tracemalloc.start()
    try:
        Store(tmp_path).save(1, weights, {"m": weights["w"]}, {})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 << 20


def test_a_view_that_is_not_contiguous_is_saved_as_what_it_shows(tmp_path: Path) -> None:
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    (tmp_path / "x").write_bytes(write_tensors({"t": matrix.T, "row": matrix[:, 1]}))
    found = read_tensors(tmp_path / "x")
    assert np.array_equal(found["t"], matrix.T)
    assert np.array_equal(found["row"], matrix[:, 1])


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "cut off"),
    "header cut off": (raw({"a": entry()}, b"1234")[:20], "cut off"),
    "data cut off": (raw({"a": entry()}, b"123"), "3 bytes of data where its header lists 4"),
    "data too long": (raw({"a": entry()}, b"12345"), "5 bytes of data where its header lists 4"),
    "length of 16 EiB": (raw({}, length=2**64 - 1), "claims a header of 18,446,744,073,709,551,615 bytes"),
    "length over the limit": (raw({}, b"x" * 100, length=HEADER_LIMIT + 1), "the limit is 1,048,576"),
    "not JSON": (raw(b"{nonsense"), "not JSON"),
    "not a table": (raw([1, 2]), "not a table"),
    "deep nesting": (raw(b"[" * 100_000), "not JSON"),
    "a number of 5,000 digits": (raw(b'{"a": ' + b"1" * 5000 + b"}"), "not JSON"),
    "bad UTF-8": (raw(b'{"\xff": 1}'), "not JSON"),
    "a name twice": (raw(b'{"a": 1, "a": 2}'), "twice"),
    "too many tensors": (raw({f"t{n}": entry(shape=(0,), offsets=(0, 0)) for n in range(4097)}), "lists 4,097 tensors; the limit is 4,096"),
    "a name with NUL": (raw({"a\0b": entry()}, b"1234"), r"names a tensor 'a\\x00b'"),
    "a name with an escape": (raw({"\x1b[2J": entry()}, b"1234"), r"names a tensor '\\x1b\[2J'"),
    "a long name": (raw({"a" * 201: entry()}, b"1234"), "1 to 200 letters"),
    "bfloat16": (raw({"a": entry("BF16", (2,))}, b"1234"), "bfloat16, which numpy does not have"),
    "a foreign dtype": (raw({"a": entry("C64")}, b"1234"), "is 'C64'; a checkpoint takes F64, F32"),
    "a dtype that is no text": (raw({"a": entry([])}, b"1234"), "a checkpoint takes"),
    "fields missing": (raw({"a": {"dtype": "F32"}}, b"1234"), "does not give a dtype, a shape and offsets"),
    "a negative shape": (raw({"a": entry(shape=(-1,))}, b"1234"), "an invalid shape"),
    "a shape that is true": (raw({"a": entry(shape=(True,))}, b"1234"), "an invalid shape"),
    "a shape of many axes": (raw({"a": entry(shape=(1,) * 17)}, b"1234"), "an invalid shape"),
    "a shape that overflows": (raw({"a": entry(shape=(2**61, 2**61, 2**61))}, b"1234"), "has 4 bytes where its shape"),
    "offsets swapped": (raw({"a": entry(offsets=(4, 0))}, b"1234"), "invalid offsets"),
    "offsets do not fit the shape": (
        raw({"a": entry(shape=(2,))}, b"1234"),
        "has 4 bytes where its shape (2,) needs 8".replace("(", r"\(").replace(")", r"\)"),
    ),
    "an overlap": (raw({"a": entry(), "b": entry(offsets=(2, 6))}, b"123456"), "an overlap"),
    "a hole": (raw({"a": entry(), "b": entry(offsets=(5, 9))}, b"123456789"), "a hole"),
    "a BOOL that is 7": (raw({"a": entry("BOOL", (1,), (0, 1))}, b"\7"), "neither 0 nor 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_malformed_file_is_refused_in_words(what: str, tmp_path: Path) -> None:
    data, words = REFUSED[what]
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(CheckpointError, match=words):
        read_tensors(tmp_path / "x")


@pytest.mark.parametrize(("tensors", "words"), [
    ({"../x\n": np.zeros(1)}, "names a tensor"),
    ({"a": np.zeros(1, np.complex64)}, "complex64; a checkpoint takes"),
    ({"a": np.array(["x"])}, "a checkpoint takes"),
    ({"a": np.array([object()])}, "object; a checkpoint takes"),
    ({f"t{n}": np.zeros(0) for n in range(4097)}, "4,097 tensors"),
    ({f"{n}{'x' * 190}": np.zeros((0, *[1] * 9)) for n in range(4096)}, "names and shapes take"),
])  # fmt: skip
def test_what_could_not_be_read_again_is_not_written(tensors: Arrays, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        write_tensors(tensors)


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(write_tensors({"a": np.zeros(1000)}))
    with pytest.raises(CheckpointError, match="take 8,000 bytes; the limit is 7,999"):
        read_tensors(path, limit_bytes=7999)
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a sparse file of 1 TiB
    with pytest.raises(CheckpointError, match="holds 1,099,511,627,776 bytes; the limit is"):
        read_tensors(path)


@pytest.mark.parametrize(("make", "words"), [
    (lambda path: os.mkfifo(path), "not a regular file"),
    (lambda path: path.mkdir(), "not a regular file"),
    (lambda path: path.symlink_to("/dev/zero"), "a link, and links are not followed"),
    (lambda path: None, "No such file"),
])  # fmt: skip
def test_only_regular_files_are_read(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    make(tmp_path / "x")
    with pytest.raises(CheckpointError, match=words):
        read_tensors(tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"not a regular file|links are not followed"):
        read_tensors(Path("/dev/zero"))


def test_foreign_files_with_metadata_and_odd_alignment_are_read(tmp_path: Path) -> None:
    header = {"__metadata__": {"made by": "someone"}, "a": entry("U8", (1,), (0, 1)), "b": entry("F32", (1,), (1, 5))}
    (tmp_path / "x").write_bytes(raw(header, b"\1" + np.float32(2.5).tobytes()))
    found = read_tensors(tmp_path / "x")
    assert found["b"].tolist() == [2.5]
    assert found["b"].flags.aligned


# --- the store ---------------------------------------------------------------------------------------------------------------------------

META = {"settings": {"lr": 1e-3}, "best": float("inf"), "big": 2**100, "words": ["é", "\x1b"]}


def save(where: Store, step: int, value: float | None = None) -> None:
    where.save(step, {"w": np.full(1000, step if value is None else value)}, {"adam/w": np.full(1000, -step)}, {**META, "step": step})


@pytest.fixture
def checkpoints(tmp_path: Path) -> Store:
    return Store(tmp_path / "checkpoints")


def test_a_checkpoint_comes_back_whole(checkpoints: Store) -> None:
    saved = checkpoints.save(12, some_tensors(), {"adam/x": np.ones(2)}, META)
    assert saved.name == "step-12"
    assert saved.bytes == sum(file.stat().st_size for file in (checkpoints.directory / "step-12").iterdir())
    found = store.load(checkpoints.directory / "step-12")
    assert (found.step, found.meta) == (12, META)
    assert equal(found.weights, some_tensors())
    assert equal(found.tensors, {"adam/x": np.ones(2)})
    assert store.read_record(checkpoints.directory / "step-12").meta == META


def test_the_three_latest_are_kept_and_nothing_that_is_not_ours_is_touched(checkpoints: Store) -> None:
    checkpoints.directory.mkdir()
    others = ["step-007", "step-x", "notes", ".tmp-mine"]
    for name in others:
        (checkpoints.directory / name).mkdir()
    outside = checkpoints.directory.parent / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (checkpoints.directory / "step-1").symlink_to(outside)
    for step in (2, 9, 10, 11):
        save(checkpoints, step)
    assert checkpoints.names() == ["step-9", "step-10", "step-11"]
    checkpoints.clean()
    assert all((checkpoints.directory / name).is_dir() for name in others)
    assert (outside / "precious").exists()


def test_later_checkpoints_go_once_the_run_has_taken_another_course(checkpoints: Store) -> None:
    for step in (10, 20, 30):
        save(checkpoints, step)
    save(checkpoints, 15)
    assert checkpoints.names() == ["step-10", "step-15"]


def test_damaged_newer_checkpoints_never_push_out_the_sound_one_just_saved(checkpoints: Store) -> None:
    for step in (10, 20, 30, 40):
        save(checkpoints, step)
    for step in (20, 30, 40):
        (checkpoints.directory / f"step-{step}" / "weights.safetensors").write_bytes(b"")
    save(checkpoints, 15)
    newest, problems = checkpoints.newest()
    assert newest is not None
    assert (newest.step, problems) == (15, [])


@pytest.mark.parametrize("file", ["weights.safetensors", "state.safetensors", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "link"])
def test_the_one_before_is_taken_when_the_newest_is_damaged_and_it_is_said(checkpoints: Store, file: str, damage: str) -> None:
    for step in (10, 20):
        save(checkpoints, step)
    path = checkpoints.directory / "step-20" / file
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.unlink()
    if damage == "link":
        path.symlink_to(checkpoints.directory / "step-10" / file)
    elif damage != "gone":
        path.write_bytes(data if damage == "flip" else data[:-9])
    newest, problems = checkpoints.newest()
    assert newest is not None
    assert newest.step == 10
    assert len(problems) == 1
    assert str(path) in problems[0]
    with pytest.raises(CheckpointError):
        store.load(checkpoints.directory / "step-20")


def test_there_is_no_newest_of_none(checkpoints: Store) -> None:
    assert checkpoints.newest() == (None, [])


def test_a_renamed_checkpoint_is_not_taken_for_another_step(checkpoints: Store) -> None:
    save(checkpoints, 10)
    (checkpoints.directory / "step-10").rename(checkpoints.directory / "step-99")
    newest, problems = checkpoints.newest()
    assert newest is None
    assert "holds step 10: it has been renamed" in problems[0]


@pytest.mark.parametrize(("change", "words"), [
    ({"format": 2}, "has format 2; this version reads format 1"),
    ({"step": 11}, "has been altered: its checksum"),
    ({"meta": {}}, "has been altered: its checksum"),
    ({"files": {"../../x": "0"}}, "has been altered: its checksum"),
])  # fmt: skip
def test_an_altered_meta_is_refused(checkpoints: Store, change: dict[str, Any], words: str) -> None:
    save(checkpoints, 10)
    path = checkpoints.directory / "step-10" / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=words):
        store.read_record(path.parent)


NO_META = {
    "empty": b"",
    "a list": b"[]",
    "nothing in it": b"{}",
    "nested": b"[" * 200_000,
    "nested within": b'{"format": 1, "checksum": ' + b"[" * 900 + b"]" * 900 + b"}",
    "bad UTF-8": b"\xff",
}


@pytest.mark.parametrize("what", NO_META)
def test_a_meta_that_is_none_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "meta.json").write_bytes(NO_META[what])
    with pytest.raises(CheckpointError, match=r"meta\.json"):
        store.read_record(tmp_path)


def test_a_forged_meta_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_bytes(store.encode_meta(1, {"../secret": b""}, {}))
    with pytest.raises(CheckpointError, match="lists files that a checkpoint does not have"):
        store.load(tmp_path)


def test_a_meta_of_any_letters_comes_back(checkpoints: Store) -> None:
    letters = "я" * (3 << 20) + '\udcff\n"\x00'  # escaped they would take too much; a file's name may hold a byte that is no text
    checkpoints.save(10, {"w": np.ones(1)}, {}, {"a": letters})
    assert store.load(checkpoints.directory / "step-10").meta == {"a": letters}


def test_values_that_could_not_be_loaded_again_are_not_saved(checkpoints: Store) -> None:
    save(checkpoints, 10)
    for weights, meta, words in [
        ({"w": np.array([1.0, np.nan])}, {}, "weight w of the model holds values that are not a number"),
        ({"w": np.ones(1)}, {"a": object()}, "meta is not JSON"),
        ({"w": np.ones(1)}, {"a": "x" * (9 << 20)}, "the limit is 8,388,608"),
        ({"w": np.ones(1)}, {"a": "я" * (5 << 20)}, "the limit is 8,388,608"),
    ]:
        with pytest.raises(CheckpointError, match=words):
            checkpoints.save(20, weights, {}, meta)
    assert [path.name for path in checkpoints.directory.iterdir()] == ["step-10"]


def test_weights_that_are_no_numbers_are_refused(checkpoints: Store) -> None:
    files = {"weights.safetensors": write_tensors({"w": np.array([np.nan])})}
    store.write_folder(checkpoints.directory.parent / "x", files | {"meta.json": store.encode_meta(3, files, {})})
    with pytest.raises(CheckpointError, match="holds values that are not a number"):
        store.load(checkpoints.directory.parent / "x")


# --- killed, and out of space ------------------------------------------------------------------------------------------------------------

CALLS = ("open", "write", "fsync", "close", "mkdir", "rename", "unlink", "rmdir", "scandir")


def die_at(call: int) -> None:
    """From now on, in this process: the end comes in place of the `call`-th call into the file system; of a write, in its midst."""
    count = 0

    def deadly(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == call:
                if name == "write":
                    original(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os._exit(9)
            return original(*arguments, **named)

        return wrapped

    for name in CALLS:
        setattr(os, name, deadly(name, getattr(os, name)))


def die_at_every_call(folder: Path, before: list[int], step: int) -> None:
    """Run in a process of its own, which may fork: print the weight that was found after each death."""
    seen: set[float | None] = set()
    for call in range(1, 500):
        where = Store(folder / str(call))
        for earlier in before:
            save(where, earlier)
        child = os.fork()
        if child == 0:
            die_at(call)
            save(where, step, value=step + 0.5)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        found = [where.newest()]
        where.clean()
        found.append(where.newest())
        left = [path.name for path in where.directory.iterdir()] if where.directory.exists() else []
        assert all(name.startswith("step-") for name in left), (call, left)
        assert [problems for _, problems in found] == [[], []], (call, found)
        seen.update(None if newest is None else float(newest.weights["w"][0]) for newest, _ in found)
        save(where, 50)
        assert where.names()[-1] == "step-50"
        if os.waitstatus_to_exitcode(status) == 0:
            assert call > 20
            print(json.dumps(sorted(seen, key=str)))
            return


@pytest.mark.parametrize(("before", "step", "allowed"), [
    ([], 10, [10.5, None]),
    ([10, 20, 30], 40, [30, 40.5]),
    ([10, 20, 30], 30, [30, 30.5]),
    ([10, 20, 30], 15, [15.5, 30]),
])  # fmt: skip
def test_killed_at_any_call_of_a_save_a_whole_checkpoint_loads(
    tmp_path: Path, before: list[int], step: int, allowed: list[float | None]
) -> None:
    call = f"die_at_every_call(Path({str(tmp_path)!r}), {before}, {step})"
    script = f"from pathlib import Path; from tests.test_checkpoints import *; {call}"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == allowed


FULL_DISK = """
import errno, os, sys
from pathlib import Path
import numpy as np
from dlplay.checkpoints.store import Store
from dlplay.engine.events import Stepped
from dlplay.runs.journal import Journal, JournalFull, JournalReader

folder = Path(sys.argv[1])
if sys.argv[2] == "limit":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
store = Store(folder / "checkpoints")
store.save(1, {"w": np.ones(10_000)}, {"s": np.ones(10)}, {"step": 1})
for _ in range(2):
    try:
        store.save(2, {"w": np.ones(500_000)}, {}, {})
    except OSError as error:
        assert error.errno in (errno.ENOSPC, errno.EFBIG), error
    else:
        raise AssertionError("the disk was not full")
    assert os.listdir(store.directory) == ["step-1"], os.listdir(store.directory)
    assert store.newest()[0].weights["w"].sum() == 10_000

journal = Journal(folder / "events.jsonl")
event = Stepped(step=1, first=1, metrics={"loss": [0.123456789] * 250}, seconds=1.0)
written = 0
try:
    while True:
        journal.append(event)
        written += 1
except JournalFull as error:
    assert "the disk is full" in str(error), error
assert written > 100
for _ in range(3):
    try:
        journal.append(event)
        raise AssertionError("the disk was not full")
    except JournalFull:
        pass
    assert (folder / "events.jsonl").read_bytes().endswith(b"}\\n")
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
    print("held", written)
    sys.exit()
store.directory.joinpath("step-1", "state.safetensors").unlink()
store.directory.joinpath("step-1", "weights.safetensors").unlink()
assert journal.append(event).seq == written
reader = JournalReader(folder / "events.jsonl")
assert [found.seq for found in reader.read()] == list(range(written + 1)) and reader.damaged == 0
store.save(3, {"w": np.ones(5_000)}, {}, {})
assert store.newest()[0].step == 3
print("held", written)
"""


def small_disk(folder: Path, size: str = "1m") -> list[str]:
    """A command in front that gives `folder` a disk of this size; empty where the kernel does not let us."""
    mount = ["unshare", "-Urm", "sh", "-c", f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"', str(folder)]
    try:
        return mount if subprocess.run([*mount, "true"], capture_output=True, check=False).returncode == 0 else []
    except FileNotFoundError:
        return []


@pytest.mark.parametrize("kind", ["disk", "limit"])
def test_a_full_disk_leaves_checkpoints_and_journal_whole(tmp_path: Path, kind: str) -> None:
    front = small_disk(tmp_path) if kind == "disk" else []
    command = [*front, sys.executable, "-W", "error", "-c", FULL_DISK, str(tmp_path), "disk" if front else "limit"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("held")


MUTANTS = """
import random, resource, shutil, sys, time
from pathlib import Path
import numpy as np
from dlplay.checkpoints import CheckpointError
from dlplay.checkpoints.format import read_tensors, signature
from dlplay.checkpoints.store import Store, load

folder, count = Path(sys.argv[1]), int(sys.argv[2])
store = Store(folder)
weights = {f"m/{n}": np.arange(6, dtype=np.float32).reshape(2, 3) for n in range(4)}
store.save(1, weights | {"b": np.array([True])}, {"s": np.zeros(3)}, {"a": [1, 2.5]})
path = folder / "step-1"
whole = {name: (path / name).read_bytes() for name in ("weights.safetensors", "state.safetensors", "meta.json")}

huge = folder / "huge"  # a legal header of 1.5 million empty tensors
with huge.open("wb") as file:
    body = b"{" + b",".join(b'"%07d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(1_500_000)) + b"}"
    file.write(len(body).to_bytes(8, "little") + body)
    del body
kilobytes = int(Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0]) if sys.platform == "linux" else 0
if kilobytes:
    resource.setrlimit(resource.RLIMIT_AS, (kilobytes * 1024 + (200 << 20),) * 2)
slowest = 0.0

def refused(read, *arguments):
    global slowest
    begin = time.process_time()
    try:
        read(*arguments)
    except CheckpointError:
        return True
    finally:
        slowest = max(slowest, time.process_time() - begin)
    return False

assert refused(read_tensors, huge) and refused(signature, huge)
draw = random.Random(0)

def mutate(data):
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        at, to = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        match draw.randrange(7):
            case 0 if data: data[min(at, len(data) - 1)] ^= 1 << draw.randrange(8)
            case 1 if data: data[min(at, len(data) - 1)] = draw.randrange(256)
            case 2: del data[at:to]
            case 3: data[at:at] = data[at:to]
            case 4: data[at:at] = draw.randbytes(draw.randrange(1, 30))
            case 5: data[0:8] = draw.choice((2**64 - 1, 2**63, 2**32, len(data), max(0, len(data) - 8), 0, 1 << 20)).to_bytes(8, "little")
            case 6:
                digits = [n for n, c in enumerate(data) if 48 <= c < 58]
                other = draw.choice((b"9" * draw.randrange(1, 40), b"-1", b"1e999", b"null", b"[]", b"0"))
                if digits: n = draw.choice(digits); data[n:n + 1] = other
    return bytes(data)

read = 0
for _ in range(count):
    name = draw.choice(list(whole))
    data = mutate(whole[name])
    (path / name).write_bytes(data)
    if not refused(load, path):
        found = load(path)
        assert found.step == 1 and found.meta == {"a": [1, 2.5]} and found.weights["m/3"].sum() == 15, data  # only spaces differ
        assert name == "meta.json" or data == whole[name], (name, data)
    if name != "meta.json" and not refused(read_tensors, path / name):
        read += 1  # without a checksum a mutant may be a sound file: it is read, or refused in words
    (path / name).write_bytes(whole[name])
assert load(path).step == 1
print(f"slowest {slowest:.3f} s, {read} read without a checksum")
assert slowest < 1
"""


@pytest.mark.parametrize("count", [1_000, pytest.param(15_000, marks=pytest.mark.slow)])
def test_mutants_of_a_checkpoint_are_refused_quickly_and_in_little_memory(tmp_path: Path, count: int) -> None:
    command = [sys.executable, "-W", "error", "-c", MUTANTS, str(tmp_path), str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


# --- shipped models ----------------------------------------------------------------------------------------------------------------------


def test_checkpoints_behind_a_link_are_neither_read_nor_pruned(checkpoints: Store, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(checkpoints, step)
    (tmp_path / "other").symlink_to(checkpoints.directory)
    other = Store(tmp_path / "other")
    assert other.newest() == (None, [f"{other.directory} is a link, and links are not followed"])
    for change in (lambda: save(other, 9), other.clean):
        with pytest.raises(CheckpointError, match="links are not followed"):
            change()
    assert checkpoints.names() == ["step-1", "step-2", "step-3"]


def test_a_shipped_model_is_added_found_and_verified(checkpoints: Store, tmp_path: Path) -> None:
    assert shipped.shipped(tmp_path / "none") == {}
    checkpoints.save(5, some_tensors(), {"adam": np.ones(9)}, META)
    checkpoint = store.load(checkpoints.directory / "step-5")
    facts = {"architecture": "gpt", "command": "dlplay gpt --headless", "metric": "val_perplexity", "metrics": {"val_perplexity": 61.8}}
    for _ in range(2):
        added = shipped.add("gpt-reference", checkpoint, **facts, baselines={"val_perplexity": {"trigram": 77.1}}, root=tmp_path)  # type: ignore[arg-type]
    assert shipped.find("gpt-reference", tmp_path) == added
    assert (added.value, added.architecture, added.baselines["val_perplexity"]["trigram"]) == (61.8, "gpt", 77.1)
    opened = added.open()
    assert equal(opened.weights, some_tensors())
    assert (opened.tensors, opened.meta) == ({}, META)
    with pytest.raises(CheckpointError, match="did you mean gpt-reference"):
        shipped.find("gpt-referense", tmp_path)
    with pytest.raises(CheckpointError, match="cannot be a model's name"):
        shipped.add("../x", checkpoint, **facts, root=tmp_path)  # type: ignore[arg-type]
    checkpoints.save(6, {"w": np.ones(1)}, {}, META)
    (added.path / "meta.json").write_bytes((checkpoints.directory / "step-6" / "meta.json").read_bytes())
    with pytest.raises(CheckpointError, match="does not match its manifest"):
        added.open()


def test_a_shipped_model_has_checkpoints_along_the_way(checkpoints: Store, tmp_path: Path) -> None:
    saved = []
    for step in (1, 3, 5, 6):
        checkpoints.save(step, {"w": np.full(4, float(step))}, {"adam": np.ones(9)}, {**META, "settings": {"seed": step // 6}})
        saved.append(store.load(checkpoints.directory / f"step-{step}"))
    one, three, five, six = saved
    facts: dict[str, Any] = {"architecture": "gpt", "command": "dlplay gpt", "metric": "loss", "metrics": {"loss": 1.0}, "root": tmp_path}
    for _ in range(2):  # the second takes the place of the first
        added = shipped.add("x", five, along=[three, one], **facts)
    assert list(added.steps) == [1, 3, 5]
    assert [added.open(step).weights["w"][0] for step in added.steps] == [1, 3, 5]
    assert added.open(3).tensors == {}
    assert added.bytes == sum(path.stat().st_size for path in added.path.rglob("*") if path.is_file())
    assert shipped.find("x", tmp_path) == added
    for wrong in (five, six):  # no earlier one, and one of a run with another seed
        with pytest.raises(CheckpointError, match="are no earlier ones of the run whose step"):
            shipped.add("x", five if wrong is five else three, along=[wrong], **facts)
    with pytest.raises(CheckpointError, match=r"no earlier ones"):
        shipped.add("x", six, along=[one], **facts)
    shutil.rmtree(added.path / "along" / "step-3")
    shutil.copytree(added.path / "along" / "step-1", added.path / "along" / "step-3")
    with pytest.raises(CheckpointError, match="shipped model x does not match its manifest"):
        added.open(3)
    shutil.rmtree(added.path / "along" / "step-3")
    with pytest.raises(CheckpointError, match="step-3"):
        added.open(3)
    assert added.open(1).step == 1


def test_a_shipped_model_must_be_small(checkpoints: Store, tmp_path: Path) -> None:
    checkpoints.save(5, {"w": np.ones(300_000)}, {}, {})
    with pytest.raises(CheckpointError, match="a shipped model may take 2,097,152"):
        shipped.add(
            "x", store.load(checkpoints.directory / "step-5"), architecture="gpt", command="", metric="m", metrics={"m": 1.0}, root=tmp_path
        )


def test_every_model_that_is_shipped_loads_and_fits_its_manifest() -> None:
    for model in shipped.shipped().values():
        assert model.open().weights
        assert [model.open(step).step for step in model.steps] == list(model.steps)
        assert model.bytes <= shipped.SIZE_LIMIT
        assert model.command.startswith("dlplay ")


def test_a_model_with_default_settings_is_the_first_of_its_architecture() -> None:
    first: dict[str, str] = {}
    for item in shipped.shipped().values():
        first.setdefault(item.architecture, item.name)
    assert first["gpt"] == "gpt-reference"
    assert first["gan"] == "gan-gaussians"
    assert first["transformer-xl"] == "transformer-xl-recall"
