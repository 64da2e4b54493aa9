"""An architecture's card: everything the command line and the screen know of it. Imports no torch."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from dlplay.engine.errors import cause
from dlplay.engine.settings import Options, Settings, SettingsError
from dlplay.engine.stages import Stage

if TYPE_CHECKING:
    from dlplay.engine.task import Task


@dataclasses.dataclass(frozen=True)
class Preset:
    """Settings that were tried, and go together."""

    values: Mapping[str, Any]
    why: str
    """One line: what they are good for and why they work."""


@dataclasses.dataclass(frozen=True)
class PanelCard:
    """A panel the architecture can show: a question about the model, put with `options`."""

    name: str
    title: str
    hint: str
    """One dim line of plain words under the title: what is seen and how to read it."""
    help: str
    """What `?` tells: a short paragraph."""
    options: type[Options] = Options
    selects: str = ""
    """The option that picking an item (an image, a bar, a token) sets, in every panel of the tab that has it."""
    rows: int = 9
    """Rows it wants at the least, its title and hint left out."""
    when: Callable[[Mapping[str, Any]], bool] | None = None
    """Whether it has something to show with these settings; where it has not, the screen leaves it out. None: it always has."""
    source: str = ""
    """`module:class` of what answers, made of the task, where it is not the task's own `panels()`: one that every architecture has."""

    def load_source(self) -> Callable[[Task[Any]], object]:
        """Import the class that `source` names."""
        module, _, name = self.source.partition(":")
        found: Callable[[Task[Any]], object] = getattr(importlib.import_module(module), name)
        return found


@dataclasses.dataclass(frozen=True)
class ActionCard:
    """Something a person can do to the model, its data, or an episode that is watched."""

    name: str
    title: str
    """A word or two, for the palette and the action area."""
    help: str
    """One line: what it does, and what to look for afterwards."""
    options: type[Options] = Options
    key: str = ""
    """A letter that does it, free on every tab; empty: it is reached by the palette and by its stage alone."""
    lasting: bool = True
    """It changes what is trained, so it is recorded on the curves and saved at once. False: it changes only what `shown_by` shows (an
    episode that somebody watches); it works where nothing trains, and takes no more of the training time than a watched panel."""
    shown_by: tuple[str, ...] = ()
    """For what is not lasting: the panels that look different afterwards."""


@dataclasses.dataclass(frozen=True)
class ChartCard:
    """One chart over training steps. The first training metric of the first chart stands in the run bar as well."""

    title: str
    train: tuple[str, ...] = ()
    """Names of training metrics (at most one value a step each)."""
    held_out: tuple[str, ...] = ()
    """Names of held-out metrics (one value an evaluation each); the first one's baselines are drawn as dashed lines."""
    log: bool = False
    percent: bool = False
    when: Callable[[Mapping[str, Any]], bool] | None = None
    """Whether its metrics exist with these settings; where they do not the chart is left out. None: they always do."""
    better: Literal["higher", "lower", "neither", ""] = ""
    """Which of the first held-out metric's values is the best; by default higher for percentages and lower for the rest, and for the card's
    own metric as the card says."""
    per_token: bool = False
    """Its metrics are means over tokens: they compare between runs that read the same text as the same tokens."""

    @property
    def direction(self) -> Literal["higher", "lower", ""]:
        """Whether higher or lower values of the first held-out metric are better; empty: neither are."""
        if self.better:
            return "" if self.better == "neither" else self.better
        return "higher" if self.percent else "lower"


@dataclasses.dataclass(frozen=True)
class Variant:
    """What a card says instead where one of its settings is given that makes another problem of it: a classifier of a language model."""

    metric: str
    """The held-out metric that says how good the model is."""
    better: Literal["higher", "lower"]
    charts: tuple[ChartCard, ...]
    answers: str
    """The panel that comes first, and that is asked on the command line when none is named."""


