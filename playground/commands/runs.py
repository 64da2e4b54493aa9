"""Commands on runs: list, attach, stop, resume, branch, compare, label, export, remove."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from dlplay import architectures
from dlplay.commands.parameters import (
    Ascii,
    AsJson,
    Device,
    Headless,
    Jobs,
    Minutes,
    PerGpu,
    Precision,
    RunName,
    RunsDir,
    Steps,
    Storage,
    Threads,
    TrustCode,
    Until,
)
from dlplay.commands.screen import open_screen
from dlplay.commands.sweeps import remove_trials, stop_sweep
from dlplay.commands.training import follow, parse_traced, train
from dlplay.engine import torchrun
from dlplay.engine.card import Card
from dlplay.engine.settings import SettingsError, field, make, parse, show, without_code
from dlplay.runs import changes, directory
from dlplay.runs.console import print_line
from dlplay.runs.directory import RunNameError
from dlplay.runs.lock import Held, holder


def list_runs(
    name: Annotated[str | None, Parameter(help="With --system: a run; by default the latest.")] = None,
    /,
    *,
    system: Annotated[
        bool, Parameter(name="--system", negative="", help="What the machine did while this run trained, and where its time went.")
    ] = False,
    runs_dir: RunsDir = None,
    members: Annotated[bool, Parameter(name="--members", negative="", help="Each run of a group in a line of its own.")] = False,
    as_json: AsJson = False,
) -> int:
    """List the runs, the newest first."""
    from dlplay.runs.listing import print_runs

    folder = directory.default_runs_dir(runs_dir)
    if system:
        from dlplay.runs import machine

        names = [item.name for item in directory.listing(folder)] if name is None else [name]
        if not names:
            raise RunNameError(f"there are no runs in {folder} yet")
        machine.tell(directory.find(folder, names[0]), as_json)
        return 0
    if name is not None:
        raise SettingsError(f"dlplay runs lists all runs; what of {name[:60]}? Add --system for what the machine did")
    found = directory.listing(folder, disk=True)
    listed = [dataclasses.replace(item, changed=changes.of(directory.RunDirectory(folder / item.name), item.step)) for item in found]
    print_runs(listed, as_json, members=members)
    return 0


def attach(name: RunName, /, *, ascii_: Ascii = False, runs_dir: RunsDir = None) -> int:
    """Open a run on the screen: its curves so far, then live."""
    folder = directory.default_runs_dir(runs_dir)
    run = directory.find(folder, name)
    return open_screen(tab=architectures.card(run.spec.architecture).name, runs_dir=folder, plain=ascii_, attach=run.name)


def stop(name: RunName, /, *, storage: Storage = None, runs_dir: RunsDir = None) -> int:
    """Stop a run, every run of a group, or a sweep, after saving it."""
    from dlplay.experiments.sweep import spec as sweeps
    from dlplay.runs import launch

    folder = directory.default_runs_dir(runs_dir)
    if name in sweeps.names(folder):
        return stop_sweep(name, storage=storage, runs_dir=folder)
    if storage is not None:
        raise SettingsError(f"--storage goes with a sweep, and {name} is none of this machine: dlplay sweep stop {name} --storage …")
    for run in directory.find_all(folder, name):
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
    precision: Precision = None,
    set_: Annotated[
        list[str] | None,
        Parameter(name="--set", help="Change a setting that may change during a run, such as lr=0.001; may be repeated."),
    ] = None,
    jobs: Jobs = None,
    per_gpu: PerGpu = None,
    paused: Annotated[bool, Parameter(name="--paused", negative="", help="Start paused. Needs --headless.")] = False,
    profile: Annotated[
        str | None,
        Parameter(name="--profile", help="Write a trace of so many steps into the run's folder, as for a new run. Needs --headless."),
    ] = None,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
) -> int:
    """Resume a run from its last checkpoint, or (with --headless) the runs of a group."""
    folder = directory.default_runs_dir(runs_dir)
    launched = torchrun.place()
    try:
        run, *others = directory.find_all(folder, name)
    except RunNameError:
        if launched is None or not launched.rank or not headless:
            raise
        return follow(launched, {}, folder)  # the run lies where rank 0 is
    card = architectures.card(run.spec.architecture)
    given = {"steps": steps, "minutes": minutes, "until": until, "threads": threads, "device": device, "precision": precision}
    overrides = {key: parse(field(card.settings, key), value) for key, value in given.items() if value is not None}
    overrides |= dict(_setting(card, text) for text in set_ or ())
    at_once = {key: parse(field(card.settings, key), value) for key, value in (("jobs", jobs), ("per_gpu", per_gpu)) if value is not None}
    if not headless:
        for flag, is_given in (("--json", as_json), ("--paused", paused), ("--profile", profile)):
            if is_given:
                raise SettingsError(f"{flag} needs --headless")
    traced = parse_traced(profile)
    from dlplay.runs.trust import agreed

    own_code = agreed(card, run.spec.settings, run.name, trusted=trust_code)
    if run.name != name and launched is not None and launched.ranks > 1:
        raise SettingsError(f"{name} is a group of {1 + len(others)} runs, and torchrun trains one, such as {run.name}")
    if run.name != name:
        if not headless or paused or traced:
            raise SettingsError(
                f"{name} is a group of {1 + len(others)} runs; resume it with --headless alone, or one of them, such as {run.name}"
            )
        from dlplay.experiments import pool, seeds
        from dlplay.experiments.sweep import spec as sweeps

        if name in sweeps.names(folder):
            raise SettingsError(f"{name} is a sweep: dlplay sweep resume {name} goes on with it")
        settings = make(card.settings, {**without_code(card.settings, run.spec.settings), **overrides, **at_once}, lenient=True)
        if pool.devices(settings.placed):  # each is told its own
            overrides.pop("device", None)
        flags = [word for key, value in overrides.items() for word in ("--set", f"{key}={show(value)}")]
        return seeds.train(card, [run, *others], flags + (["--trust-code"] if own_code else []), settings, as_json)
    if at_once:
        raise SettingsError(f"--{next(iter(at_once)).replace('_', '-')} is for the runs of a group, and {name} is one run; leave it out")
    if not headless:
        return open_screen(tab=card.name, runs_dir=folder, attach=run.name, resume=True, settings=overrides | own_code)
    if launched is not None and launched.rank > 0:
        return follow(launched, own_code, folder)
    return train(run, card, as_json, paused=paused, traced=traced, overrides=overrides, code=own_code)


def branch(
    name: RunName,
    /,
    *,
    at: Annotated[int, Parameter(name="--at", help="Step to go on from: of the last checkpoint with a training state at or before it.")],
    headless: Headless = False,
    as_json: AsJson = False,
    new_name: Annotated[str | None, Parameter(name="--name", help="Name of the new run.")] = None,
    set_: Annotated[
        list[str] | None, Parameter(name="--set", help="Change a setting that may change during a run, such as lr=0.001; may be repeated.")
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
        return open_screen(tab=card.name, runs_dir=folder, attach=child.name, resume=True, settings=own_code)
    return train(child, card, as_json, paused=False, fresh=True, code=own_code)


def _setting(card: Card, text: str) -> tuple[str, Any]:
    """`lr=0.001` as the name and the value of a setting that may change in a run. Raises `SettingsError`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"--set {text[:60]!r} is not a name, = and a value; write it like lr=0.001")
    item = field(card.settings, name)
    if not item.live and item.name not in ("steps", "minutes", "until", "threads", "device", "precision"):
        raise SettingsError(f"--set {text[:60]}: {item.name} cannot change in a run; start a new one with it", item.name)
    return item.name, parse(item, value)


