"""The recurrent cells against PyTorch's own, the carried state, the four problems, exact resume in mid-text, and the panels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dlplay.architectures.recurrent import card, panels
from dlplay.architectures.recurrent.model import CELLS, PARTS, Clamp, MinimalGRU, Recurrent, cell_step
from dlplay.architectures.recurrent.problems.adding import AddingProblem, adding_batch
from dlplay.architectures.recurrent.problems.copying import GO, RECALLED, SYMBOLS, CopyProblem, copy_batch
from dlplay.architectures.recurrent.problems.series import SeriesProblem, autoregression, forecast
from dlplay.architectures.recurrent.problems.text import TextProblem
from dlplay.architectures.recurrent.settings import RecurrentSettings
from dlplay.architectures.recurrent.task import RecurrentTask
from dlplay.data.series import Series
from dlplay.engine import state
from dlplay.engine.errors import DataError
from dlplay.engine.panels import Array, Bars, HeatMap, Lines, Tokens
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import looking
from tests.rooms import Gate, RoomFacts
from tests.samples import CANDIDATES, WORDS

facts = RoomFacts(
    small={"text": "{text}", "width": 24, "embedding": 16, "block_size": 8, "batch": 8},
    easy={"dropout": 0.0, "warmup": 0, "weight_decay": 0.0, "lr": 0.03},
    gates=[
        Gate(1.30, beaten_by=("6-gram", "7-gram", "8-gram")),
        Gate(1.2306, preset="two-layers"),  # the 8-gram
        Gate(0.01, seeds=3, preset="adding-lstm"),
        Gate(0.01, seeds=3, preset="adding-gru"),
    ],
    pictured={
        "next_token": CANDIDATES,
        "prompt_tokens": Tokens(words=WORDS, values=[None, 0.02, 0.61], text="the value of", figure="perplexity 9.05"),
        "activations": HeatMap(
            values=Array.of(np.sin(np.arange(240.0).reshape(8, 30))), columns=[str(i) for i in range(30)], signed=True, row_title="unit",
        ),
    },
    waits_for="18.5 equally likely",
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
ORACLES: dict[str, Any] = {
    "lstm": nn.LSTMCell,
    "gru": nn.GRUCell,
    "rnn-tanh": lambda x, h: nn.RNNCell(x, h, nonlinearity="tanh"),
    "rnn-relu": lambda x, h: nn.RNNCell(x, h, nonlinearity="relu"),
}


@pytest.fixture(scope="module")
def own_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Lines of brackets that open and close, with some order in them."""
    pen = np.random.default_rng(0)
    lines = [f"({pen.choice(['one', 'two', 'three'])}) and {pen.choice(['so on', 'no more'])}; {number % 7}." for number in range(250)]
    path = tmp_path_factory.mktemp("text") / "own.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def build(text: str = "reference", assets: dict[str, Any] | None = None, **changes: Any) -> RecurrentTask:
    small = {"text": text, "width": 16, "embedding": 8, "block_size": 10, "batch": 4, "warmup": 5, "steps": 60, "lr": 0.01, "device": "cpu"}
    torch.manual_seed(0)
    return RecurrentTask(make(RecurrentSettings, small | changes), CPU, assets)


