"""PyTorch's recurrent layers step by step: the fused call's numbers, and what is changed in a layer goes on through time."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlplay import architectures
from dlplay.architectures.recurrent.model import CELLS, PARTS, Clamp, Recurrent
from dlplay.engine import fused, hooks
from dlplay.engine.device import prepare
from dlplay.engine.hooks import applied, attach, find, recorded
from dlplay.engine.interventions import parse
from dlplay.engine.means import MeanActivations
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Bars, HeatMap, Layers, Tokens
from dlplay.engine.settings import SettingsError, make
from tests.conftest import Small

pytestmark = pytest.mark.usefixtures("one_thread", "as_before")

TOKENS = torch.arange(14).view(2, 7) % 9


def net(cell: str, *, layers: int = 2, bidirectional: bool = False) -> Recurrent:
    torch.manual_seed(0)
    model = Recurrent(9, cell=cell, vocabulary=9, embedding=5, width=4, layers=layers, bidirectional=bidirectional).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def no_means(sites: list[hooks.Site]) -> list[Tensor]:
    raise AssertionError("no mean is asked for")


def unchanged(values: Tensor) -> fused.Change:
    return lambda hidden, step, columns: hidden


@torch.no_grad()
def outputs(model: Recurrent, do: str = "", means: Any = no_means, recordings: Any = None) -> Tensor:
    with applied({"net": model}, parse(do), means, recordings):
        return model.read_out(model(TOKENS)[0])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_step_by_step_it_computes_what_the_fused_call_does(cell: str, bidirectional: bool) -> None:
    model = net(cell, bidirectional=bidirectional)
    _, state = model(TOKENS)
    for before in (None, state):
        hidden, after = model(TOKENS, before)
        attached = fused.attach(model.rnn, 0, begin=unchanged)
        same, same_after = model(TOKENS, before)
        attached.remove()
        torch.testing.assert_close(same, hidden, atol=1e-6, rtol=0)
        for one, other in zip(same_after, after, strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
        again, _ = model(TOKENS, before)
        assert torch.equal(again, hidden)
    assert not model.rnn._forward_hooks


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("options", [{"bias": False}, {"batch_first": False}, {"proj_size": 2}, {"dropout": 0.5}])
@torch.no_grad()
def test_every_form_of_the_fused_call_is_known(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    rnn = nn.LSTM(3, 4, 2, **{"batch_first": True} | options).eval()
    x = torch.randn(5, 6, 3)
    wanted, state = rnn(x)
    attached = fused.attach(rnn, 1, begin=unchanged)
    found, after = rnn(x)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    for one, other in zip(after, state, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    torch.testing.assert_close(rnn(x, hx=state)[0], rnn(x, state)[0])
    attached.remove()


@torch.no_grad()
def test_packed_sequences_are_refused_in_words() -> None:
    rnn = nn.GRU(3, 4, batch_first=True)
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(2, 5, 3), torch.tensor([5, 3]), batch_first=True)
    with pytest.raises(SettingsError, match="sequences of one length"), applied({"net": rnn}, parse("net.layers.0=0"), no_means):
        rnn(packed)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_a_unit_that_is_set_is_the_one_that_the_net_of_equations_clamps(cell: str, layer: int) -> None:
    """`trace` runs the cell's equations by itself, and knows no hooks."""
    model = net(cell)
    wanted = model.trace(TOKENS, Clamp(layer, 2, 0.7)).outputs
    torch.testing.assert_close(outputs(model, f"rnn.layers.{layer}[2]=0.7"), wanted, atol=1e-6, rtol=0)
    assert not torch.allclose(wanted, outputs(model))


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_a_unit_set_to_0_is_one_that_nothing_reads(cell: str, layer: int) -> None:
    """Its columns of the recurrent weights, and of the weights of what comes next, are 0."""
    model = net(cell)
    edited = copy.deepcopy(model)
    getattr(edited.rnn, f"weight_hh_l{layer}")[:, 1] = 0
    (edited.rnn.weight_ih_l1 if layer == 0 else edited.output.weight)[:, 1] = 0  # type: ignore[operator, index]
    torch.testing.assert_close(outputs(model, f"rnn.layers.{layer}[1]=0"), outputs(edited), atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_change_goes_on_to_later_steps_alone() -> None:
    model = net("gru")
    changed = (outputs(model, "rnn.layers.0@3*2") != outputs(model, "rnn.layers.0*1")).any(dim=2).all(dim=0).tolist()
    assert changed == [False, False, False, True, True, True, True]


@torch.no_grad()
def test_the_backward_direction_has_the_units_behind_those_of_the_forward_one() -> None:
    """And its effect goes to earlier steps."""
    model = net("lstm", layers=1, bidirectional=True)
    changed = (outputs(model, "rnn.layers.0[4:8]@3=0") != outputs(model, "rnn.layers.0*1")).any(dim=2).all(dim=0).tolist()
    assert changed == [True, True, True, True, False, False, False]


@torch.no_grad()
def test_the_state_that_is_carried_on_is_the_changed_one() -> None:
    model = net("lstm")
    with applied({"net": model}, parse("rnn.layers.1[0]=0.5"), no_means):
        whole, (hidden, _) = model(TOKENS)
        first, state = model(TOKENS[:, :4])
        rest, _ = model(TOKENS[:, 4:], state)
    assert torch.equal(hidden[1, :, 0], torch.full((2,), 0.5))
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole)


