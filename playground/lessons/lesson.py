"""What a lesson is: the data of one TOML file, typed and bounded."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dlplay.engine.commands import Values

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base: a key that nothing is made of is an error."""


class Run(Data, frozen=True, kw_only=True):
    """A training that steps refer to by its name."""

    room: str = ""
    """Its architecture; by default that in whose folder the lesson lies."""
    preset: str = ""
    settings: dict[str, Any] = {}
    seeds: Annotated[int, Meta(ge=1, le=16)] = 1
    """As many runs that differ in their seed alone."""


class Show(Data, frozen=True, kw_only=True):
    """A panel that is looked at."""

    panel: str
    options: Values = {}
    reads: dict[Name, str] = {}
    """Names for numbers in it that claims are about: `min`, `max`, `sum` or `mean` of all of them, or that of one label."""
    model: str = ""
    """Who answers: a run of the lesson, or a model that comes with dlplay; empty: the run before, or else that model of the room."""


class Act(Data, frozen=True, kw_only=True):
    """One of the architecture's actions. It is done on the screen alone, where somebody sees what it does."""

    action: str
    times: Annotated[int, Meta(ge=1, le=50)] = 1


class Question(Data, frozen=True, kw_only=True):
    """A guess, asked before the step does what it does."""

    text: Annotated[str, Meta(min_length=5, max_length=160)]
    choices: Annotated[list[Annotated[str, Meta(min_length=1, max_length=60)]], Meta(min_length=2, max_length=4)]
    answer: Annotated[int, Meta(ge=1, le=4)]
    """Which of them is right, counted from 1."""


class Claim(Data, frozen=True, kw_only=True):
    """What is to be seen once the step has done what it does."""

    text: Annotated[str, Meta(min_length=5, max_length=240)]
    """In plain words."""
    holds: str
    """As a condition (`lessons/condition.py`)."""


class Step(Data, frozen=True, kw_only=True):
    """A short text, and at most one thing that it does."""

    text: Annotated[str, Meta(min_length=10, max_length=420)]
    question: Question | None = None
    train: str = ""
    """The run to train."""
    set: dict[str, Any] = {}
    """Settings to put into the form."""
    show: Show | None = None
    act: Act | None = None
    overlay: list[str] = []
    """Runs of the lesson whose curves are drawn behind the one that is shown."""
    find_lr: bool = False
    """Make the range test of the learning rate with the form's settings; on the screen alone."""
    claims: Annotated[list[Claim], Meta(max_length=4)] = []

    @property
    def does(self) -> list[str]:
        """The kinds of things that it does."""
        kinds = {"train": self.train, "set": self.set, "show": self.show, "act": self.act, "overlay": self.overlay, "find_lr": self.find_lr}
        return [name for name, given in kinds.items() if given]


class Lesson(Data, frozen=True, kw_only=True):
    """A lesson; `name` and `room` are where it was found."""

    title: Annotated[str, Meta(min_length=5, max_length=60)]
    promise: Annotated[str, Meta(min_length=10, max_length=110)]
    """One line: what one will have seen."""
    order: Annotated[int, Meta(ge=0, le=1000)] = 100
    """Place in the list of all lessons."""
    runs: Annotated[dict[Name, Run], Meta(max_length=8)] = {}
    steps: Annotated[list[Step], Meta(min_length=1, max_length=20)]
    name: str = ""
    room: str = ""

    def room_of(self, run: str) -> str:
        """The architecture of one of its runs."""
        return self.runs[run].room or self.room

    def room_at(self, step: int) -> str:
        """The architecture on whose tab this step is taken."""
        named = self.steps[step].train or (self.steps[step].show or Show(panel="")).model
        if named in self.runs:
            return self.room_of(named)
        before = [self.room_of(earlier.train) for earlier in self.steps[:step] if earlier.train]
        return before[-1] if before else self.room
