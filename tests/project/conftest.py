"""Repositories with flows in them."""

from tests.repositories import flow, flows, make_repo, repo

__all__ = ["flow", "flows", "make_repo", "repo"]
