"""What the doctor looks for in a GAN. Imports no torch."""

from __future__ import annotations

from dlplay.engine.diagnosis import UNJUDGED, Diagnosis, Evidence, Judgement

TOO_STRONG = 0.95
SATURATED = -4.0
"""Of the discriminator's logits of samples: the gradient of log(1 - D) is D, below 2 % there."""
COVERED = 0.5


def discriminator_too_strong(evidence: Evidence) -> Judgement:
    curve = evidence.training.get("discriminator_accuracy")
    if curve is None or len(curve) < 100:
        return UNJUDGED
    accuracy = curve.tail(0.2)
    if accuracy < TOO_STRONG:
        return None
    rate = evidence.number("critic_lr") or 0.0
    changes = {"critic_lr": float(f"{rate / 4:.2g}"), "r1": 0.05} if evidence.number("r1") == 0 else {"critic_lr": float(f"{rate / 4:.2g}")}
    return Diagnosis(
        name="discriminator-too-strong",
        anew=True,
        title="The discriminator is too strong",
        found=f"it tells {100 * accuracy:.0f} % of real examples and samples apart",
        number=accuracy,
        bound=TOO_STRONG,
        rule=f"the discriminator's accuracy over the last fifth is above {100 * TOO_STRONG:g} %",
        source="Arjovsky and Bottou (2017), Towards Principled Methods for Training GANs; Mescheder et al. (2018)",
        advice=f"a slower discriminator{' with the R1 penalty' if 'r1' in changes else ''}: "
        + " ".join(f"--{name.replace('_', '-')} {it:g}" for name, it in changes.items()),
        changes=changes,
        curve="discriminator_accuracy",
    )


def saturated_minimax(evidence: Evidence) -> Judgement:
    curve = evidence.training.get("fake_output")
    if curve is None or len(curve) < 100:
        return UNJUDGED
    if evidence.settings.get("loss") != "minimax":
        return None
    output = curve.tail(0.8)
    if output > SATURATED:
        return None
    return Diagnosis(
        name="saturated-minimax",
        anew=True,
        title="The generator's loss is saturated",
        found=f"the discriminator's logit of samples is {output:.1f} on average, where log(1 - D) is flat",
        number=output,
        bound=SATURATED,
        rule=f"with the minimax loss the mean logit of samples after the first fifth is below {SATURATED:g}",
        source="Goodfellow et al. (2014), Generative Adversarial Nets, section 3",
        advice="the non-saturating loss: --loss non-saturating",
        changes={"loss": "non-saturating"},
        curve="fake_output",
    )


def collapse(evidence: Evidence) -> Judgement:
    covered, known = evidence.final("modes_covered"), evidence.baselines.get("modes_covered", {}).get("real vs real")
    if covered is None or not known or evidence.step < 100 or not evidence.has_had_time:
        return UNJUDGED
    share = covered / known
    if share > COVERED:
        return None
    return Diagnosis(
        name="collapse",
        anew=True,
        title="The generator leaves modes out",
        found=f"its samples cover {covered:g} of {known:g} modes",
        number=share,
        bound=COVERED,
        rule=f"samples cover at most {100 * COVERED:g} % of the modes that real examples cover",
        source="Metz et al. (2017), Unrolled GANs; Gulrajani et al. (2017), Improved Training of Wasserstein GANs",
        advice="a loss whose gradient reaches every mode: --loss wasserstein-gp",
        changes={"loss": "wasserstein-gp"},
        curve="modes_covered",
    )


RULES = (discriminator_too_strong, saturated_minimax, collapse)
