"""Proposals over REST: on a bare repository that others push to, as a program sees them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Busy, Conflict, Unavailable
from automata.git.branches import Person
from automata.project.source import Source
from automata.proposals import service
from automata.proposals.service import SharedFetch
from automata.sync.reconcile import sync_once
from tests.api.conftest import V1, OpenSite, Site, site_on
from tests.proposals.repo import Repo, text

ADA, BOB = "Ada <ada@example.com>", "Bob <bob@example.com>"
URL = f"{V1}/proposals"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.made(tmp_path)


@pytest.fixture
def open_site(open_site: OpenSite, repo: Repo) -> OpenSite:
    """A site that follows `repo`; its checks pass unless the test says otherwise."""

    async def opened(**settings: Any) -> Site:
        site = await open_site(**{"repo": str(repo.bare), "data_dir": str(repo.bare.parent), **settings})
        site.context.proposals.checker = passes
        return site

    return opened


async def passes(*_: Any) -> dict[str, Any]:
    return {"ok": True, "failed": [], "stages": []}


class Gate:
    """A check that waits until it is let through."""

    def __init__(self, ok: bool = True) -> None:
        self.open, self.asked, self.ok = asyncio.Event(), 0, ok

    async def __call__(self, *_: Any) -> dict[str, Any]:
        self.asked += 1
        await self.open.wait()
        return {"ok": self.ok, "failed": [] if self.ok else ["test"], "stages": []}


async def made(site: Site, branch: str = "fix", **body: Any) -> dict[str, Any]:
    files = {"flows/orders.yaml": text("orders", branch)}
    answer = await site.http.post(URL, json={"branch": branch, "files": files, "message": "Fix", "as": ADA, **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def post(site: Site, number: int, verb: str, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = await site.http.post(f"{URL}/{number}/{verb}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def approve(site: Site, number: int, status: int = 200, **body: Any) -> dict[str, Any]:
    """Of the head that there is, as Bob unless `body` says otherwise."""
    head = (await site.http.get(f"{URL}/{number}")).json()["head_sha"]
    return await post(site, number, "approve", status, **{"head": head, "as": BOB, **body})


async def settled(site: Site, number: int) -> dict[str, Any]:
    for job in list(site.context.proposals._jobs.values()):
        await asyncio.wait({job.task})
    told = (await site.http.get(f"{URL}/{number}")).json()
    assert told["checks"] != "running"
    return told


async def test_the_whole_life_over_rest_ends_in_a_version(site: Site, repo: Repo) -> None:
    await sync_once(site.db, Source(str(repo.bare)))
    one = await made(site, title="Totals")
    number = one["number"]
    assert (one["state"], one["checks"], one["title"], one["author"]) == ("DRAFT", "pending", "Totals", ADA)
    await post(site, number, "submit")
    await post(site, number, "sandbox", 202)
    checked = await settled(site, number)
    assert (checked["checks"], checked["state"], checked["check"]["passed"]) == ("passed", "PENDING_REVIEW", True)
    assert checked["sandbox_result"]["ok"] is True
    approved = await approve(site, number, comment="yes")
    assert (approved["state"], approved["approvals"]) == ("APPROVED", {"needed": 1, "by": [BOB]})
    assert approved["reviews"][0]["comment"] == "yes"
    applied = await post(site, number, "apply", **{"as": BOB})
    assert (applied["state"], applied["sync"]["status"]) == ("APPLIED", "synced")
    repo.pull()
    assert repo.git("rev-parse", "main") == applied["merge_sha"]
    flow = (await site.http.get(f"{V1}/flows/orders")).json()
    assert flow["version"] == 2
    (check,) = (await site.http.get(f"{URL}/{number}/checks")).json()["items"]
    assert check["passed"]


async def test_what_is_asked_about_one_tells_its_difference_both_sides_and_meaning(site: Site, repo: Repo) -> None:
    files = {"flows/orders.yaml": text("orders", 2), "flows/stock.yaml": None, "flows/new.yaml": text("new")}
    number = (await made(site, files=files))["number"]
    diff = (await site.http.get(f"{URL}/{number}/diff")).json()
    assert '+     "value": 2' in diff["diff"]
    pairs = {pair["path"]: pair for pair in (await site.http.get(f"{URL}/{number}/files")).json()["items"]}
    assert pairs["flows/orders.yaml"]["base"] == text("orders")
    assert pairs["flows/orders.yaml"]["head"] == text("orders", 2)
    assert pairs["flows/stock.yaml"]["head"] is None
    assert pairs["flows/new.yaml"]["base"] is None
    plan = (await site.http.get(f"{URL}/{number}/plan")).json()
    assert {flow["flow"] for flow in plan["flows"]} == {"orders", "stock", "new"}


async def test_a_flow_is_proposed_where_its_file_is_or_where_new_ones_go(site: Site, repo: Repo) -> None:
    repo.push("main", {"flows/deep/moved.yaml": text("moved")})
    spec = {
        "name": "moved",
        "steps": [{"id": "a", "type": "delay", "config": {"duration_sec": 1}}],
        "labels": {"a": "0o17"},
    }

    at = f"{V1}/flows/{{}}/proposals"
    answer = await site.http.post(at.format("moved"), json={"spec": spec, "message": "Wait", "as": ADA})
    assert answer.status_code == 201, answer.text
    one = answer.json()
    assert one["files"] == ["flows/deep/moved.yaml"]
    assert one["branch"].startswith("proposal/moved-")
    assert answer.headers["location"] == f"{URL}/{one['number']}"
    (pair,) = (await site.http.get(f"{URL}/{one['number']}/files")).json()["items"]
    same = await site.http.post(at.format("moved"), json={"content": pair["head"], "message": "x", "branch": "b"})
    assert same.status_code == 201, same.text
    new = {"content": text("fresh"), "message": "New", "branch": "fresh"}
    assert (await site.http.post(at.format("fresh"), json=new)).json()["files"] == ["flows/fresh.yaml"]
    for body, code in (
        ({"content": text("other"), "message": "x"}, "name_mismatch"),
        ({"content": "name: [", "message": "x"}, "invalid_flow"),
        ({"message": "x"}, "invalid_request"),
        ({"content": text("moved"), "path": ".github/workflows/x.yml", "message": "x"}, "outside_project"),
    ):
        answer = await site.http.post(at.format("moved"), json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


async def test_only_files_of_the_project_are_taken(open_site: OpenSite, repo: Repo) -> None:
    repo.push("main", {"p/flows/a.yaml": text("a"), "p/automata.yaml": "{}\n"})

    site = await open_site(repo_path="p")
    for path in ("flows/orders.yaml", ".github/workflows/x.yml", "p/.github/x.yml", "p", "p/../x"):
        body = {"branch": "fix", "files": {path: "x"}, "message": "x"}
        answer = await site.http.post(URL, json=body)
        assert answer.status_code in (400, 422), path
    assert (await site.http.get(URL)).json()["items"] == []
    number = (await made(site, files={"p/flows/a.yaml": text("a", 2)}))["number"]
    answer = await site.http.patch(f"{URL}/{number}", json={"files": {".github/x": "x"}})
    assert answer.json()["code"] == "outside_project"


async def test_branches_that_others_pushed_are_listed_page_by_page(site: Site, repo: Repo) -> None:
    for number in range(3):
        repo.push(f"b{number}", {"flows/orders.yaml": text("orders", number + 5)}, "main")

    first = (await site.http.get(URL, params={"limit": 2})).json()
    second = (await site.http.get(URL, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [len(first["items"]), len(second["items"]), second["next_cursor"]] == [2, 1, None]
    numbers = [one["number"] for one in (*first["items"], *second["items"])]
    assert numbers == sorted(numbers, reverse=True)
    await post(site, numbers[0], "close")
    assert len((await site.http.get(URL)).json()["items"]) == 2
    assert len((await site.http.get(URL, params={"ended": "true"})).json()["items"]) == 3
    assert (await site.http.get(URL, params={"cursor": "zzz"})).status_code == 422


async def test_a_patch_drops_what_was_said_before(site: Site) -> None:
    number = (await made(site))["number"]
    await post(site, number, "submit")
    await post(site, number, "sandbox?wait_sec=20")
    await approve(site, number)
    body = {"title": "Other", "files": {"flows/orders.yaml": text("orders", 9)}, "as": ADA}
    told = (await site.http.patch(f"{URL}/{number}", json=body)).json()
    assert (told["title"], told["checks"], told["state"]) == ("Other", "stale", "PENDING_REVIEW")
    assert told["approvals"]["by"] == []
    assert (await post(site, number, "apply", 409, **{"as": BOB}))["code"] == "not_approved"
    assert (await site.http.patch(f"{URL}/{number}", json={})).status_code == 422


async def test_the_author_cannot_approve_and_a_rejection_ends_it(site: Site) -> None:
    number = (await made(site))["number"]
    assert (await approve(site, number, 409))["code"] == "not_submitted"
    await post(site, number, "submit")
    assert (await approve(site, number, 409, **{"as": ADA}))["code"] == "own_proposal"
    assert (await post(site, number, "reject", comment="no", **{"as": BOB}))["state"] == "REJECTED"
    assert (await post(site, number, "submit", 409))["code"] == "proposal_ended"


async def test_without_a_repository_it_is_said_so(open_site: OpenSite) -> None:
    site = await open_site(repo="")
    answer = await site.http.get(URL)
    assert (answer.status_code, answer.json()["code"]) == (400, "no_repository")


async def test_who_may_do_what_and_that_a_known_person_is_nobody_else(open_site: OpenSite) -> None:
    site = await open_site(auth="on")

    async def is_now(role: str) -> None:
        site.as_(await site.token(role, name=f"Eve-{role}", mail="eve@example.com"))

    await is_now("author")
    body = {"branch": "fix", "files": {"flows/orders.yaml": text("orders", 2)}, "message": "x"}
    answer = await site.http.post(URL, json={**body, "as": ADA})
    assert (answer.status_code, answer.json()["code"]) == (403, "as_refused")
    one = (await site.http.post(URL, json=body)).json()
    assert one["author"] == "Eve-author <eve@example.com>"
    number = one["number"]
    await post(site, number, "submit")
    for verb in ("approve", "reject", "apply"):
        assert (await post(site, number, verb, 403))["code"] == "forbidden"
    await is_now("viewer")
    for verb in ("submit", "sandbox", "close"):
        await post(site, number, verb, 403)
    assert (await site.http.post(URL, json=body)).status_code == 403
    assert (await site.http.patch(f"{URL}/{number}", json={"title": "x"})).status_code == 403
    assert (await site.http.get(f"{URL}/{number}")).status_code == 200
    await is_now("reviewer")
    head = (await site.http.get(f"{URL}/{number}")).json()["head_sha"]
    assert (await post(site, number, "approve", 409, head=head))["code"] == "own_proposal"


async def test_a_check_runs_behind_the_request_once_and_few_at_a_time(site: Site) -> None:
    site.context.proposals.checker = gate = Gate()
    numbers = [(await made(site, f"b{index}"))["number"] for index in range(service.MAX_CHECKS + 1)]
    for number in (*numbers[:-1], numbers[0]):
        assert (await post(site, number, "sandbox", 202))["checks"] == "running"
    refused = await site.http.post(f"{URL}/{numbers[-1]}/sandbox")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_checks")
    assert refused.headers["retry-after"] == "10"
    await post(site, numbers[0], "submit")
    gate.open.set()
    for number in numbers[:-1]:
        assert (await settled(site, number))["checks"] == "passed"
    assert gate.asked == service.MAX_CHECKS


async def test_a_server_that_dies_while_it_checks_leaves_it_pending(
    open_site: OpenSite, database_url: str, repo: Repo
) -> None:
    follows = {"repo": str(repo.bare), "data_dir": str(repo.bare.parent)}
    async with site_on(database_url, **follows) as dies:
        dies.context.proposals.checker = Gate()
        number = (await made(dies))["number"]
        await post(dies, number, "sandbox", 202)
    site = await open_site()
    found = (await site.http.get(f"{URL}?limit=5")).json()["items"]
    assert [(one["branch"], one["checks"]) for one in found] == [("fix", "pending")]
    await post(site, found[0]["number"], "sandbox?wait_sec=20")


async def test_an_apply_that_has_to_check_first_goes_on_behind_the_request(site: Site) -> None:
    number = (await made(site))["number"]
    await post(site, number, "submit")
    await approve(site, number)
    site.context.proposals.checker = gate = Gate()
    told = await post(site, number, "apply?wait_sec=0.05", 202, **{"as": BOB})
    assert told["checks"] == "running"
    assert (await post(site, number, "apply", 409, **{"as": BOB}))["code"] == "under_way"
    gate.open.set()
    assert (await settled(site, number))["state"] == "APPLIED"


async def test_what_a_check_behind_a_request_refuses_or_breaks_off_with_is_told(site: Site) -> None:
    number = (await made(site))["number"]
    await post(site, number, "submit")
    await approve(site, number)

    async def breaks(*_: Any) -> dict[str, Any]:
        raise Unavailable("It broke off.", code="check_broken")

    site.context.proposals.checker = breaks
    await post(site, number, "sandbox", 202)
    told = await settled(site, number)
    assert (told["checks"], told["trouble"]["code"]) == ("pending", "check_broken")
    site.context.proposals.checker = gate = Gate(ok=False)
    gate.open.set()
    assert (await post(site, number, "apply", 409, **{"as": BOB}))["code"] == "check_failed"
    told = await settled(site, number)
    assert (told["checks"], told["check"]["failed"], told["trouble"]["code"]) == (
        "failed",
        ["test"],
        "check_failed",
    )


@pytest.mark.parametrize(
    "body",
    [
        {"branch": "a..b"},
        {"branch": "main"},
        {"files": {}},
        {"files": {"../x": "1"}},
        {"files": {"flows/x.yaml": "x" * 1_048_577}},
        {"files": {f"flows/{number}.yaml": "x" for number in range(101)}},
        {"message": ""},
        {"as": "<>"},
        {"nothing": 1},
    ],
    ids=lambda body: next(iter(body)) + str(len(str(body))),
)
async def test_bad_bodies_are_refused_and_make_nothing(site: Site, repo: Repo, body: dict[str, Any]) -> None:
    given = {"branch": "fix", "files": {"flows/a.yaml": "x"}, "message": "x", **body}
    answer = await site.http.post(URL, json=given)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["code"] != "internal"
    assert repo.git("ls-remote", "--heads", str(repo.bare)).count("refs/heads") == 1


async def test_one_fetch_serves_all_that_waited_for_it_and_lookers_take_what_is_fresh(repo: Repo) -> None:
    begun: list[float] = []
    go, first_begun = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def fetch(_: Source) -> None:
        begun.append(loop.time())
        loop.call_soon_threadsafe(first_begun.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result()

    fetching, source = SharedFetch(fetch), Source(str(repo.bare))
    first = asyncio.create_task(fetching(source, 0))
    await first_begun.wait()
    others = [asyncio.create_task(fetching(source, 0)) for _ in range(20)]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, *others)
    assert len(begun) == 2, "those who came while one was under way share the next"
    await fetching(source, 5)
    assert len(begun) == 2

    def fails(_: Source) -> None:
        begun.append(0)
        raise Unavailable("away")

    failing = SharedFetch(fails)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await failing(source, 5)
    assert len(begun) == 3


async def test_who_waits_in_line_is_bounded(open_site: OpenSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_WAITING", 0)

    site = await open_site()
    answer = await site.http.get(URL)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    with pytest.raises(Busy):
        async with site.context.proposals.session(Person("a", "b")):
            pass


async def test_a_flow_that_git_manages_is_written_by_proposals_alone(site: Site, repo: Repo) -> None:
    await sync_once(site.db, Source(str(repo.bare)))
    spec = {"name": "orders", "steps": [{"id": "a", "type": "delay", "config": {"duration_sec": 1}}]}
    for answer in (
        await site.http.put(f"{V1}/flows/orders", json=spec),
        await site.http.post(f"{V1}/flows", json=spec),
        await site.http.delete(f"{V1}/flows/orders"),
    ):
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "git_managed")
        assert f"POST {V1}/flows/orders/proposals" in problem["hint"]
    assert (await site.http.get(f"{V1}/flows/orders")).json()["version"] == 1


async def test_of_two_that_apply_at_once_one_is_told(site: Site) -> None:
    numbers = []
    for branch in ("a", "b"):
        number = (await made(site, branch))["number"]
        await post(site, number, "submit")
        await approve(site, number)
        numbers.append(number)
    asked = (site.http.post(f"{URL}/{number}/apply", json={"as": BOB}) for number in numbers)
    answers = await asyncio.gather(*asked)
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (loser,) = (answer.json() for answer in answers if answer.status_code == 409)
    assert loser["code"] in {"branch_moved", "conflicted"}
    assert Conflict.status == 409
