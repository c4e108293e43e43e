"""A chat template's syntax tree, with the counting of work and sizes put into it.

Owns what a template may be made of, and where the cage of `sandbox` has to look. It knows no
budget: the tree calls `spend`, `measure`, `weigh`, `concat_measured` and `lack` of the cage.
"""

from collections.abc import Collection
from typing import Any, cast

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

__all__ = ["MAX_DEPTH", "MAX_NODES", "counted"]

MAX_NODES = 6_000  # of its syntax tree; the longest published templates have some 2,000
MAX_DEPTH = 200  # of expressions and blocks inside each other; published ones stay under 40

_NODES = (
    "Add And Assign AssignBlock Break Call CallBlock Compare Concat CondExpr Const Continue Dict"
    " Div ExprStmt Filter FilterBlock FloorDiv For Getattr Getitem If Keyword List Macro Mod Mul"
    " NSRef Name Neg Not Operand Or Output Pair Pos Scope Slice Sub Template TemplateData Test"
    " Tuple With"
)


def counted(
    tree: nodes.Template, filters: Collection[str], tests: Collection[str]
) -> nodes.Template:
    """Put the counting into a tree. `filters`, `tests`: those that there are."""
    return cast(nodes.Template, _Counting(filters, tests).visit(tree))


class _Counting(NodeTransformer):
    """Rewrites a template's tree: bodies that can run again spend work, new values are measured.

    It refuses unknown nodes on its one way through the tree; the tree refuses an unknown filter or
    test once it comes to it.
    """

    def __init__(self, filters: Collection[str], tests: Collection[str]) -> None:
        self._filters, self._tests = filters, tests
        self._known = frozenset(_NODES.split())
        self._n_nodes = 0
        self._weight = 0  # of all nodes so far
        self._depth = 0

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        kind = type(node).__name__
        if kind not in self._known:
            raise ValueError(f"it uses {kind}, which no chat template needs")
        if self._depth == MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        self._n_nodes += 1
        if self._n_nodes > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES:,} parts")
        self._weight += 1 + (len(node.data) // 8 if isinstance(node, nodes.TemplateData) else 0)
        self._depth += 1
        try:
            return super().visit(node, *args, **kwargs)
        finally:
            self._depth -= 1

    def _body(self, node: Any) -> Any:
        before = self._weight
        self.generic_visit(node)
        weight = 1 + self._weight - before
        node.body.insert(0, nodes.ExprStmt(_call("spend", nodes.Const(weight))))
        if getattr(node, "test", None) is not None:
            node.test = nodes.And(_call("spend", nodes.Const(weight)), node.test)
        return node

    def _value(self, node: Any) -> Any:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") != "load" else _call("measure", node)

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [
            child if isinstance(child, nodes.TemplateData) else _call("measure", child)
            for child in node.nodes
        ]
        return node

    def visit_Assign(self, node: nodes.Assign) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.target, nodes.NSRef):
            node.node = _call("measure", node.node)
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> Any:  # noqa: N802
        """What the block has become is measured once it is there."""
        self.generic_visit(node)
        if isinstance(node.target, nodes.NSRef):
            made: nodes.Expr = nodes.Getattr(
                nodes.Name(node.target.name, "load"), node.target.attr, "load"
            )
        else:
            made = nodes.Name(node.target.name, "load")  # type: ignore[attr-defined]
        return [node, nodes.ExprStmt(_call("measure", made))]

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call("concat_measured", nodes.Tuple(node.nodes, "load"))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _call("weigh", node.expr)
        for operand in node.ops:
            operand.expr = _call("weigh", operand.expr)
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return node if node.name in self._filters else _call("lack", nodes.Const(node.name))

    def visit_Test(self, node: nodes.Test) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return node if node.name in self._tests else _call("lack", nodes.Const(node.name))

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call("measure", node) if isinstance(node.arg, nodes.Slice) else node

    visit_For = visit_Macro = visit_CallBlock = _body  # noqa: N815
    visit_List = visit_Tuple = visit_Dict = _value  # noqa: N815


def _call(name: str, argument: nodes.Node) -> nodes.Expr:
    return nodes.Call(
        nodes.EnvironmentAttribute(name), [cast(nodes.Expr, argument)], [], None, None
    )
