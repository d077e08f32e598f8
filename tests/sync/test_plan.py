"""The plan and its guards: pure, so every rule is one small table."""

from __future__ import annotations

import pytest

from automata.errors import Conflict, Refused
from automata.project.crosscheck import RepositoryFlow, cross_check
from automata.project.manifest import Policy
from automata.sync.plan import Current, SyncPlan, confirmation, guard, make_plan, share

SHA = "a" * 40
USUAL = Policy()


def wanted(name: str, content: str = "1", renamed_from: str | None = None) -> RepositoryFlow:
    return RepositoryFlow(
        name, f"flows/{name}.yaml", content, renamed_from, {"/name": (1, 7), "/renamed_from": (2, 15)}
    )


def stored(*flows: Current) -> dict[str, Current]:
    return {flow.name: flow for flow in flows}


def plan(desired: list[RepositoryFlow], current: dict[str, Current], policy: Policy = USUAL) -> SyncPlan:
    return make_plan(desired, current, policy)


def kinds(made: SyncPlan) -> dict[str, str]:
    return {action.name: action.kind for action in made.actions}


def test_each_flow_gets_the_one_action_that_brings_it_there() -> None:
    current = stored(
        Current("same", "1"), Current("changed", "0"), Current("back", "1", archived=True), Current("gone", "1"),
        Current("long-gone", "1", archived=True), Current("old", "1"),
    )  # fmt: skip
    made = plan(
        [wanted(name) for name in ("same", "changed", "back", "new")] + [wanted("now", renamed_from="old")], current
    )
    assert kinds(made) == {
        "same": "unchanged", "changed": "update", "back": "unarchive", "new": "create", "now": "rename", "gone": "archive",  # noqa: E501
    }  # fmt: skip
    assert [action.previous for action in made.actions if action.kind == "rename"] == ["old"]
    assert made.archives == ["gone"]
    assert made.managed == 4


def test_the_order_of_files_makes_no_difference() -> None:
    current = stored(Current("z", "1"), Current("y", "1"))
    names = ["c", "a", "b"]
    assert plan([wanted(name) for name in names], current) == plan([wanted(name) for name in reversed(names)], current)


def test_a_rename_is_done_once() -> None:
    flow = wanted("new", renamed_from="old")
    assert kinds(plan([flow], stored(Current("old", "1")))) == {"new": "rename"}
    assert kinds(plan([flow], stored(Current("new", "1")))) == {"new": "unchanged"}
    assert kinds(plan([flow], {})) == {"new": "create"}


def test_a_rename_does_not_reach_into_other_owners() -> None:
    made = plan([wanted("new", renamed_from="old")], stored(Current("old", "1", owner="the API")))
    assert kinds(made) == {"new": "create"}


def test_an_archived_flow_is_renamed_too() -> None:
    assert kinds(plan([wanted("new", renamed_from="old")], stored(Current("old", "1", archived=True)))) == {
        "new": "rename"
    }


def test_a_name_of_another_owner_is_a_conflict_that_says_whose() -> None:
    with pytest.raises(Conflict, match="a is managed by the API") as caught:
        plan([wanted("a")], stored(Current("a", "1", owner="the API")))
    assert caught.value.code == "name_taken"


def test_an_archived_flow_of_another_owner_is_taken_over() -> None:
    assert kinds(plan([wanted("a")], stored(Current("a", "1", owner="the API", archived=True)))) == {"a": "unarchive"}


def test_flows_of_other_owners_are_never_archived() -> None:
    assert plan([], stored(Current("a", "1", owner="the API"), Current("b", "1", owner="/other"))).actions == ()


def test_what_is_wrong_between_files_names_both() -> None:
    found = cross_check([wanted("a"), RepositoryFlow("a", "flows/b.yaml", "2", places={"/name": (3, 9)})])
    assert [(item.code, item.file, item.line, item.column) for item in found] == [("AF114", "flows/b.yaml", 3, 9)]
    assert "flows/a.yaml" in found[0].message
    assert [item.code for item in cross_check([wanted("a"), wanted("b", renamed_from="a")])] == ["AF115"]
    heirs = cross_check([wanted("a", renamed_from="x"), wanted("b", renamed_from="x")])
    assert [(item.code, item.file) for item in heirs] == [("AF305", "flows/b.yaml")]


def leaving(number: int, of: int) -> SyncPlan:
    current = stored(*(Current(f"f{index:03d}", "1") for index in range(of)))
    return plan([wanted(f"f{index:03d}") for index in range(number, of)], current)


def refused(
    made: SyncPlan, policy: Policy = USUAL, confirm: str | None = None, *, missing: tuple[str, ...] = ()
) -> bool:
    try:
        guard(made, policy, SHA, confirm, missing=missing, empty=len(made.archives) == made.managed)
    except Refused:
        return True
    return False


@pytest.mark.parametrize(
    ("number", "of", "blocked"),
    [(0, 20, False), (4, 20, False), (5, 20, True), (5, 25, False), (6, 100, True),
     (1, 2, False), (1, 3, False), (2, 4, True),
     (1, 1, True)],
)  # fmt: skip
def test_more_than_five_or_more_than_a_fifth_needs_a_confirmation(number: int, of: int, blocked: bool) -> None:
    assert refused(leaving(number, of)) is blocked


def test_a_limit_that_is_not_set_does_not_hold() -> None:
    assert not refused(leaving(50, 100), Policy(max_count=None, max_percent=50))
    assert refused(leaving(51, 100), Policy(max_count=None, max_percent=50))
    assert not refused(leaving(99, 100), Policy(max_count=99, max_percent=None))


def test_a_percentage_is_rounded_up_so_that_one_may_leave() -> None:
    assert [share(number, 20) for number in (1, 3, 5, 6, 10)] == [1, 1, 1, 2, 2]
    assert share(100, 0) == 0


def test_a_missing_folder_and_confirm_mode_block_even_one() -> None:
    assert refused(leaving(1, 20), missing=("flows",))
    assert refused(leaving(1, 20), Policy(prune="confirm"))
    assert not refused(leaving(0, 20), Policy(prune="confirm"), missing=("flows",))


def test_never_keeps_what_left() -> None:
    made = plan([wanted("a")], stored(Current("a", "1"), Current("b", "1")), Policy(prune="never"))
    assert kinds(made) == {"a": "unchanged", "b": "kept"}
    assert made.changes == ()


def test_a_confirmation_holds_for_one_commit_and_one_list() -> None:
    made = leaving(10, 20)
    word = confirmation(SHA, made.archives)
    assert not refused(made, confirm=word)
    assert refused(made, confirm=confirmation("b" * 40, made.archives))
    assert refused(leaving(11, 20), confirm=word)
    assert refused(leaving(1, 20), confirm="nonsense")


def test_the_refusal_lists_the_flows_and_the_word() -> None:
    made = leaving(10, 20)
    with pytest.raises(Refused, match="10 flows would be archived") as caught:
        guard(made, Policy(), SHA, None, empty=False)
    assert caught.value.exit_code == 5
    assert caught.value.hint == f"If this is meant: --confirm-deletes {confirmation(SHA, made.archives)}"
    assert caught.value.details["flows"] == made.archives
