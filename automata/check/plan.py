"""`automata plan`: what a change means, beside another commit or beside what runs now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from automata.check.contents import read_flows
from automata.check.production_state import ProductionApi, read_production_state
from automata.project.local import LocalProject
from automata.project.policy_changes import policy_changes
from automata.report.plan import plan_report


def plan_against_commit(project: LocalProject, base: str, head: str | None) -> dict[str, Any]:
    """The report of what `head` (None: the files on disk) means to `base`. Raises Missing, Invalid."""
    after = project.at(head) if head else project.now()
    flows = read_flows(after, project.environment)
    before = project.at(base)
    base_flows = read_flows(before, project.environment)
    policy = [(item.file, item.change) for item in policy_changes(before, after, project.environment)]
    return plan_report(base_flows, flows, before.commit, after.commit, datetime.now(UTC), policy=policy)


def plan_against_production(
    project: LocalProject, api: ProductionApi, head: str | None, source: str | None = None
) -> dict[str, Any]:
    """The same beside what runs now, with what hangs on each flow. `source`: see `read_production_state`."""
    after = project.at(head) if head else project.now()
    flows = read_flows(after, project.environment)
    state = read_production_state(api, project.environment, source)
    return plan_report(state.flows, flows, state.commit, after.commit, datetime.now(UTC), state.hanging)
