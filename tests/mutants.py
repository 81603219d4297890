"""Wrong versions of a function: each differs from it in one expression or statement; and a cheap way to check many.

A rule takes a node of the syntax tree and yields what may stand in its place. Nothing here knows what the function
computes, so a few mutants cannot run and a few compute the same value.

    sign       + and - exchanged, a minus removed, a factor or the result of a call negated
    drop       one side of a sum or of a product, an exponent, a whole statement
    swap       two items of a tuple or list, of a NamedTuple, of an index; the branches of np.where
    transpose  .T removed; a factor of a matrix product, or the product, transposed
    cache      an array of the cache replaced by another one of the same shape
    index      an index, the bound of a slice or of a range off by one; ... -> :; a reversed order not reversed
    constant   a number off by one, 0.5 -> 1, a flag turned over, ones and zeros exchanged
    compare    a comparison turned around, or strict where it was not
"""

import ast
import copy
import inspect
import itertools
import textwrap
from collections import Counter
from typing import NamedTuple

import numpy as np

from l2l_ref.checking import trees


class Mutant(NamedTuple):
    kind: str
    before: str    # source of the changed part
    after: str
    tree: ast.AST  # of the function as it is then
    number: int    # 1 for the first with these three, 2 for the same change in another place

    def __str__(self):
        return f"{self.kind}: {self.before} -> {self.after}" + f" ({self.number})" * (self.number > 1)


class Remembered:
    """A forward that computes nothing twice: for every mutant the checker asks for the same points.

    Its cache is the inputs. ``backward`` makes the right cache of them, anew each time, as a mutant may write into it.
    """

    def __init__(self, forward):
        self._forward, self._outputs = forward, {}

    def __call__(self, *inputs):
        key = tuple((a.tobytes(), a.dtype.str, a.shape) for a in (np.asarray(leaf) for _, leaf in trees.leaves(inputs)))
        if key not in self._outputs:
            self._outputs[key] = self._forward(*inputs)[0]
        return copy.deepcopy(self._outputs[key]), inputs

    def backward(self, mutant):
        return lambda d_out, inputs: mutant(d_out, self._forward(*inputs)[1])


def source_of(function):
    """The syntax tree of a function without its annotations, in which no change changes a value."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return tree


def mutants(function, alike=None):
    """Yield the Mutants of a function, no two of them with the same source.

    ``alike`` maps the source of an expression to the sources of others, each of which may replace it.
    """
    tree = source_of(function)
    seen, count = {ast.unparse(tree)}, Counter()
    rules = {**RULES, "cache": lambda node: replacements(node, alike or {})}
    for (kind, rule), node in itertools.product(rules.items(), list(ast.walk(tree))):
        for other in rule(node):
            wrong = replaced(tree, node, other)
            if ast.unparse(wrong) not in seen:
                seen.add(ast.unparse(wrong))
                name = kind, ast.unparse(node), ast.unparse(other)
                count[name] += 1
                yield Mutant(*name, ast.fix_missing_locations(wrong), count[name])


def replaced(tree, node, other):
    """A copy of ``tree`` with ``other`` in the place of ``node``."""
    if tree is node:
        return other
    if isinstance(tree, list):
        return [replaced(item, node, other) for item in tree]
    if isinstance(tree, ast.AST):
        return with_(tree, **{name: replaced(value, node, other) for name, value in ast.iter_fields(tree)})
    return tree


def with_(node, **fields):
    """A copy of a node with other fields."""
    node = copy.copy(node)
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def parse(source):
    return ast.parse(source, mode="eval").body


def call(template, *nodes):
    """An expression made of nodes: ``call("-{}", node)``."""
    return parse(template.format(*(f"({ast.unparse(node)})" for node in nodes)))


def number(node):
    """The value of a literal number, None for any other node."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None
    return value if type(value) in (int, float) else None


def neighbours(node):
    """The node plus and minus one."""
    value = number(node)
    if value is not None:
        return [ast.Constant(1.0 if value == 0.5 else value + by) for by in (1, -1)]
    return [call("{} + 1", node), call("{} - 1", node)]


def swapped(items):
    """The list with two items exchanged, for every two."""
    for i, j in itertools.combinations(range(len(items)), 2):
        other = list(items)
        other[i], other[j] = items[j], items[i]
        yield other


def name_of(node):
    """f of a call f(...), method of a call of a method; else the empty string."""
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "id", getattr(function, "attr", ""))


FLIPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add}


def sign(node):
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in FLIPPED:
        yield with_(node, op=FLIPPED[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.MatMult, ast.Div)):
        yield with_(node, left=call("-{}", node.left))
    elif name_of(node) and isinstance(node.func, ast.Attribute) and name_of(node) != "append":
        yield call("-{}", node)


def drop(node):
    if isinstance(node, ast.BinOp):
        yield node.left
        if isinstance(node.op, (ast.Add, ast.Mult, ast.MatMult)):
            yield node.right
    elif isinstance(node, ast.AugAssign) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()


def swap(node):
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
        yield from (with_(node, slice=other) for other in swap(node.slice))
    elif isinstance(node, (ast.Tuple, ast.List)):
        yield from (with_(node, elts=items) for items in swapped(node.elts))
    elif name_of(node)[:1].isupper():
        yield from (with_(node, args=items) for items in swapped(node.args))
    elif name_of(node) == "where":
        condition, yes, no = node.args
        yield with_(node, args=[condition, no, yes])


def transpose(node):
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield call("{}.swapaxes(-1, -2) @ {}", node.left, node.right)
        yield call("{} @ {}.swapaxes(-1, -2)", node.left, node.right)
        yield call("({} @ {}).swapaxes(-1, -2)", node.left, node.right)


def index(node):
    if isinstance(node, ast.Subscript):
        where = node.slice
        for part in where.elts if isinstance(where, ast.Tuple) else [where]:
            if isinstance(part, ast.Constant) and part.value is ...:
                yield replaced(node, part, ast.Slice())
            for end in (part.lower, part.upper) if isinstance(part, ast.Slice) else (part,):
                if end is not None and (number(end) is not None or not isinstance(end, ast.Constant)):
                    yield from (replaced(node, end, other) for other in neighbours(end))
    elif name_of(node) == "range":
        yield from (replaced(node, end, other) for end in node.args for other in neighbours(end))
        if len(node.args) == 1:
            yield call("range(1, {})", *node.args)
    elif name_of(node) == "reversed":
        yield node.args[0]


def constant(node):
    for child in ast.iter_child_nodes(node) if number(node) is None else ():
        if number(child) is not None:
            yield from (replaced(node, child, other) for other in neighbours(child))
        elif isinstance(child, ast.Constant) and isinstance(child.value, bool):
            yield replaced(node, child, ast.Constant(not child.value))
    for one, other in (("ones_like", "zeros_like"), ("zeros_like", "ones_like")):
        if name_of(node) == one:
            yield with_(node, func=with_(node.func, attr=other))


OTHER_WAY = {
    ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt), ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
}


def compare(node):
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield from (with_(node, ops=[other()]) for other in OTHER_WAY[type(node.ops[0])])


def replacements(node, alike):
    """A child of the node replaced by an expression like it; the node shows where."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Name, ast.Attribute)) and isinstance(child.ctx, ast.Load):
            yield from (replaced(node, child, parse(other)) for other in alike.get(ast.unparse(child), ()))


RULES = {
    "sign": sign, "drop": drop, "swap": swap, "transpose": transpose, "index": index, "constant": constant,
    "compare": compare,
}