def train(task: RecurrentTask, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        losses.append(float(task.train_step()["train_loss"]))
        task.step += 1
    return losses


def scrambled(cell: str, **more: Any) -> Recurrent:
    torch.manual_seed(1)
    model = Recurrent(7, cell=cell, **{"vocabulary": 11, "embedding": 5, "width": 6, "layers": 2} | more)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.eval()


# --- cells ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_the_equations_are_pytorchs_cells(cell: str) -> None:
    torch.manual_seed(0)
    oracle = ORACLES[cell](5, 6)
    x, h, c = torch.randn(3, 5), torch.randn(3, 6), torch.randn(3, 6)
    wanted = oracle(x, (h, c) if cell == "lstm" else h)
    from_x = nn.functional.linear(x, oracle.weight_ih, oracle.bias_ih)
    from_h = nn.functional.linear(h, oracle.weight_hh, oracle.bias_hh)
    parts = cell_step(cell, from_x, from_h, {"hidden": h, "cell": c})
    torch.testing.assert_close(parts["hidden"], wanted[0] if cell == "lstm" else wanted)
    if cell == "lstm":
        torch.testing.assert_close(parts["cell"], wanted[1])
    assert set(PARTS[cell]) == set(parts)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_written_out_net_gives_what_the_fused_one_gives(cell: str, bidirectional: bool) -> None:
    model = scrambled(cell, bidirectional=bidirectional, head=4)
    tokens = torch.randint(11, (3, 9))
    hidden, after = model(tokens)
    trace = model.trace(tokens)
    torch.testing.assert_close(trace.outputs, model.read_out(hidden), rtol=1e-4, atol=1e-5)
    forward = model.directions * (model.layers - 1)
    torch.testing.assert_close(trace.part(1, "hidden")[:, -1], after[0][forward], rtol=1e-4, atol=1e-5)
    if not bidirectional:
        torch.testing.assert_close(trace.part(0, "hidden")[:, -1], after[0][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(trace.part(1, "hidden"), hidden, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_the_written_out_cells_gradients_are_right(cell: str) -> None:
    model = scrambled(cell, vocabulary=0, inputs=2, width=3).double()
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: model.trace(x).outputs, (x,))


def test_forget_gates_begin_open_by_the_forget_bias_counted_once() -> None:
    model = Recurrent(2, cell="lstm", width=6, layers=2, forget_bias=1.5)
    for layer in range(2):
        both = getattr(model.rnn, f"bias_ih_l{layer}") + getattr(model.rnn, f"bias_hh_l{layer}")
        assert both[6:12].tolist() == [1.5] * 6
        assert both[:6].abs().max() < 1
        assert both[12:].abs().max() < 1
    gate = model.trace(torch.zeros(1, 1, 1)).part(0, "forget gate")
    torch.testing.assert_close(gate, torch.full((1, 1, 6), 1 / (1 + math.exp(-1.5))))


@pytest.mark.parametrize("cell", CELLS)
def test_chunks_with_the_state_carried_are_one_long_pass(cell: str) -> None:
    model = scrambled(cell)
    tokens = torch.randint(11, (2, 20))
    whole, _ = model(tokens)
    carried, parts = None, []
    for chunk in torch.split(tokens, 7, dim=1):
        hidden, carried = model(chunk, carried)
        parts.append(hidden)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    first = model.trace(tokens[:, :8])
    rest = model.trace(tokens[:, 8:], before=[steps[-1] for steps in first.layers])
    torch.testing.assert_close(torch.cat([first.outputs, rest.outputs], dim=1), model.read_out(whole), rtol=1e-4, atol=1e-5)


def test_a_clamped_unit_has_its_value_at_every_step_and_others_read_it() -> None:
    model = scrambled("gru")
    tokens = torch.randint(11, (1, 9))
    free, held = model.trace(tokens), model.trace(tokens, Clamp(0, 2, -0.5))
    assert held.part(0, "hidden")[..., 2].tolist() == [[-0.5] * 9]
    assert not torch.allclose(held.part(1, "hidden"), free.part(1, "hidden"))
    torch.testing.assert_close(held.part(0, "hidden")[:, 0, :2], free.part(0, "hidden")[:, 0, :2])


# --- text ----------------------------------------------------------------------------------------------------------------------------


def test_a_text_that_does_not_fill_the_streams_is_refused_in_words(own_text: str) -> None:
    with pytest.raises(DataError, match=r"own\.txt: .* does not fill 4096 streams"):
        build(own_text, batch=4096, block_size=8)
    task = build(own_text, assets=build(own_text).assets(), batch=4096, block_size=8)
    with pytest.raises(DataError, match="does not fill 4096 streams"):
        task.train_step()


def test_the_evaluation_is_that_of_one_long_pass_over_the_held_out_text(own_text: str) -> None:
    task = build(own_text)
    train(task, 40)
    problem = task.problem
    assert isinstance(problem, TextProblem)
    with looking(task):
        found = task.evaluate()
        text = torch.from_numpy(np.concatenate([problem.text.corpus.train, problem.text.corpus.held_out]))
        count = len(problem.text.corpus.held_out)
        logits = task.model.read_out(task.model(text[None, :-1])[0])[0, -count:]
        loss = nn.functional.cross_entropy(logits, text[-count:]).item()
    assert found["val_loss"] == pytest.approx(loss, rel=1e-4)
    assert found["val_perplexity"] == pytest.approx(math.exp(found["val_loss"]))
    assert found["val_bits_per_character"] == pytest.approx(found["val_loss"] / math.log(2))
    assert found["val_top1"] == pytest.approx(float((logits.argmax(-1) == text[-count:]).float().mean()), abs=0.005)


def test_carrying_the_state_reads_more_than_a_chunk(own_text: str) -> None:
    """A symbol that comes every seventh line can only be known from before the chunk."""
    task = build(own_text)
    assert isinstance(task.problem, TextProblem)
    inputs, _ = task.problem.text.streams.next()
    hidden, carried = task.model(inputs)
    again, _ = task.model(inputs, carried)
    assert not torch.allclose(hidden, again)


def test_training_and_resuming_in_mid_text_goes_on_with_the_state_that_was_carried(own_text: str) -> None:
    task = build(own_text)
    train(task, 7)
    tensors, plain = state.flatten(task.state_dict())
    weights = {name: value.clone() for name, value in task.weights().items()}
    saved = {name: value.clone() for name, value in tensors.items()}
    on = train(task, 100)  # over the end of the streams, too
    other = build(own_text, assets=task.assets(), seed=5)
    other.load_weights(weights)
    other.load_state_dict(state.unflatten(saved, plain))
    assert train(other, 100) == on
    forgetful = build(own_text)
    forgetful.load_weights(weights)
    forgetful.load_state_dict(state.unflatten({name: value for name, value in saved.items() if "/state/" not in name}, plain))
    assert train(forgetful, 1) != on[:1]


def test_another_text_is_refused_when_a_run_goes_on(own_text: str, tmp_path: Path) -> None:
    task = build(own_text)
    saved = task.state_dict()
    changed = tmp_path / "changed.txt"
    changed.write_text(Path(own_text).read_text() + " and another end")
    with pytest.raises(DataError, match="no longer those that this run began with"):
        build(str(changed), assets=task.assets()).load_state_dict(saved)


def test_a_model_whose_text_is_gone_can_still_be_asked(own_text: str, tmp_path: Path) -> None:
    task = build(str(tmp_path / "gone.txt"), assets=build(own_text).assets())
    assert "no text" in task.data
    with looking(task):
        assert isinstance(task.panel("next_token", make(card.panel("next_token").options, {"prompt": "(on"})), Bars)
    with pytest.raises(DataError, match=r"gone\.txt"):
        task.train_step()


def test_windows_predict_the_one_token_after_them(own_text: str) -> None:
    task = build(own_text, predict="last", tokens="word", min_count=1, layers=2, head=12, batch=16, dropout=0.0, lr=0.02, steps=150)
    losses = train(task, 150)
    assert np.mean(losses[-10:]) < 0.7 * losses[0]
    problem = task.problem
    assert isinstance(problem, TextProblem)
    with looking(task):
        found = task.evaluate()
        nats = []
        text = torch.from_numpy(np.concatenate([problem.text.corpus.train[-10:], problem.text.corpus.held_out]))
        for place in range(len(problem.text.corpus.held_out)):
            logits = task.model.read_out(task.model(text[None, place : place + 10])[0][:, -1])
            nats.append(nn.functional.cross_entropy(logits, text[place + 10 : place + 11]).item())
    assert found["val_loss"] == pytest.approx(np.mean(nats), rel=1e-4)
    assert "val_bits_per_character" not in found


def test_reading_from_the_end_is_refused_where_the_answer_stands_there() -> None:
    for kind in ("text", "series"):
        with pytest.raises(SettingsError, match=f"--task {kind}") as refused:
            make(RecurrentSettings, {"task": kind, "bidirectional": True})
        assert refused.value.field == "bidirectional"
    assert make(RecurrentSettings, {"task": "copy", "bidirectional": True}).bidirectional


def test_a_series_is_not_passed_over_in_silence_by_a_task_that_reads_none() -> None:
    for kind in ("text", "adding", "copy"):
        with pytest.raises(SettingsError, match="--task series") as refused:
            make(RecurrentSettings, {"task": kind, "data": "own.csv"})
        assert refused.value.field == "data"
    assert make(RecurrentSettings, {"task": "series", "data": "own.csv"}).data == str(Path("own.csv").absolute())


@pytest.mark.parametrize("kind", ["adding", "copy"])
def test_no_run_trains_on_what_is_held_out(kind: str) -> None:
    """torch keeps 32 bits of a seed: whatever the held-out sequences were drawn with, some run has it."""
    tested: set[bytes] = set()
    for seed in (0, 1, 7, 2**31 - 1):
        task = build(task=kind, length=12, seed=seed)
        assert isinstance(task.problem, AddingProblem | CopyProblem)
        tested = {row.numpy().tobytes() for row in task.problem.held_out[0]}
        fresh = (adding_batch if kind == "adding" else copy_batch)(1000, 12, task.problem.generator)[0]
        assert tested.isdisjoint(row.numpy().tobytes() for row in fresh)
    assert len(tested) == 1000


def test_a_bidirectional_net_adds_after_each_direction_has_read_everything() -> None:
    """The backward units have read the whole sequence at the first place; at the last one they have read a single number."""
    task = build(task="adding", length=12, bidirectional=True)
    numbers = task.problem.example(0, 0).values.clone().requires_grad_()
    model = task.model
    (slope,) = torch.autograd.grad(model.final_hidden(model(numbers)[0])[:, model.width :].sum(), numbers)
    assert (slope[0, :, 0] != 0).all()
    train(task, 2)
    predicted = ask(task, "next_token", prompt="0.3 0.9* 0.5 0.4*").figure
    ablated = ask(task, "next_token", prompt="0.3 0.9* 0.5 0.4*", intervention="ablate", unit=1)
    assert ablated.labels[-1] == "predicted, unit intact"
    assert ablated.values[-1] == pytest.approx(max(0.0, float(predicted)), abs=1e-3)
    assert len(ask(task, "gradient_flow").x) == 12


def test_dropout_can_change_in_mid_run(own_text: str) -> None:
    task = build(own_text, layers=2)
    task.change(make(RecurrentSettings, {"dropout": 0.5}))
    assert (task.model.dropout, task.model.rnn.dropout) == (0.5, 0.5)


# --- adding, copy, series ------------------------------------------------------------------------------------------------------------


def test_the_adding_problem_marks_one_number_in_each_half() -> None:
    x, sums = adding_batch(500, 9, torch.Generator().manual_seed(0))
    for numbers, total in zip(x, sums, strict=True):
        marked = numbers[:, 1].nonzero()[:, 0].tolist()
        assert len(marked) == 2
        assert marked[0] < 4 <= marked[1]
        assert float(total) == pytest.approx(sum(float(numbers[place, 0]) for place in marked))
    assert float((sums - 1).square().mean()) == pytest.approx(1 / 6, rel=0.15)


def test_copy_memory_asks_for_the_symbols_after_the_gap() -> None:
    x, symbols = copy_batch(3, 5, torch.Generator().manual_seed(0))
    assert x.shape == (3, 25)
    for tokens, wanted in zip(x.tolist(), symbols.tolist(), strict=True):
        assert tokens == [*wanted, 0, 0, 0, 0, GO, *[0] * RECALLED]
        assert set(wanted) <= set(range(1, SYMBOLS + 1))


def test_copying_over_a_short_gap_is_learnt() -> None:
    task = build(task="copy", cell="gru", length=2, width=48, batch=64, lr=0.02, dropout=0.0, weight_decay=0.0, steps=200)
    train(task, 200)
    with looking(task):
        assert task.evaluate()["accuracy"] > 0.25  # chance is an eighth
    assert task.baselines()["accuracy"] == {"chance": 0.125}


def test_the_sines_are_forecast_better_than_by_standing_still() -> None:
    task = build(task="series", width=24, batch=16, block_size=40, lr=0.01, dropout=0.0, steps=200)
    train(task, 200)
    with looking(task):
        found = task.evaluate()
    assert found["val_loss"] < task.baselines()["val_loss"]["persistence"]
    assert found["test_mse"] < task.baselines()["test_mse"]["persistence"]


def test_the_series_baselines_are_what_their_names_say() -> None:
    task = build(task="series", horizon=3)
    problem = task.problem
    assert isinstance(problem, SeriesProblem)
    series = problem.dataset
    assert isinstance(series, Series)
    scaled = (series.values - series.train.mean()) / series.train.std()
    cut = len(series.train)
    found = problem.baselines()
    assert found["val_loss"]["persistence"] == pytest.approx(np.mean((scaled[cut:] - scaled[cut - 1 : -1]) ** 2), rel=1e-4)
    assert found["val_loss"]["constant"] == pytest.approx(np.mean(scaled[cut:] ** 2), rel=1e-4)
    contexts, truth = problem.forecasts()
    assert truth.shape[1] == 3
    assert found["test_mse"]["persistence"] == pytest.approx(float((truth - contexts[:, -1:]).square().mean()), rel=1e-4)
    pure = np.sin(np.arange(400) / 5)
    weights = autoregression(pure, 2)
    np.testing.assert_allclose(weights, [-1, 2 * math.cos(0.2), 0], atol=1e-8)  # a sine obeys this recurrence exactly


def test_a_forecast_feeds_on_its_own_predictions() -> None:
    model = scrambled("lstm", vocabulary=0, inputs=1)
    model.output = nn.Linear(6, 1)
    context = torch.randn(2, 8)
    predicted = forecast(model, context, 3)
    for place in range(3):
        whole = torch.cat([context, predicted[:, :place]], dim=1)
        torch.testing.assert_close(predicted[:, place], model.read_out(model(whole[..., None])[0])[:, -1, 0])


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"tokens": "word", "min_count": 1}, {"val_loss", "val_perplexity", "val_perplexity_known", "val_top1"}),
        ({"tokens": "char"}, {"val_loss", "val_perplexity", "val_top1", "val_bits_per_byte", "val_bits_per_character"}),
        ({"task": "adding"}, {"val_loss", "test_mse"}),
        ({"task": "copy"}, {"val_loss", "val_perplexity", "val_top1", "accuracy"}),
        ({"task": "series"}, {"val_loss", "test_mse"}),
    ],
)
def test_scripts_can_rely_on_the_names_of_what_is_measured(own_text: str, values: dict[str, Any], names: set[str]) -> None:
    task = build(own_text, **values)
    train(task, 1)
    with looking(task):
        assert set(task.evaluate()) == names
    assert set(task.baselines()) == names
    assert "grad_norm" in task.train_step()


