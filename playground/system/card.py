"""The panels about the machine, which every architecture has, as its card shows them. Imports no torch."""

from __future__ import annotations

import dataclasses

from dlplay.engine.card import Card, PanelCard
from dlplay.system.options import System

SOURCE = "dlplay.system.panels:SystemPanels"

PANELS = (
    PanelCard(
        "system",
        "System",
        "What the machine does while it trains, over the steps of the losses.",
        "The option gauge chooses what is drawn. A sample a second, thinned to 2,048 in a long run. A card's utilisation is the share of "
        "the time in which a kernel ran, its memory that of all processes; what the driver does not tell is missing. The processors' "
        "utilisation is that of the whole machine, by all programs. Cards need the extra nvidia, and are read for runs that train on one.",
        System,
        source=SOURCE,
    ),
    PanelCard(
        "time_shares",
        "Where the time goes",
        "Shares of the run's time: the parts of a step, evaluations, saves, and all else.",
        "A few steps, drawn at random, are timed part by part. Forward: modules and loss. Backward: the gradients. Optimiser: clipping, "
        "the look whether all is finite, the update. Data: the rest of a step, such as drawing the batch, or DQN's environment and memory. "
        "Evaluation and saving: while training stands still for them; checkpoints are written beside it. Other: recording, panels, a "
        "limited speed.",
        rows=7,
        source=SOURCE,
    ),
)


def with_system(card: Card) -> Card:
    """The card with these panels behind its own; a panel of the room with the name of one of these takes its place."""
    own = {panel.name for panel in card.panels}
    return dataclasses.replace(card, panels=(*card.panels, *(panel for panel in PANELS if panel.name not in own)), _found={})
