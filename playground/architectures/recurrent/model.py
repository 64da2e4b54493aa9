"""Recurrent nets: Elman's (1990), the LSTM (Hochreiter and Schmidhuber, 1997; with Gers' forget gate, 2000) and the GRU (Cho et al.,
2014, in the reset-after form of cuDNN and PyTorch).

Each cell is here twice. `forward` calls PyTorch's fused kernel, which is fast and does not return the gates. `trace` runs the equations
below with the same weights, one step at a time, and returns every gate. In the comments B is the batch, T the steps, C the size of an
input, H the width, L the layers, D the directions (1 or 2), V the outputs.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""The state after a step: (hidden,), for an LSTM (hidden, cell), each (L D, B, H)."""

Parts = dict[str, Tensor]
"""Gates and states of one layer after one step, (B, H) each; always with `hidden`."""

CELLS = ("rnn-tanh", "rnn-relu", "gru", "lstm")

PARTS = {
    "rnn-tanh": ("hidden",),
    "rnn-relu": ("hidden",),
    "gru": ("hidden", "reset", "update", "candidate"),
    "lstm": ("hidden", "cell", "input gate", "forget gate", "output gate", "candidate"),
}
"""Gates and states of each cell."""


def rnn_step(from_x: Tensor, from_h: Tensor, before: Parts, *, relu: bool) -> Parts:
    """h' = tanh(W x + b + U h + d), or relu. `from_x` = W x + b and `from_h` = U h + d, both (B, H)."""
    a = from_x + from_h
    return {"hidden": a.relu() if relu else a.tanh()}


def gru_step(from_x: Tensor, from_h: Tensor, before: Parts) -> Parts:
    """The update gate z keeps a share of each unit and replaces the rest; the reset gate r limits what the candidate sees of the last
    state. `from_x` and `from_h` are (B, 3 H).

    Here r scales U h + d, after the matrix product, as in cuDNN and PyTorch; in Cho et al. (2014) it scales h before it, U (r h).
    """
    r_x, z_x, n_x = from_x.chunk(3, dim=-1)
    r_h, z_h, n_h = from_h.chunk(3, dim=-1)
    r = (r_x + r_h).sigmoid()
    z = (z_x + z_h).sigmoid()
    n = (n_x + r * n_h).tanh()
    return {"hidden": (1 - z) * n + z * before["hidden"], "reset": r, "update": z, "candidate": n}


