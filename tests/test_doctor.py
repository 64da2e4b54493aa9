"""The doctor's rules, each on evidence that shows what it is about and on evidence that does not; the command; the verdict of a trial."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dlplay import architectures
from dlplay.architectures.dqn import doctor as dqn
from dlplay.architectures.gan import doctor as gan
from dlplay.architectures.transformer_xl import doctor as xl
from dlplay.doctor import rules, trial
from dlplay.doctor.examine import changed, read_layers, trial_steps
from dlplay.doctor.examine import rules as rules_of
from dlplay.doctor.report import nothing
from dlplay.doctor.rules import written
from dlplay.doctor.trial import judged, next_step
from dlplay.engine.diagnosis import UNJUDGED, Curve, Diagnosis, Evidence, LayerHealth, Rule
from dlplay.engine.events import Applied, Started
from dlplay.engine.settings import SettingsError, make, to_dict
from dlplay.experiments import pool
from dlplay.runs import directory
from dlplay.runs.history import History
from tests.conftest import Dlplay, flags
from tests.doctor_cases import HEALTHY, PLANTED, left_out


def curve(values: Any, last: int = 1000) -> Curve:
    values = np.asarray(values, np.float64)
    return Curve(np.linspace(last / len(values), last, len(values)), values)


def from_the_start(values: Any) -> Curve:
    """The first one before the training."""
    values = np.asarray(values, np.float64)
    return Curve(np.linspace(0, 1000, len(values)), values)


def falling(count: int = 1000, start: float = 2.0, end: float = 0.2, noise: float = 0.02) -> Curve:
    """A loss as a healthy training has it."""
    x = np.linspace(0, 1, count)
    return curve(end + (start - end) * np.exp(-6 * x) + noise * np.random.default_rng(0).standard_normal(count), count)


def layer(address: str, kind: str = "Linear", **values: Any) -> LayerHealth:
    return LayerHealth(address=address, kind=kind, leaf=True, **values)


def root(ratio: float) -> LayerHealth:
    return LayerHealth(address="net", kind="Net", leaf=False, ratio=ratio)


WELL = Evidence(
    settings={"lr": 1e-3, "batch": 64, "dropout": 0.1, "clip": 0.0, "norm": "batch", "activation": "relu", "steps": 1000},
    live=frozenset({"lr", "dropout", "clip"}),
    training={"train_loss": falling(), "grad_norm": curve(np.full(1000, 1.5))},
    held_out={"test_loss": curve([2.0, 0.6, 0.35, 0.3, 0.28, 0.27]), "test_accuracy": curve([0.1, 0.8, 0.9, 0.93, 0.94, 0.94])},
    baselines={"test_accuracy": {"nearest mean": 0.7}},
    metric="test_accuracy",
    better="higher",
    loss="train_loss",
    pair=("train_loss", "test_loss"),
    data="an image set",
    step=1000,
    done=1.0,
    layers=(
        root(1e-3),
        layer("1", gradients=0.2, deviation=1.0),
        layer("2", "ReLU", dead=0.05),
        layer("3", gradients=0.3, deviation=1.1),
        layer("4", "Tanh", saturated=0.02),
        layer("5", gradients=0.5, deviation=0.9),
    ),
)


def but(**changes: Any) -> Evidence:
    """A healthy run's evidence, changed."""
    for name in ("settings", "training", "held_out"):
        if name in changes:
            changes[name] = {**getattr(WELL, name), **changes[name]}
    return dataclasses.replace(WELL, **changes)


DIVERGING = curve(np.concatenate([np.linspace(2, 0.5, 400), np.linspace(0.5, 2.5, 600)]))
FLAT = curve(2.3 + 0.01 * np.random.default_rng(1).standard_normal(1000))
STRAIGHT = curve(np.linspace(2.3, 2.1, 1000) + 0.01 * np.random.default_rng(1).standard_normal(1000))
WILD = curve(np.abs(1 + np.random.default_rng(2).standard_normal(1000)))
RISING = curve([2.0, 0.6, 0.4, 0.5, 0.6, 0.7])
SPIKES = curve(np.where(np.arange(1000) % 100 == 50, 200.0, 1.0))
CHAIN = tuple(layer(str(number), "Conv2d", gradients=0.1, deviation=10.0**-number) for number in range(6))
ONE_HOT = (root(1e-3), layer("attention", "Attention", one_hot=0.8), layer("cross", "Attention", one_hot=0.1))
UNIGRAM = {"test_loss": {"unigram": 5.2, "bigram": 4.5}}
POOR = {"test_accuracy": curve([0.1, 0.6])}

