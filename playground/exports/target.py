"""Where an export goes: written beside the target and put in its place when it is whole, so that no half of one is ever found there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from playground.data.bounded import named
from playground.engine.settings import SettingsError


@contextlib.contextmanager
def staged(target: Path, *, folder: bool, force: bool) -> Iterator[Path]:
    """A path beside `target` to write to; it takes the target's place at the end, and is removed when something goes wrong.

    Raises `SettingsError` when something stands there already (unless `force`, and only the same kind of thing is replaced), or when the
    folder around it is missing.
    """
    target = target.expanduser().absolute()
    if not target.name or not target.parent.is_dir():
        raise SettingsError(f"{named(target)}: there is no folder {named(target.parent)}; make it first")
    if target.is_symlink() or (target.exists() and target.is_dir() != folder):
        raise SettingsError(f"{named(target)} is {'a file' if folder else 'a folder'} or a link; this format writes another kind of thing")
    if target.exists() and not force:
        raise SettingsError(f"{named(target)} is there already; give another name, or --force to replace it")
    draft = target.parent / f".tmp-{os.getpid()}-{target.name}"
    try:
        yield draft
        if folder and target.exists():
            former = target.parent / f".tmp-{os.getpid()}-former-{target.name}"
            target.rename(former)
            draft.rename(target)
            shutil.rmtree(former, ignore_errors=True)
        else:
            draft.replace(target)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
