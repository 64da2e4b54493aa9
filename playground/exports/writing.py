"""The code that is kept, as the text of one file in which every name refers to what it did in its own module."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterable

from dlplay.engine.settings import SettingsError
from dlplay.exports.modules import Definition, External, Found, Key, Module, module
from dlplay.exports.scopes import Use
from dlplay.exports.shaking import Kept, Piece, Shaker, lines_of

Edit = tuple[int, int, str]
"""Start and end (bytes of the module's text), and the text that replaces them."""

ANY = External("typing", "Any", "Any")


class Writer:
    """Names everything that is kept, and writes its text."""

    def __init__(self, shaker: Shaker, settings: str, aliases: set[Key], reserved: Iterable[str]) -> None:
        """`settings`: the name of the merged settings class; `aliases`: definitions that become it; `reserved`: names already taken."""
        self.shaker, self.settings, self.aliases = shaker, settings, aliases | shaker.settings
        self.emitted = {key: kept for key, kept in shaker.kept.items() if key not in self.aliases and not shaker.is_empty(key)}
        self.names: dict[Key, str] = {}
        self.externals: dict[External, str] = {}
        self._reserved = {*reserved, settings, *dir(builtins)}
        self._subscripts: dict[int, ast.Subscript] = {}
        self._bytes: dict[str, tuple[bytes, list[int]]] = {}
        self._name_all()

    # --- names --------------------------------------------------------------------------------------------------------------------

    def _uses(self) -> list[Use]:
        merged = [kept for key, kept in self.shaker.kept.items() if key in self.aliases]
        return [use for kept in [*self.emitted.values(), *merged] for piece in kept.pieces for use in piece.uses]

    def _name_all(self) -> None:
        uses = self._uses()
        taken = set(self._reserved)
        for use in uses:
            if isinstance(use.target, External) and use.target not in self.externals:
                self._name_external(use.target, taken)
        self._name_external(ANY, taken)
        hidden: dict[Key, set[str]] = {}
        for use in uses:
            if isinstance(use.target, Found):
                key = (use.target.item.module.name, use.target.name)
                own = {use.node.id} if isinstance(use.node, ast.Name) else set()
                hidden.setdefault(key, set()).update(use.hidden - own)
        for kept in self.emitted.values():
            for name in kept.item.names:
                key = kept.item.module.name, name
                self.names[key] = chosen = next(item for item in candidates(key) if item not in taken | hidden.get(key, set()))
                taken.add(chosen)

    def _name_external(self, target: External, taken: set[str]) -> None:
        if target in self.externals:
            return
        bound = target.name.split(".")[0]
        same = [other for other, name in self.externals.items() if name.split(".")[0] == bound]
        if same and not (target.item == "" and all(other.item == "" and "." in other.name + target.name for other in same)):
            twin = next((other for other in same if (other.module, other.item) == (target.module, target.item)), None)
            self.externals[target] = target.name if twin else f"{target.module.replace('.', '_')}_{target.item}".rstrip("_")
        else:
            self.externals[target] = target.name
        taken.add(self.externals[target].split(".")[0])

    def _new_name(self, use: Use) -> str | None:
        """The new name of what is used; None: it keeps its name."""
        target = use.target
        if isinstance(target, External):
            name = self.externals.get(target, target.name)
            return None if name == target.name else name
        assert isinstance(target, Found)
        if target.item.key in self.aliases:
            return self.settings
        return self.names.get((target.item.module.name, target.name), self.externals[ANY])

    # --- text ---------------------------------------------------------------------------------------------------------------------

    def _offsets(self, home: Module) -> tuple[bytes, list[int]]:
        if home.name not in self._bytes:
            starts = [0]
            for line in home.lines:
                starts.append(starts[-1] + len(line.encode()) + 1)
            self._bytes[home.name] = home.text.encode(), starts
            for node in ast.walk(home.tree):
                if isinstance(node, ast.Subscript):
                    self._subscripts[id(node.value)] = node
        return self._bytes[home.name]

    def _place(self, home: Module, node: ast.AST) -> tuple[int, int]:
        """Start and end of a node in bytes."""
        starts = self._offsets(home)[1]
        first, column, last, end = home.span(node)
        return starts[first - 1] + column, starts[last - 1] + end

    def _edits(self, piece: Piece) -> list[Edit]:
        home = piece.home
        content, starts = self._offsets(home)
        edits: set[Edit] = {(starts[node.lineno - 1], starts[node.end_lineno or node.lineno], "") for node in piece.dropped}
        for use in piece.uses:
            name = self._new_name(use)
            around = self._subscripts.get(id(use.node))
            generic = isinstance(use.target, Found) and self._is_generic(use.target.item)
            if around is not None and (generic or name == self.externals[ANY]):
                edits.add((*self._place(home, around), name or ""))
                continue
            text = ast.unparse(use.node)
            if name is None or name == text:
                continue
            first, last = self._place(home, use.node)
            if content[first:last].decode(errors="replace") == text:
                edits.add((first, last, name))
            elif use.f_string is not None:
                edits.update(self._edits_in_f_string(home, use.f_string, text, name))
            else:
                raise SettingsError(f"{home.name} has {text} on line {home.span(use.node)[0]}, which cannot be renamed there")
        return [edit for edit in edits if not any(other != edit and other[0] <= edit[0] and edit[1] <= other[1] for other in edits)]

    def _edits_in_f_string(self, home: Module, node: ast.JoinedStr, old: str, new: str) -> list[Edit]:
        """Edits of a name inside an f-string, where Python 3.11 does not give positions."""
        first, last = self._place(home, node)
        whole = self._offsets(home)[0][first:last].decode()
        found = []
        for braces in re.finditer(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}", whole):
            for match in re.finditer(rf"(?<![\w.'\"]){re.escape(old)}(?!\w)", braces[0]):
                begin = first + len(whole[: braces.start() + match.start()].encode())
                found.append((begin, begin + len(old.encode()), new))
        return found

    def _is_generic(self, item: Definition) -> bool:
        return isinstance(item.node, ast.ClassDef) and any(self.shaker.is_generic(item.module, base) for base in item.node.bases)

    def _lines(self, home: Module, first: int, last: int, edits: list[Edit]) -> str:
        """Lines `first` to `last` of a module, with edits."""
        content, starts = self._offsets(home)
        at, end = starts[first - 1], min(starts[last], len(content) + 1) - 1
        parts = []
        for begin, until, text in sorted(edits):
            if at <= begin and begin < end:
                parts += [content[at:begin].decode(), text]
                at = until
        return "".join(parts) + content[at : max(at, end)].decode()

    def definition(self, kept: Kept) -> str:
        """The text of one kept definition."""
        item = kept.item
        edits = [edit for piece in kept.pieces for edit in self._edits(piece)]
        if isinstance(item.node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            edits += self._rename_definition(item)
        if isinstance(item.node, ast.ClassDef) and item.node.body[0].lineno > item.node.lineno:
            return self._class(kept, edits)
        return self._lines(item.module, item.first, item.last, edits)

    def _rename_definition(self, item: Definition) -> list[Edit]:
        name = self.names[item.key]
        if name == item.names[0]:
            return []
        content, starts = self._offsets(item.module)
        begin = starts[item.node.lineno - 1]
        match = re.compile(rb"\s*(?:async\s+)?(?:def|class)\s+").match(content, begin)
        assert match is not None
        return [(match.end(), match.end() + len(item.names[0].encode()), name)]

    def _class(self, kept: Kept, edits: list[Edit]) -> str:
        node, home = kept.item.node, kept.item.module
        assert isinstance(node, ast.ClassDef)
        edits = self._edit_bases(kept, node, edits)
        start = lines_of(kept, node.body[0])[0]
        text = self._lines(home, kept.item.first, start - 1, edits).rstrip()
        text = re.sub(r"^(class \w+)\(\):", r"\1:", text, flags=re.MULTILINE)
        body = self.body(kept, edits)
        return text + "\n" + (body or "    pass")

    def body(self, kept: Kept, edits: list[Edit] | None = None, *, doc: bool = True) -> str:
        """The docstring and the kept members of a class."""
        node, home = kept.item.node, kept.item.module
        assert isinstance(node, ast.ClassDef)
        if edits is None:
            edits = [edit for piece in kept.pieces for edit in self._edits(piece)]
        parts: list[str] = []
        if doc and ast.get_docstring(node) is not None:
            parts.append(self._lines(home, node.body[0].lineno, node.body[0].end_lineno or 0, edits))
        for member in sorted(kept.members, key=lambda item: item.lineno):
            first, last = lines_of(kept, member)
            apart = not home.lines[first - 2].strip() or not isinstance(member, (ast.Assign, ast.AnnAssign))
            if parts and apart:
                parts.append("")
            parts.append(self._lines(home, first, last, edits))
        return "\n".join(parts)

    def _edit_bases(self, kept: Kept, node: ast.ClassDef, edits: list[Edit]) -> list[Edit]:
        home = kept.item.module
        gone = []
        for base in node.bases:
            found = self.shaker.meaning(home, base)
            empty = isinstance(found, Found) and found.item.key in self.shaker.kept and self.shaker.is_empty(found.item.key)
            if empty or self.shaker.is_generic(home, base):
                gone.append(base)
        if not gone:
            return edits
        first, last = self._place(home, node.bases[0])[0], self._place(home, node.bases[-1])[1]
        content = self._offsets(home)[0]
        words = []
        for base in node.bases:
            if base not in gone:
                begin, end = self._place(home, base)
                words.append(next((edit[2] for edit in edits if edit[:2] == (begin, end)), content[begin:end].decode()))
        rest = [edit for edit in edits if not (first <= edit[0] and edit[1] <= last)]
        return [*rest, (first, last, ", ".join(words))]

    # --- the whole ----------------------------------------------------------------------------------------------------------------

    def sections(self) -> list[tuple[Module, str]]:
        """The text of each module, in the order in which Python would execute the modules."""
        order: list[str] = []

        def visit(name: str) -> None:
            if name in seen:
                return
            seen.add(name)
            for other in module(name).before:
                visit(other)
            order.append(name)

        seen: set[str] = set()
        for key in self.shaker.kept:
            visit(key[0])
        found = []
        for name in order:
            parts = sorted(
                (kept for key, kept in self.emitted.items() if key[0] == name and kept.item.names), key=lambda kept: kept.item.first
            )
            if parts:
                found.append((module(name), joined(parts, [self.definition(kept) for kept in parts])))
        return found

    def effects(self) -> list[str]:
        """Statements that a module executes when it is imported; they come before the imports of packages."""
        return [self.definition(kept) for kept in self.emitted.values() if not kept.item.names]

    def imports(self, text: str, more: Iterable[External]) -> tuple[list[str], list[str]]:
        """The imports that the text needs: from the standard library, and from packages."""
        words = set(re.findall(r"\w+", text))
        plain: set[str] = set()
        items: dict[str, set[str]] = {}
        wanted = {**self.externals, **{item: item.name for item in more}}
        for target, name in wanted.items():
            if name.split(".")[0] not in words:
                continue
            if target.item:
                items.setdefault(target.module, set()).add(target.item if name == target.item else f"{target.item} as {name}")
            else:
                plain.add(f"import {target.module}" + ("" if name == target.module else f" as {name}"))
        lines = [(line.split()[1].split(".")[0], 0, line) for line in plain]
        lines += [(home.split(".")[0], 1, f"from {home} import {', '.join(sorted(names))}") for home, names in items.items()]
        own = sorted(line for line in lines if line[0] in sys.stdlib_module_names)
        return [line[2] for line in sorted(own, key=lambda line: line[1:])], [
            line[2] for line in sorted(set(lines) - set(own), key=lambda line: line[1:])
        ]


def candidates(key: Key) -> Iterable[str]:
    """Possible names for a definition: its own, then with the name of its module."""
    place, name = key
    yield name
    parts = place.split(".")
    for count in (1, 2):
        stem = "_".join(parts[-count:])
        if name[:1].isupper() and not name.isupper():
            yield "".join(word.capitalize() for word in stem.split("_")) + name
        elif name.isupper():
            yield f"{stem.upper()}_{name}"
        else:
            yield f"_{stem}{name}" if name.startswith("_") else f"{stem}_{name}"
    yield from (f"{name}_{number}" for number in range(2, 1000))


def joined(parts: list[Kept], texts: list[str]) -> str:
    """Definitions in order, with blank lines between them as PEP 8 has it."""
    result = texts[0]
    for before, after, text in zip(parts, parts[1:], texts[1:], strict=False):
        values = all(isinstance(kept.item.node, (ast.Assign, ast.AnnAssign)) for kept in (before, after))
        close = values and after.item.first == before.item.last + 1
        result += ("\n" if close else "\n\n" if values else "\n\n\n") + text
    return result
