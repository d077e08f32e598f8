"""Who has had a hand in a proposal, and whose approval counts.

Failure argument. A commit says who wrote it, and nobody checks that. So nothing is concluded from an address that is
not there, or that nobody knows. Whoever makes, changes or submits a proposal with a token is its maker by that token,
whatever the commits say. An approval needs an address that somebody vouches for: the admin who gave it to a token, the
provider, the forge. A writer whose address nobody vouches for may be any of the approvers, and so costs one approval
more: of n + k people who approved, beside k unknown writers, n at least are none of these. What Git does not tell stays
untold: a commit under the address of a known colleague is taken for theirs. Whoever submits it is kept, so that nobody
brings it in alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from automata.errors import Refused
from automata.git.branches import Person, key_of

# Addresses that this program makes up for whoever has none: of a token, of a name on this machine, of the provider's.
MADE_UP = ("@automata", "@localhost", "@oidc.invalid")


@dataclass(frozen=True, slots=True)
class Participant(Person):
    """`identity` is what let them in, as `token:UUID`; "" where they only say who they are."""

    identity: str = ""


def is_vouched(key: str) -> bool:
    """Whether an address (`Person.key`) is one that an approval may count by."""
    return not key.endswith(MADE_UP)


def known_writers(mails: Iterable[str] | None) -> frozenset[str] | None:
    """The keys of these addresses; None: nobody was ever asked who they are, so that nobody can be unknown."""
    if mails is None:
        return None
    return frozenset(key for mail in mails if is_vouched(key := key_of(f"x <{mail}>")))


def identity_of(person: Person) -> str:
    """What let somebody in; "" for a person who only says who they are."""
    return person.identity if isinstance(person, Participant) else ""


def maker_keys(person: Person) -> list[str]:
    """What of somebody is kept with a proposal that they make or submit; nothing of a mere claim."""
    identity = identity_of(person)
    return [identity, f"mail:{person.key}"] if identity else []


def maker_mails(makers: Iterable[str]) -> frozenset[str]:
    """The keys of the addresses among `makers`."""
    return frozenset(maker.removeprefix("mail:") for maker in makers if maker.startswith("mail:"))


def refuse_unvouched(person: Person) -> None:
    """Raise Refused (`no_identity`) for an approval by somebody for whom nobody vouches."""
    if not is_vouched(person.key):
        raise Refused(
            f"Nobody vouches for who {person.name} is, so nobody could tell you from the authors of the change.",
            code="no_identity",
            hint="Give the token the address that your commits bear: automata token create NAME --role reviewer --mail"
            " ada@example.com. Where no token is asked for, say who you are: --as, or `as`.",
        )
