"""Forms: read within bounds, sent by our own pages only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl

from fastapi import Request

from automata.http.bodies import media_type, read_body
from automata.http.errors import BadBody, WrongMedia

FORM_MEDIA = "application/x-www-form-urlencoded"
MAX_FIELDS = 2000
KEY = re.compile(r"[0-9a-f-]{36}")  # the field `key` of a form that must do its work once, however often it is sent
TOKEN = "csrf_token"  # noqa: S105 - a field's name


class Form(Mapping[str, str]):
    """The fields of a form by name, the last of those that share one; `all` has every one of a name."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = [(name, value) for name, value in pairs if name != TOKEN]
        self._last = dict(self._pairs)

    def __getitem__(self, name: str) -> str:
        return self._last[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)

    def all(self, name: str) -> list[str]:
        """Every value of a name, in the form's order."""
        return [value for key, value in self._pairs if key == name]


async def read_form(request: Request) -> Form:
    """Raises WrongMedia, BadBody."""
    if (media := media_type(request)) != FORM_MEDIA:
        raise WrongMedia(f"A form is {FORM_MEDIA}, not {media[:60]!r}.")
    body = await read_body(request)
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:  # also UnicodeDecodeError
        raise BadBody("The form cannot be read.", hint="Reload the page and send it again.") from error
    return Form([(name, value.replace("\r\n", "\n")) for name, value in pairs])
