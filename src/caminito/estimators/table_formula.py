"""Arithmetic of columns: what `total = price * amount` says, read without ever being run as code, and turned around.

A formula is parsed into Python's syntax tree, of which only names of columns, numbers and + - * / ** by a number are
taken. Where a column occurs once it can be solved for: the tree is walked down to it and each step is undone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caminito._errors import ConfigError

__all__ = ["names_in", "once", "parsed", "solved", "unknown", "value"]

Floats = NDArray[np.float64]
Cells = Mapping[int, Floats]

_STEPS: dict[type[ast.operator], Any] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_LONG = 1000  # characters


def parsed(text: str, names: Sequence[Any]) -> ast.expr:
    """The syntax tree of a text, in which the name of each column is its place: `_3`.

    Names that are no words of Python are put in backticks: `price per kg`.

    Raises
    ------
    ConfigError
        If the text is no expression.
    """
    if len(text) > _LONG:
        raise ConfigError(f"constraint: expected at most {_LONG} characters, got {len(text)}.")
    places = {str(name): place for place, name in enumerate(names)}

    def place_of(match: re.Match[str]) -> str:
        quoted, ticked, word = match.groups()
        if quoted is not None:
            return quoted
        name = ticked if ticked is not None else word
        if name in places and (ticked is not None or name not in ("in", "and", "or", "not")):
            return f" _{places[name]} "
        if ticked is not None:
            return f" unknown_{ticked.encode().hex()} "
        return word if word in ("in", "and", "or", "not") else f"unknown_{word.encode().hex()}"

    words = r"""("[^"]*"|'[^']*')|`([^`]*)`|(?<![\w.])([^\W\d]\w*)"""
    try:
        return ast.parse(re.sub(words, place_of, text).strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"constraint {text!r}: expected a comparison such as 'start <= end', a formula such as 'total = a + b' or "
            f"a choice such as \"sex in ['F', 'M']\", got something else ({getattr(error, 'msg', error)}). Put names "
            "with spaces or signs in backticks."
        ) from error


def unknown(node: ast.AST) -> list[str]:
    """Names in a tree that are no columns, as they were written."""
    words = [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and each.id.startswith("unknown_")]
    return [bytes.fromhex(word.removeprefix("unknown_")).decode() for word in words]


def names_in(node: ast.expr) -> list[int]:
    """Columns of a formula in the order of their first appearance.

    Raises
    ------
    ConfigError
        If there is anything in it but columns, numbers and arithmetic.
    """
    match node:
        case ast.Name(id=name):
            return [int(name[1:])] if name[1:].isdigit() else []  # the caller tells unknown ones
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float()):
            return []
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            return names_in(inner)
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int() | float())):
            return names_in(left)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
            return list(dict.fromkeys([*names_in(left), *names_in(right)]))
    raise ConfigError(
        f"constraint: a formula may have columns, numbers, + - * / and ** by a number, got {_what(node)}. Compute "
        "the column beforehand, or drop it and compute it from the samples."
    )


def value(node: ast.expr, cells: Cells) -> Any:
    """What a formula comes to, NaN where a column is missing or it has no finite value."""
    with np.errstate(all="ignore"):
        return np.where(np.isfinite(found := np.asarray(_value(node, cells), dtype=np.float64)), found, np.nan)


def _value(node: ast.expr, cells: Cells) -> Any:
    match node:
        case ast.Name(id=name):
            return cells[int(name[1:])]
        case ast.Constant(value=number):
            return np.float64(number)  # type: ignore[arg-type]
        case ast.UnaryOp(op=op, operand=inner):
            return -_value(inner, cells) if isinstance(op, ast.USub) else _value(inner, cells)
        case ast.BinOp(left=left, op=op, right=right):
            return _STEPS[type(op)](_value(left, cells), _value(right, cells))
    raise AssertionError(node)


def once(node: ast.expr, column: int) -> bool:
    """Whether a formula can be solved for a column: it occurs once."""
    found = [each for each in ast.walk(node) if isinstance(each, ast.Name) and each.id == f"_{column}"]
    return len(found) == 1


def solved(node: ast.expr, column: int, target: Any, cells: Cells) -> Floats:
    """What a column has to be for a formula to come to `target`; NaN where nothing finite does.

    A column that is squared is taken to be >= 0.
    """
    with np.errstate(all="ignore"):
        found = np.asarray(_solved(node, f"_{column}", target, cells), dtype=np.float64)
    return np.where(np.isfinite(found), found, np.nan)


def _solved(node: ast.expr, name: str, target: Any, cells: Cells) -> Any:
    match node:
        case ast.UnaryOp(op=op, operand=inner):
            return _solved(inner, name, -target if isinstance(op, ast.USub) else target, cells)
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=power)):
            return _solved(left, name, np.power(target, 1 / np.float64(power)), cells)  # type: ignore[arg-type]
        case ast.BinOp(left=left, op=op, right=right):
            in_left = any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(left))
            other = _value(right if in_left else left, cells)
            match op:
                case ast.Add():
                    back = target - other
                case ast.Mult():
                    back = target / other
                case ast.Sub():
                    back = target + other if in_left else other - target
                case _:
                    back = target * other if in_left else other / target
            return _solved(left if in_left else right, name, back, cells)
    return target


def _what(node: ast.AST) -> str:
    return {
        ast.Call: "a call",
        ast.Attribute: "a dot",
        ast.Subscript: "brackets",
        ast.Compare: "a comparison",
        ast.BoolOp: "and, or",
        ast.Constant: "a text",
    }.get(type(node), f"{type(node).__name__}")
