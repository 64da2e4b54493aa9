"""The docstrings under the fields of a class, which Python does not keep: they are read from its source."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import sys


def field_docs(kind: type, root: type) -> dict[str, str]:
    """The docstring under each annotated name, in one line, of the class and its bases below and with `root`; the nearest wins."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, root):
            docs |= _docs_in(inspect.getsource(sys.modules[base.__module__])).get(base.__qualname__, {})
    return docs


@functools.lru_cache(maxsize=64)
def _docs_in(source: str) -> dict[str, dict[str, str]]:
    """Those of every class in a module's source, by the class's qualified name: one parse, where `inspect` has one for each class."""
    found: dict[str, dict[str, str]] = {}

    def look(body: list[ast.stmt], path: str) -> None:
        for statement in body:
            if isinstance(statement, ast.ClassDef):
                found[path + statement.name] = _docs_under(statement.body)
                look(statement.body, f"{path}{statement.name}.")
            elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                look(statement.body, f"{path}{statement.name}.<locals>.")
            else:
                look([part for part in ast.iter_child_nodes(statement) if isinstance(part, ast.stmt)], path)

    look(ast.parse(source).body, "")
    return found


def _docs_under(body: list[ast.stmt]) -> dict[str, str]:
    docs: dict[str, str] = {}
    for statement, following in itertools.pairwise(body):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = " ".join(text.split())
    return docs
