"""Fit a fetched model to this CPU: requantize it where another type is clearly faster and no worse.

usage: python models/fit.py [MODEL.gguf]

Owns when that is done: `npc-engine doctor` judges, by figures of this machine. The result stands
beside the model as NAME.fitted.gguf, which the demo prefers, and is removed when it is no longer
better.
"""

import argparse
import sys
from pathlib import Path

from npc_engine.cli.doctor.examination import examine
from npc_engine.cli.doctor.requantize import write_fitted
from npc_engine.errors import NpcError
from npc_engine.llama.model_file import fitted

__all__ = ["main"]

_SMALLEST = Path(__file__).resolve().parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def main(arguments: list[str] | None = None) -> int:
    """Try, and say what came of it; return the exit status."""
    parser = argparse.ArgumentParser(description="Fit a model to this CPU.")
    parser.add_argument("model", nargs="?", type=Path, default=_SMALLEST, help="a GGUF file")
    path: Path = parser.parse_args(arguments).model
    try:
        model = examine(path, lambda text: print(text, flush=True))["model"]
        best = next(iter(model["advice"]["faster"]), None) if model["advice"]["tried"] else None
        write_fitted(path, best)
    except (NpcError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    outcome = f"{fitted(path).name} is {best}" if best else "it stays as it is"
    print(f"{path.name}, {model['quantization']}: {model['advice']['reason']} So {outcome}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
