"""Cards of panels that all decoders have. Imports no torch."""

from __future__ import annotations

from dlplay.engine.card import PanelCard
from dlplay.engine.settings import Options

DECODER_HEADS = PanelCard(
    "heads",
    "Heads",
    "Every head: by how much the held-out loss rises when it is mean-ablated, and where its attention goes.",
    "Each head is replaced by its mean over held-out data, one at a time; other heads may stand in for it, so that a small change does not "
    "say that it does nothing. Mean attention over held-out text: previous, to the token before; first, to the first one, the attention "
    "sink of a head that finds nothing (Xiao et al., 2023); same token, to earlier copies of the token. Induction, to what followed an "
    "earlier copy, is measured on random tokens of which 4 to 8 at a time are read twice (Olsson et al., 2022). The last row is attention "
    "spread evenly. A head's name is its address: it can be typed into an intervention.",
)


def attribution(options: type[Options]) -> PanelCard:
    """The card of logit attribution, with the options that say after which token and of which one."""
    return PanelCard(
        "attribution",
        "Logit attribution",
        "What every head, feed-forward layer and embedding adds to the logit of the next token.",
        "The residual stream is a sum of what all parts wrote into it, and the final norm (its scale kept) and the output head map it "
        "to logits: so the logit of a token is a sum over the parts (Wang et al., 2022). What a part adds by way of later layers "
        "counts as theirs. All logits together can be shifted without an effect: compare with the mean logit in the caption.",
        options,
        rows=10,
    )
