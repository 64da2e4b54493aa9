"""The interventions that a person last did to a run's model, in `interventions.json` in its folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from dlplay.engine.interventions import MOST, Intervention, parse
from dlplay.engine.settings import SettingsError
from dlplay.runs.directory import RunDirectory
from dlplay.runs.files import open_regular

FILE = "interventions.json"
LIMIT = 1 << 16
SAVED = "saved"
"""What `--do` takes for those of the run."""


class _File(msgspec.Struct, frozen=True):
    interventions: Annotated[list[Annotated[str, Meta(max_length=2000)]], Meta(max_length=MOST)]


def read(run: RunDirectory) -> tuple[Intervention, ...]:
    """Raises `SettingsError`, in words, where there are none or they cannot be read."""
    path = run.path / FILE
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            found = msgspec.json.decode(file.read(LIMIT), type=_File)
    except FileNotFoundError:
        raise SettingsError(f"--do {SAVED}: {run.name} has no saved interventions; the screen saves them, key T", "do") from None
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise SettingsError(f"--do {SAVED}: {path} cannot be read: {error}", "do") from None
    return parse("; ".join(found.interventions))


def write(run: RunDirectory, interventions: tuple[Intervention, ...]) -> None:
    """Replace them. Raises `OSError`."""
    fd, draft = tempfile.mkstemp(prefix=".interventions-", dir=run.path)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(_File([str(each) for each in interventions])))
            file.flush()
            os.fsync(file.fileno())
        Path(draft).rename(run.path / FILE)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
