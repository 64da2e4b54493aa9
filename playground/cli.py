"""The command `dlplay`: opens the playground, trains without a screen, manages runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence

import cyclopts
from cyclopts import App

from dlplay import __version__, architectures
from dlplay.checkpoints import CheckpointError
from dlplay.commands import doctor, lessons, runs, screen, serving, set_up, sweeps, training
from dlplay.commands.parameters import DISK_FULL, HELD, INTERRUPTED, USAGE, nearest, refuse
from dlplay.engine.errors import DataError
from dlplay.engine.paths import expanded
from dlplay.engine.settings import SettingsError
from dlplay.flags import with_flags, with_sweep_flags
from dlplay.runs import launcher
from dlplay.runs.console import discard, flush_output, output_failed, prepare_streams, reserved_output, rich_console
from dlplay.runs.directory import RunNameError, SpecError
from dlplay.runs.files import FULL
from dlplay.runs.lock import Held


def main() -> None:
    """Entry point: run the command line and exit with its status."""
    if not prepare_streams():
        sys.exit(refuse("standard output is closed; send it somewhere, such as >/dev/null", USAGE))
    if sys.argv[1:2] == [launcher.FLAG]:
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
        app = _app(arguments)
        _check_command(app, arguments)
        command, bound, *_ = app.parse_args(list(arguments), exit_on_error=False, print_error=False)
        status = command(*bound.args, **bound.kwargs)
        return status if isinstance(status, int) else 0
    except cyclopts.UnusedCliTokensError as error:
        words = " ".join(map(str, error.unused_tokens or ()))
        if words in app and arguments[0].startswith("-"):
            return refuse(f"the command comes first: dlplay {words} {arguments[0]} …", USAGE)
        return refuse(f"unexpected argument {words!r}; values follow their flags, as in --steps 500", USAGE)
    except cyclopts.CycloptsError as error:
        return refuse(" ".join(str(error).split()), USAGE)
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


def _app(arguments: Sequence[str]) -> App:
    app = App(
        name="dlplay",
        help="A terminal playground for deep learning: train tiny models live, look inside them, act on them.",
        version=__version__,
        version_flags=["--version"],
        help_format="plaintext",
        console=rich_console() if {"--help", "-h", "--version"} & set(arguments) else None,  # imports rich
    )
    app.default(screen.playground)
    asked = arguments[0] if arguments else ""
    complete = any("completion" in argument for argument in arguments)
    for card in architectures.cards().values():
        # building flags takes milliseconds for each architecture, and a command line names one
        command: Callable[..., int] = with_flags(card, training.architecture) if complete or asked in (card.name, "help") else _unbuilt
        app.command(command, name=card.name, help=card.summary, sort_key=1, group="Architectures")
    commands: dict[str, Callable[..., int]] = {"runs": runs.list_runs, "attach": runs.attach, "stop": runs.stop}
    commands |= {"resume": runs.resume, "branch": runs.branch}
    commands |= {"compare": runs.compare, "doctor": doctor.doctor, "label": runs.label, "export": runs.export, "rm": runs.remove}
    for name, function in commands.items():
        app.command(function, name=name, group="Runs", sort_key=2)
    app.command(_sweep_app(arguments, complete))
    app.command(serving.serve(_run), name="serve", group="Runs", sort_key=2)
    app.command(lessons.learn, group="Lessons", sort_key=3)
    app.command(set_up.new, group="Set-up", sort_key=4)
    app.command(set_up.check, group="Set-up", sort_key=4)
    app.command(set_up.install_completion(app), name="install-completion", group="Set-up", sort_key=4)
    return app


def _sweep_app(arguments: Sequence[str], complete: bool) -> App:
    """`dlplay sweep ARCH`, `resume`, `work`, `stop`, `show` and `list`."""
    app = App(name="sweep", help="Search for the best settings, with Optuna: every trial is a run.", group="Runs", sort_key=2)
    if not complete and arguments[:1] != ["sweep"]:
        return app
    asked = arguments[1] if len(arguments) > 1 else ""
    for card in architectures.cards().values():
        command: Callable[..., int] = with_sweep_flags(card, sweeps.sweep) if complete or asked == card.name else _unbuilt
        app.command(command, name=card.name, help=f"Search over the settings of {card.title}.", sort_key=1, group="Architectures")
    asked_of_sweeps: dict[Callable[..., int], str | tuple[str, ...]] = {sweeps.work_on: ("resume", "work"), sweeps.stop_sweep: "stop"}
    for function, names in (asked_of_sweeps | {sweeps.show_sweep: "show", sweeps.list_sweeps: "list"}).items():
        app.command(function, name=names, sort_key=2, group="Sweeps")
    return app


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


def _check_command(app: App, arguments: Sequence[str]) -> None:
    """Raises `SettingsError` when the first argument is neither a flag nor a command."""
    known = [name for name in app if not name.startswith("-")]
    if arguments and arguments[0] == "help":
        raise SettingsError("there is no command 'help'; use dlplay --help, or dlplay ARCH --help")
    if "--headless" in arguments and arguments[0].startswith("-") and (given := set(known) & set(arguments)):
        raise SettingsError(f"the command comes first: dlplay {min(given)} --headless …")
    if "--headless" in arguments and arguments[0].startswith("-"):
        raise SettingsError(f"--headless needs an architecture first, such as dlplay {next(iter(architectures.cards()))} --headless")
    if arguments and not arguments[0].startswith("-") and arguments[0] not in known:
        raise SettingsError(f"there is no command {arguments[0][:60]!r}; {nearest(arguments[0], known)}")
    if arguments[:1] == ["sweep"]:
        known = [name for name in app["sweep"] if not name.startswith("-")]
        if len(arguments) < 2 or (not arguments[1].startswith("-") and arguments[1] not in known):
            word = arguments[1][:60] if len(arguments) > 1 else ""
            raise SettingsError(f"dlplay sweep {word or 'needs an architecture or a command'}: {nearest(word, known)}")


def _unbuilt() -> int:
    raise AssertionError("flags are built for the command that is called")
