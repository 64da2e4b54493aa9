"""Recurrent nets: Elman's (1990), the LSTM (Hochreiter and Schmidhuber, 1997; with Gers' forget gate, 2000) and the GRU (Cho et al., 2014).

Each cell stands here twice. `forward` calls PyTorch's fused kernel, which is quick and keeps the gates to itself. `trace` walks the same
weights through the equations below, one step at a time, and shows every gate. In the comments B is the batch, T the steps, C the length of
an input, H the width, L the layers, D the directions (1 or 2), V the outputs.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What is carried on: (hidden,), and for an LSTM (hidden, cell), each (L D, B, H)."""

Parts = dict[str, Tensor]
"""Gates and states of one cell after one step, (B, H) each; always a `hidden`."""

CELLS = ("rnn-tanh", "rnn-relu", "gru", "lstm")

PARTS = {
    "rnn-tanh": ("hidden",),
    "rnn-relu": ("hidden",),
    "gru": ("hidden", "reset", "update", "candidate"),
    "lstm": ("hidden", "cell", "input gate", "forget gate", "output gate", "candidate"),
}
"""What can be looked at in each cell."""


def rnn_step(from_x: Tensor, from_h: Tensor, before: Parts, *, relu: bool) -> Parts:
    """h' = tanh(W x + b + U h + d), or relu. `from_x` = W x + b and `from_h` = U h + d, both (B, H)."""
    a = from_x + from_h
    return {"hidden": a.relu() if relu else a.tanh()}


def gru_step(from_x: Tensor, from_h: Tensor, before: Parts) -> Parts:
    """A share z of each unit is kept and the rest replaced; r says how much of the past the replacement may see. Inputs are (B, 3 H)."""
    r_x, z_x, n_x = from_x.chunk(3, dim=-1)
    r_h, z_h, n_h = from_h.chunk(3, dim=-1)
    r = (r_x + r_h).sigmoid()
    z = (z_x + z_h).sigmoid()
    n = (n_x + r * n_h).tanh()
    return {"hidden": (1 - z) * n + z * before["hidden"], "reset": r, "update": z, "candidate": n}


def lstm_step(from_x: Tensor, from_h: Tensor, before: Parts) -> Parts:
    """The cell is forgotten by f and added to by i; o says how much of it is told. Inputs are (B, 4 H)."""
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
class Hold:
    """One unit's hidden value held fast, at every step: 0 silences it."""

    layer: int
    unit: int
    value: float = 0.0


@dataclasses.dataclass(frozen=True)
class Trace:
    """What happened at every step."""

    outputs: Tensor  # (B, T, V)
    hidden: Tensor  # (B, T, H D), of the last layer
    layers: list[list[Parts]]
    """Of each layer and step, the parts of the forward direction."""

    def part(self, layer: int, name: str) -> Tensor:
        """One gate or state of a layer through time, (B, T, H)."""
        return torch.stack([parts[name] for parts in self.layers[layer]], dim=1)


class Recurrent(nn.Module):
    """Tokens (B, T) or numbers (B, T, C) in, outputs (B, T, V); what was read is remembered in a state of fixed size.

    `embedding` is the length of a token's vector when there is a `vocabulary`; `head` the width of a relu layer between the last hidden
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
            self._remember_at_first(forget_bias)

    def _remember_at_first(self, forget_bias: float) -> None:
        """Forget gates begin at `forget_bias` (Jozefowicz et al., 2015), which would count twice if it stood in both bias vectors."""
        for name, parameter in self.rnn.named_parameters():
            if name.startswith("bias"):
                value = forget_bias if name.startswith("bias_ih") else 0.0
                nn.init.constant_(parameter[self.width : 2 * self.width], value)

    def set_dropout(self, dropout: float) -> None:
        """Share of values switched off in training, after each layer and the dense one; never through time."""
        self.dropout = dropout
        self.rnn.dropout = dropout if self.layers > 1 else 0.0

    def embed(self, x: Tensor) -> Tensor:
        """What the first layer reads, (B, T, C)."""
        return x if self.tokens is None else self.tokens(x)

    def read_out(self, hidden: Tensor) -> Tensor:
        """Outputs (…, V) from the last layer's hidden states (…, H D)."""
        hidden = F.dropout(hidden, self.dropout, self.training)
        if self.dense is not None:
            hidden = F.dropout(self.dense(hidden).relu(), self.dropout, self.training)
        outputs: Tensor = self.output(hidden)
        return outputs

    def concluded(self, hidden: Tensor) -> Tensor:
        """What is known of a whole sequence, (B, H D) from the last layer's hidden states (B, T, H D): each direction's after its own last
        step, which is the first place for the one that reads from the end."""
        if self.directions == 1:
            return hidden[:, -1]
        return torch.cat([hidden[:, -1, : self.width], hidden[:, 0, self.width :]], dim=-1)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Hidden states of the last layer (B, T, H D), which `read_out` takes, and the state after the last step."""
        hidden, after = self.rnn(self.embed(x), state if state is None or len(state) == 2 else state[0])
        return hidden, after if isinstance(after, tuple) else (after,)

    def trace(self, x: Tensor, hold: Hold | None = None, before: list[Parts] | None = None) -> Trace:
        """The same step by step, with everything that happened; `hold` holds one unit fast on the way forward.

        It begins with a zero state, or after the last step of each layer in `before`.
        """
        x = self.embed(x)
        seen = []
        for layer in range(self.layers):
            held = hold if hold is not None and hold.layer == layer else None
            steps = self._walk(x, f"l{layer}", held, before[layer] if before else None)
            seen.append(steps)
            ways = [torch.stack([parts["hidden"] for parts in steps], dim=1)]  # (B, T, H)
            if self.directions == 2:
                back = self._walk(x.flip(1), f"l{layer}_reverse")
                ways.append(torch.stack([parts["hidden"] for parts in back], dim=1).flip(1))
            x = torch.cat(ways, dim=-1)  # (B, T, H D)
        return Trace(self.read_out(x), x, seen)

    def _walk(self, x: Tensor, suffix: str, hold: Hold | None = None, before: Parts | None = None) -> list[Parts]:
        """One layer in one direction."""
        w_x, w_h, b_x, b_h = (getattr(self.rnn, f"{name}_{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        zero = x.new_zeros(x.shape[0], self.width)
        parts: Parts = before or {"hidden": zero, "cell": zero}
        held = None if hold is None else torch.arange(self.width, device=x.device) == hold.unit  # (H,)
        steps = []
        for from_x in F.linear(x, w_x, b_x).unbind(1):  # (B, gates H) at each step
            parts = cell_step(self.cell, from_x, F.linear(parts["hidden"], w_h, b_h), parts)
            if held is not None and hold is not None:
                parts["hidden"] = parts["hidden"].masked_fill(held, hold.value)
            steps.append(parts)
        return steps


class Reading(nn.Module):
    """A net that reads from nothing and says something: after every step, or once at the end."""

    def __init__(self, net: Recurrent, concludes: bool) -> None:
        super().__init__()
        self.net, self.concludes = net, concludes

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, T, V) of tokens (B, T) or numbers (B, T, C); (B, V) of one that concludes."""
        hidden, _ = self.net(x)
        return self.net.read_out(self.net.concluded(hidden) if self.concludes else hidden)
