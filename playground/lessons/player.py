"""Plays a lesson without a screen: trains its runs as ordinary ones, asks its panels, and judges its claims."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from dlplay import architectures
from dlplay.checkpoints import shipped
from dlplay.engine.card import Card
from dlplay.engine.settings import make, to_dict
from dlplay.experiments import pool
from dlplay.lessons.evidence import Evidence, ReadError, history_of, reads, shown
from dlplay.lessons.found import LessonError, seeds_of, settings_of
from dlplay.lessons.lesson import Lesson, Show, Step
from dlplay.runs import directory, launch
from dlplay.runs.console import print_line
from dlplay.runs.directory import RunDirectory
from dlplay.runs.journal import JournalReader


class Judged(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="claim"):
    """A claim, and what became of it: a line of `dlplay learn NAME --headless --json`."""

    lesson: str
    step: int
    """Counted from 1."""
    claim: str
    condition: str
    holds: bool
    values: dict[str, float]


class Played(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="lesson"):
    """The last line."""

    lesson: str
    seed: int
    group: str
    """Of its runs; empty when it trains none."""
    runs: list[str]
    claims: int
    held: int


@dataclasses.dataclass
class Player:
    """One playing of one lesson. `told` is called with each claim as it is judged."""

    lesson: Lesson
    runs_dir: Path
    seed: int
    told: Callable[[Judged], None]

    def __post_init__(self) -> None:
        self.evidence = Evidence(self.lesson)
        self.group = f"learn-{self.lesson.name}-{_next_number(self.runs_dir, self.lesson.name)}" if self.lesson.runs else ""
        self.runs: dict[str, list[RunDirectory]] = {}

    def play(self) -> list[Judged]:
        """Train all runs, then take the steps in their order. Raises `LessonError` when a run fails, and `pool.Interrupted`."""
        self._train()
        found: list[Judged] = []
        for number, step in enumerate(self.lesson.steps, start=1):
            if step.show is not None and step.show.reads:
                self._read(number, step.show)
            for judged in self._judge(number, step):
                self.told(judged)
                found.append(judged)
        return found

    def _train(self) -> None:
        try:
            for name in self.lesson.runs:
                created = self.runs.setdefault(name, [])
                for seed in seeds_of(self.lesson, name, self.seed):
                    created.append(self._create(name, seed))
        except BaseException:
            for run in self._all:
                directory.remove(run)
            raise
        for room in dict.fromkeys(self.lesson.room_of(name) for name in self.lesson.runs):
            launch.prepare(room)
        failed: list[str] = []

        def ended(run: RunDirectory, status: int) -> None:
            if status != 0:
                failed.append(f"{run.name}: {directory.summary(run).problem or f'it ended with status {status}'}")

        pool.train_all(self._all, [], pool.at_once(1, "auto"), ended)
        if failed:
            raise LessonError(f"lesson {self.lesson.name}: {'; '.join(failed)}")
        for name, runs in self.runs.items():
            self.evidence.histories[name] = [history_of(JournalReader(run.journal_path)) for run in runs]

    @property
    def _all(self) -> list[RunDirectory]:
        return [run for runs in self.runs.values() for run in runs]

    def _create(self, name: str, seed: int) -> RunDirectory:
        word = name.replace("_", "-") + (f"-s{seed}" if self.lesson.runs[name].seeds > 1 else "")
        settings = to_dict(settings_of(self.lesson, name, seed))
        return directory.create(self.runs_dir, self.lesson.room_of(name), settings, name=f"{self.group}-{word}", group=self.group)

    def _read(self, number: int, show: Show) -> None:
        from dlplay.runs import ask, origin  # with torch

        card = architectures.card(self.lesson.room_at(number - 1))
        start = answering(self.lesson, number - 1, card)
        model = self.runs[start][0].name if start in self.runs else start
        settings = make(card.settings, origin.settings_of(card, origin.find(model, self.runs_dir, card.name, weights=False)))
        try:
            self.evidence.read |= reads(ask.answer(card, settings, model, self.runs_dir, show.panel, dict(show.options)), show.reads)
        except ReadError as error:
            raise LessonError(f"lesson {self.lesson.name}, step {number}: {error}") from None

    def _judge(self, number: int, step: Step) -> list[Judged]:
        found = []
        for claim, verdict in zip(step.claims, self.evidence.judge(step), strict=True):
            if verdict.holds is None:
                known = shown(verdict) or "none of its values"
                raise LessonError(
                    f"lesson {self.lesson.name}, step {number}: {claim.holds!r} needs a value that is not there; there is {known}"
                )
            found.append(
                Judged(
                    lesson=self.lesson.name,
                    step=number,
                    claim=claim.text,
                    condition=claim.holds,
                    holds=verdict.holds,
                    values=verdict.values,
                )
            )
        return found


def answering(lesson: Lesson, at: int, card: Card) -> str:
    """Who answers the panel of this step: a run of the lesson, or a model that comes with dlplay. Raises `LessonError`."""
    show = lesson.steps[at].show
    if show is not None and show.model:
        return show.model
    for step in reversed(lesson.steps[: at + 1]):
        if step.train:
            return step.train
    model = next((name for name, item in shipped.shipped().items() if item.architecture == card.name), "")
    if not model:
        raise LessonError(f"lesson {lesson.name}, step {at + 1}: no run was trained so far, and {card.name} has no pretrained model")
    return model


def play(lesson: Lesson, runs_dir: Path, seed: int, as_json: bool) -> int:
    """Play it and print how each claim came out; returns the exit status, 1 when one does not hold."""

    def told(judged: Judged) -> None:
        if as_json:
            print_line(msgspec.json.encode(judged).decode())
            return
        print_line(f"{'holds' if judged.holds else 'DOES NOT HOLD'}: {judged.claim}")
        values = ", ".join(f"{name} {value:.4g}" for name, value in judged.values.items())
        print_line(f"  {judged.condition}  ({values})")

    player = Player(lesson, runs_dir, seed, told)
    if not as_json:
        runs = sum(run.seeds for run in lesson.runs.values())
        print_line(f"{lesson.name}: {lesson.title}; {runs} run{'s' * (runs != 1)}, seed {seed}")
        for number, step in enumerate(lesson.steps, start=1):
            if step.act is not None or step.find_lr:
                print_line(
                    f"left out, for it is done on the screen: step {number}, {'the range test' if step.act is None else step.act.action}"
                )
    try:
        found = player.play()
    except pool.Interrupted:
        words = f"interrupted; the runs so far are kept: dlplay rm {player.group} removes them"
        raise pool.Interrupted(words) from None
    held = sum(judged.holds for judged in found)
    names = [run.name for run in player._all]
    if as_json:
        last = Played(lesson=lesson.name, seed=seed, group=player.group, runs=names, claims=len(found), held=held)
        print_line(msgspec.json.encode(last).decode())
    else:
        print_line(f"{held} of {len(found)} claims hold" + (f"; its runs are the group {player.group}" if names else ""))
    return 0 if held == len(found) else 1


def _next_number(runs_dir: Path, name: str) -> int:
    pattern = re.compile(rf"learn-{re.escape(name)}-([1-9][0-9]{{0,8}})-.*")
    used = [int(match[1]) for run in directory.names(runs_dir) if (match := pattern.fullmatch(run))]
    return max(used, default=0) + 1
