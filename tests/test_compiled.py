"""`--compile`: steps are the same but for rounding, whatever looks at a model is the same to the bit, and where nothing can be compiled
training goes on in words."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dlplay import architectures
from dlplay.engine import compiled, hooks, state
from dlplay.engine.device import prepare
from dlplay.engine.events import Started, Warned
from dlplay.engine.interventions import parse
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import Task, looking
from dlplay.runs.directory import RunDirectory
from tests.conftest import Build, Dlplay, Small
from tests.runs import Following, begin, resume
from tests.toy import ToySettings, ToyTask

pytestmark = [
    pytest.mark.usefixtures("as_before", "one_thread"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore:The .grad attribute"),  # of PyTorch's compiler about itself
]

CARDS = architectures.cards()


@pytest.fixture(autouse=True)
def eager_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The compiler as other tests find it, and what it makes in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    yield
    torch.compiler.reset()
    torch.compiler.set_stance("default")


def everything(task: Task[Any]) -> dict[str, torch.Tensor]:
    tensors, _ = state.flatten(task.state_dict())
    return {name: value.clone() for name, value in (tensors | task.weights()).items()}


def losses(task: Task[Any], steps: int) -> list[dict[str, float]]:
    found = []
    for _ in range(steps):
        found.append({name: float(value) for name, value in task.advance().items()})
        task.step += 1
    return found


def with_the_same_draws(task: Task[Any], other: Task[Any], steps: int) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """The losses of both, which draw from the global generators."""
    random = copy.deepcopy(state.random_state(torch.device("cpu")))
    mine = losses(task, steps)
    state.set_random_state(random, torch.device("cpu"))
    return mine, losses(other, steps)


def toy() -> ToyTask:
    return ToyTask(settings := ToySettings(device="cpu"), prepare(settings))


def test_a_compiler_that_cannot_be_imported_is_told_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:

    task, before = toy(), toy()
    with monkeypatch.context() as broken:
        broken.setitem(sys.modules, "torch._inductor.config", None)
        assert "ModuleNotFoundError: import of torch._inductor.config halted" in compiled.prepare(task)
    assert not task.compiled
    one, other = with_the_same_draws(task, before, 3)
    assert one == other


def test_without_a_compiler_training_goes_on_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor.cpp, "cxx", ("no-such-compiler",))
    task, other = toy(), toy()
    before = everything(task)
    why = compiled.prepare(task)
    assert "ompiler" in why
    assert "\n" not in why
    assert not task.compiled
    assert all(torch.equal(value, before[name]) for name, value in everything(task).items())
    mine, others = with_the_same_draws(task, other, 3)
    assert mine == others


def test_a_folder_for_what_is_compiled_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert str(tmp_path) in compiled.prepare(toy())


def test_what_is_compiled_lies_where_nobody_else_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor.cpp, "cxx", ("no-such-compiler",))
    compiled.prepare(toy())
    folder = tmp_path / "cache" / "dlplay" / "compiled"
    assert folder.stat().st_mode & 0o77 == 0


@pytest.mark.parametrize(("name", "values"), [("recurrent", {}), ("dqn", {}), ("gan", {"loss": "wasserstein-gp"})])
def test_what_cannot_be_compiled_is_refused_where_it_is_typed(name: str, values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"--compile: .*leave it out"):
        make(CARDS[name].settings, {"compile": True, **values})


def compilable() -> Iterator[Any]:
    """All that can be compiled. The compiler takes up to a minute for each: a language model and two players are tried every time."""
    for name, card in CARDS.items():
        if not card.settings().no_compilation():
            yield pytest.param(name, {}, id=name, marks=pytest.mark.slow if name == "gpt" else pytest.mark.long)
    yield pytest.param("gan", {"loss": "non-saturating"}, id="gan", marks=pytest.mark.slow)
    yield pytest.param("convnet", {"kind": "resnet"}, id="resnet", marks=pytest.mark.long)


@pytest.mark.parametrize(("name", "values"), compilable())
def test_steps_differ_by_rounding_alone_and_looks_not_at_all(name: str, values: dict[str, Any], build: Build) -> None:
    task, other = build(name, **values), build(name, **values)
    before = everything(task)
    assert compiled.prepare(task) == ""
    assert all(torch.equal(value, before[each]) for each, value in everything(task).items()), "the step that was tried is taken back"

    for got, wanted in zip(*with_the_same_draws(task, other, 4), strict=True):
        assert got == pytest.approx(wanted, rel=1e-3, abs=1e-5)

    Task.load_weights(other, task.weights())
    with looking(task), looking(other):
        assert task.measure().values.equal(other.measure().values), "evaluation"
    part = next(path for path, module in hooks.modules(task.models).items() if "." in path and not list(module.children()))
    with looking(task), looking(other), task.touched(parse(f"{part}=0")), other.touched(parse(f"{part}=0")):
        assert task.measure().values.equal(other.measure().values), "an intervention"


@pytest.mark.slow
def test_a_compiled_run_resumes_to_the_bit_and_says_what_it_was(dlplay: Dlplay, tmp_path: Path, small: Small) -> None:
    settings = small("gpt") | {"dropout": 0.1, "compile": True, "save_every": 6, "eval_every": 6}
    whole, parts = (RunDirectory(tmp_path / "runs" / name) for name in ("whole", "parts"))
    assert begin(dlplay, "gpt", whole, settings | {"steps": 12}).wait().status == 0
    assert begin(dlplay, "gpt", parts, settings | {"steps": 6}).wait().status == 0
    assert resume(dlplay, parts, "--steps", "12").wait().status == 0
    assert [started.compiled for started in Following(parts).of(Started)] == [True, True]
    assert not Following(parts).of(Warned)
    ends = [run.store.newest()[0] for run in (whole, parts)]
    for name, value in ends[0].weights.items():
        assert (value == ends[1].weights[name]).all(), name
