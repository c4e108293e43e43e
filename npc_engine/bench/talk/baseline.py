"""What one would pick instead: llama-cpp-python's `create_chat_completion`, oldest turns trimmed.

Owns that other way of doing it, as well as that API allows: the persona is the system message, and
while the prompt and a whole reply do not fit, the oldest pair of player and character goes. What
is alike at the beginning of two prompts, the library reads once; so behind a pair that has gone,
it reads everything again.

It has a process of its own: its memory is not ours, and what ends it does not end us. What goes
wrong in it comes back as a sentence, never as an exception: how it fails is one of the results.
"""

import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import psutil

# First `model`: it sets the environment that the native library reads when it is loaded.
from npc_engine.llama.model import Layout  # isort: skip

import llama_cpp

from npc_engine.bench.talk.figures import Turn
from npc_engine.errors import ModelError

__all__ = ["LAYOUT", "Baseline", "BaselineProcess"]

LAYOUT = Layout("f16", "f16", flash_attn=False)
"""What the high-level API takes by default, and so both sides here."""

GREEDY = {"temperature": 0.0, "repeat_penalty": 1.0}
JOIN_S = 10.0


class _DoesNotFit(Exception):
    pass


class _Counting(llama_cpp.Llama):  # type: ignore[misc, unused-ignore]
    """The high-level API's model: counts what it decodes, and refuses a prompt that is too long."""

    limit = 0

    def eval(self, tokens: Sequence[int]) -> None:
        """Decode; notes how many tokens."""
        self.evals.append(len(tokens))
        super().eval(tokens)

    def create_completion(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        """Raise _DoesNotFit before anything is decoded, where the reply could not be whole."""
        # Not n_ctx(): llama.cpp rounds it up, and the arrays of the library are not so long.
        if len(prompt) + kwargs["max_tokens"] > self.limit:
            raise _DoesNotFit
        self.evals: list[int] = []
        return super().create_completion(prompt, *args, **kwargs)


class Baseline:
    """A talk in `n_ctx` tokens, with `max_tokens` to a reply. Raises ModelError."""

    def __init__(
        self, path: str, persona: str, n_ctx: int, n_threads: int, max_tokens: int
    ) -> None:
        threads = {"n_threads": n_threads, "n_threads_batch": n_threads}
        try:
            self._llama = _Counting(path, n_ctx=n_ctx, verbose=False, **threads)
        except ValueError as error:
            raise ModelError(f"{path!r}: {error}.", "Give another --model.") from None
        self._llama.limit = n_ctx
        self._messages = [{"role": "system", "content": persona}]
        self._max_tokens = max_tokens
        self._n_turns = 0
        self._process = psutil.Process()

    def say(self, text: str) -> Turn:
        """Say a line and hear the whole reply. Raises whatever the library raises."""
        self._n_turns += 1
        self._messages.append({"role": "user", "content": text})
        n_before = len(self._messages)
        try:
            began, first, reply = self._hear()
        except BaseException:
            self._messages.pop()
            raise
        ended = time.perf_counter()
        trimmed = len(self._messages) < n_before
        self._messages.append({"role": "assistant", "content": reply})
        evals = self._llama.evals
        return Turn(
            number=self._n_turns,
            overflow=trimmed,
            n_message=len(self._llama.tokenize(text.encode(), add_bos=False)),
            n_read=evals[0],
            n_decoded=len(evals),
            ttft_ms=(first - began) * 1000,
            total_ms=(ended - began) * 1000,
            rss=self._process.memory_info().rss,
        )

    def _hear(self) -> tuple[float, float, str]:
        """Return (when it began, when the first piece came, the reply). Trimming is not timed."""
        while True:
            began = time.perf_counter()
            try:
                chunks = self._llama.create_chat_completion(
                    messages=self._messages, max_tokens=self._max_tokens, stream=True, **GREEDY
                )
                first, reply = None, ""
                for chunk in chunks:
                    piece = chunk["choices"][0]["delta"].get("content")
                    if piece and first is None:
                        first = time.perf_counter()
                    reply += piece or ""
                return began, first or time.perf_counter(), reply
            except _DoesNotFit:
                if len(self._messages) < 4:  # persona and this line alone
                    raise ValueError("persona, line and reply are more than the window") from None
                del self._messages[1:3]

    def close(self) -> None:
        """Free the model."""
        self._llama.close()


class BaselineProcess:
    """A `Baseline` made in a child of the arguments that it takes, turn by turn."""

    def __init__(self, make: Callable[..., Any], *args: Any) -> None:
        self._pipe, theirs = get_context("spawn").Pipe()
        self._child = get_context("spawn").Process(target=_child, args=(theirs, make, args))
        self._child.start()
        theirs.close()

    def say(self, text: str) -> Turn | str:
        """Say a line; return the turn, or what went wrong."""
        try:
            self._pipe.send(text)
            answer: Turn | str = self._pipe.recv()
        except (EOFError, OSError):
            self._child.join(JOIN_S)
            return f"the process had ended with status {self._child.exitcode}"
        return answer

    def close(self) -> None:
        """End the child."""
        self._pipe.close()
        self._child.join(JOIN_S)
        if self._child.is_alive():
            self._child.kill()


def _child(pipe: Connection, make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; who started us ends us
    baseline: Any = None
    try:
        while True:
            text = pipe.recv()
            try:
                baseline = baseline or make(*args)
                pipe.send(baseline.say(text))
            except Exception as error:  # noqa: BLE001  whatever it is, it is a result
                pipe.send(f"{type(error).__name__}: {error}")
    except EOFError:
        return
