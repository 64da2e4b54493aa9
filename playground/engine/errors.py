"""Errors caused by what a person gave. The message says what it was, what is allowed and what to do; they are shown without a traceback."""


class DataError(ValueError):
    """Data that cannot be used; the message names the file or value, the limit and what to do."""


def cause(error: BaseException) -> str:
    """The error and the line it comes from, on one line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})" if trace and not isinstance(error, SyntaxError) else ""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500] + where
