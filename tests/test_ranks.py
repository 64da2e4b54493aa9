"""Several processes that torchrun starts train one model as one process does, write one run, and end together."""

import asyncio
import contextlib
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from dlplay import template
from dlplay.checkpoints.store import Checkpoint
from dlplay.engine.commands import Pause, Resume, Set, Stop
from dlplay.engine.device import choose
from dlplay.engine.errors import DataError
from dlplay.engine.events import Applied, Failed, Finished, RankStatus, Started, Status, Warned
from dlplay.engine.ranks import Begin, Ranks
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.torchrun import Place
from dlplay.runs import directory
from dlplay.runs.directory import RunDirectory
from dlplay.runs.follower import elsewhere
from dlplay.runs.rank_states import check_models, decoded, encoded, number_of_ranks, take_up
from dlplay.screen.numbers import of_ranks
from tests.conftest import PATIENCE, Dlplay, Ended, Small, flags, wait_until
from tests.runs import Following, attached, begin, curves, same, weights
from tests.services import free_port
from tests.torchruns import Torchrun, Torchruns
from tests.torchruns import torchrun as torchrun  # a fixture
from tests.toy import ToySettings, ToyTask

EVERY = 20
STILL = {"dropout": 0.0}
FOREVER = 10**6


def typed(run: RunDirectory, settings: dict[str, Any]) -> list[str]:
    return [
        "--headless",
        "--runs-dir",
        str(run.path.parent),
        *flags({"device": "cpu", "save_every": EVERY, "eval_every": EVERY} | settings),
    ]


def launch(torchrun: Torchruns, name: str, run: RunDirectory, settings: dict[str, Any], **how: Any) -> Torchrun:
    """Start training with two ranks."""
    return torchrun.start(name, "--name", run.name, *typed(run, settings), **how)


def resume(torchrun: Torchruns, run: RunDirectory, *more: str, ranks: int = 2) -> Ended:
    return torchrun("resume", run.name, "--headless", "--runs-dir", str(run.path.parent), *more, ranks=ranks)


def assert_equal(one: RunDirectory, other: RunDirectory) -> None:
    """Every value of every curve, to 1e-5."""
    expected, found = curves(one), curves(other)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        assert values.keys() == found[name].keys(), name
        for step, value in values.items():
            if name == "held out":
                assert json.loads(str(found[name][step])) == pytest.approx(json.loads(str(value)), rel=1e-5, abs=1e-5), step
            else:
                assert found[name][step] == pytest.approx(value, rel=1e-5, abs=1e-5), (name, step)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "convnet": ("convnet", {**STILL, "norm": "group", "channels": (8, 8)}),
    "residual net": ("convnet", {**STILL, "kind": "resnet", "norm": "group", "channels": (8, 8, 8), "cutout": 2}),
    "photographs": ("convnet", {**STILL, "norm": "none", "data": "digits", "augment": False, "accumulate": 2}),
    "autoencoder": ("autoencoder", {"variational": False, "noise": "masking", "sparsity": "l1"}),
    "variational autoencoder": ("autoencoder", {"latent": 4, "noise": "none"}),
    "next word": ("gpt", {**STILL, "accumulate": 2}),
    "compiled": ("gpt", {**STILL, "compile": True}),
    "masked words": ("bert", STILL),
    "classes": ("bert", {**STILL, "data": "{pairs}"}),
    "pairs": ("seq2seq", {**STILL, "task": "addition", "label_smoothing": 0.1}),
    "pairs of many lengths": ("seq2seq", {**STILL, "task": "reverse", "length": 6}),
    "streams of a text": ("recurrent", {**STILL, "task": "text"}),
    "the last token": ("recurrent", {**STILL, "task": "text", "predict": "last"}),
    "a series": ("recurrent", {**STILL, "task": "series", "cell": "gru"}),
    "adding": ("recurrent", {**STILL, "task": "adding", "length": 6}),
    "copying": ("recurrent", {**STILL, "task": "copy", "length": 4}),
    "segments of a text": ("transformer-xl", {**STILL, "task": "text", "text": "{text}", "memory": 8}),
    "recall": ("transformer-xl", {**STILL, "task": "recall"}),
}
"""Each loss that ranks train together, with all numbers drawn for the whole batch."""


