"""The checkpoint that `--from` names: a shipped model, a run, a step of one (`gpt-1@200`), the folder of a checkpoint, or `hf:` and the
folder of a model that `transformers` saved."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlplay.checkpoints import CheckpointError, shipped, store
from dlplay.checkpoints.shipped import Shipped
from dlplay.checkpoints.store import Checkpoint
from dlplay.engine.card import Card
from dlplay.engine.paths import expanded
from dlplay.engine.settings import COMMON, SettingsError, fields, without_code
from dlplay.runs import directory, hf, steps
from dlplay.runs.console import print_line

MOST_LISTED = 6
"""Runs whose names are told where one is not found."""


def find(text: str, runs_dir: Path, architecture: str = "", *, weights: bool = True, earlier: bool = False) -> Checkpoint:
    """The checkpoint that `text` names, read and verified. Raises `SettingsError` or `CheckpointError`.

    Without `weights` those of a model of `transformers`, which may take gigabytes, are not read. `earlier`: for a step that the run has
    dropped, as one that trains does, its last checkpoint before that.
    """
    known = shipped.shipped()
    path = expanded(text)
    if hf.is_hf(text):
        checkpoint = hf.load(text, weights=weights)
    elif text in known:
        checkpoint = known[text].open()
    elif "/" not in text and (runs_dir / text).is_dir():
        newest, problems = directory.find(runs_dir, text).store.newest()
        if newest is None:
            raise SettingsError(f"{text}: " + (problems[0] if problems else "that run has saved no checkpoint yet"))
        for problem in problems if weights else ():
            print_line(f"dlplay: a checkpoint was refused: {problem}; the one of step {newest.step:,} is taken", error=True)
        checkpoint = newest
    elif (place := steps.at_step(text)) is not None and place[0] in known:
        checkpoint = steps.at(known[place[0]], place[1])
    elif place is not None and (runs_dir / place[0]).is_dir():
        checkpoint = (steps.nearest if earlier else steps.at)(directory.find(runs_dir, place[0]), place[1])
    elif hf.is_hf_folder(path):
        raise SettingsError(f"{text} is a folder of transformers; write {hf.PREFIX}{text}")
    elif path.is_dir():
        checkpoint = store.load(path)
    else:
        names = [*known, *directory.names(runs_dir)]
        near = difflib.get_close_matches(text, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {_listed(known, directory.names(runs_dir), architecture)}"
        raise SettingsError(f"{text}: there is no shipped model, run or checkpoint folder of that name; {hint}")
    found = str(checkpoint.meta.get("architecture", ""))
    if architecture and found != architecture:
        raise SettingsError(f"{text}: that checkpoint is of {found or 'an unknown architecture'}, not {architecture}; use dlplay {found}")
    return checkpoint


def _listed(models: Mapping[str, Shipped], runs: Sequence[str], architecture: str) -> str:
    """The shipped models of an architecture (empty: of all), and the runs unless they are many."""
    names = [name for name, model in models.items() if architecture in ("", model.architecture)]
    if len(runs) <= MOST_LISTED:
        return ", ".join([*names, *runs]) or "none yet"
    return f"{', '.join(names)} and {len(runs)} runs, which dlplay runs lists".removeprefix(" and ")


def default(card: Card) -> str:
    """The name of the model shipped for an architecture. Raises `SettingsError` when there is none."""
    for name, item in shipped.shipped().items():
        if item.architecture == card.name:
            return name
    raise SettingsError(f"no trained {card.title} is shipped; name a run or a checkpoint with --from")


def settings_of(card: Card, checkpoint: Checkpoint) -> dict[str, Any]:
    """The architecture's own settings that the checkpoint was trained with, those aside that import code; its weights fit no others."""
    own = {item.name for item in fields(card.settings)} - set(COMMON)
    return {name: value for name, value in without_code(card.settings, all_settings(checkpoint)).items() if name in own}


def all_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """Every setting that the checkpoint was trained with. Raises `CheckpointError`."""
    settings = checkpoint.meta.get("settings", {})
    if not isinstance(settings, dict):
        raise CheckpointError(f"{checkpoint.path}: its settings are {str(settings)[:40]}, not names and values")
    return settings
