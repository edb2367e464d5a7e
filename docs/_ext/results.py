"""Directives for what was measured: ``results``, ``readme``, ``map-over-sets`` and ``times``.

``results SUBJECT`` has the tables of benchmarks/results on one subject. Each becomes a section: a
title, the table without columns in which nothing stands, and, folded up, when, where and with what
it was measured. ``map-over-sets`` has the MAP of the methods that its lines name, and ``times
FILE`` the seconds of all methods in a file.
"""

import json
import os
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
BEYOND = 20_000  # rows, of which fits are predicted
EXACT_KERNELS = ("KCCA", "CKCCA", "TNNCCCA")  # up to 8,000 rows, by landmarks beyond
RESULTS, README = ROOT / "benchmarks" / "results", ROOT / "README.md"
SUBJECTS = {
    "quality": {
        "quality": "All methods on all sets at hand",
        "libraries": "Beside other libraries",
        "poster_table_digits": "The poster's protocol on the embedded digits",
        "poster_table_grid_digits": "The poster's protocol on digits of the GRID corpus",
        "sequences": "Where the order of the steps counts",
        "noise_uci_mfeat": "Wrong training labels, numerals of UCI",
        "noise_grid_digits": "Wrong training labels, digits of the GRID corpus",
        "poster_table_vegas": "The poster's protocol on VEGAS",
        "poster_table_mv10k": "The poster's protocol on MV-10K",
        "learning_embedded": "Deep methods over seeds, on the embedded digits",
        "learning_grid_digits": "Deep methods over seeds, on digits of the GRID corpus",
    },
    "linear": {
        "linear": "Time of a fit",
        "wide": "More features than rows",
        "dask": "On a local Dask cluster",
        "exactness": "Exactness",
        "memmap": "Files larger than memory",
        "scaling": "Growth with the rows",
    },
    "kernel": {"kernel": "Kernel CCA"},
    "deep": {
        "fit_times": "Fits of every method by its defaults",
        "epoch": "An epoch of training",
        "towers": "Towers over the steps of sequences",
        "step_memory": "Memory of sequences at the size of VEGAS",
        "triplets": "Triplets of a batch",
        "sharded": "An epoch by two processes",
        "poster_table_generated": "Time of all methods, on generated views of the size of VEGAS",
    },
    "search": {
        "map": "Mean average precision",
        "labels": "Mean average precision of several labels",
        "index": "Search in a gallery",
        "galleries": "Galleries on disk, approximate search",
    },
    "runs": {"summary": "When the benchmarks were last run"},
}


SETS = {
    "embedded": "embedded",
    "grid_digits": "GRID",
    "uci_mfeat": "UCI",
    "digit_halves": "halves",
    "spoken_written_digits": "spoken",
    "grid_words": "words",
}


def map_table(methods, text):
    """Yield the lines of a table: MAP by the defaults, a row for each method, a column per set.

    `text` has one result in JSON a line; several seeds are averaged.
    """
    seeds = defaultdict(list)
    for result in map(json.loads, text.splitlines()):
        if result["way"] == "defaults" and not result["note"]:
            seeds[result["method"], result["data"]].append(result["map"])
    yield from (".. list-table::", "   :header-rows: 1", "   :stub-columns: 1", "")
    for row in [["", *SETS.values()], *([name, *_maps(seeds, name)] for name in methods)]:
        yield f"   * - {row[0]}"
        yield from (f"     - {cell}" for cell in row[1:])


def _maps(seeds, method):
    return [f"{fmean(seeds[method, name]):.3f}".lstrip("0") for name in SETS]


def shown(text):
    """Return the Markdown of a file of results as a page shows it."""
    measured, _, tables = text.partition("\n")
    lines = "\n".join(_without_empty_columns(table) for table in _paragraphs(tables))
    lines = re.sub(r"^#+ ", "### ", lines, flags=re.M)
    folded = f"```{{dropdown}} When, where and with what\n{measured}\n```"
    return f"{folded}\n\n{lines}\n"


def _paragraphs(text):
    """Yield the text in pieces, each a whole table or what is between two."""
    yield from re.split(r"(?<=\|)\n(?!\|)|(?<!\|)\n(?=\|)", text)


