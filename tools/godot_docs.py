#!/usr/bin/env python3
"""Write docs/godot.md, the reference of the Godot addon, from the comments in its scripts.

usage: tools/godot_docs.py [--check]

Godot (tools/godot.sh) turns the `##` comments into XML; this turns the XML into one page. With
--check nothing is written, and the status is 1 when the page is not what it would be now.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

__all__ = ["main", "page", "prose"]

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "godot_bridge"
PAGE = ROOT / "docs" / "godot.md"
AUTOLOAD = "NPCEngine"
# The autoload stands on a base script, which has no class_name: they are one class to a game.
BASE = "addons/npc_engine/engine_link.gd"
FIRST = (AUTOLOAD, "NPCCharacter", "NPCReply", "NPCScene", "NPCAnswer", "NPCError")
UNKNOWN = "<unknown>"  # Godot's word for a default that is no constant
NOT_PUBLIC = ("For the addon:", "For [NPCCharacter]:")

HEAD = """\
# The Godot addon: reference

Made by `make docs-godot` from the comments in `godot_bridge/addons/npc_engine/`, which Godot's own
help (F1) shows, too. How to use it all is in
[the addon's README](../godot_bridge/addons/npc_engine/README.md).
"""


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    new = page(list(_classes()))
    if not arguments:
        PAGE.write_text(new, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != new:
        print("docs/godot.md is not what the comments say: run make docs-godot.", file=sys.stderr)
        return 1
    return 0


def page(classes: list[Element]) -> str:
    """The whole page: of the scripts without a name only what the autoload stands on."""
    by_name = {_class_name(c): c for c in classes}
    for kind in ("methods", "members", "signals", "constants"):
        _group(by_name[AUTOLOAD], kind).extend(_group(by_name[BASE], kind))
    public = {name: c for name, c in by_name.items() if "." not in name}
    order = sorted(public, key=lambda n: (FIRST.index(n) if n in FIRST else len(FIRST), n))
    contents = " · ".join(f"[{name}](#{name.lower()})" for name in order)
    parts = [HEAD, contents, *(_class(name, public[name]) for name in order)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def prose(text: str) -> str:
    """The BBCode of a comment as Markdown."""
    blocks = re.split(r"\[codeblock\](.*?)\[/codeblock\]", text.strip(), flags=re.DOTALL)
    for i, block in enumerate(blocks):
        blocks[i] = _words(block).strip() if i % 2 == 0 else f"```gdscript\n{_code(block)}\n```"
    return "\n\n".join(block for block in blocks if block)


def _words(text: str) -> str:
    text = re.sub(r"\s*\[br\](\[br\])?\s*", "\n\n", text)
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    text = re.sub(r"\[(?:code|b)\](.*?)\[/(?:code|b)\]", r"`\1`", text)
    text = re.sub(r"\[method ([\w.]+)\]", r"`\1()`", text)
    text = re.sub(r"\[(?:member|signal|param|constant|enum) ([\w.]+)\]", r"`\1`", text)
    return re.sub(r"\[([A-Z]\w+)\]", r"`\1`", text)


def _code(block: str) -> str:
    lines = block.strip("\n").rstrip().split("\n")
    indent = min((len(x) - len(x.lstrip()) for x in lines if x.strip()), default=0)
    return "\n".join(line[indent:] for line in lines)


def _class(name: str, node: Element) -> str:
    parts = [f"## {name}", f"*extends {node.get('inherits')}*"]
    if name == AUTOLOAD:
        parts[1] = "*the autoload*"
    parts += [prose(node.findtext(kind) or "") for kind in ("brief_description", "description")]
    for title, kind, line in (
        ("Signals", "signals", _call),
        ("Properties", "members", _value),
        ("Methods", "methods", _call),
        ("Constants", "constants", _constant),
    ):
        rows = [_item(line(x), x) for x in _group(node, kind) if _is_public(x)]
        if rows:
            parts += [f"### {title}", "\n".join(rows)]
    return "\n\n".join(part for part in parts if part)


def _item(head: str, node: Element) -> str:
    words = prose(_comment(node)).replace("\n", "\n  ")
    return f"- `{head}`: {words}" if words else f"- `{head}`"


def _call(node: Element) -> str:
    given = sorted(node.findall("param"), key=lambda p: int(p.get("index", "0")))
    result = node.find("return")
    arrow = f" -> {_type_of(result)}" if result is not None else ""
    return f"{node.get('name')}({', '.join(_value(p) for p in given)}){arrow}"


def _value(node: Element) -> str:
    default = node.get("default", UNKNOWN)
    is_optional = node.tag == "param" and node.get("default") == UNKNOWN
    tail = " = ..." if is_optional else "" if default == UNKNOWN else f" = {default}"
    return f"{node.get('name')}: {_type_of(node)}{tail}"


def _constant(node: Element) -> str:
    enum = node.get("enum")
    return f"{enum + '.' if enum else ''}{node.get('name')} = {node.get('value')}"


def _is_public(node: Element) -> bool:
    comment = _comment(node).strip()
    if node.tag == "constant" and node.get("enum"):
        return True
    hidden = str(node.get("name")).startswith("_") or comment.startswith(NOT_PUBLIC)
    return bool(comment) and not hidden


def _comment(node: Element) -> str:
    return node.findtext("description") or node.text or ""


def _type_of(node: Element) -> str:
    name = node.get("enum") or node.get("type") or "Variant"
    return re.sub(r'^"[^"]*"\.', "", name)  # an enum of a script without a name


def _class_name(node: Element) -> str:
    return str(node.get("name")).strip('"')


def _group(node: Element, kind: str) -> Element:
    found = node.find(kind)
    return found if found is not None else ElementTree.SubElement(node, kind)


def _classes() -> Iterator[Element]:
    run = subprocess.run([ROOT / "tools/godot.sh"], check=True, text=True, stdout=subprocess.PIPE)
    godot = [run.stdout.strip(), "--headless", "--path", str(PROJECT)]
    with tempfile.TemporaryDirectory() as folder:
        docs = ["--doctool", folder, "--gdscript-docs", "res://addons/npc_engine"]
        for arguments in (["--import"], docs):
            done = subprocess.run(
                godot + arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120
            )
        files = sorted(Path(folder).rglob("*.xml"))
        if not files:
            raise SystemExit(f"Godot wrote no documentation:\n{done.stdout.decode()}")
        for file in files:
            yield ElementTree.parse(file).getroot()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
