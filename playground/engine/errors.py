"""Errors that name a person's mistake: their words say what was given, the bound and the way out. No traceback belongs to them."""


class DataError(ValueError):
    """Data that cannot be used: the words name the file or value, the bound and the way out."""
