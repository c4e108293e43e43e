"""One chat template (Jinja2 source out of a model file) as a function from messages to text.

It owns the cage: a GGUF is untrusted, so a template gets no attribute but the few below, and a
budget of work that ends any loop, recursion or growing string. It knows nothing of turns or tokens.

1. A node, filter, method or function that is not on a list below is refused. The lists hold what
   published chat templates use.
2. Every loop turn, macro call and call costs work from one budget for all renderings. There is no
   clock: whether a template is accepted must not depend on how busy the machine is.
3. Every value that an operation makes is measured, so none outgrows `MAX_VALUE`; what multiplies
   sizes (`*`, replace, join, indent) is measured before it is done.
4. Today is always 26 July 2024 (the default date of Llama 3's own template): a persona's tokens
   must be the same tomorrow, or no saved character could be restored.
"""

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from types import BuiltinMethodType
from typing import Any, NoReturn, cast

from jinja2 import Undefined, nodes
from jinja2.ext import Extension
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

__all__ = ["ChatTemplate", "TemplateError"]

MAX_SOURCE = 1 << 16  # characters; the longest published chat template has about 20,000
MAX_VALUE = 1 << 14  # characters, or items of a list, that one value may have
WORK = 200_000  # steps for all renderings together; a published template takes under 40,000

_TODAY = datetime(2024, 7, 26)
_NODES = (
    "Add And Assign AssignBlock Break Call CallBlock Compare Concat CondExpr Const Continue Dict"
    " Div ExprStmt Filter FilterBlock FloorDiv For Getattr Getitem If Keyword List Macro Mod Mul"
    " NSRef Name Neg Not Operand Or Output Pair Pos Scope Slice Sub Template TemplateData Test"
    " Tuple With"
)
_FILTERS = (
    "abs capitalize count d default dictsort first float int items last length list lower map max"
    " min reject rejectattr reverse select selectattr sort string title trim unique upper"
)
_METHODS = {
    str: "capitalize count endswith find index isalpha isdigit join lower lstrip partition replace"
    " rfind rpartition rsplit rstrip split splitlines startswith strip title upper",
    dict: "get items keys values",
    list: "count index",
    tuple: "count index",
    LoopContext: "depth depth0 first index index0 last length nextitem previtem revindex revindex0",
}
_ATTRIBUTES = {kind: frozenset(names.split()) for kind, names in _METHODS.items()}

# How a template is told not to think aloud; each family looks at its own name.
_SWITCHES = {
    "enable_thinking": False,
    "thinking": False,
    "thinking_mode": "disabled",
    "thinking_budget": 0,
    "reasoning_effort": "low",
}


class TemplateError(ValueError):
    """A template cannot be compiled or rendered, or asks for more than it may."""


