"""Real repositories."""

from tests.repositories import make_repo, repo

__all__ = ["make_repo", "repo"]
