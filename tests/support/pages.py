"""Pages of the documentation, and the Python in them."""

import re

from tests.support.paths import ROOT

PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def python_page() -> str:
    return (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