class ChatTemplate:
    """A compiled template. `bos` and `eos` are the texts of the model's tokens of that name.

    Raises TemplateError, in the constructor and from `render`, and nothing else.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"it has {len(source):,} characters, more than {MAX_SOURCE:,}")
        cage = _Cage()
        self._given = {"bos_token": bos, "eos_token": eos, "tools": None, "documents": None}
        try:
            code = cage.compile(cage.caged(source))
            self._template = cage.template_class.from_code(cage, code, dict(cage.globals))
        except Exception as error:
            raise TemplateError(_reason(error)) from error

    def render(self, messages: Sequence[Mapping[str, str]], *, generate: bool) -> str:
        """Return the text of messages; `generate`: and the opening of the reply to come."""
        given = {**self._given, **_SWITCHES, "add_generation_prompt": generate}
        try:
            return self._template.render(given, messages=[dict(message) for message in messages])
        except Exception as error:
            raise TemplateError(_reason(error)) from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200].rstrip(".")
    return text or type(error).__name__


def _refuse(message: object = "the template refuses") -> NoReturn:
    raise TemplateError(str(message))


class _Generation(Extension):
    """`{% generation %}` marks replies for training; for rendering it is no more than its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Cage(ImmutableSandboxedEnvironment):
    """The sandbox: Jinja2's own, less what templates do not need, with all work counted."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%"])

    def __init__(self) -> None:
        # The optimizer would run constant expressions at compile time, unmeasured.
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do", _Generation],
        )
        self.work_left = WORK
        self.filters = {name: FILTERS[name] for name in _FILTERS.split()}
        self.filters |= {"join": _join, "replace": _replace, "indent": _indent, "safe": str}
        self.filters["tojson"] = _to_json
        self.filters = {name: self._measured(run) for name, run in self.filters.items()}
        self.globals = {
            "dict": dict,
            "namespace": Namespace,
            "raise_exception": _refuse,
            "range": _range,
            "strftime_now": _TODAY.strftime,
        }
        self._callable = tuple(self.globals.values())

    def caged(self, source: str) -> nodes.Template:
        """Parse source and put the counting into it."""
        tree = self.parse(source)
        known = set(_NODES.split())
        for node in tree.find_all(nodes.Node):
            if type(node).__name__ not in known:
                _refuse(f"it uses {type(node).__name__}, which no chat template needs")
        return cast(nodes.Template, _Counting().visit(tree))

    def spend(self, work: int) -> bool:
        self.work_left -= work
        if self.work_left < 0:
            _refuse("it does too much work")
        return True

    def measure(self, value: Any) -> Any:
        """Return value, an iterator as a list; raise if it is too large or no plain value."""
        if isinstance(value, Iterable) and not isinstance(value, str | list | tuple | dict):
            value = value if isinstance(value, Undefined) else list(islice(value, MAX_VALUE + 1))
        self.spend(1 + _size(value, MAX_VALUE) // 16)
        return value

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ARG002
        if isinstance(obj, Namespace):
            return not attr.startswith("_")
        return any(isinstance(obj, kind) and attr in names for kind, names in _ATTRIBUTES.items())

    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        _refuse(f"it reads {attribute!r} of a {type(obj).__name__}")

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        if __obj in (__self.spend, __self.measure):
            return __obj(*args)
        for name in ("_loop_vars", "_block_vars"):  # Jinja2's own, for functions of its own
            kwargs.pop(name, None)
        if isinstance(__obj, Macro | LoopContext | Undefined):
            return __self.measure(super().call(__context, __obj, *args, **kwargs))
        for value in (*args, kwargs):
            __self.measure(value)
        if isinstance(__obj, BuiltinMethodType) and isinstance(__obj.__self__, tuple(_METHODS)):
            return __self.measure(__self._method(__obj, args, kwargs))
        if __obj not in __self._callable:
            _refuse(f"it calls a {type(__obj).__name__}, which no chat template needs")
        value = __obj(*args, **kwargs)
        return value if __obj is Namespace else __self.measure(value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        sizes = _size(left, MAX_VALUE), _size(right, MAX_VALUE)
        if operator == "%" and isinstance(left, str):
            _refuse("it formats a text by %, which no chat template needs")
        times = [abs(value) for value in (left, right) if isinstance(value, int)]
        if operator == "*" and len(times) == 1:  # a text or list, that many times
            _fits(max(sizes) * times[0])
        return self.measure(super().call_binop(context, operator, left, right))

    def _method(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.spend(len(method.__self__) // 64)
        if method.__name__ == "join":
            return _join(args[0], method.__self__)
        if method.__name__ == "replace":
            return _replace(method.__self__, *args, **kwargs)
        return method(*args, **kwargs)

    def _measured(self, run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def measured(*args: Any, **kwargs: Any) -> Any:
            self.spend(sum(len(arg) for arg in args if isinstance(arg, str | list | dict)) // 64)
            return self.measure(run(*args, **kwargs))

        return measured


class _Counting(NodeTransformer):
    """Rewrites a template's tree: bodies that can run again spend work, new values are measured."""

    def _body(self, node: Any) -> Any:
        weight = _weight(node)
        self.generic_visit(node)
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

    visit_For = visit_Macro = visit_CallBlock = _body  # noqa: N815
    visit_List = visit_Tuple = visit_Dict = visit_Concat = _value  # noqa: N815


def _call(name: str, argument: nodes.Node) -> nodes.Expr:
    return nodes.Call(
        nodes.EnvironmentAttribute(name), [cast(nodes.Expr, argument)], [], None, None
    )


def _weight(node: nodes.Node) -> int:
    data = sum(len(found.data) for found in node.find_all(nodes.TemplateData))
    return sum(1 for _ in node.find_all(nodes.Node)) + data // 8


def _size(value: Any, limit: int) -> int:
    """Return the characters and items of a value of plain types; raise where limit is passed."""
    if isinstance(value, str):
        size = len(value)
    elif isinstance(value, int):
        size = 1 if value.bit_length() <= 256 else limit + 1
    elif value is None or isinstance(value, float | Undefined):
        size = 1
    elif isinstance(value, list | tuple | dict):
        size = len(value)
        _fits(size)
        for item in value.items() if isinstance(value, dict) else value:
            size += _size(item, limit - size)
    else:
        _refuse(f"it makes a value of type {type(value).__name__}")
    _fits(size, limit)
    return size


def _fits(size: int, limit: int = MAX_VALUE) -> None:
    if size > limit:
        _refuse("it makes a value that is too large")


def _range(*args: int) -> list[int]:
    numbers = range(*args)
    _fits(len(numbers))
    return list(numbers)


def _join(value: Any, d: str = "", attribute: str | None = None) -> str:
    if attribute is not None:
        _refuse("it joins an attribute, which no chat template needs")
    items = [str(item) for item in value]
    _fits(sum(map(len, items)) + len(str(d)) * len(items))
    return str(d).join(items)


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    text, old, new = str(value), str(old), str(new)
    _fits(len(text) + len(new) * text.count(old))
    return text.replace(old, new, -1 if count is None else count)


def _indent(value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    lead = width if isinstance(width, str) else " " * min(int(width), MAX_VALUE)
    lines = str(value).split("\n")
    _fits(len(str(value)) + len(lead) * len(lines))
    return "\n".join(
        lead + line if (line or blank) and (n or first) else line for n, line in enumerate(lines)
    )


def _to_json(value: Any, indent: int | None = None, ensure_ascii: bool = False) -> str:
    """As Hugging Face's template renderer does it: characters as they are, nothing escaped."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent and min(int(indent), 8))
