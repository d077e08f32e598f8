"""A state machine drives the engine and a naive model through the same events: after each, both say the same."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from automata.engine.states import TaskStatus
from automata.flow.compile import compile_flow
from automata.flow.model import Flow
from tests.amounts import times
from tests.engine.model import FINAL, Expr, Model, Node, text_of
from tests.engine.test_advance import World

KINDS = {"http": "work", "delay": "timer", "transform": "instant", "parallel": "group"}


_WORDS = {"queued": "QUEUED", "running": "RUNNING", "timer": "TIMER"}


class _Maker:
    """Draws a flow as nodes for the model and as a spec for the engine."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.nodes: dict[str, Node] = {}
        self.count = 0

    def one_in(self, chance: int) -> bool:
        return bool(self.draw(st.integers(0, chance - 1)) == 0)

    def step(self, prefix: str, parent: str | None, before: list[str], depth: int, implied: list[str]) -> Any:
        """`before`: full ids that `depends_on` may name; `implied`: the sibling that a branch puts in front."""
        self.count += 1
        short = f"s{self.count}"
        name = f"{prefix}{short}"
        types = ["http", "http", "transform", "transform", "delay"] + ["parallel"] * (depth < 3)
        kind = self.draw(st.sampled_from(types))
        named = self.draw(st.lists(st.sampled_from(before), unique=True, max_size=2)) if before else []
        node = Node(name, KINDS[kind], parent, list(dict.fromkeys([*named, *implied])))
        node.keeps_going = self.one_in(3)
        self.nodes[name] = node
        spec: dict[str, Any] = {"id": short, "type": kind, "depends_on": named, "continue_on_error": node.keeps_going}
        if self.one_in(4):
            node.condition = self.condition(node.deps)
            spec["condition"] = text_of(node.condition)
        spec |= self.body(node, kind, depth)
        return spec

    def body(self, node: Node, kind: str, depth: int) -> dict[str, Any]:
        if kind == "delay":
            return {"config": {"duration_sec": 5}}
        if kind == "transform":
            node.mappings = {"n": self.expression(node.deps)}
            return {"config": {"mappings": {key: text_of(expr) for key, expr in node.mappings.items()}}}
        if kind == "parallel":
            return {"branches": [self.branch(node, f"b{n}", depth) for n in range(self.draw(st.integers(1, 3)))]}
        return {"config": {}}

    def branch(self, group: Node, name: str, depth: int) -> dict[str, Any]:
        steps: list[Any] = []
        implied: list[str] = []
        for _ in range(self.draw(st.integers(1, 2))):
            spec = self.step(f"{group.id}.{name}.", group.id, group.deps[:1], depth + 1, implied)
            implied = [f"{group.id}.{name}.{spec['id']}"]
            group.children += implied
            steps.append(spec)
        return {"id": name, "steps": steps}

    def condition(self, deps: list[str]) -> Expr:
        choices: list[Expr] = [("const", True), ("const", False), ("const", False)]
        choices += [("is", dep, "SUCCEEDED") for dep in deps]
        return self.draw(st.sampled_from(choices))  # type: ignore[no-any-return]

    def expression(self, deps: list[str]) -> Expr:
        choices: list[Expr] = [("const", 1), ("const", 2), ("broken",)]
        for dep in deps:
            choices.append(("status", dep))
            if self.nodes[dep].kind in ("work", "instant"):
                choices += [("output", dep), ("output_or", dep, 7)]
        return self.draw(st.sampled_from(choices))  # type: ignore[no-any-return]


@st.composite
def flows(draw: Any) -> tuple[Model, dict[str, Any]]:
    maker = _Maker(draw)
    steps: list[Any] = []
    for _ in range(draw(st.integers(3, 8))):
        before = list(maker.nodes) if maker.one_in(2) else [one["id"] for one in steps]
        steps.append(maker.step("", None, before, 0, []))
    spec: dict[str, Any] = {"name": "f", "steps": steps}
    outputs = None
    if draw(st.booleans()):
        tops = [name for name, node in maker.nodes.items() if node.parent is None]
        outputs = {"x": maker.expression(tops)}
        spec["outputs"] = {key: text_of(expr) for key, expr in outputs.items()}
    handler = None
    if draw(st.booleans()):
        kind = draw(st.sampled_from(["http", "transform", "delay"]))
        handler = "handler"
        maker.nodes[handler] = Node(handler, KINDS[kind], mappings={"n": ("const", 1)})
        config = {"http": {}, "transform": {"mappings": {"n": 1}}, "delay": {"duration_sec": 1}}[kind]
        spec["on_failure"] = {"id": handler, "type": kind, "config": config}
    spec["steps"] = draw(st.permutations(steps))  # the order in the file means nothing
    return Model(maker.nodes, handler, outputs), spec


