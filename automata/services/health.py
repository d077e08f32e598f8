"""How the parts of a process are; /readyz reads it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Health:
    """Name of a part -> None when it is well, else what is wrong with it."""

    parts: dict[str, str | None] = field(default_factory=dict)

    def set(self, part: str, trouble: str | None = None) -> None:
        """`trouble` None: the part is well."""
        self.parts[part] = trouble

    def snapshot(self) -> dict[str, str | None]:
        """A copy."""
        return dict(self.parts)