# --- panels --------------------------------------------------------------------------------------------------------------------------


def ask(task: RecurrentTask, panel: str, **options: Any) -> Any:
    with looking(task):
        return task.panel(panel, make(card.panel(panel).options, options))


def test_clamping_a_unit_changes_the_prediction_and_shows_both(own_text: str) -> None:
    task = build(own_text)
    train(task, 30)
    free = ask(task, "next_token", prompt="(one", top_k=0)
    held = ask(task, "next_token", prompt="(one", top_k=0, unit=3, intervention="clamp", clamp_at=1)
    assert free.second == []
    assert held.names == ["clamped", "intact"]
    before = dict(zip(free.labels, free.values, strict=True))
    assert {label: value for label, value in zip(held.labels, held.second, strict=True) if label in before} == pytest.approx(
        {label: before[label] for label in held.labels if label in before}
    )
    assert held.values != pytest.approx(held.second)
    assert "unit 3 of layer 0 clamped at 1" in held.caption
    assert "unit 3 of layer 0 ablated" in ask(task, "next_token", prompt="(one", unit=3, intervention="ablate").caption
    assert ask(task, "passage", prompt="(one", words=20) != ask(task, "passage", prompt="(one", words=20, unit=3, intervention="ablate")


def test_activations_are_the_models_own_and_a_picked_row_is_followed(own_text: str) -> None:
    task = build(own_text)
    train(task, 10)
    heat = ask(task, "activations", read="prompt", prompt="(one) and", part="forget gate")
    assert isinstance(heat, HeatMap)
    assert heat.values.shape == (16, 9)
    assert heat.columns == list("(one)␣and")
    assert (heat.values.numpy() > 0).all()
    assert (heat.values.numpy() < 1).all()
    followed = ask(task, "unit", read="prompt", prompt="(one) and", part="forget gate", unit=5)
    assert isinstance(followed, Tokens)
    np.testing.assert_allclose(np.array(followed.values, dtype=float), heat.values.numpy()[5], rtol=1e-5)
    swapped = ask(task, "activations", read="prompt", prompt="(one) and", part="update")
    assert "lstm has no update" in swapped.caption
    hidden = ask(task, "unit", read="prompt", prompt="(one", unit=2)
    assert isinstance(task.problem, TextProblem)
    ids = torch.tensor([task.problem.tokenizer.encode("(one")])
    with looking(task):
        own = task.model(ids)[0][0, :, 2]
    np.testing.assert_allclose(hidden.values, (own + 1) / 2, atol=1e-5)


