"""`python -m tests.paper_device ARCH TEXT PRESET …` checks presets on the paper device, those for texts with the file TEXT. Otherwise

- `--rooms KIND …` rooms with a fault; `--accumulating KIND …` with updates by three batches, `--captured-run KIND …` with `--graph`;
- `--copies TEXT CASE …` what steps copy to the device; `--graphs TEXT CASE …` steps that are captured beside others;
- `--giving-up KIND …` rooms whose steps cannot be captured;
- `--by-size ARCH` how fast its two smallest nets are there and on the CPU;
- `--poisoned OPTIMIZER …` what a loss that is not finite does; `--ranks` a step of two ranks.

Prints JSON lines. Without arguments it takes such ones from standard input: see `serve`."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import importlib
import json
import os
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.paper_device import runtime

runtime.load()

from typing import Any  # noqa: E402
from unittest import mock  # noqa: E402

import msgspec  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

from dlplay import architectures  # noqa: E402
from dlplay.data.download import SETS  # noqa: E402
from dlplay.engine import ahead, captured, state  # noqa: E402
from dlplay.engine.card import Card  # noqa: E402
from dlplay.engine.device import prepare  # noqa: E402
from dlplay.engine.errors import DataError  # noqa: E402
from dlplay.engine.marks import marked  # noqa: E402
from dlplay.engine.ranks import Ranks  # noqa: E402
from dlplay.engine.settings import SettingsError, change, fields, make  # noqa: E402
from dlplay.engine.torchrun import Place  # noqa: E402
from dlplay.runs.check import STEPS, Result, _place, examine, speeds_by_size, waits_of  # noqa: E402
from tests.drawing_rooms import DRAWING, READ_ON, REPLAYING  # noqa: E402
from tests.paper_device.device import copies_counted, installed  # noqa: E402
from tests.paper_device.rooms import task as rooms  # noqa: E402
from tests.rooms import facts  # noqa: E402
from tests.samples import cifar_archive  # noqa: E402

LIGHT = {
    "accumulate": 2,
    "batch": 4,
    "block_size": 16,
    "buffer": 500,
    "epsilon_steps": 20,
    "eval_episodes": 2,
    "layers": 2,
    "learning_starts": 20,
    "length": 10,
    "memory": 16,
    "time_limit": 20,
    "width": 48,
}
"""What makes a preset cheap without making another task of it; where it has such a setting, and sets no less."""
SECONDS = 0.01
BEFORE = 5
"""Steps before those whose copies are counted: a replay buffer is empty at first."""


class Found(msgspec.Struct, kw_only=True):
    """Of one preset, or kind of room."""

    preset: str
    result: Result | None = None
    refused: str = ""
    """Why the room refuses the preset here, or is not asked to."""


def with_text(card: Card, values: dict[str, Any], text: str) -> dict[str, Any]:
    """The values with `text` as their text, where these settings read one. Raises `SettingsError`."""
    with contextlib.suppress(SettingsError):  # there is no such setting, or the task reads none
        make(card.settings, given := values | {"text": text})
        return given
    return values


def examine_preset(card: Card, preset: str, text: str) -> Found:
    values: dict[str, Any] = dict(card.presets[preset].values)
    if downloads := SETS.keys() & {value for value in values.values() if isinstance(value, str)}:
        if downloads != {"cifar10"}:
            return Found(preset=preset, refused=f"downloads {min(downloads)}")
        values["channels"] = [units // 8 for units in values["channels"]]
    usual = {item.name: item.default for item in fields(card.settings)} | values
    values |= {name: light for name, light in LIGHT.items() if name in usual and not 0 < usual[name] <= light}
    try:
        values = with_text(card, values, text)
        card.load_task()(make(card.settings, values), torch.device("cpu"), None)
    except (SettingsError, DataError) as error:
        return Found(preset=preset, refused=str(error))
    with installed():
        return Found(preset=preset, result=examine(card, "cuda", SECONDS, values))


@contextlib.contextmanager
def made_up_cifar() -> Iterator[None]:
    """A few images instead of CIFAR-10, where it would have been downloaded to."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder}):
        path = Path(folder) / "dlplay" / "cifar10" / SETS["cifar10"].files[0].name
        path.parent.mkdir(parents=True)
        cifar_archive(path, images=10)
        file = dataclasses.replace(SETS["cifar10"].files[0], md5=hashlib.md5(path.read_bytes()).hexdigest())
        with mock.patch.dict(SETS, cifar10=dataclasses.replace(SETS["cifar10"], files=(file,))):
            yield


