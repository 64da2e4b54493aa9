"""What each rank's next step depends on: sent to rank 0 for a checkpoint, and handed out from there when a run begins or goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import torch
from torch import Tensor

from dlplay.checkpoints.store import Checkpoint
from dlplay.engine import compiled
from dlplay.engine.device import seed_everything
from dlplay.engine.errors import MISFITS, DataError
from dlplay.engine.ranks import Ranks, SendState
from dlplay.engine.state import flatten, random_state, unflatten
from dlplay.engine.task import Task

OF_RANKS = "ranks"
"""In a checkpoint: tensors `ranks/N/…`, where those of rank N are others than rank 0's, and a list of JSON values for each further rank."""

Tree = dict[str, Any]


def check_models(task: Task[Any]) -> None:
    """Raises `DataError` for a model whose statistics would differ from rank to rank."""
    for model in task.models.values():
        if any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules()):
            words = "batch norm takes its statistics from each rank's part of a batch, which is another model"
            raise DataError(f"{words}; use another norm, or start it without torchrun")


def collect(task: Task[Any], ranks: Ranks) -> tuple[dict[str, Tensor], list[Tree]]:
    """On rank 0, for a checkpoint: the tensors of the others that are not rank 0's, as `ranks/N/…`, and their JSON values."""
    ranks.tell(SendState())
    own, _ = flatten(_own_state(task))
    tensors: dict[str, Tensor] = {}
    plain: list[Tree] = []
    for rank, message in enumerate(ranks.gather()[1:], 1):
        others, values = decoded(message)
        differing = {path: value for path, value in others.items() if not _equal(own.get(path), value)}
        tensors |= {f"{OF_RANKS}/{rank}/{path}": value for path, value in differing.items()}
        plain.append(values)
    return tensors, plain


def send_state(task: Task[Any], ranks: Ranks) -> None:
    """From the others."""
    ranks.gather(encoded(*flatten(_own_state(task))))


def number_of_ranks(checkpoint: Checkpoint) -> int:
    """Those that it was written by. Raises `DataError`."""
    others = checkpoint.meta.get(OF_RANKS, [])
    if not isinstance(others, list) or not all(isinstance(values, dict) for values in others):
        raise DataError(f"{checkpoint.path}: what its meta.json says of the ranks is damaged; resume from another checkpoint")
    return 1 + len(others)


def hand_out(task: Task[Any], ranks: Ranks, checkpoint: Checkpoint | None) -> None:
    """On rank 0, whose task is as it is to be: bring the others there. Raises `DataError`, in the words of a rank that cannot follow."""
    key = task.data_key().encode()
    for rank, message in enumerate(ranks.gather()[1:], 1):
        found, _, words = message.partition(b"\0")
        if words:
            raise DataError(f"rank {rank}: {words.decode()}")
        if found != key:
            raise DataError(f"rank {rank} has other data than rank 0; bring the same to every machine")
    ranks.scatter([key] * ranks.count)
    ranks.use(task.device)
    check_models(task)
    ranks.copy_from_first(task.weights())
    ranks.scatter(_states(task, ranks.count, checkpoint))


def _states(task: Task[Any], count: int, checkpoint: Checkpoint | None) -> Iterator[bytes]:
    """By rank; without random numbers where they are to be the rank's own."""
    tensors, plain = flatten(task.state_dict())
    yield b""
    saved = checkpoint is not None and number_of_ranks(checkpoint) == count
    for rank in range(1, count):
        if not saved:
            random = "random/"
            kept = {path: value for path, value in tensors.items() if not path.startswith(random)}
            yield encoded(kept, {name: value for name, value in plain.items() if name != "random"})
            continue
        assert checkpoint is not None
        prefix = f"{OF_RANKS}/{rank}/"
        of_rank = {path.removeprefix(prefix): value for path, value in checkpoint.tensors.items() if path.startswith(prefix)}
        own = {path: torch.from_numpy(value.copy()) for path, value in of_rank.items()}
        yield encoded(tensors | own, plain | checkpoint.meta[OF_RANKS][rank - 1])


def take_up(task: Task[Any], ranks: Ranks) -> None:
    """On the others: what `hand_out` brings, after this rank has told of its data. Raises `DataError`."""
    ranks.use(task.device)
    ranks.copy_from_first(task.weights())
    tensors, plain = decoded(ranks.scatter())
    try:
        state = unflatten(tensors, plain)
        if "random" not in state:
            seed_everything((task.settings.seed + 1_000_003 * ranks.rank) % 2**32)  # dropout of its own
            state["random"] = random_state(task.device)
        task.load_state_dict(state)
    except DataError:
        raise
    except MISFITS as error:
        raise DataError(f"what the checkpoint has of this rank does not fit this model ({error!r}); resume from another one") from error


def compile_steps(task: Task[Any], ranks: Ranks) -> str:
    """Compile the training steps on all ranks or on none, on all of them at once. Returns why on none, in words."""
    task.ranks = ranks
    with ranks.rehearsing():
        why = compiled.prepare(task)
    found = [(rank, words.decode()) for rank, words in enumerate(ranks.gather(why.encode())) if words]
    verdict = f"rank {found[0][0]}: {found[0][1]}" if found else ""  # rank 0's, which scatters it
    why = ranks.scatter([verdict.encode()] * ranks.count).decode()
    task.compiled = not why
    return why


def _own_state(task: Task[Any]) -> Tree:
    """All but the optimisers, which are the same everywhere."""
    return {name: value for name, value in task.state_dict().items() if name != "optimizers"}


def _equal(own: Tensor | None, other: Tensor) -> bool:
    return own is not None and own.shape == other.shape and own.dtype == other.dtype and torch.equal(own.cpu(), other)


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    dtype: str
    shape: tuple[int, ...]
    data: bytes


class _Message(msgspec.Struct, frozen=True, array_like=True):
    tensors: dict[str, _Packed]
    plain: Tree


def encoded(tensors: Mapping[str, Tensor], plain: Tree) -> bytes:
    """A message that no code is read from."""
    packed = {path: _packed(value.detach().cpu()) for path, value in tensors.items()}
    return msgspec.msgpack.encode(_Message(packed, plain))


def decoded(message: bytes) -> tuple[dict[str, Tensor], Tree]:
    """Inverse of `encoded`."""
    found = msgspec.msgpack.decode(message, type=_Message)
    return {path: _unpacked(value) for path, value in found.tensors.items()}, found.plain


def _packed(tensor: Tensor) -> _Packed:
    data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return _Packed(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), data)


def _unpacked(value: _Packed) -> Tensor:
    dtype = getattr(torch, value.dtype)
    if not value.data:
        return torch.empty(value.shape, dtype=dtype)
    return torch.frombuffer(bytearray(value.data), dtype=dtype).view(value.shape)
