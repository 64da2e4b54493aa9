"""The watched episode: what it shows, what a person can do in it, and that training is not disturbed."""

from __future__ import annotations

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from dlplay.architectures.dqn import card, panels
from dlplay.engine.settings import SettingsError
from dlplay.engine.state import flatten, unflatten
from tests.architectures.dqn import SMALL, act, ask, build, cart, train
from tests.conftest import Dlplay


def everything(task: Any) -> dict[str, Any]:
    tensors, plain = flatten(task.state_dict())
    return {"plain": repr(plain)} | {name: value.clone() for name, value in (tensors | task.weights()).items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name] for name, value in one.items())


@pytest.mark.parametrize("env", ["CartPole-v1", "FrozenLake-v1"])
def test_watching_and_playing_do_not_disturb_training(env: str) -> None:
    alone, watched = build(env=env, **SMALL), build(env=env, **SMALL)
    found, shown = [], []
    for step in range(40):
        found.append(train(alone, 1))
        for name, options in (
            ("watch", {"policy": ("greedy", "explore", "random")[step % 3], "steps": 1 + step % 4, "room": "40x30"}),
            ("play", {"action": step % 2}),
            ("new_episode", {"seed": step}),
            ("replay_last" if watched.last_episode else "watch", {}),
        ):
            act(watched, name, **options)
        for panel in card.panels:
            ask(watched, panel.name)
        shown.append(train(watched, 1))
    assert found == shown
    assert same(everything(alone), everything(watched))


def test_a_watched_step_shows_action_reward_and_td_error() -> None:
    task = build(**SMALL)
    before = ask(task, "environment")
    intended = before.bars.chosen
    assert before.facts["step"] == "0"
    assert before.bars.values == pytest.approx(task.policy.q_values(task.player.observation[None])[0].tolist())
    assert before.bars.caption == f"next: {before.bars.labels[intended]} (exploit)"
    start = task.player.observation.copy()
    value = before.bars.values[intended]
    after = act(task, "watch")
    expected, _ = cart(start, intended)
    assert np.allclose(task.player.observation, expected, atol=1e-6)
    assert (after.facts["step"], after.facts["return"], after.facts["reward"]) == ("1", "1", "1")
    assert after.facts["last action"] == f"{before.bars.labels[intended]} (exploit)"
    assert float(after.facts["TD error"]) == pytest.approx(1 + 0.99 * max(after.bars.values) - value, rel=0.01)
    assert ask(task, "environment").facts == after.facts
    assert ask(task, "q_values").values == pytest.approx(after.bars.values)


def test_the_random_policy_says_that_it_explores() -> None:
    task = build(**SMALL)
    frame = act(task, "watch", policy="random")
    assert frame.facts["last action"].endswith("(explore)")
    assert frame.bars.caption.endswith("(explore)")


def test_an_episode_ends_and_the_next_step_begins_another() -> None:
    task = build(**SMALL)
    frame = act(task, "watch", policy="random", steps=1000)
    assert frame.ended
    assert frame.facts["ended"] == "terminated"
    again = act(task, "watch", policy="random", steps=1000)
    assert not again.ended
    assert again.facts["step"] == "0"
    assert again.facts["seed"] != frame.facts["seed"]


def test_a_time_limit_is_a_truncation() -> None:
    task = build(**SMALL, time_limit=3)
    assert act(task, "watch", steps=100).facts["ended"] == "time limit (truncated)"


@pytest.mark.parametrize(("which", "pick"), [("replay_last", lambda returns: returns[-1]), ("replay_best", max)])
def test_an_episode_of_the_training_can_be_watched_again(which: str, pick: Any) -> None:
    task = build(**SMALL)
    with pytest.raises(SettingsError, match="train until an episode has ended"):
        act(task, which)
    returns = [found["episode_return"] for found in train(task, 150) if "episode_return" in found]
    frame = act(task, which)
    assert frame.caption.endswith(f"return {pick(returns):.4g}")
    frame = act(task, "watch", steps=1000, policy="random")
    assert frame.ended
    assert float(frame.facts["return"]) == pick(returns)
    assert frame.facts["last action"].endswith("(replay)")


def test_predicted_values_stand_beside_the_return_that_followed() -> None:
    task = build(**SMALL)
    assert ask(task, "episode").series == {}
    expected: dict[str, list[float]] = {name: [] for name in task.player.action_names}
    rewards = []
    while not task.player.ended:
        shown = ask(task, "environment")
        for name, value in zip(shown.bars.labels, shown.bars.values, strict=True):
            expected[name].append(value)
        rewards.append(float(act(task, "watch", policy="random").facts["reward"]))
        assert "return obtained" not in ask(task, "episode").series or task.player.ended
    shown = ask(task, "episode")
    assert shown.x == list(range(len(rewards)))
    obtained = [sum(0.99**later * reward for later, reward in enumerate(rewards[step:])) for step in range(len(rewards))]
    assert shown.series["return obtained"] == pytest.approx(obtained)
    for name, values in expected.items():
        assert shown.series[name] == pytest.approx(values)