@torch.no_grad()
def test_several_layers_and_the_output_are_changed_in_order() -> None:
    model = net("gru")
    both = outputs(model, "rnn.layers.1[0]=0.1; rnn.layers.0[1]=0; rnn.layers.-2[1]+1; rnn[3]=0")
    with applied({"net": model}, parse("rnn.layers.0[1]=1; rnn.layers.1[0]=0.1"), no_means):
        hidden, _ = model(TOKENS)
    torch.testing.assert_close(both, model.read_out(hidden.index_fill(2, torch.tensor(3), 0.0)))


@torch.no_grad()
def test_a_mean_is_that_of_the_layer_and_noise_and_patches_are_its_own() -> None:
    model = net("lstm")
    site = find({"net": model}, "rnn.layers.0")
    with recorded([site]) as [passes]:
        model(TOKENS)
    hidden = passes[0]
    torch.testing.assert_close(hidden, torch.stack([parts["hidden"] for parts in model.trace(TOKENS).layers[0]], dim=1))
    means = MeanActivations({"net": model}, [lambda: model(TOKENS)], lambda: 0)
    torch.testing.assert_close(means([site])[0], hidden.mean(dim=(0, 1)))
    mean = float(hidden[..., 2].mean())
    torch.testing.assert_close(outputs(model, "rnn.layers.0[2]=mean", means), outputs(model, f"rnn.layers.0[2]={mean:.10g}"))
    assert torch.equal(outputs(model, "rnn.layers.0~0.2"), outputs(model, "rnn.layers.0~0.2"))
    patched = outputs(model, "rnn.layers.0=from prompt: the same", recordings=lambda intervention, site: [hidden])
    torch.testing.assert_close(patched, outputs(model))


def test_training_with_a_layer_touched_reaches_its_weights() -> None:
    model = net("gru").train()
    handles = attach({"net": model}, parse("rnn.layers.0[1]=0"), [])
    model.read_out(model(TOKENS)[0]).square().mean().backward()
    for handle in handles:
        handle.remove()
    weight: Tensor = model.rnn.weight_hh_l0  # type: ignore[assignment]
    assert weight.grad is not None
    assert torch.equal(weight.grad[:, 1], torch.zeros(12))  # nothing reads the unit
    assert weight.grad[:, 0].abs().sum() > 0
    assert not model.rnn._forward_hooks


WRONG: list[tuple[str, str]] = [
    ("rnn.layers.2=0", "there is no layer 2 in rnn; its layers are 0 to 1"),
    ("rnn.layers.x=0", "there is no layer x in rnn; its layers are 0 to 1"),
    ("rnn.layers.0[4]=0", "there is no unit 4 of rnn.layers.0; there are 4, from 0 to 3"),
    ("rnn.layers.0=skip", "a recurrent layer is not skipped; set it to 0"),
    ("rnn.layers.0@9=0", "positions of this input are 0 to 6, or -1 to -7 from its end"),
    ('rnn.layers.0["a"]=0', "has no embedding of words"),
]


@pytest.mark.parametrize(("do", "words"), WRONG)
def test_what_cannot_be_done_is_refused_in_words_and_leaves_no_hook(do: str, words: str) -> None:
    model = net("gru")
    with pytest.raises(SettingsError, match=words):
        outputs(model, do)
    assert not model.rnn._forward_hooks


