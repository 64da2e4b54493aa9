"""The rules for any architecture: small functions of the evidence, each with its source. One that lacks what it needs says so.

The bounds were set where runs with settings known to be ill and the presets part; `tests/test_doctor_cases.py` measures how well they do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from dlplay.engine.diagnosis import UNJUDGED, Curve, Diagnosis, Evidence, Judgement, LayerHealth, Rule
from dlplay.engine.settings import show

LEAST_STEPS = 100
"""A loss that has fewer is not judged."""
DIVERGED, RISEN = 1.2, 0.15
CHANCE = 4.0
"""Standard errors by which two medians differ that do so by more than chance, the largest of many differences."""
STUCK = 0.05
FAR_ABOVE = 10
"""Times the rate that an architecture has where nobody sets one."""
HUGE_UPDATE, LARGE_UPDATE, SMALL_UPDATE = 0.1, 2e-2, 1e-4
STEADY = 0.5
"""A loss that has fallen by more than this share is not falling slowly."""
RISE, LEAST_RISE, RISE_OF_BRANCH = 0.02, 0.01, 0.05
"""Shares of the fall, and of the best value: for a run that began with trained weights hardly falls any more."""
STILL_GAINING, LEAST_GAIN = 0.2, 0.02
DEAD, SATURATED, ONE_HOT = 0.6, 0.5, 0.5
CLEARLY = 0.1
INITIAL = 0.02
"""Deviation of the weights before training, as GPT-2 and BERT have it."""
VANISHING = 1e-3
SPIKE, ABOVE = 30.0, 5.0
NOISE, LEFT = 0.5, 0.2
A_THIRD = 1 / 3
SMALL_BATCH = 8
SPREAD, DEEP = 30.0, 5
UNKNOWN, REPEATED = 10.0, 2.0
CONFIDENT = 2.0
"""Of the presets none is above 1.5."""


def lower_rate(evidence: Evidence, factor: float = 10) -> dict[str, Any]:
    """Every learning rate, divided."""
    return {name: float(f"{rate / factor:.2g}") for name in ("lr", "critic_lr") if (rate := evidence.number(name)) is not None}


def _activation_or_rate(evidence: Evidence, at_fault: Collection[str], better: str) -> tuple[str, dict[str, Any]]:
    """An advice and what it changes: the rate where it is far above the usual one, which harms any activation, else the activation."""
    rate, lower = evidence.number("lr"), lower_rate(evidence)
    far_above = rate is not None and evidence.usual_rate is not None and rate > FAR_ABOVE * evidence.usual_rate
    if evidence.settings.get("activation") not in at_fault:
        return f"a lower rate: {written(lower)}", lower
    gelu = {"activation": "gelu"}
    if far_above:
        return f"a lower rate: {written(lower)}; or {better}: {written(gelu)}", lower
    return f"{better}: {written(gelu)}; or a lower rate", gelu


def written(changes: Mapping[str, Any]) -> str:
    """Settings as flags."""
    return " ".join(_flag(name.replace("_", "-"), value) for name, value in changes.items())


def _flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {show(value)}"


# --- learning rate ----------------------------------------------------------------------------------------------------------------


def not_finite(evidence: Evidence) -> Judgement:
    if not evidence.not_finite:
        return None if evidence.step else UNJUDGED
    changes, rate = lower_rate(evidence), evidence.number("lr") or 0.0
    return Diagnosis(
        name="not-finite",
        anew=True,
        title="The loss became infinite",
        found=f"after step {evidence.step:,} the loss or its gradient was no finite number, at a learning rate of {rate:g}",
        number=rate,
        bound=changes.get("lr", 0.0),
        rule="a loss or gradient that is not finite has ended the run",
        source="Goodfellow, Bengio and Courville (2016), Deep Learning, 8.2.4 and 11.4.1",
        advice=f"a tenth of the learning rate: {written(changes)}",
        changes=changes,
        curve=evidence.loss,
    )


def rate_too_high(evidence: Evidence) -> Judgement:
    """The loss ends far above its best, or never fell although every step changes the weights much."""
    curve = _loss(evidence)
    curve = None if curve is None else curve.after(evidence.changed)
    if curve is None or len(curve) < LEAST_STEPS or evidence.not_finite:
        return UNJUDGED
    blocks = curve.medians()
    if blocks.min() <= 0:  # shares of it would mean nothing
        return UNJUDGED
    last, first = float(blocks[-2:].mean()), float(blocks[0])
    rises = blocks - np.minimum.accumulate(blocks)
    at = int(rises.argmax())
    lowest = int(blocks[: at + 1].argmin())
    best, rise = float(blocks[lowest]), float(rises[at]) / first
    worse = blocks[at] > DIVERGED * (best if evidence.from_scratch else first)  # of a loss that is small already more is chance
    chance = CHANCE * float(np.hypot(*curve.errors()[[lowest, at]]))
    changes = lower_rate(evidence)
    shared: Any = {"source": "Smith (2017), Cyclical Learning Rates; Goodfellow et al. (2016), 11.4.1"}
    shared |= {"advice": f"a tenth of the learning rate: {written(changes)}", "changes": changes, "curve": evidence.loss}
    if rise > RISEN and worse and rises[at] > chance:
        return Diagnosis(
            name="rate-too-high",
            anew=True,
            title="The learning rate is too high",
            found=f"{evidence.loss} rose from {best:.3g} to {blocks[at]:.3g} in the course of the training, from {first:.3g} at its start",
            number=rise,
            bound=RISEN,
            rule=f"medians over a twentieth of the training rise by more than {100 * RISEN:g} % of the first, {DIVERGED} times the best "
            f"and {CHANCE:g} standard errors",
            **shared,
        )
    name = evidence.pair[1] if evidence.pair is not None else ""
    held_out = evidence.held_out.get(name)
    if held_out is not None and evidence.changed:
        held_out = held_out.after(evidence.changed)
    learns = not evidence.from_scratch and last < first  # trained weights that only overfit
    if held_out and not learns and held_out.values[0] > 0 and held_out.values[-1] > DIVERGED * held_out.values[0]:
        times = float(held_out.values[-1] / held_out.values[0])
        return Diagnosis(
            name="rate-too-high",
            anew=True,
            title="The learning rate is too high",
            found=f"{_words(name)} ends at {times:.2g} times what it was before the training",
            number=times,
            bound=DIVERGED,
            rule=f"the held-out loss ends above {DIVERGED} times that of the untrained model",
            **shared,
        )
    ratio, fall = evidence.ratio, (first - last) / max(1e-12, first)
    bound = LARGE_UPDATE if fall < STUCK and evidence.from_scratch else HUGE_UPDATE
    if ratio is not None and ratio > bound:
        return Diagnosis(
            name="rate-too-high",
            anew=True,
            title="The learning rate is too high",
            found=f"each step changes the weights by {100 * ratio:.1f} % of their norm; {evidence.loss} fell by {100 * fall:.1f} %",
            number=ratio,
            bound=bound,
            rule=f"updates above {100 * HUGE_UPDATE:g} % of the weights, or {100 * LARGE_UPDATE:g} % where fresh weights learn nothing",
            **shared,
        )
    return None


def rate_too_low(evidence: Evidence) -> Judgement:
    """A straight slow fall: the second half of the training brings about as much as the first, by tiny updates."""
    name, curve = _smooth_loss(evidence)
    ratio = evidence.ratio
    if curve is None or ratio is None:
        return UNJUDGED
    if ratio >= SMALL_UPDATE:
        return None
    start, middle, end = (float(value) for value in np.interp([0, 0.5 * curve.steps[-1], curve.steps[-1]], curve.steps, curve.values))
    first, second = start - middle, middle - end
    if second <= 0 or second < 0.25 * first or first + second > STEADY * abs(start):
        return None
    changes = {name: float(f"{value * 10:.2g}") for name in ("lr", "critic_lr") if (value := evidence.number(name)) is not None}
    return Diagnosis(
        name="rate-too-low",
        anew=True,
        title="The learning rate is too low",
        found=f"each step changes the weights by {ratio:.1e} of their norm, and {_words(name)} falls as slowly and evenly as at first",
        number=ratio,
        bound=SMALL_UPDATE,
        rule=f"updates below {SMALL_UPDATE:g} of the weights while the second half of the training brings a quarter of the first or more",
        source="Bottou (2012), Stochastic Gradient Descent Tricks; Karpathy (2015), CS231n: about 1e-3 is healthy",
        advice=f"ten times the learning rate: {written(changes)}",
        changes=changes,
        curve=evidence.loss,
    )


def batch_too_small(evidence: Evidence) -> Judgement:
    """Few examples a step, so that the loss jumps from step to step by as much as its own size, and stays large."""
    curve, batch, rate = _loss(evidence), evidence.number("batch"), evidence.number("lr")
    if batch is not None:
        batch *= evidence.number("accumulate") or 1
    if curve is None or batch is None or rate is None or evidence.not_finite:
        return UNJUDGED
    if batch > SMALL_BATCH:
        return None
    if not curve.every_step:
        return UNJUDGED
    late = curve.values[len(curve) // 2 :]
    noise = float(np.diff(late).std() / np.sqrt(2) / max(1e-12, abs(late.mean())))
    ratio, left = evidence.ratio, float(late.mean()) / max(1e-12, float(curve.blocks()[0]))
    if noise < NOISE or left < LEFT or not evidence.from_scratch or (ratio is not None and ratio < SMALL_UPDATE):
        return None  # a loss that has become small scatters by its own size whatever the batch
    more = "batch" in evidence.live
    changes: dict[str, Any] = {"batch": 32} if more else {"lr": float(f"{rate * np.sqrt(batch / 32):.2g}")}
    return Diagnosis(
        name="batch-too-small",
        anew=True,
        title="The batch is too small for the rate",
        found=f"with {batch:g} examples a step {evidence.loss} scatters by {100 * noise:.0f} % of its mean from step to step",
        number=noise,
        bound=NOISE,
        rule=f"at most {SMALL_BATCH} examples a step, a loss above {100 * LEFT:g} % of the first, a scatter above {100 * NOISE:g} % of it",
        source="McCandlish et al. (2018), An Empirical Model of Large-Batch Training; Goodfellow et al. (2016), 8.1.3",
        advice=f"{'more examples a step' if more else 'a rate that is lower by the root of what is missing'}: {written(changes)}",
        changes=changes,
        curve=evidence.loss,
    )


# --- what is reached --------------------------------------------------------------------------------------------------------------


LATER = 3
"""Evaluations after the best one, none of which came back to it: a single bump is none."""


def overfitting(evidence: Evidence) -> Judgement:
    """The held-out loss rises while the training loss falls."""
    if evidence.pair is None or not evidence.pair[0]:
        return UNJUDGED
    train, held_out = (curves.get(name) for curves, name in zip((evidence.training, evidence.held_out), evidence.pair, strict=True))
    if train is None or held_out is None or len(held_out) < 4 or len(train) < LEAST_STEPS:
        return UNJUDGED
    at = int(held_out.values.argmin())
    best, last = float(held_out.values[at]), float(held_out.values[-2:].mean())
    gain = float(held_out.values[0]) - best
    least = LEAST_RISE if evidence.fresh else RISE_OF_BRANCH
    if len(held_out) - 1 - at < LATER or gain <= 0 or last < best + max(RISE * gain, least * abs(best)):
        return None
    then = train.values[train.steps <= held_out.steps[at]]
    before = float(then[-max(1, len(train) // 20) :].mean()) if len(then) else float(train.values[0])
    if train.tail() >= before:
        return None
    changes: dict[str, Any] = {}
    if (dropout := evidence.number("dropout")) is not None and dropout < 0.4:
        changes = {"dropout": round(dropout + 0.2, 2)}
    elif (decay := evidence.number("weight_decay")) is not None:
        changes = {"weight_decay": float(f"{min(10.0, max(0.1, 10 * decay)):.2g}")}
    advice = f"more regularisation: {written(changes)}" if changes else "more data, or a smaller model"
    return Diagnosis(
        name="overfitting",
        title="It overfits",
        found=f"{evidence.pair[1]} rose from {best:.3g} at step {held_out.steps[at]:,.0f} to {last:.3g}, while {evidence.pair[0]} fell",
        number=(last - best) / gain,
        bound=RISE,
        rule=f"the held-out loss has lost more than {100 * RISE:g} % of its fall again, and the training loss is lower than then",
        source="Prechelt (1998), Early Stopping: But When?; Srivastava et al. (2014), Dropout",
        advice=f"{advice}; or stop at step {held_out.steps[at]:,.0f}",
        changes=changes,
        curve=evidence.pair[1],
    )


def not_trained_out(evidence: Evidence) -> Judgement:
    """The last quarter still brings much of what was gained."""
    curve = evidence.held_out.get(evidence.metric)
    if curve is None or len(curve) < 5 or not evidence.ended:
        return UNJUDGED
    sign = 1.0 if evidence.better == "higher" else -1.0
    values = sign * curve.values
    until = 0.75 * curve.steps[-1]  # the best by then, since a metric that goes up and down may have been low just there
    then = max(float(np.interp(until, curve.steps, values)), float(values[curve.steps <= until].max(initial=values[0])))
    gained, late = float(values.max() - values[0]), float(values[-1]) - then
    falls = np.minimum(0, np.diff(values[len(values) // 2 if evidence.fresh else 0 :]))  # a metric that only rises has no noise
    if not evidence.fresh and falls.any():  # what it gained before is not known
        return UNJUDGED
    least = max(STILL_GAINING * gained, 3 * float(np.sqrt(np.square(falls).mean())))
    if gained <= LEAST_GAIN * abs(values[0]) or late < least or values[-1] < values.max() - 0.02 * gained:
        return None
    steps = 2 * evidence.step
    return Diagnosis(
        name="not-trained-out",
        title="It is not yet trained out",
        found=f"the last quarter of the steps brought {100 * late / gained:.0f} % of all that {_words(evidence.metric)} gained",
        number=late / gained,
        bound=STILL_GAINING,
        rule=f"the last quarter of the steps brings more than {100 * STILL_GAINING:g} % of the gain, and three times the noise",
        source="Goodfellow et al. (2016), 11.4.1; Hoffmann et al. (2022) on too few steps",
        advice=f"more steps: --steps {steps}",
        changes={"steps": steps},
        curve=evidence.metric,
    )


def hardly_learnt(evidence: Evidence) -> Judgement:
    """At its best worse than every method without a neural net, and not a third of the way there from the untrained model."""
    methods, curve = _methods(evidence), evidence.held_out.get(evidence.metric)
    if curve is None or not methods or evidence.step < LEAST_STEPS or not evidence.has_had_time or not evidence.fresh:
        return UNJUDGED
    lower = evidence.better == "lower"
    name = (max if lower else min)(methods, key=lambda method: methods[method])
    first, worst, best = float(curve.values[0]), methods[name], _best(evidence, curve)
    way = worst - first
    share = (best - first) / way if way and (way < 0) == lower else 1.0 if (best < worst) == lower and best != worst else 0.0
    if share >= A_THIRD:
        return None
    return Diagnosis(
        name="hardly-learnt",
        title="It has hardly learnt anything",
        found=f"{_words(evidence.metric)} is {_best(evidence, curve):.3g} at best and began at {curve.values[0]:.3g}; "
        f"{name}, the worst of the baselines, has {methods[name]:.3g}",
        number=share,
        bound=A_THIRD,
        rule="the held-out metric came less than a third of the way from the untrained model to the worst baseline",
        source="Goodfellow et al. (2016), 11.2: begin with a baseline; Henderson et al. (2018) for returns",
        advice=f"look at the rate first: {evidence.range_test or 'a tenth, and ten times as much'}; then at the data",
        curve=evidence.metric,
    )


# --- layers -----------------------------------------------------------------------------------------------------------------------


def dead_units(evidence: Evidence) -> Judgement:
    """Rectified units that are 0 for every held-out example, and so get no gradient. A net may be wider than it needs: one that clearly
    beats every simple method is left alone."""
    found = [layer for layer in evidence.layers if layer.leaf and layer.dead is not None]
    if not found:
        return UNJUDGED
    worst = max(found, key=lambda layer: layer.dead or 0.0)
    share = worst.dead or 0.0
    if share < DEAD or _beats_the_baselines(evidence, CLEARLY):
        return None
    advice, changes = _activation_or_rate(evidence, ("relu",), "an activation whose gradient is nowhere 0")
    return Diagnosis(
        name="dead-units",
        anew=True,
        title="Dead units",
        found=f"{100 * share:.0f} % of the units of {worst.address} are 0 for every held-out example",
        number=share,
        bound=DEAD,
        rule=f"{100 * DEAD:g} % of a layer's units or more are 0 for every example, and the metric is less than {100 * CLEARLY:g} % better "
        "than the best method without a neural net",
        source="Maas et al. (2013), Rectifier Nonlinearities; Lu et al. (2020), Dying ReLU",
        advice=advice,
        changes=changes,
        bars={layer.address: layer.dead for layer in found if layer.dead is not None},
    )


def saturated(evidence: Evidence) -> Judgement:
    """Hidden tanh or sigmoid units at their bounds, where hardly a gradient passes."""
    hidden = [layer for layer in evidence.layers[:-1] if layer.saturated is not None]
    if not hidden:
        return UNJUDGED
    worst = max(hidden, key=lambda layer: layer.saturated or 0.0)
    share = worst.saturated or 0.0
    if share < SATURATED:
        return None
    advice, changes = _activation_or_rate(evidence, ("tanh", "sigmoid"), "an activation that does not saturate")
    return Diagnosis(
        name="saturated",
        anew=True,
        title="Saturated activations",
        found=f"{100 * share:.0f} % of the outputs of {worst.address} are at the bounds of its activation function",
        number=share,
        bound=SATURATED,
        rule=f"more than {100 * SATURATED:g} % of a hidden layer's tanh or sigmoid outputs within half a per cent of their bounds",
        source="Glorot and Bengio (2010), Understanding the Difficulty of Training Deep Feedforward Neural Networks",
        advice=advice,
        changes=changes,
        bars={layer.address: layer.saturated for layer in hidden if layer.saturated is not None},
    )


def saturated_softmax(evidence: Evidence) -> Judgement:
    """Attention that has chosen one key in most rows, so that hardly a gradient reaches queries and keys. A head that copies does so by
    right: a model that beats every simple method is left alone."""
    found = [layer for layer in evidence.layers if layer.one_hot is not None]
    if not found or evidence.step < LEAST_STEPS:
        return UNJUDGED
    worst = max(found, key=lambda layer: layer.one_hot or 0.0)
    share = worst.one_hot or 0.0
    if share < ONE_HOT or _beats_the_baselines(evidence):
        return None
    spread = evidence.number("init_std")
    large = spread is not None and spread > 5 * INITIAL
    changes = {"init_std": INITIAL} if large else lower_rate(evidence)
    return Diagnosis(
        name="saturated-softmax",
        anew=True,
        title="The attention's softmax is saturated",
        found=f"{100 * share:.0f} % of the rows of attention of {worst.address} have all but 1 % of their weight on one key",
        number=share,
        bound=ONE_HOT,
        rule=f"{100 * ONE_HOT:g} % of an attention's rows or more are one-hot, and some method without a neural net does as well",
        source="Vaswani et al. (2017), 3.2.1; Zhai et al. (2023), Preventing Attention Entropy Collapse",
        advice=f"{'smaller weights at the start' if large else 'a tenth of the learning rate'}: {written(changes)}",
        changes=changes,
        bars={layer.address: layer.one_hot for layer in found if layer.one_hot is not None},
    )


def over_confident(evidence: Evidence) -> Judgement:
    """A language model that has learned nothing gives every token about the same probability: its loss is near the logarithm of their
    number, little above that of the unigram. Large weights make large logits, and a softmax that is sure of a token at random."""
    name = evidence.pair[1] if evidence.pair is not None else ""
    held_out, unigram = evidence.held_out.get(name), evidence.baselines.get(name, {}).get("unigram")
    if held_out is None or held_out.steps[0] != 0 or not unigram or not math.isfinite(unigram) or not evidence.fresh:
        return UNJUDGED
    first = float(held_out.values[0])
    times = first / unigram
    if times <= CONFIDENT:
        return None
    spread = evidence.number("init_std")
    changes = {"init_std": INITIAL} if spread is not None and spread > INITIAL else {}
    return Diagnosis(
        name="over-confident",
        anew=True,
        title="The untrained model is over-confident",
        found=f"before the training {_words(name)} is {first:.3g}, and {unigram:.3g} by the words' frequencies alone",
        number=times,
        bound=CONFIDENT,
        rule=f"the loss of the untrained model is above {CONFIDENT:g} times that of the unigram",
        source="Karpathy (2019), A Recipe for Training Neural Networks: verify loss at init",
        advice=f"smaller weights at the start: {written(changes)}" if changes else "smaller weights at the start",
        changes=changes,
        curve=name,
    )


def vanishing_gradients(evidence: Evidence) -> Judgement:
    """The first layers get a tiny part of the gradient that the last ones get."""
    chain = [layer for layer in _weighted(evidence) if layer.gradients is not None]
    if len(chain) < 3:
        return UNJUDGED
    first, last = chain[0], max(chain[1:], key=lambda layer: layer.gradients or 0.0)
    if not last.gradients:  # no layer has any
        return None
    share = (first.gradients or 0.0) / last.gradients
    if share > VANISHING or (share == 0 and any((layer.dead or 0.0) >= DEAD for layer in evidence.layers)):  # dead units say more
        return None
    changes = {"activation": "gelu"} if evidence.settings.get("activation") in ("tanh", "sigmoid") else {}
    if evidence.settings.get("norm") == "none":
        changes = {"norm": "batch"}
    return Diagnosis(
        name="vanishing-gradients",
        anew=True,
        title="Vanishing gradients",
        found=f"the gradient of {first.address} is {share:.1e} of that of {last.address}",
        number=share,
        bound=VANISHING,
        rule=f"the first layer's gradient has less than {VANISHING:g} of the largest one's norm",
        source="Bengio, Simard and Frasconi (1994); Glorot and Bengio (2010)",
        advice=f"normalise between the layers, or use an activation that does not saturate: {written(changes) or 'fewer layers'}",
        changes=changes,
        bars={layer.address: layer.gradients for layer in chain if layer.gradients is not None},
    )


def exploding_gradients(evidence: Evidence) -> Judgement:
    """Norms of the gradient that now and then are many times the usual one; not if they are clipped in a net that learns well."""
    clip = evidence.number("clip")
    curves = [(name, curve) for name, curve in evidence.training.items() if name.endswith("grad_norm") and len(curve) >= LEAST_STEPS]
    curves = [(name, curve) for name, curve in curves if curve.every_step and evidence.from_scratch]  # trained weights have small gradients
    for name, curve in curves:
        late = curve.values[len(curve) // 10 :]  # the first steps are those of untrained weights
        usual = float(np.median(late))
        high = float(np.quantile(late, 0.999))
        spike = high / usual if usual > 0 else 0.0
        if spike > SPIKE and high > ABOVE * curve.medians().max():  # else it is the usual norm that has become small
            if clip and _beats_the_baselines(evidence, CLEARLY):
                return None
            changes: dict[str, Any] = {"clip": 1.0} if clip == 0 else lower_rate(evidence, 3)
            return Diagnosis(
                name="exploding-gradients",
                anew=True,
                title="Exploding gradients",
                found=f"{_words(name)} reaches {spike:.0f} times its median of {usual:.3g}",
                number=spike,
                bound=SPIKE,
                rule=f"one step in a thousand has a gradient of more than {SPIKE:g} times the median, and {ABOVE:g} times its largest; "
                f"where gradients are clipped, the metric is also less than {100 * CLEARLY:g} % better than by every simple method",
                source="Pascanu, Mikolov and Bengio (2013), On the Difficulty of Training Recurrent Neural Networks",
                advice=f"{'clip the gradient' if clip == 0 else 'a third of the learning rate'}: {written(changes)}",
                changes=changes,
                curve=name,
            )
    return None if curves else UNJUDGED


def no_normalisation(evidence: Evidence) -> Judgement:
    """A deep net without normalisation whose activations shrink or grow from layer to layer."""
    chain = [layer for layer in _weighted(evidence) if layer.deviation]
    if not chain:
        return UNJUDGED
    if len(chain) < DEEP or any("Norm" in layer.kind for layer in evidence.layers) or evidence.settings.get("norm") != "none":
        return None
    sizes = [layer.deviation or 1.0 for layer in chain[:-1]]
    spread = max(sizes) / min(sizes)
    if spread < SPREAD:
        return None
    return Diagnosis(
        name="no-normalisation",
        anew=True,
        title="A deep net without normalisation",
        found=f"the deviation of the activations changes by a factor of {spread:.0f} over {len(chain)} layers",
        number=spread,
        bound=SPREAD,
        rule=f"{DEEP} layers or more, no normalisation, and deviations that differ by a factor of {SPREAD:g} or more",
        source="Ioffe and Szegedy (2015), Batch Normalization; He et al. (2015), Delving Deep into Rectifiers",
        advice="normalise between the layers: --norm batch",
        changes={"norm": "batch"},
        bars={layer.address: layer.deviation for layer in chain if layer.deviation is not None},
    )


# --- data -------------------------------------------------------------------------------------------------------------------------


def vocabulary_too_small(evidence: Evidence) -> Judgement:
    """Many held-out words are no tokens of their own."""
    share = _per_cent(r"([\d.]+) % of the held-out \w+ are <unk>", evidence.data)
    if share is None:
        return UNJUDGED
    if share < UNKNOWN:
        return None
    size, least = evidence.number("vocab_size"), evidence.number("min_count")
    changes: dict[str, Any] = {}
    if size is not None and size < 8000:
        changes["vocab_size"] = 8000
    if least is not None and least > 3:
        changes["min_count"] = 3
    return Diagnosis(
        name="vocabulary-too-small",
        anew=True,
        title="The vocabulary leaves too much out",
        found=f"{share:g} % of the held-out words are <unk>, which is easy to predict and says nothing",
        number=share,
        bound=UNKNOWN,
        rule=f"more than {UNKNOWN:g} % of the held-out words are unknown",
        source="Sennrich, Haddow and Birch (2016), Neural Machine Translation of Rare Words with Subword Units",
        advice=f"more words: {written(changes)}" if changes else "pieces of words: --tokens bpe",
        changes=changes,
        bars={"<unk>": share, "known": 100 - share},
    )


def held_out_overlaps(evidence: Evidence) -> Judgement:
    """Held-out text that was read in training."""
    share = _per_cent(r"([\d.]+) % of them stand in the training part", evidence.data)
    if share is None:
        return UNJUDGED
    if share < REPEATED:
        return None
    return Diagnosis(
        name="held-out-overlaps",
        title="The held-out text overlaps with the training text",
        found=f"{share:g} % of the held-out text stands in the training part as well",
        number=share,
        bound=REPEATED,
        rule=f"more than {REPEATED:g} % of the held-out tokens lie in runs that the training part has, too",
        source="Lee et al. (2022), Deduplicating Training Data Makes Language Models Better",
        advice="a text without repeats: held-out numbers of this one flatter",
        bars={"in the training part, too": share, "not": 100 - share},
    )


RULES: Sequence[Rule] = (
    not_finite,
    rate_too_high,
    rate_too_low,
    batch_too_small,
    overfitting,
    not_trained_out,
    hardly_learnt,
    dead_units,
    saturated,
    saturated_softmax,
    over_confident,
    vanishing_gradients,
    exploding_gradients,
    no_normalisation,
    vocabulary_too_small,
    held_out_overlaps,
)


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def _loss(evidence: Evidence) -> Curve | None:
    """The training loss, where there is one and it is long enough to be judged."""
    curve = evidence.training.get(evidence.loss)
    return curve if curve is not None and len(curve) >= LEAST_STEPS else None


def _smooth_loss(evidence: Evidence) -> tuple[str, Curve | None]:
    """The held-out loss where it was measured often enough, else means of the training loss."""
    if evidence.pair is not None and (held_out := evidence.held_out.get(evidence.pair[1])) is not None and len(held_out) >= 3:
        return evidence.pair[1], held_out
    if (curve := _loss(evidence)) is None:
        return "", None
    return evidence.loss, Curve(curve.blocks_at(), curve.blocks())


def _best(evidence: Evidence, curve: Curve) -> float:
    return float(curve.values.min() if evidence.better == "lower" else curve.values.max())


def _methods(evidence: Evidence) -> dict[str, float]:
    """What the metric is by each method without a neural net."""
    known = evidence.baselines.get(evidence.metric, {}).items()
    return {name: value for name, value in known if name not in evidence.bounds and math.isfinite(value)}


def _beats_the_baselines(evidence: Evidence, by: float = 0.0) -> bool:
    """Whether the metric is better than by each method without a neural net, by more than this share of the best one's."""
    methods, value = _methods(evidence), evidence.final(evidence.metric)
    if value is None or not methods:
        return False
    best = (min if evidence.better == "lower" else max)(methods.values())
    return (best - value if evidence.better == "lower" else value - best) > by * abs(best)


def _weighted(evidence: Evidence) -> list[LayerHealth]:
    """Linear and convolutional layers of the first model, in order."""
    kinds = ("Linear", "Conv1d", "Conv2d", "ConvTranspose2d")
    prefix = f"{evidence.layers[0].address}." if evidence.layers else ""  # where there are several models, every address has its model's
    inside = [layer for layer in evidence.layers if layer.address.startswith(prefix)] or evidence.layers
    return [layer for layer in inside if layer.leaf and layer.kind in kinds]


def _per_cent(pattern: str, words: str) -> float | None:
    match = re.search(pattern, words)
    return float(match[1]) if match else None
