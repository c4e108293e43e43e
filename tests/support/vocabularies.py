"""Copies of a tiny model with other tokens: vocabularies as people publish them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import gguf

CONTROL, USER_DEFINED = 3, 4  # llama.h: the kinds of tokens
SPARE = ("<repo_name>", "<reponame>", "<file_sep>", "<filename>")  # that no test needs


@cache
def _read(source: Path) -> gguf.GGUFReader:
    return gguf.GGUFReader(str(source))


def changed(
    source: Path,
    target: Path,
    *,
    names: Mapping[str, str] | None = None,
    kinds: Mapping[str, int] | None = None,
    **fields: Any,
) -> Path:
    """Write a copy of `source`. `names`, `kinds`: new texts and kinds of tokens, by the old text.

    `fields`: metadata, its dots as `__`.
    """
    reader = _read(source)
    fields = {name.replace("__", "."): value for name, value in fields.items()}
    texts = reader.fields["tokenizer.ggml.tokens"].contents()
    changes = {
        "tokenizer.ggml.tokens": [(names or {}).get(text, text) for text in texts],
        "tokenizer.ggml.token_type": [
            (kinds or {}).get(text, kind)
            for text, kind in zip(
                texts, reader.fields["tokenizer.ggml.token_type"].contents(), strict=True
            )
        ],
        **fields,
    }
    writer = gguf.GGUFWriter(str(target), "llama")
    for name, found in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = changes.pop(name) if name in changes else found.contents()
        inner = found.types[-1] if found.types[1:] else None
        writer.add_key_value(name, value, found.types[0], inner)
    for name, value in changes.items():
        kind = gguf.GGUFValueType.STRING if isinstance(value, str) else gguf.GGUFValueType.UINT32
        writer.add_key_value(name, value, kind)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
