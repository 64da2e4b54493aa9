"""Environments of a person's own: what can be understood is, and what breaks gymnasium's interface is told with who, what and when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from dlplay import cli
from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.architectures.dqn.task import DQNTask
from dlplay.engine.errors import DataError
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import looking

NAN = float("nan")
SMALL = {"hidden": "8", "steps": 50, "learning_starts": 10, "eval_episodes": 2, "buffer": 200, "batch": 8}


class Own(gymnasium.Env[Any, Any]):
    """Episodes of 20 steps, each with a reward of 1. What it returns is given."""

    action_space = spaces.Discrete(2)

    def __init__(self, space: Any, first: Any, stepped: Any) -> None:
        self.observation_space, self.first, self.stepped = space, first, stepped
        self.count = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return self.first

    def step(self, action: Any) -> Any:
        self.count += 1
        if isinstance(self.stepped, Exception):
            raise self.stepped
        return self.stepped(self.count) if callable(self.stepped) else self.stepped


@pytest.fixture
def own() -> Iterator[Any]:
    """Registers `own/Thing-v0`, whose `reset` and `step` return these values."""

    def register(first: Any, stepped: Any, space: Any = None) -> str:
        chosen = spaces.Box(-2, 2, (1,), np.float32) if space is None else space
        gymnasium.register("own/Thing-v0", lambda: Own(chosen, first, stepped))
        return "own/Thing-v0"

    yield register
    gymnasium.registry.pop("own/Thing-v0", None)


def trained(env: str, steps: int = 50) -> float:
    """The mean return of the greedy policy after so many steps."""
    task = DQNTask(make(DQNSettings, {**SMALL, "env": env, "device": "cpu"}), torch.device("cpu"))
    for _ in range(steps):
        task.train_step()
        task.step += 1
    with looking(task):
        return task.evaluate()["eval_return"]


UNDERSTOOD = {
    "float64": np.array([0.5]),
    "a list": [0.5],
    "a tuple": (0.5,),
    "a list of whole numbers": [1],
    "a number": 0.5,
    "a scalar of numpy": np.float64(0.5),
    "a matrix of one": np.array([[0.5]]),
    "a tensor": torch.tensor([0.5]),
}


@pytest.mark.parametrize("observation", UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_an_observation_that_means_the_declared_one_is_learnt_from(observation: Any, own: Any) -> None:
    env = own((observation, {}), lambda count: (observation, 1, count == 20, False, {}))
    assert trained(env) == 20.0


@pytest.mark.parametrize("reward", [1, 1.0, np.float64(1), np.array(1.0), np.array([1.0]), True])
def test_any_kind_of_number_is_a_reward(reward: Any, own: Any) -> None:
    observation = np.zeros(1, np.float32)
    assert trained(own((observation, {}), lambda count: (observation, reward, np.bool_(count == 20), 0, None))) == 20.0


OK = np.zeros(1, np.float32)
BROKEN: dict[str, tuple[Any, Any, str]] = {
    "no info": (OK, None, r"reset\(\) returned an array of float32 of shape \(1,\), not an observation and a dictionary"),
    "nothing": (None, None, r"reset\(\) returned None"),
    "four values": (
        (OK, {}),
        (OK, 1.0, False, {}),
        r"step\(\d\) returned 4 values \(ndarray, float, bool, dict\), not observation, reward",
    ),
    "another shape": (([0.0, 0.0], {}), None, r"reset\(\) returned list \[0.0, 0.0\] as the observation"),
    "text": (("left", {}), None, r"reset\(\) returned str 'left' as the observation"),
    "unequal lists": (([[1.0], [1.0, 2.0]], {}), None, "as the observation"),
    "complex numbers": ((np.array([1j]), {}), None, "an array of complex128"),
    "another shape later": ((OK, {}), lambda count: (np.zeros(count), 1.0, False, False, {}), r"float64 of shape \(2,\) .* at step 2 of"),
    "no reward": ((OK, {}), (OK, None, False, False, {}), r"returned None as the reward, not a number, at step 1 of the episode with seed"),
    "NaN reward": ((OK, {}), lambda count: (OK, NAN if count == 3 else 1.0, False, False, {}), r"returned nan as the reward, at step 3"),
    "infinite reward": ((OK, {}), (OK, np.inf, False, False, {}), "returned inf as the reward"),
    "NaN observed": ((OK, {}), lambda count: (OK / (count != 4), 1.0, False, False, {}), "returned nan as number 0 .* at step 4 of"),
    "NaN at first": (([NAN], {}), None, "returned nan as number 0 of the observation, at the beginning of the episode with seed"),
    "an error": ((OK, {}), ZeroDivisionError("no ball"), r"step\(\d\) raised ZeroDivisionError: no ball \(.*dqn_own_environment.py, line"),
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(("first", "stepped", "words"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_the_interface_is_told(first: Any, stepped: Any, words: str, own: Any) -> None:
    env = own(first, stepped)
    with pytest.raises(DataError, match=words) as told:
        trained(env)
    assert str(told.value).startswith("the environment own/Thing-v0: ")
    assert str(told.value).endswith("it declares Box(-2.0, 2.0, (1,), float32)")
    assert "learning rate" not in str(told.value)


@pytest.mark.parametrize(
    ("space", "observation"),
    [
        (spaces.Discrete(4), 4),
        (spaces.Discrete(4), -1),
        (spaces.Discrete(4), 1.5),
        (spaces.Discrete(4), "1"),
        (spaces.MultiDiscrete([2, 3]), [1, 3]),
        (spaces.Tuple((spaces.Discrete(2), spaces.Discrete(3))), (1, 3)),
        (spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 1, (2,)))), (1, [0.0, NAN])),
        (spaces.Box(0, 255, (40, 40), np.uint8), np.full((40, 40), 0.5)),
        (spaces.Box(0, 255, (40, 40), np.uint8), np.full((40, 40), 256)),
    ],
)
def test_a_value_outside_of_its_space_is_told(space: Any, observation: Any, own: Any) -> None:
    with pytest.raises(DataError, match="the environment own/Thing-v0: reset.*as the observation, at the beginning"):
        trained(own((observation, {}), None, space))


def test_a_dictionary_is_flattened_as_a_tuple_is(own: Any) -> None:
    space = spaces.Dict({"position": spaces.Box(-2, 2, (2,), np.float32), "key": spaces.Discrete(3)})
    seen = {"position": [0.5, -0.5], "key": 1}
    assert trained(own((seen, {}), lambda count: (seen, 1.0, False, count == 20, {}), space)) == 20


def test_a_dictionary_that_holds_no_numbers_is_refused(own: Any) -> None:
    space = spaces.Dict({"graph": spaces.Graph(spaces.Discrete(2), None)})
    with pytest.raises(SettingsError, match="its observations are a dictionary"):
        trained(own(({}, {}), None, space))


@pytest.mark.parametrize("space", [None, "Box", 3])
def test_an_environment_without_spaces_is_refused(space: Any, own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own((OK, {}), None)
    monkeypatch.setattr(gymnasium.registry["own/Thing-v0"], "entry_point", lambda: Own(space, OK, None))
    with pytest.raises(ValueError, match="its observation_space is not declared by a space of gymnasium"):
        trained("own/Thing-v0")
    monkeypatch.setattr(gymnasium.registry["own/Thing-v0"], "entry_point", lambda: gymnasium.Env())
    with pytest.raises(ValueError, match="its observation_space is not declared by a space of gymnasium"):
        trained("own/Thing-v0")


FAILS = {
    "in the baselines": (3, "baselines"),
    "while training": (70, "training"),
}


@pytest.mark.parametrize(("at", "where"), FAILS.values(), ids=FAILS)
def test_a_run_fails_with_the_cause(at: int, where: str, own: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = []

    def stepped(count: int) -> Any:
        calls.append(count)
        print("a word of the environment")
        return OK, NAN if len(calls) == at else 1.0, count == 20, False, {}

    own((OK, {}), stepped)
    settings = ["--env", "own/Thing-v0", "--hidden", "8", "--eval-episodes", "1", "--steps", "5000", "--time-limit", "20"]
    assert cli.run(["dqn", "--headless", "--json", *settings, "--gamma", f".9{at}", "--runs-dir", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    assert [events[0]["type"], events[-1]["type"]] == ["started", "failed"]
    assert "own/Thing-v0: step(" in events[-1]["why"]
    assert "returned nan as the reward" in events[-1]["why"]
    assert "learning rate" not in json.dumps(events[-1])
    assert "a word of the environment" in err
    assert "Traceback" not in err
