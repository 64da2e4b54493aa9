"""What a model is built of and how its layers fare: shapes, multiply-adds and time of every module; activations, gradients, updates, ranks.

Nothing here changes the training: activations are read by hooks that are gone afterwards, gradients are taken without `.grad`, and what the
optimiser would do is tried on copies.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import functools
import math
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dlplay.engine import hooks, progress
from dlplay.engine.means import counting, half_of_the_work, rows_of_units
from dlplay.engine.task import Task
from dlplay.engine.vocabulary import Vocabulary
from dlplay.microscope.attention import AttentionRows

TIMED = 3
"""Passes that are timed; the quickest counts."""
SATURATED = 0.99
"""A tanh beyond this, or a sigmoid as near to its bounds, is saturated: its derivative is below 2 % of the largest, or 4 %."""
LARGEST_RANKED = 768
"""Smaller side of the largest matrix whose effective rank is computed: the time grows with its third power."""


@dataclasses.dataclass
class Build:
    """A module as a real batch passes it."""

    inputs: tuple[int, ...] | None = None
    """Shape of the first tensor of its first call; None where the batch does not pass it."""
    outputs: tuple[int, ...] | None = None
    multiply_adds: int = 0
    """Of all its calls, its parts included."""
    seconds: float = 0.0


@dataclasses.dataclass
class Activations:
    """A module's output over held-out data."""

    mean: float
    deviation: float
    dead: float | None
    """Share of units that are 0 for every example; None where the output is not that of a relu: never below 0, and sometimes 0."""
    saturated: float | None
    """Share of the values at the bounds of a tanh or a sigmoid; None for any other module."""


@dataclasses.dataclass
class Learning:
    """Norms over the parameters of a module and its parts."""

    weights: float
    gradients: float | None
    """None where no gradient is known."""
    updates: float | None
    """Of what the optimiser adds in a step."""

    @property
    def ratio(self) -> float | None:
        """Update against weight: about 1e-3 is healthy."""
        return None if self.updates is None or self.weights == 0 else self.updates / self.weights


# --- what it is built of ----------------------------------------------------------------------------------------------------------


def build(task: Task[Any]) -> dict[str, Build]:
    """Every module by its address; measured once for each task, since shapes and work stay the same."""
    if task not in _built:
        _built[task] = _measured(task)
    return _built[task]


_built: weakref.WeakKeyDictionary[Task[Any], dict[str, Build]] = weakref.WeakKeyDictionary()


def _measured(task: Task[Any]) -> dict[str, Build]:
    named = hooks.modules(task.models)
    counter = FlopCounterMode(display=False, custom_mapping=_MORE_FLOPS)
    work = _Spent(task, named, counter.get_total_flops)
    with work, counter:
        task.pass_through()
    for address, flops in work.spent.items():
        work.parts[address].multiply_adds = int(flops) // 2
    best: dict[str, float] = {}
    for _ in progress.each(range(TIMED), "timed pass"):
        times = _Spent(task, named, functools.partial(_now, task.device))
        with times:
            task.pass_through()
        best = {address: min(seconds, best.get(address, math.inf)) for address, seconds in times.spent.items()}
    for address, seconds in best.items():
        work.parts[address].seconds = seconds
    return work.parts


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class _Spent:
    """What each module spends within it by some clock, its parts included, and the shapes of its first call.

    A part may be called by others than the module that it lies in, as `net.encoder(x)`: then the modules around it have spent it, too.
    """

    def __init__(self, task: Task[Any], named: Mapping[str, nn.Module], clock: Callable[[], float]) -> None:
        self.parts = {address: Build() for address in named}
        self.spent = dict.fromkeys(named, 0.0)
        self._named, self._clock = named, clock
        self._addresses = {module: address for address, module in named.items()}
        self._models = {id(module): name for name, model in task.models.items() for module in model.modules()}
        self._running: list[tuple[str, float]] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Spent:
        for module in self._named.values():
            self._stack.callback(module.register_forward_pre_hook(self._enter).remove)
            self._stack.callback(module.register_forward_hook(self._leave).remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        part = self.parts[self._addresses[module]]
        if part.inputs is None and (given := next((each for each in inputs if isinstance(each, Tensor)), None)) is not None:
            part.inputs = tuple(given.shape)
        self._running.append((self._addresses[module], self._clock()))

    def _leave(self, module: nn.Module, inputs: tuple[Any, ...], result: Any) -> None:
        address, began = self._running.pop()
        spent = self._clock() - began
        part = self.parts[address]
        if part.outputs is None and (output := hooks.output_of(result)) is not None:
            part.outputs = tuple(output.shape)
        running = {other for other, _ in self._running}
        self.spent[address] += spent
        for owner in self._owners(address, self._models[id(module)]):
            if owner in running:
                break
            self.spent[owner] += spent

    def _owners(self, address: str, model: str) -> Iterator[str]:
        """The modules that a part lies in, the nearest first."""
        while address != model:
            address = address.rpartition(".")[0]
            address = address if address in self.parts else model
            yield address


def _rnn_layer_flops(*shapes: Any, **options: Any) -> int:
    """One layer in one direction of a fused kernel: its steps times its two matrices."""
    inputs, *weights = (shape for shape in shapes if isinstance(shape, (tuple, torch.Size)))
    steps = math.prod(inputs[:-1])
    return 2 * steps * sum(math.prod(shape) for shape in weights[:2])


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **options: Any) -> int:
    """Scores and their weighted sum, of shapes (B, H, T, D)."""
    *batch, queries, width = query
    return int(2 * math.prod(batch) * queries * key[-2] * (width + value[-1]))


