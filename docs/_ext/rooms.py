"""The directive ``rooms``: the package as a drawing, made from what its modules import.

A room is a module or folder of the package. It stands above all rooms that it imports; a line leads
to each of those that no other line reaches already.
"""

import ast
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

PACKAGE = Path(__file__).parents[2] / "cca_estimators"
WIDTH, BOX_HEIGHT, ROW_HEIGHT, LETTER = 900, 26, 62, 7.6


def rooms_below(folder, prefix):
    """Return the rooms of a folder that each of its rooms imports, as a dict of sets."""
    below = {}
    for path in folder.rglob("*.py"):
        room = path.relative_to(folder).parts[0].removesuffix(".py")
        if room != "__init__":
            own = below.setdefault(room, set())
            own.update(name[len(prefix) :].split(".")[0] for name in imported(path, prefix))
    return {room: (others & below.keys()) - {room} for room, others in below.items()}


def imported(path, prefix):
    """Yield the modules of the package that a module imports at its top."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(prefix):
            whole = f"{node.module}." == prefix
            yield from [prefix + alias.name for alias in node.names] if whole else [node.module]


def levels(below):
    """Return the rooms level by level, the lowest first."""
    level = {}

    def of(room):
        if room not in level:
            level[room] = 1 + max(map(of, below[room]), default=-1)
        return level[room]

    for room in below:
        of(room)
    heights = range(1 + max(level.values()))
    return [sorted(room for room in level if level[room] == height) for height in heights]


def needed_lines(below):
    """Return the pairs of rooms between which no way leads over a third room."""

    def reached(room):
        return below[room].union(*map(reached, below[room]))

    return [
        (room, lower)
        for room, others in below.items()
        for lower in others
        if not any(lower in reached(other) for other in others - {lower})
    ]


def drawing(below, title):
    """Return the rooms and the lines between them as SVG."""
    rows = levels(below)[::-1]
    place = {}
    for y, row in enumerate(rows):
        widths = [LETTER * len(room) + 22 for room in row]
        gap = (WIDTH - sum(widths)) / (len(row) + 1)
        x = gap
        for room, width in zip(row, widths, strict=True):
            place[room] = x, 8 + y * ROW_HEIGHT, width
            x += width + gap
    height = ROW_HEIGHT * len(rows) - 22
    lines = [_line(place[upper], place[lower]) for upper, lower in sorted(needed_lines(below))]
    boxes = [_box(room, *where) for room, where in place.items()]
    head = (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        'style="max-width:100%; margin-bottom:1rem" font-family="monospace" font-size="12.5">'
    )
    return "\n".join([head, *lines, *boxes, "</svg>"])


def _line(upper, lower):
    x, y = upper[0] + upper[2] / 2, upper[1] + BOX_HEIGHT
    return (
        f'<path d="M{x:.0f} {y} L{lower[0] + lower[2] / 2:.0f} {lower[1]}" '
        'stroke="currentColor" stroke-opacity="0.35" fill="none"/>'
    )


def _box(room, x, y, width):
    return (
        f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{BOX_HEIGHT}" rx="5" '
        'fill="var(--pst-color-surface)" stroke="currentColor"/>'
        f'<text x="{x + width / 2:.0f}" y="{y + 17}" text-anchor="middle" fill="currentColor">'
        f"{escape(room)}</text>"
    )


class Rooms(SphinxDirective):
    """A drawing of the rooms of the package, or of a folder in it."""

    optional_arguments = 1

    def run(self):
        """Return the drawing."""
        folder = self.arguments[0] if self.arguments else ""
        prefix = "cca_estimators." + (f"{folder}." if folder else "")
        title = f"Rooms of {prefix.removesuffix('.')}: each stands above those that it imports"
        below = rooms_below(PACKAGE / folder, prefix)
        return [nodes.raw("", drawing(below, title), format="html")]


def setup(app):
    """Register the directive."""
    app.add_directive("rooms", Rooms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