def test_the_gates_of_a_unit_say_what_it_keeps_of_its_state(own_text: str) -> None:
    task = build(own_text)
    train(task, 10)
    shown = ask(task, "gates", read="prompt", prompt="(one) and", unit=5)
    assert isinstance(shown, Lines)
    assert (list(shown.series), shown.x_names) == (["input gate", "forget gate", "output gate", "hidden"], list("(one)␣and"))
    assert isinstance(task.problem, TextProblem)
    assert task.model.tokens is not None
    ids = torch.tensor(task.problem.tokenizer.encode("(one) and"))
    rnn, hidden, cell = task.model.rnn, torch.zeros(16), torch.zeros(16)
    for step, x in enumerate(task.model.tokens(ids).detach()):  # the equations by hand
        a = rnn.weight_ih_l0 @ x + rnn.bias_ih_l0 + rnn.weight_hh_l0 @ hidden + rnn.bias_hh_l0
        i, f, g, o = a.detach().split(16)
        kept, cell = cell, f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        gates = [float(each[5]) for each in (i.sigmoid(), f.sigmoid(), o.sigmoid(), hidden)]
        assert [values[step] for values in shown.series.values()] == pytest.approx(gates, abs=1e-5)
        assert abs(float(cell[5]) - gates[1] * float(kept[5])) <= gates[0]  # what the panel says of both gates