def test_a_long_episode_shows_the_largest_value_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "FEW_STEPS", 2)
    task = build(**SMALL)
    act(task, "watch", steps=2)
    assert list(ask(task, "episode").series) == list(task.player.action_names)
    act(task, "watch", steps=1)
    assert next(iter(ask(task, "episode").series)) == "max Q"


def test_an_episode_that_the_time_limit_cut_off_goes_on_with_the_last_prediction() -> None:
    task = build(**SMALL, time_limit=3)
    after = max(act(task, "watch", steps=3).bars.values)
    shown = ask(task, "episode")
    assert shown.series["return obtained"] == pytest.approx(
        [1 + 0.99 * (1 + 0.99 * (1 + 0.99 * after)), 1 + 0.99 * (1 + 0.99 * after), 1 + 0.99 * after]
    )
    assert "time limit" in shown.caption


def test_the_same_seed_begins_the_same_episode() -> None:
    task = build(**SMALL)
    one, other, again = (act(task, "new_episode", seed=seed).facts["observation"] for seed in (5, 6, 5))
    assert one == again != other
    expected = gymnasium.make("CartPole-v1").reset(seed=5)[0]
    act(task, "new_episode", seed=5)
    assert np.array_equal(task.player.observation, expected)


def test_a_person_takes_the_controls() -> None:
    task = build(**SMALL)
    act(task, "new_episode", seed=1)
    start = task.player.observation.copy()
    frame = act(task, "play", action=1)
    assert frame.controls == {"left": 0, "right": 1}
    assert frame.facts["last action"] == "push right (you)"
    assert np.allclose(task.player.observation, cart(start, 1)[0], atol=1e-6)
    with pytest.raises(SettingsError, match="--action 2 is not there; CartPole-v1 has actions 0 to 1"):
        act(task, "play", action=2)


@pytest.mark.parametrize("more", [{"n_step": 1}, {"n_step": 3}, {"envs": 3, "vector": "native"}])
def test_the_agent_learns_from_what_a_person_played(more: dict[str, Any]) -> None:
    task = build(**SMALL | more | {"learning_starts": 500})
    train(task, 40)
    with pytest.raises(SettingsError, match="nothing to teach"):
        act(task, "teach")
    act(task, "new_episode", seed=3)
    played = [(task.player.observation.copy(), action) for action in (1, 0, 1, 1) if act(task, "play", action=action)]
    held = task.replay.count
    act(task, "teach")
    assert task.replay.count >= held + len(played)
    train(task, 40)
    rows = np.flatnonzero(task.replay.ready)
    batch = task.replay.gather(rows, 1, 0.99)
    observations, actions, following = batch.observations.numpy(), batch.actions.numpy(), batch.next_observations.numpy()
    for observation, action, next_observation in zip(observations, actions, following, strict=True):
        assert np.allclose(next_observation, cart(observation, int(action))[0], atol=1e-5)
    found = {(tuple(observation.round(5)), int(action)) for observation, action in zip(following, actions, strict=True)}
    assert {(tuple(observation.round(5)), action) for observation, action in played} <= found
    with pytest.raises(SettingsError, match="in the replay buffer already"):
        act(task, "teach")


def test_an_atari_run_can_be_resumed_after_teaching() -> None:
    """The buffer holds single frames: after a taught episode the earlier frames of the running one are missing."""
    settings = SMALL | {"env": "ALE/Pong-v5", "learning_starts": 500, "time_limit": 40}
    task = build(**settings)
    train(task, 5)
    for action in (2, 3, 2):
        act(task, "play", action=action)
    act(task, "teach")
    tensors, plain = flatten(task.state_dict())
    other = build(**settings)
    other.load_state_dict(unflatten({name: value.clone() for name, value in tensors.items()}, plain))
    assert train(other, 10) == train(task, 10)


@pytest.mark.parametrize(
    ("room", "size"),
    [("", (64, 120)), ("120x64", (64, 120)), ("30x90", (21, 30)), ("4000x4000", (160, 240)), ("1x1", (6, 8)), ("240x20", (20, 72))],
)
def test_the_picture_fits_and_shows_as_much_of_the_track_as_there_is_room_for(room: str, size: tuple[int, int]) -> None:
    task = build(**SMALL)
    frame = ask(task, "environment", room=room)
    assert frame.pixels.shape == (*size, 3)
    assert len(np.unique(frame.pixels.numpy())) > 5 or room == "1x1"