ILL: list[tuple[Rule, Evidence]] = [
    (rules.not_finite, but(not_finite=True)),
    (rules.rate_too_high, but(training={"train_loss": DIVERGING})),
    (rules.rate_too_high, but(training={"train_loss": FLAT}, layers=(root(0.05), layer("1")))),
    (rules.rate_too_high, but(held_out={"test_loss": curve([2.3, 9.0, 8.0])})),
    (rules.rate_too_low, but(held_out={"test_loss": curve([2.3, 2.25, 2.2, 2.15, 2.1])}, layers=(root(1e-6), layer("1")))),
    (rules.rate_too_low, but(training={"train_loss": STRAIGHT}, pair=None, layers=(root(1e-6), layer("1")))),
    (rules.batch_too_small, but(training={"train_loss": WILD}, settings={"batch": 1})),
    (rules.overfitting, but(held_out={"test_loss": RISING})),
    (rules.not_trained_out, but(held_out={"test_accuracy": curve([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])})),
    (rules.hardly_learnt, but(held_out={"test_accuracy": curve([0.1, 0.1, 0.12])})),
    (rules.dead_units, but(layers=(root(1e-3), layer("2", "ReLU", dead=0.9)), held_out=POOR)),
    (rules.saturated, but(layers=(root(1e-3), layer("2", "Tanh", saturated=0.8), layer("3")))),
    (rules.saturated_softmax, but(layers=ONE_HOT, held_out=POOR)),
    (rules.saturated_softmax, but(layers=ONE_HOT, held_out=POOR, settings={"init_std": 1.0})),
    (rules.saturated_softmax, but(layers=ONE_HOT, baselines={})),
    (rules.over_confident, but(held_out={"test_loss": from_the_start([39.0, 5.0])}, baselines=UNIGRAM, settings={"init_std": 1.0})),
    (rules.over_confident, but(held_out={"test_loss": from_the_start([39.0, 5.0])}, baselines=UNIGRAM)),
    (rules.vanishing_gradients, but(layers=(root(1e-3), *(layer(str(n), gradients=g) for n, g in enumerate((1e-6, 1e-3, 1.0)))))),
    (rules.exploding_gradients, but(training={"grad_norm": SPIKES})),
    (rules.no_normalisation, but(settings={"norm": "none"}, layers=(root(1e-3), *CHAIN))),
    (rules.vocabulary_too_small, but(data="a text: 1,000 words, vocabulary 50, 31.5 % of the held-out words are <unk>")),
    (rules.held_out_overlaps, but(data="a text; 40.0 % of them stand in the training part as well, in runs of 20 or more")),
    (
        gan.discriminator_too_strong,
        but(training={"discriminator_accuracy": curve(np.full(500, 0.99))}, settings={"critic_lr": 1e-3, "r1": 0}),
    ),
    (gan.saturated_minimax, but(training={"fake_output": curve(np.full(500, -9.0))}, settings={"loss": "minimax"})),
    (gan.collapse, but(held_out={"modes_covered": curve([1, 1, 2])}, baselines={"modes_covered": {"real vs real": 8}})),
    (dqn.over_estimation, but(held_out={"start_q": curve([10, 200, 300, 300]), "discounted_return": curve([9, 80, 90, 90])})),
    (
        dqn.no_exploration_left,
        but(
            training={"epsilon": curve([1.0, 0.5, 0.0])},
            held_out={"test_accuracy": curve([-200, -200])},
            baselines={"test_accuracy": {"random": -200.0}},
        ),
    ),
    (dqn.buffer_too_small, but(training={"episode_length": curve(np.full(50, 100.0))}, settings={"buffer": 64})),
    (
        xl.memory_unused,
        but(
            held_out={"val_loss": curve([3, 2.0]), "val_loss_without_memory": curve([3, 2.001])}, settings={"memory": 0, "eval_memory": 48}
        ),
    ),
]
EVERY: list[Rule] = [*rules.RULES, *gan.RULES, *dqn.RULES, *xl.RULES]


@pytest.mark.parametrize(("rule", "evidence"), ILL, ids=[f"{rule.__name__}-{number}" for number, (rule, _) in enumerate(ILL)])
def test_a_rule_finds_what_it_is_about_and_shows_its_evidence(rule: Rule, evidence: Evidence) -> None:
    found = rule(evidence)
    assert isinstance(found, Diagnosis)
    assert found.name == rule.__name__.replace("_", "-")
    assert found.title
    assert re.search(r"\d|infinite", found.found)
    assert re.search(r"\(?(19|20)\d\d", found.source), "a source has a year"
    assert len(found.rule) > 20
    assert len(found.advice) > 10
    for name in found.changes:
        assert f"--{name.replace('_', '-')}" in found.advice


@pytest.mark.parametrize("rule", EVERY)
def test_a_rule_is_silent_on_a_healthy_run_and_where_it_lacks_evidence(rule: Rule) -> None:
    assert not isinstance(rule(WELL), Diagnosis)
    assert rule(Evidence(settings={})) is UNJUDGED


def test_a_rule_that_could_judge_is_told_from_one_that_lacks_what_it_needs() -> None:
    judged = {rule for rule in rules.RULES if rule(WELL) is not UNJUDGED}
    assert {rules.not_finite, rules.rate_too_high, rules.overfitting, rules.dead_units} <= judged
    assert not {rules.saturated_softmax, rules.over_confident, rules.held_out_overlaps} & judged


def test_a_run_that_never_trained_is_not_called_well() -> None:
    assert nothing(0, 2, 16) == "nothing to judge yet: 2 of 16 rules have what they need"
    assert nothing(300, 12, 16) == "nothing is found wrong: 12 of 16 rules have what they need"


def test_every_rule_is_tried_on_an_ill_run() -> None:
    assert {rule for rule, _ in ILL} == set(EVERY)
    named = {diagnosis for case in PLANTED for diagnosis in case.ill}
    assert {rule.__name__.replace("_", "-") for rule in EVERY} <= named


def test_an_annealed_run_that_overshoots_once_is_not_called_too_fast() -> None:
    spike = falling().values.copy()
    spike[300:310] = 5.0
    assert rules.rate_too_high(but(training={"train_loss": curve(spike)})) is None


def test_a_low_rate_that_has_converged_is_not_called_too_low() -> None:
    assert rules.rate_too_low(but(layers=(root(1e-6), layer("1")))) is None


def test_containers_without_a_name_before_theirs_are_parts_of_the_one_model() -> None:
    tree = [LayerHealth(address="net", kind="Net", leaf=False), LayerHealth(address="encoder", kind="Sequential", leaf=False)]
    tree += [layer(f"encoder.{number}", gradients=size) for number, size in enumerate((1e-7, 1e-3, 1.0))]
    assert isinstance(rules.vanishing_gradients(but(layers=tuple(tree))), Diagnosis)


