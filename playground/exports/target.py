"""Where an export goes: it is written beside the target and renamed when complete, so that a partial export is never found there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dlplay.data.bounded import named
from dlplay.engine.paths import expanded
from dlplay.engine.settings import SettingsError

MARKER = ".dlplay-export"
"""The file in an exported folder that lists all files of the export, one path per line: --force removes only those."""

MARKER_LIMIT = 1 << 20
"""Characters of that list that are read."""


@contextlib.contextmanager
def staged(target: Path, *, folder: bool, force: bool) -> Iterator[Path]:
    """A path beside `target` to write to, which is renamed to `target` at the end, and removed when something fails.

    An existing target is replaced only with `force`: a file by a file, and a folder by a folder if an export wrote everything in it.
    Raises `SettingsError` otherwise, when the parent folder is missing, and when the disk refuses.
    """
    target = expanded(target).absolute()
    try:
        _check(target, folder, force)
        with _draft(target) as draft:
            yield draft
            if folder:
                written = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if not path.is_dir())
                (draft / MARKER).write_text("".join(f"{path}\n" for path in written), encoding="utf-8")
            _check(target, folder, force)
            _put_in_place(draft, target, folder)
    except OSError as error:
        where = named(Path(error.filename)) if isinstance(error.filename, str) else named(target)
        raise SettingsError(
            f"cannot write {where}: {error.strerror or error}; free some space or grant access there, or choose another path"
        ) from None


def _check(target: Path, folder: bool, force: bool) -> None:
    """Raises `SettingsError` unless the target is free or may be replaced."""
    if target.name in ("", "..") or not target.parent.is_dir():
        raise SettingsError(f"{named(target)}: there is no folder {named(target.parent)}; create it first")
    if target.is_symlink() or (target.exists() and target.is_dir() != folder):
        raise SettingsError(
            f"{named(target)} is {'a file' if folder else 'a folder'} or a link; this format writes {'a folder' if folder else 'a file'}"
        )
    if not target.exists():
        return
    if not folder and not target.is_file():
        raise SettingsError(f"{named(target)} is a device, a pipe or a socket, and would be replaced by a file; give another name")
    if not force:
        raise SettingsError(f"{named(target)} exists already; give another name, or --force to replace it")
    if folder:
        _check_folder(target)


def _check_folder(target: Path) -> None:
    """Raises `SettingsError` when the folder is the working directory, or holds anything that no export wrote and that would be lost."""
    if Path.cwd().is_relative_to(target.resolve()):
        raise SettingsError(f"{named(target)} is the working directory and cannot be replaced; give another name")
    marker = target / MARKER
    if any(target.iterdir()) and (marker.is_symlink() or not marker.is_file()):
        raise SettingsError(f"{named(target)} is not an export; --force only replaces an earlier export, so give another name")
    written = {MARKER}
    if marker.is_file():
        with marker.open(encoding="utf-8", errors="replace") as file:
            written.update(file.read(MARKER_LIMIT).split("\n"))
    for path in target.rglob("*"):
        inside = path.relative_to(target)
        if path.is_symlink() or (not path.is_dir() and inside.as_posix() not in written):
            raise SettingsError(
                f"{named(target)} holds {named(inside)}, which no export wrote; --force only replaces an earlier export, "
                "so give another name or move it away"
            )


@contextlib.contextmanager
def _draft(target: Path) -> Iterator[Path]:
    draft = target.parent / f".tmp-{os.getpid()}-{target.name}"
    try:
        yield draft
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def _put_in_place(draft: Path, target: Path, folder: bool) -> None:
    if folder and target.exists():
        previous = target.parent / f".tmp-{os.getpid()}-previous-{target.name}"
        target.rename(previous)
        try:
            draft.rename(target)
        except OSError:
            previous.rename(target)
            raise
        shutil.rmtree(previous, ignore_errors=True)
    else:
        draft.replace(target)