def _without_empty_columns(text):
    if not text.startswith("|"):
        return text
    rows = [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in text.splitlines()]
    told = [
        column
        for column, cells in enumerate(zip(*rows, strict=True))
        if column == 0 or any(cell.strip() not in ("", "-") for cell in cells[2:])
    ]
    return "\n".join("|" + "|".join(row[column] for column in told) + "|" for row in rows)


class Markdown(SphinxDirective):
    """What a subclass makes of its argument, as a part of the page."""

    required_arguments = 1

    def run(self):
        """Return the nodes."""
        node = nodes.section()
        node.document = self.state.document
        for name, title, text in self.texts(self.arguments[0]):
            path = Path(self.env.app.doctreedir) / f"{name}.results.md"
            path.write_text(text, encoding="utf-8")
            relative = os.path.relpath(path, Path(self.env.doc2path(self.env.docname)).parent)
            lines = [title, "=" * len(title), ""] if title else []
            lines += [f".. include:: {relative}", "   :parser: myst_parser.sphinx_", ""]
            self.state.nested_parse(StringList(lines, "results"), 0, node, match_titles=True)
        return node.children


class Results(Markdown):
    """The sections of a subject."""

    def texts(self, subject):
        """Yield the name, the title and the Markdown of each file of results."""
        for stem, title in SUBJECTS[subject].items():
            path = RESULTS / f"{stem}.md"
            if path.exists():
                self.env.note_dependency(str(path))
                yield stem, title, shown(path.read_text(encoding="utf-8"))


class MapOverSets(SphinxDirective):
    """The MAP by the defaults of the methods that the lines of the directive name."""

    has_content = True

    def run(self):
        """Return the table."""
        path = RESULTS / "quality.jsonl"
        self.env.note_dependency(str(path))
        lines = map_table(self.content, path.read_text(encoding="utf-8"))
        node = nodes.Element()
        self.state.nested_parse(StringList(list(lines), "map-over-sets"), 0, node)
        return node.children


class Readme(Markdown):
    """What stands in the README between two marks, its links leading to pages instead of files."""

    def texts(self, mark):
        """Yield the Markdown between the marks."""
        self.env.note_dependency(str(README))
        text = README.read_text(encoding="utf-8")
        between = text.split(f"<!-- {mark} -->")[1].split(f"<!-- end of {mark} -->")[0]
        text = re.sub(r"\[([^]]*)\]\(benchmarks/results/(\w+)\.md\)", _link, between)
        text = re.sub(r"(?<=\d) / (?=\d)", "\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}", text)
        text = re.sub(r"(?<=\d) (?=m?s \|)", "\N{NO-BREAK SPACE}", text)
        yield f"readme_{mark}", None, text


class Times(Markdown):
    """A row for each method in a file of results: seconds by the number of rows, and beyond."""

    def texts(self, stem):
        """Yield the Markdown of the table."""
        path = RESULTS / f"{stem}.json"
        self.env.note_dependency(str(path))
        tables = json.loads(path.read_text(encoding="utf-8"))["tables"]
        yield f"times_{stem}", None, times(tables)


def times(tables):
    """Return the CPU seconds of methods as Markdown, with those that their growth predicts."""
    sizes = [row["name"] for row in tables[0]["rows"]]
    rows = [["class", *sizes, "growth", f"{BEYOND:,}, predicted"]]
    rows.append(["---", *["---:"] * (len(sizes) + 2)])
    for table in tables:
        seconds = [row["cpu_seconds"] for row in table["rows"]]
        growth = table["facts"]["exponent of CPU seconds"]
        far = seconds[-1] * (BEYOND / int(sizes[-1].replace(",", ""))) ** max(growth, 1)
        beyond = "–" if table["title"] in EXACT_KERNELS else _short(far)
        name = f"{{py:class}}`~cca_estimators.{table['title']}`"
        rows.append([name, *map(_short, seconds), f"{growth:.1f}", beyond])
    return "\n".join(f"|{'|'.join(row)}|" for row in rows) + "\n"


def _short(seconds):
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.2g}"


def _link(found):
    """Return a link to the page that has a file of results."""
    page = next(page for page, titles in SUBJECTS.items() if found[2] in titles)
    return f"{{ref}}`{found[1]} <benchmarks_{page}>`"


def setup(app):
    """Register the directives."""
    app.add_directive("results", Results)
    app.add_directive("readme", Readme)
    app.add_directive("map-over-sets", MapOverSets)
    app.add_directive("times", Times)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