def lstm_step(from_x: Tensor, from_h: Tensor, before: Parts) -> Parts:
    """The forget gate f scales the cell, the input gate i what is added to it, the output gate o what is read from it. `from_x` and
    `from_h` are (B, 4 H)."""
    i, f, g, o = (from_x + from_h).chunk(4, dim=-1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * before["cell"] + i * g
    return {"hidden": o * c.tanh(), "cell": c, "input gate": i, "forget gate": f, "output gate": o, "candidate": g}


def cell_step(cell: str, from_x: Tensor, from_h: Tensor, before: Parts) -> Parts:
    """One step of the cell called `cell`."""
    if cell == "lstm":
        return lstm_step(from_x, from_h, before)
    return gru_step(from_x, from_h, before) if cell == "gru" else rnn_step(from_x, from_h, before, relu=cell == "rnn-relu")


@dataclasses.dataclass(frozen=True)
class Clamp:
    """An intervention: the hidden value of one unit is set at every step. At 0 the unit is ablated."""

    layer: int
    unit: int
    value: float = 0.0


@dataclasses.dataclass(frozen=True)
class Trace:
    """Outputs, and gates and states at every step."""

    outputs: Tensor  # (B, T, V)
    hidden: Tensor  # (B, T, H D), of the last layer
    layers: list[list[Parts]]
    """By layer and step; of the forward direction."""

    def part(self, layer: int, name: str) -> Tensor:
        """One gate or state of a layer over time, (B, T, H)."""
        return torch.stack([parts[name] for parts in self.layers[layer]], dim=1)


class Recurrent(nn.Module):
    """Tokens (B, T) or numbers (B, T, C) to outputs (B, T, V), with a state of fixed size.

    `embedding` is the size of a token's vector where there is a `vocabulary`; `head` the width of a relu layer between the last hidden
    state and the output (0: none).
    """

    def __init__(
        self,
        outputs: int,
        *,
        cell: str = "lstm",
        vocabulary: int = 0,
        inputs: int = 1,
        embedding: int = 64,
        width: int = 128,
        layers: int = 1,
        head: int = 0,
        dropout: float = 0.0,
        bidirectional: bool = False,
        forget_bias: float = 1.0,
    ) -> None:
        super().__init__()
        self.cell, self.width, self.layers = cell, width, layers
        self.tokens = nn.Embedding(vocabulary, embedding) if vocabulary else None
        shape = {"input_size": embedding if vocabulary else inputs, "hidden_size": width, "num_layers": layers}
        self.rnn: nn.RNNBase
        if cell == "lstm":
            self.rnn = nn.LSTM(**shape, batch_first=True, bidirectional=bidirectional)
        elif cell == "gru":
            self.rnn = nn.GRU(**shape, batch_first=True, bidirectional=bidirectional)
        else:
            self.rnn = nn.RNN(**shape, batch_first=True, bidirectional=bidirectional, nonlinearity=cell.removeprefix("rnn-"))
        self.directions = 2 if bidirectional else 1
        self.dense = nn.Linear(width * self.directions, head) if head else None
        self.output = nn.Linear(head or width * self.directions, outputs)
        self.set_dropout(dropout)
        if cell == "lstm":
            self._set_forget_bias(forget_bias)

    def _set_forget_bias(self, forget_bias: float) -> None:
        """Initial bias of the forget gates (Jozefowicz et al., 2015). PyTorch adds two bias vectors, so only one of them has it."""
        for name, parameter in self.rnn.named_parameters():
            if name.startswith("bias"):
                value = forget_bias if name.startswith("bias_ih") else 0.0
                nn.init.constant_(parameter[self.width : 2 * self.width], value)

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout after each layer and after the dense one; there is none between time steps."""
        self.dropout = dropout
        self.rnn.dropout = dropout if self.layers > 1 else 0.0

    def embed(self, x: Tensor) -> Tensor:
        """Input of the first layer, (B, T, C)."""
        return x if self.tokens is None else self.tokens(x)

    def read_out(self, hidden: Tensor) -> Tensor:
        """Outputs (…, V) from the last layer's hidden states (…, H D)."""
        hidden = F.dropout(hidden, self.dropout, self.training)
        if self.dense is not None:
            hidden = F.dropout(self.dense(hidden).relu(), self.dropout, self.training)
        outputs: Tensor = self.output(hidden)
        return outputs

    def final_hidden(self, hidden: Tensor) -> Tensor:
        """Each direction's hidden state after its own last step, (B, H D) from the last layer's hidden states (B, T, H D): the backward
        direction ends at the first place."""
        if self.directions == 1:
            return hidden[:, -1]
        return torch.cat([hidden[:, -1, : self.width], hidden[:, 0, self.width :]], dim=-1)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Hidden states of the last layer (B, T, H D), for `read_out`, and the state after the last step."""
        hidden, after = self.rnn(self.embed(x), state if state is None or len(state) == 2 else state[0])
        return hidden, after if isinstance(after, tuple) else (after,)

    def trace(self, x: Tensor, clamp: Clamp | None = None, before: list[Parts] | None = None) -> Trace:
        """`forward` and `read_out` step by step; `clamp` sets one unit of the forward direction.

        It starts from a zero state, or from `before`: the parts of each layer at the step before.
        """
        x = self.embed(x)
        layers = []
        for layer in range(self.layers):
            here = clamp if clamp is not None and clamp.layer == layer else None
            steps = self._unroll(x, f"l{layer}", here, before[layer] if before else None)
            layers.append(steps)
            directions = [torch.stack([parts["hidden"] for parts in steps], dim=1)]  # (B, T, H)
            if self.directions == 2:
                backward = self._unroll(x.flip(1), f"l{layer}_reverse")
                directions.append(torch.stack([parts["hidden"] for parts in backward], dim=1).flip(1))
            x = torch.cat(directions, dim=-1)  # (B, T, H D)
        return Trace(self.read_out(x), x, layers)

    def _unroll(self, x: Tensor, suffix: str, clamp: Clamp | None = None, before: Parts | None = None) -> list[Parts]:
        """One layer in one direction."""
        w_x, w_h, b_x, b_h = (getattr(self.rnn, f"{name}_{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        zero = x.new_zeros(x.shape[0], self.width)
        parts: Parts = before or {"hidden": zero, "cell": zero}
        clamped = None if clamp is None else torch.arange(self.width, device=x.device) == clamp.unit  # (H,)
        steps = []
        for from_x in F.linear(x, w_x, b_x).unbind(1):  # (B, gates H) at each step
            parts = cell_step(self.cell, from_x, F.linear(parts["hidden"], w_h, b_h), parts)
            if clamped is not None and clamp is not None:
                parts["hidden"] = parts["hidden"].masked_fill(clamped, clamp.value)
            steps.append(parts)
        return steps


class Stateful:
    """A net that keeps its state from call to call: with the fused kernel, or step by step where a unit is clamped."""

    def __init__(self, model: Recurrent, clamp: Clamp | None = None) -> None:
        self.model, self.clamp = model, clamp
        self._state: State | None = None
        self._before: list[Parts] | None = None

    def hidden(self, inputs: Tensor) -> Tensor:
        """Hidden states (B, T, H D) of the last layer for the next steps of the sequence."""
        if self.clamp is None:
            hidden: Tensor
            hidden, self._state = self.model(inputs, self._state)
            return hidden
        trace = self.model.trace(inputs, self.clamp, self._before)
        self._before = [steps[-1] for steps in trace.layers]
        return trace.hidden

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs (B, T, V) for the next steps of the sequence."""
        return self.model.read_out(self.hidden(inputs))


class Stateless(nn.Module):
    """The net as one map of tensors: every sequence starts from a zero state."""

    def __init__(self, net: Recurrent, final: bool) -> None:
        """`final`: only the output after the whole sequence."""
        super().__init__()
        self.net, self.final = net, final

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, T, V) of tokens (B, T) or numbers (B, T, C); with `final` (B, V)."""
        hidden, _ = self.net(x)
        return self.net.read_out(self.net.final_hidden(hidden) if self.final else hidden)


class MinimalGRU(nn.Module):
    """The minGRU of Feng et al. (2024, *Were RNNs All We Needed?*): its gate sees the input and not the state, so that the recurrence
    that is left is linear in the state, and all steps can be computed at once."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.update, self.candidate = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """States h(t) = (1 - z(t)) h(t-1) + z(t) c(t), (B, T, H), of inputs (B, T, H), from a zero state."""
        z = torch.sigmoid(self.update(x))
        return linear_recurrence(1 - z, z * self.candidate(x))


def linear_recurrence(a: Tensor, b: Tensor) -> Tensor:
    """h(t) = a(t) h(t-1) + b(t), (B, T, H), from a zero state, in log2(T) passes over all steps (Hillis and Steele, 1986).

    After the pass at distance d, the state is a(t) h(t - 2d) + b(t), with the products and sums over those 2d steps in a and b.
    """
    distance = 1
    while distance < b.shape[1]:
        b = b + a * F.pad(b, (0, 0, distance, 0))[:, :-distance]
        a = a * F.pad(a, (0, 0, distance, 0))[:, :-distance]
        distance *= 2
    return b
