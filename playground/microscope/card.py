"""The panels that every architecture has, as its card shows them. Imports no torch."""

from __future__ import annotations

import dataclasses

from dlplay.engine.card import Card, PanelCard
from dlplay.microscope.options import Ablations, Anatomy, Effect, Layer

SOURCE = "dlplay.microscope.panels:Microscope"

PANELS = (
    PanelCard(
        "anatomy",
        "Anatomy",
        "The model as it is built, module by module; columns health shows which are saturated or dead.",
        "Shapes, multiply-adds and time are those of one pass of held-out data; those of a module include those of its parts. Health: a "
        "unit is dead when it is 0 for every example; a row of attention is one-hot when one key has more than .99 of its weight; an "
        "update of about a thousandth of the weights is healthy; the effective rank is exp of the entropy of the singular values (Roy and "
        "Vetterli, 2007).",
        Anatomy,
        source=SOURCE,
    ),
    PanelCard(
        "layer",
        "Layer",
        "One module: its weights, output and gradients, its matrix, or what excites its units.",
        "Choose it with module, by its address in the panel Anatomy, and what is shown of it with details. Histograms are over all "
        "values; over time there is a row for each of some checkpoints along the way of the run. A unit's example is the held-out one with "
        "the largest output of that unit, at any place.",
        Layer,
        source=SOURCE,
    ),
    PanelCard(
        "effect",
        "Effect of interventions",
        "What the interventions cost on held-out data: mean difference, with a 95 % interval.",
        "The same held-out examples are measured without and with each intervention, and with all of them. The interval is that of the "
        "mean of the differences; one that holds 0 may be chance. Interventions are on while somebody looks: training never sees them. "
        'A part is a module by its address, an attention head (blocks.1.head.3), a recurrent layer (rnn.layers.0), a word (tokens["the"]).',
        Effect,
        rows=6,
        source=SOURCE,
    ),
    PanelCard(
        "ablations",
        "What each part carries",
        "By how much the held-out measure changes with each part ablated: the larger, the more depends on it.",
        "Each attention head, channel or unit is replaced by its mean over held-out data (with by zero, set to 0), one at a time, and the "
        "held-out examples are measured again. Other parts may stand in for an ablated one, so that a small change does not say that it "
        "does nothing.",
        Ablations,
        source=SOURCE,
    ),
)


def with_microscope(card: Card) -> Card:
    """The card with these panels behind its own; a panel of the room with the name of one of these takes its place."""
    own = {panel.name for panel in card.panels}
    return dataclasses.replace(card, panels=(*card.panels, *(panel for panel in PANELS if panel.name not in own)), _found={})
