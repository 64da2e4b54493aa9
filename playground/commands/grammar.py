"""What may be typed after `dlplay`: the commands, their flags, and how mistakes are answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cyclopts
from cyclopts import App

from dlplay import __version__, architectures
from dlplay.commands import doctor, lessons, runs, serving, set_up, sweeps, training
from dlplay.commands.parameters import Ascii, Rooms, RunsDir
from dlplay.commands.screen import open_screen
from dlplay.engine.errors import nearest
from dlplay.engine.settings import SettingsError
from dlplay.flags import with_flags, with_sweep_flags
from dlplay.runs import directory
from dlplay.runs.console import rich_console

SEVERAL = {
    "--do": '"blocks.0=0; blocks.1*2"',
    "--train-with": '"blocks.0=0; blocks.1*2"',
    "--at": "0,100,1000",
    "--seeds": "0..4 or 0,2,7",
    "--slurm": "partition=gpu,time=60",
}
"""Flags that take several values, as they are written."""


def carry_out(arguments: Sequence[str], run: Callable[[Sequence[str]], int]) -> int:
    """Carry out one command line; returns its exit status. Raises `SettingsError` for one that cannot be understood. `run` is for commands
    that carry out another one."""
    app = _app(arguments, run)
    _check_command(app, arguments)
    try:
        command, bound, *_ = app.parse_args(list(arguments), exit_on_error=False, print_error=False)
        status: Any = command(*bound.args, **bound.kwargs)
    except cyclopts.UnusedCliTokensError as error:
        words = " ".join(map(str, error.unused_tokens or ()))
        if words in app and arguments[0].startswith("-"):
            raise SettingsError(f"the command comes first: dlplay {words} {arguments[0]} …") from None
        raise SettingsError(f"unexpected argument {words!r}; values follow their flags, as in --steps 500") from None
    except cyclopts.RepeatArgumentError as error:
        flag = str(error.token.keyword)
        several = f"several go into one, as in {flag} {example}" if (example := SEVERAL.get(flag)) else "give it once"
        raise SettingsError(f"{flag} {str(error.token.value)[:60]}: {flag} is there more than once; {several}") from None
    except cyclopts.CycloptsError as error:
        raise SettingsError(" ".join(str(error).split())) from None
    return status if isinstance(status, int) else 0


def playground(*, runs_dir: RunsDir = None, rooms: Rooms = None, ascii_: Ascii = False) -> int:
    """Open the playground."""
    return open_screen(tab=None, runs_dir=directory.default_runs_dir(runs_dir), plain=ascii_)


def _app(arguments: Sequence[str], run: Callable[[Sequence[str]], int]) -> App:
    app = App(
        name="dlplay",
        help="A terminal playground for deep learning: train tiny models live, look inside them, act on them.",
        version=__version__,
        version_flags=["--version"],
        help_format="plaintext",
        console=rich_console() if {"--help", "-h", "--version"} & set(arguments) else None,  # imports rich
    )
    app.default(playground)
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
    app.command(serving.serve(run), name="serve", group="Runs", sort_key=2)
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
