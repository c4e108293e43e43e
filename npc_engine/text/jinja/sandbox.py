"""One chat template (Jinja2 source out of a model file) as a function from messages to text.

It owns the cage: a GGUF is untrusted, so a template gets no attribute but the few below, and a
budget of work that ends any loop, recursion or growing string. It knows nothing of turns or tokens.

1. A node, filter, method or function that is not on a list is refused. The lists hold what
   published chat templates use. Filters and methods are refused where they are used: many stand in
   what is written for tools alone.
2. Every loop turn, macro call and call costs work from one budget for all renderings, counted by
   the syntax tree itself (`syntax_tree`). There is no clock: whether a template is accepted must
   not depend on how busy the machine is.
3. Every value that an operation makes is measured, so none outgrows `MAX_VALUE`; what multiplies
   sizes (`*`, replace, join, indent) is measured before it is done (`values`).
4. Today is always 26 July 2024 (the default date of Llama 3's own template): a persona's tokens
   must be the same tomorrow, or no saved character could be restored.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from types import BuiltinMethodType
from typing import Any, NoReturn, cast

from jinja2 import Undefined, nodes
from jinja2.ext import Extension
from jinja2.filters import FILTERS, _GroupTuple
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.utils import Namespace

from npc_engine.text.jinja.syntax_tree import counted
from npc_engine.text.jinja.values import FILTERS as MEASURED
from npc_engine.text.jinja.values import (
    MAX_VALUE,
    Format,
    Nothing,
    TemplateError,
    fits,
    is_format,
    join,
    percent,
    range_of,
    refuse,
    replace,
    size_of,
)

__all__ = ["N_TRIES", "ChatTemplate", "TemplateError"]

MAX_SOURCE = 1 << 16  # characters; the longest published chat template has about 20,000
WORK = 200_000  # steps for all renderings together; a published template takes under 40,000

_TODAY = datetime(2024, 7, 26)
_FILTERS = (
    "abs capitalize count d default dictsort first float groupby int items last length list lower"
    " map max min reject rejectattr reverse select selectattr sort string title trim unique"
    " upper wordcount"
)
_METHODS = {
    str: "capitalize count endswith find index isalnum isalpha isdigit islower isnumeric isspace"
    " isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition"
    " rsplit rstrip split splitlines startswith strip swapcase title upper",
    dict: "copy get items keys values",
    list: "count index",
    tuple: "count index",
    _GroupTuple: "grouper list",
    LoopContext: "depth depth0 first index index0 last length nextitem previtem revindex revindex0",
}
_BACKWARDS = ("rfind", "rindex", "rpartition", "rsplit")  # their time grows with both texts
_ATTRIBUTES = {kind: frozenset(names.split()) for kind, names in _METHODS.items()}

# How a template is told not to think aloud; each family looks at its own name.
_SWITCHES = {
    "enable_thinking": False,
    "thinking": False,
    "thinking_mode": "disabled",
    "thinking_budget": 0,
    "reasoning_effort": "low",
}


# No model file holds them, and markup without them would be none: missing, however lenient.
_UNKNOWN = {"additional_special_tokens": Undefined(name="additional_special_tokens")}

N_TRIES = 4  # ways to render a template, see `ChatTemplate.render`
_LENIENT, _PARTS = 2, 3
_GIVEN: tuple[dict[str, Any], ...] = (
    {"tools": None, "documents": None},
    {"tools": [], "documents": [], "functions": []},
    {},
    {},
)


class ChatTemplate:
    """A compiled template. `bos` and `eos` are the texts of the model's tokens of that name.

    Raises TemplateError, in the constructor and from `render`, and nothing else.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"it has {len(source):,} characters, more than {MAX_SOURCE:,}")
        self._cage = _Cage()
        self._given = {"bos_token": bos, "eos_token": eos, **_SWITCHES, **_UNKNOWN}
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
        self.filters |= MEASURED
        self.filters = {name: self._measured(run) for name, run in self.filters.items()}
        self.tests = {name: self._measured(cast(Any, run)) for name, run in TESTS.items()}
        self.globals = {
            "dict": dict,
            "namespace": Namespace,
            "raise_exception": self._complain,
            "range": range_of,
            "strftime_now": self._strftime,
        }
        self._callable = tuple(self.globals.values())
        self._own = (self.spend, self.measure, self.weigh, self.concat_measured, self.lack)

    def be_lenient(self, lenient: bool) -> None:
        """Whether what is missing is empty, whatever is done with it, and complaints pass."""
        self.undefined = Nothing if lenient else Undefined
        self._is_lenient = lenient

    def _complain(self, message: object = "the template refuses") -> str:
        return "" if self._is_lenient else refuse(message)

    def _strftime(self, pattern: str) -> str:
        fits(len(pattern), 256)
        return _TODAY.strftime(pattern)

    def caged(self, source: str) -> nodes.Template:
        """Parse source and put the counting into it."""
        return counted(self.parse(source), self.filters, self.tests)

    def lack(self, name: str) -> NoReturn:
        refuse(f"it uses {name!r}, which no chat template needs")

    def spend(self, work: int) -> bool:
        self.work_left -= work
        if self.work_left < 0:
            refuse("it does too much work")
        return True

    def weigh(self, value: Any) -> Any:
        """Count what it takes to look at all of value."""
        if isinstance(value, str | list | tuple | dict):
            self.spend(1 + size_of(value, MAX_VALUE) // 16)
        return value

    def concat_measured(self, values: Sequence[Any]) -> str:
        """Join texts by `~`, each measured before it is added."""
        size, texts = 0, []
        for value in values:
            texts.append(str(self.measure(value)))
            size += len(texts[-1])
            fits(size)
        return self.measure("".join(texts))  # type: ignore[no-any-return]

    def measure(self, value: Any) -> Any:
        """Return value, an iterator as a list; raise if it is too large or no plain value."""
        if isinstance(value, Iterable) and not isinstance(value, str | list | tuple | dict):
            value = value if isinstance(value, Undefined) else list(islice(value, MAX_VALUE + 1))
        self.spend(1 + size_of(value, MAX_VALUE) // 16)
        return value

    def getattr(self, obj: Any, attribute: str) -> Any:
        self._step(obj, attribute)
        return Format(obj) if is_format(obj, attribute) else super().getattr(obj, attribute)

    def _step(self, obj: Any, name: object) -> None:
        self.spend(1)
        if isinstance(obj, Nothing) and isinstance(name, str) and name.startswith("_"):
            refuse(f"it reads {name!r} of what is not there")

    def getitem(self, obj: Any, argument: Any) -> Any:
        self._step(obj, argument)
        return Format(obj) if is_format(obj, argument) else super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ARG002
        if isinstance(obj, Namespace | Nothing):
            return not attr.startswith("_")
        return any(isinstance(obj, kind) and attr in names for kind, names in _ATTRIBUTES.items())

    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        refuse(f"it reads {attribute!r} of a {type(obj).__name__}")

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        if __obj in __self._own:
            return __obj(*args)
        for name in ("_loop_vars", "_block_vars"):  # Jinja2's own, for functions of its own
            kwargs.pop(name, None)
        if isinstance(__obj, Macro | LoopContext | Undefined):
            return __self.measure(super().call(__context, __obj, *args, **kwargs))
        for value in (*args, kwargs):
            __self.measure(value)
        if isinstance(__obj, BuiltinMethodType) and isinstance(__obj.__self__, tuple(_METHODS)):
            return __self.measure(__self._method(__obj, args, kwargs))
        if isinstance(__obj, Format):
            return __self.measure(__obj(*args, **kwargs))
        if __obj not in __self._callable:
            refuse(f"it calls a {type(__obj).__name__}, which no chat template needs")
        value = __obj(*args, **kwargs)
        return value if __obj is Namespace else __self.measure(value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, Nothing) or isinstance(right, Nothing):
            return self.measure(right if isinstance(left, Nothing) else left)
        sizes = size_of(left, MAX_VALUE), size_of(right, MAX_VALUE)
        if operator == "%" and isinstance(left, str):
            values = right if isinstance(right, tuple) else (right,)
            return self.measure(percent(left, values))
        times = [abs(value) for value in (left, right) if isinstance(value, int)]
        if operator == "*" and len(times) == 1:  # a text or list, that many times
            fits(max(sizes) * times[0])
        return self.measure(super().call_binop(context, operator, left, right))

    def _method(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.spend(len(method.__self__) // 16)
        if method.__name__ in _BACKWARDS and args and isinstance(args[0], str):
            self.spend(len(method.__self__) * len(args[0]) // 4096)
        if method.__name__ == "join":
            return join(args[0], method.__self__)
        if method.__name__ == "replace":
            return replace(method.__self__, *args, **kwargs)
        return method(*args, **kwargs)

    def _measured(self, run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def measured(*args: Any, **kwargs: Any) -> Any:
            self.spend(1)
            for value in (*args, *kwargs.values()):
                self.weigh(value)
            return self.measure(run(*args, **kwargs))

        return measured
