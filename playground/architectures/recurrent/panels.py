"""What can be seen of a recurrent net, whatever it is trained on. The panels that depend on the problem are in `problems`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.architectures.recurrent.model import CELLS, PARTS, Clamp, MinimalGRU, Recurrent
from dlplay.architectures.recurrent.problems.problem import Inputs, Problem
from dlplay.architectures.recurrent.settings import Activations, Cost, Forecast, Gates, GradientFlow, NextToken, Passage, PromptToken, Unit
from dlplay.engine import hooks
from dlplay.engine.panels import Array, Bars, HeatMap, Layer, Layers, Lines, Tokens
from dlplay.engine.settings import Options
from dlplay.engine.units import numbered
from dlplay.parts import forward, norms
from dlplay.parts.measurements import device_and_threads, fastest, remember
from dlplay.parts.prompt_options import Neighbours, Prompt

if TYPE_CHECKING:
    from dlplay.architectures.recurrent.task import RecurrentTask

MAP = 128
"""Steps that a heat map shows, at most."""

PIECE = 96
"""Steps of held-out data whose activations are shown."""

CONTEXT = 256
"""Steps of held-out data that are read where the prompt holds no input."""

GATES = ("input gate", "forget gate", "output gate", "reset", "update")
SIGNED = ("hidden", "cell", "candidate")
"""States; the gates lie between 0 and 1."""

VANISHED = 1e-30
"""A gradient below this counts as zero (single precision ends at about 1e-38)."""


class RecurrentPanels(ABC):
    """A method is a panel, named as on the card."""

    def __init__(self, task: RecurrentTask) -> None:
        self.task = task
        self.model, self.problem = task.model, task.problem

    @abstractmethod
    def next_token(self, options: NextToken) -> Bars: ...

    @abstractmethod
    def passage(self, options: Passage) -> Tokens: ...

    @abstractmethod
    def prompt_tokens(self, options: PromptToken) -> Tokens: ...

    def forward(self, options: NextToken) -> Layers:
        """The input, each layer's hidden state after its last step, and what is read from it."""
        inputs = self._inputs(options)
        last, cells = self._after(inputs.values, self._clamp(options))
        predicted = self.next_token(options)
        count = forward.GUESSES
        output = Layer(
            title="next",
            labels=predicted.labels[:count],
            values=predicted.values[:count],
            percent=predicted.percent,
            chosen=0 if predicted.labels else None,
        )
        states = [forward.state(f"hidden {layer}", last[layer], layer=layer) for layer in forward.hidden_layers(len(last))]
        if cells:  # an LSTM's hidden state is read off its cell
            states.insert(-1, forward.state(f"cell {len(cells) - 1}", cells[-1]))
        return Layers(layers=[forward.words("read", inputs.labels), *states, output], caption=self._caption(options, *inputs.notes))

    def neighbours(self, options: Neighbours) -> Bars:
        caption = f"--task {self.task.settings.task} has no words to compare; --task text shows their neighbours here"
        return Bars(labels=[], values=[], caption=caption)

    def forecast(self, options: Forecast) -> Lines:
        caption = f"--task {self.task.settings.task} predicts tokens; --task series or adding draws a forecast here"
        return Lines(x=[], series={}, caption=caption)

    def activations(self, options: Activations) -> HeatMap:
        """One gate or state of every unit of a layer at each step."""
        inputs, values, name, notes = self._activations(options)
        layer, _ = self._unit(options)
        deviation = values.std(dim=0, unbiased=False)
        most = deviation.topk(min(3, len(deviation))).indices.tolist()
        cut = [f"the last {MAP} of {len(inputs.labels)} steps"] if len(inputs.labels) > MAP else []
        return HeatMap(
            values=Array.of(values[-MAP:].T.contiguous().numpy()),
            rows=[f"unit {unit}" for unit in range(self.model.width)],
            columns=inputs.labels[-MAP:],
            parts=[f"{_address(layer, name)}[{unit}]" for unit in range(self.model.width)],
            row_title="unit",
            column_title="input",
            signed=name in SIGNED and not (name == "hidden" and self.model.cell == "rnn-relu"),
            low=None if name in ("cell", "hidden") else 0.0,
            high=None if name in ("cell", "hidden") else 1.0,
            figure=f"{name}, {numbered('layer', layer, self.model.layers)}",
            caption=" · ".join([f"most varied: {', '.join(map(str, most))}", *cut, *notes]),
        )

    def unit(self, options: Activations) -> Tokens:
        """The same of one unit; the middle of the scale is 0 for what can be negative."""
        inputs, values, name, notes = self._activations(options)
        layer, number = self._unit(options)
        own = values[:, number]
        largest = max(1.0, float(own.abs().max()))
        scaled = (own / largest + 1) / 2 if name in SIGNED else own
        return Tokens(
            words=inputs.labels,
            values=scaled.tolist(),
            ends=(f"{-largest:.3g}" if name in SIGNED else "0", f"{largest if name in SIGNED else 1.0:.3g}"),
            notes=[f"{label}: {value:.3f} after it" for label, value in zip(inputs.labels, own.tolist(), strict=True)],
            parts=[f"{_address(layer, name)}[{number}]"],
            figure=f"{numbered('unit', number, self.model.width)}, {name}",
            caption=" · ".join([f"layer {layer}, {float(own.min()):.2f} to {float(own.max()):.2f}", *notes]),
        )

    def gates(self, options: Gates) -> Lines:
        """The gates of one unit at each step, and its hidden state."""
        inputs, cell = self._piece(options), self.model.cell
        layer, number = self._unit(options)
        names = [*(name for name in PARTS[cell] if name in GATES), "hidden"]
        values = self._over_time(inputs.values, self._clamp(options), layer, names)
        labels = inputs.labels[-MAP:]
        none = [] if len(names) > 1 else [f"{cell} has no gates: its hidden state alone"]
        return Lines(
            x=[float(step) for step in range(len(labels))],
            series={name: own[-MAP:, number].tolist() for name, own in zip(names, values, strict=True)},
            x_title="step",
            x_names=labels,
            least=(0.0, 1.0),
            parts=[f"{_address(layer, 'hidden')}[{number}]"],
            figure=f"{numbered('unit', number, self.model.width)}, {numbered('layer', layer, self.model.layers)}",
            caption=" · ".join(filter(None, [*none, self._caption(options), *inputs.notes])),
        )

    def gradient_flow(self, options: GradientFlow) -> Lines:
        """This model's gradient norms beside those of untrained ones of every cell; all read the same held-out data."""
        inputs, targets = self.problem.last_step(options.example, options.back)

        def untrained() -> dict[str, list[float]]:
            models = {cell: self.task.untrained(cell).eval() for cell in CELLS}
            return {name: gradient_norms(model, self.problem, inputs, targets) for name, model in models.items()}

        own = gradient_norms(self.model, self.problem, inputs, targets)
        others = remember(self.task.untrained_gradients, options, untrained)
        series = {"this net": own, **others}
        share = own[-1] / own[0] if own[0] > 0 else 0.0
        return Lines(
            x=[float(step) for step in range(len(own))],
            series={name: [value if value > VANISHED else None for value in values] for name, values in series.items()},
            x_title="steps back",
            log=True,
            figure=f"x {share:.2g} over {len(own) - 1} steps" if share else f"vanished after {len(own) - 1} steps",
            caption=f"loss at the last step of {inputs.shape[0]} held-out rows; layer {self.model.layers - 1}; the others are untrained",
        )

    def cost_against_length(self, options: Cost) -> Lines:
        """Milliseconds of a training step of each kind of layer."""
        if options.measurement == 0:
            return Lines(x=[], series={}, caption="press ] to measure; training waits about two seconds")
        cell, width, device = self.model.cell, self.model.width, self.task.device
        times = remember(self.task.layer_times, options.measurement, lambda: layer_times(cell, width, device))
        longest = {name: values[-1] for name, values in times.items()}
        return Lines(
            x=[float(length) for length in LENGTHS],
            series={name: [float(f"{value:.4g}") for value in values] for name, values in times.items()},
            x_title="steps in the sequence",
            log=True,
            figure=f"{longest[cell] / longest['attention']:.3g} x attention at {LENGTHS[-1]}",
            caption=f"ms, forward and backward, one layer of width {width}, one sequence, fastest of several, {device_and_threads(device)}",
        )

    def norms(self, options: Options) -> Bars:
        return norms.norms(self.model, _part, self.task.optimizer)

    def _over_time(self, x: Tensor, clamp: Clamp | None, layer: int, names: Sequence[str]) -> list[Tensor]:
        """Gates and states of a layer in its forward direction at every step of one sequence, (T, H) each, on the CPU."""
        if clamp is not None:
            trace = self.model.trace(x, clamp)
            return [trace.part(layer, name)[0].float().cpu() for name in names]
        with hooks.recorded([hooks.find({"net": self.model}, _address(layer, name)) for name in names]) as found:
            self.model(x)
        return [passes[0][0, :, : self.model.width].float().cpu() for passes in found]

    def _after(self, x: Tensor, clamp: Clamp | None) -> tuple[list[Tensor], list[Tensor]]:
        """Hidden states and, of an LSTM, cells of the forward direction after the last step of one sequence, (H,) for each layer."""
        names = ("hidden", "cell") if self.model.cell == "lstm" else ("hidden",)
        if clamp is None:  # called as it is, so that interventions act
            parts = [list(state[:: self.model.directions, 0]) for state in self.model(x)[1]]
        else:
            trace = self.model.trace(x, clamp)
            parts = [[trace.part(layer, name)[0, -1] for layer in range(self.model.layers)] for name in names]
        return parts[0], parts[1] if len(parts) > 1 else []

    # --- what the options mean ----------------------------------------------------------------------------------------------------

    def _unit(self, options: Unit) -> tuple[int, int]:
        """Layer and unit."""
        return min(options.layer, self.model.layers - 1), min(options.unit, self.model.width - 1)

    def _clamp(self, options: Unit) -> Clamp | None:
        if options.intervention == "none":
            return None
        return Clamp(*self._unit(options), options.clamp_at if options.intervention == "clamp" else 0.0)

    def _caption(self, options: Unit, *more: str) -> str:
        """The clamp, and `more`."""
        clamp = self._clamp(options)
        done = "ablated" if options.intervention == "ablate" else f"clamped at {options.clamp_at:g}"
        return " · ".join(filter(None, [f"unit {clamp.unit} of layer {clamp.layer} {done}" if clamp else "", *more]))

    def _inputs(self, options: Prompt) -> Inputs:
        """The prompt, or held-out inputs where it holds none."""
        return self.problem.parse(options.prompt) or self.problem.example(0, CONTEXT)

    def _piece(self, options: Gates | Activations) -> Inputs:
        """A piece of the held-out data, or the prompt."""
        inputs = self.problem.parse(options.prompt) if options.read == "prompt" else None
        return inputs or self.problem.example(options.example, PIECE)

    def _activations(self, options: Activations) -> tuple[Inputs, Tensor, str, list[str]]:
        """The inputs, the part's values (T, H), its name, and notes."""
        inputs = self._piece(options)
        name = options.part if options.part in PARTS[self.model.cell] else "hidden"
        instead = "" if name == options.part else f"{self.model.cell} has no {options.part}: its hidden state is shown"
        layer, _ = self._unit(options)
        [values] = self._over_time(inputs.values, self._clamp(options), layer, [name])
        return inputs, values, name, [note for note in (instead, self._caption(options), *inputs.notes) if note]


