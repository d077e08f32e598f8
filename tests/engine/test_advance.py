"""The engine driven as the orchestrator drives it: from stored state at every point, in any order of deliveries."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from automata.engine.advance import UNLOADED, RunResult, RunView, StepState, advance
from automata.engine.states import TASK_FINAL, TASK_TRANSITIONS, RunStatus, TaskStatus
from automata.flow.compile import compile_flow
from automata.flow.model import Flow
from automata.flow.plan import ExecutionPlan
from automata.steps.registry import instant_rules
from tests.amounts import times

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
RULES = instant_rules()
SUCCEEDED, FAILED, SKIPPED, CANCELLED = (
    TaskStatus.SUCCEEDED,
    TaskStatus.FAILED,
    TaskStatus.SKIPPED,
    TaskStatus.CANCELLED,
)


@dataclass
class World:
    """The store and the workers, as simple as can be: final rows, queue rows, and a result."""

    plan: ExecutionPlan
    rows: dict[str, tuple[TaskStatus, Any, Any]] = field(default_factory=dict)
    queue: dict[str, str] = field(default_factory=dict)  # step -> queued | running | timer
    result: RunResult | None = None
    began: list[str] = field(default_factory=list)

    def turn(self, fired: frozenset[str] = frozenset(), cancelled: bool = False) -> None:
        """One wake-up: ask until there is an answer, then write it down. Nothing is kept in memory."""
        loaded: set[str] = set()
        for _ in range(50):
            decision = advance(self.plan, view(cancelled), self.states(loaded), fired, NOW, RULES)
            if decision.needs:
                assert not decision.needs <= loaded, "asked twice for the same outputs"
                loaded |= decision.needs
            elif decision.drop:
                for step in decision.drop:
                    assert cancelled or self.queue[step] != "running"
                    self.settle(step, CANCELLED)
            else:
                break
        else:
            raise AssertionError("the engine never stops asking")
        for item in decision.settle:
            self.settle(item.step, item.status, item.outputs, item.error)
        for step in [start.step for start in decision.start]:
            self.enqueue(step, "queued")
        for timer in decision.wait:
            self.enqueue(timer.step, "timer")
        if decision.result:
            assert not self.queue
            self.result = decision.result
        else:
            assert self.queue, "an unfinished run has nothing that could wake it"

    def states(self, loaded: set[str]) -> dict[str, StepState]:
        states = {
            step: StepState(status, NOW, outputs if step in loaded or status is not SUCCEEDED else UNLOADED, error)
            for step, (status, outputs, error) in self.rows.items()
        }
        for step, where in self.queue.items():
            states[step] = StepState(TaskStatus.QUEUED if where == "queued" else TaskStatus.RUNNING, NOW)
        return states

    def enqueue(self, step: str, where: str) -> None:
        assert step not in self.rows
        assert step not in self.queue
        self.queue[step] = where
        self.began.append(step)

    def settle(self, step: str, status: TaskStatus, outputs: Any = None, error: Any = None) -> None:
        where = self.queue.pop(step, None)
        before = {None: None, "queued": TaskStatus.QUEUED}.get(where, TaskStatus.RUNNING)
        assert step not in self.rows, f"{step} was settled twice"
        assert status in TASK_TRANSITIONS[before], f"{step}: {before} -> {status}"
        self.rows[step] = (status, outputs, error)


def view(cancelled: bool) -> RunView:
    return RunView("r", "f", 1, 1, "test", None, NOW - timedelta(seconds=1), {}, {}, cancelled)


@st.composite
def flows(draw: st.DrawFn) -> dict[str, Any]:
    names = iter(f"s{n}" for n in range(1000))

    def step(depth: int, earlier: list[str]) -> dict[str, Any]:
        kinds = ["http", "http", "transform", "delay"] + (["parallel"] if depth < 3 else [])
        made: dict[str, Any] = {"id": next(names), "type": draw(st.sampled_from(kinds))}
        if earlier:
            made["depends_on"] = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2))
        if draw(st.integers(0, 5)) == 0:
            made["condition"] = draw(st.booleans())
        made["continue_on_error"] = draw(st.integers(0, 3)) == 0
        if made["type"] == "parallel":
            made["branches"] = [
                {"id": f"b{n}", "steps": chain(depth + 1, draw(st.integers(1, 2)))}
                for n in range(draw(st.integers(1, 3)))
            ]
        elif made["type"] == "transform":
            reads = [name for name in made.get("depends_on", ()) if draw(st.booleans())]
            made["config"] = {"mappings": {name: f"{{{{ steps.{name}.status }}}}" for name in reads}}
            if draw(st.integers(0, 6)) == 0:
                made["config"] = {"mappings": {"v": "{{ inputs.nothing }}"}}  # fails when it is rendered
        else:
            made["config"] = {"duration_sec": 5} if made["type"] == "delay" else {}
        return made

    def chain(depth: int, length: int) -> list[dict[str, Any]]:
        return [step(depth, []) for _ in range(length)]

    steps: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 6))):
        steps.append(step(1, [one["id"] for one in steps]))
    flow: dict[str, Any] = {"name": "f", "steps": steps}
    if draw(st.booleans()):
        flow["on_failure"] = {"id": "handler", "type": draw(st.sampled_from(["http", "transform", "delay"]))}
        flow["on_failure"]["config"] = {
            "http": {},
            "transform": {"mappings": {"step": "{{ failed_step }}"}},
            "delay": {"duration_sec": 1},
        }[flow["on_failure"]["type"]]
    return flow


@settings(max_examples=times(150), deadline=None)
@given(spec=flows(), data=st.data())
def test_every_order_of_events_ends_in_a_lawful_state(spec: dict[str, Any], data: st.DataObject) -> None:
    plan = compile_flow(Flow.from_spec(spec))
    world = World(plan)
    cancel_at = data.draw(st.one_of(st.none(), st.integers(0, 20)))
    cancelled = False
    world.turn()
    for number in range(400):
        if world.result:
            break
        if number == cancel_at:
            cancelled = True
            world.turn(cancelled=True)
            continue
        name = data.draw(st.sampled_from(sorted(world.queue)))
        match world.queue[name]:
            case "timer":
                world.turn(frozenset({name}))
            case "queued":
                world.queue[name] = "running"
                world.turn()  # a wake-up that says nothing new
            case _:
                outcome = data.draw(st.sampled_from([SUCCEEDED, SUCCEEDED, FAILED]))
                error = {"code": "x", "message": "no", "step": name} if outcome is FAILED else None
                world.settle(name, outcome, {"ok": True} if outcome is SUCCEEDED else None, error)
                if data.draw(st.booleans()) or not world.queue:
                    world.turn()
    if not world.result:
        world.turn()
    assert world.result, "the run never ended"
    _check_lawful(plan, world, cancelled)


def _check_lawful(plan: ExecutionPlan, world: World, cancelled: bool) -> None:
    status = {name: row[0] for name, row in world.rows.items()}
    proper = [name for name in plan.steps if name != plan.on_failure]
    assert all(status.get(name) in TASK_FINAL for name in proper), "a step was left without a final state"
    fatal = [
        name
        for name in proper
        if status[name] is FAILED and plan.steps[name].parent is None and not plan.steps[name].continue_on_error
    ]
    assert world.result
    if cancelled:
        assert world.result.status is RunStatus.CANCELLED
        return
    assert world.result.status is (RunStatus.FAILED if fatal else RunStatus.SUCCEEDED), (status, plan.steps)
    assert (plan.on_failure in status) == bool(fatal and plan.on_failure), "on_failure runs after a failure, only then"
    for name in proper:
        _check_step(plan, status, name, bool(fatal))


def _check_step(plan: ExecutionPlan, status: dict[str, TaskStatus], name: str, run_failed: bool) -> None:
    step = plan.steps[name]
    if step.parent and status[step.parent] is SKIPPED:
        assert status[name] is SKIPPED, "what stands inside of a skipped group is skipped"
    if status[name] in (SUCCEEDED, FAILED):
        for dep in step.deps:
            contained = plan.steps[dep].continue_on_error or plan.steps[dep].parent != step.parent
            assert status[dep] in (SUCCEEDED, SKIPPED) or contained, f"{name} ran though {dep} is {status[dep]}"
    if status[name] is CANCELLED:
        failing = [scope for scope in _around(plan, name) if status.get(scope) in (FAILED, CANCELLED)]
        assert run_failed or failing, f"{name} was cancelled though nothing around it failed"
    if step.kind == "group" and status[name] is FAILED and status.keys() >= set(step.children):
        lost = [one for one in step.children if status[one] is FAILED and not plan.steps[one].continue_on_error]
        assert lost or all(status[one] is CANCELLED for one in step.children)


def _around(plan: ExecutionPlan, name: str) -> list[str]:
    scopes = []
    while (parent := plan.steps[name].parent) is not None:
        scopes.append(parent)
        name = parent
    return scopes


def test_a_pure_chain_is_decided_in_one_call() -> None:
    steps = [{"id": "s0", "type": "transform", "config": {"mappings": {"n": 1}}}]
    for n in range(1, 10):
        reads = f"{{{{ steps.s{n - 1}.outputs.n + 1 }}}}"
        config = {"mappings": {"n": reads}}
        steps.append({"id": f"s{n}", "type": "transform", "depends_on": [f"s{n - 1}"], "config": config})
    spec = {"name": "f", "steps": steps, "outputs": {"n": "{{ steps.s9.outputs.n }}"}}
    decision = advance(compile_flow(Flow.from_spec(spec)), view(False), {}, (), NOW, RULES)
    assert decision.result == RunResult(RunStatus.SUCCEEDED, {"n": 10})
    assert len(decision.settle) == 10


def test_asking_twice_from_the_same_state_gives_the_same_answer() -> None:
    spec = {"name": "f", "steps": [{"id": "a", "type": "http"}, {"id": "b", "type": "http", "depends_on": ["a"]}]}
    plan = compile_flow(Flow.from_spec(spec))
    states = {"a": StepState(SUCCEEDED, NOW, {})}
    assert advance(plan, view(False), states, (), NOW, RULES) == advance(plan, view(False), states, (), NOW, RULES)
    assert states == {"a": StepState(SUCCEEDED, NOW, {})}
