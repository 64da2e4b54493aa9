"""A run's directory: naming, creating, finding, listing and removing runs.

RUNS_DIR/NAME/run.json       what the run was started with (`Spec`)
              events.jsonl   the journal
              machine.jsonl  what the machine did
              checkpoints/   step-N folders, the latest
              history/       step-N folders, along the way
              lock           held by the run's process
              socket         where it listens for clients while it runs
              log.txt        what the process printed
              trace-A-B.json what --profile wrote
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import errno
import itertools
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from dlplay.engine.paths import expanded
from dlplay.engine.torchrun import Place
from dlplay.runs.files import drafted, open_regular
from dlplay.runs.lock import RunLock, alive, holder
from dlplay.runs.summary import Summary, summarise

if TYPE_CHECKING:
    from dlplay.checkpoints.history import History
    from dlplay.checkpoints.store import Store

SPEC_LIMIT = 1 << 20
_NAME = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,63}")
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}
_HIDDEN = re.compile(r"\.(?:new|gone|explore)-([0-9]{1,10})(?:-.*)?")


class RunNameError(ValueError):
    """An invalid run name, or one that no run has; the message suggests the nearest name."""


class SpecError(ValueError):
    """A run's `run.json` that cannot be read."""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was started with (`run.json`); written once, but for its parent's name where that is changed."""

    architecture: str
    settings: dict[str, Any]
    origin: str = ""
    """The checkpoint the weights came from, as it was given; empty for fresh weights."""
    group: str = ""
    """The runs that belong together, such as one setting with many seeds, or a sweep; empty for a run of its own."""
    parent: str = ""
    """The run that this one branched off, at `parent_step`; empty when it began anew."""
    parent_step: int = 0
    created: float = 0.0
    """Seconds since the epoch."""
    launch: str = ""
    """The torchrun that began it, which may start its command anew (`engine.torchrun.Place`)."""
    format: Literal[1] = 1


class RunDirectory:
    """The directory of one run; it need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The run's name, such as gpt-1."""
        return self.path.name

    @property
    def journal_path(self) -> Path:
        """The journal of durable events."""
        return self.path / "events.jsonl"

    @property
    def lock_path(self) -> Path:
        """The lock that the run's process holds."""
        return self.path / "lock"

    @property
    def socket_path(self) -> Path:
        """The Unix socket at which the run listens."""
        return self.path / "socket"

    @property
    def log_path(self) -> Path:
        """What the run's process printed."""
        return self.path / "log.txt"

    @property
    def store(self) -> Store:
        """The run's checkpoints."""
        from dlplay.checkpoints.store import Store  # here, since it loads numpy

        return Store(self.path / "checkpoints")

    @property
    def history(self) -> History:
        """The run's checkpoints along the way."""
        from dlplay.checkpoints.history import History

        return History(self.path / "history")

    @property
    def spec(self) -> Spec:
        """What the run was started with. Raises `SpecError`."""
        return _read_spec(self.path / "run.json")

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"


class Anchor:
    """Holds a run's folder itself, to tell whether it is still the one at its path. To be closed."""

    def __init__(self, run: RunDirectory) -> None:
        """Raises `OSError`."""
        self._path = run.path
        self._fd = os.open(run.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    @property
    def in_place(self) -> bool:
        """False once the folder was renamed, deleted or replaced."""
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.lstat())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def close(self) -> None:
        os.close(self._fd)


def default_runs_dir(override: Path | str | None = None) -> Path:
    """RUNS_DIR: `override`, or `runs` in the platform's data folder.

    Raises `RunNameError` for one of another user's (root's is no danger), or one that all may write to without the sticky bit.
    """
    if override is not None:
        folder = expanded(override).absolute()
    else:
        import platformdirs

        folder = Path(platformdirs.user_data_dir("dlplay", appauthor=False)) / "runs"
    _check_folder(folder)
    return folder


