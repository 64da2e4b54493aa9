"""What happens in a run, as typed events.

*Durable* events are written to the run's journal, one JSON line each, with a `seq` that counts up over all resumes, without gaps until
a long journal is compacted; anyone can read the file, during the run or years later. *Live* events go to the attached clients and are
never written; of those that wait, the newest replaces the older ones, so a client that misses one has missed nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dlplay.engine.panels import AnyPanel

PROTOCOL = 1
"""Version of the events and commands; part of every `Started`."""


BECAME = {
    "real against real": "real vs real",
    "one broad Gaussian": "single Gaussian",
    "copier of fixed places": "fixed-position copier",
    "commonest answer": "most common answer",
    "commonest token at each place": "most common token at each position",
}
"""What became of the names that baselines had in earlier versions."""


def named_as_today(baselines: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Baselines by metric and method, under the methods' names of today."""
    return {metric: {BECAME.get(name, name): value for name, value in methods.items()} for metric, methods in baselines.items()}


class RankStatus(msgspec.Struct, frozen=True):
    """One of the processes that train a model together."""

    utilisation: float | None
    """Of its device, from 0 to 1."""
    memory: int | None
    """Bytes in use on its device (of the process, on a CPU)."""
    waiting: float
    """Share of the time in which it waited for the others, from 0 to 1, what is sent between them included."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """Base: `step` counts finished training steps, `time` is seconds since the epoch."""

    seq: int = 0
    step: int = 0
    time: float = 0.0


class Started(Event, frozen=True, kw_only=True):
    """A process started or resumed the run at `step`: 0, or that of a checkpoint. Earlier events of later steps no longer count."""

    protocol: int = PROTOCOL
    architecture: str
    name: str
    settings: dict[str, Any]
    device: str
    """The torch device, such as cuda:0."""
    device_name: str
    """The device in words, such as NVIDIA H200."""
    precision: str = "float32"
    """How training rounds: float32, tf32 or bf16."""
    compiled: bool = False
    """Whether training steps are compiled."""
    threads: int
    parameters: int
    """Trainable parameters of all models together."""
    memory: int = 0
    """Bytes of weights, gradients and optimisers together; 0 in runs of an earlier version."""
    data: str
    """The data in words, with sizes."""
    origin: str = ""
    """The checkpoint the weights came from; empty for fresh weights."""
    versions: dict[str, str] = {}
    pid: int = 0
    ranks: int = 1
    """Processes that train together; this one is rank 0."""


class Baselines(Event, frozen=True, kw_only=True, tag="baselines"):
    """What methods without a neural network reach on the same held-out data, by metric and method."""

    values: dict[str, dict[str, float]]

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "values", named_as_today(self.values))


class Stepped(Event, frozen=True, kw_only=True):
    """Training metrics of the steps `first` to `step`: one value per step, None where a step has none."""

    first: int
    metrics: dict[str, list[float | None]]
    at: list[int] = []
    """In the old part of a long journal: the steps whose values were kept, the smallest and largest of every block. Empty: all steps."""
    seconds: float
    """Wall time since the run began training, evaluations and saves left out, summed over resumes."""


class Evaluated(Event, frozen=True, kw_only=True):
    """Metrics on held-out data."""

    metrics: dict[str, float]


class Applied(Event, frozen=True, kw_only=True):
    """A change or an action took effect before step `step + 1`."""

    what: str
    """Name of the setting or of the action."""
    value: Any = None
    before: Any = None


class Saved(Event, frozen=True, kw_only=True):
    """A checkpoint was written."""

    checkpoint: str
    """Name of its folder in the run's `checkpoints/`."""
    bytes: int


class Paused(Event, frozen=True, kw_only=True):
    """Training was paused."""

    reason: str = ""
    """Empty when a person asked for it."""


class Resumed(Event, frozen=True, kw_only=True):
    """Training was resumed."""


class Warned(Event, frozen=True, kw_only=True):
    """Something a person should know; training continues."""

    what: str
    why: str = ""
    remedy: str = ""


class Failed(Event, frozen=True, kw_only=True):
    """The run ended in an error: what happened, why, and what to do."""

    what: str
    why: str = ""
    remedy: str = ""
    settings: dict[str, Any] = {}
    """Those that the remedy changes; empty where it changes none."""
    resumes: bool = False
    """Whether the remedy may be tried on the last checkpoint, too."""


class Finished(Event, frozen=True, kw_only=True):
    """The run ended without an error."""

    reason: str
    """steps, minutes, until, stopped or interrupted."""
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    steps_per_second: float
    """Training steps per second of training time (evaluations and saves left out), over this process."""
    seconds: float
    """Training time over all resumes, as in `Stepped`."""
    ranks: list[RankStatus] = []
    """Over this process, where several train together."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "baselines", named_as_today(self.baselines))


class Hello(Event, frozen=True, kw_only=True):
    """Live: the first message on every connection: who answers on it, and at which `step` its model is."""

    architecture: str
    name: str
    """The run; or, where nothing trains, the checkpoint as it was named, such as gpt-stdlib."""
    pid: int


class Shown(Event, frozen=True, kw_only=True):
    """Live: a watched panel, as of `step`."""

    view: int
    """Position of the view in the client's last `Watch`."""
    watch: int
    """`id` of that `Watch`."""
    panel: AnyPanel


class Working(Event, frozen=True, kw_only=True):
    """Live: how far a watched panel is that takes long."""

    view: int
    """Position of the view in the client's last `Watch`."""
    watch: int
    """`id` of that `Watch`."""
    doing: str
    """In words, such as "head 3 of 144"."""


class Answered(Event, frozen=True, kw_only=True):
    """Live: the reply to a command that carried an `id`."""

    id: int
    panel: AnyPanel | None = None
    view: int | None = None
    """For a watched panel that cannot be shown: its position in the `Watch` with this `id`."""
    error: str = ""
    """Why the command was refused, and what to do instead; empty when it was carried out."""


class Status(Event, frozen=True, kw_only=True):
    """Live: how the run is doing, a few times a second."""

    state: str
    """training, paused, finished, failed, or exploring (a checkpoint is open and nothing trains)."""
    steps_per_second: float = 0.0
    device: str = ""
    device_name: str = ""
    utilisation: float | None = None
    """Of the device, from 0 to 1."""
    memory: int | None = None
    """Bytes in use on the device (of the process, on a CPU)."""
    problem: str = ""
    """What keeps the run from training, such as a full disk; empty when nothing does."""
    ranks: list[RankStatus] = []
    """Of every rank, where several train together."""


DurableEvent = Started | Baselines | Stepped | Evaluated | Applied | Saved | Paused | Resumed | Warned | Failed | Finished
LiveEvent = Hello | Shown | Working | Answered | Status
