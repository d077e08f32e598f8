"""How `make docs` makes a site of these pages: Sphinx reads the Markdown (MyST), Furo draws it."""

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "Automata"
html_title = "Automata"
html_theme = "furo"
extensions = ["myst_parser"]
# README.md is the first page where the repository is read; on the site index.md includes it and adds the navigation.
exclude_patterns = ["README.md"]
myst_heading_anchors = 3
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_last_updated_fmt = None
html_use_index = False
highlight_language = "text"
# A listing is shown as the page has it: "..." for what is left out is no mistake of the reader's.
suppress_warnings = ["misc.highlighting_failure"]


def setup(app: Sphinx) -> None:
    """Shows the drawings of states as their text: Mermaid's script would be 3 MB for two of them, or a foreign host."""
    app.add_lexer("mermaid", TextLexer)
