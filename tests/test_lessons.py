"""Lessons: what may stand in one, what becomes of its claims, and the guide on the screen."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlplay import architectures, template
from dlplay.cli import run
from dlplay.engine.events import Baselines, Evaluated, Failed, Started, Stepped
from dlplay.engine.panels import Array, Bars, HeatMap, Lines, Table
from dlplay.lessons import condition, evidence, found, player, progress
from dlplay.lessons.condition import ConditionError, Quantity
from dlplay.lessons.evidence import Evidence, ReadError
from dlplay.lessons.found import LessonError
from dlplay.runs import directory
from dlplay.runs.history import History
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.lessons.guide import GuidePane
from dlplay.screen.tab import SETTINGS
from tests.conftest import ROOT, Dlplay
from tests.screen_pilot import opened, part_text, screen_text, until

LESSONS = found.all_lessons()

# --- conditions ---------------------------------------------------------------------------------------------------------------------

VALUES = {"a.val_loss": [2.0], "b.val_loss": [1.5, 2.5, 1.0], "a.val_loss[PCA, the linear optimum]": [4.0], "seen": [0.25]}


def look(quantity: Quantity, after: int | None) -> list[float] | None:
    name = f"{quantity.run}.{quantity.metric}" if quantity.run else quantity.metric
    return VALUES.get(f"{name}[{quantity.baseline}]" if quantity.baseline else name)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a.val_loss <= 2", True),
        ("a.val_loss < 2", False),
        ("a.val_loss < 1.9 within 0.2", True),
        ("a.val_loss >= 2.1 within 0.2", True),
        ("a.val_loss >= 2.3 within 0.2", False),
        ("a.val_loss == 2.05 within 0.1", True),
        ("a.val_loss == 2.2 within 0.1", False),
        ("a.val_loss > b.val_loss", True),  # the median of three seeds
        ("max(b.val_loss) - min(b.val_loss) >= 1.5", True),
        ("max(b.val_loss) < a.val_loss", False),
        ("a.val_loss <= 0.5 * a.val_loss[PCA, the linear optimum]", True),
        ("a.val_loss <= 0.4*a.val_loss[PCA, the linear optimum]", False),
        ("-a.val_loss + 3 >= 1e0", True),
        ("seen <= 0.25 after 10 steps", True),
        ("b.val_loss within_reach", None),
        ("nobody.val_loss < 3", None),
    ],
)
def test_a_condition_is_judged_by_the_values(text: str, holds: bool | None) -> None:
    if "within_reach" in text:
        with pytest.raises(ConditionError, match="a sign is expected where 'within_reach' stands"):
            condition.parse(text)
        return
    verdict = condition.parse(text).judge(look)
    assert verdict.holds is holds
    assert (verdict.left is None) == (holds is None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a name is expected where 'the text ends' stands"),
        ("a.val_loss", "a sign is expected"),
        ("a.val_loss =< 2", "'=< 2' is no part of a condition"),
        ("a.val_loss == 2", "== needs a tolerance, such as within 0.01"),
        ("a.val_loss < 2 after 10", "'steps' is expected where 'the text ends' stands"),
        ("a.val_loss < 2 after 1.5 steps", "after 1.5 is no whole number of steps"),
        ("a.val_loss < 2 and more", "the end is expected where 'and' stands"),
        ("max(a.val_loss < 2", "')' is expected where '<' stands"),
        ("__import__('os') < 2", "is no part of a condition"),
        ("a.val_loss < " + "1 + " * 100, "a condition of 4"),
    ],
)
def test_what_is_no_condition_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ConditionError) as error:
        condition.parse(text)
    assert words in str(error.value)


@given(st.text(alphabet="a.bmxin()[]<>=*+- 019e within after steps", max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        condition.parse(text).judge(look)
    except ConditionError:
        return


def trained(*values: float, last: int = 100, training: tuple[float, ...] = ()) -> History:
    """A run whose `test_accuracy` had these values, evenly spaced up to the last step."""
    history = History()
    settings = {"steps": last}
    started = Started(
        architecture="x", name="x-1", settings=settings, device="cpu", device_name="", threads=1, parameters=1, data="",
    )  # fmt: skip
    at = [last * number // len(values) for number in range(1, len(values) + 1)]
    history.add([started, Baselines(values={"test_accuracy": {"nearest centre": 0.87}})])
    history.add([Evaluated(step=step, metrics={"test_accuracy": value}) for step, value in zip(at, values, strict=True)])
    if training:
        history.add([Stepped(first=1, step=len(training), metrics={"train_loss": list(training)}, seconds=1.0)])
    return history


def test_metrics_count_at_the_end_or_at_a_step_and_training_metrics_as_a_mean(own: found.Lesson) -> None:
    seen = Evidence(own, {"line": [trained(0.5, 0.6, 0.7, 0.8, training=(*[9.0] * 50, *[1.0, 3.0] * 25))]})

    def value(text: str) -> list[float] | None:
        one = condition.parse(text)
        return seen.look(one.quantities[0], one.after)  # type: ignore[return-value]

    assert value("line.test_accuracy < 1") == [0.8]
    assert value("test_accuracy < 1") == [0.8]  # a lesson with one run need not name it
    assert value("test_accuracy < 1 after 50 steps") == [0.6]
    assert value("test_accuracy < 1 after 74 steps") == [0.6]
    assert value("test_accuracy < 1 after 101 steps") is None
    assert value("test_accuracy[nearest centre] < 1") == [0.87]
    assert value("test_accuracy[nobody] < 1") is None
    assert value("train_loss < 1") == [2.0]


@pytest.mark.parametrize(
    ("what", "value"), [("min", 0.1), ("max", 0.6), ("mean", 0.3), ("sum", 0.9), ("a, y", 0.2)], ids=lambda what: str(what)
)
def test_numbers_are_read_from_a_heat_map(what: str, value: float) -> None:
    panel = HeatMap(values=Array.of([[0.1, 0.2], [0.6, float("nan")]]), rows=["a", "b"], columns=["x", "y"])
    assert evidence.read(panel, what) == pytest.approx(value)


def test_numbers_are_read_from_bars_and_lines_and_what_is_not_there_is_told() -> None:
    assert evidence.read(Bars(labels=["found", "bound"], values=[0.4, 0.2]), "bound") == 0.2
    assert evidence.read(Lines(x=[1, 2], series={"gru": [3.0, 4.0], "conv": [1.0, None]}), "gru") == 4.0
    with pytest.raises(ReadError, match=r"there is no 'none' in the panel; there are min, max, sum, mean and found, bound"):
        evidence.read(Bars(labels=["found", "bound"], values=[0.4, 0.2]), "none")
    lens = Table(columns=["after", "1.", "2."], rows=[["layer 0", "a 21 %", "x2 10.5 %"], ["layer 1", "found", "-"]])
    assert evidence.read(lens, "layer 0, 2.") == 10.5
    assert evidence.read(lens, "sum") == 31.5
    with pytest.raises(ReadError, match="no numbers in the panel: nothing is trained"):
        evidence.read(Table(columns=["a"], rows=[["b"]], caption="nothing is trained"), "max")


# --- what may stand in a lesson -----------------------------------------------------------------------------------------------------

TEXT = (template.SOURCE / "lessons" / "blobs.toml").read_text()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with the room that `dlplay new` writes."""
    template.write("my-net", tmp_path / "rooms")
    return tmp_path / "rooms"