def test_heads_that_copy_are_not_called_saturated_where_the_model_beats_the_simple_methods() -> None:
    assert rules.saturated_softmax(but(layers=ONE_HOT)) is None
    found = rules.saturated_softmax(but(layers=ONE_HOT, held_out=POOR, settings={"init_std": 1.0}))
    assert isinstance(found, Diagnosis)
    assert (found.number, found.changes, found.bars) == (0.8, {"init_std": 0.02}, {"attention": 0.8, "cross": 0.1})
    small = rules.saturated_softmax(but(layers=ONE_HOT, held_out=POOR, settings={"init_std": 0.02}))
    assert isinstance(small, Diagnosis)
    assert small.changes == {"lr": 1e-4}


def test_a_net_that_is_wider_than_it_needs_is_left_alone_where_it_clearly_beats_the_simple_methods() -> None:
    layers = (root(1e-3), layer("2", "ReLU", dead=0.9))
    best = max(WELL.baselines["test_accuracy"].values())
    for times, silent in ((1.3, True), (1.05, False), (0.5, False)):
        found = rules.dead_units(but(layers=layers, held_out={"test_accuracy": curve([0.1, times * best])}))
        assert (found is None) == silent, times


def test_an_untrained_language_model_that_guesses_evenly_is_left_alone() -> None:
    even = but(held_out={"test_loss": from_the_start([7.4, 5.0])}, baselines=UNIGRAM)  # the logarithm of 1,600 words
    assert rules.over_confident(even) is None
    sure = {"test_loss": from_the_start([39.0, 5.0])}
    assert rules.over_confident(but(held_out=sure)) is UNJUDGED, "no loss of the unigram to compare with"
    later = {"test_loss": Curve(np.array([500.0, 1000.0]), np.array([39.0, 5.0]))}
    assert rules.over_confident(but(held_out=later, baselines=UNIGRAM)) is UNJUDGED, "it was not measured before the training"
    found = rules.over_confident(but(held_out=sure, baselines=UNIGRAM, settings={"init_std": 1.0}))
    assert isinstance(found, Diagnosis)
    assert found.changes == {"init_std": 0.02}
    assert found.number == pytest.approx(7.5)


@pytest.mark.parametrize(("rule", "evidence"), ILL, ids=[f"{rule.__name__}-{number}" for number, (rule, _) in enumerate(ILL)])
def test_a_diagnosis_has_a_picture(rule: Rule, evidence: Evidence) -> None:
    found = rule(evidence)
    assert isinstance(found, Diagnosis)
    known = evidence.training.keys() | evidence.held_out.keys()
    assert found.curve in known or (not found.curve and found.bars)


def test_every_tab_has_ill_and_healthy_runs() -> None:
    assert len(PLANTED) >= 20
    assert {case.architecture for case in PLANTED} == set(architectures.cards())
    for case in (*PLANTED, *HEALTHY):
        architectures.card(case.architecture).settings(**case.settings)


def test_every_preset_is_a_healthy_case_or_left_out_for_a_reason() -> None:
    known = {(name, preset) for name, card in architectures.cards().items() for preset in card.presets}
    assert left_out() <= known
    assert len(HEALTHY) == len(known - left_out())


def test_a_room_brings_rules_of_its_own() -> None:
    known = {name: {rule.__name__ for rule in rules_of(card)} for name, card in architectures.cards().items()}
    assert "over_estimation" in known["dqn"]
    assert "over_estimation" not in known["gpt"]
    assert all("rate_too_high" in names for names in known.values())


def test_the_layers_are_read_from_the_panel() -> None:
    table = {
        "columns": ["module", "kind", "deviation", "dead or saturated", "weight norm", "gradient norm", "update/weight"],
        "rows": [
            ["net", "Net", "1", "", "2", "3", "1.00e-03"],
            ["  blocks", "ModuleList", "", "", "", "", ""],
            ["    0", "ReLU", "0.5", "12.5 % dead", "", "", ""],
            ["  out", "Tanh", "", "40.0 % saturated", "", "", ""],
            ["  attention", "Attention", "", "12.0 % one-hot", "", "", ""],
        ],
    }
    net, blocks, first, out, attention = read_layers(table)
    assert [part.address for part in (net, blocks, first, out)] == ["net", "blocks", "blocks.0", "out"]
    assert (attention.one_hot, attention.saturated, out.one_hot) == (0.12, None, None)
    assert (net.ratio, net.leaf, blocks.leaf, first.leaf) == (1e-3, False, False, True)
    assert (first.dead, first.saturated, out.saturated) == (0.125, None, 0.4)
    assert WELL.ratio == 1e-3


# --- what is advised is what is tried -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "evidence"), ILL, ids=[f"{rule.__name__}-{number}" for number, (rule, _) in enumerate(ILL)])
def test_what_is_named_first_is_what_is_tried(rule: Rule, evidence: Evidence) -> None:
    """Flags with values stand in the advice as they can be typed, and those that a trial sets come before every other."""
    found = rule(evidence)
    assert isinstance(found, Diagnosis)
    if found.changes:
        flags_of_advice = re.findall(r"--[a-z]", found.advice)
        assert found.advice.index(rules.written(found.changes)) == found.advice.index(flags_of_advice[0])
        assert " or " not in found.advice[: found.advice.index(flags_of_advice[0])]


