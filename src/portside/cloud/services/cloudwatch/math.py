"""Metric math: expressions over other queries of the same request or alarm.

Pure. Offered are numbers, the ids of other queries, + - * / ^, comparisons, AND/OR, and the functions that work
point by point (ABS, CEIL, FLOOR, IF, FILL, MIN, MAX, SUM, AVG over a list); what needs whole series (RATE, SEARCH,
anomaly bands ...) is refused by name. Source: the CloudWatch User Guide, "Using math expressions".
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping

Number = float | None


class MathError(Exception):
    """The expression cannot be evaluated; a sentence."""


_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ONE: Mapping[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}
_MANY: Mapping[str, Callable[[list[float]], float]] = {
    "MIN": min,
    "MAX": max,
    "SUM": sum,
    "AVG": lambda values: sum(values) / len(values),
}


def parse(expression: str) -> ast.expr:
    """Raises MathError for what is not offered."""
    text = re.sub(r"\bAND\b|&&", " and ", expression)
    text = re.sub(r"\bOR\b|\|\|", " or ", text).replace("^", "**")
    try:
        found = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise MathError(f"Invalid metric math expression: {expression}") from None
    _check(found, expression)
    return found


def _check(node: ast.expr, expression: str) -> None:
    match node:
        case ast.Constant(value=value) if isinstance(value, (int, float)) and not isinstance(value, bool):
            return
        case ast.Name():
            return
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            inner = [left, right]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            inner = [operand]
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            inner = [left, right]
        case ast.BoolOp(values=values):
            inner = list(values)
        case ast.List(elts=elements):
            inner = list(elements)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in {
            *_ONE,
            *_MANY,
            "IF",
            "FILL",
        }:
            wanted = {"IF": (2, 3), "FILL": (2,)}.get(name, (1,))
            if len(arguments) not in wanted:
                raise MathError(f"{name} has the wrong number of arguments in: {expression}")
            inner = list(arguments)
        case ast.Call(func=ast.Name(id=name)):
            raise MathError(f"portside's local cloud does not offer the metric math function {name}.")
        case _:
            raise MathError(f"Invalid metric math expression: {expression}")
    for each in inner:
        _check(each, expression)


def names(node: ast.expr) -> set[str]:
    """The ids of other queries that an expression needs."""
    called = {id(each.func) for each in ast.walk(node) if isinstance(each, ast.Call)}
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and id(each) not in called}


def value(node: ast.expr, given: Mapping[str, Number]) -> Number:
    """The expression at one period; None where a number that it needs is missing."""
    match node:
        case ast.Constant(value=constant):
            return float(constant)  # type: ignore[arg-type]
        case ast.Name(id=name):
            return given.get(name)
        case ast.UnaryOp(op=op, operand=operand):
            inner = value(operand, given)
            return inner if inner is None or isinstance(op, ast.UAdd) else -inner
        case ast.BinOp(left=left, op=op, right=right):
            one, other = value(left, given), value(right, given)
            if one is None or other is None or (isinstance(op, ast.Div) and other == 0):
                return None
            return float(_BINARY[type(op)](one, other))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            one, other = value(left, given), value(right, given)
            return None if one is None or other is None else float(_COMPARE[type(op)](one, other))
        case ast.BoolOp(op=op, values=values):
            parts = [value(each, given) for each in values]
            if any(each is None for each in parts):
                return None
            return float(all(parts) if isinstance(op, ast.And) else any(parts))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _called(name, arguments, given)
    raise MathError("a list is only possible inside MIN, MAX, SUM and AVG")


def _called(name: str, arguments: list[ast.expr], given: Mapping[str, Number]) -> Number:
    if name == "IF":
        test = value(arguments[0], given)
        if test is None:
            return None
        chosen = arguments[1] if test else arguments[2] if len(arguments) == 3 else None
        return None if chosen is None else value(chosen, given)
    if name == "FILL":
        found = value(arguments[0], given)
        return value(arguments[1], given) if found is None else found
    if name in _ONE:
        found = value(arguments[0], given)
        return None if found is None else float(_ONE[name](found))
    (only,) = arguments
    elements = only.elts if isinstance(only, ast.List) else [only]
    found_all = [each for each in (value(element, given) for element in elements) if each is not None]
    return float(_MANY[name](found_all)) if found_all else None