_MORE_FLOPS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten.mkldnn_rnn_layer: _rnn_layer_flops,
}
"""Kernels that torch's counter does not know, from shapes to floating-point operations."""


# --- how its layers fare ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Health:
    """Of every module, by its address."""

    activations: dict[str, Activations]
    one_hot: dict[str, float]
    """Of attention modules, the share of softmax rows with nearly all their weight on one key."""
    learning: dict[str, Learning]
    gradients_of: str
    """What the gradients are of, in words."""


def health(task: Task[Any]) -> Health:
    """As of now, over held-out data. That of the model as it is, without interventions, is kept until it is another, where the data that
    pass it stay the same."""
    if task.interventions or not _passes_held_out(task):
        return _health_now(task)
    version = task.version, task.settings
    known = _health.get(task)
    if known is None or known[0] != version:
        _health[task] = known = (version, _health_now(task))
    return known[1]


_health: weakref.WeakKeyDictionary[Task[Any], tuple[object, Health]] = weakref.WeakKeyDictionary()


def _passes_held_out(task: Task[Any]) -> bool:
    """Whether it is the held-out examples that pass its models, and not others such as those of a replay buffer."""
    return type(task).pass_through is Task.pass_through


def _health_now(task: Task[Any]) -> Health:
    with half_of_the_work():
        return _measured_health(task)


def _measured_health(task: Task[Any]) -> Health:
    named = hooks.modules(task.models)
    recorder, attention = _Recorder(named, task.vocabulary()), AttentionRows(named, task.vocabulary())
    with recorder, attention:
        if _passes_held_out(task):
            values, name = held_out_values(task)
        else:
            task.pass_through()
    if not _passes_held_out(task):
        values, name = (None, "") if task in _without_gradients else held_out_values(task)
        if values is None:
            _without_gradients.add(task)
    progress.say("gradients")
    gradients, words = gradients_of(task, values, name)
    progress.say("updates and norms")
    updates: dict[Tensor, Tensor] = {}
    for optimizer, group, parameter in _trained(task):
        if task.step and not optimizer.state.get(parameter) and ({"betas", "alpha"} & group.keys() or group.get("momentum")):
            continue  # a model without its optimiser's memory: its next update is not the one that this would be
        gradient = memory_of(optimizer, group, parameter)
        if gradient is None:
            gradient = gradients.get(parameter)
        if gradient is not None:
            updates[parameter] = next_update(optimizer, group, parameter, gradient)
    squares = {parameter: _squares(parameter.detach()) for module in named.values() for parameter in module.parameters(recurse=False)}
    of_gradients = {parameter: _squares(gradient) for parameter, gradient in gradients.items()}
    of_updates = {parameter: _squares(update) for parameter, update in updates.items()}
    learning = {}
    for address, module in named.items():
        own = list(module.parameters())
        if own:
            learning[address] = Learning(
                math.sqrt(sum(squares[p] for p in own)), _norm(own, of_gradients), _norm([p for p in own if squares[p] > 0], of_updates)
            )
    return Health(recorder.found(), attention.shares(), learning, words)


_without_gradients: weakref.WeakSet[Task[Any]] = weakref.WeakSet()
"""Tasks whose probe is known to have no graph, such as the returns of episodes."""


def held_out_values(task: Task[Any]) -> tuple[Tensor | None, str]:
    """The probe's values with their graph, and what they are; None where there are none."""
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN has no gradient of a recurrent net in eval mode
        probe = task.probe()
    if probe is None:
        task.pass_through()
        return None, ""
    return (probe.values if probe.values.requires_grad else None), probe.name