@pytest.mark.parametrize("rule", [rules.dead_units, rules.saturated])
def test_at_a_rate_far_above_the_usual_one_the_rate_is_tried_before_the_activation(rule: Rule) -> None:
    layers = (root(1e-3), layer("2", "ReLU", dead=0.9), layer("3", "Tanh", saturated=0.8), layer("4"))
    activation = "relu" if rule is rules.dead_units else "tanh"
    high = rule(but(layers=layers, held_out=POOR, settings={"lr": 1.0, "activation": activation}, usual_rate=3e-3))
    assert isinstance(high, Diagnosis)
    assert high.changes == {"lr": 0.1}
    assert high.advice.startswith("a lower rate: --lr 0.1; or an activation")
    usual = rule(but(layers=layers, held_out=POOR, settings={"lr": 1e-3, "activation": activation}, usual_rate=3e-3))
    assert isinstance(usual, Diagnosis)
    assert usual.changes == {"activation": "gelu"}
    assert usual.advice.startswith("an activation")


def test_settings_are_written_as_they_can_be_typed() -> None:
    changes = {"min_count": 3, "double": True, "scale": False, "lr": 1e-4}
    assert rules.written(changes) == "--min-count 3 --double --no-scale --lr 0.0001"


def test_the_range_test_is_advised_in_words_that_can_be_typed_where_there_is_one() -> None:
    poor = {"test_accuracy": curve([0.1, 0.1, 0.12])}
    found = rules.hardly_learnt(but(held_out=poor, range_test="dlplay convnet --headless --find-lr --batch 16"))
    assert isinstance(found, Diagnosis)
    assert found.advice == "look at the rate first: dlplay convnet --headless --find-lr --batch 16; then at the data"
    without = rules.hardly_learnt(but(held_out=poor))
    assert isinstance(without, Diagnosis)
    assert "find-lr" not in without.advice


# --- the command ------------------------------------------------------------------------------------------------------------------


def run(dlplay: Dlplay, folder: Path, **settings: Any) -> None:
    values = {"data": "digits", "channels": (4,), "batch": 16, "eval_every": 20, "threads": 1} | settings
    ended = dlplay("convnet", "--headless", "--json", "--name", "mine", "--runs-dir", str(folder), *flags(values))
    assert ended.err == ""


@pytest.mark.timeout(700)
@pytest.mark.slow
def test_a_run_that_failed_is_examined_and_its_advice_is_tried(dlplay: Dlplay, tmp_path: Path) -> None:
    run(dlplay, tmp_path, norm="none", optimizer="sgd", lr=10.0, schedule="constant", steps=120)
    told = dlplay("doctor", "mine", "--runs-dir", str(tmp_path))
    assert (told.status, told.err) == (0, "")
    assert "what helps: a tenth of the learning rate: --lr 1" in told.out
    assert "measured" in told.out
    tried = dlplay.start("doctor", "mine", "--try", "--steps", "30", "--json", "--runs-dir", str(tmp_path)).wait(500)  # six runs
    assert (tried.status, tried.err) == (0, "")
    answer = json.loads(tried.out)
    assert answer["trial"]["seeds"] == [0, 1, 2]
    assert answer["trial"]["steps"] == 30
    assert answer["trial"]["changes"] == {"lr": 1.0}
    assert len(answer["trial"]["runs"]) == 6
    assert answer["trial"]["verdict"]
    test = answer["trial"]["range_test"].split()
    assert test[:4] == ["dlplay", "convnet", "--headless", "--find-lr"]
    assert test[test.index("--channels") :][:2] == ["--channels", "4"]
    assert not {"--lr", "--steps"} & set(test)


def test_what_the_command_cannot_do_is_refused_in_words(dlplay: Dlplay, tmp_path: Path) -> None:
    run(dlplay, tmp_path, steps=60)
    refused = dlplay("doctor", "mine", "--rule", "overfitting", "--runs-dir", str(tmp_path))
    assert (refused.status, refused.err) == (2, "dlplay: --rule goes with --try\n")
    refused = dlplay("doctor", "mine", "--try", "--rule", "overfittin", "--json", "--runs-dir", str(tmp_path))
    assert (refused.status, refused.out) == (2, "")
    assert "--rule overfittin: there is no such rule; did you mean overfitting?" in refused.err
    refused = dlplay("doctor", "mine", "--try", "--rule", "overfitting", "--json", "--runs-dir", str(tmp_path))
    assert refused.status == 2
    assert "--rule overfitting: that was not found" in refused.err


# --- verdicts ---------------------------------------------------------------------------------------------------------------------

OVERFITTING = rules.overfitting(but(held_out={"test_loss": RISING}))


DEAD_UNITS = Diagnosis(
    name="dead-units",
    title="Dead units",
    found="",
    number=1.0,
    bound=0.6,
    rule="",
    source="",
    advice="",
    changes={"lr": 0.1},
    anew=True,
)


def verdict(without: list[float | None], with_it: list[float | None], better: str = "lower") -> tuple[bool | None, str]:
    assert isinstance(OVERFITTING, Diagnosis)
    trial = judged(OVERFITTING, better, "", 100, [0, 1, 2], "test_loss", without, with_it, [])
    return trial.helped, trial.verdict


def test_where_both_arms_did_the_same_the_trial_says_so() -> None:
    assert isinstance(OVERFITTING, Diagnosis)
    assert verdict([2.0, 2.1, 2.2], [2.0, 2.1, 2.2]) == (
        None,
        f"the advice {written(OVERFITTING.changes)} made no difference in 100 steps: test loss +0 (+0 to +0 with 95 % confidence by "
        "Student's t, over 3 pairs of one seed)",
    )


