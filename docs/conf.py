"""How the documentation is built: `python -m sphinx -W -b html docs docs/_build/html`, without a network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import caminito

project = "Caminito"
author = "The Caminito developers"
copyright = f"2026, {author}"
version = release = caminito.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "plain_docstrings",
    "from_the_code",
    "examples_run",
    "sphinx_gallery.gen_gallery",
    "gallery_pictures",
]
exclude_patterns = ["_build"]

# Pages of the gallery are the scripts whose names begin with two digits; the others in examples/ are used elsewhere.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto",
    "filename_pattern": r"[/\\]\d\d_\w+\.py$",
    "ignore_pattern": r"^(?!\d\d_)",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("gallery_pictures.scrape",),
    "reset_modules": ("gallery_pictures.note",),
    "reset_modules_order": "both",
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "notebook_extensions": set(),
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 10**6,
    "inspect_global_variables": False,
}

myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 3

smartquotes = False

autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "pydata_sphinx_theme"
html_title = "Caminito"
html_static_path = ["_static"]
html_css_files = ["caminito.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": {"[!a]*": ["page-toc"], "api/*": ["page-toc"], "auto/index": ["page-toc"]},
    "show_prev_next": True,
    "show_nav_level": 1,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_sidebars = {"api/*": ["sidebar-nav-bs"], "auto/**": ["sidebar-nav-bs"], "[!a]*": []}
