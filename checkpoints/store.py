"""A folder of checkpoints `step-N`: saved atomically, verified when read, the newest intact one found again after any crash.

A checkpoint holds `weights.safetensors`, `state.safetensors` (optimisers, generators, data position) and `meta.json`, which has the
sha256 of both and a checksum of itself. It is written as `.tmp-PID-N`, flushed with fsync, and only then renamed, so that every `step-N`
is complete. Saving, pruning and cleaning are for the holder of the run's lock; reading is for anyone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.checkpoints import CheckpointError
from dlplay.checkpoints.format import DATA_LIMIT, TensorFile, Tensors, read_bytes, read_tensors, tensor_file

FORMAT = 1
META_LIMIT = 8 << 20
WEIGHTS = "weights.safetensors"
STATE = "state.safetensors"
META = "meta.json"
KEEP = 3
"""Checkpoints of a run that are kept."""

Contents = bytes | TensorFile
"""Of a file that is to be written."""

_STEP = re.compile(r"step-(0|[1-9][0-9]{0,17})")
_STALE = re.compile(r"\.tmp-[0-9]+-[0-9]+")
_ASIDE = re.compile(r"\.was-[0-9]+-(0|[1-9][0-9]{0,17})")


@dataclasses.dataclass(frozen=True)
class Saved:
    """What `Store.save` wrote."""

    name: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class Record:
    """The contents of `meta.json`, whose checksum was verified."""

    step: int
    meta: dict[str, Any]
    """As given to `save`."""
    files: dict[str, str]
    """sha256 by file name."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, with every byte verified."""

    path: Path
    step: int
    meta: dict[str, Any]
    weights: dict[str, NDArray[Any]]
    tensors: dict[str, NDArray[Any]]
    """The tensors of the training state; empty in a shipped model."""


class Store:
    """The checkpoints of one run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def save(self, step: int, weights: Tensors, tensors: Tensors, meta: Mapping[str, Any]) -> Saved:
        """Write `step-N`, replacing one of that name, and keep the `KEEP` latest.

        Checkpoints of later steps are removed as well: they are from before the run was resumed at an earlier step. Raises
        `CheckpointError` for values that could not be loaded again, and `OSError` (a full disk); older checkpoints stay intact.
        """
        self._check_place()
        files: dict[str, Contents] = {WEIGHTS: tensor_file(without_nan(weights)), STATE: tensor_file(tensors)}
        files[META] = encode_meta(step, files, meta)
        saved = self._write(step, files)
        self._prune(step)
        return saved

    def _write(self, step: int, files: Mapping[str, Contents]) -> Saved:
        """Stage, sync and rename."""
        if not self.directory.is_dir():
            self.directory.mkdir(mode=0o700, exist_ok=True)  # and no parents: where the run's folder went away, none is made in its place
            _sync_folder(self.directory.parent)
        staging = self.directory / f".tmp-{os.getpid()}-{step}"
        try:
            write_folder(staging, files)
            self._put_in_place(staging, step)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return Saved(f"step-{step}", sum(len(data) for data in files.values()))

    def _put_in_place(self, staging: Path, step: int) -> None:
        target, aside = self.directory / f"step-{step}", self.directory / f".was-{os.getpid()}-{step}"
        replaces = os.path.lexists(target)
        if replaces:  # a folder that is not empty cannot be replaced by a rename: move the old one aside first
            target.rename(aside)
        try:
            staging.rename(target)
        except BaseException:
            if replaces:
                aside.rename(target)
            raise
        _sync_folder(self.directory)
        if replaces:
            self._remove(aside)

    def steps(self) -> list[int]:
        """The checkpoints' steps, in order; they are not verified."""
        return sorted(int(match[1]) for entry in _folders(self.directory) if (match := _STEP.fullmatch(entry)))

    def names(self) -> list[str]:
        """The checkpoints' names, oldest step first."""
        return [f"step-{step}" for step in self.steps()]

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """The intact checkpoint of the latest step, and the reason why each later one was refused."""
        problems: list[str] = []
        try:
            self._check_place()
        except CheckpointError as error:
            return None, [str(error)]
        found = [(step, self.directory / f"step-{step}") for step in self.steps()] + list(self._asides())
        for step, path in sorted(found, key=lambda item: (item[0], item[1].name), reverse=True):
            try:
                if path.is_symlink():
                    raise CheckpointError(f"{path} is a link, and links are not followed")
                checkpoint = load(path)
                if checkpoint.step != step:
                    raise CheckpointError(f"{path} holds step {checkpoint.step}: it has been renamed")
                return checkpoint, problems
            except CheckpointError as error:
                problems.append(str(error))
        return None, problems

    def _check_place(self) -> None:
        """Raises `CheckpointError` for a link, through which another run's checkpoints would be pruned."""
        if self.directory.is_symlink():
            raise CheckpointError(f"{self.directory} is a link, and links are not followed")

    def _prune(self, last: int) -> None:
        """Remove all but the latest checkpoints up to step `last`, and those of later steps. Only `step-N` folders are touched."""
        steps = self.steps()
        current = [step for step in steps if step <= last]
        for step in [*current[:-KEEP], *(step for step in steps if step > last)]:
            self._remove(self.directory / f"step-{step}")

    def clean(self) -> None:
        """Remove what a killed `save` or `prune` left behind, and undo a replacement that it began. Raises `CheckpointError`."""
        self._check_place()
        for step, aside in list(self._asides()):
            target = self.directory / f"step-{step}"
            if os.path.lexists(target):
                self._remove(aside)
            else:  # killed between the two renames of a replacement
                aside.rename(target)
        for entry in _folders(self.directory):
            if _STALE.fullmatch(entry):
                shutil.rmtree(self.directory / entry, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        """Rename, then delete, so that a half-removed checkpoint is never taken for a damaged one."""
        gone = self.directory / f".tmp-{os.getpid()}-{path.name.rpartition('-')[2]}"
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _asides(self) -> Iterator[tuple[int, Path]]:
        for entry in _folders(self.directory):
            if match := _ASIDE.fullmatch(entry):
                yield int(match[1]), self.directory / entry


def load(path: Path, *, state: bool = True) -> Checkpoint:
    """The checkpoint in the folder `path`, of any name; without `state` its training state is not read. Raises `CheckpointError`."""
    record = read_record(path)
    if WEIGHTS not in record.files:
        raise CheckpointError(f"{path / META} lists no {WEIGHTS}")
    weights = read_tensors(path / WEIGHTS, DATA_LIMIT, record.files[WEIGHTS])
    tensors = read_tensors(path / STATE, DATA_LIMIT, record.files[STATE]) if state and STATE in record.files else {}
    return Checkpoint(path, record.step, record.meta, dict(without_nan(weights, str(path))), tensors)


def read_record(path: Path) -> Record:
    """The `meta.json` of the checkpoint in the folder `path`; the tensors are not read. Raises `CheckpointError`."""
    file = path / META
    try:
        content = json.loads(read_bytes(file, META_LIMIT))
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is not JSON: {str(error)[:100]}") from None
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{file} is not a checkpoint's meta.json")
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"{file} has format {str(content['format'])[:20]}; this version reads format {FORMAT}: install a newer dlplay"
        )
    checksum = content.pop("checksum", None)
    if checksum != _checksum(content):
        raise CheckpointError(f"{file} has been altered: its checksum does not match")
    step, meta, files = content.get("step"), content.get("meta"), content.get("files")
    if type(step) is not int or step < 0 or not isinstance(meta, dict) or not isinstance(files, dict):
        raise CheckpointError(f"{file} lacks its step, meta or files")
    if not files.keys() <= {WEIGHTS, STATE} or not all(isinstance(digest, str) for digest in files.values()):
        raise CheckpointError(f"{file} lists files that a checkpoint does not have")
    return Record(step, meta, files)


