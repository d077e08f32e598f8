"""What reading a flow file leaves: a flow when nothing is wrong with it, and all that is wrong with its places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from automata.errors import Diagnostic
from automata.flow.findings import Positions
from automata.flow.model import Flow


@dataclass(frozen=True, slots=True)
class ParsedFlow:
    """What a file held. `flow` is None when anything is wrong; `spec` is what could be read of it.

    `positions` leads from a JSON pointer to (line, column) and answers `locate(pointer)` for parts that are missing.
    """

    file: str
    flow: Flow | None
    spec: dict[str, Any] | None
    diagnostics: tuple[Diagnostic, ...]
    positions: Positions = field(default_factory=Positions, repr=False)

    @property
    def ok(self) -> bool:
        """Warnings do not count."""
        return self.flow is not None
