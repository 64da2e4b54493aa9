"""What each part of a model carries, measured by ablating one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from dlplay import architectures
from dlplay.engine.device import prepare
from dlplay.engine.interventions import parse
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Bars, HeatMap, Table
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import Task, looking
from dlplay.microscope import panels
from tests.conftest import Small

pytestmark = pytest.mark.usefixtures("as_before")


def build(name: str, values: dict[str, Any]) -> Task[Any]:
    card = architectures.card(name)
    settings = make(card.settings, values | {"device": "cpu", "steps": 10})
    return card.load_task()(settings, prepare(settings), None)


def ask(name: str, task: Task[Any], **options: Any) -> Any:
    return panel_of(task, architectures.card(name).panel("ablations"), options)


@pytest.mark.parametrize("preset", ["digits", "digits-transformers"])
def test_those_of_a_gan_are_of_the_network_that_samples_are_drawn_from(preset: str) -> None:
    """With a moving average of the weights, the held-out measure does not pass the generator, which comes first."""
    task = build("gan", dict(architectures.card("gan").presets[preset].values))
    assert "average" in task.models
    shown = ask("gan", task)
    assert shown.figure.startswith("average.")
    if isinstance(shown, HeatMap):
        assert all(row.startswith("average.") for row in shown.rows)


def test_the_network_that_samples_are_drawn_from_is_named_where_another_is_touched() -> None:
    card = architectures.card("gan")
    task = build("gan", dict(card.presets["digits-transformers"].values))
    with pytest.raises(SettingsError, match=r"nothing passed through .* here; there is average\.blocks\.0\.head\.1 as well, so it changed"):
        panel_of(task, card.panel("effect"), {"do": "generator.blocks.0.head.1=0"})
    with pytest.raises(SettingsError, match=r"nothing passed through discriminator\.norm here, so it changed"):
        panel_of(task, card.panel("effect"), {"do": "discriminator.norm=0"})


def test_where_measuring_takes_long_only_the_first_parts_are_ablated(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build("autoencoder", small("autoencoder"))
    whole = ask("autoencoder", task, module="encoder.0")
    assert isinstance(whole, Bars)
    assert len(whole.values) > panels.FEW
    assert " · the first" not in whole.caption
    monkeypatch.setattr(panels, "SECONDS", 0.0)
    cut = ask("autoencoder", task, module="encoder.0")
    assert cut.caption.startswith("mean-ablated: change in the held-out ")
    assert ask("autoencoder", task, module="encoder.0", by="zero").caption.startswith("set to 0: change in the held-out ")
    assert cut.values == whole.values[: panels.FEW]
    assert cut.caption.endswith(f" · the first {panels.FEW} of {len(whole.values)}")


def test_heads_that_were_not_ablated_are_left_empty(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """As are those that a layer does not have: 0 would say that they carry nothing."""
    task = build("gpt", small("gpt") | {"layers": 2, "heads": 2})
    monkeypatch.setattr(panels, "SECONDS", 0.0)
    monkeypatch.setattr(panels, "FEW", 3)
    shown = ask("gpt", task)
    assert shown.caption.endswith(" · the first 3 of 4")
    assert np.isnan(shown.values.numpy()).tolist() == [[False, False], [False, True]]


def test_the_effect_on_one_class_is_that_of_its_examples_alone(small: Small) -> None:
    """By hand, with SciPy's interval of the mean of the paired differences."""
    task = build("convnet", small("convnet"))
    card, do = architectures.card("convnet"), "blocks.0.convolution[1]=0"
    with looking(task):
        without = task.measure()
        with task.touched(parse(do)):
            after = task.measure()
    of_class = [at for at, name in enumerate(without.groups) if name == "7"]
    differences = (after.values - without.values)[of_class].double()
    shown = panel_of(task, card.panel("effect"), {"do": do, "group": "7"})
    assert isinstance(shown, Table)
    assert shown.rows[0][1] == f"{float(without.values[of_class].mean()):.4g}"
    assert shown.rows[1][1:3] == [f"{float(after.values[of_class].mean()):.4g}", f"{float(differences.mean()):+.3g}"]
    low, high = stats.t.interval(0.95, len(differences) - 1, float(differences.mean()), stats.sem(differences))
    assert shown.rows[1][3] == f"{low:+.3g} to {high:+.3g}"
    assert shown.caption.endswith(f" · {len(of_class)} held-out examples of 7")
    with pytest.raises(SettingsError, match="'17' is no class of the held-out examples; their classes are 0, 1, 2"):
        panel_of(task, card.panel("effect"), {"do": do, "group": "17"})
