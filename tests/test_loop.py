"""The training loop: what it records, how it obeys, and that nobody who looks on changes a weight."""

import errno
import itertools
import math
import threading
import time
from collections import deque
from typing import Any

import pytest
import torch

from dlplay.engine import commands as cmd
from dlplay.engine import control, panel_server
from dlplay.engine.device import prepare
from dlplay.engine.errors import DataError
from dlplay.engine.events import Answered, Applied, Evaluated, Failed, Finished, Paused, Saved, Shown, Status, Stepped, Warned
from dlplay.engine.explore import explore
from dlplay.engine.failures import TrainingFailed
from dlplay.engine.loop import Loop
from dlplay.engine.recorder import COPIES, Copy, Progress
from dlplay.engine.settings import Options
from dlplay.engine.state import flatten, unflatten
from tests.toy import ToySettings, ToyTask, card


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are carried out at the poll that brings them, however long this machine took for the ones before."""
    monkeypatch.setattr(control, "QUICK_SECONDS", math.inf)


class Memory:
    """An event log and a server that keep everything; `script` gives the commands of the k-th poll."""

    def __init__(self, script: dict[int, list[cmd.AnyCommand]] | None = None) -> None:
        self.script = script or {}
        self.events: list[Any] = []
        self.live: list[Any] = []
        self.shown: list[Any] = []
        self.polls = 0
        self.clients = frozenset({1})
        self.full: deque[int] = deque()

    def record(self, event: Any) -> None:
        if self.full and not isinstance(event, Warned):
            raise OSError(self.full.popleft(), "No space left on device")
        self.events.append(event)

    def show(self, event: Any) -> None:
        self.shown.append(event)

    def reply(self, client: int, event: Any) -> None:
        self.live.append(event)

    broadcast = lambda self, event: self.live.append(event)  # noqa: E731

    def poll(self, timeout: float | None) -> list[tuple[int, cmd.AnyCommand]]:
        self.polls += 1
        if not self.script:
            self.clients = frozenset()
        return [(1, command) for command in self.script.pop(self.polls, [])]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def trained(memory: Memory | None = None, save: Any = None, prepared: Any = None, **values: Any) -> tuple[ToyTask, Memory, str]:
    settings = ToySettings(**({"eval_every": 10, "save_every": 20} | values))
    memory = memory or Memory()
    task = ToyTask(settings, prepare(settings))
    if prepared:
        prepared(task)

    def snapshot() -> Any:
        name = f"step-{task.step}"
        return save or (lambda: (name, 1))

    loop = Loop(card, task, memory, memory, snapshot, baselines={}, progress=Progress())
    return task, memory, loop.run()


def weights(task: ToyTask) -> list[float]:
    return torch.cat([p.detach().flatten() for p in task.models["model"].parameters()]).tolist()


def test_every_step_is_recorded_once_and_the_end_is_told() -> None:
    _, memory, reason = trained()
    steps = [step for event in memory.of(Stepped) for step in range(event.first, event.step + 1)]
    assert steps == list(range(1, 41))
    assert all(len(column) == event.step - event.first + 1 for event in memory.of(Stepped) for column in event.metrics.values())
    assert [event.step for event in memory.of(Evaluated)] == [0, 10, 20, 30, 40]
    assert [event.step for event in memory.of(Saved)] == [0, 20, 40]
    last = memory.events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, reason, last.metrics) == ("steps", "steps", memory.of(Evaluated)[-1].metrics)
    assert last.steps_per_second > 0


def test_the_first_step_is_recorded_at_once_and_that_after_a_pause_too() -> None:
    memory = Memory({5: [cmd.Pause()], 6: [cmd.Resume()]})
    trained(memory, eval_every=40, save_every=40)
    [first, *_] = memory.of(Stepped)
    assert (first.first, first.step) == (1, 1)
    [paused] = memory.of(Paused)
    assert (paused.step + 1, paused.step + 1) in [(event.first, event.step) for event in memory.of(Stepped)]


def test_a_resumed_run_is_evaluated_when_it_would_have_been_anyway() -> None:
    settings, memory = ToySettings(eval_every=10, save_every=20), Memory()
    task = ToyTask(settings, prepare(settings))
    task.step = 23
    Loop(card, task, memory, memory, lambda: lambda: ("step", 1), baselines={}, progress=Progress(evaluated=20)).run()
    assert [event.step for event in memory.of(Evaluated)] == [30, 40]


def test_loss_that_is_not_finite_stops_before_the_update() -> None:
    before, *_ = trained(steps=23)
    memory = Memory()
    caught: list[ToyTask] = []

    def poison(task: ToyTask) -> None:
        task.poison_at = 23
        caught.append(task)

    with pytest.raises(TrainingFailed):
        trained(memory, prepared=poison)
    assert weights(caught[0]) == weights(before)
    failed = memory.events[-1]
    assert isinstance(failed, Failed)
    assert failed.step == 24
    assert "not a finite number" in failed.what
    assert "--lr" in failed.remedy
    assert memory.of(Saved)[-1].step == 20


def test_looking_and_asking_change_no_weight() -> None:
    steps = 1000  # of which the first few may pass before a second panel is due
    alone, *_ = trained(steps=steps)
    watch = cmd.Watch(id=7, rate=30, views=[cmd.View("weights"), cmd.View("noise", {"row": 2})])
    memory = Memory({1: [watch], 9: [cmd.Ask(id=8, panel="noise")], 12: [cmd.Ask(id=9, panel="noise", options={"row": 9})]})
    watched, memory, _ = trained(memory, steps=steps)
    assert weights(watched) == weights(alone)
    shown = [event for event in memory.live if isinstance(event, Shown)]
    assert {event.view for event in shown} == {0, 1}
    answers = {event.id: event for event in memory.live if isinstance(event, Answered)}
    assert answers[8].panel is not None
    assert "--row 9 is out of bounds" in answers[9].error


class Clock:
    """Time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    time = perf_counter


