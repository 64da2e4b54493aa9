"""Python's scopes: which names a piece of code binds itself, and which it looks up outside."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterable

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclasses.dataclass(frozen=True)
class Use:
    """A name, or several joined by dots, that is looked up outside the piece of code."""

    node: ast.AST
    """The name, or the whole of `a.b` when the resolver took both."""
    target: object
    """What the resolver returned for it."""
    in_annotation: bool
    """Annotations are not evaluated."""
    hidden: frozenset[str]
    """Names that are bound to something else at this place."""
    f_string: ast.JoinedStr | None
    """The f-string around it; positions within one are not reliable before Python 3.12."""


@dataclasses.dataclass(frozen=True)
class Member:
    """An attribute that is read."""

    name: str
    own: bool
    """Read from `self`, `cls` or `super()`."""


@dataclasses.dataclass
class Scope:
    """The names of a class, a function or a comprehension."""

    is_class: bool
    names: set[str]
    imports: dict[str, object]
    """Names that an import inside a function binds to something of the package."""


class Finder(ast.NodeVisitor):
    """Visits a piece of code and collects what it needs from outside: `uses`, `members` and `dropped`."""

    def __init__(
        self,
        resolver: Callable[[str, tuple[str, ...], object], tuple[object, int] | None],
        importer: Callable[[ast.stmt], dict[str, object]],
    ):
        """`resolver(name, attributes, imported)` returns what a global name refers to and how many of the attributes belong to it;
        `importer(statement)` the names that an import binds to something of the package."""
        self._resolver, self._importer = resolver, importer
        self._scopes: list[Scope] = []
        self._annotations = 0
        self._f_string: ast.JoinedStr | None = None
        self.uses: list[Use] = []
        self.members: set[Member] = set()
        self.stored: set[str] = set()
        self.dropped: list[ast.stmt] = []
        """Imports from the package inside functions, which a script does not need."""
        self.dynamic = False
        """It reads attributes whose names are not known before run time."""

    # --- names --------------------------------------------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> None:
        self._look_up(node, node.id, node, ())

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain: list[ast.Attribute] = [node]
        while isinstance(chain[-1].value, ast.Attribute):
            chain.append(chain[-1].value)
        first = chain[-1].value
        taken = 0
        if isinstance(first, ast.Name):
            attributes = tuple(item.attr for item in reversed(chain))
            taken = self._look_up(first, first.id, node, attributes)
        else:
            self.visit(first)
        for item in chain[: len(chain) - taken]:
            own = isinstance(item.value, ast.Name) and item.value.id in ("self", "cls")
            own = own or (isinstance(item.value, ast.Call) and isinstance(item.value.func, ast.Name) and item.value.func.id == "super")
            if isinstance(item.ctx, ast.Load):
                self.members.add(Member(item.attr, own))
            else:
                self.stored.add(item.attr)

    def _look_up(self, node: ast.Name, name: str, whole: ast.AST, attributes: tuple[str, ...]) -> int:
        """Record a name from outside; returns how many of the attributes belong to it."""
        imported: object = None
        for depth, scope in enumerate(reversed(self._scopes)):
            if scope.is_class and depth:
                continue
            if name in scope.imports:
                imported = scope.imports[name]
                break
            if name in scope.names:
                return 0
        found = self._resolver(name, attributes, imported)
        if found is None:
            return 0
        target, taken = found
        while isinstance(whole, ast.Attribute) and len(attributes) > taken:
            whole, attributes = whole.value, attributes[:-1]
        hidden = frozenset().union(*(scope.names for depth, scope in enumerate(reversed(self._scopes)) if not (scope.is_class and depth)))
        self.uses.append(Use(whole, target, self._annotations > 0, hidden, self._f_string))
        return taken

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        before, self._f_string = self._f_string, self._f_string or node
        self.generic_visit(node)
        self._f_string = before

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr") and len(node.args) > 1:
            name = node.args[1]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                self.members.add(Member(name.value, False))
            else:
                self.dynamic = True
        self.generic_visit(node)

    # --- annotations --------------------------------------------------------------------------------------------------------------

    def annotation(self, node: ast.AST | None) -> None:
        if node is not None:
            self._annotations += 1
            self.visit(node)
            self._annotations -= 1

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        self.annotation(node.annotation)
        if node.value is not None:
            self.visit(node.value)

    # --- scopes -------------------------------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *filter(None, [arguments.vararg, arguments.kwarg])]
        for item in [*arguments.defaults, *filter(None, arguments.kw_defaults), *getattr(node, "decorator_list", [])]:
            self.visit(item)
        for argument in every:
            self.annotation(argument.annotation)
        self.annotation(getattr(node, "returns", None))
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
        names = bound(body) | {argument.arg for argument in every}
        scope = Scope(False, names, {})
        for item in ast.walk(ast.Module([item for item in body if isinstance(item, ast.stmt)], [])):
            if isinstance(item, (ast.Import, ast.ImportFrom)) and (taken := self._importer(item)):
                scope.imports |= taken
                scope.names -= set(taken)
                self.dropped.append(item)
        self._visit_in(scope, body)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815
    visit_Lambda = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for item in [*node.bases, *node.keywords, *node.decorator_list]:
            self.visit(item)
        self.class_body(node, list(node.body))

    def class_body(self, node: ast.ClassDef, body: list[ast.AST]) -> None:
        """Visit some of the statements in a class."""
        self._visit_in(Scope(True, bound(list(node.body)), {}), body)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.visit(node.generators[0].iter)
        names = set().union(*(bound([item.target]) for item in node.generators))
        values = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        rest = [item.iter for item in node.generators[1:]]
        tests = [test for item in node.generators for test in item.ifs]
        self._visit_in(Scope(False, names, {}), [*values, *rest, *tests])

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815

    def _visit_in(self, scope: Scope, body: list[ast.AST]) -> None:
        self._scopes.append(scope)
        for item in body:
            self.visit(item)
        self._scopes.pop()


def bound(body: Iterable[ast.AST]) -> set[str]:
    """Names that statements bind in their own scope, not those inside functions and classes."""
    names: set[str] = set()
    outer: set[str] = set()

    def look(node: ast.AST, inner: bool) -> None:
        if isinstance(node, ast.NamedExpr):
            names.add(node.target.id)
        elif inner:
            pass
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            names.add(node.rest)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            outer.update(node.names)
        if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            return
        within = inner or isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp))
        for child in ast.iter_child_nodes(node):
            look(child, within)

    for node in body:
        look(node, False)
    return names - outer
