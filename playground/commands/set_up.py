"""Commands that set something up: a room of one's own, a check of the device, completion for the shell."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.completion.detect import ShellDetectionError

from dlplay import architectures
from dlplay.engine.settings import Settings, SettingsError, field, parse
from dlplay.runs.console import print_line


def new(
    name: Annotated[str, Parameter(help="Name of the room: a-z, 0-9 and hyphens.")],
    folder: Annotated[Path, Parameter(help="Folder it is put into.")] = Path("rooms"),
    /,
) -> int:
    """Write a small working room, an architecture of your own, to start from."""
    from dlplay import template

    if name in architectures.RESERVED or name in architectures.cards():
        kind = "a command" if name in architectures.RESERVED else "an architecture"
        raise SettingsError(f"there is {kind} called {name} already; choose another name")
    room = template.write(name, folder)
    print_line(f"{room} is a working room; try it: dlplay --rooms {shlex.quote(str(folder))} {name}")
    return 0


def check(
    *names: Annotated[str, Parameter(help="Which architectures; all of them by default.")],
    device: Annotated[str, Parameter(name="--device", help="What to check: auto, cpu, cuda, cuda:N or mps.")] = "auto",
    seconds: Annotated[
        float | None, Parameter(name="--seconds", help="For how long each speed is measured; by default 5, on a CPU 1.")
    ] = None,
    out: Annotated[Path | None, Parameter(name="--out", help="The file of results; by default dlplay-check-DEVICE.json here.")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print the results as JSON instead.")] = False,
) -> int:
    """Check on your device what the tests check on a CPU: losses, resuming, panels, memory, speed. Takes minutes."""
    cards = [architectures.card(name) for name in names or architectures.cards()]
    parse(field(Settings, "device"), device)
    if seconds is not None and not 0 < seconds <= 600:
        raise SettingsError(f"--seconds {seconds:g}: give a number above 0, at most 600")
    from dlplay.runs import check as checks

    return checks.run(cards, device, seconds, out, as_json)


def install_completion(app: App) -> Callable[..., int]:
    """The command that installs shell completion for `app`."""

    def install(
        shell: Annotated[Literal["bash", "zsh", "fish"] | None, Parameter(help="The shell; by default the one in use.")] = None,
    ) -> int:
        """Install completion of commands, flags and values for your shell."""
        try:
            print_line(f"installed {app.install_completion(shell=shell)}; open a new shell to use it")
        except ShellDetectionError:
            raise SettingsError("cannot tell which shell you use; name it: dlplay install-completion bash") from None
        return 0

    return install
