"""Tree shaking: finds the definitions and methods that a task needs to be built, trained and evaluated, by following names.

A method is kept when its name is read anywhere in the code that is kept: from any object, or from `self` in a related class. That may keep
a method too many but, except for names made at run time, none too few.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Iterable

from dlplay.engine.settings import Settings, SettingsError
from dlplay.engine.task import Task
from dlplay.exports.loop_text import READ
from dlplay.exports.modules import Definition, External, Found, Key, Module, ModuleName, extent, is_docstring, resolve
from dlplay.exports.scopes import FUNCTIONS, Finder, Use

CONTRACT = frozenset(name for name in vars(Task) if not name.startswith("_") and name not in READ) | {"check"}
"""Members of a task that only the engine uses, not training: left out unless the task itself uses them."""

FIELD_CLASSES = ("Protocol", "TypedDict", "NamedTuple", "Enum", "IntEnum", "StrEnum", "Struct")


@dataclasses.dataclass
class Piece:
    """Code that is kept as a whole: a definition, the bases and decorators of a class, or one member."""

    home: Module
    uses: list[Use]
    dropped: list[ast.stmt]


@dataclasses.dataclass
class Kept:
    """A definition that is kept."""

    item: Definition
    pieces: list[Piece] = dataclasses.field(default_factory=list)
    members: list[ast.stmt] = dataclasses.field(default_factory=list)
    """For a class: the statements of its body that are kept."""
    named: bool = False
    """It is used, not only inherited from."""


class Shaker:
    """Finds everything that some definitions need."""

    def __init__(self, task: Key, settings: type[Settings], *, owners: set[Key]) -> None:
        """`owners`: the task's class and its bases, whose `CONTRACT` members are only kept when they use them themselves."""
        self.kept: dict[Key, Kept] = {}
        self.task, self.owners = task, owners
        self.settings = {(base.__module__, base.__name__) for base in settings.__mro__ if base.__module__.startswith("dlplay.")}
        self.read: set[str] = set()
        """Attributes read from any object."""
        self.own: dict[Key, set[str]] = {}
        """Attributes read from `self`, by class."""
        self.dynamic = False
        self.externals: list[tuple[External, Use]] = []

    # --- growing ------------------------------------------------------------------------------------------------------------------

    def grow(self, roots: Iterable[Key], read: Iterable[str]) -> None:
        """Keep the roots and everything they need; the attributes `read` are used from outside."""
        self.read |= set(read)
        for key in roots:
            found = resolve(key)
            assert isinstance(found, Found)
            self.keep(found.item).named = True
        size = -1
        while size != (size := self._size()):
            for kept in list(self.kept.values()):
                if isinstance(kept.item.node, ast.ClassDef):
                    self._grow_class(kept)
                for effect in kept.item.module.effects:
                    self.keep(effect)
        self._keep_aliases()
        self._keep_declarations()

    def _size(self) -> int:
        return sum(1 + len(kept.members) for kept in self.kept.values()) + len(self.read) + sum(map(len, self.own.values()))

    def keep(self, item: Definition) -> Kept:
        """Keep a definition; of a class only its bases, decorators and keywords."""
        if item.key in self.kept:
            return self.kept[item.key]
        kept = self.kept[item.key] = Kept(item)
        node = item.node
        if isinstance(node, ast.ClassDef):
            finder = self._finder(item.module)
            for part in [*node.decorator_list, *node.keywords]:
                finder.visit(part)
            self._take(kept, finder, item.key)
            finder = self._finder(item.module)
            for base in node.bases:
                if not self.is_generic(item.module, base):
                    finder.visit(base)
            self._take(kept, finder, item.key, bases=item.key not in self.settings)
        else:
            finder = self._finder(item.module)
            finder.visit(node)
            self._take(kept, finder, item.key)
        return kept

    def _take(self, kept: Kept, finder: Finder, key: Key, *, bases: bool | None = None) -> None:
        """Record what a visited piece needs. `bases`: True for the bases of a class, False for those of settings, which are merged."""
        if bases is False:
            return
        self.read |= {member.name for member in finder.members if not member.own}
        self.own.setdefault(key, set()).update(member.name for member in finder.members if member.own)
        self.dynamic |= finder.dynamic
        kept.pieces.append(Piece(kept.item.module, finder.uses, finder.dropped))
        for use in finder.uses:
            if isinstance(use.target, Found) and not use.in_annotation:
                found = self.keep(use.target.item)
                found.named |= bases is None

    def _grow_class(self, kept: Kept) -> None:
        node, home = kept.item.node, kept.item.module
        assert isinstance(node, ast.ClassDef)
        merged = kept.item.key in self.settings
        wanted = self._wanted(kept.item.key)
        for member in node.body:
            if member in kept.members or is_docstring(member) or not self._needed(kept, member, wanted, merged):
                continue
            kept.members.append(member)
            finder = self._finder(home)
            finder.class_body(node, [member])
            self._take(kept, finder, kept.item.key)

    def _needed(self, kept: Kept, member: ast.stmt, wanted: set[str], merged: bool) -> bool:
        node = kept.item.node
        assert isinstance(node, ast.ClassDef)
        if isinstance(member, FUNCTIONS):
            special = member.name.startswith("__") and member.name.endswith("__")
            return special or member.name in wanted or member.name in overrides(kept.item)
        if merged or (isinstance(member, ast.AnnAssign) and member.value is None and not has_fields(node)):
            return False  # fields of settings are written by `standalone`, and bare declarations are kept by `_keep_declarations`
        if isinstance(member, (ast.Assign, ast.AnnAssign)) and not has_fields(node):
            targets = [member.target] if isinstance(member, ast.AnnAssign) else member.targets
            names = {item.id for target in targets for item in ast.walk(target) if isinstance(item, ast.Name)}
            return bool(names & wanted) or any(name.startswith("__") for name in names) or bool(names & overrides(kept.item))
        return True

    def _wanted(self, key: Key) -> set[str]:
        family = self.family(key)
        own = set().union(*(self.own.get(member, set()) for member in family))
        return own | (self.read - CONTRACT if family & self.owners or key in self.settings else self.read)

    def family(self, key: Key) -> set[Key]:
        """All kept classes related to this one by inheritance."""
        found, fresh = {key}, [key]
        links = [(kept.item.key, base.key) for kept in self.kept.values() for base in self.bases(kept.item)]
        while fresh:
            at = fresh.pop()
            for pair in links:
                other = pair[1] if pair[0] == at else pair[0] if pair[1] == at else at
                if other not in found:
                    found.add(other)
                    fresh.append(other)
        return found

    def bases(self, item: Definition) -> list[Definition]:
        """The bases that are the package's own classes."""
        bases = item.node.bases if isinstance(item.node, ast.ClassDef) else []
        found = [self.meaning(item.module, base) for base in bases]
        return [base.item for base in found if isinstance(base, Found)]

    # --- names --------------------------------------------------------------------------------------------------------------------

    def _finder(self, home: Module) -> Finder:
        def resolver(name: str, attributes: tuple[str, ...], imported: object) -> tuple[object, int] | None:
            return self._resolve(home, name, attributes, imported)

        def importer(node: ast.stmt) -> dict[str, object]:
            assert isinstance(node, (ast.Import, ast.ImportFrom))
            return {key: value for key, value in home.imported(node) if not isinstance(value, External)}

        return Finder(resolver, importer)

    def _resolve(self, home: Module, name: str, attributes: tuple[str, ...], imported: object) -> tuple[object, int] | None:
        if name in ("__file__", "__name__", "__path__"):
            raise SettingsError(f"{home.name} uses {name}, which means something else in a script; it cannot be exported")
        found = resolve(imported) if isinstance(imported, tuple) else imported or resolve((home.name, name))
        taken = 0
        while isinstance(found, ModuleName):
            if taken == len(attributes):
                raise SettingsError(
                    f"{home.name} uses the module {found.module} as a value, which a single script does not have; it cannot be exported"
                )
            found = resolve((found.module, attributes[taken]))
            taken += 1
        return None if found is None else (found, taken)

    def meaning(self, home: Module, node: ast.expr) -> object:
        """What a base class refers to; `Task[S]` is `Task`."""
        if isinstance(node, ast.Subscript):
            return self.meaning(home, node.value)
        if isinstance(node, ast.Name):
            found = self._resolve(home, node.id, (), None)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found = self._resolve(home, node.value.id, (node.attr,), None)
        else:
            return None
        return found[0] if found else None

    def is_generic(self, home: Module, base: ast.expr) -> bool:
        """Whether a base is `Generic[…]`, which only a type checker reads."""
        found = self.meaning(home, base)
        return isinstance(found, External) and found.module == "typing" and found.item == "Generic"

    # --- annotations --------------------------------------------------------------------------------------------------------------

    def _keep_aliases(self) -> None:
        """Type aliases in annotations are kept when everything they refer to is; other names become `Any`."""
        changed = True
        while changed:
            changed = False
            for kept in list(self.kept.values()):
                for use in [use for piece in kept.pieces for use in piece.uses if use.in_annotation]:
                    item = use.target.item if isinstance(use.target, Found) else None
                    if item is None or item.key in self.kept or not isinstance(item.node, (ast.Assign, ast.AnnAssign)):
                        continue
                    finder = self._finder(item.module)
                    finder.visit(item.node)
                    others = [used.target.item for used in finder.uses if isinstance(used.target, Found) and used.target.item is not item]
                    if all(other.key in self.kept for other in others) and not any(
                        isinstance(part, ast.Call) for part in ast.walk(item.node)
                    ):
                        self.keep(item)
                        changed = True

    def _keep_declarations(self) -> None:
        """Bare declarations (`name: Type`) are kept in classes with other members, when the type is."""
        for kept in list(self.kept.values()):
            node = kept.item.node
            if not isinstance(node, ast.ClassDef) or not kept.members or has_fields(node) or kept.item.key in self.settings:
                continue
            wanted = self._wanted(kept.item.key)
            for member in node.body:
                if (
                    isinstance(member, ast.AnnAssign)
                    and member.value is None
                    and isinstance(member.target, ast.Name)
                    and member.target.id in wanted
                ):
                    finder = self._finder(kept.item.module)
                    finder.class_body(node, [member])
                    if all(use.target.item.key in self.kept for use in finder.uses if isinstance(use.target, Found)):
                        kept.members.append(member)
                        self._take(kept, finder, kept.item.key)

    def is_empty(self, key: Key) -> bool:
        """Whether nothing is left of a class that is only inherited from."""
        kept = self.kept[key]
        node = kept.item.node
        if not isinstance(node, ast.ClassDef) or kept.named or kept.members or node.decorator_list or node.keywords:
            return False
        bases = [self.meaning(kept.item.module, base) for base in node.bases]
        return all(
            (isinstance(base, Found) and self.is_empty(base.item.key)) or (isinstance(base, External) and base.item in ("ABC", "Generic"))
            for base in bases
        )


def has_fields(node: ast.ClassDef) -> bool:
    """Whether assignments in the class's body are its fields: a dataclass, a NamedTuple, an enumeration."""
    words = [ast.unparse(item) for item in [*node.decorator_list, *node.bases]]
    return any("dataclass" in word for word in words) or any(word.split(".")[-1] in FIELD_CLASSES for word in words)


def overrides(item: Definition) -> set[str]:
    """Members that code outside the package may call: those that a base from outside has as well."""
    value = getattr(importlib.import_module(item.module.name), item.names[0])
    bases = [base for base in value.__mro__ if not base.__module__.startswith("dlplay.") and base is not object]
    return {name for name in vars(value) if any(hasattr(base, name) for base in bases)}


def lines_of(kept: Kept, member: ast.stmt) -> tuple[int, int]:
    """First and last line of a member of a class."""
    node = kept.item.node
    assert isinstance(node, ast.ClassDef)
    return extent(kept.item.module.lines, node.body, node.body.index(member))
