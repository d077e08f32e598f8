"""Automata: flows live in Git, are proven before the merge, and run durably on PostgreSQL."""

__version__ = "0.1.0"
