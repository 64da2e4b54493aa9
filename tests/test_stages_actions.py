"""Acting on a plane and in an environment, as a person at the keyboard or with a mouse meets it, with models that are made up."""

import asyncio
import dataclasses
from typing import Annotated, Any, Literal, cast

import msgspec
import numpy as np
import pytest
from msgspec import Meta

from dlplay import widgets
from dlplay.engine import stages
from dlplay.engine.card import ActionCard, Card, PanelCard
from dlplay.engine.panels import AnyPanel, Array, Bars, Frame, HeatMap, ImageGrid, Scatter
from dlplay.engine.settings import Options
from dlplay.runs.client import RunError
from dlplay.screen.flow import Flow
from dlplay.screen.stages import stage as stage_module
from dlplay.screen.stages.environment import episode
from dlplay.screen.stages.environment.stage import EnvironmentStage
from dlplay.screen.stages.plane import PlaneStage, read_place
from tests.stage_pilot import StageApp, card_of, message, stage_text, until


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentOptions(Options):
    latent: str = "0,0"
    """Where the cursor stands."""

    across: Annotated[int, Meta(ge=0, le=7)] = 0
    """Which number x is."""

    along: Annotated[int, Meta(ge=0, le=7)] = 1
    """Which number y is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcrossOptions(Options):
    across: Annotated[int, Meta(ge=0, le=7)] = 0
    """Which number x is."""


PLANE = card_of(
    stages.Plane("sample", "latent", bounds=(-2.0, 2.0, -1.0, 1.0)),
    PanelCard("sample", "Sample", "What lies there.", "Help.", LatentOptions),
    actions=(ActionCard("kick", "Kick it", "Kick.", key="k"),),
)


class Maker:
    """Makes a picture, or points, out of a place."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.kind = "image"

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        self.asked.append(dict(options))
        await self.gate.wait()
        words = f"made of {options.get('latent', '0,0')}"
        if self.kind == "image":
            return ImageGrid(images=Array.of(np.eye(8)[None]), caption=words)
        return Scatter(points=Array.of(np.zeros((1, 2))), names=["sample"], groups=[0], caption=words)


async def test_the_cursor_walks_and_the_answer_follows() -> None:
    model = Maker()
    app = StageApp(PlaneStage, PLANE, model)
    async with app.run_test(size=(80, 20)) as pilot:
        await until(pilot, lambda: "made of 0,0" in message(app), "an answer for the middle")
        app.query_one(widgets.Plane).focus()
        await pilot.press("right", "up")
        await until(pilot, lambda: "made of 0.1,0.05" in message(app), "a step is a fortieth of the way")
        await pilot.press("shift+left")
        await until(pilot, lambda: app.options["latent"] == "-0.4,0.05", "five steps at once")
        await until(pilot, lambda: "x -0.40  y  0.05" in stage_text(app), "the readout")
        assert "Latent -2 to 2, -1 to 1" in stage_text(app), "what the plane is, and how far it reaches"
        await until(pilot, lambda: any(values.get("latent") == "-0.4,0.05" for values in app.told), "the other panels hear of it")
        for _ in range(30):
            await pilot.press("shift+right", "shift+down")
        await until(pilot, lambda: app.options["latent"] == "2,-1", "held within the bounds")


async def test_a_drag_is_followed_with_one_question_at_a_time() -> None:
    model = Maker()
    app = StageApp(PlaneStage, PLANE, model)
    async with app.run_test(size=(80, 18)) as pilot:
        await until(pilot, lambda: "made of" in message(app), "an answer")
        plane = app.query_one(widgets.Plane)
        model.gate.clear()
        before = len(model.asked)
        await pilot.mouse_down(plane, offset=(0, 0))
        for x in (5, 10, 15, plane.size.width - 1):
            await pilot.hover(plane, offset=(x, 0))
        await until(pilot, lambda: app.options["latent"].startswith("-2"), "a place")
        assert len(model.asked) == before + 1
        await pilot.mouse_up(plane, offset=(plane.size.width - 1, 0))
        model.gate.set()
        await until(pilot, lambda: f"made of {app.options['latent']}" in message(app), "the newest place is answered")
        assert len(model.asked) <= before + 2