def test_a_gru_keeps_what_its_update_gate_says_and_a_plain_net_has_no_gates(own_text: str) -> None:
    shown = ask(build(own_text, cell="gru"), "gates", read="prompt", prompt="(one) and", unit=3)
    update, hidden = (np.array(shown.series[name]) for name in ("update", "hidden"))
    assert list(shown.series) == ["reset", "update", "hidden"]
    assert (abs(np.diff(hidden)) <= 2 * (1 - update[1:])).all()
    plain = ask(build(own_text, cell="rnn-tanh"), "gates", unit=99, intervention="ablate")
    assert "rnn-tanh has no gates: its hidden state alone · unit 15 of layer 0 ablated" in plain.caption
    assert plain.series == {"hidden": [0.0] * 96}


def test_the_gradient_through_time_is_what_nudging_the_hidden_state_finds() -> None:
    task = build(task="adding", cell="rnn-tanh", length=20, width=8)
    panel = ask(task, "gradient_flow", back=20)
    assert isinstance(panel, Lines)
    assert set(panel.series) == {"this net", *CELLS}
    own = panel.series["this net"]
    assert own == pytest.approx(panel.series["rnn-tanh"])  # nothing was trained yet
    assert len(own) == 20
    x, sums = task.problem.last_step(0, 20)
    model = task.model.double().eval()
    x, sums = x.double(), sums.double()
    hidden = [parts["hidden"] for parts in model.trace(x).layers[0]]
    weights = dict(model.rnn.named_parameters())
    of_input, of_state = ((weights[f"weight_{way}_l0"], weights[f"bias_{way}_l0"]) for way in ("ih", "hh"))

    def loss_with(nudge: Tensor, back: int) -> Tensor:
        """The loss when the hidden state `back` steps before the last is another."""
        h = hidden[-1 - back] + nudge
        for step in x[:, len(hidden) - back :].unbind(1):
            h = torch.tanh(nn.functional.linear(step, *of_input) + nn.functional.linear(h, *of_state))
        return task.problem.criterion(model.read_out(h), sums)

    for back in (0, 1, 5):
        nudge = torch.zeros_like(hidden[0], requires_grad=True)
        [gradient] = torch.autograd.grad(loss_with(nudge, back), nudge)
        assert own[back] == pytest.approx(gradient.norm().item(), rel=1e-4)


