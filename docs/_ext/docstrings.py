"""What docstrings hold that Sphinx would take for a reference, and find nothing at its end."""

import re

REFERENCE = re.compile(r":ref:`([^`<]*?)\s*<[^`]*>`|:ref:`[^`]*`")
VERSION = re.compile(r"^( *)\.\. version\w+::.*\n(?:\1 +.*\n)*", re.M)
TYPE_WITH_UNDERSCORE = re.compile(r"^(\s*\w+ : .*\w)_(?=[,)])")


def prepare(app, what, name, obj, options, lines):
    """Drop what tells of scikit-learn's pages and versions; keep the names of shapes."""
    if (getattr(obj, "__module__", None) or "").startswith("sklearn."):
        lines[:] = VERSION.sub("", REFERENCE.sub(r"\1", "\n".join(lines))).split("\n")
    lines[:] = [TYPE_WITH_UNDERSCORE.sub(r"\1\\_", line) for line in lines]


def setup(app):
    """Connect to autodoc, before numpydoc."""
    app.connect("autodoc-process-docstring", prepare, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