def test_a_star_stands_for_every_layer() -> None:
    model = net("rnn-tanh")
    assert torch.equal(outputs(model, "rnn.layers.*[1]=0"), outputs(model, "rnn.layers.0[1]=0; rnn.layers.1[1]=0"))
    with pytest.raises(SettingsError, match="whatever stands for \\*"):
        outputs(model, "blocks.*=0")


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_panels_of_a_recurrent_net_show_what_was_done_to_a_layer(cell: str, small: Small) -> None:
    """The same as their own clamp, in the states that the intervention reaches."""
    card = architectures.card("recurrent")
    settings = make(card.settings, small("recurrent") | {"device": "cpu", "cell": cell, "layers": 2})
    task = card.load_task()(settings, prepare(settings), None)
    clamp = {"intervention": "clamp", "clamp_at": 0.5, "layer": 0, "unit": 1}
    do = {"do": "rnn.layers.0[1]=0.5", "layer": 0, "unit": 1}
    for name in ("forward", "activations", "unit", "next_token"):
        wanted, found, plain = (panel_of(task, card.panel(name), options) for options in (clamp, do, {"layer": 0, "unit": 1}))
        if isinstance(found, HeatMap):
            assert isinstance(wanted, HeatMap)
            assert found.values.numpy() == pytest.approx(wanted.values.numpy(), abs=1e-5)
            assert found.values.numpy()[1] == pytest.approx(0.5)
        elif isinstance(found, Tokens):
            assert isinstance(wanted, Tokens)
            assert found.values == pytest.approx(wanted.values)
        elif isinstance(found, Layers):
            assert isinstance(wanted, Layers)
            assert isinstance(plain, Layers)
            assert found.layers[1].values == pytest.approx(wanted.layers[1].values, abs=1e-5)
            assert found.layers[1].values != plain.layers[1].values
        else:
            assert isinstance(found, Bars)
            assert isinstance(wanted, Bars)
            assert dict(zip(found.labels, found.values, strict=True)) == pytest.approx(dict(zip(wanted.labels, wanted.values, strict=True)))
        assert "do not act" not in found.caption


# --- gates and cells ----------------------------------------------------------------------------------------------------------------

ROWS = {"lstm": ("input_gate", "forget_gate", "candidate", "output_gate"), "gru": ("reset", "update", "candidate")}
"""Gates in the order of their rows in PyTorch's weights."""
EVERY_GATE = [(cell, gate) for cell, gates in ROWS.items() for gate in gates]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
@torch.no_grad()
def test_gates_left_as_they_are_give_the_fused_calls_numbers(cell: str, bidirectional: bool) -> None:
    model = net(cell, bidirectional=bidirectional)
    do = "; ".join(f"rnn.layers.{layer}.{gate}*1" for layer in range(2) for gate in fused.GATES[model.rnn.mode])
    torch.testing.assert_close(outputs(model, do), outputs(model), atol=1e-6, rtol=0)
    assert not model.rnn._forward_hooks


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize(("cell", "gate"), EVERY_GATE)
@torch.no_grad()
def test_a_gate_set_to_0_is_one_whose_bias_shuts_it(cell: str, gate: str, layer: int) -> None:
    """Its unit's rows of the weights are 0, and its bias is far below 0, where the sigmoid is 0; of a candidate 0, where the tanh is."""
    model = net(cell)
    edited, unit = copy.deepcopy(model), 2
    row = ROWS[cell].index(gate) * 4 + unit
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(edited.rnn, f"{kind}_l{layer}")[row] = 0
    getattr(edited.rnn, f"bias_ih_l{layer}")[row] = 0 if gate == "candidate" else -200
    found = outputs(model, f"rnn.layers.{layer}.{gate}[{unit}]=0")
    torch.testing.assert_close(found, outputs(edited), atol=1e-6, rtol=0)
    assert not torch.allclose(found, outputs(model))


@torch.no_grad()
def test_a_cell_set_to_0_is_one_that_forgets_all_and_takes_in_nothing() -> None:
    model = net("lstm")
    emptied = outputs(model, "rnn.layers.0.cell[1]=0")
    torch.testing.assert_close(emptied, outputs(model, "rnn.layers.0.forget_gate[1]=0; rnn.layers.0.input_gate[1]=0"), atol=1e-6, rtol=0)
    torch.testing.assert_close(emptied, outputs(model, "rnn.layers.0[1]=0"), atol=1e-6, rtol=0)
    with applied({"net": model}, parse("rnn.layers.1.cell[0]=0.5"), no_means):
        _, (_, cell) = model(TOKENS)
    assert torch.equal(cell[1, :, 0], torch.full((2,), 0.5))


