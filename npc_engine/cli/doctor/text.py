"""`doctor`'s report as plain text, in aligned columns.

Owns the words and units that people read. It knows the report's keys and nothing behind them.
"""

import textwrap
from collections.abc import Iterator
from typing import Any

from npc_engine.llama.measurements import day_of
from npc_engine.text.tables import counted
from npc_engine.text.visible import plain

__all__ = ["render"]

WIDTH = 96
LABEL = 16  # columns

Row = tuple[str, str]


def render(report: dict[str, Any]) -> str:
    """Return a report of `doctor.examine` as text that ends with a newline."""
    blocks = [_rows("This machine", _computer(report["computer"]))]
    blocks.append(_rows("llama.cpp", _library(report["library"], report["threads"])))
    if report["model"]:
        blocks.append(_rows("Model", _model(report["model"])))
        blocks.append(_kv_table(report["model"]["kv"]))
        blocks.append(_rows("Here and now", _speed(report["model"])))
    blocks.append(_checks(report))
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _rows(title: str, rows: Iterator[Row]) -> list[str]:
    lines = [title]
    for label, value in rows:
        lines += textwrap.wrap(
            _printable(value) or "-",
            WIDTH,
            initial_indent=f"  {label:{LABEL}}",
            subsequent_indent=" " * (LABEL + 2),
        )
    return lines


def _computer(computer: dict[str, Any]) -> Iterator[Row]:
    yield "Python", computer["python"]
    yield "System", computer["platform"]
    yield "CPU", computer["cpu"]
    yield "Cores", f"{computer['n_physical'] or '?'} ({computer['n_logical'] or '?'} logical)"
    features = computer["features"]
    yield "CPU features", "not told by this system" if features is None else ", ".join(features)
    yield "RAM", f"{_size(computer['ram_total'])}, {_size(computer['ram_free'])} free"


def _library(lib: dict[str, Any], n_threads: int) -> Iterator[Row]:
    yield "Version", f"llama-cpp-python {lib['llama_cpp_python']}"
    built = lib["compiler"] or "somebody else's build (no record of the compiler)"
    yield "Built with", f"{built} {lib['flags'] or ''}".strip()
    yield "Uses", ", ".join(lib["features"])
    yield "OpenMP", "yes" if lib["openmp"] else "no"
    yield "AMX self-test", _self_test(lib)
    yield "Threads (auto)", str(n_threads)


def _self_test(lib: dict[str, Any]) -> str:
    if not lib["amx"]:
        return "not needed: no AMX code in this build"
    tested = lib["self_test"]
    if tested is None:
        return "passed" if lib["extra_bufts_work"] else "not run yet (give --model)"
    when = f" on {day_of(tested['at'])}" if tested["at"] else ""
    if tested["works"]:
        return f"passed{when}"
    often = f", at {tested['n_bad']} starts in a row" if tested["n_bad"] > 1 else ""
    return f"failed{when}{often}: {tested['cause']} (--retest asks again)"


def _model(model: dict[str, Any]) -> Iterator[Row]:
    yield "Name", model["name"]
    parts = f" and {model['n_parts'] - 1} more parts" if model["n_parts"] > 1 else ""
    yield "File", f"{model['file']}{parts}, {_size(model['file_bytes'])}"
    yield "Architecture", f"{model['arch']}, {model['n_params'] / 1e6:,.0f} million parameters"
    yield "Quantization", model["quantization"]
    yield "Context length", f"{model['n_ctx_train']:,} tokens"
    yield "Chat template", model["template_notice"] or "the model's own"
    yield "Memory policy", model["policy_means"]
    yield "Positions", model["positions"]
    yield "Renumbering", model["renumbering"]


def _kv_table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    title = f"  {'KV cache':34}{'ms a token':>12}{'KiB a token':>13}"
    lines = [f"One speaker, 900 tokens into a talk ({_measured(rows[0])})", title]
    for row in rows:
        mark = "  <- used" if row["chosen"] else ""
        kib = row["bytes_per_token"] / 1024
        lines.append(f"  {row['layout']:34}{row['ms']:12.1f}{kib:13.1f}{mark}")
    return lines


def _measured(row: dict[str, Any]) -> str:
    when = f"measured {day_of(row['at'])}"
    return when if row["busy"] is None else f"{when}, others took {row['busy']:.0%} of the cores"


def _speed(model: dict[str, Any]) -> Iterator[Row]:
    speed = model["speed"]
    threads = counted(speed["n_threads"], "thread")
    yield "Reading", f"{speed['prefill_tps']:,.0f} tokens/s ({threads})"
    yield "Speaking", f"{speed['decode_tps']:,.0f} tokens/s ({threads})"
    yield "First word", f"after {speed['first_token_ms']:,.0f} ms, for a line of 30 tokens"
    for n, size in model["ram"].items():
        who = counted(int(n), "character")
        window = f"a window of {model['window']:,} tokens each"
        yield f"RAM for {n}", f"{_size(size)}: the model and {who}, {window}"


def _checks(report: dict[str, Any]) -> list[str]:
    lines = ["Checks"]
    for check in report["checks"]:
        lines += textwrap.wrap(
            check["text"], WIDTH, initial_indent=f"  {check['mark']:4}", subsequent_indent=" " * 6
        )
    lines.append("All is well." if report["healthy"] else "What is marked x needs attention.")
    return lines


def _printable(text: str) -> str:
    """A model file's own words must not steer the terminal."""
    return plain(text[:400], " ").strip()


def _size(n_bytes: float) -> str:
    if n_bytes < 1 << 30:
        return f"{n_bytes / (1 << 20):,.0f} MiB"
    return f"{n_bytes / (1 << 30):,.1f} GiB"
