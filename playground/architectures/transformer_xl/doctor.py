"""What the doctor looks for in a Transformer-XL. Imports no torch."""

from __future__ import annotations

from dlplay.engine.diagnosis import UNJUDGED, Diagnosis, Evidence, Judgement

UNUSED = 0.01


def memory_unused(evidence: Evidence) -> Judgement:
    with_it, without = evidence.final("val_loss"), evidence.final("val_loss_without_memory")
    memory = evidence.number("eval_memory")
    if with_it is None or without is None or not memory or evidence.step < 100 or not evidence.has_had_time:
        return UNJUDGED
    gain = (without - with_it) / max(1e-9, without)
    if gain > UNUSED:
        return None
    trained = evidence.number("memory")
    changes = {"memory": int(memory)} if not trained else {}
    return Diagnosis(
        name="memory-unused",
        anew=True,
        title="The memory is not used",
        found=f"the held-out loss is {with_it:.3g} with the memory and {without:.3g} without it",
        number=gain,
        bound=UNUSED,
        rule=f"the memory lowers the held-out loss by less than {100 * UNUSED:g} %",
        source="Dai et al. (2019), Transformer-XL: ablation of the memory",
        advice=f"train with the memory: --memory {changes['memory']}"
        if changes
        else "train for longer, or on text that needs what came before",
        changes=changes,
        curve="val_loss_without_memory",
    )


RULES = (memory_unused,)
