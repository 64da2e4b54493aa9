"""CUDA graphs on the device of paper: what a step computes is recorded, operation by operation, and a replay does just that again.

So a replay reads what lies in the tensors that the step has read, and computes with the numbers that it had, as a real one does. As with
a real one nothing is computed while it is captured, waits and copies from the CPU are refused in there, and what lies between two replays
in the tensors that they write is not to be relied on.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Graphs:
    """What is captured just now."""

    capturing: CUDAGraph | None = None
    pools: ClassVar[dict[object, weakref.WeakSet[CUDAGraph]]] = {}
    """Pools of memory, with the graphs that use them."""


class CUDAGraph:
    """Operations with the tensors that they read and wrote, as `torch.cuda.CUDAGraph` has kernels."""

    def __init__(self) -> None:
        self._recorded: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._made: dict[int, torch.UntypedStorage] = {}
        """Storages that first came up in here, by their addresses."""

    def replay(self) -> None:
        for storage in self._made.values():
            storage.fill_(0xFF)  # not a number, or -1
        with torch.no_grad():
            for func, args, kwargs, made in self._recorded:
                for new, old in zip(_tensors(func(*args, **kwargs)), made, strict=True):
                    if _storage(new).data_ptr() != _storage(old).data_ptr():
                        _inner(old).copy_(_inner(new))

    def register_generator_state(self, generator: torch.Generator) -> None:
        raise NotImplementedError("no room here draws with a generator of the device")


class graph(contextlib.AbstractContextManager[None]):  # noqa: N801, as PyTorch calls it
    """As `torch.cuda.graph`."""

    def __init__(self, cuda_graph: CUDAGraph, pool: object, stream: object, capture_error_mode: str) -> None:
        assert capture_error_mode in ("global", "thread_local", "relaxed")
        assert isinstance(stream, Stream)
        used_by = Graphs.pools.setdefault(pool, weakref.WeakSet([cuda_graph]))
        if not used_by:
            raise RuntimeError("INTERNAL ASSERT FAILED: a pool that no graph uses any more")
        used_by.add(cuda_graph)
        self._recorder = _Recorder(cuda_graph)

    def __enter__(self) -> None:
        Graphs.capturing = self._recorder.graph
        self._recorder.__enter__()

    def __exit__(self, *error: object) -> None:
        self._recorder.__exit__(*error)
        Graphs.capturing = None
        self._recorder.undo()


class _Recorder(TorchDispatchMode):
    def __init__(self, graph: CUDAGraph) -> None:
        super().__init__()
        from tests.paper_device import device

        self.graph = graph
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        """What was changed in here and had been there before, with how it was."""
        self._random = device._default.get_state()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        read = _tensors((args, kwargs))
        if func._schema.is_mutable:
            for tensor in read:
                storage = _storage(tensor)
                if storage.data_ptr() not in self.graph._made:
                    self._before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        made = func(*args, **(kwargs or {}))
        known = {_storage(tensor).data_ptr() for tensor in read}
        for tensor in _tensors(made):
            storage = _storage(tensor)
            if storage.data_ptr() not in known:
                self.graph._made[storage.data_ptr()] = storage
        self.graph._recorded.append((func, args, kwargs or {}, _tensors(made)))
        return made

    def undo(self) -> None:
        """As if nothing had been computed."""
        from tests.paper_device import device

        for storage, before in self._before.values():
            storage.copy_(before)
        device._default.set_state(self._random)


_numbers = itertools.count()


def graph_pool_handle() -> tuple[int, int]:
    return 0, next(_numbers)


class Stream:
    def __init__(self, device: torch.device | None = None) -> None:
        pass

    def wait_stream(self, stream: object) -> None:
        pass


@contextlib.contextmanager
def stream(used: Stream) -> Iterator[None]:
    yield


def check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """What PyTorch's optimisers ask before a step."""
    capturable = all(group["capturable"] for group in optimizer.param_groups)
    if Graphs.capturing is not None and not capturable:
        raise RuntimeError("Attempting CUDA graph capture of step(), but param_groups' capturable is False")
    if Graphs.capturing is None and capturable and not getattr(optimizer, "_warned_capturable_if_run_uncaptured", False):
        warnings.warn("step() is running without CUDA graph capture", stacklevel=2)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _inner(tensor: Tensor) -> Tensor:
    inner: Tensor = vars(tensor).get("inner", tensor)
    return inner


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return _inner(tensor).untyped_storage()
