"""What docstrings hold that Sphinx would take for a reference, and find nothing at its end."""

import re

REFERENCE = re.compile(r":ref:`([^`<]*?)\s*<[^`]*>`|:ref:`[^`]*`")
TYPE_WITH_UNDERSCORE = re.compile(r"^(\s*\w+ : .*\w)_(?=[,)])")


def prepare(app, what, name, obj, options, lines):
    """Drop what refers to other pages of scikit-learn; keep the names of shapes as they are."""
    if (getattr(obj, "__module__", None) or "").startswith("sklearn."):
        lines[:] = [REFERENCE.sub(r"\1", line) for line in lines]
    lines[:] = [TYPE_WITH_UNDERSCORE.sub(r"\1\\_", line) for line in lines]


def setup(app):
    """Connect to autodoc, before numpydoc."""
    app.connect("autodoc-process-docstring", prepare, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
