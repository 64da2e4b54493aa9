"""The command `dlplay`: opens the playground, trains without a screen, manages runs."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence

from dlplay import architectures
from dlplay.checkpoints import CheckpointError
from dlplay.commands.refusal import DISK_FULL, HELD, INTERRUPTED, USAGE, refuse
from dlplay.commands.screen import open_screen
from dlplay.engine import torchrun
from dlplay.engine.errors import DataError
from dlplay.engine.paths import expanded
from dlplay.engine.settings import SettingsError
from dlplay.runs import launcher
from dlplay.runs.console import discard, flush_output, output_failed, prepare_streams, reserved_output
from dlplay.runs.directory import RunNameError, SpecError, default_runs_dir
from dlplay.runs.files import FULL
from dlplay.runs.lock import Held

GRAMMAR = "dlplay.commands.grammar"
"""Imported where there is something to parse: the screen need not wait for cyclopts and every command."""


def main() -> None:
    """Entry point: run the command line and exit with its status."""
    if not prepare_streams():
        sys.exit(refuse("standard output is closed; send it somewhere, such as >/dev/null", USAGE))
    if sys.argv[1:2] == [launcher.FLAG]:
        importlib.import_module(GRAMMAR)
        sys.argv[1:] = launcher.serve(int(sys.argv[2]))  # goes on in each process that it forks
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit status. A mistake of the user is one line on standard error, never a traceback."""
    with reserved_output() if "--json" in arguments else contextlib.nullcontext():
        status = _run(arguments)
        flush_output()
    failed = output_failed()
    if failed is None or status == DISK_FULL:
        return status
    return DISK_FULL if isinstance(failed, OSError) and failed.errno in FULL else USAGE


def _run(arguments: Sequence[str]) -> int:
    try:
        _check_encoding(arguments)
        arguments = _take_rooms(arguments)
        _check_torchrun(arguments)
        if not arguments or (len(arguments) == 1 and arguments[0] in architectures.cards()):
            return open_screen(tab=arguments[0] if arguments else None, runs_dir=default_runs_dir())
        status: int = importlib.import_module(GRAMMAR).carry_out(arguments, _run)
        return status
    except Held as error:
        return refuse(str(error), HELD)
    except (SettingsError, DataError, CheckpointError, RunNameError, SpecError) as error:
        return refuse(str(error), USAGE)
    except KeyboardInterrupt as error:
        return refuse(str(error) or "interrupted", INTERRUPTED)
    except UnicodeEncodeError as error:
        return refuse(f"{error.object[:200]!r} is not UTF-8, so it cannot be recorded; rename that file or folder", USAGE)
    except BrokenPipeError as error:
        discard(sys.stdout, error)
        return 0
    except OSError as error:
        if not flush_output():
            return 0  # it was standard output, which `run` asks about
        where = f"{error.filename}: " if error.filename else ""
        return refuse(
            f"{where}{error.strerror or error}; free some space or grant access there, or choose another folder (--runs-dir for runs)",
            DISK_FULL if error.errno in FULL else USAGE,
        )


def _check_encoding(arguments: Sequence[str]) -> None:
    """Raises `SettingsError` for an argument in another encoding, which Python hands over with surrogates and no file can hold."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise SettingsError(f"{argument[:200]!r} is not UTF-8; rename that file, or type it in a UTF-8 terminal") from None


def _take_rooms(arguments: Sequence[str]) -> list[str]:
    """The command line without `--rooms DIR`, whose rooms are known from then on: they decide which commands there are."""
    left, folders = [], []
    waiting = iter(arguments)
    for argument in waiting:
        flag, equals, value = argument.partition("=")
        if flag != "--rooms":
            left.append(argument)
        elif folder := value if equals else next(waiting, ""):
            folders.append(expanded(folder).absolute())
        else:
            raise SettingsError("--rooms needs the folder in which the folders of your rooms lie")
    architectures.add_rooms(folders)
    return left


def _check_torchrun(arguments: Sequence[str]) -> None:
    """Raises `SettingsError` for a command that several processes would only disturb each other by."""
    launched = torchrun.place()
    if launched is None or launched.ranks == 1 or {"--help", "-h", "--version"} & set(arguments):
        return
    if not arguments or arguments[0] not in (*architectures.cards(), "resume"):
        raise SettingsError("torchrun is for training: torchrun … -m dlplay ARCH --headless, or torchrun … -m dlplay resume RUN --headless")
    if "--headless" not in arguments:
        raise SettingsError(
            f"torchrun starts {launched.ranks} processes, and a screen is one: add --headless, then type dlplay attach RUN elsewhere"
        )
