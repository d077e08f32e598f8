"""What a change of a flow means: two specs in, classed findings out. Pure; steps are matched by their ids.

breaking   whoever calls the flow may have to change: an input that is needed now, an input or an output that is gone
security   it reaches where it did not reach before: a new host, a new secret, a secret for a host that had none
behaviour  runs will differ: steps, their order, conditions, requests, retries, schedules, webhooks
neutral    nothing that runs can tell: descriptions, labels, titles
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from automata.flow.key_order import key_orders
from automata.flow.secret_outputs import secret_names
from automata.flow.steptypes import STEP_TYPES
from automata.flow.template import TemplateError, compile_value

Class = Literal["breaking", "security", "behaviour", "neutral"]
CLASSES: tuple[Class, ...] = ("breaking", "security", "behaviour", "neutral")
Spec = Mapping[str, Any]

MAX_SHOWN = 80
_UNTOLD = ("name", "renamed_from", "$schema", "egress")
_OWN = ("inputs", "outputs", "steps", "on_failure", "schedules", "webhooks")  # told part by part
_NEUTRAL = ("description", "labels", "recording")
_NARROWED = ("type", "enum", "pattern", "schema")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?")
_AUTHORITY = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?(?:\{\{.*?\}\}|\{(?!\{)|[^/?#{])*", re.IGNORECASE | re.DOTALL)
_NOTHING: Spec = {}


@dataclass(frozen=True, slots=True)
class Change:
    """`path` names the part, as `steps.save.config.url`; `before` and `after` are None where there is none."""

    kind: Class
    path: str
    message: str
    before: Any = None
    after: Any = None


def changes(before: Spec | None, after: Spec | None, variables: tuple[Spec, Spec] = ({}, {})) -> list[Change]:
    """All that differs, the worst first. None stands for a flow that is not there; `variables` are (before, after)."""
    if before is None and after is None:
        return []
    if before is None:
        differences = [Change("behaviour", "", "the flow is new"), *_reach(_NOTHING, after or {}, ({}, variables[1]))]
    elif after is None:
        differences = [Change("breaking", "", "the flow is gone: its schedules stop, and what calls it fails")]
    else:
        differences = [*_interface(before, after), *_reach(before, after, variables), *_parts(before, after)]
        differences += [*_variables(*variables), *_unmasked(before.get("recording"), after.get("recording"))]
        differences += _egress(before.get("egress") or {}, after.get("egress") or {})
        differences += _orders(before, after, variables)
        differences += _revealed(before, after)
    return sorted(differences, key=lambda change: CLASSES.index(change.kind))


# --- the interface -------------------------------------------------------------------------------------------------


def _interface(before: Spec, after: Spec) -> Iterator[Change]:
    old, new = before.get("inputs", {}), after.get("inputs", {})
    for name in sorted(new.keys() - old.keys()):
        needed = _needed(new[name])
        message = f"the input `{name}` is new{' and required' if needed else ''}"
        yield Change("breaking" if needed else "neutral", f"inputs.{name}", message, None, new[name])
    for name in sorted(old.keys() - new.keys()):
        yield Change("breaking", f"inputs.{name}", f"the input `{name}` is gone", old[name], None)
    for name in sorted(old.keys() & new.keys()):
        yield from _input(name, old[name], new[name])
    gone, come = (before.get("outputs") or {}).keys(), (after.get("outputs") or {}).keys()
    for name in sorted(gone - come):
        yield Change("breaking", f"outputs.{name}", f"the output `{name}` is gone", before["outputs"][name], None)
    for name in sorted(come - gone):
        yield Change("neutral", f"outputs.{name}", f"the output `{name}` is new", None, after["outputs"][name])


def _input(name: str, old: Spec, new: Spec) -> Iterator[Change]:
    path = f"inputs.{name}"
    if _needed(new) and not _needed(old):
        yield Change("breaking", path, f"the input `{name}` is required now", old, new)
    for key in _NARROWED:
        if old.get(key) != new.get(key) and not _wider(key, old.get(key), new.get(key)):
            yield Change("breaking", f"{path}.{key}", f"the input `{name}` takes less", old.get(key), new.get(key))
    if old.get("default") != new.get("default"):
        message = f"the default of the input `{name}` differs"
        yield Change("behaviour", f"{path}.default", message, old.get("default"), new.get("default"))
    if bool(old.get("secret")) and not new.get("secret"):
        yield Change("security", f"{path}.secret", f"the input `{name}` is masked no more", True, False)


def _unmasked(old: Any, new: Any) -> Iterator[Change]:
    """Names that recordings masked, and that they will show."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(set(old.get("fields", ())) - set(new.get("fields", ()))):
            yield Change("security", "recording.fields", f"recordings mask `{name}` no more", name, None)


