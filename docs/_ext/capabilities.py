"""The directive ``capabilities``: what each method can take, from the tags of the estimators."""

from docutils import nodes
from docutils.statemachine import StringList
from sklearn.utils import get_tags
from sphinx.util.docutils import SphinxDirective

import cca_estimators
from cca_estimators.base import CrossModalEstimator

WITH_LABELS = {"Contrastive": {"loss": "supervised"}}  # by default it depends on what fit is given
MODULES = ("linear", "kernel", "semantic", "deep")  # the order of the user guide


def methods():
    """Return the classes of all methods, in the order of the user guide."""
    public = [getattr(cca_estimators, name) for name in cca_estimators.__all__]
    classes = [one for one in public if isinstance(one, type)]
    embeddings = [one for one in classes if issubclass(one, CrossModalEstimator)]
    return sorted(embeddings, key=lambda one: MODULES.index(one.__module__.split(".")[1]))


def tags_of(method, **parameters):
    """Return the tags of a method, as it learns from labels if it can."""
    return get_tags(method(**WITH_LABELS.get(method.__name__, {}), **parameters))


def of_sequences(method):
    """Tell how a method sees the steps of a sequence."""
    parameters = method().get_params()
    if tags_of(method).sequences:
        return "read"
    if "estimator" in parameters:
        return "as its estimator"
    by_tower = "tower" in parameters and tags_of(method, tower="convolution").sequences
    return "by ``tower``" if by_tower else "flattened"


def yes(told):
    """Return the column of a tag."""
    return lambda method: "yes" if told(tags_of(method)) else "–"


COLUMNS = {
    "array API": yes(lambda tags: tags.array_api_support),
    "GPU": yes(lambda tags: tags.device),
    "``partial_fit``": yes(lambda tags: tags.partial_fit),
    "Dask": yes(lambda tags: tags.dask),
    "``sharded``": yes(lambda tags: tags.sharded),
    "several labels": yes(lambda tags: tags.several_labels),
    "sequences": of_sequences,
    "missing partners": lambda method: tags_of(method).missing_partners,
}


def table():
    """Yield the lines of the table."""
    yield from (".. list-table::", "   :header-rows: 1", "   :class: capabilities", "")
    rows = [["class", *COLUMNS]]
    for method in methods():
        name = f":class:`~cca_estimators.{method.__name__}`"
        rows.append([name, *(column(method) for column in COLUMNS.values())])
    for row in rows:
        yield from (f"   {'*' if cell is row[0] else ' '} - {cell}" for cell in row)


class Capabilities(SphinxDirective):
    """A table: a row for each method, a column for each tag."""

    def run(self):
        """Return the table."""
        node = nodes.Element()
        self.state.nested_parse(StringList(list(table()), "capabilities"), 0, node)
        return node.children


def setup(app):
    """Register the directive."""
    app.add_directive("capabilities", Capabilities)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
