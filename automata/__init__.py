"""Automata: flows live in Git, are proven before the merge, and run durably on PostgreSQL."""

__version__ = "0.1.0"
DISTRIBUTION = "automata-flows"  # what pip installs; `automata` on the public index is somebody else's
