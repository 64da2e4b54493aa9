"""Training state as trees of named tensors and JSON values. Everything is keyed by parameter *name*, since a file keeps no order."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlplay.engine.settings import SettingsError


def flatten(tree: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split a tree into its tensors, by path, and the tree of its JSON values. Paths join keys with `/`."""
    tensors: dict[str, Tensor] = {}

    def walk(node: Mapping[str, Any], path: str) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, value in node.items():
            if not isinstance(key, str) or "/" in key:
                raise TypeError(f"state keys are strings without '/', not {key!r} below {path!r}")
            if isinstance(value, Tensor):
                tensors[path + key] = value
            elif isinstance(value, Mapping):
                plain[key] = walk(value, f"{path}{key}/")
            else:
                plain[key] = value
        return plain

    return tensors, walk(tree, "")


def unflatten(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> dict[str, Any]:
    """Put together what `flatten` took apart."""

    def copy(node: Mapping[str, Any]) -> dict[str, Any]:
        return {key: copy(value) if isinstance(value, Mapping) else value for key, value in node.items()}

    tree = copy(plain)
    for path, tensor in tensors.items():
        *parents, key = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[key] = tensor
    return tree


def check_like(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Raises `SettingsError` unless both hold the same names with the same shapes and dtypes."""
    if missing := sorted(own.keys() - other.keys()):
        raise SettingsError(f"the checkpoint lacks {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""))
    if foreign := sorted(other.keys() - own.keys()):
        raise SettingsError(f"the checkpoint holds {foreign[0]}, which this model does not have")
    for name, tensor in own.items():
        if tensor.shape != other[name].shape or tensor.dtype != other[name].dtype:
            found, wanted = f"{tuple(other[name].shape)} {other[name].dtype}", f"{tuple(tensor.shape)} {tensor.dtype}"
            raise SettingsError(f"{name} is {found} in the checkpoint and {wanted} in the model; use the checkpoint's own settings")


def optimizer_state(optimizer: torch.optim.Optimizer, models: Mapping[str, nn.Module]) -> dict[str, Any]:
    """`{model.parameter: {slot: value}}`; what else a param group holds (lr, betas) is set at every step."""
    names = _parameter_names(models)
    return {names[id(parameter)].replace("/", "."): dict(slots) for parameter, slots in optimizer.state.items()}


def load_optimizer_state(optimizer: torch.optim.Optimizer, models: Mapping[str, nn.Module], saved: Mapping[str, Any]) -> None:
    """Load what `optimizer_state` returned."""
    names = _parameter_names(models)
    optimizer.state.clear()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            slots = saved.get(names[id(parameter)])
            if slots is not None:
                optimizer.state[parameter] = {
                    slot: value.to(parameter.device).clone() if isinstance(value, Tensor) else value for slot, value in slots.items()
                }


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of every global generator that a step may draw from: torch's, the device's, numpy's and Python's."""
    twister: dict[str, Any] = np.random.get_state(legacy=False)
    version, internal, gauss_next = random.getstate()
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": {
            "keys": torch.from_numpy(twister["state"]["key"].astype(np.int64)),
            "position": int(twister["state"]["pos"]),
            "gauss": [int(twister["has_gauss"]), float(twister["gauss"])],
        },
        "python": {"version": version, "keys": torch.tensor(internal, dtype=torch.int64), "gauss": gauss_next},
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_state(states: Mapping[str, Any], device: torch.device) -> None:
    """Load what `random_state` returned; a generator that the saving machine did not have keeps its state."""
    torch.set_rng_state(states["torch"])
    numpy_state = states["numpy"]
    has_gauss, gauss = numpy_state["gauss"]
    if not 0 <= numpy_state["position"] <= 624:  # numpy does not look, and would read beyond its keys
        raise ValueError(f"numpy's generator is at {numpy_state['position']} of 624 keys")
    np.random.set_state(("MT19937", numpy_state["keys"].numpy().astype(np.uint32), numpy_state["position"], has_gauss, gauss))
    python_state = states["python"]
    random.setstate((python_state["version"], tuple(python_state["keys"].tolist()), python_state["gauss"]))
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


def _parameter_names(models: Mapping[str, nn.Module]) -> dict[int, str]:
    names: dict[int, str] = {}
    for model_name, model in models.items():
        for name, parameter in model.named_parameters():
            names.setdefault(id(parameter), f"{model_name}.{name}")
    return names