def gradient_norms(model: Recurrent, problem: Problem, inputs: Tensor, targets: Tensor) -> list[float]:
    """Norm of the gradient of the last step's loss with respect to the last layer's hidden state 0, 1, 2 … steps back."""
    with torch.enable_grad():
        trace = model.trace(inputs)
        loss = problem.criterion(problem.final_outputs(model, trace.hidden), targets)
        hidden = [parts["hidden"] for parts in trace.layers[-1]]
        gradients = torch.autograd.grad(loss, hidden, allow_unused=True)
    return [0.0 if gradient is None else gradient.norm().item() for gradient in reversed(gradients)]


def _address(layer: int, name: str) -> str:
    """Of a layer's hidden states or of one of its gates, as interventions name it."""
    return f"rnn.layers.{layer}" + ("" if name == "hidden" else f".{name.replace(' ', '_')}")


def _part(name: str) -> str:
    """The part of the model that a parameter belongs to."""
    module, _, kind = name.partition(".")
    if module != "rnn":
        return {"tokens": "embedding", "dense": "dense layer", "output": "output"}[module]
    _, _, layer = kind.partition("_l")
    layer = layer.replace("_reverse", " backward")
    return f"layer {layer} " + (
        "biases" if kind.startswith("bias") else "input weights" if kind.startswith("weight_ih") else "recurrent weights"
    )


