"""Settings are refused in words that name the value, the bound and the way out, wherever they come from."""

import copy
import dataclasses
import json
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from dlplay import architectures
from dlplay.engine.settings import (
    Options,
    Settings,
    SettingsError,
    change,
    field,
    fields,
    frozen,
    make,
    parse,
    parse_until,
    read_file,
    to_dict,
)


@frozen
class Example(Settings):
    lr: Annotated[float, Meta(gt=0, le=10, extra={"live": True})] = 1e-3
    """How far one step goes."""

    norm: Literal["none", "batch"] = "none"
    """Which normalisation."""

    channels: tuple[Annotated[int, Meta(ge=1, le=64)], ...] = (8, 16)
    """Feature maps per layer."""

    augment: bool = False
    """Shift the images."""

    text: Annotated[str, Meta(extra={"choices": ["reference"], "path": True})] = "reference"
    """What is read."""


def test_fields_carry_bounds_units_defaults_and_docs() -> None:
    assert [item.name for item in fields(Example)][:5] == ["lr", "norm", "channels", "augment", "text"]
    lr = field(Example, "lr")
    assert (lr.kind, lr.low, lr.open_low, lr.high, lr.live, lr.doc, lr.flag) == (
        "float",
        0,
        True,
        10,
        True,
        "How far one step goes.",
        "--lr",
    )
    assert field(Example, "eval-every").unit == "steps"
    assert field(Example, "steps").doc.startswith("Training ends")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lr", "0", ["--lr 0 is out of bounds", "above 0", "10"]),
        ("lr", "abc", ["--lr abc is not a number"]),
        ("lr", "nan", ["--lr nan is not a number"]),
        ("lr", True, ["--lr true is not a number"]),
        ("norm", "bach", ["--norm bach", "none or batch", "did you mean batch?"]),
        ("channels", "8,x", ["--channels 8,x", "16,32"]),
        ("channels", "8,65", ["--channels 8,65 is out of bounds", "1 to 64"]),
        ("steps", "1.5", ["--steps 1.5 is not a whole number"]),
        ("steps", 0, ["--steps 0 is out of bounds", "1 to 1000000000", "steps"]),
        ("steps", 1e400, ["--steps inf is not a whole number"]),
        ("augment", "perhaps", ["--augment perhaps is not true or false"]),
        ("device", "gpu", ["--device gpu", "auto, cpu, cuda or mps"]),
        ("until", "test_accuracy=1", ["write it like test_accuracy>=0.99"]),
        ("lrr", 1, ["there is no setting 'lrr'; did you mean lr?"]),
    ],
)
def test_refused_in_words(name: str, value: object, words: list[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        make(Example, {name: value})
    for word in words:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


def test_typed_text_and_json_give_the_same() -> None:
    typed = make(Example, {"lr": "3e-4", "channels": "4, 5", "augment": "yes", "steps": "1_000", "device": "cuda:3"})
    assert typed == make(Example, json.loads(json.dumps(to_dict(typed))))
    assert typed.channels == (4, 5)


@given(st.floats(min_value=1e-12, max_value=10), st.integers(1, 10**9), st.lists(st.integers(1, 64), min_size=1).map(tuple))
def test_every_setting_survives_its_own_words(lr: float, steps: int, channels: tuple[int, ...]) -> None:
    settings = make(Example, {"lr": lr, "steps": steps, "channels": channels})
    assert make(Example, json.loads(json.dumps(to_dict(settings)))) == settings
    assert parse(field(Example, "channels"), ",".join(map(str, channels))) == channels


def test_a_change_is_checked_and_leaves_the_original_alone() -> None:
    settings = Example()
    assert change(settings, "lr", "0.5").lr == 0.5
    assert settings.lr == 1e-3
    with pytest.raises(SettingsError, match="out of bounds"):
        change(settings, "lr", 11)


def test_unknown_names_can_be_left_out() -> None:
    assert make(Example, {"lr": 1.0, "gone": 3}, lenient=True).lr == 1.0


def test_until_is_a_metric_a_comparison_and_a_number() -> None:
    assert parse_until("test_accuracy >= 0.99") == ("test_accuracy", ">=", 0.99)
    assert parse_until("") is None


@pytest.mark.parametrize(
    ("text", "words"), [("[1]", "one object"), ("{", "not JSON"), ("[" * 60_000, "not JSON"), (" " * 70_000, "larger than 64 KiB")]
)
def test_a_bad_settings_file_is_refused(tmp_path, text: str, words: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        read_file(path)


def test_a_missing_settings_file_is_refused(tmp_path) -> None:
    with pytest.raises(SettingsError, match="cannot read the settings file"):
        read_file(tmp_path / "none.json")


@frozen
class Point(Options):
    x: int
    y: float = 0.5

    def check(self) -> None:
        if self.x < 0:
            raise SettingsError("x is negative", "x")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain:
    """What `dataclass` itself makes of the same."""

    x: int
    y: float = 0.5


def test_a_frozen_class_behaves_as_a_dataclass_does() -> None:
    point, plain = Point(x=3), Plain(x=3)
    assert repr(point) == repr(plain).replace("Plain", "Point")
    assert dataclasses.asdict(point) == dataclasses.asdict(plain)
    assert dataclasses.replace(point, y=2.0) == Point(x=3, y=2.0) != point
    assert len({point, Point(x=3), Point(x=4)}) == 2
    assert point != plain
    for made in (point, plain):
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.x = 4  # type: ignore[misc]
        with pytest.raises(dataclasses.FrozenInstanceError):
            del made.y
        with pytest.raises(TypeError, match="x"):
            type(made)()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="z"):
            type(made)(x=1, z=2)  # type: ignore[call-arg]
    assert copy.deepcopy(point) == copy.copy(point) == point


def test_a_plain_dataclass_may_follow_a_frozen_class() -> None:
    """A room of one's own that was written as any dataclass."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Own(Point):
        z: int = 7

    assert Own(x=1) == Own(x=1, y=0.5, z=7) != Own(x=1, z=8)
    assert [item.name for item in dataclasses.fields(Own)] == ["x", "y", "z"]


def test_no_room_has_a_misspelt_extra_or_a_field_that_no_flag_can_have() -> None:
    for card in architectures.cards().values():
        for kind in (card.settings, *(panel.options for panel in card.panels), *(action.options for action in card.actions)):
            assert fields(kind) or kind is Options
