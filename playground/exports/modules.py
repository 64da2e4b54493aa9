"""The source of the package's own modules: what each defines at its top level, and what its names refer to."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dlplay.engine.settings import SettingsError
from dlplay.exports.scopes import bound

ROOT = "dlplay"

Key = tuple[str, str]
"""A definition: its module and its name there."""


@dataclasses.dataclass(frozen=True)
class External:
    """A name that an import from outside the package binds."""

    module: str
    item: str = ""
    """Empty: the module itself."""
    name: str = ""
    """The name it is bound to."""


@dataclasses.dataclass(frozen=True)
class ModuleName:
    """A name that refers to one of the package's modules."""

    module: str


@dataclasses.dataclass
class Definition:
    """A statement at the top level of a module, with the comments above and the docstring below it."""

    module: Module
    node: ast.stmt
    first: int
    """Its first line, counted from 1, with the comments above it."""
    last: int
    names: tuple[str, ...]

    @property
    def key(self) -> Key:
        """Identified by its first name, or by its line when it binds none."""
        return self.module.name, self.names[0] if self.names else f"line {self.first}"


class Found(NamedTuple):
    """A name and the definition that binds it."""

    item: Definition
    name: str


class Module:
    """One module's source."""

    def __init__(self, name: str) -> None:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise SettingsError(f"the source of {name}, from which a script is made, is missing; install dlplay from its wheel")
        self.name, self.package = name, spec.submodule_search_locations is not None
        self.text = Path(spec.origin).read_text(encoding="utf-8")
        self.lines = self.text.split("\n")
        self.tree = ast.parse(self.text)
        self.doc = (ast.get_docstring(self.tree) or "").split("\n\n")[0]
        self.imports: dict[str, External | ModuleName | Key] = {}
        self.before: list[str] = []
        """The package's modules that this one imports at its top level, in order."""
        self.definitions: list[Definition] = []
        self._read(self.tree.body)
        self.by_name = {name: item for item in self.definitions for name in item.names}
        self.effects = [item for item in self.definitions if not item.names]

    def _read(self, body: list[ast.stmt]) -> None:
        for at, node in enumerate(body):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for name, target in self.imported(node):
                    self.imports[name] = target
                    if not isinstance(target, External):
                        self.before.append(target.module if isinstance(target, ModuleName) else target[0])
            elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                self._read([item for item in node.body if isinstance(item, (ast.Import, ast.ImportFrom))])
            elif not is_docstring(node):
                self.definitions.append(Definition(self, node, *extent(self.lines, body, at), tuple(sorted(bound([node])))))

    def imported(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, External | ModuleName | Key]]:
        """What an import binds, by name."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == ROOT:
                    raise SettingsError(
                        f"{self.name} imports the module {alias.name}; a script can only be made from names that are imported one by one"
                    )
                yield alias.asname or alias.name.split(".")[0], External(alias.name, "", alias.asname or alias.name)
            return
        origin = node.module or ""
        if node.level:
            base = self.name.split(".") if self.package else self.name.split(".")[:-1]
            origin = ".".join([*base[: len(base) - node.level + 1], *filter(None, [origin])])
        if origin == "__future__":
            return
        for alias in node.names:
            name = alias.asname or alias.name
            if origin.split(".")[0] != ROOT:
                yield name, External(origin, alias.name, name)
            elif is_module(f"{origin}.{alias.name}"):
                yield name, ModuleName(f"{origin}.{alias.name}")
            else:
                yield name, (origin, alias.name)

    def span(self, node: ast.AST) -> tuple[int, int, int, int]:
        """First line and column, last line and column; columns in bytes of UTF-8."""
        return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]

    def source(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.text, node) or ast.unparse(node)


@functools.cache
def module(name: str) -> Module:
    """The module of that name, parsed once."""
    return Module(name)


@functools.cache
def is_module(name: str) -> bool:
    """Whether there is a module of that name."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def resolve(key: Key) -> Found | External | ModuleName | None:
    """What a global name of a module refers to, through all imports; None for a builtin or an unknown name."""
    home = module(key[0])
    if key[1] in home.by_name:
        return Found(home.by_name[key[1]], key[1])
    target = home.imports.get(key[1])
    if isinstance(target, tuple):
        return resolve(target)
    if target is None and is_module(".".join(key)):
        return ModuleName(".".join(key))
    return target


def is_docstring(node: ast.stmt) -> bool:
    """Whether the statement is only a string: documentation of what is above it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def extent(lines: list[str], body: list[ast.stmt], at: int) -> tuple[int, int]:
    """First and last line of a statement with its decorators, the comments above it and, for a value, the docstring below it."""
    node = body[at]
    first = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])
    while first > 1 and lines[first - 2].lstrip().startswith("#"):
        first -= 1
    last = node.end_lineno or node.lineno
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and at + 1 < len(body) and is_docstring(body[at + 1]):
        last = body[at + 1].end_lineno or last
    return first, last
