"""What setup.cfg cannot say: on a package index, the README's links lead to the repository."""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent


def for_an_index(text, home):
    """Return Markdown whose links to files are links to a repository."""
    return re.sub(
        r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)",
        lambda link: f"{link[1]}[{link[2]}]({home}/{'raw' if link[1] else 'blob'}/main/{link[3]})",
        text,
    )


config = ConfigParser()
config.read(HERE / "setup.cfg", encoding="utf-8")
readme = (HERE / "README.md").read_text(encoding="utf-8")
setup(
    long_description=for_an_index(readme, config["metadata"]["url"]),
    long_description_content_type="text/markdown",
)