@pytest.mark.parametrize(
    ("name", "settings", "steps"),
    [
        ("convnet", {"steps": 300}, 75),
        ("dqn", {"steps": 3000, "learning_starts": 1000}, 2000),
        ("dqn", {"steps": 40_000, "learning_starts": 1000}, 10_000),
        ("gan", {"steps": 2}, 1),
    ],
)
def test_a_trial_is_a_quarter_of_the_run_but_not_so_short_that_nothing_is_learnt(
    name: str, settings: dict[str, int], steps: int, tmp_path: Path
) -> None:
    run = directory.create(tmp_path, name, to_dict(make(architectures.card(name).settings, settings)), name="mine")
    assert trial_steps(run, 100) == steps


def test_after_advice_that_did_not_help_the_next_step_is_named() -> None:
    test = "dlplay convnet --headless --find-lr --batch 16"
    assert next_step("mine", "dead-units", 75, test) == f"next: which rate to take is shown by {test}"
    assert next_step("mine", "collapse", 75, "") == "next: a trial twice as long: dlplay doctor mine --try --rule collapse --steps 150"


def test_a_verdict_is_the_measured_difference_with_its_interval() -> None:
    helped, words = verdict([1.0, 1.1, 0.9], [0.5, 0.61, 0.39])
    assert helped is True
    assert words.startswith("the advice --dropout 0.3 helped: test loss -0.5 (-0.5")
    assert "over 3 pairs of one seed" in words


@pytest.mark.parametrize(
    ("without", "with_it", "better", "helped", "words"),
    [
        ([1.0, 1.1, 0.9], [1.5, 1.61, 1.39], "lower", False, "the advice --dropout 0.3 made it worse"),
        ([1.0, 1.1, 0.9], [1.1, 0.9, 1.0], "lower", None, "the advice --dropout 0.3 did not help beyond chance"),
        ([0.5, 0.6, 0.55], [0.9, 0.99, 0.96], "higher", True, "the advice --dropout 0.3 helped"),
        (
            [None, None, None],
            [0.5, 0.6, 0.4],
            "lower",
            True,
            "and with it none did; their mean test loss is 0.5",
        ),
        ([0.5, 0.6, 0.4], [None, None, None], "lower", False, "did not help: 3 of 3 runs with it failed, and 0 of 3 without it"),
        ([None, None, 1.0], [None, 1.0, None], "lower", None, "nothing could be compared"),
    ],
)
def test_it_says_so_when_the_advice_did_not_help(
    without: list[float | None], with_it: list[float | None], better: str, helped: bool | None, words: str
) -> None:
    found, said = verdict(without, with_it, better)
    assert found is helped
    assert words in said


def test_one_bump_at_the_end_of_a_run_that_was_cut_off_is_no_overfitting() -> None:
    values = RISING.values.copy()
    best = int(values.argmin())
    cut = Curve(RISING.steps[: best + 2], values[: best + 2])
    assert isinstance(rules.overfitting(but(held_out={"test_loss": RISING})), Diagnosis)
    assert rules.overfitting(but(held_out={"test_loss": cut})) is None


def test_of_a_run_that_never_trained_it_is_said_how_many_rules_could_judge(dlplay: Dlplay, tmp_path: Path) -> None:
    directory.create(tmp_path, "convnet", to_dict(architectures.card("convnet").settings()), name="mine")
    told = dlplay("doctor", "mine", "--runs-dir", str(tmp_path))
    assert (told.status, told.err) == (0, "")
    assert re.search(r"mine: nothing to judge yet: \d of 1\d rules have what they need, at step 0", told.out), told.out


# --- what looks ill and is not ----------------------------------------------------------------------------------------------------

LOSSES_OF_TEXT = {"val_loss": curve([3.0, 2.9]), "val_loss_without_memory": curve([3.0, 2.9])}
EARLY: list[tuple[Rule, Evidence]] = [
    (rules.hardly_learnt, but(held_out={"test_accuracy": curve([0.1, 0.1, 0.12])})),
    (gan.collapse, but(held_out={"modes_covered": curve([1, 1, 2])}, baselines={"modes_covered": {"real vs real": 8}})),
    (xl.memory_unused, but(held_out=LOSSES_OF_TEXT, settings={"memory": 48, "eval_memory": 48})),
    (dqn.over_estimation, but(held_out={"start_q": curve([0, -2, -9]), "discounted_return": curve([-80, -80, -60])})),
]


@pytest.mark.parametrize(("rule", "evidence"), EARLY, ids=[rule.__name__ for rule, _ in EARLY])
def test_what_a_run_has_yet_to_learn_is_held_against_it_late(rule: Rule, evidence: Evidence) -> None:
    assert isinstance(rule(evidence), Diagnosis)
    assert rule(dataclasses.replace(evidence, done=0.4)) is UNJUDGED
    assert isinstance(rule(dataclasses.replace(evidence, done=0.75)), Diagnosis)


def test_what_was_learnt_and_lost_again_is_not_called_never_learnt() -> None:
    assert rules.hardly_learnt(but(held_out={"test_accuracy": curve([0.1, 0.8, 0.6])})) is None


def test_to_be_below_a_strong_baseline_is_no_illness() -> None:
    """A sparse autoencoder does not come near PCA, nor a short training near logistic regression on digits."""
    assert rules.hardly_learnt(but(baselines={"test_accuracy": {"logistic regression": 0.967}})) is None
    sparse: Any = {"metric": "mse", "better": "lower", "baselines": {"mse": {"PCA": 0.00206}}}
    assert rules.hardly_learnt(but(held_out={"mse": from_the_start([0.0193, 0.012, 0.0107])}, **sparse)) is None
    assert isinstance(rules.hardly_learnt(but(held_out={"mse": from_the_start([0.08, 0.07, 0.06])}, **sparse)), Diagnosis)


