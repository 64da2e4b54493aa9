"""A new run that begins at a checkpoint of another: with its weights, training state, curves and checkpoints up to there.

It is put together in a hidden folder and appears by one rename; from then on it is a run like any other, which is resumed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from dlplay import architectures
from dlplay.checkpoints.store import Store
from dlplay.engine.events import Applied, Baselines, Evaluated, Started, Stepped
from dlplay.engine.settings import Settings, SettingsError, make, to_dict, without_code
from dlplay.runs import directory, origin, steps
from dlplay.runs.directory import RunDirectory
from dlplay.runs.files import open_regular
from dlplay.runs.journal import JournalReader, up_to

PART = 4 << 20
"""Bytes of the journal that are read at a time."""
COPIED = (Started, Baselines, Stepped, Evaluated, Applied)
"""Events that are the branch's as well; its own process says the others."""


def branch(
    runs_dir: Path, run: RunDirectory, step: int, changes: Mapping[str, Any], code: Mapping[str, Any], name: str | None = None
) -> RunDirectory:
    """A new run that goes on from the last checkpoint of `run` with a training state at or before `step`, its settings changed.

    `code` are the settings that import code. Its journal begins with the events of `run` up to there, and the checkpoints up to there are
    its own as well. Raises `SettingsError`, `CheckpointError`, `RunNameError` and `OSError`, and there is no new run then.
    """
    checkpoint = steps.nearest(run, step, stateful=True)
    card = architectures.card(run.spec.architecture)
    before = {**without_code(card.settings, origin.all_settings(checkpoint)), **code}
    settings: Settings = make(card.settings, {**before, **changes}, lenient=True)
    if settings.steps <= checkpoint.step:
        raise SettingsError(f"--steps {settings.steps}: {run.name} branches off at step {checkpoint.step}; give more than that", "steps")

    def fill(draft: Path) -> None:
        _copy_journal(run.journal_path, draft / "events.jsonl", checkpoint.step)
        meta = {**checkpoint.meta, "settings": to_dict(settings)}
        Store(draft / "checkpoints").save(checkpoint.step, checkpoint.weights, checkpoint.tensors, meta)
        _link_history(run, draft / "history", checkpoint.step)

    return directory.create(
        runs_dir,
        card.name,
        to_dict(settings),
        f"{run.name}@{checkpoint.step}",
        name,
        parent=run.name,
        parent_step=checkpoint.step,
        fill=fill,
    )


def _copy_journal(source: Path, target: Path, step: int) -> None:
    """The events up to `step`, numbered anew."""
    reader, encoder, seq = JournalReader(source), msgspec.json.Encoder(), 0
    with os.fdopen(open_regular(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        for event in itertools.chain.from_iterable(reader.parts(PART)):
            if isinstance(event, COPIED) and (kept := up_to(event, step)) is not None:
                file.write(encoder.encode(msgspec.structs.replace(kept, seq=seq)) + b"\n")
                seq += 1
        file.flush()
        os.fsync(file.fileno())


def _link_history(run: RunDirectory, target: Path, step: int) -> None:
    """The run's checkpoints along the way up to `step`, as hard links; copied where the file system has none."""
    target.mkdir(mode=0o700)
    for one in run.history.steps():
        if one <= step:
            try:
                shutil.copytree(run.history.directory / f"step-{one}", target / f"step-{one}", copy_function=_link)
            except (OSError, shutil.Error):  # the run dropped it just now
                shutil.rmtree(target / f"step-{one}", ignore_errors=True)


def _link(source: str, target: str) -> None:
    with contextlib.suppress(OSError):
        os.link(source, target, follow_symlinks=False)
        return
    shutil.copyfile(source, target, follow_symlinks=False)
