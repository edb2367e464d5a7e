"""The directive ``results``: every table in benchmarks/results, as it was measured."""

from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
TITLES = {
    "summary": "Summary",
    "quality": "MAP of all methods",
    "poster_table_digits": "The poster's protocol on the embedded digits",
    "poster_table_grid_digits": "The poster's protocol on digits of the GRID corpus",
    "poster_table_generated": "Time of the poster's protocol, on generated views",
    "learning_embedded": "Deep methods over seeds, on the embedded digits",
    "learning_grid_digits": "Deep methods over seeds, on digits of the GRID corpus",
    "poster_table_vegas": "The poster's protocol on VEGAS",
    "poster_table_mv10k": "The poster's protocol on MV-10K",
    "linear": "Linear CCA",
    "exactness": "Exactness of linear CCA",
    "memmap": "CCA on files larger than memory",
    "scaling": "Growth with the rows",
    "kernel": "Kernel CCA",
    "epoch": "An epoch of deep training",
    "triplets": "Triplets of a batch",
    "map": "Mean average precision",
    "index": "Search in a gallery",
}


def ordered_results():
    """Return the files of results, those known by a title first."""
    known = list(TITLES)
    rank = {name: place for place, name in enumerate(known)}
    return sorted(RESULTS.glob("*.md"), key=lambda path: (rank.get(path.stem, len(known)), path))


class Results(SphinxDirective):
    """A section for each file of results."""

    def run(self):
        """Return the sections."""
        lines = []
        for path in ordered_results():
            title = TITLES.get(path.stem, path.stem.replace("_", " ").capitalize())
            lines += [
                title,
                "=" * len(title),
                "",
                f".. include:: ../benchmarks/results/{path.name}",
            ]
            lines += ["   :parser: myst_parser.sphinx_", ""]
        node = nodes.section()
        node.document = self.state.document
        self.state.nested_parse(StringList(lines, "results"), 0, node, match_titles=True)
        return node.children


def setup(app):
    """Register the directive."""
    app.add_directive("results", Results)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