@pytest.fixture
def files(own_words: Path, tmp_path: Path) -> dict[str, str]:
    words = own_words.read_text().split()
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{' '.join(words[at : at + 3 + at % 4])}\t{words[at // 6 % 3]}\n" for at in range(0, 1200, 6)))
    return {"{pairs}": str(pairs), "{text}": str(own_words)}


def test_two_ranks_train_as_one_process_does(dlplay: Dlplay, torchrun: Torchruns, small: Small, tmp_path: Path) -> None:
    one, two = (RunDirectory(tmp_path / "runs" / name) for name in ("one", "two"))
    settings = small("gpt") | STILL | {"steps": 40}
    together = launch(torchrun, "gpt", two, settings)
    assert begin(dlplay, "gpt", one, settings).wait().status == 0
    ended = together.wait()
    assert ended.status == 0, ended.err
    assert_equal(one, two)
    assert [event.ranks for event in Following(two).of(Started)] == [2]
    [finished] = Following(two).of(Finished)
    assert len(finished.ranks) == 2
    assert all(0 <= rank.waiting <= 1 for rank in finished.ranks)
    assert ended.out.count("two finished at step 40") == 1, "rank 0 alone speaks"
    assert "2 ranks, 1 thread" in ended.out
    assert "waiting for the slowest rank: " in ended.out


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_loss_is_that_of_one_process(
    case: str, dlplay: Dlplay, torchrun: Torchruns, small: Small, files: dict[str, str], tmp_path: Path
) -> None:
    name, values = CASES[case]
    values = {key: files.get(value, value) if isinstance(value, str) else value for key, value in values.items()}
    settings = small(name) | values | {"steps": 40}
    one, two = (RunDirectory(tmp_path / "runs" / which) for which in ("one", "two"))
    together = launch(torchrun, name, two, settings)
    assert begin(dlplay, name, one, settings).wait().status == 0
    ended = together.wait()
    assert ended.status == 0, ended.err
    assert_equal(one, two)


# --- one run, and all of its ranks --------------------------------------------------------------------------------------------------------


def begun(torchrun: Torchruns, run: RunDirectory, settings: dict[str, Any], step: int, name: str = "gpt", **how: Any) -> Torchrun:
    """A run of two ranks that has trained so far."""
    command = launch(torchrun, name, run, settings, **how)
    following = Following(run)
    wait_until(lambda: run.journal_path.exists() or not command.running, "it begins")
    wait_until(lambda: (following.of(Started) and following.events[-1].step >= step) or not command.running, f"step {step}")
    assert command.running, command.wait().err
    return command


@pytest.mark.slow
def test_a_person_leads_all_ranks_by_the_first(torchrun: Torchruns, small: Small, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "runs" / "led")
    command = begun(torchrun, run, small("gpt") | {"steps": FOREVER}, 1)
    seen: list[Any] = []

    async def lead() -> None:
        client = await attached(run, seen.append)

        async def until(condition: Any) -> None:
            while not condition():
                await asyncio.sleep(0.01)

        client.send(Set(field="lr", value=1e-4))
        await until(lambda: Following(run).of(Applied))
        client.send(Pause())
        await until(lambda: any(isinstance(event, Status) and event.state == "paused" and len(event.ranks) == 2 for event in seen))
        client.send(Resume())
        await until(lambda: isinstance(seen[-1], Status) and seen[-1].state == "training")
        client.send(Stop())
        await until(lambda: Following(run).of(Finished))
        client.close()

    asyncio.run(asyncio.wait_for(lead(), PATIENCE))
    ended = command.wait()
    assert ended.status == 0, ended.err
    assert [event.reason for event in Following(run).of(Finished)] == ["stopped"]
    told = [event for event in seen if isinstance(event, Status) and event.ranks]
    assert all(0 <= rank.waiting <= 1 for event in told for rank in event.ranks)
    assert any(rank.utilisation for rank in told[-1].ranks)


DRAWS = {"dropout": 0.1, "steps": 120}
"""With random numbers that each rank draws for itself."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, small: Small) -> RunDirectory:
    folder = tmp_path_factory.mktemp("uninterrupted")
    run = RunDirectory(folder / "runs" / "whole")
    commands = Torchruns(folder)
    try:
        ended = launch(commands, "gpt", run, small("gpt") | DRAWS).wait()
    finally:
        commands.end()
    assert ended.status == 0, ended.err
    return run


def assert_same(one: RunDirectory, other: RunDirectory) -> None:
    """To the bit."""
    assert curves(one) == curves(other)
    assert weights(one)[0] == weights(other)[0]
    assert same(weights(one)[1], weights(other)[1])


@pytest.mark.slow
def test_compiled_ranks_train_as_one_compiled_process_does(dlplay: Dlplay, torchrun: Torchruns, small: Small, tmp_path: Path) -> None:
    """Each rank compiles a step of its own share, without the others."""
    settings = small("gpt") | STILL | {"compile": True, "steps": 20}
    one, two = RunDirectory(tmp_path / "runs" / "one"), RunDirectory(tmp_path / "runs" / "two")
    ended = dlplay("gpt", "--name", one.name, *typed(one, settings))
    assert ended.status == 0, ended.err
    ended = launch(torchrun, "gpt", two, settings).wait()
    assert ended.status == 0, ended.err
    assert [event.compiled for event in Following(two).of(Started)] == [True]
    assert not [event for event in Following(two).of(Warned) if "compiled" in event.what]
    assert curves(one)["train_loss"] == pytest.approx(curves(two)["train_loss"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_after_a_rank_was_killed_the_run_is_resumed_to_the_bit(
    rank: int, torchrun: Torchruns, small: Small, uninterrupted: RunDirectory, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "runs" / "killed")
    command = begun(torchrun, run, small("gpt") | DRAWS, 45)
    command.send(signal.SIGKILL, rank)
    ended = command.wait()
    assert ended.status != 0
    assert not command.ranks(), "all have ended"
    failed = Following(run).of(Failed)
    assert all("/" not in event.why for event in failed), failed
    assert [event.what for event in failed] == (["another rank ended, and the model is trained by all of them together"] if rank else [])
    assert not Following(run).of(Finished)
    again = resume(torchrun, run)
    assert again.status == 0, again.err
    assert not [event for event in Following(run).of(Warned) if "ranks" in event.what]
    assert_same(uninterrupted, run)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_starts_it_anew_after_a_rank_was_killed_and_nothing_is_lost(
    rank: int, torchrun: Torchruns, small: Small, uninterrupted: RunDirectory, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "runs" / "killed")
    command = begun(torchrun, run, small("gpt") | DRAWS, 45, restarts=1)
    command.send(signal.SIGKILL, rank)
    ended = command.wait()
    assert ended.status == 0, ended.err
    assert [folder.name for folder in run.path.parent.iterdir()] == ["killed"]
    assert [event.step >= EVERY for event in Following(run).of(Started)] == [False, True]
    assert_same(uninterrupted, run)


@pytest.mark.slow
def test_two_machines_go_on_after_one_of_them_lost_its_rank(
    torchrun: Torchruns, small: Small, uninterrupted: RunDirectory, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "runs" / "apart")
    settings, how = small("gpt") | DRAWS, {"ranks": 1, "restarts": 1, "meeting": f"localhost:{free_port()}"}
    other = launch(torchrun, "gpt", run, settings, **how)
    command = begun(torchrun, run, settings, 45, **how)
    os.kill((command.ranks() | other.ranks())[1], signal.SIGKILL)
    for each in (command, other):
        ended = each.wait()
        assert ended.status == 0, ended.err
    assert [event.step >= EVERY for event in Following(run).of(Started)] == [False, True]
    assert_same(uninterrupted, run)


@pytest.mark.slow
def test_an_architecture_of_ones_own_takes_part(dlplay: Dlplay, torchrun: Torchruns, tmp_path: Path) -> None:
    rooms = str(tmp_path / "rooms")
    template.write("my-net", Path(rooms))
    one, two = (RunDirectory(tmp_path / "runs" / which) for which in ("one", "two"))
    together = launch(torchrun, "my-net", two, {"steps": 40, "rooms": rooms})
    assert begin(dlplay, "my-net", one, {"steps": 40}, "--rooms", rooms).wait().status == 0
    ended = together.wait()
    assert ended.status == 0, ended.err
    assert_equal(one, two)


OF_ANOTHER = """

def found() -> Generated:
    if os.environ.get("RANK") == "1":
        raise DataError("no Gaussians here")
    return Generated("two Gaussians")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ("Generated('two Gaussians', key=os.environ['RANK'])", "rank 1 has other data than rank 0; bring the same to every machine"),
        ("found()", "rank 1: no Gaussians here"),
    ],
)
def test_a_rank_without_the_data_is_told_of_by_the_first(dataset: str, words: str, torchrun: Torchruns, tmp_path: Path) -> None:
    rooms = tmp_path / "rooms"
    template.write("my-net", rooms)
    [task] = rooms.glob("*/task.py")
    source = task.read_text().replace("import torch\n", "import os\nimport torch\nfrom dlplay.engine.errors import DataError\n", 1)
    task.write_text(re.sub(r"self\.dataset = .*", f"self.dataset = {dataset}", source) + OF_ANOTHER)
    run = RunDirectory(tmp_path / "runs" / "without")
    ended = launch(torchrun, "my-net", run, {"steps": 40, "rooms": str(rooms)}).wait()
    assert ended.status != 0
    assert ended.err.count(words) == 1
    assert not run.path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1, None])