def _needed(spec: Spec) -> bool:
    return bool(spec.get("required")) and "default" not in spec


def _wider(key: str, old: Any, new: Any) -> bool:
    if key == "type":
        return (old or "string", new or "string") == ("integer", "number") or (old or "string") == (new or "string")
    if new is None:
        return True
    return key == "enum" and old is not None and all(value in new for value in old)


# --- where it reaches ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class _Host:
    """A host by its name. One that only a run can tell is told by its step, and by what it is computed from."""

    name: str
    step: str = ""
    computed: str = ""

    @property
    def path(self) -> str:
        return f"hosts.{self.name}" + (f".{self.step}" if self.step else "")

    @property
    def how(self) -> str:
        return f": {shown(self.computed)}" if self.computed else ""


_Reached = dict[_Host, tuple[set[str], set[str]]]  # the steps whose requests go there, and the secrets in these


def _reach(before: Spec, after: Spec, variables: tuple[Spec, Spec]) -> Iterator[Change]:
    old, new = _hosts(before, variables[0]), _hosts(after, variables[1])
    for host in sorted(new.keys() - old.keys()):
        steps = ", ".join(f"`{step}`" for step in sorted(new[host][0]))
        message = f"requests go to {host.name}, which is new (in {steps}){host.how}"
        yield Change("security", host.path, message, None, host.computed or host.name)
    for host in sorted(new):
        for secret in sorted(new[host][1] - old.get(host, (set(), set()))[1]):
            where = f"{host.name} (in `{host.step}`){host.how}" if host.step else host.name
            yield Change("security", host.path, f"the secret `{secret}` is sent to {where}", None, secret)
    had = {secret for _, secrets in old.values() for secret in secrets}
    sent = {secret for _, secrets in new.values() for secret in secrets}
    for secret in sorted(_secrets(after) - _secrets(before) - (sent - had)):
        yield Change("security", f"secrets.{secret}", f"the secret `{secret}` is used, and was not", None, secret)


def _hosts(spec: Spec, variables: Spec) -> _Reached:
    hosts: _Reached = {}
    for full, step in walk(spec):
        config = step.get("config")
        row = STEP_TYPES.get(str(step.get("type")))
        if row is None or row.address_key is None or not isinstance(config, Mapping):
            continue
        url = config.get(row.address_key)
        name, known = _host_name(url, variables)
        host = _Host(name) if name else _Host("a computed host", full, _computed(url, known))
        steps, secrets = hosts.setdefault(host, (set(), set()))
        steps.add(full)
        secrets |= _secrets(config)
    return hosts


def _host_name(url: Any, variables: Spec) -> tuple[str, str]:
    """(name, "") of a host that is written down, ("", what is known of it) of one that only a run can tell."""
    if not isinstance(url, str):
        return "", ""
    try:
        # With placeholders for what only a run knows; where the host is made of one, it is not a host's name any more.
        known = {"vars": variables, **{root: _Unknown() for root in ("inputs", "steps", "run", "secrets", "item")}}
        text = str(compile_value(url).render(known))
    except (TemplateError, ValueError, TypeError):
        text = url
    try:
        host = urlsplit(text.strip()).netloc.rpartition("@")[2].lower()
    except ValueError:
        return "", ""
    return (host, "") if _HOST.fullmatch(host) else ("", host)


