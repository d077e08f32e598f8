"""What is wrong between the flows of one repository: names, renames and calls that do not fit together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from automata.errors import Diagnostic
from automata.flow.subflows import circles


@dataclass(frozen=True, slots=True)
class RepositoryFlow:
    """One flow of the repository; `content_hash` covers its spec and the variables that it reads."""

    name: str
    path: str
    content_hash: str
    renamed_from: str | None = None
    places: Mapping[str, tuple[int, int]] = field(
        default_factory=dict, compare=False
    )  # of /name, /renamed_from and the calls
    calls: tuple[tuple[str, str], ...] = field(default=(), compare=False)  # (flow, pointer) of its `flow` steps


def cross_check(flows_in_order: Sequence[RepositoryFlow]) -> list[Diagnostic]:
    """What is wrong between files, in the words of `flow.check.check_together`; AF305 for two heirs of one flow."""
    first: dict[str, RepositoryFlow] = {}
    heirs: dict[str, RepositoryFlow] = {}
    found = []
    for flow in flows_in_order:
        other = first.setdefault(flow.name, flow)
        if other is not flow:
            found.append(
                _finding("AF114", flow, "/name", f"`{flow.name}` is already the name of the flow in {other.path}")
            )
    for flow in flows_in_order:
        old = flow.renamed_from
        if old is not None and old in first:
            found.append(
                _finding("AF115", flow, "/renamed_from", f"`{old}` is still the name of the flow in {first[old].path}")
            )
        elif old is not None and (heir := heirs.setdefault(old, flow)) is not flow:
            found.append(_finding("AF305", flow, "/renamed_from", f"{heir.path} is renamed from `{old}` already"))
    return found + list(_wrong_calls(first))


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
