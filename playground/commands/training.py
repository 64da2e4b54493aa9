"""`dlplay ARCH`: opens the tab, trains without a screen, or asks a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlplay.commands.given import absolute, check_until, from_checkpoint, path, settings_given, tell_unused, typed
from dlplay.commands.screen import open_screen
from dlplay.engine import torchrun
from dlplay.engine.card import Card
from dlplay.engine.errors import nearest
from dlplay.engine.interventions import written
from dlplay.engine.machine import MOST_TRACED
from dlplay.engine.paths import expanded
from dlplay.engine.settings import Settings, SettingsError, code, fields, make, parse, to_dict
from dlplay.flags import question_fields
from dlplay.runs import directory, saved_interventions
from dlplay.runs.console import print_line

TRAINING = (
    "preset",
    "set_file",
    "name",
    "paused",
    "profile",
    "steps",
    "minutes",
    "until",
    "eval_every",
    "save_every",
    "history",
    "seeds",
    "jobs",
    "per_gpu",
)
"""Settings and flags that are only for training."""

MOST_AT_ONCE = 64
"""Steps that `--at` takes."""


def architecture(card: Card, given: dict[str, Any]) -> int:
    """`dlplay ARCH`: open the playground at this tab; with --headless, train without a screen or ask a trained model."""
    runs_dir = directory.default_runs_dir(path(given.get("runs_dir")))
    headless, as_json = bool(given.get("headless")), bool(given.get("json"))
    in_torchrun = (launched := torchrun.place()) is not None and launched.ranks > 1
    questions = {item.name: parse(item, given[item.name]) for item in question_fields(card) if item.name in given}
    if not headless:
        for name in ("json", "paused", "profile", "find_lr", "find_batch", "explore", "panel", "at", "svg"):
            if given.get(name):
                raise SettingsError(f"--{name.replace('_', '-')} needs --headless")
    elif given.get("ascii"):
        raise SettingsError("--ascii is for the screen; leave it out with --headless", "ascii")
    panel = given.get("panel", "")
    if panel and panel not in {item.name for item in card.panels}:
        raise SettingsError(f"there is no panel {panel[:60]!r}; {nearest(panel, [item.name for item in card.panels])}", "panel")
    if given.get("force") and "svg" not in given:
        raise SettingsError("--force is for the file of --svg", "force")
    asks = headless and any((questions, panel, "at" in given, "svg" in given))
    if asks and (idle := [name for name in TRAINING if name in given]):
        raise SettingsError(f"--{idle[0].replace('_', '-')} is for training, and a question is asked of a trained model; leave it out")
    values = settings_given(card, given, runs_dir)
    settings = make(card.settings, values)
    check_until(card.of(to_dict(settings)), settings)
    start = absolute(str(given.get("from", "")))
    if not headless:
        plain = bool(given.get("ascii"))
        if "name" in given:
            directory.check_free(runs_dir, given["name"])
        wishes = {"settings": values, "origin": start, "options": questions, "run_name": given.get("name", "")}
        return open_screen(tab=card.name, runs_dir=runs_dir, plain=plain, **wishes)
    if in_torchrun and (asks or given.get("explore") or given.get("find_lr") or given.get("find_batch")):
        raise SettingsError("torchrun is for training; ask a trained model, or look for a learning rate, without it")
    if given.get("explore"):
        from dlplay.runs import ask, origin

        folder = directory.RunDirectory(expanded(given["explore"]).absolute())
        return ask.explore(folder, card, settings, start or origin.default(card), runs_dir)
    if not asks and not torchrun.is_follower():
        tell_unused(settings, typed(card, given))
    if given.get("find_lr"):
        from dlplay.experiments import learning_rate

        if unused := [name for name in ("name", "paused", "profile", "panel", "at", "svg", "seeds", *questions) if given.get(name)]:
            raise SettingsError(f"--find-lr keeps nothing and asks nothing; leave out --{unused[0].replace('_', '-')}")
        return learning_rate.run(card, settings, start, runs_dir, as_json)
    if given.get("find_batch"):
        from dlplay.experiments import largest_batch

        if unused := [name for name in ("name", "paused", "profile", "panel", "at", "svg", "seeds", *questions) if given.get(name)]:
            raise SettingsError(f"--find-batch keeps nothing and asks nothing; leave out --{unused[0].replace('_', '-')}")
        if settings.compile:
            raise SettingsError("--find-batch tries steps that are not compiled; leave out --compile", "compile")
        return largest_batch.run(card, settings, start, runs_dir, as_json)
    if asks:
        from dlplay.runs import origin

        start = start or origin.default(card)
        if not given.get("from"):
            settings = make(card.settings, from_checkpoint(card, {**given, "from": start}, runs_dir) | typed(card, given))
        panel = panel or card.of(to_dict(settings)).asked
        if questions.get("do") == saved_interventions.SAVED:
            questions["do"] = written(saved_interventions.read(directory.find(runs_dir, start.partition("@")[0])))
        _check_questions(card, panel, questions)
        return _ask(card, settings, start, runs_dir, panel, questions, given)
    own_code, traced = code(card.settings, to_dict(settings)), parse_traced(given.get("profile"))
    if in_torchrun and settings.seeds.strip():
        raise SettingsError("--seeds trains several runs, and torchrun one with several processes; leave one of them out", "seeds")
    if launched is not None and in_torchrun:
        torchrun.check(settings, launched.ranks)
    if launched is not None and launched.rank > 0:
        return follow(launched, own_code, runs_dir)
    if settings.seeds.strip():
        from dlplay.experiments import seeds

        one_run = [
            name for name, there in (("paused", given.get("paused")), ("profile", traced), ("seed", "seed" in typed(card, given))) if there
        ]
        if one_run:
            raise SettingsError(f"--{one_run[0]} is for one run, and --seeds are several; leave one of them out", "seeds")
        group = seeds.create(runs_dir, card, settings, given.get("name"), start)
        return seeds.train(card, group, ["--trust-code"] if own_code else [], settings, as_json)
    if launched is not None and (begun := directory.started_by(runs_dir, launched)) is not None:
        return train(begun, card, as_json, paused=False, fresh=not directory.recorded(begun), code=own_code)
    launch = launched.launch if launched is not None else ""
    created = directory.create(runs_dir, card.name, to_dict(settings), start, given.get("name"), launch=launch)
    return train(created, card, as_json, paused=bool(given.get("paused")), traced=traced, fresh=True, code=own_code)


def follow(launched: torchrun.Place, own_code: dict[str, Any], runs_dir: Path) -> int:
    """Train along with the process of rank 0, which has the run."""
    from dlplay.runs import follower

    return follower.follow(launched, own_code, runs_dir)


def _ask(card: Card, settings: Settings, start: str, runs_dir: Path, panel: str, options: dict[str, Any], given: dict[str, Any]) -> int:
    """Print a panel, or write its picture, as it is or as it was at the steps of `--at`."""
    from dlplay.engine import progress
    from dlplay.runs import ask, steps
    from dlplay.runs.console import transient
    from dlplay.runs.panel_text import print_panel

    as_json, pictures = bool(given.get("json")), []
    if "at" not in given:
        with transient() as tell, progress.heard(tell):
            answer = ask.answer(card, settings, start, runs_dir, panel, options)
        print_panel(answer, as_json)
        pictures.append((card.panel(panel).title, answer))
    else:
        asked = _steps(given["at"])
        of = steps.named(start, runs_dir) if given.get("from") and "@" not in start else None
        if of is None:
            raise SettingsError(
                "--at needs the run or shipped model whose checkpoints are asked: --from NAME, as dlplay runs lists them", "at"
            )
        for wanted, (step, answer) in zip(asked, ask.answers(card, settings, of, panel, options, asked), strict=True):
            print_panel(answer, as_json, at=wanted, step=step)
            pictures.append((f"{card.panel(panel).title} · step {step:,}", answer))
    if "svg" in given:
        from dlplay.exports.target import staged
        from dlplay.screen.sheet import write

        with staged(Path(given["svg"]), folder=False, force=bool(given.get("force"))) as draft:
            write(pictures, card.panel(panel), draft)
        print_line(f"{given['svg']}: {len(pictures)} picture{'s' * (len(pictures) > 1)} of {card.panel(panel).title}", error=as_json)
    return 0


def parse_traced(text: str | None) -> int:
    """The steps of `--profile`; 0 where it is not given. Raises `SettingsError`."""
    if text is None:
        return 0
    if not (text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MOST_TRACED):
        raise SettingsError(f"--profile {text[:60]!r}: give a number of steps from 1 to {MOST_TRACED}, such as 10", "profile")
    return int(text)


def _steps(text: str) -> list[int]:
    """`0,100,1000` as steps. Raises `SettingsError`."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) <= 18 for word in words) or len(words) > MOST_AT_ONCE:
        raise SettingsError(f"--at {text[:60]!r}: give 1 to {MOST_AT_ONCE} steps, such as 0,100,1000", "at")
    return [int(word) for word in words]