def test_small_gradients_of_a_task_that_is_solved_are_not_the_usual_ones() -> None:
    """Copying letters: for a while the norm is 2, as the loss falls it is hundreds of times smaller, and a few steps had 8."""
    norms = np.concatenate([np.full(300, 2.0), np.full(700, 0.05)])
    norms[[150, 250]] = 8.0
    assert rules.exploding_gradients(but(training={"grad_norm": curve(norms)})) is None
    norms[500:800:100] = 50.0
    assert isinstance(rules.exploding_gradients(but(training={"grad_norm": curve(norms)})), Diagnosis)


def test_spikes_that_are_clipped_in_a_net_that_learns_well_are_no_illness() -> None:
    """A GRU adds two of fifty numbers far better than chance, with a few gradients of 58 times the usual norm on the way."""
    learns: Any = {"training": {"grad_norm": SPIKES}, "baselines": {"test_accuracy": {"chance": 0.1}}}
    assert rules.exploding_gradients(but(**learns, settings={"clip": 1.0})) is None
    assert isinstance(rules.exploding_gradients(but(**learns, settings={"clip": 0.0})), Diagnosis)
    learns["baselines"] = {"test_accuracy": {"logistic regression": 0.967}}
    assert isinstance(rules.exploding_gradients(but(**learns, settings={"clip": 1.0})), Diagnosis)


@pytest.mark.parametrize(("better", "values", "ill"), [("higher", [-200, -200], 1), ("lower", [2, 3], 1), ("higher", [30, 40], 0)])
def test_where_the_untrained_model_is_no_worse_than_the_baseline_it_must_be_better_than_that(better: Any, values: Any, ill: int) -> None:
    baselines = {"test_accuracy": {"random": -200.0 if values[0] < 0 else values[0] * 0.99}}
    found = rules.hardly_learnt(but(held_out={"test_accuracy": from_the_start(values)}, better=better, baselines=baselines))
    assert isinstance(found, Diagnosis) == bool(ill)


def test_a_branch_of_a_trained_run_is_not_judged_as_one_that_began_anew() -> None:
    branch = dataclasses.replace(but(held_out={"test_loss": from_the_start([0.0293, 0.0293, 0.0296, 0.0298, 0.03, 0.03])}), fresh=False)
    assert rules.overfitting(branch) is None
    waves = curve(0.02 + 0.004 * np.sin(np.arange(600) / 60), 600)
    assert rules.rate_too_high(dataclasses.replace(branch, training={"train_loss": waves})) is None
    rising = dataclasses.replace(branch, training={"train_loss": curve(np.linspace(0.02, 0.1, 600), 600)})
    assert isinstance(rules.rate_too_high(rising), Diagnosis)
    overfits = but(held_out={"test_loss": from_the_start([0.03, 0.035, 0.04, 0.05])}, layers=(root(0.03), layer("1")))
    assert isinstance(rules.rate_too_high(overfits), Diagnosis)
    assert rules.rate_too_high(dataclasses.replace(overfits, fresh=False)) is None
    still = but(training={"train_loss": curve(np.full(600, 0.02), 600)}, layers=(root(0.03), layer("1")))
    assert isinstance(rules.rate_too_high(still), Diagnosis)
    assert rules.rate_too_high(dataclasses.replace(still, fresh=False)) is None
    assert rules.exploding_gradients(dataclasses.replace(but(training={"grad_norm": SPIKES}), fresh=False)) is UNJUDGED
    assert rules.hardly_learnt(dataclasses.replace(but(held_out=POOR), fresh=False)) is UNJUDGED
    returns = from_the_start([400.0, 300.0, 450.0, 350.0, 420.0, 500.0])
    assert rules.not_trained_out(dataclasses.replace(but(held_out={"test_accuracy": returns}), fresh=False)) is UNJUDGED


def test_a_baseline_that_is_no_number_is_none() -> None:
    poor = {"test_accuracy": curve([0.1, 0.1, 0.12])}
    assert rules.hardly_learnt(but(held_out=poor, baselines={"test_accuracy": {"broken": float("nan")}})) is UNJUDGED
    assert (
        rules.over_confident(but(held_out={"test_loss": from_the_start([39.0])}, baselines={"test_loss": {"unigram": np.inf}})) is UNJUDGED
    )


def test_a_model_that_was_trained_before_is_not_called_untrained() -> None:
    evidence = but(held_out={"test_loss": from_the_start([39.0, 5.0])}, baselines=UNIGRAM)
    assert isinstance(rules.over_confident(evidence), Diagnosis)
    assert rules.over_confident(dataclasses.replace(evidence, fresh=False)) is UNJUDGED


def test_a_loss_that_rose_with_a_setting_is_not_blamed_on_the_rate() -> None:
    """As when dropout is turned up, or a part is ablated for good."""
    values = np.concatenate([falling().values[:500], np.linspace(1.5, 1.2, 500)])
    risen = but(training={"train_loss": curve(values)})
    assert isinstance(rules.rate_too_high(risen), Diagnosis)
    assert rules.rate_too_high(dataclasses.replace(risen, changed=500)) is None
    still = dataclasses.replace(but(training={"train_loss": DIVERGING}), changed=200)
    assert isinstance(rules.rate_too_high(still), Diagnosis)


