"""The small trained models in `pretrained/`, one folder each; `manifest.json` says how each was trained."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlplay.checkpoints import CheckpointError
from dlplay.checkpoints.format import read_bytes, tensor_file
from dlplay.checkpoints.store import META, WEIGHTS, Checkpoint, Contents, encode_meta, load, read_record, write_folder

PRETRAINED = Path(__file__).parent / "pretrained"
FORMAT = 1
SIZE_LIMIT = 2 << 20
"""Bytes of one shipped model, so that the package stays small."""

_NAME = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,63}")


@dataclasses.dataclass(frozen=True)
class Shipped:
    """One entry of the manifest."""

    name: str
    architecture: str
    path: Path
    """The checkpoint's folder."""
    sha256: str
    """Of `weights.safetensors`."""
    command: str
    """The exact command that trained it."""
    metric: str
    """The held-out metric that says how good it is; `value` is what it reached."""
    value: float
    bytes: int
    metrics: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]

    def open(self) -> Checkpoint:
        """The checkpoint, verified against the manifest. Raises `CheckpointError`."""
        if (found := read_record(self.path).files.get(WEIGHTS)) != self.sha256:
            raise CheckpointError(f"shipped model {self.name} does not match its manifest: {str(found)[:16]}… is not {self.sha256[:16]}…")
        return load(self.path)


def shipped(root: Path = PRETRAINED) -> dict[str, Shipped]:
    """Every shipped model by name, those with default settings first, since the first of an architecture is shown until another is chosen;
    none when there is no manifest. Raises `CheckpointError` for a damaged manifest."""
    found = [_entry(name, fields, root) for name, fields in _read_manifest(root).items()]
    return {item.name: item for item in sorted(found, key=lambda item: (" --preset " in item.command, item.name))}


def find(name: str, root: Path = PRETRAINED) -> Shipped:
    """The shipped model called `name`. Raises `CheckpointError` with the nearest name."""
    known = shipped(root)
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
    raise CheckpointError(f"there is no shipped model {name[:80]!r}; {hint}")


def add(
    name: str,
    checkpoint: Checkpoint,
    *,
    architecture: str,
    command: str,
    metric: str,
    metrics: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    meta: Mapping[str, Any] | None = None,
    root: Path = PRETRAINED,
) -> Shipped:
    """Ship the weights and the meta (or `meta` instead) of a run's checkpoint as `name`, replacing one of that name.

    Raises `CheckpointError` for an invalid name, an unknown metric or a model that is too large.
    """
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"{name[:80]!r} cannot be a model's name; use 1 to 64 of a-z 0-9 . _ - without a leading dot")
    if metric not in metrics:
        raise CheckpointError(f"there is no metric {metric!r} among {', '.join(metrics) or 'none'}")
    files: dict[str, Contents] = {WEIGHTS: tensor_file(checkpoint.weights)}
    files[META] = encode_meta(checkpoint.step, files, checkpoint.meta if meta is None else meta)
    if (size := sum(len(data) for data in files.values())) > SIZE_LIMIT:
        raise CheckpointError(f"{name} takes {size:,} bytes; a shipped model may take {SIZE_LIMIT:,}")
    root.mkdir(parents=True, exist_ok=True)
    folder, staging = root / name, root / f".tmp-{os.getpid()}-{name}"
    write_folder(staging, files)
    shutil.rmtree(folder, ignore_errors=True)
    staging.rename(folder)
    folder.chmod(0o755)
    for file in files:
        (folder / file).chmod(0o644)
    models = _read_manifest(root)
    models[name] = {
        "architecture": architecture,
        "sha256": read_record(folder).files[WEIGHTS],
        "command": command,
        "metric": metric,
        "metrics": dict(metrics),
        "baselines": {key: dict(values) for key, values in (baselines or {}).items()},
    }
    text = json.dumps({"format": FORMAT, "models": models}, indent=2, sort_keys=True) + "\n"
    draft = root / f".tmp-{os.getpid()}-manifest"
    draft.write_text(text)
    draft.replace(root / "manifest.json")
    return find(name, root)


def _read_manifest(root: Path) -> dict[str, Any]:
    path = root / "manifest.json"
    if not path.exists():
        return {}
    try:
        content = json.loads(read_bytes(path, 1 << 20))
        models: dict[str, Any] = content["models"]
        if content["format"] != FORMAT or not isinstance(models, dict):
            raise ValueError(f"format {content['format']} is not {FORMAT}")
    except CheckpointError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is not a manifest of shipped models: {error}") from None
    return models


def _entry(name: str, fields: Any, root: Path) -> Shipped:
    try:
        if not _NAME.fullmatch(name):
            raise ValueError("its name is not 1 to 64 of a-z 0-9 . _ -")
        folder = root / name
        metrics = {str(key): float(value) for key, value in fields["metrics"].items()}
        metric = str(fields["metric"]) if "metric" in fields else next(iter(metrics))
        return Shipped(
            name=name,
            architecture=str(fields["architecture"]),
            path=folder,
            sha256=str(fields["sha256"]),
            command=str(fields["command"]),
            metric=metric,
            value=metrics[metric],
            bytes=sum(file.stat().st_size for file in folder.iterdir()),
            metrics=metrics,
            baselines={str(key): dict(values) for key, values in fields.get("baselines", {}).items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, OSError) as error:
        raise CheckpointError(f"the manifest's entry for the shipped model {name[:80]!r} is damaged: {error}") from None
