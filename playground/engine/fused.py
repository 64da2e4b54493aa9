"""PyTorch's recurrent layers, which compute all layers and steps in one call, evaluated step by step with the same weights: so the hidden
states of each layer can be read, and what is changed in one goes on to the next step. This takes place only while something is attached."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.engine.settings import SettingsError

Change = Callable[[Tensor, int, slice], Tensor]
"""From the hidden state (B, H) of one direction after a step, the step's number and the columns that the direction has in the layer's
output, to the state that takes its place."""


@dataclasses.dataclass(frozen=True, eq=False)
class Attached:
    """What is attached to a layer, until `remove`."""

    rnn: nn.RNNBase
    layer: int
    begin: Callable[[Tensor], Change] | None = None
    """From a tensor like the layer's output (B, T, D H), in a pass that begins, to what is done at each of its steps."""
    seen: Callable[[Tensor], object] | None = None
    """Called with the layer's output (B, T, D H)."""

    def remove(self) -> None:
        """Take it off."""
        _unrolled[self.rnn].remove(self)


def attach(
    rnn: nn.RNNBase, layer: int, *, begin: Callable[[Tensor], Change] | None = None, seen: Callable[[Tensor], object] | None = None
) -> Attached:
    """Evaluate `rnn` step by step from now on, with `begin` and `seen` at one of its layers, behind what is attached there already."""
    attached = Attached(rnn, layer, begin, seen)
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
            width, count = states[0][0].shape[1], _directions(rnn)
            like = x.new_empty(*x.shape[:2], count * width)
            changes = [each.begin(like) for each in here if each.begin is not None]
            outputs = []
            for direction in range(count):
                columns = slice(direction * width, (direction + 1) * width)
                begin = states[layer * count + direction]
                output, last = _run(rnn, x, f"l{layer}{'_reverse' * direction}", begin, changes, columns, backwards=direction == 1)
                outputs.append(output)
                after.append(last)
            x = torch.cat(outputs, dim=-1)  # (B, T, D H)
            for each in here:
                if each.seen is not None:
                    each.seen(x)
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


def _run(
    rnn: nn.RNNBase,
    x: Tensor,
    suffix: str,
    before: tuple[Tensor, Tensor],
    changes: list[Change],
    columns: slice,
    *,
    backwards: bool,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Hidden states (B, T, H) of one layer in one direction, and the state after its last step."""
    w_x, w_h = (getattr(rnn, f"weight_{kind}_{suffix}") for kind in ("ih", "hh"))
    b_x, b_h = (getattr(rnn, f"bias_{kind}_{suffix}") if rnn.bias else None for kind in ("ih", "hh"))
    from_x = F.linear(x, w_x, b_x)  # (B, T, gates H)
    hidden, cell = before
    found: list[Tensor] = []
    for step in range(x.shape[1])[:: -1 if backwards else 1]:
        hidden, cell = _step(rnn.mode, from_x[:, step], F.linear(hidden, w_h, b_h), hidden, cell)
        if rnn.proj_size:
            hidden = F.linear(hidden, getattr(rnn, f"weight_hr_{suffix}"))
        for change in changes:
            hidden = change(hidden, step, columns)
        found.append(hidden)
    return torch.stack(found[:: -1 if backwards else 1], dim=1), (hidden, cell)


def _step(mode: str, from_x: Tensor, from_h: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden state and cell after one more step, by the equations in PyTorch's documentation of `nn.LSTM`, `nn.GRU` and `nn.RNN`."""
    if mode == "LSTM":
        i, f, g, o = (from_x + from_h).chunk(4, dim=-1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell
    if mode == "GRU":
        r_x, z_x, n_x = from_x.chunk(3, dim=-1)
        r_h, z_h, n_h = from_h.chunk(3, dim=-1)
        z = (z_x + z_h).sigmoid()
        n = (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
        return (1 - z) * n + z * hidden, cell
    a = from_x + from_h
    return (a.relu() if mode == "RNN_RELU" else a.tanh()), cell