def _computed(url: Any, known: str) -> str:
    """A URL up to its path, as it is written; with what variables make of that, which differs by environment."""
    if not isinstance(url, str):
        return str(url)
    match = _AUTHORITY.match(url.strip())
    written = match[0] if match else url
    return f"{written} ({known})" if "vars" in written and known.strip("{}.") else written


class _Unknown(dict[str, Any]):
    """Answers every path with a text that no host's name holds, and that does not end a URL's host."""

    def __missing__(self, key: str) -> Any:
        return "{}"


def _secrets(tree: Any) -> set[str]:
    if isinstance(tree, Mapping):
        return {name for key, value in tree.items() if key != "webhooks" for name in _secrets(value)}
    if isinstance(tree, list):
        return {name for value in tree for name in _secrets(value)}
    if not isinstance(tree, str) or "secrets" not in tree:
        return set()
    try:
        references = compile_value(tree).references
    except TemplateError:
        return set()
    return {reference.path[0] if reference.path else "(all)" for reference in references if reference.root == "secrets"}


# --- what runs -----------------------------------------------------------------------------------------------------


def walk(spec: Spec) -> Iterator[tuple[str, Spec]]:
    """Every step with its full id, parents first, `on_failure` last."""
    yield from _walk(spec.get("steps", ()), "")
    if failure := spec.get("on_failure"):
        yield from _walk((failure,), "")


def _walk(steps: Any, prefix: str) -> Iterator[tuple[str, Spec]]:
    for step in steps:
        full = f"{prefix}{step['id']}"
        yield full, step
        for branch in step.get("branches", ()):
            yield from _walk(branch["steps"], f"{full}.{branch['id']}.")


def _egress(before: Spec, after: Spec) -> Iterator[Change]:
    """An environment's lists: what may be called that could not be is security; an empty `allow` allows all."""
    allowed, allows = (set(lists.get("allow", ())) for lists in (before, after))
    denied, denies = (set(lists.get("deny", ())) for lists in (before, after))
    if allowed and not allows:
        yield Change(
            "security", "egress.allow", "every host may be called, where a list said which", sorted(allowed), None
        )
    elif allows and not allowed:
        yield Change(
            "behaviour", "egress.allow", f"only {', '.join(sorted(allows))} may be called", None, sorted(allows)
        )
    else:
        for rule in sorted(allows - allowed):
            yield Change("security", "egress.allow", f"`{rule}` may be called", None, rule)
        for rule in sorted(allowed - allows):
            yield Change("behaviour", "egress.allow", f"`{rule}` may be called no more", rule, None)
    for rule in sorted(denied - denies):
        yield Change("security", "egress.deny", f"`{rule}` is denied no more", rule, None)
    for rule in sorted(denies - denied):
        yield Change("behaviour", "egress.deny", f"`{rule}` is denied", None, rule)


def _parts(before: Spec, after: Spec) -> Iterator[Change]:
    yield from _steps(dict(walk(before)), dict(walk(after)))
    for key in sorted((before.keys() | after.keys()) - {*_OWN, *_UNTOLD}):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if key in _NEUTRAL:
            yield Change("neutral", key, f"`{key}` differs", old, new)
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _members(key, f"`{key}", old, new)
        else:
            yield Change("behaviour", key, f"`{key}` {shown(old)} → {shown(new)}", old, new)
    for key in ("schedules", "webhooks"):
        yield from _named(key, before.get(key, ()), after.get(key, ()))
    yield from _outputs(before.get("outputs") or {}, after.get("outputs") or {})
    if (before.get("on_failure") or {}).get("id") != (after.get("on_failure") or {}).get("id"):
        yield Change("behaviour", "on_failure", "another step handles a failure")


