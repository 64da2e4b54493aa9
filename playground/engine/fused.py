"""PyTorch's recurrent layers, which compute all layers and steps in one call, evaluated step by step with the same weights: so the hidden
states, gates and cells of each layer can be read, and what is changed in one goes on to the next step. This takes place only while
something is attached."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.engine.settings import SettingsError

HIDDEN = "hidden"
GATES = {
    "LSTM": ("input_gate", "forget_gate", "candidate", "output_gate", "cell"),
    "GRU": ("reset", "update", "candidate"),
    "RNN_TANH": (),
    "RNN_RELU": (),
}
"""Besides its hidden state, what a layer computes at each step, by the module's mode: gates as they are after the sigmoid, the candidate
after the tanh, an LSTM's cell as it is handed on."""

Change = Callable[[Tensor, int, slice], Tensor]
"""From a hidden state, gate or cell (B, H) of one direction at a step, the step's number and the columns that the direction has among those
of all directions, to what takes its place."""


@dataclasses.dataclass(frozen=True, eq=False)
class Attached:
    """What is attached to a layer, until `remove`."""

    rnn: nn.RNNBase
    layer: int
    part: str = HIDDEN
    """Its hidden state, or one of `GATES`."""
    begin: Callable[[Tensor], Change] | None = None
    """From a tensor like that part at all steps (B, T, D H), in a pass that begins, to what is done at each of its steps."""
    seen: Callable[[Tensor], object] | None = None
    """Called with that part at all steps (B, T, D H)."""

    def remove(self) -> None:
        """Take it off."""
        _unrolled[self.rnn].remove(self)


def attach(
    rnn: nn.RNNBase,
    layer: int,
    part: str = HIDDEN,
    *,
    begin: Callable[[Tensor], Change] | None = None,
    seen: Callable[[Tensor], object] | None = None,
) -> Attached:
    """Evaluate `rnn` step by step from now on, with `begin` and `seen` at one part of its layers, behind what is attached there already."""
    attached = Attached(rnn, layer, part, begin, seen)
    _unrolled.setdefault(rnn, _Unrolled()).add(attached)
    return attached


class _Unrolled:
    """All that is attached to one module, and the hook that evaluates it."""

    def __init__(self) -> None:
        self._attached: list[Attached] = []
        self._hook: torch.utils.hooks.RemovableHandle | None = None

    def add(self, attached: Attached) -> None:
        if self._hook is None:  # before the hooks that read or change the output
            self._hook = attached.rnn.register_forward_hook(self._evaluate, with_kwargs=True, prepend=True)
        self._attached.append(attached)

    def remove(self, attached: Attached) -> None:
        if attached in self._attached:
            self._attached.remove(attached)
        if not self._attached and self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _evaluate(self, rnn: nn.RNNBase, inputs: tuple[Any, ...], options: dict[str, Any], fused: tuple[Tensor, Any]) -> Any:
        """The output and the state after the last step, in the form that the fused call gave them."""
        x, state = inputs[0], inputs[1] if len(inputs) > 1 else options.get("hx")
        if not isinstance(x, Tensor) or x.ndim != 3:
            raise SettingsError("--do: a recurrent layer can be read and changed in a batch of sequences of one length alone", "do")
        x = x if rnn.batch_first else x.transpose(0, 1)
        states = _states(rnn, x, state)
        after = []
        for layer in range(rnn.num_layers):
            here = [each for each in self._attached if each.layer == layer]
            count = _directions(rnn)
            changes: list[tuple[str, Change]] = []
            for each in here:
                if each.begin is not None:
                    width = states[0][0].shape[1] if each.part == HIDDEN else rnn.hidden_size
                    changes.append((each.part, each.begin(x.new_empty(*x.shape[:2], count * width))))
            read = {HIDDEN} | {each.part for each in here if each.seen is not None}
            of_directions = []
            for direction in range(count):
                begin = states[layer * count + direction]
                steps = _Steps(changes, direction, {part: [] for part in read})
                after.append(_run(rnn, x, f"l{layer}{'_reverse' * direction}", begin, steps))
                of_directions.append(steps.all())
            parts = {part: torch.cat([own[part] for own in of_directions], dim=-1) for part in read}  # (B, T, D H) each
            for each in here:
                if each.seen is not None:
                    each.seen(parts[each.part])
            x = parts[HIDDEN]
            if layer < rnn.num_layers - 1:
                x = F.dropout(x, rnn.dropout, rnn.training)
        hidden, cell = (torch.stack(parts) for parts in zip(*after, strict=True))  # (L D, B, H) each
        output = (x if rnn.batch_first else x.transpose(0, 1)).to(fused[0].dtype)
        if rnn.mode == "LSTM":
            return output, (hidden.to(fused[1][0].dtype), cell.to(fused[1][1].dtype))
        return output, hidden.to(fused[1].dtype)


