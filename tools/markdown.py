"""Markdown for what is generated."""

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; a sentence where there are no rows.

    Args:
        header: one text a column.
        rows: one value a column each.
    """
    if not rows:
        return "Nothing is recorded yet."
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