async def test_the_answer_may_be_of_any_kind_and_actions_are_offered() -> None:
    model = Maker()
    app = StageApp(PlaneStage, PLANE, model)
    async with app.run_test(size=(80, 18)) as pilot:
        await until(pilot, lambda: bool(app.query(widgets.ImageGrid)), "a picture")
        model.kind = "points"
        app.stage.model_changed()
        await until(pilot, lambda: bool(app.query(widgets.Scatter)) and not app.query(widgets.ImageGrid), "points in its place")
        chips = app.query_one(".chips", Flow)
        place = chips.place("kick")
        assert place is not None
        await pilot.click(chips, offset=place)
        await until(pilot, lambda: app.chosen == ["kick"], "the tab is told")
        assert "k Kick it" in stage_text(app)


@pytest.mark.parametrize("size", [(62, 26), (80, 18)])
async def test_an_answer_in_a_plane_is_the_large_one_of_two_square_planes(size: tuple[int, int]) -> None:
    model = Maker()
    model.kind = "points"
    app = StageApp(PlaneStage, PLANE, model)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: bool(app.query(widgets.Scatter)) and "k Kick it" in stage_text(app), "points, and the actions")
        large, small = app.query_one(widgets.Scatter), app.query_one(widgets.Plane)
        await until(pilot, lambda: large.size.width == 2 * (large.size.height - 2), "square, without its legend and its axes")
        assert small.size.width == 2 * (small.size.height - 2)
        assert large.size.width >= small.size.width


def test_a_place_survives_its_way_through_text() -> None:
    assert read_place("0.5,-1") == (0.5, -1.0)
    assert read_place("1,2,3") is None
    assert read_place("nan,1") is None


# --- the environment --------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoomOptions(Options):
    room: str = ""
    """Pixels there is room for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WatchOptions(RoomOptions):
    steps: Annotated[int, Meta(ge=1, le=64)] = 1
    """How many."""

    policy: Literal["greedy", "random"] = "greedy"
    """Who acts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlayOptions(RoomOptions):
    action: Annotated[int, Meta(ge=0, le=3)] = 0
    """Which."""


ENVIRONMENT = card_of(
    stages.Environment("view", "room", advance="watch", take="play"),
    PanelCard("view", "Watched episode", "The view.", "Help.", RoomOptions),
    actions=(
        ActionCard("watch", "Watch", "Watch.", WatchOptions, key="w", lasting=False, shown_by=("view",)),
        ActionCard("play", "Play", "Play.", PlayOptions, lasting=False, shown_by=("view",)),
        ActionCard("again", "New episode", "Begin anew.", RoomOptions, key="e", lasting=False, shown_by=("view",)),
    ),
)


class World:
    """An environment of ten steps an episode, two actions, and pixels as many as there is room for."""

    def __init__(self) -> None:
        self.acts: list[tuple[str, dict[str, Any], bool]] = []
        self.step, self.last = 0, 10
        self.fps = 0.0
        self.idle: int | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.error = ""
        self.waiting = 0
        self.most_waiting = 0

    def frame(self, room: str) -> Frame:
        columns, rows = (int(side) for side in room.split("x"))
        return Frame(
            pixels=Array.of(np.full((rows, columns, 3), 120, "u1")),
            bars=Bars(labels=["push left", "push right"], values=[1.0, 2.0], chosen=1, caption="next: push right (exploit)"),
            facts={"step": str(self.step), "TD error": "+0.1"},
            controls={"left": 0, "right": 1},
            ended=self.step == self.last,
            fps=self.fps,
            idle=self.idle,
        )

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        return self.frame(options["room"])

    async def act(self, name: str, options: dict[str, Any], *, urgent: bool = False) -> AnyPanel | None:
        self.acts.append((name, dict(options), urgent))
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        await self.gate.wait()
        self.waiting -= 1
        if self.error:
            raise RunError(self.error)
        self.step = 0 if self.step == self.last else min(self.last, self.step + options.get("steps", 1))
        return self.frame(options["room"])