class EngineAgainstModel(RuleBasedStateMachine):
    """The store is `world`: rows and a queue. Whatever the engine knows, it was told from there, at every turn."""

    @initialize(made=flows())
    def start(self, made: tuple[Model, dict[str, Any]]) -> None:
        self.model, spec = made
        self.world = World(compile_flow(Flow.from_spec(spec)))
        self.calls = 0
        self.late: set[str] = set()  # handed in, and nobody was woken yet
        self.turn()

    def turn(self, fired: frozenset[str] = frozenset()) -> None:
        if self.world.result:
            return
        self.late.clear()
        self.model.settle()
        self.world.turn(fired)

    def some(self, where: str, number: int) -> str | None:
        found = sorted(name for name, place in self.world.queue.items() if place == where)
        return found[number % len(found)] if found else None

    def has(self, where: str) -> bool:
        return where in self.world.queue.values()

    @precondition(lambda self: self.has("queued"))
    @rule(number=st.integers(0, 50))
    def a_worker_claims(self, number: int) -> None:
        if name := self.some("queued", number):
            self.world.queue[name] = "running"
            self.model.status[name] = "RUNNING"

    @precondition(lambda self: self.has("queued"))
    @rule()
    def workers_claim_all(self) -> None:
        while name := self.some("queued", 0):
            self.world.queue[name] = "running"
            self.model.status[name] = "RUNNING"

    @precondition(lambda self: self.has("running"))
    @rule(number=st.integers(0, 50), failed=st.integers(0, 2), at_once=st.booleans())
    def a_worker_hands_in(self, number: int, failed: int, at_once: bool) -> None:
        if not (name := self.some("running", number)):
            return
        self.calls += 1
        value, broken = {"n": self.calls}, failed == 0
        error = {"code": "x", "message": "no", "step": name} if broken else None
        status = TaskStatus.FAILED if broken else TaskStatus.SUCCEEDED
        self.world.settle(name, status, None if broken else value, error)
        self.model.end(name, value, broken)
        self.late.add(name)
        if at_once:
            self.turn()

    @precondition(lambda self: self.has("running"))
    @rule(number=st.integers(0, 50))
    def an_attempt_fails_and_is_tried_again(self, number: int) -> None:
        if name := self.some("running", number):
            self.world.queue[name] = "queued"
            self.model.status[name] = "QUEUED"

    @precondition(lambda self: self.has("timer"))
    @rule(number=st.integers(0, 50))
    def a_timer_rings(self, number: int) -> None:
        if name := self.some("timer", number):
            self.late.clear()
            self.model.end(name, {"slept_ms": 0})
            self.model.settle()
            self.world.turn(frozenset({name}))

    @rule()
    def a_wake_up_comes_again(self) -> None:
        self.turn()

    @precondition(lambda self: not self.world.result)
    @rule(chance=st.integers(0, 9))
    def somebody_cancels(self, chance: int) -> None:
        if chance == 9:
            self.late.clear()
            self.model.cancel()
            self.world.turn(cancelled=True)

    @precondition(lambda self: not self.late)
    @invariant()
    def both_say_the_same(self) -> None:
        rows = {name: row[0].value for name, row in self.world.rows.items()}
        settled = {name: status for name, status in self.model.status.items() if status in FINAL}
        assert rows == settled
        assert {name: _WORDS[where] for name, where in self.world.queue.items()} == {
            name: self.model.status[name] for name in self.model.active()
        }
        for name, (status, outputs, error) in self.world.rows.items():
            node = self.model.nodes[name]
            if status is TaskStatus.SUCCEEDED and node.kind in ("work", "instant"):
                assert outputs == self.model.values[name]
            if status is TaskStatus.FAILED:
                assert error["step"] == name or (node.kind == "group" and rows[error["step"]] == "FAILED")
        assert (self.world.result is None) == (self.model.result is None)
        if self.world.result and self.model.result:
            assert (self.world.result.status.value, self.world.result.outputs) == self.model.result

    def teardown(self) -> None:
        """Let it come to its end: whatever happened, a run never hangs."""
        if not hasattr(self, "world"):
            return
        for _ in range(500):
            if self.world.result:
                break
            self.turn()
            self.a_worker_claims(0)
            self.a_worker_hands_in(0, 1, True)
            self.a_timer_rings(0)
            if not self.late:
                self.both_say_the_same()
        assert self.world.result, "the run never ended"


TestEngineAgainstModel = EngineAgainstModel.TestCase
TestEngineAgainstModel.settings = settings(
    max_examples=times(100),
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
