"""The small trained models in `pretrained/`, one folder each; `manifest.json` says how each was trained."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlplay.checkpoints import CheckpointError
from dlplay.checkpoints.format import read_bytes, tensor_file
from dlplay.checkpoints.store import META, WEIGHTS, Checkpoint, Contents, encode_meta, load, read_record, write_folder

PRETRAINED = Path(__file__).parent / "pretrained"
FORMAT = 1
SIZE_LIMIT = 2 << 20
"""Bytes of one shipped model with its checkpoints along the way, so that the package stays small."""
ALONG = "along"
"""The folder of those checkpoints, beside the model's own files."""

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
    along: Mapping[int, str]
    """SHA-256 of the weights of its checkpoints along the way of its training, by step; none for most models."""

    @property
    def steps(self) -> dict[int, Path]:
        """The folder of each checkpoint by its step, in order, the model itself last. Raises `CheckpointError`."""
        return {step: self.path / ALONG / f"step-{step}" for step in sorted(self.along)} | {read_record(self.path).step: self.path}

    def open(self, step: int | None = None) -> Checkpoint:
        """The model, or its checkpoint of one of the `steps`, verified against the manifest. Raises `CheckpointError`."""
        path = self.path if step is None else self.steps[step]
        expected = self.sha256 if step is None else self.along.get(step, self.sha256)
        if (found := read_record(path).files.get(WEIGHTS)) != expected:
            raise CheckpointError(f"shipped model {self.name} does not match its manifest: {str(found)[:16]}… is not {expected[:16]}…")
        return load(path)


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
    along: Sequence[Checkpoint] = (),
    root: Path = PRETRAINED,
) -> Shipped:
    """Ship the weights and the meta (or `meta` instead) of a run's checkpoint as `name`, replacing one of that name; `along`: earlier
    checkpoints of the same run, to look back at.

    Raises `CheckpointError` for an invalid name, an unknown metric, a model that is too large, or a checkpoint that is no earlier one.
    """
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"{name[:80]!r} cannot be a model's name; use 1 to 64 of a-z 0-9 . _ - without a leading dot")
    if metric not in metrics:
        raise CheckpointError(f"there is no metric {metric!r} among {', '.join(metrics) or 'none'}")
    shared = checkpoint.meta if meta is None else meta
    if wrong := [one.step for one in along if one.step >= checkpoint.step or one.meta.get("settings") != checkpoint.meta.get("settings")]:
        raise CheckpointError(f"steps {wrong} are no earlier ones of the run whose step {checkpoint.step} is shipped")
    folders = {"": _files(checkpoint, shared)}
    folders |= {f"{ALONG}/step-{one.step}": _files(one, {key: one.meta[key] for key in shared if key in one.meta}) for one in along}
    if (size := sum(len(data) for files in folders.values() for data in files.values())) > SIZE_LIMIT:
        raise CheckpointError(f"{name} takes {size:,} bytes; a shipped model may take {SIZE_LIMIT:,}")
    root.mkdir(parents=True, exist_ok=True)
    folder, staging = root / name, root / f".tmp-{os.getpid()}-{name}"
    for place, files in folders.items():
        (staging / place).parent.mkdir(exist_ok=True)
        write_folder(staging / place, files)
    shutil.rmtree(folder, ignore_errors=True)
    staging.rename(folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    models = _read_manifest(root)
    models[name] = {
        "architecture": architecture,
        "sha256": read_record(folder).files[WEIGHTS],
        "command": command,
        "metric": metric,
        "metrics": dict(metrics),
        "baselines": {key: dict(values) for key, values in (baselines or {}).items()},
        "along": {str(one.step): read_record(folder / ALONG / f"step-{one.step}").files[WEIGHTS] for one in along},
    }
    text = json.dumps({"format": FORMAT, "models": models}, indent=2, sort_keys=True) + "\n"
    draft = root / f".tmp-{os.getpid()}-manifest"
    draft.write_text(text)
    draft.replace(root / "manifest.json")
    return find(name, root)


def _files(checkpoint: Checkpoint, meta: Mapping[str, Any]) -> dict[str, Contents]:
    files: dict[str, Contents] = {WEIGHTS: tensor_file(checkpoint.weights)}
    return files | {META: encode_meta(checkpoint.step, files, meta)}


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
            bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            metrics=metrics,
            baselines={str(key): dict(values) for key, values in fields.get("baselines", {}).items()},
            along={int(step): str(digest) for step, digest in fields.get("along", {}).items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, OSError) as error:
        raise CheckpointError(f"the manifest's entry for the shipped model {name[:80]!r} is damaged: {error}") from None
