"""What templates read, checked without running them: the name exists, is available here, and is over by then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automata.flow.findings import Findings, child
from automata.flow.gaps import warn_of_gaps
from automata.flow.lexing import has_template
from automata.flow.outline import Node, Order, Outline
from automata.flow.steptypes import STEP_TYPES, kind_of
from automata.flow.template import Reference, TemplateError, compile_condition, compile_foreach, compile_template

RUN_FIELDS = ("id", "flow", "version", "attempt", "trigger", "scheduled_for", "created_at")
RESPONSE_FIELDS = (*(STEP_TYPES["http"].outputs or ()), "status")
WEBHOOK_FIELDS = ("body", "headers", "query", "delivery", "received_at")
STEP_FIELDS = ("outputs", "status")

_ALWAYS = frozenset({"inputs", "steps", "run", "vars"})
_ELSEWHERE = {
    "inputs": "`inputs` is not available where inputs are made",
    "steps": "`steps` is not available before the run begins",
    "run": "`run` is not available before the run begins",
    "secrets": "`secrets` is available only in the `config` of an `http` step",
    "response": "`response` is available only in the `outputs` of an `http` step",
    "result": "`result` is available only in the `outputs` of a step that is not `http`",
    "error": "`error` is available only in `on_failure`",
    "failed_step": "`failed_step` is available only in `on_failure`",
    "webhook": "`webhook` is available only in the `inputs` of a webhook",
    "item": "`item` is available only in a step with `foreach`",
    "index": "`index` is available only in a step with `foreach`",
}


@dataclass(frozen=True, slots=True)
class _TemplateSite:
    """Where a template stands: its step (None in the flow's own outputs) and the further names it may use."""

    node: Node | None
    roots: frozenset[str]


class References:
    """Checks what the templates of a flow read: names, steps upstream, outputs, inputs."""

    def __init__(self, spec: Mapping[str, Any], outline: Outline, order: Order, findings: Findings) -> None:
        self.spec = spec
        self.outline = outline
        self.order = order
        self.findings = findings
        inputs = spec.get("inputs", {})
        self.inputs = list(inputs) if isinstance(inputs, dict) else None

    def check(self) -> None:
        """Look at every template; adds to `findings`."""
        for node in self.outline.nodes:
            self._check_step(node)
        self._check_tree(self.spec.get("outputs"), "/outputs", _TemplateSite(None, _ALWAYS))
        for references, pointer in self._compiled(self.spec.get("outputs"), "/outputs"):
            warn_of_gaps(references, pointer, self.outline, self.findings)
        concurrency = self.spec.get("concurrency")
        key = concurrency.get("key") if isinstance(concurrency, dict) else None
        self._check_tree(key, "/concurrency/key", _TemplateSite(None, frozenset({"inputs", "vars"})))
        webhooks = self.spec.get("webhooks")
        for index, webhook in enumerate(webhooks if isinstance(webhooks, list) else ()):
            if isinstance(webhook, dict):
                place = _TemplateSite(None, frozenset({"webhook", "vars"}))
                self._check_tree(webhook.get("inputs"), f"/webhooks/{index}/inputs", place)

    def _check_step(self, node: Node) -> None:
        roots = _ALWAYS | ({"error", "failed_step"} if node.failure else set())
        row = STEP_TYPES.get(node.type)
        secrets = {"secrets"} if row is not None and row.reads_secrets else set()
        outcome = "result" if row is None else row.scope
        if "foreach" in node.spec:
            self._check_bare(node, "foreach", _TemplateSite(node, roots))
            roots = roots | {"item", "index"}
        self._check_bare(node, "condition", _TemplateSite(node, roots))
        self._check_tree(node.spec.get("config"), f"{node.pointer}/config", _TemplateSite(node, roots | secrets))
        self._check_tree(node.spec.get("outputs"), f"{node.pointer}/outputs", _TemplateSite(node, roots | {outcome}))

    def _check_bare(self, node: Node, key: str, place: _TemplateSite) -> None:
        """A template that may be written as an expression without its braces."""
        text, pointer = node.spec.get(key), f"{node.pointer}/{key}"
        if not isinstance(text, str):
            self._check_tree(text, pointer, place)
            return
        # A bare expression is wrapped in braces before it is compiled.
        shift = 0 if has_template(text) else len("{{ ")
        try:
            references = (compile_foreach if key == "foreach" else compile_condition)(text).references
        except TemplateError as error:
            self._broken(error, pointer)
            return
        for reference in references:
            self._check_reference(reference, pointer, place, shift)

    def _check_tree(self, tree: Any, pointer: str, place: _TemplateSite) -> None:
        for references, where in self._compiled(tree, pointer):
            for reference in references:
                self._check_reference(reference, where, place, 0)

    def _compiled(self, tree: Any, pointer: str) -> Iterator[tuple[Sequence[Reference], str]]:
        """What each template of a tree reads, with its pointer."""
        for text, where in _texts(tree, pointer):
            try:
                yield compile_template(text).references, where
            except TemplateError as error:
                self._broken(error, where)

    def _broken(self, error: TemplateError, pointer: str) -> None:
        self._add(
            error.code, _as_clause(error.message), pointer, error.position or 0, _as_clause(error.hint or "") or None
        )

    def _check_reference(self, reference: Reference, pointer: str, place: _TemplateSite, shift: int) -> None:
        root, offset = reference.root, reference.offset - shift
        if root not in place.roots:
            hint = next((f"use `{name}`" for name in ("response", "result") if name in place.roots), None)
            self._add("AF108", _ELSEWHERE[root], pointer, offset, hint if root in ("response", "result") else None)
        elif root == "inputs":
            self._check_member(reference.path, self.inputs, "AF107", "the flow declares no input", pointer, offset)
        elif root == "run":
            self._check_member(reference.path, RUN_FIELDS, "AF111", "`run` has no field", pointer, offset)
        elif root == "webhook":
            self._check_webhook(reference.path, pointer, offset)
        elif root == "steps":
            self._check_step_read(reference.path, pointer, offset, place)
        elif root in ("response", "result") and place.node:
            self._check_own(root, reference.path, place.node, pointer, offset)

    def _check_member(
        self, path: tuple[str, ...], names: Any, code: str, message: str, pointer: str, offset: int
    ) -> None:
        if path and names is not None and path[0] not in names:
            self._add(code, f"{message} `{path[0]}`", pointer, offset, self.findings.nearest.hint(path[0], names))

    def _check_webhook(self, path: tuple[str, ...], pointer: str, offset: int) -> None:
        self._check_member(path, WEBHOOK_FIELDS, "AF111", "`webhook` has no field", pointer, offset)
        if path[:1] == ("headers",) and len(path) > 1 and path[1] != path[1].lower():
            hint = f"write `webhook.headers['{path[1].lower()}']`"
            self._add("AF111", "the names of `webhook.headers` are in lower case", pointer, offset, hint)

    def _check_step_read(self, path: tuple[str, ...], pointer: str, offset: int, place: _TemplateSite) -> None:
        node = self.outline.find(path[0])
        if node is None:
            names = [name for name in self.outline.names if ("." in name) == ("." in path[0])]
            hint = self.findings.nearest.hint(path[0], names)
            self._add("AF104", f"there is no step `{path[0]}`", pointer, offset, hint)
            return
        self._check_upstream(node, place.node, pointer, offset)
        if len(path) > 1 and path[1] not in STEP_FIELDS:
            hint = self.findings.nearest.hint(path[1], STEP_FIELDS)
            if hint is None and path[1] in (self.outline.outputs(node) or ()):
                hint = f"write `steps.{path[0]}.outputs.{path[1]}`"
            self._add("AF111", f"a step has `outputs` and `status`, not `{path[1]}`", pointer, offset, hint)
        elif len(path) > 2 and path[1] == "outputs":
            self._check_outputs(node, path[2:], pointer, offset)

    def _check_upstream(self, node: Node, reader: Node | None, pointer: str, offset: int) -> None:
        if node.failure and (reader is None or not reader.failure):
            message = f"`{node.short}` runs in `on_failure`, after every other step"
            self._add("AF105", message, pointer, offset)
        elif reader is None or (reader.failure and not node.failure):
            return
        elif node is reader:
            self._add("AF105", f"the step `{node.short}` reads itself", pointer, offset)
        elif node.index < reader.index < node.end:
            self._add("AF105", f"`{node.short}` is over only after the steps inside it", pointer, offset)
        elif not self.order.is_upstream(node, reader):
            later = self.order.is_upstream(reader, node) or reader.index < node.index < reader.end
            message = f"the step `{node.short}` is not upstream of `{reader.short}`"
            hint = f"it starts after `{reader.short}`" if later else f"add `{node.short}` to `depends_on`"
            self._add("AF105", message, pointer, offset, hint)

    def _check_outputs(self, node: Node, path: tuple[str, ...], pointer: str, offset: int) -> None:
        if "foreach" in node.spec:
            if not path[0].isdigit():
                each = f"write `steps.{node.short}.outputs | map(attribute='{path[0]}')`"
                message = f"the outputs of `{node.short}` are a list, one entry for each item"
                self._add("AF106", message, pointer, offset, each)
                return
            if not (path := path[1:]):
                return
        names = self.outline.outputs(node)
        if names is None:
            return
        if path[0] not in names:
            hint = self.findings.nearest.hint(path[0], names)
            self._add("AF106", f"the step `{node.short}` has no output `{path[0]}`", pointer, offset, hint)
        elif path[0] == "body" and node.spec.get("outputs") is None and _reads_no_body(node):
            self._add("AF106", f"the step `{node.short}` reads no body", pointer, offset, "remove `response: none`")
        elif kind_of(node.type) == "group" and node.spec.get("outputs") is None:
            self._check_branch(node, path, pointer, offset)

    def _check_branch(self, node: Node, path: tuple[str, ...], pointer: str, offset: int) -> None:
        """`outputs.<branch>.<step>.<output>`: what a `parallel` gives when it declares no outputs."""
        members = node.branches[path[0]]
        if len(path) < 2:
            return
        if path[1] not in members:
            hint = self.findings.nearest.hint(path[1], members)
            message = f"the branch `{path[0]}` of `{node.short}` has no step `{path[1]}`"
            self._add("AF106", message, pointer, offset, hint)
        elif len(path) > 2:
            self._check_outputs(self.outline.nodes[members[path[1]]], path[2:], pointer, offset)

    def _check_own(self, root: str, path: tuple[str, ...], node: Node, pointer: str, offset: int) -> None:
        """`response` and `result` are what the step would give if it declared no outputs."""
        bare = self._without_outputs(node)
        if root == "response" and path[:1] == ("body",) and _reads_no_body(node):
            self._add("AF111", "the step does not read its answer's body", pointer, offset, "remove `response: none`")
        elif root == "response":
            self._check_member(path, RESPONSE_FIELDS, "AF111", "`response` has no field", pointer, offset)
        elif path and self.outline.outputs(bare) is not None:
            self._check_outputs(bare, path, pointer, offset)

    @staticmethod
    def _without_outputs(node: Node) -> Node:
        spec = {key: value for key, value in node.spec.items() if key not in ("outputs", "foreach")}
        return Node(node.index, node.short, node.full, spec, node.pointer, branches=node.branches)

    def _add(self, code: str, message: str, pointer: str, offset: int, hint: str | None = None) -> None:
        self.findings.add(code, message, pointer, hint, offset=max(offset, 0))


def _reads_no_body(node: Node) -> bool:
    config = node.spec.get("config")
    return node.type == "http" and isinstance(config, dict) and config.get("response") == "none"


def _texts(tree: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Every template of a tree with its pointer."""
    if isinstance(tree, str):
        if has_template(tree):
            yield tree, pointer
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from _texts(value, child(pointer, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _texts(value, f"{pointer}/{index}")


def _as_clause(sentence: str) -> str:
    """Findings read on after a code: no capital of a plain word, no full stop."""
    text = sentence.removesuffix(".")
    return text[:1].lower() + text[1:] if text[:2].istitle() or text.startswith("A ") else text
