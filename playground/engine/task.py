"""The contract between the engine and an architecture.

A `Task` owns its models, optimisers, data order and random generators. The engine calls `train_step` again and again, knows neither the
model nor the loss, and asks for everything else between two steps. What differs between a classifier, a GAN with two optimisers, a DQN
with an environment and a Transformer-XL with its memory lies inside `train_step` and `extra_state`.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from dlplay.engine import hooks, packed, precision, state
from dlplay.engine.dataset import Dataset, Generated, Missing
from dlplay.engine.errors import DataError
from dlplay.engine.graph import Graph
from dlplay.engine.interventions import Intervention, parse
from dlplay.engine.machine import Sample
from dlplay.engine.means import MeanActivations
from dlplay.engine.panels import AnyPanel, Array
from dlplay.engine.settings import Options, Settings, SettingsError
from dlplay.engine.vocabulary import Vocabulary

if TYPE_CHECKING:
    from dlplay.engine.ahead import Ahead
    from dlplay.engine.captured import Captured
    from dlplay.engine.ranks import Ranks

S = TypeVar("S", bound=Settings)


class Probe(NamedTuple):
    """A fixed part of the held-out data, measured example by example."""

    values: Tensor
    """(n,): one number for each example, such as its loss; on the device, and with a graph where gradients are on."""
    name: str
    """What the numbers are, with their unit: "loss (nats per token)"."""
    better: Literal["lower", "higher"] = "lower"
    groups: Sequence[str] = ()
    """Of each example, such as its class; none where examples have none."""


Share = Callable[[Tensor], Tensor]
"""`Task.share`, for the part of a task that draws its batches."""


class Position(Protocol):
    """Where a task that draws its batches is in the data."""

    def state(self) -> dict[str, Any]:
        """It, in a form that later draws leave alone."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to where `state` was called."""


Earlier = Mapping[int, Callable[[], dict[str, Tensor] | None]]
"""By the step of a checkpoint along the way what reads its weights; None where it has been dropped since."""