@torch.no_grad()
def test_a_cell_that_is_changed_once_is_remembered() -> None:
    model = net("lstm", layers=1)
    for parameter in ("bias_ih_l0", "bias_hh_l0"):
        getattr(model.rnn, parameter)[4:8] = 100  # it forgets nothing
    with recorded([find({"net": model}, "rnn.layers.0.cell")]) as [before]:
        outputs(model)
    do = parse("rnn.layers.0.cell[0]@2+1; rnn.layers.0.input_gate=0; rnn.layers.0.candidate=0")
    with applied({"net": model}, do, no_means), recorded([find({"net": model}, "rnn.layers.0.cell")]) as [after]:
        model(TOKENS)
    assert before[0].shape == (2, 7, 4)
    assert after[0][:, :, 0].tolist() == [[0, 0, 1, 1, 1, 1, 1]] * 2


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@torch.no_grad()
def test_what_is_read_of_a_gate_is_what_the_equations_have(cell: str, bidirectional: bool) -> None:
    model = net(cell, bidirectional=bidirectional)
    trace = model.trace(TOKENS)
    for layer in range(2):
        for name in PARTS[cell]:
            site = find({"net": model}, f"rnn.layers.{layer}.{name.replace(' ', '_')}")
            with recorded([site]) as [passes]:
                model(TOKENS)
            torch.testing.assert_close(passes[0][:, :, :4], trace.part(layer, name), atol=1e-6, rtol=0)
            assert passes[0].shape[2] == (8 if bidirectional else 4)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@torch.no_grad()
def test_gates_are_as_many_as_cells_where_the_hidden_state_is_projected() -> None:
    rnn = nn.LSTM(3, 4, 1, batch_first=True, proj_size=2)
    x = torch.randn(2, 5, 3)
    with recorded([find({"net": rnn}, f"net.layers.0{part}") for part in ("", ".forget_gate", ".cell")]) as passes:
        rnn(x)
    assert [found[0].shape for found in passes] == [(2, 5, 2), (2, 5, 4), (2, 5, 4)]


@pytest.mark.parametrize(
    ("cell", "do", "words"),
    [
        ("gru", "rnn.layers.0.cell=0", "'cell' in rnn.layers.0, whose module is GRU and has reset, update, candidate"),
        ("rnn-tanh", "rnn.layers.1.reset=0", "RNN_TANH and has no gates"),
        ("lstm", "rnn.layers.2.cell=0", "no layer 2 in rnn; its layers are 0 to 1"),
        ("lstm", "rnn.layers.0.cell=skip", "is not skipped; set it to 0"),
        ("lstm", "rnn.layers.0.cell[4]=0", "there are 4, from 0 to 3"),
    ],
)
def test_gates_that_are_not_there_are_refused_in_words(cell: str, do: str, words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        outputs(net(cell), do)


def test_packed_sequences_are_refused_for_gates_as_well() -> None:
    rnn = nn.LSTM(3, 4, batch_first=True)
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(2, 5, 3), torch.tensor([5, 3]), batch_first=True)
    with pytest.raises(SettingsError, match="sequences of one length"), applied({"net": rnn}, parse("net.layers.0.cell=0"), no_means):
        rnn(packed)


def test_a_star_names_the_gates_of_all_layers() -> None:
    assert [site.address for site in hooks.find_all({"net": net("gru")}, "rnn.layers.*.reset")] == [
        "rnn.layers.0.reset",
        "rnn.layers.1.reset",
    ]


def test_the_panels_that_draw_gates_see_interventions(small: Small) -> None:
    card = architectures.card("recurrent")
    settings = make(card.settings, small("recurrent") | {"device": "cpu", "cell": "lstm"})
    task = card.load_task()(settings, prepare(settings), None)
    shown = panel_of(task, card.panel("activations"), {"part": "forget gate", "do": "rnn.layers.0.forget_gate[1]=0.25"})
    assert isinstance(shown, HeatMap)
    values = panel_of(task, card.panel("unit"), {"part": "forget gate", "unit": 1, "do": "rnn.layers.0.forget_gate[1]=0.25"})
    assert isinstance(values, Tokens)
    assert all("0.250 after it" in note for note in values.notes)
