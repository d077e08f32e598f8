"""Secrets in the worker: where they come from, when they are read, and the mask that no form of them passes.

A name is looked for in the environment (`AUTOMATA_SECRET_NAME`), in a mounted folder (`AUTOMATA_SECRETS_DIR`, one file
a secret, as Kubernetes and Docker mount them), in Vault (steps/vault.py), then in what installed packages add under
`automata.secrets`; the first that has it answers. It is asked for when a step is about to be run, so a secret that was
rotated is the new one for the next attempt. What was ever handed out stays masked until the process ends.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

from cachetools import FIFOCache

from automata.errors import AutomataError, Unavailable, Usage
from automata.steps.masking import Mask, masker, masker_of

__all__ = ["FOLDER", "PREFIX", "LocalSecrets", "SecretProvider", "Secrets", "load_secrets", "masker", "open_secrets"]

PREFIX = "AUTOMATA_SECRET_"
FOLDER = "AUTOMATA_SECRETS_DIR"
GROUP_NAME = "automata.secrets"
MAX_BYTES = 64 * 1024
# Values that a process masks. One that is rotated every minute fills this in days, and the oldest is forgotten then.
MAX_KNOWN = 5_000
PROVIDER_SEC = 10.0  # for one secret of one provider; Vault has a tighter limit of its own

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
log = logging.getLogger(__name__)

Seen = tuple[int, int, int]  # modified, inode, size


class SecretProvider(Protocol):
    """What a package may add under `automata.secrets`: a class that is made without arguments, or an object.

    `get` answers None for a name that the provider does not have. Unavailable means that trying again may help, any
    other AutomataError that it will not.
    """

    name: str

    async def get(self, name: str) -> str | None: ...
    async def close(self) -> None: ...


class LocalSecrets(Mapping[str, str]):
    """Name -> value from the environment and the folder; a file that changed is read again at its next use."""

    def __init__(self, values: Mapping[str, str], folder: Path | None = None) -> None:
        # An empty value is none: `X=${Y:-}` in a compose file, a file that nobody has filled yet.
        self._values = {name: value for name, value in values.items() if NAME.fullmatch(name) and value}
        self._folder = folder
        self._files: dict[str, tuple[Seen, str]] = {}

    def __getitem__(self, name: str) -> str:
        """Raises KeyError, and Unavailable for a file that is there and cannot be read."""
        if name in self._values:
            return self._values[name]
        if self._folder is None or not NAME.fullmatch(name):
            raise KeyError(name)
        return self._read(self._folder / name)

    def __iter__(self) -> Iterator[str]:
        yield from self._values
        if self._folder is not None:
            try:
                names = sorted(path.name for path in self._folder.iterdir() if path.is_file())
            except OSError as error:
                raise _unreadable(self._folder, error) from error
            yield from (
                name
                for name in names
                if NAME.fullmatch(name) and name not in self._values and self.get(name) is not None
            )

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _read(self, path: Path) -> str:
        """Links are followed: a mount of Kubernetes is links into the folder of its newest version."""
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise KeyError(path.name)
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if (known := self._files.get(path.name)) and known[0] == seen:
                return known[1]
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
            if len(raw) > MAX_BYTES:
                raise Unavailable(
                    f"{FOLDER}: {path} is larger than {MAX_BYTES} bytes.", code="secret_unreadable", hint="Cut it down."
                )
            value = raw.decode().rstrip("\n")
        except FileNotFoundError:
            raise KeyError(path.name) from None
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(path, error) from error
        if not value:
            raise KeyError(path.name)
        self._files[path.name] = (seen, value)
        return value


def load_secrets(env: Mapping[str, str]) -> LocalSecrets:
    """Those of the environment and the folder. Raises Usage for a folder that cannot be read or a file over MAX_BYTES.

    Everything is read once, so that a folder that is wrong is told at the start and all that is in it is masked.
    """
    folder = Path(env[FOLDER]) if env.get(FOLDER) else None
    values = {key.removeprefix(PREFIX): value for key, value in env.items() if key.startswith(PREFIX)}
    local = LocalSecrets(values, folder)
    try:
        dict(local)
    except Unavailable as error:
        raise Usage(error.message, hint=error.hint) from error
    return local


class Secrets:
    """All providers of a process. `mask` replaces every value that they ever gave."""

    def __init__(self, local: Mapping[str, str] | None = None, more: Sequence[SecretProvider] = ()) -> None:
        self._local = local if local is not None else {}
        self._more = tuple(more)
        self._known: FIFOCache[str, None] = FIFOCache(MAX_KNOWN)
        self._mask: Mask = masker_of(())
        self.hide(self._local.values())

    async def read(self, names: Iterable[str] | None) -> dict[str, str]:
        """The values of those of `names` that there are; None: all of the environment and the folder.

        Raises Unavailable (`secret_unavailable`) that names secret and provider, never a value.
        """
        known_names = list(self._local) if names is None else [name for name in names if NAME.fullmatch(name)]
        values = {}
        for name in known_names:
            if (value := await self._one(name)) is not None:
                values[name] = value
        self.hide(values.values())
        return values

    def mask(self, text: str) -> str:
        """The mask over all values that were read so far."""
        return self._mask(text)

    def mask_with(self, more: Iterable[str]) -> Mask:
        """A mask of these values too, which are not remembered."""
        values = [value for value in more if value not in self._known]
        return masker_of([*self._known, *values]) if values else self.mask

    def hide(self, values: Iterable[str]) -> None:
        """Mask these from now on."""
        fresh = [value for value in values if value not in self._known]
        if not fresh:
            return
        self._known.update(dict.fromkeys(fresh))
        self._mask = masker_of(self._known)

    async def close(self) -> None:
        """Close the providers."""
        for provider in self._more:
            await provider.close()

    async def _one(self, name: str) -> str | None:
        if (value := self._local.get(name)) is not None:
            return value
        for provider in self._more:
            try:
                async with asyncio.timeout(PROVIDER_SEC):
                    value = await provider.get(name)
            except TimeoutError as error:
                raise _failed(name, provider, f"no answer within {PROVIDER_SEC:g} s") from error
            except AutomataError as error:
                raise _failed(name, provider, str(error)) from error
            # A plugin may raise anything; what it says may hold anything, so only its kind is told.
            except Exception as error:
                raise _failed(name, provider, f"it raised {type(error).__name__}") from error
            if value is not None and value != "":
                if not isinstance(value, str) or len(value) > MAX_BYTES:
                    raise _failed(name, provider, f"what it gave is no text of at most {MAX_BYTES} characters")
                return value
        return None


def open_secrets(env: Mapping[str, str] | None = None, points: Iterable[EntryPoint] | None = None) -> Secrets:
    """What this process may read. `points` replaces the installed entry points. Raises Usage for a setting or plugin
    that is wrong: a worker without its secrets would fail every step that needs one.
    """
    from automata.steps.vault import vault_of

    env = os.environ if env is None else env
    vault = vault_of(env)
    plugins = [_load(point) for point in (entry_points(group=GROUP_NAME) if points is None else points)]
    secrets = Secrets(load_secrets(env), [*([vault] if vault else []), *plugins])
    if vault:
        vault.on_credential = lambda value: secrets.hide([value])
        secrets.hide(vault.credentials())
    return secrets


def _load(point: EntryPoint) -> SecretProvider:
    try:
        loaded = point.load()
        provider: Any = loaded() if inspect.isclass(loaded) else loaded
        problem = _problem(provider)
    except (Exception, SystemExit) as error:  # a plugin may call sys.exit or raise anything at import
        problem = type(error).__name__
    if problem is not None:
        raise Usage(
            f"The secrets provider `{point.name}` ({point.value}) cannot be used: {problem}.",
            code="provider_broken",
            hint="Mend or uninstall the package that brings it.",
        )
    made: SecretProvider = provider
    return made


def _problem(provider: Any) -> str | None:
    if not isinstance(getattr(provider, "name", None), str):
        return "it has no `name`"
    for method in ("get", "close"):
        if not inspect.iscoroutinefunction(getattr(provider, method, None)):
            return f"it has no `async def {method}`"
    return None


def _failed(name: str, provider: SecretProvider, why: str) -> Unavailable:
    return Unavailable(f"The secret {name} could not be read from {provider.name}: {why}", code="secret_unavailable")


def _unreadable(path: Path, error: Exception) -> Unavailable:
    # The text of a decoding error holds bytes of the value.
    why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
    return Unavailable(
        f"{FOLDER}: {path} cannot be read: {why}", code="secret_unreadable", hint="Mend the file or its rights."
    )