# --- the cost of a layer --------------------------------------------------------------------------------------------------------------

LENGTHS = (16, 32, 64, 128, 256, 512)
KERNEL = 4
"""Steps that the convolution sees at once."""

SECONDS = 0.06
REPEATS = 5
"""How long, and how often at least, each layer is timed at each length."""


def layer_times(cell: str, width: int, device: torch.device) -> dict[str, list[float]]:
    """Milliseconds of forward and backward at each of `LENGTHS`: a recurrent layer, a minimal GRU, a causal convolution and
    causal attention."""
    recurrent = Recurrent(1, cell=cell, inputs=width, width=width).to(device)
    convolution = nn.Conv1d(width, width, KERNEL).to(device)
    qkv, projection = nn.Linear(width, 3 * width).to(device), nn.Linear(width, width).to(device)
    heads = max(heads for heads in (8, 4, 2, 1) if width % heads == 0)

    def attention(x: Tensor) -> Tensor:
        q, k, v = qkv(x).unflatten(-1, (3, heads, width // heads)).permute(2, 0, 3, 1, 4)  # (B, heads, T, C / heads) each
        out: Tensor = projection(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return out

    layers: dict[str, Callable[[Tensor], Tensor]] = {
        cell: lambda x: recurrent(x)[0],
        "minimal GRU": MinimalGRU(width).to(device),
        "convolution": lambda x: convolution(F.pad(x.transpose(1, 2), (KERNEL - 1, 0))),
        "attention": attention,
    }
    found: dict[str, list[float]] = {name: [] for name in layers}
    with torch.enable_grad():
        for length in LENGTHS:
            x = torch.randn(1, length, width).to(device).requires_grad_()
            for name, layer in layers.items():
                found[name].append(1000 * _seconds(layer, x))
    return found


def _seconds(layer: Callable[[Tensor], Tensor], x: Tensor) -> float:
    def step() -> None:
        layer(x).sum().backward()  # type: ignore[no-untyped-call]

    return fastest(step, x.device, seconds=SECONDS, repeats=REPEATS)