def _check_questions(card: Card, panel: str, questions: dict[str, Any]) -> None:
    """Raises `SettingsError` for an option that the panel does not have."""
    for name in questions:
        if name != "do" and name not in {item.name for item in fields(card.panel(panel).options)}:  # `do` is for any panel
            others = [item.name for item in card.panels if name in {option.name for option in fields(item.options)}]
            raise SettingsError(f"the panel {panel} knows no --{name.replace('_', '-')}; add --panel {' or '.join(others)}", name)


def train(
    run: directory.RunDirectory,
    card: Card,
    as_json: bool,
    *,
    paused: bool,
    traced: int = 0,
    fresh: bool = False,
    overrides: dict[str, Any] | None = None,
    code: dict[str, Any],
) -> int:
    """Train in this process, with a trace of so many steps; a new run that could not start is removed, unless torchrun tries again."""
    recorded = directory.recorded(run)  # of a branch, whose journal begins with its parent's events
    try:
        from dlplay.runs import process  # imports torch, for about a second in which Ctrl-C still removes the run
        from dlplay.runs.console import console

        return process.run(run, lambda: console(card, as_json), paused=paused, traced=traced, overrides=overrides, code=code)
    except BaseException as error:
        left = not fresh or directory.recorded(run) > recorded or torchrun.tries_again()
        if not left:
            directory.remove(run)
        if isinstance(error, KeyboardInterrupt):
            words = f"before it trained; dlplay resume {run.name} goes on" if left else "before the run began; nothing was kept"
            raise KeyboardInterrupt(f"interrupted {words}") from None
        raise
