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
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from types import BuiltinMethodType
from typing import Any, NoReturn, cast

from jinja2 import ChainableUndefined, Undefined, nodes
from jinja2.ext import Extension
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

__all__ = ["N_TRIES", "ChatTemplate", "TemplateError"]

MAX_SOURCE = 1 << 16  # characters; the longest published chat template has about 20,000
MAX_VALUE = 1 << 14  # characters, or items of a list, that one value may have
MAX_NODES = 6_000  # of its syntax tree; the longest published templates have some 2,000
MAX_DEPTH = 200  # of expressions and blocks inside each other; published ones stay under 40
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


N_TRIES = 4  # ways to render a template, see `ChatTemplate.render`
_LENIENT, _PARTS = 2, 3
_GIVEN: tuple[dict[str, Any], ...] = (
    {"tools": None, "documents": None},
    {"tools": [], "documents": [], "functions": []},
    {},
    {},
)


class TemplateError(ValueError):
    """A template cannot be compiled or rendered, or asks for more than it may."""


class ChatTemplate:
    """A compiled template. `bos` and `eos` are the texts of the model's tokens of that name.

    Raises TemplateError, in the constructor and from `render`, and nothing else.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"it has {len(source):,} characters, more than {MAX_SOURCE:,}")
        self._cage = _Cage()
        self._given = {"bos_token": bos, "eos_token": eos, **_SWITCHES}
        try:
            code = self._cage.compile(self._cage.caged(source))
            self._template = self._cage.template_class.from_code(
                self._cage, code, dict(self._cage.globals)
            )
        except Exception as error:
            raise TemplateError(_reason(error)) from error

    def render(
        self, messages: Sequence[Mapping[str, str]], *, generate: bool, n_try: int = 0
    ) -> str:
        """Return the text of messages; `generate`: and the opening of the reply to come.

        `n_try`, below `N_TRIES`: 0 is as Hugging Face's renderer does it, with no `tools` and no
        `documents`; 1 with empty ones; 2 with whatever it looks for empty, and deaf to its
        complaints; 3 so, with messages in parts.
        """
        given = {**_GIVEN[n_try], **self._given, "add_generation_prompt": generate}
        chat: list[dict[str, Any]] = [dict(message) for message in messages]
        if n_try == _PARTS:
            for message in chat:
                message["content"] = [{"type": "text", "text": message["content"]}]
        self._cage.be_lenient(n_try >= _LENIENT)
        try:
            return self._template.render(given, messages=chat)
        except Exception as error:
            raise TemplateError(_reason(error)) from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200].rstrip(".")
    return text or type(error).__name__


def _refuse(message: object = "the template refuses") -> NoReturn:
    raise TemplateError(str(message))


class _Nothing(ChainableUndefined):
    """What is not there, and empty whatever is done with it."""

    __slots__ = ()

    def __call__(self, *_args: Any, **_kwargs: Any) -> "_Nothing":  # type: ignore[override]
        return self


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
        self._is_lenient = False
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do", _Generation],
        )
        self.work_left = WORK
        self.filters = {name: FILTERS[name] for name in _FILTERS.split()}
        self.filters |= {"join": _join, "replace": _replace, "indent": _indent, "safe": str}
        self.filters["format"] = lambda text, *values: _percent(str(text), values)
        self.filters["tojson"] = _to_json
        self.filters = {name: self._measured(run) for name, run in self.filters.items()}
        self.tests = {name: self._measured(cast(Any, run)) for name, run in TESTS.items()}
        self.globals = {
            "dict": dict,
            "namespace": Namespace,
            "raise_exception": self._complain,
            "range": _range,
            "strftime_now": self._strftime,
        }
        self._callable = tuple(self.globals.values())

    def be_lenient(self, lenient: bool) -> None:
        """Whether what is missing is empty, whatever is done with it, and complaints pass."""
        self.undefined = _Nothing if lenient else Undefined
        self._is_lenient = lenient

    def _complain(self, message: object = "the template refuses") -> str:
        return "" if self._is_lenient else _refuse(message)

    def _strftime(self, pattern: str) -> str:
        _fits(len(pattern), 256)
        return _TODAY.strftime(pattern)

    def caged(self, source: str) -> nodes.Template:
        """Parse source and put the counting into it."""
        return cast(nodes.Template, _Counting().visit(self.parse(source)))

    def spend(self, work: int) -> bool:
        self.work_left -= work
        if self.work_left < 0:
            _refuse("it does too much work")
        return True

    def weigh(self, value: Any) -> Any:
        """Count what it takes to look at all of value."""
        if isinstance(value, str | list | tuple | dict):
            self.spend(1 + _size(value, MAX_VALUE) // 16)
        return value

    def concat_measured(self, values: Sequence[Any]) -> str:
        """Join texts by `~`, each measured before it is added."""
        size, texts = 0, []
        for value in values:
            texts.append(str(self.measure(value)))
            size += len(texts[-1])
            _fits(size)
        return self.measure("".join(texts))  # type: ignore[no-any-return]

    def measure(self, value: Any) -> Any:
        """Return value, an iterator as a list; raise if it is too large or no plain value."""
        if isinstance(value, Iterable) and not isinstance(value, str | list | tuple | dict):
            value = value if isinstance(value, Undefined) else list(islice(value, MAX_VALUE + 1))
        self.spend(1 + _size(value, MAX_VALUE) // 16)
        return value

    def getattr(self, obj: Any, attribute: str) -> Any:
        self._step(obj, attribute)
        return _Format(obj) if _is_format(obj, attribute) else super().getattr(obj, attribute)

    def _step(self, obj: Any, name: object) -> None:
        self.spend(1)
        if isinstance(obj, _Nothing) and isinstance(name, str) and name.startswith("_"):
            _refuse(f"it reads {name!r} of what is not there")

    def getitem(self, obj: Any, argument: Any) -> Any:
        self._step(obj, argument)
        return _Format(obj) if _is_format(obj, argument) else super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ARG002
        if isinstance(obj, Namespace | _Nothing):
            return not attr.startswith("_")
        return any(isinstance(obj, kind) and attr in names for kind, names in _ATTRIBUTES.items())

    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        _refuse(f"it reads {attribute!r} of a {type(obj).__name__}")

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        if __obj in (__self.spend, __self.measure, __self.weigh, __self.concat_measured):
            return __obj(*args)
        for name in ("_loop_vars", "_block_vars"):  # Jinja2's own, for functions of its own
            kwargs.pop(name, None)
        if isinstance(__obj, Macro | LoopContext | Undefined):
            return __self.measure(super().call(__context, __obj, *args, **kwargs))
        for value in (*args, kwargs):
            __self.measure(value)
        if isinstance(__obj, BuiltinMethodType) and isinstance(__obj.__self__, tuple(_METHODS)):
            return __self.measure(__self._method(__obj, args, kwargs))
        if isinstance(__obj, _Format):
            return __self.measure(__obj(*args, **kwargs))
        if __obj not in __self._callable:
            _refuse(f"it calls a {type(__obj).__name__}, which no chat template needs")
        value = __obj(*args, **kwargs)
        return value if __obj is Namespace else __self.measure(value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        sizes = _size(left, MAX_VALUE), _size(right, MAX_VALUE)
        if operator == "%" and isinstance(left, str):
            values = right if isinstance(right, tuple) else (right,)
            return self.measure(_percent(left, values))
        times = [abs(value) for value in (left, right) if isinstance(value, int)]
        if operator == "*" and len(times) == 1:  # a text or list, that many times
            _fits(max(sizes) * times[0])
        return self.measure(super().call_binop(context, operator, left, right))

    def _method(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.spend(len(method.__self__) // 16)
        if method.__name__ == "join":
            return _join(args[0], method.__self__)
        if method.__name__ == "replace":
            return _replace(method.__self__, *args, **kwargs)
        return method(*args, **kwargs)

    def _measured(self, run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def measured(*args: Any, **kwargs: Any) -> Any:
            self.spend(1)
            for value in (*args, *kwargs.values()):
                self.weigh(value)
            return self.measure(run(*args, **kwargs))

        return measured


class _Counting(NodeTransformer):
    """Rewrites a template's tree: bodies that can run again spend work, new values are measured.

    It refuses unknown nodes on its one way through the tree.
    """

    def __init__(self) -> None:
        self._known = frozenset(_NODES.split())
        self._n_nodes = 0
        self._weight = 0  # of all nodes so far
        self._depth = 0

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        kind = type(node).__name__
        if kind not in self._known:
            _refuse(f"it uses {kind}, which no chat template needs")
        if self._depth == MAX_DEPTH:
            _refuse(f"it is nested more than {MAX_DEPTH} deep")
        self._n_nodes += 1
        if self._n_nodes > MAX_NODES:
            _refuse(f"it has more than {MAX_NODES:,} parts")
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

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call("measure", node) if isinstance(node.arg, nodes.Slice) else node

    visit_For = visit_Macro = visit_CallBlock = _body  # noqa: N815
    visit_List = visit_Tuple = visit_Dict = _value  # noqa: N815


def _call(name: str, argument: nodes.Node) -> nodes.Expr:
    return nodes.Call(
        nodes.EnvironmentAttribute(name), [cast(nodes.Expr, argument)], [], None, None
    )


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


def _is_format(obj: Any, name: Any) -> bool:
    return isinstance(obj, str) and isinstance(name, str) and name == "format"


class _Format:
    """A text's `format`, for plain fields alone: `{}`, `{0}`, `{name}`, `{:02d}`."""

    _FIELD = re.compile(r"\{\{|\}\}|\{(\w*)(?::([<>^]?0?\d{0,2}(?:\.\d)?[sdf]?))?\}|[{}]")

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        unnamed = iter(args)

        def filled(match: re.Match[str]) -> str:
            name, how = match[1], match[2] or ""
            if name is None and len(match[0]) == 1:
                _refuse("it formats a text in a way which no chat template needs")
            if name is None:
                return match[0][0]
            if not name:
                return format(next(unnamed), how)
            return format(args[int(name)] if name.isdigit() else kwargs[name], how)

        return _filled(self._FIELD, self._text, filled)


def _percent(text: str, values: Sequence[Any]) -> str:
    """A text formatted by `%`, for `%s` and `%d` alone."""
    unnamed = iter(values)

    def filled(match: re.Match[str]) -> str:
        if match[0] not in ("%s", "%d", "%%"):
            _refuse("it formats a text by % in a way which no chat template needs")
        return "%" if match[0] == "%%" else str(next(unnamed))

    return _filled(re.compile("%.?", re.DOTALL), text, filled)


def _filled(fields: re.Pattern[str], text: str, fill: Callable[[re.Match[str]], str]) -> str:
    """Return a text with its fields filled; each is measured before it is added."""
    size, at, parts = 0, 0, []
    for match in fields.finditer(text):
        parts.append(text[at : match.start()] + fill(match))
        at = match.end()
        size += len(parts[-1])
        _fits(size)
    return "".join(parts) + text[at:]


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
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent and min(int(indent), 8),
        default=_json_of_nothing,
    )


def _json_of_nothing(value: object) -> list[object]:
    if not isinstance(value, _Nothing):
        _refuse(f"it writes a {type(value).__name__} as JSON")
    return []