def _check_folder(folder: Path) -> None:
    """Raises `RunNameError` for a folder in which another user could exchange a run."""
    try:
        facts = folder.stat()
    except OSError:  # there is none yet
        return
    if facts.st_uid not in (os.geteuid(), 0):
        raise RunNameError(f"{folder} belongs to user {facts.st_uid}, not to you ({os.geteuid()}); name a folder of your own: --runs-dir")
    if facts.st_mode & stat.S_IWOTH and not facts.st_mode & stat.S_ISVTX:
        raise RunNameError(
            f"anybody can exchange the runs in {folder}; close it to others (chmod o-w '{folder}'), or name another: --runs-dir"
        )


def explore_path(runs_dir: Path, pid: int | None = None) -> Path:
    """A hidden folder of the process `pid` (by default this one), for the processes it starts that only serve panels."""
    return runs_dir / f".explore-{os.getpid() if pid is None else pid}"


def remove_explored(folder: Path) -> None:
    """Remove the folder of a process that only served panels, and that of its screen once it is empty. Any other folder is left alone."""
    if _HIDDEN.fullmatch(folder.parent.name):
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()


def sweeps_dir(runs_dir: Path) -> Path:
    """The hidden folder of all sweeps' state, beside their runs."""
    return runs_dir / ".sweeps"


def create(
    runs_dir: Path,
    architecture: str,
    settings: dict[str, Any],
    origin: str = "",
    name: str | None = None,
    *,
    group: str = "",
    parent: str = "",
    parent_step: int = 0,
    launch: str = "",
    fill: Callable[[Path], None] = lambda draft: None,
) -> RunDirectory:
    """Create a run, called `ARCHITECTURE-1`, `-2` and so on, or `name`. It appears atomically, with what `fill` puts into its folder.

    Raises `RunNameError` and `OSError`.
    """
    check_new_name(name if name is not None else f"{architecture}-1")
    if name is not None and not group:
        check_no_group(groups(runs_dir), name)
    spec = Spec(
        architecture=architecture,
        settings=settings,
        origin=origin,
        group=group,
        parent=parent,
        parent_step=parent_step,
        created=time.time(),
        launch=launch,
    )
    with drafted(runs_dir, "run.json", msgspec.json.encode(spec)) as draft:
        fill(draft)
        candidates = (
            [name] if name is not None else (f"{architecture}-{n}" for n in itertools.count(_last_number(runs_dir, architecture) + 1))
        )
        for candidate in candidates:
            try:
                draft.rename(runs_dir / candidate)  # atomic; fails where a run exists, since its folder is not empty
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
                continue
            return RunDirectory(runs_dir / candidate)
    raise RunNameError(_taken(name))


def _taken(name: str | None) -> str:
    return f"there is a run {name!r} already; choose another name, or remove it: dlplay rm {name}"


def check_free(runs_dir: Path, name: str) -> None:
    """Raises `RunNameError` for a name that a new run cannot have, and for that of a run or a group that there is."""
    check_new_name(name)
    check_no_group(groups(runs_dir), name)
    if (runs_dir / name).exists():
        raise RunNameError(_taken(name))


def begun_by(runs_dir: Path, launch: str) -> RunDirectory | None:
    """The run that this torchrun began; None where there is none here."""
    for name in reversed(names(runs_dir)):
        run = RunDirectory(runs_dir / name)
        with contextlib.suppress(SpecError):
            if run.spec.launch == launch:
                return run
    return None


def started_by(runs_dir: Path, launched: Place) -> RunDirectory | None:
    """The run that this torchrun began before it started the command anew, as `--max-restarts` says; None when it has not.

    Raises `RunNameError` where that run is not here: on another machine, say.
    """
    if (run := begun_by(runs_dir, launched.launch)) is not None:
        return run
    if launched.restarts:
        raise RunNameError(
            f"torchrun has started this command anew, and the run that it began is not in {runs_dir}; go on with it by "
            "torchrun … -m dlplay resume RUN --headless"
        )
    return None


def is_run(runs_dir: Path, name: str) -> bool:
    """Whether there is a run of that name."""
    return bool(_NAME.fullmatch(name)) and (runs_dir / name / "run.json").is_file()


