"""The guards of the Python layers, as their source has them: found in it, and switched off in it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
PACKAGE = "valtronics_fast"

REFUSING = {
    "_abort", "_left_to_gmqtt", "_on_lost", "_refuse", "_reject", "abort", "disconnect", "drop", "force_close", "miss",
    "note", "refuse",
}  # fmt: skip
"""Functions and methods that a guard calls."""

BOUND = re.compile(r"_?(MAX|MIN)_\w+|\w*(TIMEOUT|INTERVAL|COOL_DOWN|FACTOR)|KEEP_ALIVE|RETRY_WHEN_FULL")
"""The names of constants that bound something."""


CAUGHT = "except "
"""What the text of a row begins with that is about the type of a handler."""


class Row(NamedTuple):
    """A guard and the test that fails without it.

    Attributes:
        module: its dotted name below the package.
        function: the qualified name of the function or class that the guard stands in.
        text: the expression or statement, but for how it is broken into lines; it stands there once.
        off: what stands there without the guard.
        test: a pytest node id.
    """

    module: str
    function: str
    text: str
    off: str
    test: str

    def __str__(self) -> str:
        return f"{self.module}.{self.function}: {self.text}"


def rows(module: str, guards: Mapping[str, Sequence[tuple[str, str, str]]]) -> list[Row]:
    """Return the rows of a module.

    Args:
        module: as `Row` has it.
        guards: by function, the text, what stands there instead, and the test: a node id, or the name of one of the
            module's own.
    """
    *folders, name = module.split(".")
    own = "/".join(["tests", *folders, f"test_{name}.py"])
    return [
        Row(module, function, text, off, test if test.startswith("tests/") else f"{own}::{test}")
        for function, listed in guards.items()
        for text, off, test in listed
    ]


class Condition(NamedTuple):
    """A part of a condition, and what switches it off: "False" or "True", or "()" for the type of a handler."""

    node: ast.expr
    off: str


class Exit(NamedTuple):
    """A place where something is refused, bounded or closed, and the conditions that lead there.

    Attributes:
        node: the expression or statement.
        conditions: each one alone leads there; none: it is reached always, and the guard is the caller's.
    """

    module: str
    function: str
    node: ast.AST
    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return f"{self.module}.{self.function}: {ast.unparse(self.node)}"


def path_of(module: str) -> Path:
    return ROOT / "src" / PACKAGE / f"{module.replace('.', '/')}.py"


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text())


@cache
def functions(module: str) -> dict[str, ast.AST]:
    """Return every function and class of a module, by its qualified name."""
    return dict(_functions(tree_of(module)))


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name, node
            yield from _functions(node, f"{prefix}{node.name}.")


@cache
def find(row: Row) -> list[ast.AST]:
    """Return the places of a row's text in `tree_of` its module: one, unless the table is out of date."""
    scope = functions(row.module).get(row.function) if row.function else tree_of(row.module)
    if scope is None:
        return []
    places: Iterable[ast.AST] = ast.walk(scope)
    if row.text.startswith(CAUGHT):
        places = [node.type for node in places if isinstance(node, ast.ExceptHandler) and node.type]
    sought = parsed(row.text.removeprefix(CAUGHT))
    wanted = ast.dump(sought)
    return [node for node in places if type(node) is type(sought) and ast.dump(node) == wanted]


def without(row: Row) -> ast.Module:
    """Return the module of a row without its guard."""
    (place,) = find(row)
    off = parsed(row.off)
    if isinstance(place, ast.stmt) and isinstance(off, ast.expr):
        off = ast.Expr(off)
    tree = _Replace(place, off).visit(tree_of(row.module))
    return ast.fix_missing_locations(tree)


def parsed(text: str) -> ast.AST:
    """Return the expression that a text is, or else the statement."""
    try:
        return ast.parse(f"({text})", mode="eval").body
    except SyntaxError:
        (statement,) = ast.parse(text).body
        return statement


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.copy_location(self._new, node) if node is self._old else self.generic_visit(node)


# --- what has to be in the table


def exits(module: str) -> Iterator[Exit]:
    """Yield what the table has to have of a module."""
    for name, function in functions(module).items():
        if not isinstance(function, ast.ClassDef):
            for node, conditions in _walk(function.body, ()):
                if _is_exit(node):
                    yield Exit(module, name, node, conditions)


def _is_exit(node: ast.AST) -> bool:
    match node:
        case ast.Raise(exc=ast.expr()) | ast.Yield(value=ast.Tuple()):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="problems"), attr="append")):
            return True
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name in REFUSING
        case ast.Return(value=ast.Call(func=ast.Name(id="Refusal")) | ast.Constant(value=None | False)):
            return True
        case ast.Name(id=name, ctx=ast.Load()):
            return BOUND.fullmatch(name) is not None
    return False


def _walk(body: Iterable[ast.stmt], above: tuple[Condition, ...]) -> Iterator[tuple[ast.AST, tuple[Condition, ...]]]:
    """Yield every node of a block with the parts of the nearest condition that leads to it.

    Behind an `if` that ends in a return or the like, that is its opposite.
    """
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        yield statement, above
        if not isinstance(statement, ast.Raise):  # what stands in its text bounds nothing
            for node in _own(statement):
                yield node, above
        match statement:
            case ast.If():
                yield from _walk(statement.body, tuple(_parts(statement.test, true=True)))
                yield from _walk(statement.orelse, tuple(_parts(statement.test, true=False)))
                if isinstance(statement.body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break):
                    above = tuple(_parts(statement.test, true=False))
            case ast.While():
                yield from _walk(statement.body, tuple(_parts(statement.test, true=True)))
            case ast.For() | ast.AsyncFor():
                yield from _walk([*statement.body, *statement.orelse], above)
            case ast.With() | ast.AsyncWith():
                yield from _walk(statement.body, above)
            case ast.Try():
                yield from _walk([*statement.body, *statement.orelse, *statement.finalbody], above)
                for handler in statement.handlers:
                    yield from _walk(handler.body, (Condition(handler.type, "()"),) if handler.type else ())


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a statement consists of, without its blocks and the texts that it puts together."""
    for field, value in ast.iter_fields(node):
        if field in {"body", "orelse", "finalbody", "handlers"} and isinstance(value, list):
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST) and not isinstance(each, ast.JoinedStr):
                yield each
                yield from _own(each)


def _parts(test: ast.expr, *, true: bool) -> Iterator[Condition]:
    """Yield the parts of a condition, each of which alone makes it true (or false)."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield from _parts(operand, true=not true)
        case ast.BoolOp(op=op, values=values) if isinstance(op, ast.Or) is true:
            for each in values:
                yield from _parts(each, true=true)
        case ast.BoolOp(values=values) if any(len(list(_parts(each, true=true))) > 1 for each in values):
            for each in values:
                if len(found := list(_parts(each, true=true))) > 1:
                    yield from found
        case _:
            yield Condition(test, "False" if true else "True")
