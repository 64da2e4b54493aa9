"""`dlplay serve`: the screen in a browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from cyclopts import Parameter

from dlplay import architectures
from dlplay.commands import screen
from dlplay.engine.errors import nearest
from dlplay.engine.settings import SettingsError


def serve(run: Callable[[Sequence[str]], int]) -> Callable[..., int]:
    """The command, which checks what it is to serve with `run`, as if it were opened here."""

    def command(
        *opens: Annotated[
            str,
            Parameter(
                help="What a page opens, as after dlplay: an architecture and its flags, or attach NAME; by default the playground.",
                allow_leading_hyphen=True,
            ),
        ],
        port: Annotated[int, Parameter(name="--port", help="The port at 127.0.0.1; 0 for any that is free.")] = 8000,
    ) -> int:
        """Open the playground in a browser on this machine, or through ssh -L."""
        known = [*architectures.cards(), "attach"]
        if opens and not opens[0].startswith("-") and opens[0] not in known:
            raise SettingsError(f"dlplay serve {opens[0][:60]}: {nearest(opens[0], known)}")
        if any(word.partition("=")[0] == "--headless" for word in opens):
            raise SettingsError("dlplay serve opens screens; leave --headless out")
        try:
            from dlplay.runs import launch
            from dlplay.web.server import BrowserServer, listen
        except ModuleNotFoundError as error:
            package = str(error.name).partition(".")[0]
            if package == "dlplay":
                raise
            raise SettingsError(f"dlplay serve needs the package {package}: pip install 'dlplay[web]'") from None
        with screen.only_checked() as opened:
            status = run(opens)
        if not opened:
            return status
        with listen(port) as listening:
            BrowserServer([*launch.command(), *opens], listening).serve()
        return 0

    return command
