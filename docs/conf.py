"""The site: Markdown pages and notebooks of the repository, and reference pages filled from the tables in the code.

The sources are the whole work tree, so that a link between two files is the same on a code-hosting page and here.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pybuild_magic import __version__

project = "pybuild_magic"
release = version = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "tables"]

root_doc = "docs/index"
include_patterns = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "docs/**",
    "notebooks/*.ipynb",
    "notebooks/images/*",
    "tests/conformance/README.md",
]
exclude_patterns = [".*", "**/.*", "build", "dist", "labextension", "native", "pybuild_magic", "benchmarks"]

nb_execution_mode = "off"  # the notebooks are shown as they are stored
# Results are shown in their HTML form. `%%build` cells are not Python, so they cannot always be highlighted as it.
suppress_warnings = ["mystnb.unknown_mime_type", "misc.highlighting_failure"]
smartquotes_action = "qe"  # flags keep their two dashes
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
default_role = "literal"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "pybuild_magic"
html_extra_path = ["site"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