def gradients_of(task: Task[Any], values: Tensor | None, name: str) -> tuple[dict[Tensor, Tensor], str]:
    """By parameter, and what they are of: the mean of the held-out `values` or, where that leaves out what an optimiser trains, as in a
    GAN, the loss of the last steps as the optimiser remembers it."""
    parameters = [p for model in task.models.values() for p in model.parameters() if p.requires_grad]
    trained = [[p for group in optimizer.param_groups for p in group["params"]] for optimizer in task.optimizers.values()]
    if values is not None and parameters:
        with torch.enable_grad():
            found = torch.autograd.grad(values.mean(), parameters, allow_unused=True)
        reached: dict[Tensor, Tensor] = {
            parameter: gradient for parameter, gradient in zip(parameters, found, strict=True) if gradient is not None
        }
        if all(any(p in reached for p in own) for own in trained):
            count = f", {len(values):,} examples" if len(values) > 1 else ""
            return reached, f"of the held-out {name}{count}"
    remembered = {}
    for optimizer, group, parameter in _trained(task):
        if (gradient := memory_of(optimizer, group, parameter)) is not None:
            remembered[parameter] = gradient / _bias(optimizer, group, parameter)
    return remembered, "that the optimiser remembers" if remembered else "are not known before the first update"


def _trained(task: Task[Any]) -> Iterator[tuple[torch.optim.Optimizer, dict[str, Any], Tensor]]:
    """Every parameter with its optimiser and its group there."""
    for optimizer in task.optimizers.values():
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                yield optimizer, group, parameter


def memory_of(optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: Tensor) -> Tensor | None:
    """The gradient with which the optimiser's state of this parameter would stay as it is; None without such a state."""
    state = optimizer.state.get(parameter, {})
    if "exp_avg" in state:
        return state["exp_avg"]  # type: ignore[no-any-return]
    if isinstance(state.get("momentum_buffer"), Tensor) and group.get("momentum"):
        return state["momentum_buffer"] * (1 - group["momentum"])  # type: ignore[no-any-return]
    if "square_avg" in state:
        return state["square_avg"].sqrt()  # type: ignore[no-any-return]
    return None


def _bias(optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: Tensor) -> float:
    """By which Adam's mean of the gradients is still too small (Kingma and Ba, 2015)."""
    state = optimizer.state.get(parameter, {})
    if "exp_avg" not in state or "betas" not in group:
        return 1.0
    beta = float(group["betas"][0])
    return float(1 - beta ** float(state["step"])) if "step" in state else 1.0


def next_update(optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: Tensor, gradient: Tensor) -> Tensor:
    """What the optimiser's own rule adds to a parameter for this gradient, tried on copies of it and of its state."""
    twin = copy.copy(optimizer)
    clone = parameter.detach().clone().requires_grad_()
    clone.grad = gradient.detach().clone()
    state = {name: value.clone() if isinstance(value, Tensor) else value for name, value in optimizer.state.get(parameter, {}).items()}
    twin.param_groups = [{**group, "params": [clone]}]
    twin.state = collections.defaultdict(dict, {clone: state} if state else {})
    with torch.no_grad():
        twin.step()
    return clone.detach() - parameter.detach()


