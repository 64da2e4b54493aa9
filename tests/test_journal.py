"""The journal: a line is whole or not there, `seq` counts without gaps over every crash, and a reader sees each event once."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path

import msgspec
import pytest

from dlplay.engine.events import Applied, DurableEvent, Evaluated, Failed, Finished, Paused, Saved, Started, Stepped
from dlplay.runs import journal as journals
from dlplay.runs.journal import LINE_LIMIT, Journal, JournalFull, JournalReader, history


def started(step: int = 0) -> Started:
    return Started(
        step=step,
        architecture="gpt",
        name="gpt-1",
        settings={"steps": 9},
        device="cpu",
        device_name="CPU",
        threads=1,
        parameters=3,
        data="",
    )


def stepped(first: int, last: int, loss: float | None = 1.5) -> Stepped:
    return Stepped(step=last, first=first, metrics={"loss": [loss] * (last - first + 1)}, seconds=1.0)


def read(path: Path) -> list[DurableEvent]:
    return JournalReader(path).read()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def fill(path: Path, count: int) -> None:
    with Journal(path) as journal:
        for step in range(1, count + 1):
            journal.append(stepped(step, step))


def test_what_was_appended_is_read_with_its_seq_and_time(path: Path) -> None:
    events: list[DurableEvent] = [
        started(),
        stepped(1, 3, None),
        Evaluated(step=3, metrics={"val_loss": 0.1 + 0.2}),
        Applied(step=3, what="lr", value=0.1, before=[1]),
        Saved(step=3, checkpoint="step-3", bytes=9),
        Failed(step=3, what="é\n\x1b[2J", why="", remedy=""),
        Finished(step=3, reason="steps", metrics={"a": 1.0}, baselines={"a": {"b": 2.0}}, steps_per_second=3.0, seconds=4.0),
    ]
    with Journal(path) as journal:
        written = [journal.append(event) for event in events]
        journal.sync()
    assert read(path) == written
    assert [event.seq for event in written] == list(range(7))
    assert all(event.time > 1e9 for event in written)
    assert [msgspec.structs.replace(event, seq=0, time=0.0) for event in written] == events
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().count(b"\n") == 7


def test_numbers_that_json_does_not_have_come_back_as_none_or_nan(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(stepped(1, 2, math.nan))
        journal.append(Evaluated(step=2, metrics={"val_loss": math.inf, "top1": 0.5}))
    reader = JournalReader(path)
    steps, evaluated = reader.read()
    assert isinstance(steps, Stepped)
    assert isinstance(evaluated, Evaluated)
    assert steps.metrics == {"loss": [None, None]}
    assert math.isnan(evaluated.metrics["val_loss"])
    assert evaluated.metrics["top1"] == 0.5
    assert reader.damaged == 0


def test_cut_at_every_byte_of_its_last_two_records_only_the_torn_one_is_gone(path: Path) -> None:
    fill(path, 4)
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    for cut in range(ends[1], len(whole) + 1):
        path.write_bytes(whole[:cut])
        left = sum(end <= cut for end in ends)
        assert [event.seq for event in read(path)] == list(range(left))
        with Journal(path) as journal:
            assert journal.seq == left
            journal.append(Paused(step=9))
        reader = JournalReader(path)
        assert [event.seq for event in reader.read()] == list(range(left + 1))
        assert reader.damaged == 0
        assert path.read_bytes().startswith(whole[: ends[left - 1]])


TAILS = {
    "zeros": b"\0" * 5000,
    "half a line": b'{"type":"stepped"',
    "megabytes": b"\xff" * (3 << 20),
    "an empty line": b"\n",
    "garbage": b"garbage\n",
    "a kind of a later version": b'{"type":"unknown","seq":4}\n',
}


@pytest.mark.parametrize("tail", TAILS)
def test_a_damaged_end_costs_no_whole_record_and_no_seq_is_given_twice(path: Path, tail: str) -> None:
    fill(path, 4)
    with path.open("ab") as file:
        file.write(TAILS[tail])
    with Journal(path) as journal:
        again = journal.append(Paused(step=4))
    assert [event.seq for event in read(path)] == [0, 1, 2, 3, again.seq]
    assert again.seq >= 4


def test_seq_goes_on_behind_megabytes_of_damage(path: Path) -> None:
    fill(path, 3)
    with path.open("ab") as file:
        file.write((b"x" * 1000 + b"\n") * 6000)
    with Journal(path) as journal:
        assert journal.append(Paused()).seq >= 3


def test_a_short_write_is_finished(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(journals.os, "write", lambda fd, data: write(fd, data[:7]))
    fill(path, 5)
    reader = JournalReader(path)
    assert [event.seq for event in reader.read()] == [0, 1, 2, 3, 4]
    assert reader.damaged == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_write_that_fails_halfway_is_taken_back_and_the_event_can_be_appended_again(
    path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, 2)
    whole = path.read_bytes()
    write = os.write
    calls: list[int] = []

    def full(fd: int, data: memoryview) -> int:
        calls.append(fd)
        if len(calls) % 2 == 0:
            raise OSError(code, os.strerror(code))
        return write(fd, data[:42])

    with Journal(path) as journal:
        monkeypatch.setattr(journals.os, "write", full)
        for _ in range(3):
            with pytest.raises(OSError, match="disk is full" if code != errno.EIO else "Input/output") as caught:
                journal.append(Paused(step=2))
            assert isinstance(caught.value, JournalFull) == (code != errno.EIO)
            assert path.read_bytes() == whole
        monkeypatch.setattr(journals.os, "write", write)
        assert journal.append(Paused(step=2)).seq == 2
    assert [event.seq for event in read(path)] == [0, 1, 2]


def test_dev_full_is_a_full_disk(tmp_path: Path) -> None:
    if Path("/dev/full").exists():  # Linux
        journal = Journal(tmp_path / "events.jsonl")
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, journal._fd)
        os.close(full)
        with pytest.raises(OSError, match=r"disk is full|Invalid argument"):  # a device cannot be cut back
            journal.append(Paused())
        journal.close()


def test_an_event_that_is_too_large_is_refused_and_nothing_is_written(path: Path) -> None:
    with Journal(path) as journal:
        with pytest.raises(ValueError, match="does not fit in the journal; the limit is 1,048,576"):
            journal.append(Failed(what="x" * LINE_LIMIT))
        assert journal.append(Paused()).seq == 0
    assert len(read(path)) == 1


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="links are not followed"):
        Journal(path)
    assert not (tmp_path / "elsewhere").exists()


# --- reading along ----------------------------------------------------------------------------------------------------------------------


def test_a_reader_sees_each_event_once_and_begins_before_there_is_a_file(path: Path) -> None:
    reader = JournalReader(path)
    assert reader.read() == []
    with Journal(path) as journal:
        for step in range(1, 50):
            journal.append(stepped(step, step))
            assert [event.step for event in reader.read()] == [step]
            assert reader.read() == []
    assert reader.damaged == 0


def test_an_unfinished_line_is_read_once_it_is_whole(path: Path) -> None:
    fill(path, 2)
    whole = path.read_bytes()
    reader = JournalReader(path)
    path.write_bytes(b"")
    found = []
    with path.open("ab", buffering=0) as file:
        for at in range(len(whole)):
            file.write(whole[at : at + 1])
            found += reader.read()
            assert len(found) == whole[: at + 1].count(b"\n")
    assert [event.seq for event in found] == [0, 1]


def test_damaged_lines_are_skipped_and_counted(path: Path) -> None:
    fill(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    nested = b"[" * 100_000 + b"\n"
    damage = [
        b"\n",
        b"\xff\xfe\n",
        b"null\n",
        b'{"type":"evaluated","metrics":{"a":"b"}}\n',
        b'{"metrics":{}}\n',
        nested,
        b"y" * (5 << 20) + b"\n",
    ]
    path.write_bytes(lines[0] + b"".join(damage) + lines[1] + damage[0] + lines[2])
    reader = JournalReader(path)
    assert [event.seq for event in reader.read()] == [0, 1, 2]
    assert reader.damaged == 8


def test_a_line_without_end_is_left_out_without_being_kept(path: Path) -> None:
    fill(path, 2)
    lines = path.read_bytes().splitlines(keepends=True)
    reader = JournalReader(path)
    path.write_bytes(lines[0])
    found = reader.read()
    with path.open("ab", buffering=0) as file:
        for _ in range(3):
            file.write(b"z" * LINE_LIMIT)
            found += reader.read()
        file.write(b"z\n" + lines[1])
    found += reader.read()
    assert [event.seq for event in found] == [0, 1]
    assert reader.damaged == 1


def test_a_journal_that_begins_anew_is_read_from_its_start(path: Path) -> None:
    fill(path, 5)
    reader = JournalReader(path)
    assert len(reader.read()) == 5
    path.unlink()
    fill(path, 2)
    assert [event.seq for event in reader.read()] == [0, 1]


def test_history_has_each_step_once_and_the_newest_record_wins(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(started())
        journal.append(stepped(1, 10, 1.0))
        journal.append(Evaluated(step=10, metrics={"a": 1.0}))
        journal.append(stepped(11, 20, 1.0))
        journal.append(Evaluated(step=20, metrics={"a": 1.0}))
        journal.append(Saved(step=20, checkpoint="step-20", bytes=1))
        journal.append(started(step=15))
        journal.append(stepped(16, 20, 2.0))
        journal.append(Evaluated(step=20, metrics={"a": 2.0}))
        journal.append(started(step=20))
        journal.append(Evaluated(step=20, metrics={"a": 3.0}))
    events = history(path)
    losses = {event.first + n: loss for event in events if isinstance(event, Stepped) for n, loss in enumerate(event.metrics["loss"])}
    assert losses == {step: 1.0 if step <= 15 else 2.0 for step in range(1, 21)}
    assert [(event.first, event.step) for event in events if isinstance(event, Stepped)] == [(1, 10), (11, 15), (16, 20)]
    assert [(event.step, event.metrics["a"]) for event in events if isinstance(event, Evaluated)] == [(10, 1.0), (20, 3.0)]
    assert not any(isinstance(event, Saved) for event in events)
    assert [event.step for event in events if isinstance(event, Started)] == [0, 15, 20]


@pytest.mark.parametrize("kind", ["a link", "a pipe"])
def test_only_a_regular_file_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "linked.jsonl"
    if kind == "a link":
        with Journal(tmp_path / "events.jsonl") as journal:
            journal.append(Evaluated(step=1, metrics={"loss": 1.0}))
        path.symlink_to(tmp_path / "events.jsonl")
    else:
        os.mkfifo(path)
        writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        os.write(writer, msgspec.json.encode(Evaluated(step=1, metrics={"loss": 1.0})) + b"\n")
    assert JournalReader(path).read() == []
