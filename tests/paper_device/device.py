"""The tensors of the paper device, and what becomes of an operation on them. To be imported after `runtime.load()`."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import torch
import torch._decomp
import torch._dispatch.python
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from tests.paper_device import graphs
from tests.paper_device.graphs import Graphs

aten = torch.ops.aten
CPU, PAPER = torch.device("cpu"), torch.device("cuda", 0)

COPIES = {aten._to_copy, aten.copy_}
"""The only operations that may have a tensor on either device."""
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
"""CUDA takes their index tensors from the CPU as well, and waits for the copy."""
ALIKE = {aten.cat, aten.stack}
"""The operations that do not even take a CPU tensor without dimensions beside those of the device."""
WAITING = {
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten._unique,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.bincount,
    aten.equal,
    aten.is_nonzero,
}
"""The host needs a number that the device has yet to compute: a size, or the value itself."""
ANY_ORDER = {aten.cumsum, aten.histc, aten.scatter_reduce, aten.put_, aten.kthvalue, aten.median, aten._adaptive_avg_pool2d_backward}
ANY_ORDER |= {aten.upsample_bilinear2d_backward, aten.grid_sampler_2d_backward, aten.reflection_pad2d_backward, aten.nll_loss2d_forward}
"""Operations on floating-point numbers whose CUDA kernels add in any order, so that the last bits differ between two runs; from the
documentation of `torch.use_deterministic_algorithms`."""


class PaperTensor(Tensor):
    """A tensor that says it lies on the device; `inner` is the one on the CPU."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> PaperTensor:
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype, "layout": inner.layout}
        paper: PaperTensor = Tensor._make_wrapper_subclass(cls, inner.size(), device=PAPER, **layout)  # type: ignore[attr-defined]
        paper.inner = inner.detach()
        return paper

    def __init__(self, inner: Tensor) -> None:
        pass

    def __repr__(self) -> str:  # type: ignore[override]
        return f"PaperTensor({tuple(self.shape)}, {self.dtype})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")

    __array__ = numpy  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _perform(func, args, kwargs or {})