def _steps(old: Mapping[str, Spec], new: Mapping[str, Spec]) -> Iterator[Change]:
    for name in sorted(new.keys() - old.keys()):
        message = f"the step `{name}` is new ({new[name].get('type')})"
        yield Change("behaviour", f"steps.{name}", message, None, new[name])
    for name in sorted(old.keys() - new.keys()):
        yield Change("behaviour", f"steps.{name}", f"the step `{name}` is gone", old[name], None)
    for name in (name for name in new if name in old):
        yield from _step(name, old[name], new[name])
    if [name for name in old if name in new] != [name for name in new if name in old]:
        yield Change("neutral", "steps", "the steps are written in another order")


def _step(name: str, old: Spec, new: Spec) -> Iterator[Change]:
    for key in sorted((old.keys() | new.keys()) - {"id", "branches"}):
        if old.get(key) == new.get(key):
            continue
        path = f"steps.{name}.{key}"
        if key == "name":
            yield Change("neutral", path, f"the title of `{name}` differs", old.get(key), new.get(key))
        elif isinstance(old.get(key), Mapping) and isinstance(new.get(key), Mapping):
            yield from _members(path, f"`{name}`: `{key}", old[key], new[key])
        else:
            message = f"`{name}`: `{key}` {shown(old.get(key))} → {shown(new.get(key))}"
            yield Change("behaviour", path, message, old.get(key), new.get(key))


def _members(path: str, label: str, old: Spec, new: Spec) -> Iterator[Change]:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            message = f"{label}.{key}` {shown(old.get(key))} → {shown(new.get(key))}"
            yield Change("behaviour", f"{path}.{key}", message, old.get(key), new.get(key))


def _named(key: str, old: Any, new: Any) -> Iterator[Change]:
    noun = key.removesuffix("s")
    before, after = ({entry["name"]: entry for entry in many} for many in (old, new))
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            verb = "is new" if name not in before else "is gone" if name not in after else "differs"
            kind: Class = "security" if key == "webhooks" and name not in before else "behaviour"
            message = f"the {noun} `{name}` {verb}"
            yield Change(kind, f"{key}.{name}", message, before.get(name), after.get(name))


def _outputs(old: Spec, new: Spec) -> Iterator[Change]:
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            message = f"the output `{name}` {shown(old[name])} → {shown(new[name])}"
            yield Change("behaviour", f"outputs.{name}", message, old[name], new[name])


def _revealed(before: Spec, after: Spec) -> Iterator[Change]:
    """Outputs that were secret, and that whoever looks at a run is shown from now on."""
    old, new = ({"": spec, **dict(walk(spec))} for spec in (before, after))
    for full, part in old.items():
        now = new.get(full, {}).get("outputs")
        kept = secret_names(now)
        for name in sorted(secret_names(part.get("outputs")) - kept):
            if isinstance(now, Mapping) and name in now:
                path = f"steps.{full}.outputs.{name}" if full else f"outputs.{name}"
                yield Change("security", path, f"the output `{path}` was secret, and is shown from now on")


def _orders(before: Spec, after: Spec, variables: tuple[Spec, Spec]) -> Iterator[Change]:
    """Keys that are sent in another order, where nothing else differs: signatures over them would."""
    old, new = key_orders(before, variables[0]), key_orders(after, variables[1])
    for pointer in sorted(old.keys() | new.keys()):
        place = [{"vars": known, **spec} for spec, known in zip((before, after), variables, strict=True)]
        values = [_at(root, pointer) for root in place]
        if old.get(pointer) != new.get(pointer) and values[0] == values[1] and values[0] is not None:
            path = pointer.strip("/").replace("/", ".")
            was, becomes = (", ".join(f"`{key}`" for key in value) for value in values)
            yield Change("behaviour", path, f"the keys of `{path}` are sent in another order", was, becomes)


def _at(value: Any, pointer: str) -> Any:
    """What a pointer leads to; None for nothing."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _variables(old: Spec, new: Spec) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            message = f"the variable `{name}` {shown(old.get(name))} → {shown(new.get(name))}"
            yield Change("behaviour", f"vars.{name}", message, old.get(name), new.get(name))


def shown(value: Any) -> str:
    """A value in a sentence, cut where it is long."""
    text = "nothing" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
