"""Counts, sizes and strangers' texts as people read them. It knows no terminal and no colours."""

__all__ = ["counted", "on_one_row", "plain", "size"]


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


def plain(text: str, instead: str = "\ufffd") -> str:
    """Return a text without what could move a terminal's cursor or turn its letters round."""
    return "".join(c if c.isprintable() else instead for c in text)


def on_one_row(text: str) -> str:
    """Return a text on one row, its blanks as one each, without what could steer a terminal."""
    return " ".join(plain(text, " ").split())