def find(runs_dir: Path, name: str) -> RunDirectory:
    """The run called `name`. Raises `RunNameError` with the nearest name."""
    check_name(name)
    path = runs_dir / name
    if path.is_symlink():
        raise RunNameError(f"{path} is a link, and links are not followed")
    if path.exists() and (owner := path.stat().st_uid) != os.geteuid():
        raise RunNameError(f"{path} belongs to user {owner}, not to you ({os.geteuid()}); runs of others are not opened")
    if not (path / "run.json").is_file():
        known = names(runs_dir)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}" if known else "there are none yet"
        raise RunNameError(f"there is no run {name!r} in {runs_dir}; {hint}")
    return RunDirectory(path)


def members(runs_dir: Path, group: str) -> list[RunDirectory]:
    """The runs of a group, by name; empty when there is no group of that name."""
    return [RunDirectory(runs_dir / name) for name in groups(runs_dir).get(group, ())]


def groups(runs_dir: Path) -> dict[str, list[str]]:
    """The names of the runs of each group."""
    found: dict[str, list[str]] = {}
    for name in names(runs_dir):
        with contextlib.suppress(SpecError):
            if group := RunDirectory(runs_dir / name).spec.group:
                found.setdefault(group, []).append(name)
    return found


def check_no_group(taken: Container[str], *wanted: str) -> None:
    """Raises `RunNameError` where one of these names for runs is a group's, which it would hide."""
    if name := next((name for name in wanted if name in taken), None):
        raise RunNameError(f"there is a group {name!r} already; choose another name, or remove it: dlplay rm {name}")


def find_all(runs_dir: Path, name: str) -> list[RunDirectory]:
    """The run called `name`, or the members of the group called so. Raises `RunNameError`."""
    check_name(name)
    if not (runs_dir / name).exists() and (group := members(runs_dir, name)):
        return group
    return [find(runs_dir, name)]


