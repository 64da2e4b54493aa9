"""Checkpoints on disk: a bounded format, an atomic store, the small trained models that are shipped. Knows no playground and no torch."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: the words name the file, what is wrong with it and the bound."""
