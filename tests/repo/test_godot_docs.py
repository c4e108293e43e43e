"""The reference of the Godot addon: from Godot's XML to one page."""

import sys
from xml.etree import ElementTree

from tests.support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))  # scripts, no package

from godot_docs import BASE, page, prose

AUTOLOAD = f"""<class name="NPCEngine" inherits="&quot;{BASE}&quot;">
<brief_description>The autoload.</brief_description><methods><method name="ping">
<return type="NPCAnswer"/><description>Answers.</description></method></methods></class>"""
LINK = f"""<class name="&quot;{BASE}&quot;" inherits="Node"><methods>
<method name="start"><return type="void"/><description>Starts.</description></method>
<method name="_poll"><return type="void"/><description>Not yours.</description></method>
</methods></class>"""
OTHER = """<class name="NPCThing" inherits="Node"><brief_description>A thing.</brief_description>
<members>
<member name="engine" type="NPCEngine">Its engine.</member>
<member name="secret" type="int">For the addon: hidden.</member>
<member name="bare" type="int"></member></members>
<methods><method name="say"><return type="void"/>
<param index="1" name="loud" type="bool" default="false"/><param index="0" name="t" type="String"/>
<description>Says [param t].</description></method></methods>
<constants><constant name="LOUD" value="1" enum="Mood"></constant></constants></class>"""
INNER = '<class name="&quot;addons/npc_engine/zmtp.gd&quot;" inherits="RefCounted"></class>'


def test_a_page() -> None:
    text = page([ElementTree.fromstring(x) for x in (OTHER, LINK, INNER, AUTOLOAD)])
    assert text.index("## NPCEngine") < text.index("## NPCThing")
    assert "- `ping() -> NPCAnswer`: Answers." in text
    assert "- `start() -> void`: Starts." in text, "what the autoload has of its base"
    assert "- `say(t: String, loud: bool = false) -> void`: Says `t`." in text
    assert "- `engine: NPCEngine`: Its engine." in text
    assert "- `Mood.LOUD = 1`\n" in text
    for hidden in ("_poll", "secret", "bare", "zmtp"):
        assert hidden not in text


def test_words() -> None:
    comment = "One [code]x[/code],\ntwo.[br][br]\nSee [method A.b], [member c] and [NPCThing]."
    assert prose(comment) == "One `x`, two.\n\nSee `A.b()`, `c` and `NPCThing`."


def test_code_keeps_its_lines() -> None:
    comment = "So:\n[codeblock]\n\tif a[0]:\n\t\tpass\n[/codeblock]\nDone."
    assert prose(comment) == "So:\n\n```gdscript\nif a[0]:\n\tpass\n```\n\nDone."