@pytest.fixture
def rooms(written: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, taken up; it is forgotten afterwards."""
    monkeypatch.setenv(architectures.VARIABLE, "")
    monkeypatch.setattr(architectures, "__path__", list(architectures.__path__))
    before = set(sys.modules)
    architectures.add_rooms([written])
    yield written
    for name in set(sys.modules) - before:
        if name.startswith("dlplay.architectures.my_net"):
            del sys.modules[name]
    architectures.cards.cache_clear()


@pytest.fixture
def own(rooms: Path) -> found.Lesson:
    return found.named("my-net")


def test_a_room_of_ones_own_has_a_lesson(own: found.Lesson) -> None:
    assert (own.room, own.title, list(own.runs)) == ("my-net", "A straight line between two clouds", ["line"])
    assert [step.does for step in own.steps] == [["train"], ["show"]]
    assert "my-net" in [lesson.name for lesson in found.all_lessons()]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("steps = 300", "stepz = 300", "runs.line: there is no setting 'stepz'; did you mean steps?"),
        ("steps = 300", "lr = 1000.0", "runs.line: --lr 1000 is out of bounds; use"),
        ("steps = 300", "seed = 3", "whoever plays the lesson chooses the seed"),
        ("settings =", 'preset = "quick"\nsettings =', "my-net has no preset 'quick'; known are slow"),
        ("settings =", 'room = "gtp"\nsettings =', "there is no architecture 'gtp'; did you mean gpt?"),
        ("[runs.line]", "[runs.LINE]", "matching regex"),
        ('train = "line"', 'train = "lime"', "there is no run 'lime' in this lesson; did you mean line?"),
        ('train = "line"', 'train = "line"\nfind_lr = true', "step 1: it does several things (train, find_lr); make a step of each"),
        ('panel = "plane"', 'panel = "plain"', "step 2: my-net has no panel 'plain'; did you mean plane?"),
        ('panel = "plane"', 'panel = "plane", options = { colour = "red" }', "the panel plane has no option 'colour'; it has none"),
        ('panel = "plane"', 'panel = "plane", model = "gpt-reference"', "my-net has no run or model 'gpt-reference'"),
        ("show = ", 'act = { action = "discriminator_step" }\n# ', "my-net has no action 'discriminator_step'; it has none"),
        ("answer = 2", "answer = 4", "answer = 4, of 3 choices; count from 1"),
        ("answer = 2", "answer = 5", "<= 4"),
        ('choices = ["it stays at 50 %", "nearly as far", "100 %"]', 'choices = ["100 %"]', "length >= 2"),
        ("line.test_accuracy >= line", "line.test_acuracy >= line", "my-net has no metric 'test_acuracy'; did you mean test_accuracy?"),
        ("line.test_accuracy >= line", "lime.test_accuracy >= line", "there is no run 'lime' so far; did you mean line?"),
        ("after 300 steps", "after 301 steps", "line ends after 300 steps; use after 300 steps at most"),
        ("after 300 steps", "after 300", "step 1: 'test_accuracy <= test_accuracy[nearest centre] within 0.03 after 300': 'steps' is"),
        ("The border lies", "One. Two. Three. The border lies", "step 2: its text has 4 sentences; use 3 at most"),
        ("promise =", "promice =", "unknown field `promice`"),
        ("order = 900", "order = 9000", "<= 1000"),
        ("show = ", 'set = { lr = "high" }\n# ', "step 2: --lr high is not a number"),
        ("show = ", 'overlay = ["line", "lime"]\n# ', "there is no run 'lime' in this lesson"),
        ('title = "A straight', 'title = "\\u0041 straight" #', None),
        ("title =", "title", "lesson my-net: "),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_one_line(before: str, after: str, words: str | None, rooms: Path) -> None:
    assert before in TEXT
    text = TEXT.replace(before, after, 1)
    card = architectures.card("my-net")
    if words is None:
        assert found.parse(text.encode(), "my-net", card).title == "A straight"
        return
    with pytest.raises(LessonError) as error:
        found.parse(text.encode(), "my-net", card)
    assert words in str(error.value)
    assert str(error.value).startswith("lesson my-net: ")
    assert "\n" not in str(error.value)


def test_files_that_are_no_lessons_are_refused(rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rooms / "my_net" / "lessons" / "my-net.toml"
    path.write_bytes(b"\xff\xfe")
    assert run(["learn"]) == 2
    assert "lesson my-net" in capsys.readouterr().err
    path.write_text("#" * 70_000)
    assert run(["learn"]) == 2
    assert "larger than 65,536 bytes" in capsys.readouterr().err
    path.write_text(TEXT)
    path.rename(path.with_name("Gates.toml"))
    assert run(["learn"]) == 2
    assert "a lesson cannot be called 'Gates'" in capsys.readouterr().err
    path.with_name("Gates.toml").rename(path.with_name("gates.toml"))
    assert run(["learn"]) == 2
    assert "two lessons have the name gates" in capsys.readouterr().err


def test_every_lesson_is_short_and_claims_something() -> None:
    assert len(LESSONS) >= 13
    for lesson in LESSONS:
        assert any(step.claims for step in lesson.steps), lesson.name
        assert any(step.question for step in lesson.steps), lesson.name
        for step in lesson.steps:  # a guess is asked before the answer is seen, so the step must do something
            assert step.question is None or step.does, lesson.name


def test_the_page_about_lessons_lists_them_and_shows_the_one_of_a_new_room() -> None:
    page = (ROOT / "docs" / "lessons.md").read_text()
    for lesson in LESSONS:
        assert f"| `{lesson.name}` ({architectures.card(lesson.room).title}) | {lesson.promise} |" in page
    assert "\n".join(f"    {line}".rstrip() for line in TEXT.splitlines()) in page


# --- the command --------------------------------------------------------------------------------------------------------------------


def test_learn_lists_the_lessons_with_a_mark_for_those_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lessons.json"
    monkeypatch.setattr(progress, "default_path", lambda: path)
    progress.mark_done(path, LESSONS[1].name)
    assert run(["learn"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == LESSONS[0].name
    assert lines[2].split()[:2] == ["✓", LESSONS[1].name]
    assert lines[-1] == f"1 of {len(LESSONS)} done; dlplay learn NAME opens one"
    assert run(["learn", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["name"] for item in listed if item["done"]] == [LESSONS[1].name]
    assert [item["promise"] for item in listed] == [lesson.promise for lesson in LESSONS]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such"], "there is no lesson 'no-such'"),
        (["gate"], "did you mean gates?"),
        (["--headless"], "--headless needs the name of a lesson"),
        (["gates", "--seed", "3"], "--seed needs --headless"),
        (["gates", "--headless", "--seed", "x"], "--seed x is not a whole number"),
        (["gates", "--json"], "--json needs --headless"),
    ],
)
def test_learn_refuses_in_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["learn", *arguments]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_learn_opens_the_tab_of_the_lesson(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr("dlplay.commands.lessons.open_screen", lambda **wishes: asked.update(wishes) or 0)
    assert run(["learn", "gates", "--runs-dir", str(tmp_path)]) == 0
    assert asked == {"tab": "recurrent", "lesson": "gates", "runs_dir": tmp_path}


def test_a_lesson_is_played_without_a_screen_and_a_false_claim_is_found(dlplay: Dlplay, written: Path, tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    given = ("--rooms", str(written), "--runs-dir", str(runs_dir))
    played = dlplay("learn", "my-net", "--headless", "--seed", "1", "--json", *given)
    assert (played.status, played.err) == (0, "")
    *claims, last = [json.loads(line) for line in played.out.splitlines()]
    assert [claim["holds"] for claim in claims] == [True, True]
    assert last["runs"] == ["learn-my-net-1-line"]
    assert (last["claims"], last["held"]) == (2, 2)
    run_ = directory.find(runs_dir, "learn-my-net-1-line")
    assert run_.spec.settings["seed"] == 1
    assert directory.summary(run_).state == "finished"
    path = written / "my_net" / "lessons" / "my-net.toml"
    text = path.read_text().replace("[nearest centre] - 0.05", "[nearest centre] + 0.05")
    path.write_text(text.replace('panel = "plane"', 'panel = "plane", reads = { widest = "max" }'))
    failed = dlplay("learn", "my-net", "--headless", *given)
    assert failed.status == 2
    assert "step 2: there are no numbers in the panel" in failed.err
    path.write_text(text)
    failed = dlplay("learn", "my-net", "--headless", *given)
    assert failed.status == 1
    assert "DOES NOT HOLD: It comes close" in failed.out
    assert "1 of 2 claims hold; its runs are the group learn-my-net-3" in failed.out


def test_a_run_that_fails_ends_the_playing_in_words(dlplay: Dlplay, written: Path, tmp_path: Path) -> None:
    path = written / "my_net" / "task.py"
    path.write_text(path.read_text().replace('"train_loss": loss.detach()', '"train_loss": loss.item()'))
    failed = dlplay("learn", "my-net", "--headless", "--rooms", str(written), "--runs-dir", str(tmp_path / "runs"))
    assert failed.status == 2
    assert "lesson my-net: learn-my-net-1-line: the architecture returned what cannot be used" in failed.err


# --- what is remembered -------------------------------------------------------------------------------------------------------------


def test_done_lessons_are_remembered(tmp_path: Path) -> None:
    path = tmp_path / "config" / "lessons.json"
    assert progress.read(path) == progress.Progress()
    progress.mark_done(path, "gates")
    progress.mark_welcomed(path)
    progress.mark_done(path, "gates")
    assert progress.read(path) == progress.Progress(done=["gates"], welcomed=True)
    assert [item.name for item in path.parent.iterdir()] == ["lessons.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"done": "gates"}', b'{"done": [1]}', b'{"welcomed": "yes"}', b"\xff", b"[" * 100_000, b'{"done": ["' + b"x" * 70_000],
)
def test_a_hostile_file_is_as_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "lessons.json"
    path.write_bytes(content)
    assert progress.read(path) == progress.Progress()


def test_where_nothing_can_be_written_nothing_happens(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    progress.mark_done(tmp_path / "file" / "lessons.json", "gates")
    assert progress.read(tmp_path / "file" / "lessons.json").done == []


# --- on the screen ------------------------------------------------------------------------------------------------------------------


def guide(app: PlaygroundApp) -> GuidePane:
    assert app.desk.guide is not None
    return app.desk.guide


async def test_the_guide_asks_trains_reveals_and_remembers(rooms: Path, tmp_path: Path) -> None:
    async with opened(tmp_path / "runs", tab="my-net", lesson="my-net") as (app, pilot):
        await until(lambda: "How close will the net come?" in part_text(app, "GuidePane"))
        await until(lambda: app.focused is guide(app))
        await pilot.press("enter", "4")  # neither is an answer
        assert guide(app).play.phase == "asking"
        await pilot.press("3")
        await until(lambda: "your guess: 100 %" in part_text(app, "GuidePane"))
        assert "it is" not in part_text(app, "GuidePane")
        await pilot.press("enter")
        await until(lambda: guide(app).play.phase == "done")
        await until(lambda: "you guessed: 100 %; it is: nearly as far" in part_text(app, "GuidePane"))
        await until(lambda: "✓ It comes close to whoever knows the centres." in part_text(app, "GuidePane"))
        assert app.tab.form.values["eval_every"] == 50
        await until(lambda: app.focused is guide(app))
        await pilot.press("enter")
        await until(lambda: "show Plane" in part_text(app, "GuidePane"))
        await pilot.press("backspace")
        await until(lambda: "step 1 of 2" in part_text(app, "GuidePane"))
        await pilot.press("enter", "enter")
        await until(lambda: guide(app).play.phase == "done" and guide(app).play.at == 1)
        assert progress.read(tmp_path / "runs" / "config" / "lessons.json").done == []
        await pilot.press("enter")
        await until(lambda: progress.read(tmp_path / "runs" / "config" / "lessons.json").done == ["my-net"])
        await pilot.press("n")
        await until(lambda: "✓ A straight line" in screen_text(app))
        await pilot.press("n")
        await until(lambda: "NotesScreen" in str(app.screen) and "My net" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: app.focused is guide(app))
        await pilot.press("escape")
        await until(lambda: not app.query(GuidePane))


async def test_n_lists_a_tabs_lessons_and_takes_one(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gan") as (app, pilot):
        await pilot.press("n")
        await until(lambda: "Two losses of a GAN" in screen_text(app))
        assert "A GAN of two transformers" in screen_text(app)
        await pilot.press("down", "enter")
        await until(lambda: "A GAN of two transformers" in part_text(app, "GuidePane"))
        app.tab.form.query_one("#form-scroll").focus()
        await pilot.press("n")  # from elsewhere it leads back to the guide
        await until(lambda: app.focused is guide(app))


async def test_the_tab_stays_usable_and_clicks_answer(rooms: Path, tmp_path: Path) -> None:
    async with opened(tmp_path / "runs", (80, 24), tab="my-net", lesson="my-net") as (app, pilot):
        await until(lambda: "100 %" in part_text(app, "GuidePane"))
        pane = guide(app)
        place = pane._keys.place("2")
        assert place is not None
        await pilot.click(pane._keys, offset=place)
        await until(lambda: pane.play.guesses == {0: 2})
        app.tab.show_page(SETTINGS)
        await until(lambda: app.tab.form.query_one("#form-scroll").has_focus)
        before = app.tab.form.cursor
        await pilot.press("down")
        assert app.tab.form.cursor > before
        await pilot.resize_terminal(40, 12)
        await until(lambda: "This window has 40 columns" in screen_text(app))
        await until(lambda: not pane.display)
        await pilot.resize_terminal(80, 24)
        await until(lambda: pane.display and "A straight line" in screen_text(app))


async def test_another_run_a_pause_and_an_end_are_told(rooms: Path, tmp_path: Path) -> None:
    slow = rooms / "my_net" / "lessons" / "my-net.toml"
    slow.write_text(TEXT.replace("steps = 300", "steps = 1000000").replace(" after 300 steps", ""))
    async with opened(tmp_path / "runs", tab="my-net", lesson="my-net") as (app, pilot):
        await until(lambda: "How close" in part_text(app, "GuidePane") and app.focused is guide(app))
        await pilot.press("2", "enter")
        await until(lambda: "of 1,000,000" in part_text(app, "GuidePane") and app.tab.link.state == "training")
        await until(lambda: "to be seen: line.test_accuracy" in part_text(app, "GuidePane"))
        await pilot.press("f5")
        await until(lambda: "paused: F5 goes on" in part_text(app, "GuidePane"))
        await pilot.press("enter")  # nothing to do while it is paused
        assert guide(app).play.phase == "doing"
        await pilot.press("r")
        await until(lambda: "my-net-2 is shown here now" in part_text(app, "GuidePane"), 90)
        await until(lambda: "the run my-net-1 was ended at step" in part_text(app, "GuidePane"), 90)
        assert "train it, 1,000,000 steps again" in part_text(app, "GuidePane")
        await pilot.press("q", "s")
        await until(lambda: app._exit)


async def test_a_run_that_fails_is_told_in_the_guide(rooms: Path, tmp_path: Path) -> None:
    path = rooms / "my_net" / "task.py"
    path.write_text(path.read_text().replace('"train_loss": loss.detach()', '"train_loss": loss.item()'))
    async with opened(tmp_path / "runs", tab="my-net", lesson="my-net") as (app, pilot):
        await until(lambda: "How close" in part_text(app, "GuidePane") and app.focused is guide(app))
        await pilot.press("2", "enter")
        await until(lambda: len(app.screen_stack) == 2, 90)
        await pilot.press("escape")
        await until(lambda: "the run my-net-1 failed: the architecture returned what cannot be used" in part_text(app, "GuidePane"), 90)
        assert "steps again" in part_text(app, "GuidePane")


def test_a_failed_run_has_no_verdict(own: found.Lesson) -> None:
    history = trained(0.5, last=100)
    history.add([Failed(step=100, what="the loss is not finite")])
    verdicts = Evidence(own, {"line": [history]}).judge(own.steps[0])
    assert [verdict.holds for verdict in verdicts] == [False, None]  # the second is about step 300


async def test_a_lesson_that_cannot_be_read_is_told(rooms: Path, tmp_path: Path) -> None:
    (rooms / "my_net" / "lessons" / "my-net.toml").write_text("title = 3")
    async with opened(tmp_path / "runs", tab="my-net") as (app, pilot):
        await pilot.press("n")
        await until(lambda: "lesson my-net" in part_text(app, ".dialog"))
        await pilot.press("n")
        await until(lambda: "NotesScreen" in str(app.screen) and "My net" in screen_text(app))


async def test_a_step_of_another_room_is_taken_on_its_tab(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt", lesson="lstm-against-gpt") as (app, pilot):
        await until(lambda: "go to Recurrent" in part_text(app, "GuidePane"))
        await pilot.press("enter")
        await until(lambda: app.opened == "recurrent" and app.query(GuidePane))
        await until(lambda: guide(app).play.tab.card.name == "recurrent")
        await until(lambda: "train it" in part_text(app, "#tab-recurrent GuidePane"))
        assert not app.tabs["gpt"].query(GuidePane)


async def test_the_very_first_start_shows_one_line_that_is_dismissed_for_good(tmp_path: Path) -> None:
    async with opened(tmp_path, first=True) as (app, pilot):
        await until(lambda: "/ tries the model · F5 trains your own · n teaches" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: "n teaches" not in screen_text(app))
    async with opened(tmp_path, first=True) as (app, pilot):
        assert "n teaches" not in screen_text(app)


async def test_the_line_goes_when_what_it_says_is_done(tmp_path: Path) -> None:
    async with opened(tmp_path, first=True) as (app, pilot):
        await until(lambda: "n teaches" in screen_text(app))
        await pilot.press("n")
        await until(lambda: "Lessons: ConvNet" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        assert "n teaches" not in screen_text(app)
    assert progress.read(tmp_path / "config" / "lessons.json").welcomed


# --- every claim, on three seeds ----------------------------------------------------------------------------------------------------


def playings() -> Iterator[object]:
    for lesson in LESSONS:
        for seed in range(3) if lesson.runs else (0,):
            marks = [pytest.mark.long if seed else pytest.mark.slow]
            yield pytest.param(lesson.name, seed, marks=[*marks, pytest.mark.timeout(900)], id=f"{lesson.name}-{seed}")


@pytest.mark.parametrize(("name", "seed"), playings())
def test_every_claim_holds(name: str, seed: int, dlplay: Dlplay, tmp_path: Path) -> None:
    played = dlplay.start("learn", name, "--headless", "--seed", str(seed), "--runs-dir", str(tmp_path)).wait(800)
    assert played.status == 0, played.out + played.err


def test_what_is_left_out_without_a_screen_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(player.Player, "play", lambda self: [])
    for name, words in (("two-losses", "step 2, discriminator_step"), ("learning-rate", "the range test")):
        assert player.play(found.named(name), tmp_path, 0, False) == 0
        assert words in capsys.readouterr().out
