"""Errors caused by what a person gave. The message says what it was, what is allowed and what to do; they are shown without a traceback."""


class DataError(ValueError):
    """Data that cannot be used; the message names the file or value, the limit and what to do."""