def copied(case: str, text: str) -> dict[str, Any]:
    """Waits for the device and copies to it in a training step of a case in `drawing_rooms`, by place, with five batches drawn at once."""
    name, values = (DRAWING | READ_ON | REPLAYING)[case]
    card = architectures.card(name)
    small = {key: text if value == "{text}" else value for key, value in facts(name).small.items()}
    places: Counter[str] = Counter()
    with installed(), mock.patch.object(ahead, "DRAWS", 5):
        settings = make(card.settings, small | values | {"device": "cuda", "steps": 100})
        task = card.load_task()(settings, prepare(settings), None)
        ahead.prepare(task)
        for _ in range(BEFORE):
            task.advance()
            task.step += 1
        with copies_counted(lambda: places.update([_place(traceback.walk_stack(None), task)])):
            waits = waits_of(task)
    return {"case": case, "waits": waits, "copies": {place.partition(":")[0]: number / STEPS for place, number in places.items()}}


def graphed(case: str, text: str) -> dict[str, Any]:
    """Ten steps of one of `DRAWING` with a timed one and a changed setting among them: captured and replayed, with the same tensors kernel
    by kernel, and as without `--graph`. How many were replayed, where the first two differ in a bit, and how far the last two do."""
    name, values = DRAWING[case]
    card = architectures.card(name)
    small = {key: text if value == "{text}" else value for key, value in facts(name).small.items()}
    ends: list[dict[str, torch.Tensor]] = []
    counts: dict[str, Any] = {}
    with installed(), mock.patch.object(ahead, "DRAWS", 3):
        for kind in ("captured", "kernel by kernel", "plain"):
            settings = make(card.settings, small | values | {"device": "cuda", "steps": 100, "graph": kind != "plain"})
            task = card.load_task()(settings, prepare(settings), None)
            ahead.prepare(task)
            if kind != "plain":
                captured.prepare(task)
                assert task.captured is not None
                task.captured.why = "" if kind == "captured" else "not asked to"
            end: dict[str, torch.Tensor] = {}
            marks: list[str] = []
            for step in range(10):
                with marked(task, marks.append) if step == 6 else contextlib.nullcontext():
                    end |= {f"{metric} of step {step}": value for metric, value in task.advance().items()}
                task.step += 1
                gradients = [p.grad for model in task.models.values() for p in model.parameters() if p.grad is not None]
                end |= {f"gradient {number} of step {step}": gradient.cpu() for number, gradient in enumerate(gradients)}
                if step == 7:
                    for name in ("lr", "weight_decay", "clip", "momentum"):
                        if any(item.name == name and item.live for item in fields(card.settings)):
                            task.change(change(task.settings, name, getattr(task.settings, name) / 2 or 0.1))
            end = {key: value.cpu() for key, value in end.items()}
            tensors, _ = state.flatten(task.state_dict())
            ends.append(end | {key: value.cpu().clone() for key, value in (tensors | task.weights()).items()})
            if kind == "captured" and task.captured is not None:
                assert "backward" in marks
                counts = {"case": case, "replayed": task.captured.replayed, "why": task.captured.why}
    keys = [end.keys() for end in ends]
    differ = [key for key, value in ends[0].items() if key not in ends[1] or not torch.equal(value, ends[1][key])]
    drifts = {key: float((value.double() - ends[2][key].double()).abs().max()) for key, value in ends[1].items() if value.numel()}
    where = max(drifts, key=lambda key: drifts[key])
    return counts | {"differ": differ, "keys": keys[0] == keys[1] == keys[2], "drift": drifts[where], "where": where}


def given_up(kind: str) -> dict[str, Any]:
    """What becomes of a room whose steps are to be captured: why they are not, if so, and how its losses differ from those without."""
    losses, told = list[list[float]](), list[str]()
    replayed = 0
    with installed(), mock.patch.object(captured, "SHAPES", 2):
        for graph in (True, False):
            settings = rooms.SoundSettings(device="cuda", graph=graph)
            task: Any = getattr(rooms, kind)(settings, prepare(settings))
            if graph:
                captured.prepare(task)
                task.captured.tell = told.append
            losses.append([])
            for _ in range(8):
                losses[-1].append(float(task.advance()["train_loss"]))
                task.step += 1
            replayed = task.captured.replayed if graph else replayed
    return {"why": told, "replayed": replayed, "drift": max(abs(one - other) for one, other in zip(*losses, strict=True))}


