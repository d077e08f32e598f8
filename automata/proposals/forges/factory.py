"""The table of forges, and which of them the settings name.

A forge is a row here and a file beside this one. By its key its settings are called `KEY_repo`, `KEY_api` and
`KEY_token` (the variables follow from those); what the token may have to do is said where its setting is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from automata.errors import Usage
from automata.git.address import parse_address
from automata.project.source import Source
from automata.proposals.forges.contract import Forge
from automata.proposals.forges.github import GitHub
from automata.settings import Settings, rules_of

# Makes a forge from the address of its API, the repository on it, and a token. Raises Usage for what cannot be.
Constructor = Callable[[str, str, str], Forge]

FORGES: Mapping[str, Constructor] = {"github": GitHub}


def setting_names(forge: str) -> tuple[str, str, str]:
    """The settings of a forge by its key: of its API's address, of the repository, and of the token."""
    return f"{forge}_api", f"{forge}_repo", f"{forge}_token"


def forge_of(settings: Settings, source: Source) -> Forge | None:
    """The forge of the settings' own repository; None where none is named, or `source` is another. Raises Usage."""
    named = any(getattr(settings, setting_names(key)[1]) for key in FORGES)
    if not settings.repo or not named or parse_address(settings.repo).url != source.name:
        return None
    for key, construct in FORGES.items():
        api, repo, token = (getattr(settings, name) for name in setting_names(key))
        if repo and not token:
            raise Usage(
                f"AUTOMATA_{key.upper()}_REPO names {repo}, and there is no AUTOMATA_{key.upper()}_TOKEN.",
                code="no_forge_token",
                hint=f"Set it: {rules_of(f'{key}_token').doc}.",
            )
        if repo:
            return construct(api, repo, token)
    return None


def page_of(settings: Settings) -> str:
    """Where the console shows a proposal, but for its number; "" where nobody said how browsers reach it."""
    return f"{settings.public_url.rstrip('/')}/proposals/" if settings.public_url else ""