class _EveryOperation(TorchDispatchMode):
    """Also those that make tensors, and copies from the CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _perform(func, args, kwargs or {})


def _perform(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What the operation returns, as tensors of the device that a real one would leave them on."""
    operation = func.overloadpacket
    leaves = tree_flatten((args, kwargs))[0]
    papers = [leaf for leaf in leaves if isinstance(leaf, PaperTensor)]
    others = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, PaperTensor)]
    target = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    on_paper = target.type == "cuda" if target is not None else bool(papers)
    generator = next((leaf for leaf in leaves if isinstance(leaf, torch.Generator)), None)
    if papers and others and operation not in COPIES:
        _refuse_mixed(func, args, others)
    if generator is not None and (generator.device.type == "cuda") != on_paper:
        raise RuntimeError(f"{func}: expected a generator of {'cuda' if on_paper else 'cpu'}, found one of {generator.device}")
    if why := _wait(operation, args, kwargs, papers, others, target):
        if Graphs.capturing is not None:
            raise RuntimeError(f"operation not permitted when stream is capturing ({func}: {why})")
        _Debugging.wait(f"{func}: {why}")
    if operation in ANY_ORDER and any(paper.is_floating_point() for paper in papers) and torch.get_deterministic_debug_mode():
        warnings.warn(f"{func} does not have a deterministic implementation", stacklevel=3)

    def on_cpu(leaf: Any) -> Any:
        return leaf.inner if isinstance(leaf, PaperTensor) else leaf

    inner_args, inner_kwargs = tree_map(on_cpu, (args, kwargs))
    if target is not None:
        inner_kwargs["device"] = CPU
    inner_kwargs.pop("pin_memory", None)
    with torch._C._DisableTorchDispatch():  # type: ignore[attr-defined]
        with _drawing(func, on_paper, generator, inner_kwargs):
            made = func(*inner_args, **inner_kwargs)
        if operation is aten._to_copy and made is inner_args[0]:
            made = made.clone()  # on a real device a copy to the other one is always new
    if operation is aten.copy_:
        return args[0]
    if not on_paper:
        return made
    known = {id(paper.inner): paper for paper in papers}  # an operation in place returns what it was given

    def of_paper(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return known[id(leaf)] if id(leaf) in known else PaperTensor(leaf)

    return tree_map(of_paper, made)


def _refuse_mixed(func: Any, args: Sequence[Any], others: list[Tensor]) -> None:
    """Raises `RuntimeError` as a real device does."""
    operation = func.overloadpacket
    if operation in INDEXING:
        values = [leaf for leaf in tree_flatten(args[2:])[0] if isinstance(leaf, Tensor)]
        others = [leaf for leaf in [args[0], *values] if not isinstance(leaf, PaperTensor)]
    wrong = [tuple(tensor.shape) for tensor in others if tensor.dim() > 0 or operation in ALIKE]
    if wrong:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found cuda:0 and cpu, here of shape {wrong[0]}")


def _wait(
    operation: Any,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    papers: list[PaperTensor],
    others: list[Tensor],
    target: torch.device | None,
) -> str:
    """Why the host waits for the device; empty when it does not. Raises `RuntimeError` for a copy that is read before it is there."""
    non_blocking = bool(kwargs.get("non_blocking") or (operation is aten.copy_ and len(args) > 2 and args[2]))
    crosses = papers and others if operation is aten.copy_ else target is not None and (target.type == "cuda") != bool(papers)
    if operation in COPIES and crosses:
        to_host = not isinstance(args[0], PaperTensor) if operation is aten.copy_ else bool(papers)
        if not to_host:
            if Graphs.capturing is not None:
                raise RuntimeError("operation not permitted when stream is capturing (a copy from the CPU)")
            for count in _counting:
                count()
        if to_host and non_blocking:
            raise RuntimeError("a copy to the CPU that nobody waits for may be read before it is there")
        return "" if non_blocking else "a copy between the devices"
    if not papers:
        return ""
    if operation in INDEXING:
        indices = [index for index in args[1] if isinstance(index, Tensor)]
        masked = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
        fills = operation is not aten.index and len(args) > 2 and args[2].numel() == 1 and not isinstance(args[2], PaperTensor)
        if masked and not fills:
            return "a mask as an index"
        return "an index on the CPU" if any(not isinstance(index, PaperTensor) for index in indices) else ""
    if operation is aten.repeat_interleave and kwargs.get("output_size") is None:
        return "the size of the result"
    return "a number that it computes" if operation in WAITING else ""


@contextlib.contextmanager
def _drawing(func: Any, on_paper: bool, generator: torch.Generator | None, kwargs: dict[str, Any]) -> Iterator[None]:
    """Random numbers for an operation of the device: of its `generator`, or of the device's own."""
    if not on_paper or torch.Tag.nondeterministic_seeded not in func.tags:
        yield
        return
    source = generator or _default
    stand_in = torch.Generator() if generator is not None else torch.default_generator
    before = stand_in.get_state()
    stand_in.set_state(source.get_state())
    if generator is not None:
        kwargs["generator"] = stand_in
    yield
    source.set_state(stand_in.get_state())
    stand_in.set_state(before)


_counting: list[Callable[[], None]] = []


@contextlib.contextmanager
def copies_counted(count: Callable[[], None]) -> Iterator[None]:
    """Within it `count` is called at every copy from the CPU to the device."""
    _counting.append(count)
    try:
        yield
    finally:
        _counting.remove(count)


_default = torch.Generator(PAPER)
"""The device's own generator, which is not the CPU's."""


class _Debugging:
    """What `torch.cuda.set_sync_debug_mode` was told."""

    mode = 0

    @classmethod
    def set_mode(cls, mode: int | str) -> None:
        cls.mode = {"default": 0, "warn": 1, "error": 2}.get(str(mode), 0)

    @classmethod
    def wait(cls, what: str) -> None:
        if cls.mode:
            warnings.warn(f"called a synchronizing CUDA operation ({what})", stacklevel=4)


class _Event:
    """A mark on the device's stream, which is always done with what it was given."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing, "only such events tell a time"
        self._at = 0.0

    def record(self, stream: object) -> None:
        self._at = time.perf_counter()

    def query(self) -> bool:
        return True

    def elapsed_time(self, other: _Event) -> float:
        """Milliseconds."""
        return 1000 * (other._at - self._at)


def _seed(seed: int) -> None:
    _default.manual_seed(seed)


_CUDA: dict[str, Any] = {
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "_lazy_init": lambda: None,
    "get_device_name": lambda *_: "a device of paper",
    "get_device_capability": lambda *_: (8, 0),
    "is_bf16_supported": lambda *_: True,
    "synchronize": lambda *_: None,
    "mem_get_info": lambda *_: (1 << 40, 1 << 40),
    "memory_allocated": lambda *_: 0,
    "max_memory_allocated": lambda *_: 0,
    "reset_peak_memory_stats": lambda *_: None,
    "get_rng_state": lambda *_: _default.get_state(),
    "set_rng_state": lambda state, *_: _default.set_state(state),
    "manual_seed": _seed,
    "manual_seed_all": _seed,
    "set_sync_debug_mode": _Debugging.set_mode,
    "Event": _Event,
    "current_stream": graphs.Stream,
    "Stream": graphs.Stream,
    "stream": graphs.stream,
    "set_stream": lambda _: None,
    "CUDAGraph": graphs.CUDAGraph,
    "graph": graphs.graph,
    "graph_pool_handle": graphs.graph_pool_handle,
}
"""What of `torch.cuda` dlplay uses."""


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Within it `cuda` is the paper device. In the main thread alone; checkpoints may be written by others, since they are copies."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(torch.cuda, **_CUDA))
        for module in ("torch.utils._foreach_utils", "torch.optim.optimizer"):  # both ask for the exact type
            known = sys.modules[module]._foreach_supported_types
            stack.enter_context(mock.patch.object(sys.modules[module], "_foreach_supported_types", [*known, PaperTensor]))
        stack.enter_context(mock.patch.object(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", graphs.check_optimizer))
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # a parameter cannot become a PaperTensor in place
        torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]  # torch.tensor(…, device=…) is a copy from the CPU, as it really is
        stack.enter_context(mock.patch.object(torch.backends.cudnn, "is_acceptable", return_value=False))
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        stack.enter_context(
            torch._dispatch.python.enable_python_dispatcher()
        )  # takes LSTMs apart: their CUDA kernels are not in this build
        stack.enter_context(_EveryOperation())
        yield
