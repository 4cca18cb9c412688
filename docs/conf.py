"""Sphinx configuration. ``make docs`` builds the site and treats every warning as an error."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from sphinx.util.logging import getLogger

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402  (docs/generate.py, beside this file)

project = "rlscale"
author = copyright = "the rlscale authors"
release = version = installed_version("rlscale")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["generated"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

# The notebooks run whenever the site is built; a cell that fails is an error, as any warning is.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
os.environ["TTY_COMPATIBLE"] = "0"  # commands in cells print no bars
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # of their commands
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])

html_theme = "furo"
html_title = "rlscale"

nitpicky = False
suppress_warnings = ["config.cache"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures stay short; the docstrings give types, shapes and units
autodoc_class_signature = "separated"
napoleon_use_ivar = True


def setup(app: Any) -> None:
    """The reference pages are generated from the code before Sphinx reads the sources."""
    app.connect("builder-inited", lambda _: generate.write_all(HERE / "generated"))
    app.connect("missing-reference", warn_of_own_name)


def warn_of_own_name(_app: Any, _env: Any, node: Any, _content: Any) -> None:
    """A page that names something of rlscale which no page documents would show text without a link."""
    generated = node.get("refdoc", "").startswith("reference/")  # types in signatures may lack an entry
    if node.get("reftarget", "").startswith("rlscale.") and not generated:
        getLogger(__name__).warning("no page documents %s", node["reftarget"], location=node)