def test_after_a_change_a_run_is_judged_as_one_that_began_with_trained_weights() -> None:
    """What it learnt before is not known: its loss hardly falls any more, and its gradients are small."""
    level = but(training={"train_loss": curve(np.full(1000, 0.02))}, layers=(root(0.03), layer("1")))
    waves = but(training={"train_loss": curve(np.concatenate([np.full(400, 0.5), 0.02 + 0.004 * np.sin(np.arange(600) / 60)]))})
    rises = but(held_out={"test_loss": from_the_start([0.02, 0.03, 0.03, 0.031])})
    spikes = but(training={"grad_norm": SPIKES})
    for rule, evidence in (
        (rules.rate_too_high, level),
        (rules.rate_too_high, rises),
        (rules.exploding_gradients, spikes),
        (rules.batch_too_small, but(training={"train_loss": WILD}, settings={"batch": 4})),
    ):
        assert isinstance(rule(evidence), Diagnosis)
        assert not isinstance(rule(dataclasses.replace(evidence, changed=300)), Diagnosis)
    assert rules.rate_too_high(dataclasses.replace(waves, changed=400)) is None


def test_a_single_spike_hides_no_divergence() -> None:
    values = DIVERGING.values.copy()
    values[(np.argmin(values), -5),] = 5000.0
    assert isinstance(rules.rate_too_high(but(training={"train_loss": curve(values)})), Diagnosis)


def test_another_rate_is_no_other_training_and_another_dropout_or_an_action_is() -> None:
    def after(*events: Any) -> int:
        history = History("test_loss", "lower")
        own = {"lr": 0.1, "dropout": 0.0}
        machine: Any = {"device": "cpu", "device_name": "", "threads": 1, "parameters": 1}
        history.add([Started(step=0, architecture="convnet", name="mine", settings=own, data="", **machine), *events])
        return changed(history)

    assert after(Applied(step=50, what="lr", value=0.01, before=0.1)) == 0
    assert after(Applied(step=50, what="dropout", value=0.5, before=0.0), Applied(step=70, what="lr", value=0.01, before=0.1)) == 50
    assert after(Applied(step=60, what="remove_mode", value={"mode": 1})) == 60


def test_a_small_batch_that_has_learnt_is_large_enough() -> None:
    """Digits, four at a time: at an accuracy of 97 % most losses are nearly 0 and some are 2."""
    losses = falling().values * np.random.default_rng(6).lognormal(0, 1.2, 1000)
    assert rules.batch_too_small(but(training={"train_loss": curve(losses)}, settings={"batch": 4})) is None


def test_the_scatter_of_a_small_loss_is_no_rise() -> None:
    """A branch of a trained run begins where the loss is nearly 0 and only jumps about."""
    for seed in range(20):
        losses = 0.02 * np.random.default_rng(seed).lognormal(0, 1.5, 200)
        assert rules.rate_too_high(but(training={"train_loss": curve(losses, 200)})) is None


@pytest.mark.parametrize("rule", [rules.batch_too_small, rules.exploding_gradients])
def test_extremes_that_stand_for_many_steps_are_not_taken_for_steps(rule: Rule) -> None:
    """Of a long run the smallest and the largest value of each block of steps are kept."""
    numbers = np.random.default_rng(3)
    losses, norms = 1 + 0.2 * numbers.standard_normal((1000, 64)), np.exp(0.5 * numbers.standard_normal((1000, 64)))
    norms[::20, 5] = 500.0  # one step in 1,280
    merged = {
        "train_loss": curve(np.stack([losses.min(1), losses.max(1)], 1).ravel(), 64_000),
        "grad_norm": curve(np.stack([norms.min(1), norms.max(1)], 1).ravel(), 64_000),
    }
    every = {"train_loss": curve(losses.ravel(), 64_000), "grad_norm": curve(norms.ravel(), 64_000)}
    assert rule(but(training=every, settings={"batch": 4})) is None
    assert rule(but(training=merged, settings={"batch": 4})) is UNJUDGED


def test_a_metric_that_goes_up_and_down_is_trained_out_once_it_no_longer_beats_its_best() -> None:
    returns = [10.0, 200.0, 480.0, 300.0, 490.0, 250.0, 500.0]
    assert rules.not_trained_out(but(held_out={"test_accuracy": from_the_start(returns)})) is None


def test_gains_by_chance_are_not_called_a_training_that_goes_on() -> None:
    """A policy that learns nothing: its return is 9.2 to 9.3 all the time."""
    returns = [9.22, 9.21, 9.23, 9.2, 9.21, 9.3]
    assert rules.not_trained_out(but(held_out={"test_accuracy": from_the_start(returns)})) is None


def test_the_noise_of_evaluations_is_no_gain_and_no_rise() -> None:
    """A branch of a run that was trained out: nothing is gained any more, and nothing lost."""
    noise = np.random.default_rng(4)
    for _ in range(50):
        distances = 0.1 + 0.02 * noise.standard_normal(12)
        assert rules.not_trained_out(but(held_out={"distance": from_the_start(distances)}, metric="distance", better="lower")) is None
    flat = {"test_loss": curve([0.02462, 0.02460, 0.02461, 0.02462, 0.02463, 0.02464])}
    assert rules.overfitting(but(held_out=flat)) is None


def test_a_gradient_that_has_vanished_to_nothing_is_one_that_has_vanished() -> None:
    layers = [layer(str(number), gradients=size) for number, size in enumerate((0.0, 0.2, 1.0))]
    found = rules.vanishing_gradients(but(layers=(root(1e-3), *layers)))
    assert isinstance(found, Diagnosis)
    assert found.number == 0.0
    dead = layer("3", "ReLU", dead=1.0)
    assert rules.vanishing_gradients(but(layers=(root(1e-3), *layers, dead))) is None, "dead units are the reason"
    nothing = [layer(str(number), gradients=0.0) for number in range(3)]
    assert rules.vanishing_gradients(but(layers=(root(1e-3), *nothing))) is None


