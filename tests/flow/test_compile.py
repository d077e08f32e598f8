"""What a plan says: ids, order, what waits for what, and what each template reads."""

from __future__ import annotations

import time
from typing import Any

import pytest

from automata.engine.states import TaskStatus
from automata.errors import Invalid
from automata.flow.compile import compile_flow
from automata.flow.model import Flow
from automata.flow.plan import ExecutionPlan, group_outputs, step_context
from automata.flow.template import TemplateError


def step(id: str, *after: str, type: str = "http", **rest: Any) -> dict[str, Any]:
    return {"id": id, "type": type, **({"depends_on": list(after)} if after else {}), **rest}


def fan(id: str, branches: dict[str, list[dict[str, Any]]], *after: str, **rest: Any) -> dict[str, Any]:
    parts = [{"id": name, "steps": steps} for name, steps in branches.items()]
    return step(id, *after, type="parallel", branches=parts, **rest)


def plan(*steps: dict[str, Any], **rest: Any) -> ExecutionPlan:
    return compile_flow(Flow.from_spec({"name": "f", "steps": list(steps), **rest}))


NESTED = (
    step("before"),
    fan(
        "fan",
        {
            "left": [step("a"), step("b"), fan("inner", {"x": [step("c")], "y": [step("d"), step("e")]}), step("g")],
            "right": [step("h", "before", "b")],
        },
    ),
    step("after", "fan", type="transform", config={"mappings": {"n": "{{ .steps.fan.outputs.left.a.n }}"}}),
)


# --- structure -----------------------------------------------------------------------------------------------------


def test_the_founding_example_compiles() -> None:
    made = plan(
        step("fetch", config={"url": "https://crm.example.com"}, outputs={"orders": "{{ .response.body.data }}"}),
        step("save", "fetch", config={"method": "POST", "body": "{{ .steps.fetch.outputs.orders }}"}),
        inputs={"source_id": {"type": "string", "required": True}},
        defaults={"retry": {"max_attempts": 3}, "timeout_sec": 30},
    )
    assert list(made.steps) == ["fetch", "save"]
    assert made.roots == ("fetch",)
    assert made.steps["save"].deps == ("fetch",)
    assert made.steps["fetch"].dependents == ("save",)
    assert made.steps["save"].reads == {"fetch"}
    assert made.steps["fetch"].reads == frozenset()
    assert made.steps["fetch"].retry.max_attempts == 3
    assert made.steps["fetch"].timeout_sec == 30
    assert list(made.inputs) == ["source_id"]
    context = {"steps": {"fetch": {"outputs": {"orders": [1]}}}}
    assert made.steps["save"].config.render(context) == {"method": "POST", "body": [1]}


def test_nested_steps_have_full_ids_and_know_their_group() -> None:
    made = plan(*NESTED)
    assert made.short["c"] == "fan.left.inner.x.c"
    outer, inner = made.steps["fan"], made.steps["fan.left.inner"]
    assert outer.branches == (
        ("left", ("fan.left.a", "fan.left.b", "fan.left.inner", "fan.left.g")),
        ("right", ("fan.right.h",)),
    )
    assert outer.children == ("fan.left.a", "fan.left.b", "fan.left.inner", "fan.left.g", "fan.right.h")
    assert inner.parent == "fan"
    assert made.steps["fan.left.inner.y.e"].parent == "fan.left.inner"
    assert made.steps["fan.left.inner.y.e"].short == "e"
    assert outer.parent is None


def test_the_steps_of_a_branch_follow_each_other_and_branches_do_not() -> None:
    made = plan(*NESTED)
    deps = {id: each.deps for id, each in made.steps.items()}
    assert deps["fan.left.a"] == ()
    assert deps["fan.left.b"] == ("fan.left.a",)
    assert deps["fan.left.inner"] == ("fan.left.b",)
    assert deps["fan.left.g"] == ("fan.left.inner",)
    assert deps["fan.left.inner.x.c"] == ()
    assert deps["fan.left.inner.y.e"] == ("fan.left.inner.y.d",)
    assert deps["fan.right.h"] == ("before", "fan.left.b")
    assert deps["after"] == ("fan",)
    assert made.steps["fan.left.b"].dependents == ("fan.left.inner", "fan.right.h")
    assert made.roots == ("before", "fan")


def test_a_dependency_may_be_named_by_short_or_full_id_and_counts_once() -> None:
    made = plan(*NESTED, step("last", "fan.left.a", "a", "after"))
    assert made.steps["last"].deps == ("fan.left.a", "after")
    again = plan(fan("fan", {"one": [step("a"), step("b", "a")]}))
    assert again.steps["fan.one.b"].deps == ("fan.one.a",)


@pytest.mark.parametrize("steps", [NESTED, tuple(reversed(NESTED))])
def test_the_order_respects_every_dependency_whatever_the_order_of_the_file(steps: Any) -> None:
    made = plan(*steps)
    place = {id: index for index, id in enumerate(made.steps)}
    for id, each in made.steps.items():
        assert all(place[dep] < place[id] for dep in each.deps)
        assert each.parent is None or place[each.parent] < place[id]
    inside = [id for id in made.steps if id.startswith("fan.")]
    assert all(place[id] < place["after"] for id in inside)


