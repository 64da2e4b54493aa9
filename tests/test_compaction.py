"""A long journal stays bounded, and no extreme is lost; whoever reads it meanwhile reads every step once."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from dlplay import architectures
from dlplay.engine.events import Applied, DurableEvent, Evaluated, Saved, Started, Stepped
from dlplay.engine.settings import make, to_dict
from dlplay.runs import compaction, directory, journal, process
from dlplay.runs.console import PlainLines
from dlplay.runs.history import History
from dlplay.runs.journal import Journal, JournalReader
from tests.conftest import Small

WIDE = 64
"""Steps of a block, for 10,000 steps in 256 blocks."""


def started(step: int = 0) -> Started:
    return Started(
        step=step, architecture="toy", name="toy-1", settings={}, device="cpu", device_name="", threads=1, parameters=1, data=""
    )  # fmt: skip


def train(writer: Journal, first: int, last: int, pen: random.Random) -> dict[str, dict[int, float]]:
    """Training from one step to another, with spikes; returns what was written, by metric and step."""
    written: dict[str, dict[int, float]] = {"loss": {}, "norm": {}}
    while first <= last:
        step = min(last, first + pen.randint(0, 20))
        losses: list[float | None] = [pen.gauss(0, 1) * (50 if pen.random() < 0.001 else 1) for _ in range(first, step + 1)]
        norms: list[float | None] = [pen.random() if pen.random() < 0.5 else None for _ in range(first, step + 1)]
        writer.append(Stepped(first=first, step=step, metrics={"loss": losses, "norm": norms}, seconds=step / 100))
        for name, column in (("loss", losses), ("norm", norms)):
            written[name] |= {first + at: value for at, value in enumerate(column) if value is not None}
        if pen.random() < 0.1:
            writer.append(Evaluated(step=step, metrics={"test": pen.random()}))
        first = step + 1
    return written


def values(events: list[DurableEvent]) -> dict[str, dict[int, float]]:
    """By metric and step; fails where a step comes twice or a step is left out."""
    found: dict[str, dict[int, float]] = {}
    covered = 0
    for event in events:
        if isinstance(event, Stepped):
            assert event.first == covered + 1
            covered = event.step
            steps = event.at or range(event.first, event.step + 1)
            for name, column in event.metrics.items():
                known = {step: value for step, value in zip(steps, column, strict=True) if value is not None}
                assert not set(known) & set(found.setdefault(name, {}))
                found[name] |= known
    return found


def extremes(column: dict[int, float], width: int) -> dict[int, tuple[float, float]]:
    blocks: dict[int, list[float]] = {}
    for step, value in column.items():
        blocks.setdefault((step - 1) // width, []).append(value)
    return {block: (min(found), max(found)) for block, found in blocks.items()}


@pytest.mark.parametrize("seed", range(4))
def test_every_block_keeps_its_extremes_however_often_it_is_compacted(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "AT_ONCE", 3000)
    monkeypatch.setattr(compaction, "VALUES", 200)
    pen, path = random.Random(seed), tmp_path / "events.jsonl"
    with Journal(path) as writer:
        writer.append(started())
        written = train(writer, 1, 10_000, pen)
    for kept in (60_000, 20_000, 0):
        before = journal.history(path)
        compaction.compacted(path, kept=kept, blocks=256).replace(path)
        after = journal.history(path)
        assert [event for event in after if not isinstance(event, Stepped)] == [event for event in before if not isinstance(event, Stepped)]
        found = values(after)
        for name, column in written.items():
            assert found[name].items() <= column.items()
            assert extremes(found[name], WIDE) == extremes(column, WIDE)
    assert sum(map(len, found.values())) < sum(map(len, written.values())) / 8


def test_what_a_resume_took_back_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with Journal(path) as writer:
        writer.append(started())
        train(writer, 1, 1000, random.Random(0))
        writer.append(Stepped(first=1001, step=1001, metrics={"loss": [1e9]}, seconds=1))
        writer.append(Applied(step=1001, what="lr", value=1))
        writer.append(started(step=1000))
        second = train(writer, 1001, 3000, random.Random(1))
    before = values(journal.history(path))
    compaction.compacted(path, kept=0, blocks=64).replace(path)
    events = journal.history(path)
    assert not any(isinstance(event, Applied) for event in events)
    found = values(events)
    assert extremes(found["loss"], 64) == extremes(before["loss"], 64)
    assert max(found["loss"].values()) < 1e9
    assert found["loss"].items() <= (before["loss"] | second["loss"]).items()


def test_a_run_goes_on_in_a_compacted_journal_and_its_readers_read_every_event_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "LIMIT", 100_000)
    monkeypatch.setattr(compaction, "KEPT", 20_000)
    monkeypatch.setattr(compaction, "BLOCKS", 64)
    path = tmp_path / "events.jsonl"
    reader, late, history = JournalReader(path), JournalReader(path), History()
    sizes, pen = [], random.Random(2)
    with Journal(path) as writer:
        writer.append(started())
        last: dict[str, dict[int, float]] = {}
        for first in range(1, 20_000, 500):
            last = train(writer, first, first + 499, pen)
            writer.append(Saved(step=first + 499, checkpoint="", bytes=1))
            history.add(reader.read())
            writer.compact()
            sizes.append(path.stat().st_size)
    history.add(reader.read())
    assert max(sizes) < 200_000 < sum(sizes)
    assert sorted(path.parent.iterdir()) == [path]
    steps = history.training["loss"].x
    assert np.array_equal(steps, np.arange(1, 20_001))
    assert history.training["loss"].y[-500:].tolist() == [last["loss"][step] for step in range(19_501, 20_001)]
    values(late.read())
    with Journal(path) as writer:
        assert writer.seq == history_seq(path) + 1


def test_a_run_compacts_its_own_journal(tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LIMIT", 20_000)
    monkeypatch.setattr(compaction, "KEPT", 4_000)
    monkeypatch.setattr(compaction, "BLOCKS", 16)
    card = architectures.card("convnet")
    settings = make(card.settings, small("convnet") | {"steps": 600, "save_every": 60, "eval_every": 60, "device": "cpu"})
    run = directory.create(tmp_path, "convnet", to_dict(settings))
    assert process.run(run, lambda: PlainLines(card)) == process.FINISHED
    assert run.journal_path.stat().st_size < 40_000
    assert any(isinstance(event, Stepped) and event.at for event in journal.history(run.journal_path))
    assert sorted(values(journal.history(run.journal_path))["train_loss"])[-1] == 600


def history_seq(path: Path) -> int:
    return max(event.seq for event in JournalReader(path).read())


def test_without_space_the_journal_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, kept: int, blocks: int) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compaction, "LIMIT", 1000)
    monkeypatch.setattr(compaction, "compacted", full)
    path = tmp_path / "events.jsonl"
    with Journal(path) as writer:
        writer.append(started())
        train(writer, 1, 500, random.Random(3))
        before = path.read_bytes()
        writer.compact()
        assert path.read_bytes() == before
        writer.append(Saved(step=500, checkpoint="", bytes=1))
    assert len(values(journal.history(path))["loss"]) == 500


def test_the_journal_of_another_run_at_its_path_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LIMIT", 1000)
    path = tmp_path / "events.jsonl"
    with Journal(path) as writer:
        train(writer, 1, 500, random.Random(3))
        path.rename(tmp_path / "moved")
        path.write_text("another one")
        writer.compact()
        assert path.read_text() == "another one"
        path.unlink()
        writer.compact()
    assert [other.name for other in tmp_path.iterdir()] == ["moved"]