@pytest.mark.parametrize(
    ("env", "room", "ends"),
    [("CartPole-v1", "120x30", [True, True]), ("CartPole-v1", "60x60", [False, False]), ("MountainCar-v0", "120x64", [True, True])],
)
def test_a_picture_says_whether_the_track_ends_at_its_edges(env: str, room: str, ends: list[bool]) -> None:
    assert ask(build(**SMALL | {"env": env}), "environment", room=room).ends == ends


def test_grids_show_a_value_and_an_arrow_in_every_cell() -> None:
    task = build(env="FrozenLake-v1", **SMALL | {"hidden": "0"})
    with torch.no_grad():
        task.q_network.head.weight.zero_()
        task.q_network.head.bias.zero_()
        task.q_network.head.weight[2, 0] = 0.75
        task.q_network.head.weight[1, 1] = 0.25
    frame = ask(task, "environment")
    assert frame.pixels.shape == (0, 0, 3)
    assert "FHFH" in frame.text
    table = ask(task, "values")
    assert table.rows[0][:2] == ["→ 0.75", "↓ 0.25"]
    assert (table.rows[1][1], table.rows[3][3]) == ("hole", "goal")
    assert table.shades.numpy()[0, 0] == 1


def test_the_plotted_values_are_those_of_the_network() -> None:
    task = build(**SMALL)
    panel = ask(task, "values", dimensions="0,2")
    assert (panel.column_title, panel.row_title) == ("position", "angle")
    point = task.player.observation.copy()
    found = panel.values.numpy()
    point[0], point[2] = -4.8, 0.418879  # the environment's own bounds, before anything was played
    assert found[0, 0] == pytest.approx(task.policy.q_values(point[None]).max(), abs=1e-5)
    assert set(np.unique(ask(task, "values", show="action").values.numpy())) <= {0, 1}
    with pytest.raises(SettingsError, match="--dimensions 0,4 is not there"):
        ask(task, "values", dimensions="0,4")


def test_the_plot_hatches_what_no_observation_in_the_buffer_reaches() -> None:
    task = build(**SMALL)
    assert ask(task, "values").hatched is None  # nothing was played yet
    train(task, 150)
    panel = ask(task, "values", dimensions="2,3")
    hatched = panel.hatched.numpy().astype(bool)
    assert "hatched: not in the replay buffer" in panel.caption
    seen = task.replay.observations[: task.replay.written]
    x, y = (np.linspace(*task.panels()._span(number), count) for number, count in ((2, 41), (3, 25)))
    nearest = {
        (24 - int(np.abs(y - b).argmin()), int(np.abs(x - a).argmin())) for a, b in seen[:, 2:] if x[0] <= a <= x[-1] and y[0] <= b <= y[-1]
    }
    assert len(nearest) > 50
    assert not any(hatched[place] for place in nearest)
    assert hatched.sum() > hatched.size / 2  # 150 steps leave most of the plane unseen


def test_states_that_the_buffer_does_not_hold_stand_in_brackets() -> None:
    task = build(env="CliffWalking-v1", **SMALL | {"hidden": "0"})
    assert "(" not in ask(task, "values").rows[0][0]
    train(task, 12)
    table = ask(task, "values")
    assert table.caption.startswith("(in brackets): not in the replay buffer")
    seen = set(task.replay.observations[: task.replay.written].tolist())
    cells = [cell for row in table.rows for cell in row]
    assert {state for state, cell in enumerate(cells) if cell[0] != "(" and cell not in ("cliff", "goal")} == seen
    assert sum(cell[0] == "(" for cell in cells) > 20


def test_bars_that_stand_side_by_side_say_of_which_training_step_they_are() -> None:
    task = build(**SMALL)
    train(task, 30)
    assert ask(task, "q_values").caption.endswith(", training step 30")
    assert ask(task, "environment").facts["trained for"] == "30 steps"
    train(task, 1)
    assert act(task, "watch").facts["trained for"] == "31 steps"


@pytest.mark.parametrize("dueling", [False, True])
def test_an_edited_state_is_valued_beside_the_watched_one(dueling: bool) -> None:
    task = build(**SMALL | {"dueling": dueling})
    train(task, 200)
    bars = ask(task, "q_values", state="0.5, -1, .1,2e-1")
    with torch.no_grad():
        edited, watched = task.q_network(torch.tensor([[0.5, -1.0, 0.1, 0.2], task.player.observation.tolist()]))
    assert bars.values == pytest.approx(edited.tolist(), rel=1e-5)
    assert bars.second == pytest.approx(watched.tolist(), rel=1e-5)
    assert bars.names == ["edited state", "watched state"]
    assert bars.chosen == int(edited.argmax())
    assert bars.figure.startswith("V " if dueling else task.player.action_names[bars.chosen])
    numbers, _, action = bars.caption.partition("; the best action in the watched state is ")
    assert numbers == "position 0.5, velocity -1, angle 0.1, angular velocity 0.2"
    assert action == task.player.action_names[int(watched.argmax())]
    alone = ask(task, "q_values")
    assert ask(task, "q_values", state=" ") == alone
    assert alone.values == pytest.approx(bars.second)