def poisoned(optimizer: str) -> dict[str, Any]:
    """What a loss that is not finite does to a task with one of PyTorch's optimisers."""
    with installed():
        task = rooms.Poisoned(rooms.SoundSettings(device="cuda"), prepare(rooms.SoundSettings(device="cuda")))
        arguments: dict[str, Any] = {"fused": True} if optimizer != "RMSprop" else {}
        task.optimizers["model"] = getattr(torch.optim, optimizer)(task.models["model"].parameters(), lr=0.01, **arguments)

        def weights() -> dict[str, list[float]]:
            return {name: value.tolist() for name, value in task.weights().items()}

        fresh = weights()
        waits = waits_of(task)
        trained, task.poison = weights(), float("nan")
        waits = [*(waits or {}), *(waits_of(task) or {})]
        task.poison = 1.0
        task.train_step()
        return {
            "learns": trained != fresh,
            "changed": [name for name, value in weights().items() if value != trained[name]],
            "not_finite": task.not_finite.item(),
            "waits": waits,
        }


def of_ranks() -> dict[str, Any]:
    """A step of two ranks that draw the same batch, of which this one always gets what the other has as well."""
    work = mock.Mock()

    def all_reduce(tensor: torch.Tensor, *_: Any, **__: Any) -> mock.Mock:
        tensor.mul_(2)
        return work

    settings = rooms.SoundSettings(device="cuda", dropout=0.0)
    connections = {"init_process_group": mock.Mock(), "new_group": mock.Mock(), "all_reduce": all_reduce}
    met = {"rendezvous": lambda *_, **__: iter([(None, 0, 2)]), "_meet": mock.Mock(), "PrefixStore": mock.Mock()}
    with (
        installed(),
        mock.patch.multiple(dist, **connections),
        mock.patch.multiple("dlplay.engine.ranks", **met),
        mock.patch.object(torch.cuda, "set_device"),
    ):
        tasks = [rooms.Sound(settings, prepare(settings, local_rank=0)) for _ in range(2)]
        tasks[1].ranks = Ranks(Place(0, 2, 0, 2, 0, ""))
        tasks[1].ranks.share = lambda batch, dim=0: batch  # type: ignore[method-assign]
        tasks[1].ranks.use(tasks[1].device)
        waits = [waits_of(task) for task in tasks]
        weights = [task.weights() for task in tasks]
        return {
            "waits": waits[1],
            "sent": work.wait.call_count > 0,
            "difference": max(float((value - weights[0][name]).abs().max()) for name, value in weights[1].items()),
        }


def main(arguments: list[str]) -> None:
    if arguments[0] == "--copies":
        for case in arguments[2:]:
            print(msgspec.json.encode(copied(case, arguments[1])).decode())
    elif arguments[0] == "--graphs":
        for case in arguments[2:]:
            print(msgspec.json.encode(graphed(case, arguments[1])).decode(), flush=True)
    elif arguments[0] == "--giving-up":
        print(msgspec.json.encode([given_up(kind) for kind in arguments[1:]]).decode())
    elif arguments[0] == "--poisoned":
        print(msgspec.json.encode([poisoned(name) for name in arguments[1:]]).decode())
    elif arguments[0] == "--by-size":
        card = architectures.card(arguments[1])
        with installed():
            print(msgspec.json.encode(speeds_by_size(dataclasses.replace(card, by_size=card.by_size[:2]), "cuda:0", SECONDS)).decode())
    elif arguments[0] == "--ranks":
        print(msgspec.json.encode(of_ranks()).decode())
    elif arguments[0] in ("--rooms", "--accumulating", "--captured-run"):
        values: dict[str, Any] = {"--accumulating": {"accumulate": 3}, "--captured-run": {"graph": True}}.get(arguments[0], {})
        for kind in arguments[1:]:
            card = rooms.card(kind)
            with mock.patch.object(architectures, "card", return_value=card), installed():
                print(msgspec.json.encode(Found(preset=kind, result=examine(card, "cuda", SECONDS, values))).decode())
    else:
        name, text, *presets = arguments
        card = architectures.card(name)
        with made_up_cifar():
            for preset in presets:
                print(msgspec.json.encode(examine_preset(card, preset, text)).decode())


def serve() -> None:
    """For each line, a JSON list of a number, two files and arguments, fork: what `main` prints and its errors go into the files. Prints
    the number and the exit status. A fork is as good as a process of its own, and need not import PyTorch, which takes seconds."""
    for module in ("torch._dynamo", "torch._inductor"):  # which the first optimizer and the deterministic mode import
        importlib.import_module(module)
    for card in architectures.cards().values():
        card.load_task()
    gc.freeze()
    for line in sys.stdin:
        number, said, errors, *arguments = json.loads(line)
        if not (pid := os.fork()):
            for path, descriptor in ((said, 1), (errors, 2)):
                with open(path, "w") as file:  # noqa: PTH123
                    os.dup2(file.fileno(), descriptor)
            return main(arguments)
        print(number, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:]) if sys.argv[1:] else serve()
