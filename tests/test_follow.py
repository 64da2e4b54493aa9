"""A journal followed: the short one at once, the long one in a thread while the event loop goes on, and every event once and in order."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dlplay.runs import directory, follow
from dlplay.runs.follow import Follower
from dlplay.runs.history import History
from dlplay.runs.journal import Journal
from tests.screen_pilot import opened, until
from tests.test_compaction import started, train


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "SHORT", 20_000)
    monkeypatch.setattr(follow, "PART", 10_000)
    monkeypatch.setattr(follow, "PARTS", 2)


def test_a_long_journal_is_read_in_parts_and_then_as_it_grows(tmp_path: Path, small_parts: None) -> None:
    path, pen = tmp_path / "events.jsonl", random.Random(0)
    history, follower = History(), Follower(path)
    assert follower.take() == []
    with Journal(path) as writer:
        writer.append(started())
        written = train(writer, 1, 20_000, pen)["loss"]
        lines = path.read_bytes().count(b"\n")
        seen, taken = [], 0
        deadline = time.monotonic() + 60
        while history.step < 20_000:
            assert time.monotonic() < deadline
            events = follower.take()
            taken += len(events)
            history.add(events)
            seen.append(history.step)
        assert any(0 < step < 20_000 for step in seen)  # there was something to draw before all of it was read
        assert taken < lines / 3  # joined, since adding a few values at a time takes long
        while follower.loading:
            assert time.monotonic() < deadline
            history.add(follower.take())
        written |= train(writer, 20_001, 20_100, pen)["loss"]
        history.add(follower.take())
    series = history.training["loss"]
    assert np.array_equal(series.x, np.arange(1, 20_101))
    assert series.y.tolist() == [written[step] for step in range(1, 20_101)]


def test_one_that_is_left_reads_no_further(tmp_path: Path, small_parts: None) -> None:
    path = tmp_path / "events.jsonl"
    with Journal(path) as writer:
        train(writer, 1, 20_000, random.Random(0))
    follower = Follower(path)
    follower.take()
    thread = next(thread for thread in threading.enumerate() if thread.name == "journal")
    follower.close()
    thread.join(30)
    assert not thread.is_alive()


async def test_the_form_takes_the_settings_of_a_long_run(tmp_path: Path, small_parts: None) -> None:
    run = directory.create(tmp_path, "convnet", {"batch": 21})
    with Journal(run.journal_path) as writer:
        writer.append(started())
        train(writer, 1, 20_000, random.Random(0))
        changed = started(step=20_000)
        writer.append(type(changed)(**{name: getattr(changed, name) for name in changed.__struct_fields__} | {"settings": {"batch": 21}}))
    async with opened(tmp_path, tab="convnet", attach=run.name) as (app, _):
        await until(lambda: app.tab.form.values["batch"] == 21)
        assert app.tab.link.history.step == 20_000