@pytest.mark.parametrize(("characters", "shown"), [("all", "← push left"), ("ascii", "left push left")])
async def test_the_keys_to_play_with_are_named_as_they_are_called_in_ascii(characters: str, shown: str) -> None:
    """There an arrow would be drawn as < or >, and these keys go to another tab."""
    app = StageApp(EnvironmentStage, ENVIRONMENT, World())
    app.characters = characters  # type: ignore[attr-defined]
    async with app.run_test(size=(120, 16)) as pilot:
        await until(pilot, lambda: shown in stage_text(app), shown)


async def test_the_picture_has_as_many_pixels_as_there_are_and_what_the_agent_makes_of_it_beside_it() -> None:
    app = StageApp(EnvironmentStage, ENVIRONMENT, World())
    async with app.run_test(size=(120, 16)) as pilot:
        await until(pilot, lambda: "next: push right (exploit)" in stage_text(app), "what comes next, and why")
        picture = app.query_one(widgets.FrameView)
        await until(pilot, lambda: picture.pixels.shape == (32, picture.size.width, 3), "not one pixel more or less")
        assert app.options["room"] == f"{picture.size.width}x{2 * picture.size.height}"
        await until(pilot, lambda: "▸push right" in stage_text(app) and "TD error" in stage_text(app), "values and facts")
        await pilot.resize_terminal(80, 18)
        await until(pilot, lambda: picture.pixels.shape[:2] == (36, picture.size.width), "as many as there are now")
        assert "TD error" in stage_text(app)


