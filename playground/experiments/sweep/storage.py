"""Where Optuna keeps a sweep's trials: its journal in the sweep's folder, or a PostgreSQL database, whose address nobody else learns."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import optuna
import sqlalchemy.exc
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from dlplay.engine.errors import DataError
from dlplay.engine.settings import SettingsError
from dlplay.experiments.sweep.locks import FolderLocks, Locks, held, is_free
from dlplay.experiments.sweep.spec import VARIABLE, SweepError, SweepFolder, SweepSpec, decode, more_trials
from dlplay.runs.files import open_regular

if TYPE_CHECKING:
    from sqlalchemy import Connection

optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # what it tells is told here, in other words and without addresses

_ADDRESS = re.compile(r"^postgres(?:ql)?(?:\+psycopg)?://(?=.)")


TRIALS, STOPS = "trials", "stops"
"""What may change of a sweep, kept with its study: how many trials are wanted, and how often it was stopped."""


class DatabaseRefuses(DataError):
    """The database cannot be used."""

    why = ""
    """In words, which tell nothing of its address."""


class DatabaseGone(DatabaseRefuses):
    """The database does not answer, for now or for ever."""


class Backend:
    """The trials of one sweep, and the locks of one worker. To be opened with `opened`."""

    def __init__(self, spec: SweepSpec, study: optuna.Study, locks: Locks) -> None:
        """Raises `SweepError` where the study wants more trials than there can be."""
        try:
            self.spec = more_trials(spec, msgspec.convert(study.user_attrs.get(TRIALS, spec.trials), int))
        except (SettingsError, msgspec.ValidationError) as error:
            raise SweepError(f"what is kept of the sweep {spec.name} cannot be used: {error}") from None
        self.study, self.locks = study, locks
        self._stops = study.user_attrs.get(STOPS, 0)

    @property
    def stopped(self) -> bool:
        """Whether somebody has stopped the sweep since this was opened."""
        return bool(self.study.user_attrs.get(STOPS, 0) != self._stops)

    def stop(self) -> None:
        """Have every worker, on any machine, save its runs and end."""
        with held(self.locks, "ask"):
            self.study.set_user_attr(STOPS, self.study.user_attrs.get(STOPS, 0) + 1)

    def extend(self, trials: int) -> None:
        """Want so many trials in all. Raises `SettingsError` and `RunNameError`."""
        with held(self.locks, "ask"):
            self.spec = more_trials(self.spec, trials)
            self.study.set_user_attr(TRIALS, trials)


def address(given: str | None) -> str:
    """The database's address from the flag or the variable, for SQLAlchemy; empty: none. No process that is started from here inherits it.

    Raises `SettingsError`, which does not tell it.
    """
    text = given or os.environ.get(VARIABLE, "")
    os.environ.pop(VARIABLE, None)
    if text and not _ADDRESS.match(text):
        raise SettingsError("--storage takes postgresql://USER@HOST/DATABASE; what was given does not begin with postgresql://")
    url = _ADDRESS.sub("postgresql+psycopg://", text)
    try:
        return url and sqlalchemy.make_url(url).render_as_string(hide_password=False)
    except (ValueError, sqlalchemy.exc.ArgumentError):
        raise SettingsError("--storage takes postgresql://USER@HOST/DATABASE; what was given cannot be read as that") from None


def create(folder: SweepFolder, spec: SweepSpec, url: str) -> None:
    """Create the study: in the staged `folder`, or in the database. Raises `SweepError` when that has a sweep of this name already, and
    `DataError` when it does not answer."""
    if not spec.database:
        optuna.create_study(study_name=spec.name, storage=_journal(folder), direction=_direction(spec))
        return
    with _guarded(), _connected(url, spec.name) as (storage, locks), held(locks, "ask"):
        study = optuna.create_study(study_name=spec.name, storage=storage, direction=_direction(spec), load_if_exists=True)
        if "sweep" in study.user_attrs:
            raise SweepError(
                f"the database has a sweep {spec.name!r} already; join it: dlplay sweep work {spec.name}, or choose another name"
            )
        study.set_user_attr("sweep", msgspec.json.encode(spec).decode())


def described(name: str, url: str) -> SweepSpec:
    """The description of a sweep that others began, from the database. Raises `SweepError` and `DataError`."""
    with _guarded(), _connected(url, name) as (storage, _):
        try:
            text = optuna.load_study(study_name=name, storage=storage).user_attrs["sweep"]
        except KeyError:
            raise SweepError(f"there is no sweep {name!r}, neither here nor in the database") from None
    spec = decode(str(text), "what the database has of this sweep")
    if spec.name != name:
        raise SweepError("what the database has of this sweep has another name")
    return spec


def delete(name: str, url: str, begun: float | None) -> bool:
    """Delete a sweep's trials from the database; False where it has none of them, but perhaps those of a later sweep of this name.

    `begun` is when the sweep began; None: any of this name. Raises `SweepError` while a worker has a trial, and `DatabaseRefuses`.
    """
    if not url:
        raise _refused(f"its address was given neither with --storage nor in the variable {VARIABLE}")
    with _guarded(), _connected(url, name) as (storage, locks), held(locks, "ask"):
        try:
            study = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            return False
        text = study.user_attrs.get("sweep") if begun is not None else None
        if text is not None and decode(str(text), "what the database has of this sweep").created != begun:
            return False
        for trial in study.get_trials(deepcopy=False):
            if not trial.state.is_finished() and not is_free(locks, str(trial.number)):
                raise SweepError(f"a worker has trial {trial.number + 1} of {name}; stop it first: dlplay sweep stop {name} --storage …")
        optuna.delete_study(study_name=name, storage=storage)
        return True


@contextlib.contextmanager
def opened(folder: SweepFolder, spec: SweepSpec, url: str) -> Iterator[Backend]:
    """The trials of a sweep, and locks of one's own. Raises `SettingsError` when the database's address is missing, `SweepError` when there
    are no trials, `DatabaseGone` when the database does not answer, then or later, and `DataError` when it refuses."""
    if spec.database and not url:
        words = f"the trials of {spec.name} are in a database: give its address with --storage, or in the variable {VARIABLE}"
        raise SettingsError(words)
    if not spec.database and url:
        raise SettingsError(f"the trials of {spec.name} are in its folder, {folder.path}; leave --storage and {VARIABLE} out")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_guarded())
        storage: BaseStorage
        locks: Locks
        if spec.database:
            storage, locks = stack.enter_context(_connected(url, spec.name))
        else:
            storage, locks = _journal(folder), FolderLocks(folder.locks_path)
            stack.callback(locks.close)
        try:
            study = optuna.load_study(study_name=spec.name, storage=storage, pruner=_pruner(spec))
        except KeyError:
            raise SweepError(f"{folder.path} holds no trials of {spec.name}; start another sweep") from None
        yield Backend(spec, study, locks)


def _direction(spec: SweepSpec) -> Literal["maximize", "minimize"]:
    return "maximize" if spec.better == "higher" else "minimize"


def _pruner(spec: SweepSpec) -> optuna.pruners.BasePruner:
    if spec.prune == "median":
        return optuna.pruners.MedianPruner()
    if spec.prune == "hyperband":
        searched = [int(dimension.ends[1]) for dimension in spec.space if dimension.name == "steps"]
        steps = max([int(spec.settings["steps"]), *searched])
        first = min(int(spec.settings["eval_every"]), steps)
        return optuna.pruners.HyperbandPruner(min_resource=first, max_resource="auto" if spec.settings["minutes"] else steps)
    return optuna.pruners.NopPruner()


# --- the journal --------------------------------------------------------------------------------------------------------------------------


def _journal(folder: SweepFolder) -> JournalStorage:
    """Optuna's own journal file, which any program can open with `JournalStorage(JournalFileBackend(…))`. Raises `SweepError` where it is
    damaged."""
    os.close(open_regular(folder.log_path, os.O_RDWR | os.O_CREAT))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return JournalStorage(JournalFileBackend(str(folder.log_path), _JournalLock(folder)))
    except (AssertionError, LookupError, TypeError, ValueError, AttributeError):
        raise SweepError(f"{folder.log_path} is damaged: Optuna cannot read it; restore it from a copy, or start another sweep") from None


class _JournalLock(JournalFileOpenLock):
    """In place of Optuna's, which a killed process leaves locked for half a minute. Whoever has it cuts off a line that a killed process,
    or a full disk, left incomplete: with another line behind it the journal could not be read again."""

    def __init__(self, folder: SweepFolder) -> None:
        super().__init__(str(folder.log_path))
        self._folder = folder
        self._fd = -1

    def acquire(self) -> bool:
        fd = open_regular(self._folder.locks_path / "journal", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            _cut(self._folder.log_path)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return True

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)


def _cut(path: Path) -> None:
    """Cut off an incomplete last line."""
    fd = open_regular(path, os.O_RDWR)
    try:
        size = end = os.fstat(fd).st_size
        while end:
            begin = max(0, end - 4096)
            at = os.pread(fd, end - begin, begin).rfind(b"\n")
            end = begin + at + 1 if at >= 0 else begin
            if at >= 0:
                break
        if end != size:
            os.ftruncate(fd, end)
    finally:
        os.close(fd)


# --- the database -------------------------------------------------------------------------------------------------------------------------


KEEPALIVES = {"idle": 30, "interval": 10, "count": 3}
"""The other machine is asked for after so many seconds of silence, again after so many, and taken for dead when it is silent so often."""
REACH = {"connect_timeout": 15, **{f"keepalives_{name}": value for name, value in KEEPALIVES.items()}}
"""How libpq finds out that the database's machine is gone: by itself it would wait for hours."""


