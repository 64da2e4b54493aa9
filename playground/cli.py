"""The command `dlplay`: opens the playground, trains without a screen, manages runs."""

from __future__ import annotations

import contextlib
import difflib
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import App, Parameter
from cyclopts.completion.detect import ShellDetectionError

from dlplay import __version__, architectures
from dlplay.checkpoints import CheckpointError
from dlplay.engine.card import Card
from dlplay.engine.errors import DataError
from dlplay.engine.paths import expanded
from dlplay.engine.settings import Settings, SettingsError, code, field, fields, make, parse, parse_until, read_file, to_dict
from dlplay.flags import question_fields, with_flags
from dlplay.runs import directory
from dlplay.runs.console import discard, flush_output, output_failed, prepare_streams, print_line, reserved_output, rich_console
from dlplay.runs.directory import RunNameError, SpecError
from dlplay.runs.lock import Held

USAGE, HELD, INTERRUPTED = 2, 3, 130
TRAINING = ("preset", "set_file", "name", "paused", "steps", "minutes", "until", "eval_every", "save_every", "history")
"""Settings and flags that are only for training."""

MOST_AT_ONCE = 64
"""Steps that `--at` takes."""

RunsDir = Annotated[Path | None, Parameter(name="--runs-dir", help="Folder that holds the runs; by default the platform's data folder.")]
Rooms = Annotated[Path | None, Parameter(name="--rooms", help="Folder with rooms of your own, each a tab; goes with every command.")]
RunName = Annotated[str, Parameter(help="Name of the run, as `dlplay runs` shows it.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
Headless = Annotated[bool, Parameter(name="--headless", negative="", help="Without a screen.")]
Steps = Annotated[str | None, Parameter(name="--steps", help="Train to this step instead (a whole number).")]
Minutes = Annotated[str | None, Parameter(name="--minutes", help="Train for this many minutes in all instead.")]
Threads = Annotated[
    str | None,
    Parameter(name="--threads", help="CPU threads from now on; with another number the run is no longer the same to the bit."),
]
TrustCode = Annotated[
    bool, Parameter(name="--trust-code", negative="", help="Import the Python modules that its settings name, without asking.")
]
Device = Annotated[str | None, Parameter(name="--device", help="Device from now on: auto, cpu, cuda, cuda:N or mps.")]
Until = Annotated[str | None, Parameter(name="--until", help="Train until this holds instead, such as test_accuracy>=0.99.")]


def main() -> None:
    """Entry point: run the command line and exit with its status."""
    if not prepare_streams():
        sys.exit(_refuse("standard output is closed; send it somewhere, such as >/dev/null", USAGE))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit status. A mistake of the user is one line on standard error, never a traceback."""
    with reserved_output() if "--json" in arguments else contextlib.nullcontext():
        status = _run(arguments)
        flush_output()
    return USAGE if output_failed() else status


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
        return _refuse(f"unexpected argument {words!r}; values follow their flags, as in --steps 500", USAGE)
    except cyclopts.CycloptsError as error:
        return _refuse(" ".join(str(error).split()), USAGE)
    except Held as error:
        return _refuse(str(error), HELD)
    except (SettingsError, DataError, CheckpointError, RunNameError, SpecError) as error:
        return _refuse(str(error), USAGE)
    except KeyboardInterrupt as error:
        return _refuse(str(error) or "interrupted", INTERRUPTED)
    except UnicodeEncodeError as error:
        return _refuse(f"{error.object[:200]!r} is not UTF-8, so it cannot be recorded; rename that file or folder", USAGE)
    except BrokenPipeError as error:
        discard(sys.stdout, error)
        return 0
    except OSError as error:
        if not flush_output():
            return 0  # it was standard output, which `run` asks about
        where = f"{error.filename}: " if error.filename else ""
        return _refuse(
            f"{where}{error.strerror or error}; free some space or grant access there, or choose another folder (--runs-dir for runs)",
            USAGE,
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
    app.default(playground)
    asked = arguments[0] if arguments else ""
    complete = any("completion" in argument for argument in arguments)
    for card in architectures.cards().values():
        # building flags takes milliseconds for each architecture, and a command line names one
        command: Callable[..., int] = with_flags(card, architecture) if complete or asked in (card.name, "help") else _unbuilt
        app.command(command, name=card.name, help=card.summary, sort_key=1, group="Architectures")
    commands: dict[str, Callable[..., int]] = {"runs": list_runs, "attach": attach, "stop": stop, "resume": resume}
    commands |= {"branch": branch, "export": export, "rm": remove}
    for name, function in commands.items():
        app.command(function, name=name, group="Runs", sort_key=2)
    app.command(new, group="Set-up", sort_key=3)
    app.command(check, group="Set-up", sort_key=3)
    app.command(install_completion(app), name="install-completion", group="Set-up", sort_key=3)
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
        raise SettingsError(f"there is no command {arguments[0][:60]!r}; {_nearest(arguments[0], known)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    """A suggestion for a mistyped name."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def _unbuilt() -> int:
    raise AssertionError("flags are built for the command that is called")


def playground(*, runs_dir: RunsDir = None, rooms: Rooms = None) -> int:
    """Open the playground."""
    return _screen(tab=None, runs_dir=directory.default_runs_dir(runs_dir))


def architecture(card: Card, given: dict[str, Any]) -> int:
    """`dlplay ARCH`: open the playground at this tab; with --headless, train without a screen or ask a trained model."""
    runs_dir = directory.default_runs_dir(_path(given.get("runs_dir")))
    headless, as_json = bool(given.get("headless")), bool(given.get("json"))
    questions = {item.name: parse(item, given[item.name]) for item in question_fields(card) if item.name in given}
    if not headless:
        for name in ("json", "paused", "explore", "panel", "at", "svg"):
            if given.get(name):
                raise SettingsError(f"--{name} needs --headless")
    panel = given.get("panel", "")
    if panel and panel not in {item.name for item in card.panels}:
        raise SettingsError(f"there is no panel {panel[:60]!r}; {_nearest(panel, [item.name for item in card.panels])}", "panel")
    asks = headless and any((questions, panel, "at" in given, "svg" in given))
    if asks and (idle := [name for name in TRAINING if name in given]):
        raise SettingsError(f"--{idle[0].replace('_', '-')} is for training, and a question is asked of a trained model; leave it out")
    values = _values(card, given, runs_dir)
    settings = make(card.settings, values)
    _check_until(card.of(to_dict(settings)), settings)
    start = _absolute(str(given.get("from", "")))
    if not headless:
        return _screen(tab=card.name, runs_dir=runs_dir, settings=values, origin=start, options=questions)
    if given.get("explore"):
        from dlplay.runs import ask, origin

        folder = directory.RunDirectory(expanded(given["explore"]).absolute())
        return ask.explore(folder, card, settings, start or origin.default(card), runs_dir)
    if asks:
        from dlplay.runs import origin

        start = start or origin.default(card)
        if not given.get("from"):
            settings = make(card.settings, _from_checkpoint(card, {**given, "from": start}, runs_dir) | _typed(card, given))
        panel = panel or card.of(to_dict(settings)).asked
        _check_questions(card, panel, questions)
        return _ask(card, settings, start, runs_dir, panel, questions, given)
    created = directory.create(runs_dir, card.name, to_dict(settings), start, given.get("name"))
    own_code = code(card.settings, to_dict(settings))
    return _train(created, card, as_json, paused=bool(given.get("paused")), fresh=True, code=own_code)


def _ask(card: Card, settings: Settings, start: str, runs_dir: Path, panel: str, options: dict[str, Any], given: dict[str, Any]) -> int:
    """Print a panel, or write its picture, as it is or as it was at the steps of `--at`."""
    from dlplay.runs import ask
    from dlplay.runs.panel_text import print_panel

    as_json, pictures = bool(given.get("json")), []
    if "at" not in given:
        answer = ask.answer(card, settings, start, runs_dir, panel, options)
        print_panel(answer, as_json)
        pictures.append((card.panel(panel).title, answer))
    else:
        asked = _steps(given["at"])
        if not given.get("from") or "@" in start or not directory.is_run(runs_dir, start):
            raise SettingsError("--at needs the run whose checkpoints are asked: --from RUN, as dlplay runs lists them", "at")
        run = directory.find(runs_dir, start)
        for wanted, (step, answer) in zip(asked, ask.answers(card, settings, run, panel, options, asked), strict=True):
            print_panel(answer, as_json, at=wanted, step=step)
            pictures.append((f"{card.panel(panel).title} · step {step:,}", answer))
    if "svg" in given:
        from dlplay.screen.sheet import write

        write(pictures, card.panel(panel), Path(given["svg"]))
        print_line(f"{given['svg']}: {len(pictures)} picture{'s' * (len(pictures) > 1)} of {card.panel(panel).title}", error=as_json)
    return 0


def _steps(text: str) -> list[int]:
    """`0,100,1000` as steps. Raises `SettingsError`."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) <= 18 for word in words) or len(words) > MOST_AT_ONCE:
        raise SettingsError(f"--at {text[:60]!r} is not up to {MOST_AT_ONCE} steps; write them like 0,100,1000", "at")
    return [int(word) for word in words]


def _check_until(card: Card, settings: Settings) -> None:
    """Raises `SettingsError` for a metric that this architecture does not have."""
    wanted = parse_until(settings.until)
    if wanted is not None and not wanted[0].startswith(card.metrics):
        raise SettingsError(f"--until {settings.until}: there is no metric {wanted[0][:60]}; {_nearest(wanted[0], card.metrics)}", "until")


def _check_questions(card: Card, panel: str, questions: dict[str, Any]) -> None:
    """Raises `SettingsError` for an option that the panel does not have."""
    for name in questions:
        if name not in {item.name for item in fields(card.panel(panel).options)}:
            others = [item.name for item in card.panels if name in {option.name for option in fields(item.options)}]
            raise SettingsError(f"the panel {panel} knows no --{name.replace('_', '-')}; add --panel {' or '.join(others)}", name)


def list_runs(*, runs_dir: RunsDir = None, as_json: AsJson = False) -> int:
    """List the runs, the newest first."""
    from dlplay.runs.listing import print_runs

    print_runs(directory.listing(directory.default_runs_dir(runs_dir), disk=True), as_json)
    return 0


def attach(name: RunName, /, *, runs_dir: RunsDir = None) -> int:
    """Open a run on the screen: its curves so far, then live."""
    folder = directory.default_runs_dir(runs_dir)
    run = directory.find(folder, name)
    return _screen(tab=architectures.card(run.spec.architecture).name, runs_dir=folder, attach=run.name)


def stop(name: RunName, /, *, runs_dir: RunsDir = None) -> int:
    """Stop a run after saving it."""
    from dlplay.runs import launch

    run = directory.find(directory.default_runs_dir(runs_dir), name)
    print_line(launch.stop_run(run))
    return 0


def resume(
    name: RunName,
    /,
    *,
    headless: Headless = False,
    as_json: AsJson = False,
    steps: Steps = None,
    minutes: Minutes = None,
    until: Until = None,
    threads: Threads = None,
    device: Device = None,
    set_: Annotated[
        list[str] | None,
        Parameter(name="--set", help="Change a setting from now on that may change in mid-run, such as lr=0.001; may be repeated."),
    ] = None,
    paused: Annotated[bool, Parameter(name="--paused", negative="", help="Start paused. Needs --headless.")] = False,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
) -> int:
    """Resume a run from its last checkpoint."""
    folder = directory.default_runs_dir(runs_dir)
    run = directory.find(folder, name)
    card = architectures.card(run.spec.architecture)
    given = {"steps": steps, "minutes": minutes, "until": until, "threads": threads, "device": device}
    overrides = {key: parse(field(card.settings, key), value) for key, value in given.items() if value is not None}
    overrides |= dict(_setting(card, text) for text in set_ or ())
    if not headless:
        for flag, is_given in (("--json", as_json), ("--paused", paused)):
            if is_given:
                raise SettingsError(f"{flag} needs --headless")
    from dlplay.runs.trust import agreed

    own_code = agreed(card, run.spec.settings, run.name, trusted=trust_code)
    if not headless:
        return _screen(tab=card.name, runs_dir=folder, attach=run.name, resume=True, settings=overrides | own_code)
    return _train(run, card, as_json, paused=paused, overrides=overrides, code=own_code)


def branch(
    name: RunName,
    /,
    *,
    at: Annotated[int, Parameter(name="--at", help="Step to go on from: of the last checkpoint with a training state at or before it.")],
    headless: Headless = False,
    as_json: AsJson = False,
    new_name: Annotated[str | None, Parameter(name="--name", help="Name of the new run.")] = None,
    set_: Annotated[
        list[str] | None, Parameter(name="--set", help="Change a setting that may change in mid-run, such as lr=0.001; may be repeated.")
    ] = None,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
    **changes: Annotated[str, Parameter(help="Such a setting by its flag, such as --lr 0.001; also --steps, --minutes, --until.")],
) -> int:
    """Begin a new run at an earlier step of a run, with changed settings."""
    folder = directory.default_runs_dir(runs_dir)
    run = directory.find(folder, name)
    card = architectures.card(run.spec.architecture)
    typed = [*(set_ or ()), *(f"{flag}={value}" for flag, value in changes.items())]
    changed = dict(_setting(card, text) for text in typed)
    if as_json and not headless:
        raise SettingsError("--json needs --headless")
    from dlplay.runs.branch import branch as begin
    from dlplay.runs.trust import agreed

    own_code = agreed(card, run.spec.settings, run.name, trusted=trust_code)
    child = begin(folder, run, at, changed, own_code, new_name)
    begins = child.spec.parent_step
    nearest = f", the last checkpoint with a training state at or before step {at:,}" if begins != at else ""
    print_line(f"{child.name} branches off {run.name} at step {begins:,}{nearest}", error=as_json)
    if not headless:
        return _screen(tab=card.name, runs_dir=folder, attach=child.name, resume=True, settings=own_code)
    return _train(child, card, as_json, paused=False, fresh=True, code=own_code)


def _setting(card: Card, text: str) -> tuple[str, Any]:
    """`lr=0.001` as the name and the value of a setting that may change in a run. Raises `SettingsError`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"--set {text[:60]!r} is not a name, = and a value; write it like lr=0.001")
    item = field(card.settings, name)
    if not item.live and item.name not in ("steps", "minutes", "until", "threads", "device"):
        raise SettingsError(f"--set {text[:60]}: {item.name} cannot change in a run; start a new one with it", item.name)
    return item.name, parse(item, value)


def remove(names: Annotated[list[str], Parameter(help="Names of the runs.")], /, *, runs_dir: RunsDir = None) -> int:
    """Delete runs with all their checkpoints."""
    folder = directory.default_runs_dir(runs_dir)
    for run in [directory.find(folder, name) for name in names]:
        directory.remove(run)
        print_line(f"removed {run.name}")
    return 0


def export(
    source: Annotated[str, Parameter(help="A run's name, its step (RUN@STEP), a shipped model's, or a checkpoint's folder.")],
    target: Annotated[Path, Parameter(help="The file or folder to write.")],
    /,
    *,
    to: Annotated[
        Literal["hf", "onnx", "torch", "csv", "tensorboard"],
        Parameter(
            help="hf: a folder for transformers, where that has the model; onnx: the forward pass; torch: a PyTorch script that trains "
            "the same; csv, tensorboard: a run's curves."
        ),
    ],
    part: Annotated[str, Parameter(name="--part", help="onnx: which of the nets, such as discriminator; by default the main one.")] = "",
    force: Annotated[bool, Parameter(name="--force", negative="", help="Replace an existing file or an earlier export.")] = False,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
) -> int:
    """Export a trained model, or a run's curves."""
    from dlplay import exports
    from dlplay.exports.source import Source
    from dlplay.exports.target import staged

    if part and to != "onnx":
        raise SettingsError("--part needs --to onnx: the other formats hold the whole model")
    chosen = exports.FORMATS[to]
    with staged(target, folder=chosen.folder, force=force) as draft:
        words = chosen.write(Source(source, directory.default_runs_dir(runs_dir), part, trust_code), draft)
    print_line(f"{target}: {words.replace('{target}', shlex.quote(str(target)))}")
    return 0


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
    seconds: Annotated[float, Parameter(name="--seconds", help="For how long each speed is measured.")] = 5.0,
    out: Annotated[Path | None, Parameter(name="--out", help="The file of results; by default dlplay-check-DEVICE.json here.")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print the results as JSON instead.")] = False,
) -> int:
    """Check on your device what the tests check on a CPU: losses, resuming, panels, memory, speed. Takes minutes."""
    cards = [architectures.card(name) for name in names or architectures.cards()]
    parse(field(Settings, "device"), device)
    if not 0 < seconds <= 600:
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


def _train(
    run: directory.RunDirectory,
    card: Card,
    as_json: bool,
    *,
    paused: bool,
    fresh: bool = False,
    overrides: dict[str, Any] | None = None,
    code: dict[str, Any],
) -> int:
    """Train in this process; a new run that could not start is removed."""
    recorded = directory.recorded(run)  # of a branch, whose journal begins with its parent's events
    try:
        from dlplay.runs import process  # imports torch, for about a second in which Ctrl-C still removes the run
        from dlplay.runs.console import console

        return process.run(run, lambda: console(card, as_json), paused=paused, overrides=overrides, code=code)
    except BaseException as error:
        left = not fresh or directory.recorded(run) > recorded
        if not left:
            directory.remove(run)
        if isinstance(error, KeyboardInterrupt):
            words = f"before it trained; dlplay resume {run.name} goes on" if left else "before the run began; nothing was kept"
            raise KeyboardInterrupt(f"interrupted {words}") from None
        raise


def _values(card: Card, given: dict[str, Any], runs_dir: Path) -> dict[str, Any]:
    """Settings in rising order of precedence: from the checkpoint, the preset, the file and the flags."""
    values: dict[str, Any] = {}
    if given.get("from"):
        values |= _from_checkpoint(card, given, runs_dir)
    if (preset := given.get("preset")) is not None:
        if preset not in card.presets:
            raise SettingsError(f"there is no preset {preset[:60]!r}; {_nearest(preset, card.presets)}")
        values |= dict(card.presets[preset].values)
    if given.get("set_file"):
        values |= _from_file(card, given["set_file"])
    return values | _typed(card, given)


def _typed(card: Card, given: dict[str, Any]) -> dict[str, Any]:
    return {item.name: given[item.name] for item in fields(card.settings) if item.name in given}


def _from_checkpoint(card: Card, given: dict[str, Any], runs_dir: Path) -> dict[str, Any]:
    """The settings that fit the weights of `--from`. Code that they import is asked for, unless a flag names it."""
    from dlplay.runs import origin
    from dlplay.runs.trust import agreed

    checkpoint = origin.find(given["from"], runs_dir, card.name, weights=False)
    unnamed = {name: value for name, value in origin.all_settings(checkpoint).items() if name not in given}
    return origin.settings_of(card, checkpoint) | agreed(card, unnamed, given["from"], "{flags}")


def _from_file(card: Card, path: str) -> dict[str, Any]:
    found = {field(card.settings, name).name: value for name, value in read_file(expanded(path)).items()}
    for name in code(card.settings, found):
        flag = field(card.settings, name).flag
        raise SettingsError(f"the settings file {path} names code to import, and a file cannot decide that; give {flag} as a flag", name)
    return found


def _absolute(start: str) -> str:
    """What `--from` names, with a folder as an absolute path."""
    from dlplay.runs import hf

    if hf.is_hf(start):
        return hf.absolute(start)
    return str(expanded(start).absolute()) if "/" in start else start


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _screen(*, tab: str | None, runs_dir: Path, **wishes: Any) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _refuse("the playground needs a terminal as standard input and output; run without a screen: dlplay ARCH --headless", USAGE)
    if os.environ.get("TERM", "") in ("", "dumb"):
        return _refuse(
            f"the playground cannot draw on TERM={os.environ.get('TERM', '')!r}; run without a screen: dlplay ARCH --headless", USAGE
        )
    from dlplay.screen.app import PlaygroundApp

    app = PlaygroundApp(tab=tab, runs_dir=runs_dir, **wishes)
    app.run()
    return app.return_code or 0


def _refuse(words: str, status: int) -> int:
    print_line(f"dlplay: {words}", error=True)
    return status
