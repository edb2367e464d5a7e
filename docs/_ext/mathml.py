"""Mathematics as MathML, which browsers draw on their own: no script, no network."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)


class KeepPunctuation(SphinxPostTransform):
    """Hand a formula the punctuation after it, which would otherwise begin a line of its own."""

    default_priority = 5

    def run(self, **kwargs):
        """Move the punctuation from the text into the formula's attributes."""
        for formula in list(self.document.findall(nodes.math)):
            text = formula.next_node(descend=False, siblings=True)
            mark = isinstance(text, nodes.Text) and re.match(r"[.,;:)]+", text)
            if mark:
                formula["punctuation"] = mark[0]
                text.parent.replace(text, nodes.Text(text[mark.end() :]))


def converted(node, as_block):
    """Return a formula as MathML, or warn of what LaTeX it holds that is not known."""
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        logger.warning("%s", error, location=node)
        return ""


def visit_inline(translator, node):
    """Write a formula within a line."""
    mathml, mark = converted(node, as_block=False), node.get("punctuation", "")
    translator.body.append(f'<span class="formula">{mathml}{mark}</span>' if mark else mathml)
    raise nodes.SkipNode


def visit_block(translator, node):
    """Write a formula on lines of its own, which scrolls where it is wider than the page."""
    translator.body.append(f'<div class="formula">{converted(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app):
    """Register the renderer."""
    app.add_post_transform(KeepPunctuation)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