def names(runs_dir: Path) -> list[str]:
    """Every run's name, `gpt-2` before `gpt-10`."""
    try:
        with os.scandir(runs_dir) as entries:
            found = [entry.name for entry in entries if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((name for name in found if (runs_dir / name / "run.json").is_file()), key=natural)


def listing(runs_dir: Path, *, disk: bool = False) -> list[Summary]:
    """Every run of the folder, by name; one that cannot be read is listed with its problem. With `disk`, with the space it takes."""
    runs = [RunDirectory(runs_dir / name) for name in names(runs_dir)]
    return [dataclasses.replace(summary(run), disk=disk_space(run.path) if disk else 0) for run in runs]


def disk_space(folder: Path) -> int:
    """Bytes that the files in a folder take on the disk, in whole blocks of the file system."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:  # what was removed meanwhile takes none
        for entry in entries:
            with contextlib.suppress(OSError):
                is_folder = entry.is_dir(follow_symlinks=False)
                total += disk_space(Path(entry.path)) if is_folder else entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def summary(run: RunDirectory) -> Summary:
    """The state of a run, from the end of its journal."""
    architecture, steps, created, problem = "", 0, 0.0, ""
    family: dict[str, Any] = {}
    try:
        spec = run.spec
        architecture, steps, created = spec.architecture, int(spec.settings.get("steps", 0)), spec.created
        family = {"group": spec.group, "parent": spec.parent, "parent_step": spec.parent_step}
    except (SpecError, ValueError, TypeError) as error:
        problem = str(error)
    found = summarise(run.name, architecture, steps, created, problem, journal_path=run.journal_path, lock_path=run.lock_path)
    return dataclasses.replace(found, **family)


def recorded(run: RunDirectory) -> int:
    """Bytes of its journal; 0 when there is none."""
    try:
        return run.journal_path.lstat().st_size
    except OSError:
        return 0


def remove(run: RunDirectory) -> None:
    """Delete the run with its checkpoints and journal. Raises `Held` when a process holds it."""
    with RunLock(run.lock_path):
        gone = run.path.parent / f".gone-{os.getpid()}-{run.name}"
        run.path.rename(gone)  # atomic, so that no partial run is ever listed
        shutil.rmtree(gone)


def rename(run: RunDirectory, name: str) -> RunDirectory:
    """Give the run another name. Raises `RunNameError`, also for a sweep's trial, and `Held` while a process holds it."""
    check_name(name)
    if name.startswith("-"):
        raise RunNameError(f"{name[:80]!r} cannot be a run's name; it would be read as a flag")
    target = run.path.parent / name
    with contextlib.suppress(SpecError):
        if (group := run.spec.group) and (sweeps_dir(run.path.parent) / group / "sweep.json").exists():
            tag = f"dlplay label {run.name} --tags {name}"
            raise RunNameError(f"{run.name} is a trial of the sweep {group}, which finds it by this name; tag it instead: {tag}")
    check_no_group(groups(run.path.parent), name)
    with RunLock(run.lock_path):
        try:
            if target.exists():
                raise RunNameError(f"there is a run {name!r} already; choose another name")
            run.path.rename(target)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            raise RunNameError(f"there is a run {name!r} already; choose another name") from None
    for child in map(RunDirectory, (run.path.parent / known for known in names(run.path.parent))):
        with contextlib.suppress(SpecError):
            if (spec := child.spec).parent == run.name:
                _replace_spec(child, msgspec.structs.replace(spec, parent=name))
    return RunDirectory(target)


def _replace_spec(run: RunDirectory, spec: Spec) -> None:
    with drafted(run.path, "run.json", msgspec.json.encode(spec)) as draft:
        (draft / "run.json").rename(run.path / "run.json")


def clean(runs_dir: Path) -> None:
    """Remove hidden folders that a process left behind, unless another process holds them."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(runs_dir) as entries:
        for entry in entries:
            match = _HIDDEN.fullmatch(entry.name)
            if match is None or not entry.is_dir(follow_symlinks=False) or alive(int(match[1])):
                continue
            if all(holder(lock) is None for lock in (Path(entry.path) / "lock", *Path(entry.path).glob("*/lock"))):
                shutil.rmtree(entry.path, ignore_errors=True)


def check_name(name: str) -> None:
    """Raises `RunNameError` unless `name` can be a run's name."""
    if not _NAME.fullmatch(name):
        raise RunNameError(f"{name[:80]!r} cannot be a run's name; use 1 to 64 of a-z 0-9 . _ - without a leading dot")


def check_new_name(name: str) -> None:
    """Raises `RunNameError` unless `name` can be a new run's name, wherever it is not taken."""
    check_name(name)
    if name.startswith("-"):
        raise RunNameError(f"{name[:80]!r} cannot be a new run's name; it would be read as a flag")
    from dlplay.checkpoints.shipped import shipped  # imports numpy, which a list of runs does not need

    if name in shipped():
        raise RunNameError(f"{name} is a model that comes with dlplay; choose another name")


def _read_spec(path: Path) -> Spec:
    try:
        fd = open_regular(path, os.O_RDONLY)
        with os.fdopen(fd, "rb") as file:
            data = file.read(SPEC_LIMIT + 1)
        if len(data) > SPEC_LIMIT:
            raise SpecError(f"{path} is larger than {SPEC_LIMIT:,} bytes")
        return msgspec.json.decode(data, type=Spec)
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror or error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise SpecError(f"{path} is not a run's description: {error}") from None


def _last_number(runs_dir: Path, architecture: str) -> int:
    """The highest number in use: new runs are numbered after it, so that names follow the order of creation."""
    pattern = re.compile(re.escape(architecture) + r"-([1-9][0-9]{0,8})")
    try:
        return max((int(match[1]) for path in runs_dir.iterdir() if (match := pattern.fullmatch(path.name))), default=0)
    except FileNotFoundError:
        return 0


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts `gpt-2` before `gpt-10`."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"([0-9]+)", name)]