@dataclasses.dataclass(frozen=True)
class Card:
    """One architecture, as the command line and the screen know it."""

    name: str
    """As typed: `dlplay NAME`."""
    title: str
    summary: str
    """One line for `--help`."""
    settings: type[Settings]
    task: str
    """`module:class` of the `Task`, imported only in the run's own process."""
    metric: str
    """The held-out metric that says how good the model is."""
    better: Literal["higher", "lower"]
    charts: tuple[ChartCard, ...]
    panels: tuple[PanelCard, ...]
    stage: Stage | None = None
    actions: tuple[ActionCard, ...] = ()
    bounds: tuple[str, ...] = ()
    """Names of those baselines that say what is possible at best (real vs real, the exact solution): to be reached, not beaten."""
    presets: Mapping[str, Preset] = dataclasses.field(default_factory=dict)
    search: tuple[str, ...] = ()
    """Settings and values that a first sweep may search, as `dlplay sweep ARCH --search` takes them; empty: the learning rate."""
    order: int = 100
    """Place among the tabs."""
    batch: str = "batch"
    """The setting that says how many examples a step takes, if there is one; empty: a step is one example, such as an environment's."""
    tokens: Callable[[Mapping[str, Any]], int] | None = None
    """How many tokens an example has with these settings, padding included; 0, or None: examples are not counted in tokens."""
    hf: str = ""
    """`module:class` of the `parts.bridge.Bridge` to the same model in `transformers`; empty when that has none."""
    variants: Mapping[str, Variant] = dataclasses.field(default_factory=dict)
    """By the setting that makes the difference when it is given."""
    answers: str = ""
    """The panel that is asked on the command line when none is named; empty: the stage's, or else the first one."""

    doctor: str = ""
    """Module whose RULES `dlplay doctor` follows beside its own, torch-free; empty: none."""
    by_size: tuple[Mapping[str, Any], ...] = ()
    """Settings with nets from small to large, by which `dlplay check` finds up to which size a CPU trains faster than a GPU; empty where
    `Settings.multiply_adds` says nothing."""
    no_range_test: str = ""
    """Why the learning-rate range test (`--find-lr`) says nothing here; empty where a step minimises one loss."""
    no_script: Callable[[Mapping[str, Any]], str] | None = None
    """Why a run with these settings cannot become a script of PyTorch alone; empty, or None: it can."""
    _found: dict[tuple[str, ...], Card] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    """What `of` has given."""

    def of(self, values: Mapping[str, Any]) -> Card:
        """The card as it is with these settings: of a variant where one is asked for, and without the panels that have nothing to show."""
        chosen = next((name for name in self.variants if values.get(name)), "")
        panels = tuple(panel for panel in self.panels if panel.when is None or panel.when(values))
        if not chosen and len(panels) == len(self.panels):
            return self
        key = chosen, *(panel.name for panel in panels)
        if key not in self._found:
            variant = self.variants.get(chosen, Variant(self.metric, self.better, self.charts, self.answers))
            self._found[key] = dataclasses.replace(
                self,
                metric=variant.metric,
                better=variant.better,
                charts=variant.charts,
                panels=tuple(sorted(panels, key=lambda panel: bool(chosen) and panel.name != variant.answers)),
                answers=variant.answers,
                variants={} if chosen else self.variants,
                _found={},
            )
        return self._found[key]

    @property
    def asked(self) -> str:
        """The panel that answers when none is named."""
        return self.answers or (self.stage.panel if self.stage else self.panels[0].name)

    @property
    def all_charts(self) -> tuple[ChartCard, ...]:
        """Its charts and those of its variants, each once."""
        return tuple(dict.fromkeys([*self.charts, *(chart for variant in self.variants.values() for chart in variant.charts)]))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The held-out metrics, the one that says most first. Some settings have fewer, others more, whose names begin as one of these."""
        return tuple(dict.fromkeys([self.metric, *(name for chart in self.all_charts for name in chart.held_out)]))

    def direction(self, metric: str) -> Literal["higher", "lower", ""]:
        """Whether higher or lower values of a held-out metric are better; empty where nobody says."""
        if metric == self.metric:
            return self.better
        return next((chart.direction for chart in self.all_charts if metric in chart.held_out[:1]), "")

    def panel(self, name: str) -> PanelCard:
        """Raises `KeyError`."""
        return {panel.name: panel for panel in self.panels}[name]

    def load_bridge(self) -> Any:
        """Import and make the `Bridge` that `hf` names."""
        module, _, name = self.hf.partition(":")
        return getattr(importlib.import_module(module), name)()

    def load_task(self) -> type[Task[Any]]:
        """Import the task (and torch with it). Raises `SettingsError` that says what is wrong with its module, and where."""
        module, _, name = self.task.partition(":")
        try:
            task: type[Task[Any]] = getattr(importlib.import_module(module), name)
        except Exception as error:
            raise SettingsError(f"{self.name}: its task cannot be imported: {cause(error)}") from error
        return task
