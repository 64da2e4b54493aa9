"""The curves of shipped models: they end where the models do, and stand behind a run that learns the same before and while it trains."""

from pathlib import Path

import pytest

from dlplay import architectures
from dlplay.checkpoints import shipped
from dlplay.runs import curve
from dlplay.screen.charts import Chart
from dlplay.screen.run.companions import Companions
from tests.screen_pilot import opened, screen_text, until

CARDS = architectures.cards()
SHIPPED = shipped.shipped()
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_curves_of_a_shipped_model_end_where_it_does(name: str) -> None:
    item = SHIPPED[name]
    card = CARDS[item.architecture]
    history = curve.read(item, card.metric, card.better)
    assert history.step == history.settings["steps"]
    assert history.baselines == item.baselines
    assert history.held_out.keys() == item.metrics.keys()
    assert history.held_out[item.metric].last == pytest.approx(item.value, rel=curve.TOLERANCE)
    assert all(2 <= len(series) <= curve.BLOCKS for series in history.training.values())
    if (file := item.path / curve.FILE).exists():
        assert history.training
        assert file.stat().st_size < 40_000


@pytest.mark.parametrize("name", sorted({item.architecture for item in SHIPPED.values()}))
async def test_before_training_every_chart_shows_the_pretrained_model_and_its_baselines(name: str, tmp_path: Path) -> None:
    async with opened(tmp_path, (140, 50), tab=name) as (app, _):
        await until(lambda: "pretrained" in screen_text(app))
        charts = [chart for chart in app.tab.query(Chart) if chart.display]
        assert charts
        await until(lambda: all(chart.plot.curves for chart in charts if chart.card.held_out))
        for chart in charts:
            assert all(each.dotted and each.behind for each in chart.plot.curves)
            assert chart.plot.limits == charts[0].plot.limits
            assert chart.plot.x_axis == (chart is charts[-1])
        assert any(chart.plot.guides for chart in charts)


async def test_a_run_on_other_data_is_not_compared_with_it(tmp_path: Path) -> None:
    card = CARDS["gpt"]
    companions = Companions(card)
    settings = dict(vars(card.settings()))
    assert companions.pretrained.alike(settings) is companions.pretrained.first
    assert companions.pretrained.alike(settings | {"lr": 0.1, "width": 8, "seed": 3}) is companions.pretrained.first
    assert companions.pretrained.alike(settings | {"tokens": "char"}) is None


def test_nothing_says_that_a_curve_is_still_to_come() -> None:
    for folder in ("playground", "widgets"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "drawn here" not in path.read_text(), path
