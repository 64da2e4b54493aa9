"""Ship a trained model: `python -m checkpoints NAME CHECKPOINT_FOLDER "dlplay … the exact command" METRIC [EARLIER_CHECKPOINT …]`.

The earlier checkpoints are of the same run; whoever opens the model can look back at them.
"""

import sys
from pathlib import Path

from dlplay.checkpoints import CheckpointError, shipped, store


def main() -> int:
    """Add the model to `pretrained/`; returns the exit status."""
    if len(sys.argv) < 5:
        print(__doc__, file=sys.stderr)
        return 2
    name, folder, command, metric, *earlier = sys.argv[1:]
    try:
        checkpoint = store.load(Path(folder))
        kept = ("architecture", "settings", "assets", "metrics", "baselines", "parameters", "data", "threads", "device", "versions", "step")
        meta = {key: checkpoint.meta[key] for key in kept}
        model = shipped.add(
            name,
            checkpoint,
            architecture=meta["architecture"],
            command=command,
            metric=metric,
            metrics=meta["metrics"],
            baselines=meta["baselines"],
            meta=meta,
            along=[store.load(Path(one), state=False) for one in earlier],
        )
    except (CheckpointError, KeyError) as error:
        print(f"checkpoints: {error}", file=sys.stderr)
        return 1
    print(f"{model.name}: {model.bytes:,} bytes, {metric} {model.value:.4g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
