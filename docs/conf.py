"""Configuration of Sphinx. Nothing here needs the network: no CDN, no inventories of others."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve each other
os.environ["TQDM_DISABLE"] = "1"  # progress bars belong in no page
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import ziamath

from cca_estimators import __version__

project = "cca_estimators"
author = "the cca_estimators developers"
copyright = author
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "myst_parser",
    "mathml",
    "capabilities",
    "pictures",
    "results",
    "rooms",
    "docstrings",
]
exclude_patterns = ["_build", "auto_examples/**.py"]
source_suffix = {".rst": "restructuredtext"}
templates_path = ["_templates"]
default_role = "py:obj"
html_math_renderer = "mathml"

# the copy button leaves out prompts and output
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

# one argument a line in signatures that do not fit into one
maximum_signature_line_length = 80

# API pages: methods are listed by the class template, attributes by the docstrings
autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# explicit roles must resolve, unless they name something of another package; backticks without a
# role are links only where there is something to link to
suppress_warnings = ["myst.header"]  # tables of results have headings of the third level
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", r".*"),
    ("py:.*", r"(sklearn|skorch|torch|numpy|scipy|matplotlib|dict|faiss)(\..*)?"),
]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": "reading_order.ReadingOrder",
    "image_scrapers": ("pictures.scrape",),
    "backreferences_dir": "gen_modules/backreferences",
    "doc_module": ("cca_estimators",),
    "abort_on_example_error": True,
    "plot_gallery": "True",
    "show_memory": False,
    "write_computation_times": False,  # a page that loads scripts from elsewhere
    "min_reported_time": 1,
    "remove_config_comments": True,
    "show_signature": False,
    "thumbnail_size": (400, 300),
    "image_srcset": ["2x"],
    "matplotlib_animations": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"cca_estimators {release}"
fonts = Path(ziamath.__file__).parent / "fonts"  # STIX Two Math, which few systems have
html_static_path = ["_static", str(fonts)]
html_favicon = "_static/favicon.svg"
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sourcelink = False
# pages of their own need no list of sections; examples get its width, and that of their contents
no_sections = (
    "install",
    "getting_started",
    "own_data",
    "promises",
    "benchmarks/**",
    "faq",
    "citing",
    "extending",
    "architecture",
)
no_sections += ("contributing", "from_0_1_to_0_2", "changelog")
html_sidebars = {page: [] for page in no_sections}
html_theme_options = {
    "logo": {"text": "cca_estimators"},
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 5,
    "secondary_sidebar_items": {
        page: ["page-toc"] for page in (*no_sections, "api/**", "user_guide/**")
    },
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