def test_a_flood_of_questions_takes_half_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(panel_server, "time", clock)

    def slowly(task: ToyTask) -> None:
        panel, step = task.panel, task.train_step
        monkeypatch.setattr(task, "panel", lambda *asked: (setattr(clock, "now", clock.now + 10), panel(*asked))[1])
        monkeypatch.setattr(task, "train_step", lambda: (setattr(clock, "now", clock.now + 1), step())[1])

    flood: list[cmd.AnyCommand] = [cmd.Ask(id=number, panel="noise") for number in range(1, 201)]
    _, memory, _ = trained(Memory({5: flood, 800: [cmd.Stop()]}), prepared=slowly, steps=10_000)
    replies = [event for event in memory.live if isinstance(event, Answered)]
    answers = [event for event in replies if event.panel is not None]
    assert [event.id for event in answers] == list(range(1, 65))
    assert [later.step - event.step for event, later in itertools.pairwise(answers)] == [10] * 63
    assert {event.error for event in replies if event.panel is None} == {"too many questions wait already; wait for their answers"}
    assert len(replies) == 200


@pytest.mark.parametrize("kind", ["save", "set"])
def test_a_flood_of_commands_takes_half_the_time(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    clock = Clock()
    monkeypatch.setattr(control, "time", clock)
    monkeypatch.setattr(control, "QUICK_SECONDS", 1.0)

    def slowly(task: ToyTask) -> None:
        change, step = task.change, task.train_step
        monkeypatch.setattr(task, "change", lambda settings: (setattr(clock, "now", clock.now + 10), change(settings))[1])
        monkeypatch.setattr(task, "train_step", lambda: (setattr(clock, "now", clock.now + 1), step())[1])

    def save() -> tuple[str, int]:
        clock.now += 10
        return "step", 1

    def command(at: int) -> cmd.AnyCommand:
        return cmd.Save(id=1) if kind == "save" else cmd.Set(id=1, field="lr", value=at / 1000)

    script = {at: [command(at)] for at in range(5, 13)}
    _, memory, _ = trained(Memory(script), save if kind == "save" else None, slowly, steps=100, eval_every=1000, save_every=1000)
    steps = [event.step for event in memory.live if isinstance(event, Answered)]
    assert [later - step for step, later in itertools.pairwise(steps)] == [10] * 7


def test_clients_take_turns_and_who_left_is_not_answered() -> None:
    settings, memory = ToySettings(), Memory()
    memory.clients = frozenset({1, 2, 3})
    answered: list[int] = []
    panels = panel_server.PanelServer(card, ToyTask(settings, prepare(settings)), memory)
    memory.reply = lambda client, event: answered.append(client)  # type: ignore[method-assign]
    for client in (1, 1, 1, 2, 3, 2):
        panels.handle(client, cmd.Ask(id=1, panel="weights"))
    memory.clients = frozenset({1, 2})
    while panels.answer(idle=True):
        pass
    assert answered == [1, 2, 1, 2, 1]
    assert not panels.behind


def test_a_watched_panel_comes_along_with_an_answer_as_of_the_same_step() -> None:
    settings, memory = ToySettings(), Memory()
    memory.clients = frozenset({1, 2})
    sent: list[Any] = []
    task = ToyTask(settings, prepare(settings))
    panels = panel_server.PanelServer(card, task, memory)
    memory.reply = lambda client, event: sent.append((client, event))  # type: ignore[method-assign]
    for client in (1, 2):
        panels.handle(client, cmd.Watch(id=7, rate=30, views=[cmd.View("weights"), cmd.View("noise", {"row": 3})]))
    task.step = 5
    panels.handle(1, cmd.Ask(id=8, panel="weights", along=["weights", "noise"]))
    assert panels.answer()
    assert [(client, type(event).__name__, event.step) for client, event in sent] == [(1, "Shown", 5), (1, "Shown", 5), (1, "Answered", 5)]
    sent.clear()
    task.step = 6
    now = time.perf_counter() + 1
    panels.serve(now)
    panels.serve(now)
    assert {client for client, _ in sent} == {2}, "the next question brings it, unless none comes"
    sent.clear()
    panels.handle(1, cmd.Ask(id=9, panel="noise", options={"row": 4}, along=["noise"]))
    assert panels.answer(idle=True)
    assert [type(event).__name__ for _, event in sent] == ["Answered"], "one for other options would not belong to the answer"


def test_an_episode_that_is_watched_changes_a_panel_no_more_often_than_asked_for_while_nothing_trains() -> None:
    settings, memory = ToySettings(), Memory()
    task = ToyTask(settings, prepare(settings))
    panels = panel_server.PanelServer(card, task, memory)
    panels.handle(1, cmd.Watch(id=7, rate=0.1, views=[cmd.View("weights")]))

    def shown() -> int:
        while panels.behind:
            panels.serve(time.perf_counter(), idle=True)
        return len(memory.live)

    assert shown() == 1
    for steps in range(1, 6):
        panels._changes["weights"] = steps
        assert shown() == 1
    panels._watched[0].soonest = 0.0  # ten seconds later
    assert shown() == 2, "the latest one is shown"
    task.step = 6
    assert shown() == 3, "looking back at another step is answered at once"


def test_a_live_setting_changes_at_the_next_step_and_is_saved_at_once() -> None:
    memory = Memory(
        {11: [cmd.Set(id=1, field="lr", value="0.2"), cmd.Set(id=2, field="width", value=2), cmd.Set(id=3, field="lr", value=-1)]}
    )
    task, memory, _ = trained(memory)
    [applied] = memory.of(Applied)
    assert (applied.step, applied.what, applied.before, applied.value) == (10, "lr", 0.05, 0.2)
    assert 10 in [event.step for event in memory.of(Saved)]
    assert task.settings.lr == 0.2
    answers = {event.id: event.error for event in memory.live if isinstance(event, Answered)}
    assert answers[1] == ""
    assert "takes effect on reset" in answers[2]
    assert "out of bounds" in answers[3]


def test_pause_single_step_and_resume() -> None:
    memory = Memory({5: [cmd.Pause()], 7: [cmd.StepOnce()], 12: [cmd.Resume()]})
    task, memory, _ = trained(memory)
    assert [event.step for event in memory.of(Paused)] == [4, 5]
    assert weights(task) == weights(trained()[0])


def test_stop_saves_and_says_so() -> None:
    _, memory, reason = trained(Memory({6: [cmd.Stop()]}))
    assert reason == "stopped"
    assert memory.of(Saved)[-1].step == memory.events[-1].step == 5


def test_after_the_end_a_raised_limit_trains_on() -> None:
    script = {60: [cmd.Resume(id=1)], 61: [cmd.Set(field="steps", value=50), cmd.Resume(id=2)]}
    task, memory, _ = trained(Memory(script))
    answers = {event.id: event.error for event in memory.live if isinstance(event, Answered)}
    assert "raise steps" in answers[1]
    assert (answers[2], task.step) == ("", 50)
    assert [event.step for event in memory.of(Finished)] == [40, 50]
    assert weights(task) == weights(trained(steps=50)[0])


def test_until_ends_at_the_first_evaluation_that_holds() -> None:
    _, full, _ = trained(steps=200)
    curve = {event.step: event.metrics["test_mse"] for event in full.of(Evaluated)}
    bound = curve[100]
    first = next(step for step, value in curve.items() if step and value <= bound)
    _, memory, reason = trained(steps=200, until=f"test_mse<={bound}")
    assert (reason, memory.events[-1].step) == ("until", first)


def test_a_full_disk_holds_training_up_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlplay.engine.control.RETRY_SECONDS", 0.0)
    memory = Memory()
    full = deque([errno.ENOSPC, errno.ENOSPC])

    def save() -> tuple[str, int]:
        if memory.events and any(isinstance(event, Stepped) and event.step == 20 for event in memory.events) and full:
            raise OSError(full.popleft(), "No space left on device")
        return "x", 1

    memory.full = deque([errno.ENOSPC])
    task, memory, _ = trained(memory, save)
    assert weights(task) == weights(trained()[0])
    assert [step for event in memory.of(Stepped) for step in range(event.first, event.step + 1)] == list(range(1, 41))
    assert ["disk full" in event.why for event in memory.of(Warned)] == [True, True]
    problems = [event.problem for event in memory.live if isinstance(event, Status) and event.problem]
    assert problems
    assert all(problem.startswith("disk full") for problem in problems)


@pytest.mark.parametrize(("number", "words"), [(errno.EIO, "input or output"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota")])
def test_a_disk_that_flaps_holds_training_up_and_says_why(number: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlplay.engine.control.RETRY_SECONDS", 0.0)
    memory = Memory()
    answers = deque([True, number, True, number, number, True, True, number])
    keep = memory.record

    def record(event: Any) -> None:
        if (answer := answers.popleft() if answers else True) is not True:
            raise OSError(answer, "refused")
        keep(event)

    memory.record = record  # type: ignore[method-assign]
    task, memory, reason = trained(memory)
    assert reason == "steps"
    assert weights(task) == weights(trained()[0])
    assert [step for event in memory.of(Stepped) for step in range(event.first, event.step + 1)] == list(range(1, 41))
    assert len(memory.of(Warned)) == 3
    assert all(words in event.why for event in memory.of(Warned))


def test_a_write_that_is_refused_and_then_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlplay.engine.control.RETRY_SECONDS", 0.0)
    errors: deque[Exception] = deque([OSError(errno.ENOENT, "No such file"), TrainingFailed(Failed(what="gone", why="", remedy=""))])
    memory = Memory()

    def save() -> tuple[str, int]:
        raise errors.popleft()

    with pytest.raises(TrainingFailed):
        trained(memory, save)
    assert memory.events[-1].what == "gone"


def test_actions_are_recorded_and_unknown_ones_refused() -> None:
    memory = Memory({3: [cmd.Act(id=1, action="kick"), cmd.Act(id=2, action="kik")]})
    task, memory, _ = trained(memory)
    assert task.kicks == 1
    assert [event.what for event in memory.of(Applied)] == ["kick"]
    assert "there is no action 'kik'" in next(event.error for event in memory.live if isinstance(event, Answered) and event.id == 2)


def test_an_action_whose_loss_is_not_finite_is_not_answered_as_done() -> None:
    def poison(task: ToyTask) -> None:
        class Poisoned:
            def kick(self, options: Options) -> None:
                task.minimise(next(task.models["model"].parameters()).sum() * float("nan"), task.optimizers["model"])

        task.actions = Poisoned  # type: ignore[assignment, method-assign]

    memory = Memory({3: [cmd.Act(id=1, action="kick")]})
    with pytest.raises(TrainingFailed):
        trained(memory, prepared=poison)
    [answer] = [event for event in memory.live if isinstance(event, Answered)]
    assert "the action 'kick' failed: the loss of step" in answer.error
    assert memory.of(Applied) == []
    assert isinstance(memory.events[-1], Failed)


def test_a_change_that_is_refused_half_way_is_taken_back() -> None:
    def refuse(task: ToyTask) -> None:
        def change(settings: ToySettings) -> None:
            task.settings = settings
            if settings.lr == 0.2:
                raise DataError("not that one")

        task.change = change  # type: ignore[method-assign]

    task, memory, _ = trained(Memory({11: [cmd.Set(id=1, field="lr", value=0.2)]}), prepared=refuse)
    assert task.settings.lr == 0.05
    assert memory.of(Applied) == []
    assert [event.error for event in memory.live if isinstance(event, Answered)] == ["not that one"]
    assert weights(task) == weights(trained()[0])


def test_state_goes_on_to_the_bit_whatever_the_order_of_its_tensors() -> None:
    full, *_ = trained()
    half, *_ = trained(steps=20)
    tensors, plain = flatten(half.state_dict())
    shuffled = dict(sorted(tensors.items(), key=lambda item: item[0][::-1]))
    settings = ToySettings(eval_every=10, save_every=20, seed=0)
    other = ToyTask(settings, prepare(ToySettings(seed=99)))
    other.load_weights({name: tensor.clone() for name, tensor in half.weights().items()})
    other.load_state_dict(unflatten(shuffled, plain))
    memory = Memory()
    assert Loop(card, other, memory, memory, lambda: lambda: ("x", 1), baselines={}, progress=Progress(evaluated=20)).run() == "steps"
    assert weights(other) == weights(full)


def test_a_panel_that_breaks_is_answered_in_words_and_training_goes_on() -> None:
    def break_(task: ToyTask) -> None:
        class Broken:
            def weights(self, options: Options) -> int:
                return 1 // 0

        task.panels = Broken  # type: ignore[assignment, method-assign]

    alone, *_ = trained()
    memory = Memory({1: [cmd.Watch(id=7, rate=30, views=[cmd.View("weights")])], 5: [cmd.Ask(id=8, panel="weights")]})
    task, _, reason = trained(memory, prepared=break_)
    assert reason == "steps"
    assert weights(task) == weights(alone)
    answered = [event for event in memory.live if isinstance(event, Answered)]
    assert {event.id for event in answered} == {7, 8}
    assert all("ZeroDivisionError" in event.error for event in answered)


def test_the_failed_step_is_not_one_where_a_metric_was_merely_absent() -> None:
    def poison(task: ToyTask) -> None:
        task.poison_at = 23
        step = task.train_step
        task.train_step = lambda: {**step(), **({"reward": torch.ones(())} if task.step % 5 == 0 else {})}  # type: ignore[method-assign]

    memory = Memory()
    with pytest.raises(TrainingFailed) as caught:
        trained(memory, prepared=poison)
    assert caught.value.event.step == 24
    assert memory.of(Stepped)[-1].step == 23


@pytest.mark.parametrize("clip", [1.0, 0.0])
def test_a_gradient_that_is_not_finite_changes_no_weight(clip: float) -> None:
    settings = ToySettings()
    task = ToyTask(settings, prepare(settings))
    before = weights(task)
    parameter = next(task.models["model"].parameters())
    task.minimise((parameter * 0).sum().sqrt(), task.optimizers["model"], clip=clip)  # 0, with the slope of a root at 0
    assert task.not_finite.item() == 1
    assert weights(task) == before
    task.minimise(parameter.sum(), task.optimizers["model"], clip=clip)
    assert weights(task) == before


def test_training_goes_on_while_a_checkpoint_is_written() -> None:
    passed = threading.Event()
    waited: list[bool] = []

    def save() -> tuple[str, int]:
        if memory.of(Saved):  # the first one, before training, is waited for
            waited.append(passed.wait(60))
        return "x", 1

    def watch(task: ToyTask) -> None:
        train_step = task.train_step

        def step() -> Any:
            if task.step > 25:
                passed.set()
            return train_step()

        task.train_step = step  # type: ignore[method-assign]

    memory = Memory()
    trained(memory, save, watch, steps=40)
    assert waited == [True, True]
    assert [event.step for event in memory.of(Saved)] == [0, 20, 40]


def test_a_run_that_trains_is_not_rewound() -> None:
    _, memory, _ = trained(Memory({3: [cmd.Rewind(id=7, step=1)]}))
    (answer,) = (event for event in memory.live if isinstance(event, Answered))
    assert (answer.id, answer.error) == (7, "a run that trains is not rewound; a process that only answers questions is (--explore)")


def test_a_process_that_answers_questions_is_rewound_and_shows_every_watched_panel_anew() -> None:
    settings, memory = ToySettings(), Memory({1: [cmd.Watch(id=1, views=[cmd.View("weights"), cmd.View("noise")])]})
    memory.script |= {3: [cmd.Rewind(id=2, step=5)], 5: [cmd.Rewind(id=3, step=7)], 7: [cmd.Rewind(id=4, step=5), cmd.Rewind(id=5, step=0)]}
    task = ToyTask(settings, prepare(settings))
    task.step = 6

    def rewind(step: int) -> None:
        if not step:
            raise ValueError("there is none")
        task.step = step

    explore(card, task, memory, "", lambda: False, 0.0, rewind)
    shown = [(event.step, event.view) for event in memory.live if isinstance(event, Shown)]
    both = [sorted(shown[at : at + 2]) for at in range(0, len(shown), 2)]  # the one that took less comes first
    assert both == [[(step, 0), (step, 1)] for step in (6, 5, 7, 5)]
    answers = [event for event in memory.live if isinstance(event, Answered)]
    assert [(event.id, event.step, event.error) for event in answers] == [(2, 5, ""), (3, 7, ""), (4, 5, ""), (5, 5, "there is none")]


def test_looking_back_and_acting_are_told_apart() -> None:
    """The step went down as the actions went up."""
    settings = ToySettings()
    task = ToyTask(settings, prepare(settings))
    panels = panel_server.PanelServer(card, task, Memory())
    task.step = 6
    before = panels._version("weights")
    task.step, panels._changes["weights"] = 5, 1
    assert panels._version("weights") != before


class Along:
    """Checkpoints along the way at every fifth step, each of `size` bytes, whose writing is held up until `go`, which is set when `most`
    wait."""

    def __init__(self, size: int = 1, most: int = 8) -> None:
        self.size, self.most = size, most
        self.task: ToyTask | None = None
        self.taken: list[int] = []
        self.go = threading.Event()
        self.written = self.held = 0

    def following(self) -> int | None:
        assert self.task is not None
        return (self.task.step // 5 + 1) * 5 if self.task.settings.history else None

    def snapshot(self) -> Copy:
        assert self.task is not None
        step = self.task.step
        self.taken.append(step)
        self.held = max(self.held, len(self.taken) - self.written)
        if len(self.taken) - self.written == self.most:
            self.go.set()

        def write() -> str:
            if step:  # the checkpoint of step 0, which is waited for, comes behind it
                self.go.wait(20)
            self.written += 1
            return ""

        return Copy(self.size, write)


def train_along(along: Along, script: dict[int, list[cmd.AnyCommand]] | None = None) -> None:
    settings, memory = ToySettings(eval_every=100, save_every=100), Memory(script)
    along.task = task = ToyTask(settings, prepare(settings))
    Loop(card, task, memory, memory, lambda: lambda: ("step", 1), baselines={}, progress=Progress(), along=along).run()


@pytest.mark.parametrize(
    ("size", "most"), [pytest.param(1, 8, id="small"), pytest.param(COPIES // 3, 4, id="some"), pytest.param(10 * COPIES, 2, id="large")]
)
def test_training_does_not_wait_for_checkpoints_along_the_way_until_their_copies_take_too_much(size: int, most: int) -> None:
    """Those that wait, and the one that was just copied."""
    along = Along(size, most)
    train_along(along)
    assert along.taken == list(range(0, 45, 5))
    assert along.written == len(along.taken)
    assert along.held == most


def test_how_many_are_kept_along_the_way_may_change_in_mid_run() -> None:
    changes = {13: [cmd.Set(field="history", value=0)], 27: [cmd.Set(field="history", value=32)]}
    along = Along()
    along.go.set()
    train_along(along, changes)
    assert along.taken == [0, 5, 10, 30, 35, 40]


class GivesUp:
    """Stands in for `engine.captured.Captured`, whose steps cannot be captured after all."""

    def __init__(self, task: ToyTask) -> None:
        self.task = task
        self.forgotten = 0
        self.tell: Any = None

    def advance(self) -> dict[str, torch.Tensor]:
        if self.task.step == 1:
            self.tell("a kernel may not be captured")
        return self.task.advance_eagerly()

    def forget(self) -> None:
        self.forgotten += 1


def test_steps_that_are_not_captured_are_told_once_and_training_goes_on() -> None:
    stand_ins = []

    def prepared(task: ToyTask) -> None:
        stand_ins.append(GivesUp(task))
        task.captured = stand_ins[0]  # type: ignore[assignment]

    _, memory, reason = trained(Memory({12: [cmd.Act(action="kick")]}), prepared=prepared)
    [warned] = memory.of(Warned)
    assert (warned.step, warned.why, reason) == (1, "a kernel may not be captured", "steps")
    assert stand_ins[0].forgotten == 1, "an action has changed the model"
