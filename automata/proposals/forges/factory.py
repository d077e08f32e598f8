"""Which forge the settings name, made ready to be asked."""

from __future__ import annotations

from automata.errors import Usage
from automata.git.address import parse_address
from automata.project.source import Source
from automata.proposals.forges.contract import Forge
from automata.proposals.forges.github import GitHub
from automata.settings import Settings


def forge_of(settings: Settings, source: Source) -> Forge | None:
    """The forge of the settings' own repository; None where none is named, or `source` is another. Raises Usage."""
    if not settings.github_repo or not settings.repo:
        return None
    if parse_address(settings.repo).url != source.name:
        return None
    if not settings.github_token:
        raise Usage(
            f"AUTOMATA_GITHUB_REPO names {settings.github_repo}, and there is no AUTOMATA_GITHUB_TOKEN.",
            code="no_forge_token",
            hint="docs/github.md says which permissions it needs.",
        )
    return GitHub(settings.github_api, settings.github_repo, settings.github_token)


def page_of(settings: Settings) -> str:
    """Where the console shows a proposal, but for its number; "" where nobody said how browsers reach it."""
    return f"{settings.public_url.rstrip('/')}/proposals/" if settings.public_url else ""
