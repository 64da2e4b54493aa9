"""Checkpoints on disk: a format read within limits, an atomic store, the shipped models. Imports neither the playground nor torch."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file, what is wrong with it and the limit."""