def test_a_trial_that_was_interrupted_goes_on_with_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = architectures.card("convnet")
    parent = directory.create(tmp_path, "convnet", to_dict(card.settings()), name="mine")
    values = {
        arm: [to_dict(make(card.settings, {"seed": seed, "lr": lr})) for seed in range(2)] for arm, lr in (("without", 1.0), ("with", 0.1))
    }
    states = dict.fromkeys(("mine-x-without-s0", "mine-x-without-s1", "mine-x-with-s0", "mine-x-with-s1"), "finished")
    monkeypatch.setattr(trial, "summary", lambda run: SimpleNamespace(state=states.get(run.name, "finished")))
    label, first = trial._runs(parent, "mine-x", "", values)
    assert label == "mine-x"
    assert {one.name for arm in first.values() for one in arm} == {*states}
    states["mine-x-with-s1"] = "interrupted"
    again, runs = trial._runs(parent, "mine-x", "", values)
    assert (again, [one.path for one in runs["with"]]) == (label, [one.path for one in first["with"]])
    assert trial._runs(parent, "mine-x", "", {**values, "with": values["without"]})[0] == "mine-x.2", "another advice"
    assert trial._runs(parent, "mine-x", "mine@5", values)[0] == "mine-x.3", "another start"
    for state in ("training", "finished"):  # it trains now, or has its verdict
        states["mine-x-with-s1"] = state
        assert trial._runs(parent, "mine-x", "", values)[0] == {"training": "mine-x.4", "finished": "mine-x.5"}[state]


@pytest.mark.parametrize("state", ["stopped", "interrupted"])
def test_a_run_that_somebody_stopped_has_not_failed_by_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    run = directory.create(tmp_path, "convnet", to_dict(make(architectures.card("convnet").settings, {"threads": 1})), name="mine")
    monkeypatch.setattr(trial, "recorded", lambda run, card: History("test_accuracy", "higher"))
    monkeypatch.setattr(trial.pool, "train_all", lambda *given: None)
    monkeypatch.setattr(trial.launch, "prepare", lambda name: None)
    states = {"mine-dead-units-with-s1": state}
    monkeypatch.setattr(trial, "summary", lambda run: SimpleNamespace(state=states.get(run.name, "finished"), metrics={}))
    with pytest.raises(pool.Interrupted, match=rf"mine-dead-units-with-s1 \({state}\) did not end, and nothing was compared"):
        trial.attempt(run, DEAD_UNITS, 100, 10)


def test_one_advice_is_tried_for_a_run_at_a_time(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "convnet", to_dict(make(architectures.card("convnet").settings, {"threads": 1})), name="mine")
    with trial._alone(run), pytest.raises(SettingsError, match=f"process {os.getpid()} tries an advice for mine already"):
        trial.attempt(run, DEAD_UNITS, 100, 10)
    with trial._alone(run):
        pass


def test_an_advice_is_tried_with_the_settings_that_the_run_had_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = architectures.card("convnet")
    run = directory.create(tmp_path, "convnet", to_dict(make(card.settings, {"threads": 1, "lr": 1.0, "dropout": 0.0})), name="mine")
    history = History("test_accuracy", "higher")
    history.settings = {**run.spec.settings, "dropout": 0.5}
    monkeypatch.setattr(trial, "recorded", lambda run, card: history)
    created: dict[str, Any] = {}

    def _runs(run: Any, label: str, start: str, values: Any) -> Any:
        created.update(values)
        raise SettingsError("enough")

    monkeypatch.setattr(trial, "_runs", _runs)
    with pytest.raises(SettingsError, match="enough"):
        trial.attempt(run, DEAD_UNITS, 100, 10)
    assert {one["dropout"] for arm in created.values() for one in arm} == {0.5}
    assert [one["lr"] for one in created["with"]] == [0.1] * 3


def test_the_names_of_a_trials_runs_are_no_longer_than_a_name_may_be() -> None:
    label = trial._label("a" * 60, "vocabulary-too-small", [2**31, 2**31 + 2])
    directory.check_new_name(f"{label}.999-without-s{2**31 + 2}")


def test_a_single_pair_of_runs_proves_nothing_and_the_runs_that_the_advice_saved_are_counted() -> None:
    helped, words = verdict([None, None, 1.0], [0.9, 0.8, 1.1])
    assert helped is None
    assert "could not be judged by a single pair of runs: test loss +0.1; without it 2 of 3 runs failed, and with it none did" in words
    _, words = verdict([None, None, 1.0], [0.9, None, 1.1])
    assert "without it 2 of 3 runs failed, and with it 1 did" in words
    helped, words = verdict([None, 0.8, 1.0], [0.9, 0.8, 1.1])
    assert (helped, "did not help beyond chance" in words) == (None, True)


def test_after_a_change_only_the_later_held_out_loss_is_judged_and_overfitting_is_not_blamed_on_the_rate() -> None:
    """The loss was lower before the change; or it rises after it while the training loss falls, as trained weights overfit."""
    level = {"train_loss": curve(np.full(1000, 0.02))}
    before = but(training=level, held_out={"test_loss": from_the_start([0.02, 0.03, 0.03, 0.031])})
    overfits = but(held_out={"test_loss": from_the_start([0.02, 0.02, 0.03, 0.04])})
    for evidence in (before, overfits):
        assert isinstance(rules.rate_too_high(evidence), Diagnosis)
        assert rules.rate_too_high(dataclasses.replace(evidence, changed=300)) is None


def test_values_of_which_most_are_equal_scatter_all_the_same() -> None:
    halves = Curve(np.arange(100.0), np.where(np.arange(100) % 5 == 0, 2.0, 1.0))
    assert halves.errors(2) == pytest.approx(1.253 * 0.4 / np.sqrt(50))