@contextlib.contextmanager
def _connected(url: str, name: str) -> Iterator[tuple[RDBStorage, DatabaseLocks]]:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise SettingsError("a sweep in a database needs the package psycopg: pip install 'dlplay[postgres]'") from None
    storage = RDBStorage(url, engine_kwargs={"pool_pre_ping": True, "pool_size": 2, "connect_args": REACH})
    try:
        locks = DatabaseLocks(storage.engine.connect(), name)
        try:
            yield storage, locks
        finally:
            locks.close()
    finally:
        storage.remove_session()
        storage.engine.dispose()


class DatabaseLocks:
    """PostgreSQL's advisory locks of one session, which ends with the worker's connection."""

    def __init__(self, connection: Connection, sweep: str) -> None:
        self._connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        self._sweep = sweep
        self._held: set[str] = set()
        for name, value in KEEPALIVES.items():  # or else a machine that lost its power holds them for hours
            self._connection.exec_driver_sql(f"SET tcp_keepalives_{name} = {value}")

    def take(self, name: str) -> bool:
        if name in self._held or not self._ask("pg_try_advisory_lock", name):
            return False
        self._held.add(name)
        return True

    def release(self, name: str) -> None:
        self._held.remove(name)
        self._ask("pg_advisory_unlock", name)

    def check(self) -> None:
        self._connection.exec_driver_sql("SELECT 1")

    def close(self) -> None:
        self._connection.invalidate()  # not given back to the pool: the locks go with it
        self._connection.close()

    def _ask(self, function: str, name: str) -> bool:
        digest = hashlib.blake2b(f"dlplay sweep {self._sweep} {name}".encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "big", signed=True)
        return bool(self._connection.exec_driver_sql(f"SELECT {function}({key})").scalar())


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    """Whatever the database's drivers raise, words of ours: theirs tell its address and its user."""
    try:
        yield
    except Exception as error:
        if not _of_database(error):
            raise
        said, kind = str(error).lower(), DatabaseRefuses
        if "password" in said or "authentication" in said or "permission denied" in said:
            why = "it refuses this user or password (PGPASSWORD and ~/.pgpass are looked up as well)"
        elif "does not exist" in said:
            why = "it has no such database or user"
        else:
            why, kind = f"it does not answer, or no longer ({type(error).__name__})", DatabaseGone
        raise _refused(why, kind) from None


def _refused(why: str, kind: type[DatabaseRefuses] = DatabaseRefuses) -> DatabaseRefuses:
    refused = kind(
        f"the sweep's database cannot be used: {why}; its address is not shown here. Nothing is lost: dlplay sweep resume NAME goes on"
    )
    refused.why = why
    return refused


def _of_database(error: BaseException) -> bool:
    """Whether the error, or what caused it, is one of SQLAlchemy or of its driver."""
    link: BaseException | None = error
    while link is not None:
        if type(link).__module__.partition(".")[0] in ("sqlalchemy", "psycopg") or isinstance(link, optuna.exceptions.StorageInternalError):
            return True
        link = link.__cause__
    return False
