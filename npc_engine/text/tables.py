"""Rows, counts and sizes for people to look at. It knows no terminal and no colours."""

from collections.abc import Sequence

__all__ = ["counted", "size", "table"]


def table(rows: Sequence[Sequence[str]], right: bool = True) -> str:
    """Return rows as aligned text: the first row heads the columns, the first column is names."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]]) + "\n"


def counted(n: int, what: str) -> str:
    """Return `1 file`, `2 files`."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def size(n_bytes: int) -> str:
    """Return a number of bytes as people read it."""
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    units = ("kB", "MB", "GB", "TB")
    value, i = n_bytes / 1000, 0
    while value >= 999.5 and i < len(units) - 1:
        value, i = value / 1000, i + 1
    unit = units[i]
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"