def write_folder(folder: Path, files: Mapping[str, Contents]) -> None:
    """Write a new folder with these files, and flush it to the disk (fsync). Raises `OSError`."""
    if os.path.lexists(folder):
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    for name, data in files.items():
        fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            for chunk in _chunks(data):
                view = memoryview(chunk)
                while view:
                    view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
    _sync_folder(folder)


def encode_meta(step: int, files: Mapping[str, Contents], meta: Mapping[str, Any]) -> bytes:
    """`meta.json` for these files. Raises `CheckpointError`."""
    if step < 0:
        raise CheckpointError(f"step {step} cannot be saved; steps count from 0")
    digests = {name: _digest(data) for name, data in files.items()}
    content: dict[str, Any] = {"format": FORMAT, "step": step, "files": digests, "meta": dict(meta)}
    try:
        content["checksum"] = _checksum(content)
        data = json.dumps(content, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the checkpoint's meta is not JSON: {error}") from None
    if len(data) > META_LIMIT:
        raise CheckpointError(f"the checkpoint's meta takes {len(data):,} bytes; the limit is {META_LIMIT:,}")
    return data


def _chunks(contents: Contents) -> Iterable[bytes | memoryview]:
    return contents.chunks() if isinstance(contents, TensorFile) else (contents,)


def _digest(contents: Contents) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(contents):
        digest.update(chunk)
    return digest.hexdigest()


def _checksum(content: Any) -> str:
    try:
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    except RecursionError:
        raise CheckpointError("the checkpoint's meta is nested too deeply") from None


def without_nan(weights: Tensors, where: str = "the model") -> Tensors:
    """The weights, unless one is NaN (raises `CheckpointError`); infinities may be intended, as in a mask."""
    for name, array in weights.items():
        if array.dtype.kind == "f" and array.size and bool(np.isnan(array.min())):  # which is NaN if any is
            raise CheckpointError(f"weight {name} of {where} holds values that are not a number (NaN)")
    return weights


def _folders(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