_unrolled: weakref.WeakKeyDictionary[nn.RNNBase, _Unrolled] = weakref.WeakKeyDictionary()


def _directions(rnn: nn.RNNBase) -> int:
    return 2 if rnn.bidirectional else 1


def _states(rnn: nn.RNNBase, x: Tensor, state: Any) -> list[tuple[Tensor, Tensor]]:
    """Hidden state and cell before the first step, (B, H) each, of every layer and direction; only an LSTM has cells."""
    if state is None:
        count = rnn.num_layers * _directions(rnn)
        hidden = x.new_zeros(count, len(x), rnn.proj_size or rnn.hidden_size)
        return list(zip(hidden, x.new_zeros(count, len(x), rnn.hidden_size), strict=True))
    hidden, cell = state if isinstance(state, tuple) else (state, state)
    return list(zip(hidden, cell, strict=True))


@dataclasses.dataclass
class _Steps:
    """One layer in one direction, step by step."""

    changes: list[tuple[str, Change]]
    direction: int
    found: dict[str, list[Tensor]]
    """What is read, by the name of the part, in the order of the steps."""
    step: int = 0

    def __call__(self, part: str, values: Tensor) -> Tensor:
        """A part at this step as it is changed."""
        columns = slice(self.direction * values.shape[1], (self.direction + 1) * values.shape[1])
        for name, change in self.changes:
            if name == part:
                values = change(values, self.step, columns)
        if part in self.found:
            self.found[part].append(values)
        return values

    def all(self) -> dict[str, Tensor]:
        """What was read at all steps, (B, T, H) each, in the order of the sequence."""
        return {part: torch.stack(steps[:: -1 if self.direction else 1], dim=1) for part, steps in self.found.items()}


def _run(rnn: nn.RNNBase, x: Tensor, suffix: str, before: tuple[Tensor, Tensor], steps: _Steps) -> tuple[Tensor, Tensor]:
    """Hidden state and cell of one layer in one direction after its last step."""
    w_x, w_h = (getattr(rnn, f"weight_{kind}_{suffix}") for kind in ("ih", "hh"))
    b_x, b_h = (getattr(rnn, f"bias_{kind}_{suffix}") if rnn.bias else None for kind in ("ih", "hh"))
    from_x = F.linear(x, w_x, b_x)  # (B, T, gates H)
    hidden, cell = before
    for step in range(x.shape[1])[:: -1 if steps.direction else 1]:
        steps.step = step
        hidden, cell = _step(rnn.mode, from_x[:, step], F.linear(hidden, w_h, b_h), hidden, cell, steps)
        if rnn.proj_size:
            hidden = F.linear(hidden, getattr(rnn, f"weight_hr_{suffix}"))
        hidden = steps(HIDDEN, hidden)
    return hidden, cell


def _step(mode: str, from_x: Tensor, from_h: Tensor, hidden: Tensor, cell: Tensor, steps: _Steps) -> tuple[Tensor, Tensor]:
    """Hidden state and cell after one more step, by the equations in PyTorch's documentation of `nn.LSTM`, `nn.GRU` and `nn.RNN`."""
    if mode == "LSTM":
        i, f, g, o = (from_x + from_h).chunk(4, dim=-1)
        i, f, g = steps("input_gate", i.sigmoid()), steps("forget_gate", f.sigmoid()), steps("candidate", g.tanh())
        o = steps("output_gate", o.sigmoid())
        cell = steps("cell", f * cell + i * g)
        return o * cell.tanh(), cell
    if mode == "GRU":
        r_x, z_x, n_x = from_x.chunk(3, dim=-1)
        r_h, z_h, n_h = from_h.chunk(3, dim=-1)
        r, z = steps("reset", (r_x + r_h).sigmoid()), steps("update", (z_x + z_h).sigmoid())
        n = steps("candidate", (n_x + r * n_h).tanh())
        return (1 - z) * n + z * hidden, cell
    a = from_x + from_h
    return (a.relu() if mode == "RNN_RELU" else a.tanh()), cell
