"""What was called otherwise in earlier versions is still read: options of panels by file and flag, baselines in journals."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dlplay import architectures
from dlplay.engine.settings import SettingsError, fields, make
from dlplay.runs.history import History
from dlplay.runs.journal import decode
from tests.conftest import Dlplay


@pytest.mark.parametrize(
    ("room", "panel", "former", "today"),
    [
        ("recurrent", "next_token", {"hold": "silent"}, {"intervention": "ablate"}),
        ("recurrent", "next_token", {"hold": "clamped", "hold_at": 0.5}, {"intervention": "clamp", "clamp_at": 0.5}),
        ("recurrent", "passage", {"hold": "free"}, {"intervention": "none"}),
        ("seq2seq", "translation", {"silence": "cross"}, {"ablate": "cross"}),
        ("autoencoder", "reconstruction", {"silence": 3}, {"ablate": 3}),
    ],
)
def test_an_option_is_read_under_its_former_name(room: str, panel: str, former: dict[str, Any], today: dict[str, Any]) -> None:
    options = architectures.card(room).panel(panel).options
    assert make(options, former) == make(options, today)


def test_a_former_name_says_today_s_one_when_its_value_is_refused() -> None:
    with pytest.raises(SettingsError, match="--ablate sideways is not"):
        make(architectures.card("seq2seq").panel("translation").options, {"silence": "sideways"})


def test_a_flag_is_read_under_its_former_name_and_is_not_in_the_help(dlplay: Dlplay, tmp_path: Path) -> None:
    asked = ("recurrent", "--headless", "--panel", "next_token", "--prompt", "the value", "--runs-dir", str(tmp_path))
    today = dlplay(*asked, "--intervention", "clamp", "--clamp-at", "1")
    assert (today.status, today.err) == (0, "")
    assert "clamped at 1" in today.out
    assert dlplay(*asked, "--hold", "clamped", "--hold-at", "1") == today
    assert "--hold" not in dlplay("recurrent", "--help").out


def test_a_journal_s_baselines_are_named_as_today() -> None:
    values = {"wasserstein_distance": {"real against real": 0.05, "one broad Gaussian": 0.6, "half of the modes": 0.9}}
    lines = [
        {"type": "baselines", "values": values},
        {"type": "finished", "reason": "steps", "metrics": {}, "baselines": values, "steps_per_second": 1.0, "seconds": 1.0},
    ]
    history = History()
    history.add([decode(msgspec.json.encode(line)) for line in lines])
    assert history.baselines == {"wasserstein_distance": {"real vs real": 0.05, "single Gaussian": 0.6, "half of the modes": 0.9}}


def test_what_the_lowest_value_means_can_be_typed_and_is_shown() -> None:
    options = architectures.card("seq2seq").panel("translation").options
    assert make(options, {"place": "last"}) == make(options, {"place": -1})
    place = next(field for field in fields(options) if field.name == "place")
    assert (place.label, place.shown(-1), place.shown(0)) == ("token", "last", "0")


def test_no_option_shows_a_person_minus_one() -> None:
    for card in architectures.cards().values():
        for kind in {card.settings, *(panel.options for panel in card.panels), *(action.options for action in card.actions)}:
            for field in fields(kind):
                assert field.kind != "int" or field.low != -1 or field.least, f"{card.name}: {field.name}"
                assert "_" not in field.label
