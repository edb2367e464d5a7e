"""Check that every link within the built pages leads somewhere, and that none loads from outside.

python docs/check_links.py docs/_build/html
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """The places of a page, and what it links to."""

    def __init__(self, path):
        super().__init__()
        self.places, self.links, self.loaded = set(), [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        """Note an id, a name, a link or a file that is loaded."""
        attributes = dict(attributes)
        self.places.update(attributes[key] for key in ("id", "name") if attributes.get(key))
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag in LOADING and attributes.get(LOADING[tag]):
            self.loaded.append(attributes[LOADING[tag]])


def broken(path, page, pages):
    """Yield what is wrong with the links of a page."""
    for link in page.loaded:
        if urlsplit(link).scheme in ("http", "https") or link.startswith("//"):
            yield f"loads {link} from outside"
    for link in page.links + page.loaded:
        if urlsplit(link).scheme or link.startswith("//"):
            continue
        target, place = urldefrag(link)
        target = (path.parent / unquote(urlsplit(target).path)).resolve() if target else path
        if not target.exists():
            yield f"links to {link}, which is not there"
        elif place and target in pages and unquote(place) not in pages[target].places:
            yield f"links to {link}, a page without that place"


def main(root):
    """Print what is wrong, and return how many faults there are."""
    paths = sorted(Path(root).resolve().rglob("*.html"))
    pages = {path: Page(path) for path in paths if "_static" not in path.parts}
    faults = [
        f"{path.relative_to(Path(root).resolve())} {fault}"
        for path, page in pages.items()
        for fault in broken(path, page, pages)
    ]
    print("\n".join([*faults, f"{len(pages)} pages, {len(faults)} faults"]))
    return len(faults) if pages else 1


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 1))
