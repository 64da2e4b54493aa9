"""A CUDA device of paper: its tensors say `cuda:0` and are computed on the CPU, with real values.

PyTorch's FakeTensor cannot stand in for it: without values there is no `.item()`, no checkpoint and no panel. Here a whole run works, and
what a real device would refuse or be waited for is found on a machine without one:

- an operation that mixes tensors of both devices, or draws with a generator of the other device, raises `RuntimeError`;
- a wait for the device is warned of as `torch.cuda.set_sync_debug_mode("warn")` does;
- an operation whose CUDA kernel is not deterministic is warned of as `torch.set_deterministic_debug_mode("warn")` does;
- the device's own random state, which a checkpoint must hold, is another one than the CPU's.

It knows nothing of kernels that CUDA lacks, of rounding, memory, streams or speed: for those there is `dlplay check --device cuda`.
"""