def remove(
    names: Annotated[list[str], Parameter(help="Names of the runs.")], /, *, storage: Storage = None, runs_dir: RunsDir = None
) -> int:
    """Delete runs, groups of them or whole sweeps, with all their checkpoints; with --storage a sweep's trials in its database as well."""
    folder = directory.default_runs_dir(runs_dir)
    from dlplay.experiments.sweep import spec as sweeps

    names = list(dict.fromkeys(names))
    searched = [name for name in names if name in sweeps.names(folder)]
    if both := next((name for name in searched if directory.is_run(folder, name)), None):
        raise RunNameError(f"{both} is a run and a sweep; give the run another name: dlplay label {both} --rename NAME")
    stored: dict[str, float | None] = {}
    """The sweeps whose trials are in a database, and when they began."""
    found = []
    for name in names:
        if name in searched:
            found.append(directory.members(folder, name))
            if (spec := sweeps.readable(folder, name)) is not None and spec.database:
                stored[name] = spec.created
        elif not directory.is_run(folder, name) and not directory.members(folder, name) and (storage or sweeps.VARIABLE in os.environ):
            directory.check_name(name)
            stored[name] = None
        else:
            found.append(directory.find_all(folder, name))
    if storage and not stored:
        raise SettingsError(f"--storage goes with a sweep in a database, and {names[0]} is none")
    runs = list({run.name: run for run in itertools.chain(*found)}.values())
    for run in runs:  # all of them or none
        if (held_by := holder(run.lock_path)) is not None:
            raise Held(held_by, run.name)
    told = remove_trials(stored, storage) if stored else []
    for run in runs:
        directory.remove(run)
        print_line(f"removed {run.name}")
    for name in searched:
        sweeps.remove(folder, name)
        print_line(f"removed the sweep {name}")
    for words in told:
        print_line(words)
    return 0


