"""What is wrong between the flows of one repository: names, renames and calls that do not fit together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from automata.errors import Diagnostic
from automata.flow.load import ParsedFlow
from automata.flow.subflows import circles


@dataclass(frozen=True, slots=True)
class RepositoryFlow:
    """One flow of the repository; `content_hash` covers its spec and the variables that it reads.

    `places` are the (line, column) of /name, /renamed_from, the calls and the webhooks' secrets; `calls` the (flow,
    pointer) of `flow` steps; `secrets` the (secret, pointer) of its webhooks.
    """

    name: str
    path: str
    content_hash: str
    renamed_from: str | None = None
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict, compare=False)
    calls: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    secrets: tuple[tuple[str, str], ...] = field(default=(), compare=False)


def repository_flow(
    loaded: ParsedFlow, calls: Iterable[tuple[str, str]], content_hash: str = ""
) -> RepositoryFlow | None:
    """The flow of a file that was read; None when it is not valid. `calls`: those that are looked at."""
    if loaded.flow is None:
        return None
    calls = tuple(calls)
    webhooks = enumerate(loaded.flow.webhooks)
    secrets = tuple((webhook.secret, f"/webhooks/{index}/secret") for index, webhook in webhooks)
    pointers = ("/name", "/renamed_from", *(pointer for _, pointer in (*calls, *secrets)))
    return RepositoryFlow(
        name=loaded.flow.name,
        path=loaded.file,
        content_hash=content_hash,
        renamed_from=loaded.flow.renamed_from,
        places={pointer: loaded.positions.locate(pointer) for pointer in pointers},
        calls=calls,
        secrets=secrets,
    )


def cross_check(flows: Sequence[RepositoryFlow]) -> list[Diagnostic]:
    """AF114 for a name that is there twice, AF115 for a renamed flow that is still there, AF305 for one that is renamed
    twice, AF330 (a warning) for a call of a flow that is not there, AF331 for a circle of calls, AF332 (a warning) for
    a webhook's secret that is that of another flow's.
    """
    first: dict[str, RepositoryFlow] = {}
    heirs: dict[str, RepositoryFlow] = {}
    diagnostics = []
    for flow in flows:
        other = first.setdefault(flow.name, flow)
        if other is not flow:
            diagnostics.append(
                _finding("AF114", flow, "/name", f"`{flow.name}` is already the name of the flow in {other.path}")
            )
    for flow in flows:
        old = flow.renamed_from
        if old is not None and old in first:
            diagnostics.append(
                _finding("AF115", flow, "/renamed_from", f"`{old}` is still the name of the flow in {first[old].path}")
            )
        elif old is not None and (heir := heirs.setdefault(old, flow)) is not flow:
            diagnostics.append(_finding("AF305", flow, "/renamed_from", f"{heir.path} is renamed from `{old}` already"))
    return [*diagnostics, *_wrong_calls(first), *_shared_secrets(flows)]


def _shared_secrets(flows: Sequence[RepositoryFlow]) -> Iterator[Diagnostic]:
    """AF332 at each webhook but the first whose secret is that of another flow's too."""
    owners: dict[str, RepositoryFlow] = {}
    for flow in flows:
        for secret, pointer in flow.secrets:
            owner = owners.setdefault(secret, flow)
            if owner is not flow:
                message = f"a webhook of {owner.path} has the secret `{secret}` too: who may call one may call both"
                yield replace(_finding("AF332", flow, pointer, message), severity="warning")


def _wrong_calls(flows: Mapping[str, RepositoryFlow]) -> Iterator[Diagnostic]:
    """AF331 for flows that call each other in a circle; AF330, a warning, for a flow that is not in the repository."""
    for flow in flows.values():
        for name, pointer in flow.calls:
            if name not in flows:
                message = f"there is no flow `{name}` in this repository"
                yield replace(_finding("AF330", flow, pointer, message), severity="warning")
    for circle in circles({flow.name: [name for name, _ in flow.calls] for flow in flows.values()}):
        flow, following = flows[circle[0]], circle[1 % len(circle)]
        pointer = next(pointer for name, pointer in flow.calls if name == following)
        drawn = " → ".join(f"`{name}`" for name in (*circle, circle[0]))
        yield _finding("AF331", flow, pointer, f"these flows call each other without end: {drawn}")


def _finding(code: str, flow: RepositoryFlow, pointer: str, message: str) -> Diagnostic:
    line, column = flow.places.get(pointer, (0, 0))
    return Diagnostic(code, message, flow.path, line, column, pointer)