class Scene(World):
    """A picture with an aspect ratio of its own."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self.width, self.height = width, height

    def frame(self, room: str) -> Frame:
        columns, rows = (int(side) for side in room.split("x"))
        scale = min(columns / self.width, rows / self.height)
        size = max(1, round(self.height * scale)), max(1, round(self.width * scale)), 3
        return msgspec.structs.replace(super().frame(room), pixels=Array.of(np.full(size, 120, "u1")))


@pytest.mark.parametrize(("width", "height", "tall"), [(400, 100, True), (100, 140, False)])
async def test_the_parts_stay_where_they_are_when_the_strip_of_curves_comes(width: int, height: int, tall: bool) -> None:
    app = StageApp(EnvironmentStage, ENVIRONMENT, Scene(width, height))
    async with app.run_test(size=(80, 20)) as pilot:
        picture = app.query_one(widgets.FrameView)
        await until(pilot, lambda: app.stage.has_class("-tall") is tall and "exploit" in stage_text(app), "the larger picture of the two")
        await until(pilot, lambda: picture.pixels.shape[1] >= 26, "as large as it can be")
        await pilot.resize_terminal(80, 17)
        await until(pilot, lambda: app.stage.size.height == 17 and "w watch" in stage_text(app), "three rows fewer")
        assert app.stage.has_class("-tall") is tall
        assert "push right" in stage_text(app)


async def test_a_picture_is_as_wide_as_the_stage_and_what_is_below_it_takes_no_more_than_it_needs() -> None:
    app = StageApp(EnvironmentStage, ENVIRONMENT, Scene(200, 100))
    async with app.run_test(size=(62, 26)) as pilot:
        picture = app.query_one(widgets.FrameView)
        await until(pilot, lambda: picture.pixels.shape[1] >= 50, "most of the width")
        used = sum(part.size.height for part in app.query(".beside").first().children)
        assert used + picture.size.height >= app.stage.content_size.height - 1, "no row is left empty"


async def test_the_action_values_stand_once_and_the_picture_takes_their_rows() -> None:
    app = StageApp(EnvironmentStage, ENVIRONMENT, Scene(100, 60))
    async with app.run_test(size=(62, 26)) as pilot:
        picture, bars = app.query_one(widgets.FrameView), app.query_one(widgets.Bars)
        await until(pilot, lambda: app.stage.has_class("-tall") and "▸push right" in stage_text(app), "the values")
        before = picture.size.height
        app.stage.set_forward_pass(True)
        await until(pilot, lambda: picture.size.height > before, "they stand in the forward pass")
        assert not bars.display
        assert "next: push right (exploit)" in stage_text(app)
        assert "TD error" in stage_text(app)
        app.stage.set_forward_pass(False)
        await until(pilot, lambda: bars.display and picture.size.height == before, "and are back without it")


async def test_the_speeds_are_named_as_such() -> None:
    app = StageApp(EnvironmentStage, ENVIRONMENT, World())
    async with app.run_test(size=(120, 16)) as pilot:
        await until(pilot, lambda: "v speed: step  slow  real time  fast" in stage_text(app), "one line of speeds")
        await until(pilot, lambda: "exploit" in stage_text(app), "a picture")
        picture, controls = app.query_one(widgets.FrameView), app.query_one(".controls", Flow)
        await until(pilot, lambda: picture.pixels.shape[1] == picture.size.width, "everything has its place")
        place = controls.place("next")
        assert place is not None
        await pilot.click(controls, offset=place)
        await until(pilot, lambda: app.stage.episode.speed == "fast", "a click on the word is the key: the next one")


async def test_watching_never_asks_for_more_before_it_was_answered_and_stops() -> None:
    world = World()
    app = StageApp(EnvironmentStage, ENVIRONMENT, world)
    async with app.run_test(size=(120, 16)) as pilot:
        await until(pilot, lambda: "exploit" in stage_text(app), "a picture")
        app.query_one(widgets.FrameView).focus()
        await pilot.press("v", "w")
        await until(pilot, lambda: len(world.acts) > 4, "it goes on by itself, as fast as it goes")
        assert app.stage.episode.speed == "fast"
        assert max(options["steps"] for _, options, _ in world.acts) > 1
        assert not any(urgent for *_, urgent in world.acts), "training does not wait for it"
        world.gate.clear()
        await until(pilot, lambda: world.waiting == 1, "one is under way")
        await pilot.press("w")
        world.gate.set()
        await until(pilot, lambda: not app.stage.episode._running, "it stops")
        assert world.most_waiting == 1
        assert "w watch" in stage_text(app)


async def test_four_speeds_by_key_and_by_mouse() -> None:
    world = World()
    world.fps = 50.0
    app = StageApp(EnvironmentStage, ENVIRONMENT, world)
    async with app.run_test(size=(120, 16)) as pilot:
        await until(pilot, lambda: "exploit" in stage_text(app), "a picture")
        picture, controls = app.query_one(widgets.FrameView), app.query_one(".controls", Flow)
        await until(pilot, lambda: picture.pixels.shape[1] == picture.size.width, "everything has its place")
        place = controls.place("speed:single step")
        assert place is not None
        await pilot.click(controls, offset=place)
        await pilot.press("w")
        await until(pilot, lambda: world.acts == [("watch", {"room": app.options["room"], "steps": 1}, True)], "one single step")
        place = controls.place("speed:real time")
        assert place is not None
        await pilot.click(controls, offset=place)
        await pilot.press("w")
        await until(pilot, lambda: len(world.acts) > 3, "in real time")
        assert all(urgent for *_, urgent in world.acts)
        await pilot.press("w")


async def test_the_end_of_an_episode_is_seen_and_the_next_begins(monkeypatch: Any) -> None:
    monkeypatch.setattr(episode, "STEPS_PER_SECOND", 100.0)
    monkeypatch.setattr(episode, "END_SECONDS", 0.2)
    world = World()
    app = StageApp(EnvironmentStage, ENVIRONMENT, world)
    async with app.run_test(size=(120, 16)) as pilot:
        await until(pilot, lambda: "exploit" in stage_text(app), "a picture")
        await pilot.press("w")
        await until(pilot, lambda: "the episode is over; the next begins" in message(app), "the end is told")
        await until(pilot, lambda: 0 < int(app.stage.frame.facts["step"]) < 10, "another episode")


async def test_arrows_and_clicks_take_the_controls() -> None:
    world = World()
    app = StageApp(EnvironmentStage, ENVIRONMENT, world)
    async with app.run_test(size=(120, 16)) as pilot:
        await until(pilot, lambda: "exploit" in stage_text(app), "a picture")
        app.query_one(widgets.FrameView).focus()
        await pilot.press("w", "right")
        await until(pilot, lambda: any(name == "play" for name, *_ in world.acts), "an action of one's own")
        assert next((options, urgent) for name, options, urgent in world.acts if name == "play") == (
            {"room": app.options["room"], "action": 1},
            True,
        )
        await until(pilot, lambda: "you are playing" in message(app), "who acts is told")
        assert not app.stage.episode.watching
        before = len(world.acts)
        await pilot.press("up")
        await pilot.click(app.query_one(widgets.Bars), offset=(3, 0))
        await until(pilot, lambda: len(world.acts) == before + 1, "a click on a bar; there is no action for up")
        assert world.acts[-1][1]["action"] == 0
        await pilot.press("w")
        await until(pilot, lambda: "four steps per second" in message(app), "the agent goes on")


async def test_nothing_is_asked_for_while_nobody_sees_it_or_nobody_answers() -> None:
    world = World()
    app = StageApp(EnvironmentStage, ENVIRONMENT, world)
    async with app.run_test(size=(120, 16)) as pilot:
        await until(pilot, lambda: "exploit" in stage_text(app), "a picture")
        await pilot.press("v", "w")
        await until(pilot, lambda: len(world.acts) > 2, "it is watched")
        app.stage.display = False
        await until(pilot, lambda: world.waiting == 0, "the last one was answered")
        await pilot.pause(episode.FAST_SECONDS)
        before = len(world.acts)
        await pilot.pause(3 * episode.FAST_SECONDS)
        assert len(world.acts) == before
        app.stage.display = True
        await until(pilot, lambda: len(world.acts) > before, "it goes on when it is seen again")
        app.stage.act = app.stage.ask = None
        app.stage.set_unavailable("the run was interrupted: F5 resumes it from its last checkpoint")
        await until(pilot, lambda: "the run was interrupted" in message(app), "told in words")
        app.stage.act, app.stage.ask = world.act, world.ask
        before = len(world.acts)
        await until(pilot, lambda: len(world.acts) > before, "another process takes over")


async def test_a_refusal_stops_it_in_words() -> None:
    world = World()
    app = StageApp(EnvironmentStage, ENVIRONMENT, world)
    async with app.run_test(size=(80, 18)) as pilot:
        await until(pilot, lambda: "exploit" in stage_text(app), "a picture")
        world.error = "there is no episode of this kind to be watched yet; train until one has ended"
        await pilot.press("w")
        await until(pilot, lambda: "train until one has ended" in " ".join(stage_text(app).split()), "whole, over several lines")
        assert not app.stage.episode.watching


def test_real_time_is_the_environments_own() -> None:
    watched = episode.Episode(cast("episode.Viewer", None), "watch", "play")
    assert watched.speed == "real time", "unless a person wants another speed"
    watched.toggle()
    watched.fps = 50.0
    assert watched._next(10.0) == ("watch", {"steps": 1}, True)
    assert watched._next(10.1)[1] == {"steps": 5}, "a tenth of a second of an environment that runs at 50 steps a second"
    watched.fps = 0.0
    assert watched._next(10.6)[1:] == ({"steps": 2}, False), "one that has no time of its own runs at 4, and training does not wait"


async def test_a_key_that_is_held_goes_on_at_the_environments_own_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episode, "HOLD_SECONDS", 1000.0)
    world = World()
    world.fps, world.last = 50.0, 10_000
    app = StageApp(EnvironmentStage, ENVIRONMENT, world)
    async with app.run_test(size=(120, 16)) as pilot:
        await until(pilot, lambda: "exploit" in stage_text(app), "a picture")
        await pilot.press("right")
        await until(pilot, lambda: len(world.acts) == 1 and not app.stage.episode._running, "a key is a step")
        assert "you are playing: hold a key" in message(app), "since no action does nothing"
        await pilot.press("right")
        await until(pilot, lambda: len(world.acts) > 4, "the terminal repeats it: it is held")
        assert {options["action"] for _, options, _ in world.acts} == {1}
        assert all(urgent for *_, urgent in world.acts)
        await pilot.press("left")
        await until(pilot, lambda: not app.stage.episode._running, "another key ends that")
        assert world.acts[-1][1]["action"] == 0


async def test_time_goes_on_without_a_key_where_an_action_does_nothing() -> None:
    world = World()
    world.fps, world.idle = 50.0, 0
    app = StageApp(EnvironmentStage, ENVIRONMENT, world)
    async with app.run_test(size=(120, 16)) as pilot:
        await until(pilot, lambda: "exploit" in stage_text(app), "a picture")
        await pilot.press("right")
        await until(pilot, lambda: "you are playing in real time" in message(app) or world.step == 10, "told in words")
        await until(pilot, lambda: "the episode is over" in message(app), "to its end")
        await until(pilot, lambda: not app.stage.episode._running, "where it waits for a person")
        assert [options["action"] for _, options, _ in world.acts] == [1] + [0] * (len(world.acts) - 1)
        assert len(world.acts) > 1


async def test_a_world_without_time_waits_for_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episode, "HOLD_SECONDS", 1000.0)
    world = World()
    world.idle = 0
    app = StageApp(EnvironmentStage, ENVIRONMENT, world)
    async with app.run_test(size=(120, 16)) as pilot:
        await until(pilot, lambda: "exploit" in stage_text(app), "a picture")
        for count in (1, 2):
            await pilot.press("right")
            await until(pilot, lambda count=count: len(world.acts) == count and not app.stage.episode._running, "one step each")
        assert "a step a key" in message(app)


def painted(options: type[Options]) -> Card:
    """The plane, with a picture behind it that takes these options."""
    return card_of(
        stages.Plane("sample", "latent", bounds=(-2.0, 2.0, -1.0, 1.0), shows="plane"),
        PanelCard("sample", "Sample", "What lies there.", "Help.", LatentOptions),
        PanelCard("plane", "Plane", "What lies where.", "Help.", options),
    )


class Painter(Maker):
    """Has a picture of the whole plane as well."""

    def __init__(self) -> None:
        super().__init__()
        self.painted: list[dict[str, Any]] = []

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        if panel != "plane":
            return await super().ask(panel, options)
        self.painted.append(dict(options))
        names = {"column_title": f"latent {options.get('across', 0)}", "row_title": "latent 5"}
        return ImageGrid(images=Array.of(np.eye(8)[None] * len(self.painted)), **names)


async def test_the_picture_behind_follows_the_model_but_not_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "BEHIND_SECONDS", 1000.0)
    card = painted(AcrossOptions)
    model = Painter()
    app = StageApp(PlaneStage, card, model)
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: len(model.painted) == 1, "a picture")
        asked = len(model.asked)
        app.stage.model_changed()
        await until(pilot, lambda: len(model.asked) > asked, "the sample follows")
        app.query_one(widgets.Plane).focus()
        await pilot.press("right")
        await until(pilot, lambda: "made of 0.1,0" in message(app), "the cursor walks")
        assert len(model.painted) == 1, "neither asks for the picture again"
        await until(pilot, lambda: "latent 0  0.10  latent 5  0.00" in stage_text(app), "the answer names the axes")
        app.stage.set_option("across", 3)
        app.stage.ask_question()
        await until(pilot, lambda: len(model.painted) == 2, "another axis does")
        await until(pilot, lambda: "latent 3  0.10" in stage_text(app), "which is named as well")
        monkeypatch.setattr(stage_module, "BEHIND_SECONDS", 0.0)
        app.stage.model_changed()
        await until(pilot, lambda: len(model.painted) == 3, "and a changed model, after a while")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SheetOptions(Options):
    images: Annotated[int, Meta(ge=3, le=15)] = 7
    """Images in each row and column."""


async def test_a_plane_is_painted_with_as_many_images_as_can_be_made_out() -> None:
    card = painted(SheetOptions)
    model = Painter()
    app = StageApp(PlaneStage, card, model)
    async with app.run_test(size=(80, 20)) as pilot:
        await until(pilot, lambda: {"images": 3} in model.painted, "few in a small plane")
        await pilot.resize_terminal(180, 50)
        await until(pilot, lambda: model.painted[-1]["images"] == app.query_one(widgets.Plane).size.width // 9 > 5, "more in a large one")


class Mapper(Painter):
    """Its picture of the plane is numbers."""

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        found = await super().ask(panel, options)
        return HeatMap(values=Array.of(np.zeros((7, 7)))) if panel == "plane" else found


async def test_a_plane_of_numbers_is_painted_as_finely_as_usual() -> None:
    model = Mapper()
    app = StageApp(PlaneStage, painted(SheetOptions), model)
    async with app.run_test(size=(80, 20)) as pilot:
        await until(pilot, lambda: model.painted[-1:] == [{}], "no other number than the usual one")