def test_gates_let_the_gradient_through_where_a_plain_net_loses_it() -> None:
    task = build(task="adding", length=60, width=32, forget_bias=3.0)
    series = ask(task, "gradient_flow", back=60).series
    kept = {name: (values[50] or 0.0) / values[0] for name, values in series.items()}
    assert kept["lstm"] > 1000 * kept["rnn-tanh"]


@pytest.mark.parametrize("length", [1, 2, 7, 16, 33])
def test_a_minimal_gru_computes_all_steps_at_once_as_one_after_the_other(length: int) -> None:
    torch.manual_seed(0)
    cell = MinimalGRU(5).double()
    x = torch.randn(3, length, 5, dtype=torch.float64, requires_grad=True)
    z, candidates = torch.sigmoid(cell.update(x)), cell.candidate(x)
    state, states = torch.zeros(3, 5, dtype=torch.float64), []
    for step in range(length):
        state = (1 - z[:, step]) * state + z[:, step] * candidates[:, step]
        states.append(state)
    expected, found = torch.stack(states, 1), cell(x)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    for one, other in zip(*(torch.autograd.grad((out * weights).sum(), [x, *cell.parameters()]) for out in (found, expected)), strict=True):
        torch.testing.assert_close(one, other)


def test_cost_is_measured_once_for_each_measurement(own_text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build(own_text)
    monkeypatch.setattr(panels, "LENGTHS", (4, 8))
    monkeypatch.setattr(panels, "SECONDS", 0.0)
    assert ask(task, "cost_against_length").x == []  # only when somebody asks for it
    first = ask(task, "cost_against_length", measurement=1)
    assert list(first.series) == ["lstm", "minimal GRU", "convolution", "attention"]
    assert all(value > 0 for values in first.series.values() for value in values)
    assert ask(task, "cost_against_length", measurement=1) == first
    ask(task, "cost_against_length", measurement=2)
    assert len(task.layer_times) == 2


def test_numbers_and_letters_can_be_typed_where_the_task_is_made_of_them() -> None:
    adding = build(task="adding")
    panel = ask(adding, "next_token", prompt="0.25 0.5* 0.1 0.75*")
    assert panel.values[panel.labels.index("true sum")] == pytest.approx(1.25)
    assert ask(adding, "next_token", prompt="the value of").labels == panel.labels  # a held-out sequence in its place
    copy = build(task="copy", length=4)
    recalled = ask(copy, "passage", prompt="badcafehab")
    assert len(recalled.words) == 10
    assert "read badcafehab" in recalled.caption
    series = build(task="series")
    more = ask(series, "passage", prompt="0.1 0.2 0.3", words=4)
    assert len(more.words) == len(more.text.split()) == 4
    longer = ask(series, "forecast", ahead=80)
    assert [len(curve) for curve in longer.series.values()] == [len(longer.x)] * 2
    assert longer.series["forecast"].count(None) == len(longer.x) - 80
    beyond = ask(series, "forecast", ahead=500, example=22)
    assert beyond.series["truth"][-1] is None
    assert beyond.series["forecast"][-1] is not None
