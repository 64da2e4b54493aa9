"""How a run fails, in words: what happened, why, and what to do."""

from __future__ import annotations

from typing import Any

import torch

from dlplay.engine.errors import DataError
from dlplay.engine.events import Failed
from dlplay.engine.quantities import LearningRate
from dlplay.engine.settings import SettingsError, fields, make, show, to_dict
from dlplay.engine.task import Task


class TrainingFailed(Exception):
    """The run cannot continue; carries the `Failed` event."""

    def __init__(self, event: Failed) -> None:
        super().__init__(event.what)
        self.event = event


class GaveUp(Exception):
    """The run was told to stop while the disk refused what it had to write."""


def not_finite(task: Task[Any], step: int) -> Failed:
    """The loss of `step`, or the norm of its gradient, was infinite or not a number."""
    lower = _allowed(task, _lower_rates(task))
    return Failed(
        step=step,
        what=f"the loss of step {step:,}, or its gradient, is not a finite number",
        why="the weights were left as they were before that step; a learning rate that is too high is the usual cause",
        remedy=f"train again with {_words(lower) or 'a lower learning rate'}; the last checkpoint is kept and can be resumed",
        settings=lower,
        resumes=True,
    )


def is_shortage(error: BaseException) -> bool:
    """Whether the error says that memory ran out."""
    words = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or ("memory" in words and "alloc" in words)


def out_of_memory(task: Task[Any], error: BaseException) -> Failed | None:
    """The error as a failure, when it says that memory ran out; None for any other."""
    if not is_shortage(error):
        return None
    half, twice = getattr(task.settings, "batch", 0) // 2, 2 * task.settings.accumulate
    smaller = _allowed(task, {"batch": half, "accumulate": twice}) or _allowed(task, {"batch": half})
    return Failed(
        step=task.step,
        what="out of memory",
        why=str(error).splitlines()[0][:300] or "the device has too little memory for a training step",
        remedy=f"train again with {_words(smaller) or 'a smaller model'}"
        + (", which adds up the same gradient from smaller batches" if "accumulate" in smaller else ""),
        settings=smaller,
        resumes=bool(smaller),
    )


def data_failed(step: int, error: DataError) -> Failed:
    """The data, or an environment, turned out not to be usable during a run."""
    return Failed(
        step=step,
        what="what the run learns from cannot be used",
        why=str(error),
        remedy="correct it and resume the run: it continues from its last checkpoint, if it has one",
        resumes=True,
    )


def folder_went_away(step: int) -> Failed:
    """The run's folder is no longer at its path."""
    return Failed(
        step=step,
        what="the run's folder was renamed or deleted",
        why="checkpoints would go into another folder than the journal, so nothing more is saved",
        remedy="resume it under its present name: it continues from its last checkpoint",
    )


def rank_lost(step: int, why: str) -> Failed:
    """One of the processes that train together ended."""
    return Failed(
        step=step,
        what="another rank ended, and the model is trained by all of them together",
        why=why,
        remedy="resume the run with torchrun: it continues from its last checkpoint",
        resumes=True,
    )


def broken_contract(step: int, why: str) -> Failed:
    """The task returned what the engine cannot use."""
    return Failed(step=step, what="the architecture returned what cannot be used", why=why, remedy="correct it and start again")


def cannot_be_saved(step: int, reason: str) -> Failed:
    """A checkpoint that could not be loaded again, such as one that is too large."""
    return Failed(
        step=step,
        what="the run cannot be saved",
        why=reason,
        remedy="train again with a smaller model, or a smaller buffer; the last checkpoint is kept",
    )


def _lower_rates(task: Task[Any]) -> dict[str, float]:
    """A third of every learning rate that has an effect, to one digit."""
    unused = task.settings.unused()
    rates = [item.name for item in fields(type(task.settings)) if item.name == "lr" or item.annotation == LearningRate]
    return {name: float(f"{getattr(task.settings, name) / 3:.1g}") for name in rates if name not in unused}


def _allowed(task: Task[Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The changes, or none where the settings do not allow them."""
    try:
        make(type(task.settings), to_dict(task.settings) | changes)
    except SettingsError:
        return {}
    return changes


def _words(changes: dict[str, Any]) -> str:
    return " and ".join(f"--{name.replace('_', '-')} {show(value)}" for name, value in changes.items())