class Task(ABC, Generic[S]):
    """Base of every architecture's task.

    A subclass's `__init__(settings, device, assets)` calls this one first, then fills `models` and `optimizers`, in a fixed order, and
    draws initial weights from torch's global generator on the CPU (the engine has seeded it), before `.to(device)`.

    `assets` is what an earlier `assets()` returned, when the weights come from a checkpoint: a vocabulary, class names, shapes that the
    data decided. None: derive them from the data.
    """

    imports_later: ClassVar[tuple[str, ...]] = ()
    """Modules that take long to import and that nothing needs before the first evaluation."""
    thorough_at_end: ClassVar[bool] = False
    """The last evaluation is another one than those during a run (`finishing` is set then): more episodes, for one."""

    baselines_version: ClassVar[int] = 1
    """To be raised whenever baselines are computed otherwise: cached ones of another version count no more."""

    dataset: Dataset = Generated("")
    """What it learns from; set by a subclass's `__init__`."""

    def __init__(self, settings: S, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        self.settings: S = settings
        self.device = device
        self.step = 0
        """Finished training steps; the engine counts it up after every `train_step`."""
        self.models: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.generators: dict[str, torch.Generator] = {}
        self.positions: list[Position] = []
        """Where `draw_batch` is in the data, besides its generators."""
        self.ahead: Ahead | None = None
        """Draws batches before their steps; set by the process for a card."""
        self.finishing = False
        """Set by the engine during the last evaluation of a run."""
        self.not_finite = torch.zeros((), device=device)
        """1 on the device once a loss or gradient was not finite: `minimise` updates nothing from then on, and the engine ends the run."""
        self._one = torch.ones((), device=device)
        self._in_float32 = settings.precision != "bf16"
        self._autocast_used = False
        self._accumulate = settings.accumulate
        self.ranks: Ranks | None = None
        """The processes that train it together, where there are several; set by the process."""
        self._shared = False
        """This batch was divided among them."""
        self._terms: list[Tensor | int] = []
        """With `--accumulate` or several ranks: what each loss of this step was the mean of so many of."""
        self._updates = 0
        """Of any optimiser: fused ones write weights without PyTorch's own count of it."""
        self._means: MeanActivations | None = None
        self.interventions: tuple[Intervention, ...] = ()
        """Those that are at work while somebody looks."""
        self.earlier: Callable[[], Earlier] = dict
        """The checkpoints along the way of the run that it belongs to, for whoever looks back; set by who knows of them."""
        self._trained_with: list[hooks.Handle] = []
        self.compiled = False
        """Whether training steps run the compiled `compiled_modules`; set by `engine.compiled`. With interventions they do not."""
        self.captured: Captured | None = None
        """With `--graph`: takes the steps, which it captures; set by `engine.captured`."""
        self.numbers: dict[str, float] = {}
        """What besides learning rates `update_rates` sets anew for every step: `number` has them as the step computes with them."""
        self.mark: Callable[[str], object] = str
        """Called where a step goes on to `backward`, to `optimiser` and back to `data`: by default for nothing, and set by who times it."""
        self.machine: Callable[[], Sequence[Sample]] = tuple
        """What the machine did while the run trained; set by who knows of it."""

    @classmethod
    def read_ahead(cls, settings: S) -> Dataset | None:
        """Read what a task of these settings reads and what a process keeps: its forks then need not. Returns the data where they are kept.
        No tensors are computed here."""
        return None

    # --- training -----------------------------------------------------------------------------------------------------------------

    def advance(self) -> dict[str, Tensor]:
        """One training step: `train_step`, or with `--accumulate N` one update by N times `train_step`. Metrics are then means over all
        terms of its batches, and with several ranks over those of all ranks."""
        plain = not self._trained_with
        if self.captured is not None and plain and self.mark is str and not self.differs():
            return self.captured.advance()
        if not self.compiled or not plain:
            return self.advance_eagerly()
        with torch.compiler.set_stance("default"):
            return self.advance_eagerly()

    def advance_eagerly(self) -> dict[str, Tensor]:
        """The same without what is captured."""
        if self._accumulate == 1 and self.ranks is None:
            return self.train_step()
        self._terms, batches = [], list[dict[str, Tensor]]()
        if self.ranks is not None:
            self.ranks.in_step = True
        while len(batches) < self._accumulate:
            self._shared = False
            batches.append(self.train_step())
            if len(self._terms) != len(batches):
                use = "use --accumulate 1" if self.ranks is None else "start it without torchrun"
                what = "--accumulate needs" if self.ranks is None else "several ranks need"
                raise DataError(f"{what} an architecture whose steps minimise one loss once; {use}")
        sums: dict[str, Tensor] = {}
        weights: dict[str, Tensor | int] = {}
        for metrics, terms in zip(batches, self._terms, strict=True):
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0) + value * terms
                weights[name] = weights.get(name, 0) + terms
        if self.ranks is not None:
            added = self.ranks.add_up(torch.stack([self._on_device(number) for number in (*sums.values(), *weights.values())]))
            sums, weights = (dict(zip(sums, numbers, strict=True)) for numbers in (added[: len(sums)], added[len(sums) :]))
            self.ranks.in_step = False
        return {name: value / at_least_one(weights[name]) for name, value in sums.items()}

    def draw_batch(self) -> tuple[Tensor, ...]:
        """All that the next batch takes from `positions` and from `generators` of the CPU: tensors there. `train_step` gets them by
        `drawn`, on the device, and draws nothing else on the CPU: for a card several are drawn before their steps, and copied at once."""
        return ()

    def drawn(self) -> tuple[Tensor, ...]:
        """What `draw_batch` gives for this batch, on the device."""
        return self.ahead.next() if self.ahead is not None else self.on_device(self.draw_batch())

    def on_device(self, drawn: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Tensors of the CPU there; a card gets them in one copy and is not waited for."""
        return packed.send(drawn, self.device)

    def settle(self) -> None:
        """Give back what was drawn before its step: generators and positions are then where the last step left them."""
        if self.ahead is not None:
            self.ahead.settle()

    def update_rates(self) -> None:
        """Set what the optimisers' next update goes by: learning rates, weight decay. `train_step` calls it; before a captured step, which
        does not, the engine does."""

    def number(self, name: str) -> float | Tensor:
        """One of `numbers`; where steps are captured as a 0-d tensor on the device, which each of them reads."""
        return self.numbers[name] if self.captured is None else self.captured.number(name, self.numbers[name])

    def differs(self) -> bool:
        """Whether the next step does what others do not, so that it cannot be one that was captured."""
        return False

    def count_update(self) -> None:
        """Weights were changed by what was captured."""
        self._updates += 1

    def share(self, batch: Tensor, dim: int = 0) -> Tensor:
        """Of a global batch (B, …) what this process trains on: all of it or, with several ranks, as many rows as each of the others. To be
        called on what was drawn for the whole batch, so that every rank draws the same."""
        self._shared = True
        if self.ranks is None:
            return batch
        try:
            return self.ranks.share(batch, dim)
        except ValueError as error:
            raise DataError(str(error)) from error

    @abstractmethod
    def train_step(self) -> dict[str, Tensor]:
        """One batch, and the update that it makes; with `--accumulate N` every Nth makes one (see `minimise`). Returns 0-d detached tensors
        by metric name, still on the device: no `.item()`, no wait for the device."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Metrics on the whole held-out split. Deterministic; the engine has set eval mode and switched gradients off."""

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Goes around a training step's forward pass and loss: with `--precision bf16` they are computed in bfloat16 within it, as far as
        that does no harm. Weights, gradients, optimisers and all that is outside stay in float32."""
        if self._in_float32:
            return contextlib.nullcontext()
        self._autocast_used = True
        return precision.bfloat16(self.device)

    def minimise(self, loss: Tensor, optimizer: torch.optim.Optimizer, clip: float = 0.0, terms: Tensor | int = 1) -> dict[str, Tensor]:
        """One update of the optimiser's parameters down the gradient of `loss`; with `--accumulate N` the gradients of N losses are added
        up first, as that of one batch N times as large, and with several ranks those of all ranks. `terms`: how many terms `loss` is the
        mean of, where batches differ in that.

        The gradient's norm is clipped at `clip` (0: not clipped); returns `{"grad_norm": …}` when it was measured, and where the task has
        several optimisers with this one's name in front, such as `generator_grad_norm`. Other parameters that the loss depends on get no
        gradient: a generator's loss leaves nothing in the discriminator.

        A loss or gradient that is not finite changes no parameter, in this update or any later one. A CPU looks, which costs less than a
        guard; elsewhere nobody waits for the device, which leaves the update out or takes it back itself.
        """
        if not (self._in_float32 or self._autocast_used):
            raise DataError("--precision bf16: this architecture has its loss outside `with self.autocast():`; use --precision float32")
        if self.ranks is not None and not self._shared:
            raise DataError("several ranks need an architecture that divides its batches by `self.share(…)`; start it without torchrun")
        parts = self._accumulate > 1 or self.ranks is not None
        if parts:
            self._terms.append(terms)
        complete = len(self._terms) >= self._accumulate or not parts
        can_look = self.device.type == "cpu"
        names = [name for name, own in self.optimizers.items() if own is optimizer]
        several = len(self.optimizers) > 1
        prefix = f"{names[0]}_" if several and names else ""
        if can_look and (self.not_finite.item() or not math.isfinite(loss.item())):
            self.not_finite.fill_(1)
            if self.ranks is None or not complete:
                return {}
        total: Tensor | int = sum(self._terms)
        if self.ranks is not None and complete:
            total = self._over_ranks(self.ranks, loss, total)
            if can_look and self.not_finite.item():
                return {}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if len(self._terms) <= 1:
            for parameter in parameters:
                parameter.grad = None  # as zero_grad does, at a thirtieth of its time: small nets are updated thousands of times a second
        summed = loss * terms if parts else loss
        self.mark("backward")
        with self._summing(parameters) if complete else contextlib.nullcontext():
            summed.backward(inputs=parameters if several else None)  # type: ignore[no-untyped-call]
        if parts:
            if not complete:
                if not can_look:
                    self._watch(loss.detach())
                self.mark("data")
                return {}
            torch._foreach_div_([p.grad for p in parameters if p.grad is not None], at_least_one(total))
        self.mark("optimiser")
        norm: Tensor | float = 0.0
        metrics: dict[str, Tensor] = {}
        if clip > 0:
            metrics[prefix + "grad_norm"] = norm = clip_gradients(parameters, clip)
        elif gradients := [p.grad for p in parameters if p.grad is not None]:
            # what a GradScaler does, with a scale of 1: one kernel that sets the flag and leaves the gradients as they are
            torch._amp_foreach_non_finite_check_and_unscale_(gradients, self.not_finite, self._one)
        if not can_look:
            self._watch(loss.detach() + norm)
            self.count_update()
            if self.captured is not None:
                self.captured.use_rates(optimizer)
            step_where_finite(optimizer, parameters, self.not_finite)
            self.mark("data")
            return metrics
        if not math.isfinite(norm) or self.not_finite.item():
            self.not_finite.fill_(1)
            return metrics
        self.count_update()
        optimizer.step()
        self.mark("data")
        return metrics

    def _over_ranks(self, ranks: Ranks, loss: Tensor, terms: Tensor | int) -> Tensor:
        """The terms of all ranks together. Afterwards `not_finite` is 1 on all of them where a loss of one was not finite."""
        if self.device.type != "cpu":
            self._watch(loss.detach())
        added = ranks.add_up(torch.stack([self._on_device(terms), self.not_finite]))
        self.not_finite.copy_(added[1].clamp(max=1))
        return added[0]

    @contextlib.contextmanager
    def _summing(self, parameters: list[Tensor]) -> Iterator[None]:
        """Around a backward pass: its gradients are summed over the ranks, where there are several."""
        if self.ranks is None:
            yield
            return
        try:
            with self.ranks.summing(parameters):
                yield
        except ValueError as error:
            raise DataError(str(error)) from error

    def _on_device(self, number: Tensor | int) -> Tensor:
        """As a 0-d tensor there, for which nobody waits."""
        return number.float() if isinstance(number, Tensor) else torch.full((), float(number), device=self.device)

    def _watch(self, number: Tensor) -> None:
        """Set `not_finite` on the device if this number there is not."""
        torch.maximum(self.not_finite, (number - number).ne(0).to(self.not_finite.dtype), out=self.not_finite)

    def compiled_modules(self) -> Sequence[nn.Module]:
        """What `--compile` compiles: modules that `train_step` calls. By default the models."""
        return list(self.models.values())

    def change(self, settings: S) -> None:
        """A live setting was changed; takes effect from the next step. Override where a setting is not read at every step."""
        self.settings = settings

    # --- looking inside -----------------------------------------------------------------------------------------------------------

    def probe(self) -> Probe | None:
        """Pass a fixed part of the held-out data through the models, as `evaluate` does, and measure every example: what an intervention
        costs is the mean difference, and the spread says how sure that is. The same examples every time, without randomness; a tenth of a
        second on a CPU at most. None: there are no such examples, and `evaluate` itself is asked."""
        return None

    def measure(self) -> Probe:
        """`probe` or, where there is none, what `evaluate` says: one number, the first of its metrics."""
        found = self.probe()
        if found is None:
            name, value = next(iter(self.evaluate().items()))
            found = Probe(torch.tensor([value]), name.replace("_", " "))
        return found

    def probed(self, numbers: Sequence[int]) -> Array | list[list[str]] | None:
        """The examples that `probe` measures, by their numbers, as they can be shown: pictures as in an `ImageGrid`, or the words of each.
        None: they cannot."""
        return None

    def vocabulary(self) -> Vocabulary | None:
        """The embedding of the tokens that it reads, so that a person can name the row of a word, and which token is padding, so that means
        leave that out. None: it reads no tokens."""
        return None

    def pass_through(self) -> None:
        """Pass real data through every model once, for whoever records what goes through them: what `measure` passes, by default."""
        self.measure()

    @property
    def version(self) -> tuple[object, ...]:
        """Another one whenever an answer about the model may be another: what is derived from the weights is kept by it."""
        return self.step, self._updates, hooks.weights_version(self.models), self.settings.train_with

    @property
    def _passes(self) -> tuple[Callable[[], object], ...]:
        """What passes data through the models: held-out data first, and for what these do not reach `pass_through`."""
        return (self.measure,) if type(self).pass_through is Task.pass_through else (self.measure, self.pass_through)

    def copies(self) -> Sequence[dict[str, nn.Module]]:
        """Copies of the models, by the models' names, that training computes with as well: a target network. None by default."""
        return ()

    def train_with(self) -> None:
        """Put the interventions of the setting `train_with` to work for good, in place of earlier ones. Raises `SettingsError`."""
        interventions = parse(self.settings.train_with)
        if whole := next((each for each in interventions if each.part in self.models), None):
            raise SettingsError(f"--train-with {whole}: name a part of {whole.part}; training need not call the whole model", "train_with")
        for handle in self._trained_with:
            handle.remove()
        self._trained_with = []
        try:
            with looking(self):
                passes = () if isinstance(self.dataset, Missing) else self._passes
                self._trained_with = hooks.attach(self.models, interventions, passes, self.vocabulary())
                for models in self.copies():
                    self._trained_with += hooks.attach(models, interventions, ())
        except SettingsError as error:
            raise SettingsError(str(error).replace("--do", "--train-with", 1), "train_with") from None
        except DataError:
            raise
        except (ArithmeticError, RuntimeError, ValueError) as error:  # such as numbers that no distance can be taken of
            words = f"--train-with {self.settings.train_with[:80]}: the model cannot be measured with it ({error})"
            raise SettingsError(words, "train_with") from error

    @contextlib.contextmanager
    def touched(self, interventions: tuple[Intervention, ...], recordings: hooks.Recordings | None = None) -> Iterator[None]:
        """Within it every forward pass is one with these interventions; the weights stay as they are. Raises `SettingsError`."""
        with hooks.applied(self.models, interventions, self.means, recordings, self.vocabulary()):
            before, self.interventions = self.interventions, self.interventions + interventions
            try:
                yield
            finally:
                self.interventions = before

    def means(self, sites: list[hooks.Site]) -> list[Tensor]:
        """The means of the units at each of these sites over held-out data, (C,) each. Raises `SettingsError` where there is none."""
        if self._means is None:
            runs, version, keeps = self._passes, lambda: self.version, lambda: not self.interventions
            self._means = MeanActivations(self.models, runs, version, self.vocabulary, keeps)
        return self._means(sites)

    @abstractmethod
    def panels(self) -> object:
        """The object that answers the card's panels: a method for each, by the panel's name, from its options to an `AnyPanel`.

        The methods change nothing: they run under `looking`, and leave weights and `.grad` alone.
        """

    def actions(self) -> object:
        """The object that does the card's actions: a method for each, by the action's name, from its options to an `AnyPanel` or None. It
        may change the model, the data or an environment. None by default."""
        return None

    def panel(self, name: str, options: Options) -> AnyPanel:
        """The answer to one question about the model. Raises `SettingsError` for a name that no panel has."""
        panel: AnyPanel = _method(self.panels(), name, "panel")(options)
        return panel

    def act(self, name: str, options: Options) -> AnyPanel | None:
        """Do one of the card's actions. Raises `SettingsError` for a name that no action has."""
        panel: AnyPanel | None = _method(self.actions(), name, "action")(options)
        return panel

    def act_for_good(self, name: str, options: Options) -> AnyPanel | None:
        """The same for an action that changes what is trained. Not to be called while `looking`."""
        self.settle()
        if self.captured is not None:
            self.captured.forget()
        return self.act(name, options)

    def baselines(self) -> dict[str, dict[str, float]]:
        """What methods without a neural net reach on the same held-out data: `{metric: {method: value}}`. May take seconds; cached."""
        return {}

    def baselines_key(self) -> str:
        """The key that they are cached by: the data's, and `baselines_depend_on`. Empty: they are not cached."""
        key = self.data_key()
        return f"{self.baselines_version} {key} {self.baselines_depend_on()}" if key else ""

    def baselines_depend_on(self) -> str:
        """What the baselines depend on besides the data."""
        return ""

    # --- leaving the playground ---------------------------------------------------------------------------------------------------

    def graphs(self) -> dict[str, Graph]:
        """Forward passes that can be written as graphs of tensors, by name, the one that matters most first. None by default."""
        return {}

    # --- state --------------------------------------------------------------------------------------------------------------------

    @property
    def data(self) -> str:
        """The data in words, with sizes."""
        return self.dataset.words

    def data_key(self) -> str:
        """A digest of the data: a run resumes with no others, of which another part would be held out. Empty: nothing to compare."""
        return self.dataset.key

    def assets(self) -> dict[str, Any]:
        """JSON values that the weights are useless without (a vocabulary, class names); saved in every checkpoint."""
        return dict(self.dataset.assets)

    def extra_state(self) -> dict[str, Any]:
        """What else the next step depends on: data position, memory, replay buffer, environment. A tree of dicts with string keys,
        whose leaves are tensors or JSON values."""
        return {}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take up what `extra_state` returned."""

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers of all models, by `model/parameter`."""
        return {f"{name}/{key}": value for name, model in self.models.items() for key, value in model.state_dict().items()}

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Inverse of `weights`; names, shapes and dtypes must be exactly the models' own. Raises `SettingsError`."""
        state.check_like(self.weights(), weights)
        for name, model in self.models.items():
            own = {key.removeprefix(name + "/"): value for key, value in weights.items() if key.startswith(name + "/")}
            model.load_state_dict(own, strict=True)

    @contextlib.contextmanager
    def with_weights(self, weights: dict[str, Tensor]) -> Iterator[None]:
        """Within it the models have these weights, of the same names and shapes, and afterwards their own; all else stays as it is, what
        `load_weights` does besides included. Raises `SettingsError`."""
        own = {name: value.clone() for name, value in self.weights().items()}
        Task.load_weights(self, weights)
        try:
            yield
        finally:
            Task.load_weights(self, own)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the weights that the next steps depend on, keyed by name."""
        self.settle()
        return {
            "step": self.step,
            "data": self.data_key(),
            "optimizers": {name: state.optimizer_state(optimizer, self.models) for name, optimizer in self.optimizers.items()},
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "random": state.random_state(self.device),
            "extra": self.extra_state(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Inverse of `state_dict`. Raises `DataError` when the data have changed, and nothing is loaded then."""
        if saved.get("data", key := self.data_key()) != key:
            raise DataError(
                f"the data are no longer those that this run began with: they are now {self.data}; "
                "bring the former ones back, or begin a new run from its weights"
            )
        self.settle()
        if self.captured is not None:
            self.captured.forget()
        self.step = int(saved["step"])
        for name, optimizer in self.optimizers.items():
            state.load_optimizer_state(optimizer, self.models, saved["optimizers"][name])
        for name, generator in self.generators.items():
            generator.set_state(saved["generators"][name])
        self.load_extra_state(saved["extra"])
        state.set_random_state(saved["random"], self.device)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters; shared ones count once."""
        return sum(parameter.numel() for parameter in self._trained())

    @property
    def trained_bytes(self) -> int:
        """Bytes of the trainable parameters."""
        return sum(parameter.nbytes for parameter in self._trained())

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights, trainable or not."""
        return sum(weight.nbytes for weight in self.weights().values())

    def _trained(self) -> list[nn.Parameter]:
        """Each once."""
        return list({id(p): p for model in self.models.values() for p in model.parameters() if p.requires_grad}.values())


def at_least_one(terms: Tensor | int) -> Tensor | int:
    """What to divide a sum of so many terms by."""
    return terms.clamp(min=1) if isinstance(terms, Tensor) else max(terms, 1)


def clip_gradients(parameters: list[Tensor], clip: float) -> Tensor:
    """Scale the gradients down to a common norm of `clip`, where it is larger; returns the norm before, as
    `nn.utils.clip_grad_norm_` does and to the bit. Where the CPU can look, gradients that need no scaling are not touched."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients or gradients[0].device.type != "cpu":
        return nn.utils.clip_grad_norm_(parameters, clip)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if (scale := clip / (norm + 1e-6)).item() < 1:
        torch._foreach_mul_(gradients, scale)
    return norm


def step_where_finite(optimizer: torch.optim.Optimizer, parameters: list[Tensor], not_finite: Tensor) -> None:
    """Update the parameters unless `not_finite`, 0-d and on their device, is 1; the host does not learn which. CUDA's fused optimisers look
    at such a flag themselves (a GradScaler sets it); what others did is taken back."""
    if not_finite.device.type == "cuda" and optimizer.defaults.get("fused"):
        optimizer.found_inf = not_finite  # type: ignore[attr-defined]
        optimizer.step()
        return
    with torch.no_grad():
        before = [parameter.clone() for parameter in parameters]
        optimizer.step()
        undo = not_finite.bool()
        for parameter, kept in zip(parameters, before, strict=True):
            parameter.copy_(torch.where(undo, kept, parameter))


def _method(source: object, name: str, kind: str) -> Callable[[Options], Any]:
    if name not in (known := public_methods(source)):
        raise SettingsError(f"there is no {kind} {name!r}; known are {', '.join(known) or 'none'}")
    method: Callable[[Options], Any] = getattr(source, name)
    return method


def public_methods(source: object) -> list[str]:
    """Names of the methods that a panels or actions object answers with."""
    return [name for name, _ in inspect.getmembers(type(source), inspect.isfunction) if not name.startswith("_")]


@contextlib.contextmanager
def looking(task: Task[Any]) -> Iterator[None]:
    """Within it the models can be used freely and nothing of the training is disturbed: eval mode, no gradients, and afterwards every
    random generator and every module's mode is as it was."""
    modes = [(module, module.training) for model in task.models.values() for module in model.modules()]
    generators = {name: generator.get_state() for name, generator in task.generators.items()}
    random = state.random_state(task.device)
    for model in task.models.values():
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for name, saved in generators.items():
            task.generators[name].set_state(saved)
        state.set_random_state(random, task.device)
