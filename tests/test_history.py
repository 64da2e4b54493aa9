"""A run's history from its durable events."""

import time

import numpy as np

from dlplay.engine.events import Applied, Baselines, Evaluated, Failed, Finished, Paused, Resumed, Saved, Started, Stepped
from dlplay.runs.history import LIMIT, History, Series


def started(step: int = 0, **settings: object) -> Started:
    return Started(
        step=step, architecture="toy", name="toy-1", settings={"steps": 100, "lr": 0.1, **settings}, device="cpu", device_name="CPU",
        threads=1, parameters=10, data="toy data",
    )  # fmt: skip


def stepped(first: int, losses: list[float | None]) -> Stepped:
    return Stepped(step=first + len(losses) - 1, first=first, metrics={"train_loss": losses}, seconds=1.0)


def test_a_resume_supersedes_what_was_said_of_later_steps() -> None:
    history = History("accuracy", "higher")
    history.add([started(), stepped(1, [5.0, 4.0, 3.0]), Applied(step=3, what="lr", value=0.2, before=0.1)])
    history.add([stepped(4, [2.0]), Evaluated(step=4, metrics={"accuracy": 0.9})])
    assert history.step == 4
    assert history.settings["lr"] == 0.2
    history.add([started(step=2)])
    assert history.step == 2
    assert history.training["train_loss"].y.tolist() == [5.0, 4.0]
    assert len(history.held_out["accuracy"]) == 0
    assert history.marks == []
    history.add([stepped(3, [3.5, 2.5])])
    assert history.training["train_loss"].x.tolist() == [1, 2, 3, 4]
    assert history.training["train_loss"].y.tolist() == [5.0, 4.0, 3.5, 2.5]


def test_a_change_in_mid_run_is_marked_and_in_force() -> None:
    history = History()
    history.add(
        [started(), stepped(1, [1.0]), Applied(step=1, what="lr", value=0.01, before=0.1), Applied(step=1, what="new_episode", value={})]
    )
    assert history.marks == [(1, "lr 0.01"), (1, "new_episode")]
    assert history.settings["lr"] == 0.01


def test_a_missing_value_is_a_gap() -> None:
    history = History()
    history.add([started(), stepped(1, [1.0, None, 3.0, None])])
    series = history.training["train_loss"]
    assert np.isnan(series.y[1])
    assert series.last == 3.0


def test_the_best_evaluation_follows_the_direction_of_the_metric() -> None:
    events = [
        started(),
        Evaluated(step=10, metrics={"m": 3.0}),
        Evaluated(step=20, metrics={"m": 1.0}),
        Evaluated(step=30, metrics={"m": 2.0}),
    ]
    lower, higher = History("m", "lower"), History("m", "higher")
    lower.add(events)
    higher.add(events)
    assert lower.best() == (20, 1.0)
    assert higher.best() == (10, 3.0)
    assert History("m").best() is None


def test_how_a_run_stands() -> None:
    history = History()
    history.add([started(), Baselines(values={"m": {"mean": 2.0}}), Paused(step=1, reason="disk full")])
    assert history.paused
    history.add([Resumed(step=1), Saved(step=2, time=50.0, checkpoint="step-2", bytes=9)])
    assert not history.paused
    assert (history.saved_at, history.saved_step) == (50.0, 2)
    history.add([Failed(step=3, what="loss is not finite")])
    assert history.failure is not None
    history.add([started(step=2)])
    assert history.failure is None
    history.add([Finished(step=100, reason="steps", metrics={"m": 1.0}, baselines={"m": {"best": 1.5}}, steps_per_second=9.0, seconds=3.0)])
    assert history.finished is not None
    assert history.baselines == {"m": {"best": 1.5}}
    history.add([stepped(101, [1.0])])
    assert history.finished is None


def test_a_long_curve_is_bounded_and_keeps_every_extreme() -> None:
    series, generator = Series(), np.random.default_rng(0)
    values = generator.normal(size=400_000)
    values[123_456], values[300_001] = 99.0, -99.0
    for start in range(0, len(values), 777):
        part = values[start : start + 777]
        series.append(np.arange(start, start + len(part)), part)
    assert len(series) <= LIMIT
    assert series.y.max() == 99.0
    assert series.x[series.y.argmax()] == 123_456
    assert series.x[series.y.argmin()] == 300_001
    assert (np.diff(series.x) > 0).all()
    assert len(values) - series.x[-1] <= series.width
    # even in density: as many points in the first half as in the second
    assert 0.8 < (series.x < 200_000).sum() / (series.x >= 200_000).sum() < 1.25


def test_a_long_curve_rewinds() -> None:
    series = Series()
    series.append(np.arange(100_000), np.arange(100_000.0))
    series.cut(49_999)
    assert 49_990 <= series.x[-1] <= 49_999
    series.append(np.arange(50_000, 100_000), np.arange(100_000, 150_000.0))
    assert (np.diff(series.x) > 0).all()
    assert series.y[-1] == 149_999


def test_a_gap_survives_the_merging() -> None:
    series = Series()
    series.append(np.arange(LIMIT + 4), [None] * (LIMIT + 4))
    series.append([LIMIT + 4], [1.0])
    assert len(series) < LIMIT
    assert series.last == 1.0


def test_twenty_thousand_steps_a_second_cost_little() -> None:
    history = History()
    events = [stepped(1 + 100 * i, [0.5] * 100) for i in range(200)]
    spent = time.process_time()
    history.add([started(), *events])
    spent = time.process_time() - spent
    assert history.step == 20_000
    assert spent < 0.5  # generous: 0.05 is the aim, a busy machine must not fail the suite


def test_a_checkpoint_that_was_written_meanwhile_does_not_set_the_run_back() -> None:
    history = History("test_mse", "lower")
    history.add([stepped(1, [1.0] * 30), Saved(seq=2, step=20, time=5.0, checkpoint="step-20", bytes=1)])
    assert (history.step, history.saved_step) == (30, 20)