def test_a_rank_that_is_told_to_end_saves_and_ends_all(
    rank: int | None, torchrun: Torchruns, small: Small, uninterrupted: RunDirectory, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "runs" / "told")
    command = begun(torchrun, run, small("gpt") | DRAWS, 45)
    os.kill(command.pid if rank is None else command.ranks()[rank], signal.SIGTERM)
    assert command.wait().status != 0
    [finished] = Following(run).of(Finished)
    assert finished.reason == "interrupted"
    assert weights(run)[0] == finished.step > 0
    assert resume(torchrun, run).status == 0
    assert_same(uninterrupted, run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("recurrent", {"task": "text", "dropout": 0.1, "layers": 2}),
        ("transformer-xl", {"task": "text", "text": "{text}", "memory": 8, "dropout": 0.1}),
        ("convnet", {"norm": "group", "channels": (8, 8), "dropout": 0.3}),
    ],
)
def test_what_each_rank_remembers_is_resumed(
    name: str, values: dict[str, Any], dlplay: Dlplay, torchrun: Torchruns, small: Small, files: dict[str, str], tmp_path: Path
) -> None:
    settings = small(name) | {key: files.get(value, value) if isinstance(value, str) else value for key, value in values.items()}
    whole, parts = (RunDirectory(tmp_path / "runs" / which) for which in ("whole", "parts"))
    assert launch(torchrun, name, whole, settings | {"steps": 120}).wait().status == 0
    first = begun(torchrun, parts, settings | {"steps": 120}, 25, name)
    first.send(signal.SIGTERM, 1)
    first.wait()
    [interrupted] = Following(parts).of(Finished)
    assert 25 <= interrupted.step < 120
    again = resume(torchrun, parts)
    assert again.status == 0, again.err
    assert_same(whole, parts)
    alone = dlplay("resume", parts.name, "--headless", "--steps", "140", "--runs-dir", str(parts.path.parent))
    assert alone.status == 0, alone.err
    [warned] = Following(parts).of(Warned)
    assert warned.what == "resumed with ranks 1 instead of 2"
    assert "no longer the same to the bit" in warned.why
    assert weights(parts)[0] == 140