def compare(
    *sources: Annotated[
        str, Parameter(help="Runs, patterns such as 'gpt-*', groups, shipped models, folders of checkpoints; the first is the reference.")
    ],
    from_: Annotated[
        list[Path] | None,
        Parameter(
            name="--from",
            negative="",
            help="Another training: a CSV file with a column step, or a TensorBoard folder.",
        ),
    ] = None,
    rename: Annotated[
        list[str] | None,
        Parameter(name="--rename", negative="", help="What a metric of such a file is called here: loss/val=val_loss."),
    ] = None,
    metric: Annotated[
        list[str] | None, Parameter(name="--metric", negative="", help="Compare this metric; may be repeated. By default all shared.")
    ] = None,
    x: Annotated[
        Literal["step", "seconds", "examples"], Parameter(name="--x", help="The axis: steps, training time or examples seen.")
    ] = "step",
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object with everything.")] = False,
    as_csv: Annotated[bool, Parameter(name="--csv", negative="", help="Print the curves as CSV, a row for each value.")] = False,
    svg: Annotated[Path | None, Parameter(name="--svg", help="Write a picture of it to this file as well.")] = None,
    force: Annotated[bool, Parameter(name="--force", negative="", help="Replace the picture if it exists.")] = False,
    runs_dir: RunsDir = None,
) -> int:
    """Compare runs: their curves, the settings that differ, what they reached, and whether that is more than luck."""
    from dlplay.experiments.compare import command

    picture = command.run(
        sources,
        from_ or (),
        directory.default_runs_dir(runs_dir),
        axis=x,
        metrics=metric or (),
        renamed=rename or (),
        as_json=as_json,
        as_csv=as_csv,
    )
    if svg is not None:
        from dlplay.exports.target import staged

        with staged(svg, folder=False, force=force) as draft:
            draft.write_text(picture(), encoding="utf-8")
    return 0


def label(
    name: RunName,
    /,
    *,
    tags: Annotated[str | None, Parameter(name="--tags", help="Words that it is found by, such as wide,first-try; empty for none.")] = None,
    note: Annotated[str | None, Parameter(name="--note", help="What you want to remember of it; empty for nothing.")] = None,
    rename: Annotated[str | None, Parameter(name="--rename", help="Another name for it; not while it is running.")] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """Tag, annotate or rename a run; without flags, show its tags and note."""
    from dlplay.runs import labels

    run = directory.find(directory.default_runs_dir(runs_dir), name)
    known = labels.read(run)
    if tags is not None or note is not None:
        labels.write(run, known.tags if tags is None else labels.parse_tags(tags), known.note if note is None else note)
    if rename is not None:
        run = directory.rename(run, rename)
    print_line(labels.shown(run, as_json))
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
