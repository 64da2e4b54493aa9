"""What the doctor looks for in a DQN. Imports no torch."""

from __future__ import annotations

from dlplay.architectures.dqn.settings import DQNSettings
from dlplay.engine.diagnosis import UNJUDGED, Diagnosis, Evidence, Judgement

OVER = 0.3
"""By which the predicted value of the first states may exceed what is obtained from them, as a share of it."""
LATE = 0.75
"""Share of the steps from which on values are judged: before, they are optimistic about states that are still to be learnt."""
LEAST_EPSILON = 0.02
SHORT = 4.0
"""Episodes that a buffer holds at the least."""


def over_estimation(evidence: Evidence) -> Judgement:
    predicted, obtained = evidence.held_out.get("start_q"), evidence.held_out.get("discounted_return")
    if predicted is None or obtained is None or len(predicted) < 3 or evidence.done < LATE:
        return UNJUDGED
    late = max(2, len(predicted) // 3)
    q, value = float(predicted.values[-late:].mean()), float(obtained.values[-late:].mean())
    over = (q - value) / max(1.0, abs(value))
    if over < OVER:
        return None
    changes = {"double": True} if not evidence.settings.get("double") else {"target": "soft", "tau": 0.01}
    return Diagnosis(
        name="over-estimation",
        anew=True,
        title="It over-estimates its values",
        found=f"it predicts {q:.3g} for the first states and obtains {value:.3g}",
        number=over,
        bound=OVER,
        rule=f"over the last third the predicted value is more than {100 * OVER:g} % above the discounted return",
        source="Thrun and Schwartz (1993); van Hasselt, Guez and Silver (2016), Double Q-learning",
        advice="one network chooses and the other evaluates: --double"
        if "double" in changes
        else "a target that follows slowly: --target soft --tau 0.01",
        changes=changes,
        curve="start_q",
    )


def no_exploration_left(evidence: Evidence) -> Judgement:
    epsilon, value = evidence.training.get("epsilon"), evidence.final(evidence.metric)
    chance = evidence.baselines.get(evidence.metric, {}).get("random")
    if epsilon is None or value is None or chance is None or len(epsilon) < 3:
        return UNJUDGED
    methods = evidence.baselines.get(evidence.metric, {})
    best = max([*methods.values(), value])
    if epsilon.values[-1] > LEAST_EPSILON or value > chance + 0.1 * max(1e-9, best - chance):
        return None
    changes = {"epsilon_end": 0.1, "epsilon_steps": max(1000, evidence.step // 2)}
    return Diagnosis(
        name="no-exploration-left",
        anew=True,
        title="No exploration is left",
        found=f"the exploration rate is {epsilon.values[-1]:.3g}, and the return {value:.3g} is that of a random policy ({chance:.3g})",
        number=float(epsilon.values[-1]),
        bound=LEAST_EPSILON,
        rule=f"an exploration rate of at most {LEAST_EPSILON:g} while the return is no better than a random policy's",
        source="Sutton and Barto (2018), Reinforcement Learning, 2.2 and 5.4; Mnih et al. (2015)",
        advice=f"explore for longer: --epsilon-end 0.1 --epsilon-steps {changes['epsilon_steps']}",
        changes=changes,
        curve="epsilon",
    )


def buffer_too_small(evidence: Evidence) -> Judgement:
    lengths, buffer = evidence.training.get("episode_length"), evidence.number("buffer")
    if lengths is None or buffer is None or len(lengths) < 5:
        return UNJUDGED
    episodes = buffer / max(1.0, float(lengths.values[-max(5, len(lengths) // 4) :].mean()))
    if episodes > SHORT:
        return None
    return Diagnosis(
        name="buffer-too-small",
        anew=True,
        title="The replay buffer is too small",
        found=f"it holds {episodes:.2g} episodes: what is learnt from is nearly one sequence of states",
        number=episodes,
        bound=SHORT,
        rule=f"the buffer holds at most {SHORT:g} episodes of the length that they have now",
        source="Lin (1992), experience replay; Mnih et al. (2015): correlated samples; Zhang and Sutton (2017)",
        advice="a larger buffer: --buffer 50000",
        changes={"buffer": 50_000},
        curve="episode_length",
    )


def least_trial(settings: DQNSettings) -> int:
    """Steps that a trial takes at the least: nothing is learnt before the replay buffer is used."""
    return 2 * settings.learning_starts


RULES = (over_estimation, no_exploration_left, buffer_too_small)