# --- refusals -----------------------------------------------------------------------------------------------------------------------------


def in_torchrun(rank: int = 0, ranks: int = 2, **more: str) -> dict[str, str]:
    """The variables that torchrun sets."""
    numbers = {"RANK": rank, "WORLD_SIZE": ranks, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": 1}
    return {name: str(value) for name, value in numbers.items()} | {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "none"} | more


REFUSED: dict[str, tuple[list[str], str]] = {
    "a screen": (["gpt"], "add --headless, then type dlplay attach RUN elsewhere"),
    "another command": (["runs"], "torchrun is for training"),
    "the playground": ([], "torchrun is for training"),
    "an odd batch": (["gpt", "--headless", "--batch", "7"], "a batch of 7 cannot be divided by 2 ranks; use --batch 6 or 8"),
    "a batch of one": (["gpt", "--headless", "--batch", "1"], "a batch of 1 cannot be divided by 2 ranks; use --batch 2"),
    "batch norm": (["convnet", "--headless"], "batch norm takes its statistics from each batch by itself; use another --norm, or start"),
    "gan": (["gan", "--headless"], "generator and discriminator are updated in turn, each by its own loss; start it without torchrun"),
    "dqn": (["dqn", "--headless"], "each update is on transitions that the one before it had a part in choosing; start it without"),
    "next sentences": (["bert", "--headless", "--next-sentence"], "with next sentences it is the sum of two means"),
    "seeds": (["gpt", "--headless", "--seeds", "0..3"], "leave one of them out"),
    "a question": (["gpt", "--headless", "--prompt", "for"], "ask a trained model, or look for a learning rate, without it"),
    "a range test": (["gpt", "--headless", "--find-lr"], "ask a trained model, or look for a learning rate, without it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_several_ranks_cannot_do_is_refused_in_one_line_by_the_first(case: str, dlplay: Dlplay, tmp_path: Path) -> None:
    arguments, words = REFUSED[case]
    if arguments:
        arguments = [*arguments, "--runs-dir", str(tmp_path / "runs")]
    for rank in (0, 1):
        ended = dlplay(*arguments, env=in_torchrun(rank))
        assert ended.status == 2
        assert ended.out == ""
        assert (words in ended.err and len(ended.err.splitlines()) == 1) if rank == 0 else ended.err == "", ended.err
    assert not (tmp_path / "runs").exists()


def test_one_process_of_torchrun_trains_as_without_it(dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "runs" / "single")
    settings = small("convnet") | {"steps": 2}
    assert dlplay("convnet", "--name", run.name, *typed(run, settings), env=in_torchrun(ranks=1)).status == 0
    assert [event.ranks for event in Following(run).of(Started)] == [1]


def test_a_command_started_anew_does_not_begin_another_run(dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "runs" / "gpt-1")
    ended = dlplay("gpt", *typed(run, small("gpt") | {"steps": 2}), env=in_torchrun(TORCHELASTIC_RESTART_COUNT="1"))
    assert ended.status == 2
    assert "the run that it began is not in" in ended.err
    assert "resume RUN --headless" in ended.err


class Alone:
    """Of two ranks the first, whose messages reach nobody."""

    rank, count, in_step = 0, 2, False

    def add_up(self, numbers: Tensor) -> Tensor:
        return numbers.mul_(2)

    def share(self, batch: Tensor, dim: int = 0) -> Tensor:
        return Ranks.share(self, batch, dim)  # type: ignore[arg-type]

    def summing(self, parameters: list[Tensor]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class Sharing(ToyTask):
    def train_step(self) -> dict[str, Tensor]:
        self.share(torch.zeros(self.rows))
        return super().train_step()

    rows = 16


class Twice(Sharing):
    def train_step(self) -> dict[str, Tensor]:
        super().train_step()
        return super().train_step()


class OfThree(Sharing):
    rows = 3


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ToyTask, "divides its batches by `self.share"),
        (Twice, "several ranks need an architecture whose steps minimise one loss once; start it without torchrun"),
        (OfThree, "a batch of 3 cannot be divided by 2 ranks; use --batch 2 or 4"),
    ],
)
def test_an_architecture_that_would_train_something_else_is_refused(kind: type[ToyTask], words: str) -> None:
    task = kind(make(ToySettings, {}), torch.device("cpu"))
    task.ranks = Alone()  # type: ignore[assignment]
    with pytest.raises(DataError, match=words):
        task.advance()


def test_a_model_with_batch_norm_is_refused() -> None:
    task = Sharing(make(ToySettings, {}), torch.device("cpu"))
    check_models(task)
    task.models["normed"] = torch.nn.Sequential(torch.nn.BatchNorm1d(2))
    with pytest.raises(DataError, match="use another norm, or start it without torchrun"):
        check_models(task)


def test_the_state_of_a_rank_travels_without_code_and_to_the_bit() -> None:
    tensors = {"a": torch.randn(3, 2), "b": torch.tensor(True), "c": torch.zeros(0, 4), "d": torch.tensor([2**62, -1])}
    found, plain = decoded(encoded(tensors, {"position": 3, "deeper": {"list": [1.5, None]}}))
    assert plain == {"position": 3, "deeper": {"list": [1.5, None]}}
    assert found.keys() == tensors.keys()
    assert all(found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in tensors.items())


@pytest.mark.parametrize("damaged", [3, "two", {"1": {}}, [{}, 7]])
def test_what_a_checkpoint_says_of_the_ranks_is_checked(damaged: object, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "step-3", 3, {"ranks": damaged}, {}, {})
    with pytest.raises(DataError, match="step-3: what its meta.json says of the ranks is damaged; resume from another checkpoint"):
        number_of_ranks(checkpoint)


def test_a_rank_whose_part_of_a_checkpoint_does_not_fit_says_so() -> None:
    class Second(Alone):
        def use(self, device: torch.device) -> None: ...

        def copy_from_first(self, tensors: dict[str, Tensor]) -> None: ...

        def scatter(self) -> bytes:
            return encoded({}, {"step": 3, "optimizers": [], "random": {"torch": "no generator"}})

    task = ToyTask(make(ToySettings, {}), torch.device("cpu"))
    with pytest.raises(DataError, match="what the checkpoint has of this rank does not fit this model"):
        take_up(task, Second())  # type: ignore[arg-type]


def test_a_run_of_this_torchrun_that_lies_on_another_rank_s_machine_is_not_begun_anew(tmp_path: Path) -> None:
    """Rank 0 may come to be on a machine that has joined since, where torchrun counts no restart."""
    place = Place(1, 2, 0, 1, 0, "id here 12 34")
    begin = Begin("gpt-1", "gpt", {}, None, launch="id there 56 78")
    assert not elsewhere(begin, place, tmp_path)
    run = directory.create(tmp_path, "gpt", {}, launch=place.launch)
    assert elsewhere(begin, place, tmp_path) == run.name
    assert not elsewhere(msgspec.structs.replace(begin, launch=place.launch), place, tmp_path), "it is this run"
    assert not elsewhere(msgspec.structs.replace(begin, launch=""), place, tmp_path), "a person has resumed another"


@pytest.mark.parametrize(("restarts", "kept"), [("1", True), ("0", False)])
def test_a_run_that_could_not_start_is_kept_for_as_long_as_torchrun_tries_again(
    restarts: str, kept: bool, dlplay: Dlplay, tmp_path: Path
) -> None:
    environment = in_torchrun(ranks=1, TORCHELASTIC_MAX_RESTARTS=restarts)
    runs = tmp_path / "runs"
    ended = dlplay("gpt", "--headless", "--text", "none.txt", "--runs-dir", str(runs), env=environment)
    assert ended.status == 2
    assert "none.txt" in ended.err
    assert [folder.name for folder in runs.iterdir()] == (["gpt-1"] if kept else [])


def test_a_rank_without_the_run_follows_the_first_and_its_machine_says_what_is_wrong(dlplay: Dlplay, tmp_path: Path) -> None:
    """The run lies where rank 0 is; here nobody is met."""
    place = in_torchrun(rank=1, LOCAL_RANK="0", MASTER_PORT=str(free_port()))
    command = dlplay.start("resume", "gpt-1", "--headless", "--runs-dir", str(tmp_path), env=place)
    asked = dlplay("resume", "gpt-1", "--headless", "--runs-dir", str(tmp_path), env=in_torchrun(LOCAL_RANK="0"))
    assert "gpt-1" in asked.err
    assert command.running, "it waits for rank 0"
    command.kill()
    wrong = dlplay("gpt", "--headless", "--batch", "many", env=place)
    assert "--batch" in wrong.err


def test_each_rank_has_a_card_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(choose("auto", rank)) for rank in (0, 1)] == ["cuda:0", "cuda:1"]
    assert choose("cpu", 1).type == "cpu"
    with pytest.raises(SettingsError, match="since there are 2; use torchrun --nproc-per-node 2, or --device cpu"):
        choose("cuda", 2)
    with pytest.raises(SettingsError, match="each rank needs one of its own; use --device cuda, cpu or auto"):
        choose("cuda:1", 1)


def test_the_screen_and_the_log_tell_of_every_rank() -> None:
    ranks = [RankStatus(0.97, None, 0.01), RankStatus(0.5, None, 0.32)]
    assert of_ranks(ranks) == ["2 ranks 97 50 %", "waiting 32 %"]
    assert of_ranks(ranks * 4) == ["8 ranks 50 to 97 %", "waiting 32 %"]
    assert of_ranks([RankStatus(None, None, 0.0)] * 2) == ["2 ranks", "waiting 0 %"]
    assert of_ranks([]) == []


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_all_ranks_with_the_words_of_the_first(torchrun: Torchruns, small: Small, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "runs" / "diverges")
    linear = {"encoder": "linear", "code": "linear", "output": "linear", "variational": False, "noise": "none", "loss": "squared"}
    ended = launch(torchrun, "autoencoder", run, small("autoencoder") | linear | {"optimizer": "sgd", "lr": 10.0, "steps": 200}).wait()
    assert ended.status != 0
    [failed] = Following(run).of(Failed)
    assert failed.what.endswith("or its gradient, is not a finite number")
    assert "dlplay: rank 1" not in ended.err
    assert weights(run)[0] < failed.step