def test_the_shipped_agent_pushes_to_the_side_to_which_the_edited_pole_leans(dlplay: Dlplay) -> None:
    def best(angle: float) -> str:
        told = dlplay("dqn", "--headless", "--panel", "q_values", "--state", f"0,0,{angle},0", "--threads", "1", "--json")
        assert (told.status, told.err) == (0, "")
        answer = json.loads(told.out)
        return str(answer["rows"][answer["chosen"]]["label"])

    assert [best(angle) for angle in (-0.1, -0.05, 0.05, 0.1)] == ["push left", "push left", "push right", "push right"]


def test_an_edited_state_of_a_grid_is_its_number() -> None:
    task = build(env="FrozenLake-v1", **SMALL)
    bars = ask(task, "q_values", state="5")
    assert bars.values == pytest.approx(task.policy.q_values(np.array([5]))[0].tolist())
    assert bars.second == pytest.approx(task.player.q_values().tolist())
    assert bars.caption.startswith("state 5; ")


CARTPOLE = "give the 4 numbers of an observation of CartPole-v1: position, velocity, angle, angular velocity"


@pytest.mark.parametrize(
    ("env", "state", "words"),
    [
        ("CartPole-v1", "0,0,0.1", f"--state 0,0,0.1 has 3 numbers; {CARTPOLE}"),
        ("CartPole-v1", "0,0,0,0,0", f"--state 0,0,0,0,0 has 5 numbers; {CARTPOLE}"),
        ("CartPole-v1", "0,0,left,0", f"--state 0,0,left,0: 'left' is not a finite number; {CARTPOLE}"),
        ("CartPole-v1", "0,0,,0", f"--state 0,0,,0: '' is not a finite number; {CARTPOLE}"),
        ("CartPole-v1", "0,0,nan,0", f"--state 0,0,nan,0: 'nan' is not a finite number; {CARTPOLE}"),
        ("CartPole-v1", "0,0,1e39,0", f"--state 0,0,1e39,0: '1e39' is not a finite number; {CARTPOLE}"),
        ("FrozenLake-v1", "16", "--state 16: FrozenLake-v1 has no such state; give one of 0 to 15"),
        ("FrozenLake-v1", "-1", "--state -1: FrozenLake-v1 has no such state; give one of 0 to 15"),
        ("FrozenLake-v1", "1.5", "--state 1.5: FrozenLake-v1 has no such state; give one of 0 to 15"),
        ("FrozenLake-v1", "0,0", "--state 0,0: FrozenLake-v1 has no such state; give one of 0 to 15"),
    ],
)
def test_a_state_that_is_none_is_refused_with_the_way_out(env: str, state: str, words: str) -> None:
    task = build(env=env, **SMALL)
    with pytest.raises(SettingsError) as caught:
        ask(task, "q_values", state=state)
    assert str(caught.value) == words
    assert caught.value.field == "state"


def test_the_buffer_can_be_browsed() -> None:
    task = build(**SMALL, time_limit=12)
    train(task, 60)
    first, later = ask(task, "replay"), ask(task, "replay", start=20)
    assert len(first.rows) == len(later.rows) == 20
    assert [row[0] for row in later.rows] == [str(number) for number in range(20, 40)]
    assert {row[4] for row in [*first.rows, *later.rows]} >= {"", "truncated"}
    assert "sampled" in ask(build(**SMALL, prioritised=True), "replay").columns
    assert ask(task, "replay", start=1000).rows == []


def test_the_result_of_the_previous_episode_is_shown() -> None:
    task = build(**SMALL, time_limit=3)
    assert "previous" not in act(task, "watch", steps=3).facts
    assert act(task, "watch", steps=1).facts["previous"] == "return 3 in 3 steps"


@pytest.mark.parametrize(("env", "fps", "idle"), [("CartPole-v1", 50, None), ("MountainCar-v0", 30, 1), ("FrozenLake-v1", 0, None)])
def test_an_environment_says_how_fast_it_runs_and_what_does_nothing(env: str, fps: float, idle: int | None) -> None:
    frame = ask(build(env=env, **SMALL), "environment")
    assert (frame.fps, frame.idle) == (fps, idle)


def test_a_key_that_is_held_takes_several_steps_and_the_end_stops_them() -> None:
    task = build(**SMALL)
    assert act(task, "play", action=0, steps=3).facts["step"] == "3"
    frame = act(task, "play", action=0, steps=500)
    assert frame.ended
    assert int(frame.facts["step"]) < 50
