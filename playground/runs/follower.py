"""The process of any rank but the first: it builds the same task, does what rank 0 tells, and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dlplay import architectures
from dlplay.checkpoints import CheckpointError
from dlplay.engine import device as devices
from dlplay.engine.card import Card
from dlplay.engine.device import Meter
from dlplay.engine.errors import DataError, cause
from dlplay.engine.ranks import Begin, Change, End, RankLost, Ranks, Report, SendState, Train
from dlplay.engine.settings import Settings, SettingsError, make, without_code
from dlplay.engine.task import Task
from dlplay.engine.torchrun import Place
from dlplay.runs import directory, rank_states
from dlplay.runs.console import print_line
from dlplay.runs.process import FAILED, signals, with_assets


class _Refused(Exception):
    """Rank 0 has been told why."""


def follow(place: Place, code: Mapping[str, Any], runs_dir: Path) -> int:
    """Train along until rank 0 ends the run; returns the exit status. `code` are the settings that import code, as they were typed here.

    In `runs_dir` there is no run of this rank's own, but where it was rank 0 before torchrun started all of them anew.
    """
    name = ""
    ranks = None
    try:
        ranks = Ranks(place)
        begin = ranks.receive()
        if not isinstance(begin, Begin):
            return FAILED
        name = begin.name
        return _train(ranks, place, begin, code, runs_dir)
    except _Refused:
        return FAILED
    except RankLost:
        trained = name and ranks is not None and ranks.steps
        resume = f"; the run goes on from its last checkpoint with dlplay resume {name}" if trained else ""
        print_line(f"dlplay: rank {place.rank}: another rank has ended{resume}", error=True)
        return FAILED
    except (DataError, SettingsError) as error:
        print_line(f"dlplay: rank {place.rank}: {error}", error=True)
        return FAILED
    except (torch.OutOfMemoryError, MemoryError) as error:
        print_line(f"dlplay: rank {place.rank}: out of memory: {cause(error)}", error=True)
        return FAILED
    finally:
        if ranks is not None:
            ranks.close()


def _train(ranks: Ranks, place: Place, begin: Begin, code: Mapping[str, Any], runs_dir: Path) -> int:
    card = architectures.card(begin.architecture)
    task = _build(card, ranks, place, begin, code, runs_dir)
    meter = Meter(task.device)
    with signals(ranks):
        while True:
            match ranks.receive():
                case Train():
                    task.advance()
                    task.step += 1
                case Change(settings):
                    changed = _settings(card, settings, code)
                    task.change(changed)
                    task.settings = changed
                    task.train_with()
                case SendState():
                    rank_states.send_state(task, ranks)
                case Report(whole):
                    if whole:
                        ranks.summary()
                    else:
                        ranks.report(*meter.read())
                case End(status):
                    return status
                case Begin():
                    return FAILED


def elsewhere(begin: Begin, place: Place, runs_dir: Path) -> str:
    """The run that this machine's torchrun began, where rank 0 now begins another: it is on a machine that has joined since."""
    here = begin.launch and directory.begun_by(runs_dir, place.launch)
    return here.name if here and here.spec.launch != begin.launch else ""


def _build(card: Card, ranks: Ranks, place: Place, begin: Begin, code: Mapping[str, Any], runs_dir: Path) -> Task[Any]:
    """The task as rank 0 has it. Raises `_Refused` once rank 0 knows why this rank has none."""
    try:
        if name := elsewhere(begin, place, runs_dir):
            raise DataError(
                f"torchrun has begun {name} already, which lies on this rank's machine, and rank 0 is on another one now; go on with it by "
                f"torchrun … -m dlplay resume {name} --headless, with rank 0 here"
            )
        settings = _settings(card, begin.settings, code)
        card.load_task()
        task = with_assets(card, settings, devices.prepare(settings, settings.placed, place.local_rank), begin.assets, "rank 0")
    except (DataError, SettingsError, CheckpointError) as error:
        ranks.gather(b"\0" + (str(error) or "it cannot follow").encode())
        raise _Refused from error
    own = task.data_key().encode()
    ranks.gather(own + b"\0")
    if ranks.scatter() != own:
        raise _Refused
    rank_states.take_up(task, ranks)
    if settings.compile:
        rank_states.compile_steps(task, ranks)
    task.ranks = ranks
    return task


def _settings(card: Card, values: dict[str, Any], code: Mapping[str, Any]) -> Settings:
    return make(card.settings, {**without_code(card.settings, values), **code}, lenient=True)