def _squares(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2


def _norm(parameters: list[nn.Parameter], squares: dict[Tensor, float]) -> float | None:
    known = [squares[parameter] for parameter in parameters if parameter in squares]
    return math.sqrt(sum(known)) if known else None


@dataclasses.dataclass
class _Sums:
    """Over everything that has passed a module."""

    count: int
    total: Tensor
    squares: Tensor
    at_bounds: Tensor
    least: Tensor
    most: Tensor | None
    """The largest value of each unit; None where some value is below 0, calls have other units, or the module only hands on its input."""

    def add(self, other: _Sums) -> None:
        self.count += other.count
        self.total, self.squares = self.total + other.total, self.squares + other.squares
        self.at_bounds, self.least = self.at_bounds + other.at_bounds, torch.minimum(self.least, other.least)
        same = self.most is not None and other.most is not None and self.most.shape == other.most.shape
        self.most = torch.maximum(self.most, other.most) if same else None  # type: ignore[arg-type]

    def found(self, module: nn.Module) -> Activations:
        mean = float(self.total) / self.count
        rectified = self.most is not None and float(self.least) == 0
        return Activations(
            mean,
            math.sqrt(max(0.0, float(self.squares) / self.count - mean**2)),
            float((self.most == 0).float().mean()) if rectified else None,  # type: ignore[union-attr]
            float(self.at_bounds) / self.count if _bounds(module) is not None else None,
        )


class _Recorder:
    """Sums over everything that passes each module and counts, padding for one does not; the activations themselves are not kept."""

    def __init__(self, named: Mapping[str, nn.Module], vocabulary: Vocabulary | None) -> None:
        self._named, self._vocabulary = named, vocabulary
        self._sums: dict[nn.Module, _Sums] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Recorder:
        self._places = self._stack.enter_context(counting(self._vocabulary))
        for module in self._named.values():
            self._stack.callback(module.register_forward_hook(self._take).remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @torch.no_grad()
    def _take(self, module: nn.Module, inputs: tuple[Any, ...], result: Any) -> None:
        output = hooks.output_of(result)
        if output is None or not output.is_floating_point():
            return
        places = self._places(output)
        values = output.detach() if places is None else rows_of_units(output.detach())[places]
        if values.numel() == 0:
            return
        axis = hooks.unit_axis(values)
        total, squares = values.sum().double(), torch.linalg.vector_norm(values).double().square()
        others = [dimension for dimension in range(values.ndim) if dimension != axis]
        first = values[(0,) * (values.ndim - 1)]
        least = first.min()  # mostly the first few values tell that the output is no relu's, and the others need not be looked at
        least = values.min() if bool(least >= 0) else least
        given = any(each is output for each in inputs) and not getattr(module, "inplace", False)  # an empty container has no units
        most = (values.amax(others) if others else values) if bool(least >= 0) and not given else None
        sums = _Sums(values.numel(), total, squares, _at_bounds(module, values), least, most)
        if module in self._sums:
            self._sums[module].add(sums)
        else:
            self._sums[module] = sums

    def found(self) -> dict[str, Activations]:
        """By address, of those that the data passed."""
        return {address: self._sums[module].found(module) for address, module in self._named.items() if module in self._sums}


def _bounds(module: nn.Module) -> tuple[float, float] | None:
    """Between which a saturating activation function lies."""
    if isinstance(module, nn.Sigmoid):
        return 0.0, 1.0
    if isinstance(module, nn.Tanh) or getattr(module, "nonlinearity", "") == "tanh":
        return -1.0, 1.0
    return None


def _at_bounds(module: nn.Module, values: Tensor) -> Tensor:
    """How many values are at their bounds, 0-d; none where there are no bounds."""
    if (bounds := _bounds(module)) is None:
        return torch.zeros((), device=values.device)
    low, high = bounds
    margin = (high - low) * (1 - SATURATED) / 2
    return ((values < low + margin) | (values > high - margin)).sum()


# --- effective rank ---------------------------------------------------------------------------------------------------------------


TRANSPOSED = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d


def matrices(module: nn.Module) -> list[Tensor]:
    """Its own weight matrices, (outputs, inputs) each; a convolution's with one row for each output channel."""
    own = [parameter.detach() for parameter in module.parameters(recurse=False) if parameter.ndim >= 2]
    if isinstance(module, TRANSPOSED):  # its weights are (inputs, outputs, …)
        own = [weight.transpose(0, 1) for weight in own]
    return [weight.flatten(1) for weight in own if min(weight.flatten(1).shape) > 1]


def effective_rank(matrix: Tensor) -> float:
    """exp of the entropy of the normalised singular values (Roy and Vetterli, 2007): from 1 to the smaller side; 0 of a matrix of zeros."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    gram = tall.double().T @ tall.double()
    values = torch.linalg.eigvalsh(gram.cpu()).clamp_min(0).sqrt()
    if not values.sum():
        return 0.0
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp())


def ranks(task: Task[Any]) -> dict[str, list[tuple[float, int]]]:
    """Effective rank and smaller side of each matrix, by its module's address; kept until a weight changes."""
    version = task.version
    known = _ranks.get(task)
    if known is None or known[0] != version:
        named = {address: matrices(module) for address, module in hooks.modules(task.models).items()}
        found: dict[str, list[tuple[float, int]]] = {address: [] for address in named}
        ranked = [(address, each) for address, own in named.items() for each in own if min(each.shape) <= LARGEST_RANKED]
        for address, matrix in progress.each(ranked, "effective rank of matrix"):
            found[address].append((effective_rank(matrix), min(matrix.shape)))
        _ranks[task] = known = (version, found)
    return known[1]


_ranks: weakref.WeakKeyDictionary[Task[Any], tuple[object, dict[str, list[tuple[float, int]]]]] = weakref.WeakKeyDictionary()