def test_on_failure_is_last_and_no_root() -> None:
    made = plan(
        step("a"),
        step("b", "a"),
        on_failure=fan("alarm", {"x": [step("mail", config={"body": "{{ .steps.a.status }} {{ .error.message }}"})]}),
    )
    assert made.on_failure == "alarm"
    assert list(made.steps) == ["a", "b", "alarm", "alarm.x.mail"]
    assert made.roots == ("a",)
    assert made.steps["alarm.x.mail"].reads == {"a"}


def test_kinds_follow_types() -> None:
    made = plan(
        step("a"),
        step("b", type="transform"),
        step("c", type="delay"),
        step("d", type="acme.mail"),
        fan("e", {"x": [step("f")]}),
    )
    assert [each.kind for each in made.steps.values()] == ["work", "instant", "timer", "work", "group", "work"]


# --- contradictions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        ([step("a", "a")], "a -> a"),
        ([step("a", "c"), step("b", "a"), step("c", "b")], "a -> c -> b -> a"),
        ([fan("g", {"x": [step("a", "b")]}), step("b", "g")], "g"),
        ([fan("g", {"x": [step("a", "g")]})], "g"),
        ([fan("g", {"x": [step("a", "b"), step("b")]})], "g.x.a"),
        ([fan("g", {"x": [step("a")]}, "b"), step("b", "a")], "b"),
        ([fan("g", {"x": []}), step("b", "g")], "b"),
    ],
)
def test_a_cycle_is_refused_with_its_path(steps: Any, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        plan(*steps)
    assert caught.value.code == "cycle"
    assert path in caught.value.message


@pytest.mark.parametrize(
    "rest",
    [
        {"steps": [step("a", "nowhere")]},
        {"steps": [step("a", config={"url": "{{ .steps.nowhere.outputs.x }}"})]},
        {"steps": [step("a", condition="steps.nowhere.status == 'x'")]},
        {"steps": [step("a")], "outputs": {"x": "{{ .steps.nowhere.outputs.x }}"}},
        {"steps": [step("a", "alarm")], "on_failure": step("alarm")},
    ],
)
def test_an_unknown_step_is_refused(rest: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        compile_flow(Flow.from_spec({"name": "f", **rest}))
    assert caught.value.code == "unknown_step"


@pytest.mark.parametrize(
    ("rest", "pointer"),
    [
        ({"config": {"headers": {"X/Y": "{{ foo }}"}}}, "/a/config/headers/X~1Y"),
        ({"outputs": {"x": "{{ response.body | uper }}"}}, "/a/outputs/x"),
        ({"condition": "inputs.x >"}, "/a/condition"),
    ],
)
def test_a_template_that_does_not_compile_says_where_it_is(rest: dict[str, Any], pointer: str) -> None:
    with pytest.raises(TemplateError) as caught:
        plan(step("a", **rest))
    assert caught.value.pointer == pointer


# --- reads ---------------------------------------------------------------------------------------------------------


def test_reads_come_from_config_and_outputs_and_conditions_apart() -> None:
    made = plan(
        step("a"),
        step("b"),
        step("c"),
        step(
            "d",
            *("a", "b", "c"),
            config={"body": ["{{ .steps.a.outputs.x }}", "{{ steps['b'].status }}"]},
            outputs={"x": "{{ response.body }}{{ .steps.a.outputs.y | default('') }}"},
            condition="{{ .steps.c.outputs.ok }}",
        ),
        outputs={"x": "{{ .steps.d.outputs.x }}"},
    )
    assert made.steps["d"].reads == {"a", "b"}
    assert made.steps["d"].condition_reads == {"c"}
    assert made.output_reads == {"d"}
    assert made.outputs is not None
    assert made.outputs.render({"steps": {"d": {"outputs": {"x": 1}}}}) == {"x": 1}


def test_reading_a_group_reads_all_that_is_inside_it() -> None:
    made = plan(*NESTED)
    inside = {id for id in made.steps if id.startswith("fan")}
    assert made.steps["after"].reads == inside
    assert plan(*NESTED[:2], step("s", "fan", config={"x": "{{ .steps.fan.status }}"})).steps["s"].reads == {"fan"}


def test_a_group_with_declared_outputs_hides_its_inside_from_readers_but_reads_it_itself() -> None:
    group = fan("fan", {"x": [step("a")]}, outputs={"n": "{{ .result.x.a.n }}"})
    made = plan(group, step("b", "fan", config={"n": "{{ .steps.fan.outputs.n }}"}))
    assert made.steps["fan"].reads == {"fan.x.a"}
    assert made.steps["b"].reads == {"fan"}


def test_a_nested_step_reads_by_short_and_full_id() -> None:
    made = plan(*NESTED, step("s", "fan", config=["{{ .steps.c.outputs }}", "{{ steps['fan.left.a'].outputs }}"]))
    assert made.steps["s"].reads == {"fan.left.inner.x.c", "fan.left.a"}


def test_secrets_are_noticed() -> None:
    made = plan(
        step("a", config={"auth": {"bearer": "{{ .secrets.TOKEN }}"}}),
        step("b", config={"auth": {"bearer": "secrets.TOKEN"}}),
    )
    assert made.steps["a"].reads_secrets
    assert not made.steps["b"].reads_secrets


@pytest.mark.parametrize(("condition", "holds"), [(True, True), (False, False), ("inputs.n > 1", True), (None, None)])
def test_a_condition_is_compiled_when_there_is_one(condition: Any, holds: bool | None) -> None:
    compiled = plan(step("a", condition=condition)).steps["a"].condition
    assert (None if compiled is None else compiled.render({"inputs": {"n": 2}})) is holds


# --- the context of templates --------------------------------------------------------------------------------------


STATES: dict[str, tuple[str, Any]] = {
    "before": ("SUCCEEDED", {"n": 0}),
    "fan": ("SUCCEEDED", None),
    "fan.left.a": ("SUCCEEDED", {"n": 1}),
    "fan.left.b": ("SKIPPED", None),
    "fan.left.inner": ("SUCCEEDED", None),
    "fan.left.inner.x.c": ("SUCCEEDED", {"n": 3}),
    "fan.left.inner.y.d": ("FAILED", None),
    "fan.left.inner.y.e": ("SUCCEEDED", {"n": 5}),
    "fan.left.g": ("SUCCEEDED", {}),
    "fan.right.h": ("CANCELLED", None),
}
DERIVED = {"left": {"a": {"n": 1}, "inner": {"x": {"c": {"n": 3}}, "y": {"e": {"n": 5}}}, "g": {}}, "right": {}}


def test_the_context_has_short_and_full_ids_and_outputs_only_of_what_succeeded() -> None:
    made = plan(*NESTED)
    context = step_context(made, ["before", "fan.left.a", "fan.left.b", "fan.left.inner.y.d", "after"], STATES)
    assert context["before"] == {"status": "SUCCEEDED", "outputs": {"n": 0}}
    assert context["a"] is context["fan.left.a"]
    assert context["b"] == {"status": "SKIPPED"}
    assert context["d"] == {"status": "FAILED"}
    assert "after" not in context


def test_the_outputs_of_a_group_are_those_of_its_steps() -> None:
    made = plan(*NESTED)
    context = step_context(made, made.steps["after"].reads, STATES)
    assert context["fan"]["outputs"] == DERIVED == group_outputs(made, "fan", STATES)
    assert context["inner"]["outputs"] == DERIVED["left"]["inner"]
    assert made.steps["after"].config.render({"steps": context}) == {"mappings": {"n": 1}}


def test_a_group_that_failed_or_declares_outputs_is_not_derived() -> None:
    made = plan(*NESTED)
    assert "outputs" not in step_context(made, ["fan"], STATES | {"fan": ("FAILED", None)})["fan"]
    declared = plan(fan("fan", {"x": [step("a")]}, outputs={"n": "1"}))
    assert step_context(declared, ["fan"], {"fan": ("SUCCEEDED", {"n": "1"})})["fan"]["outputs"] == {"n": "1"}


def test_a_status_in_the_context_is_plain_text() -> None:
    context = step_context(plan(step("a")), ["a"], {"a": (TaskStatus.SUCCEEDED, {})})
    assert type(context["a"]["status"]) is str
    assert context["a"] == {"status": "SUCCEEDED", "outputs": {}}


# --- size ----------------------------------------------------------------------------------------------------------


def _chain(count: int) -> list[dict[str, Any]]:
    first = step("s0")
    rest = [
        step(f"s{i}", f"s{i - 1}", config={"body": f"{{{{ .steps.s{i - 1}.outputs.x | default({i}) }}}}"})
        for i in range(1, count)
    ]
    return [first, *rest]


def test_compiling_takes_time_in_proportion_to_the_steps() -> None:
    def seconds(count: int) -> float:
        flow = Flow.from_spec({"name": "f", "steps": _chain(count)[::-1]})
        began = time.process_time()
        made = compile_flow(flow)
        assert list(made.steps) == [f"s{i}" for i in range(count)]
        return time.process_time() - began

    seconds(100)  # what is cached once is not ours to count
    few, many = (min(seconds(count) for _ in range(3)) for count in (250, 1000))
    assert many < 10 * few  # 4 in proportion, 16 by the square


def test_a_wide_parallel_compiles_in_linear_time() -> None:
    wide = fan("fan", {f"b{i}": [step(f"s{i}", config={"url": "/{{ .inputs.id }}"})] for i in range(10_000)})
    end = step("end", "fan", type="transform", config={"mappings": {"all": "{{ .steps.fan.outputs }}"}})
    begin = time.process_time()
    made = plan(end, wide)
    assert time.process_time() - begin < 10
    assert len(made.steps["end"].reads) == 10_001
    assert list(made.steps)[-1] == "end"
