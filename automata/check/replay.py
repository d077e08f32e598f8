"""`automata replay`: recorded runs done again on two commits, answered as production was, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from automata.check.contents import read_flows
from automata.check.production_state import ProductionApi
from automata.check.recordings import api_recordings, changed_flows, replay_policy, trees_recordings
from automata.errors import Usage
from automata.flow.findings import Nearest
from automata.project.local import LocalProject
from automata.report.replay import replay_report
from automata.sandbox.replay import replay_all


def replay_change(
    project: LocalProject,
    base: str,
    head: str | None,
    jobs: int,
    *,
    flows: Sequence[str] = (),
    last: int | None = None,
    api: ProductionApi | None = None,
) -> dict[str, Any]:
    """The report. `flows`: those that changed unless some are named. `last`: runs of each, the project's if None.

    `api`: where runs come from instead of the repository. Raises Missing, Usage, Invalid, Unavailable.
    """
    before, after = project.at(base), project.at(head) if head else project.now()
    base_flows, head_flows = (read_flows(tree, project.environment) for tree in (before, after))
    chosen = _known(flows, base_flows) if flows else changed_flows(base_flows, head_flows)
    policy_last, tolerance = replay_policy(before)
    count = last or policy_last
    recordings = api_recordings(api, chosen, count) if api else trees_recordings([before, after], chosen, count)
    results = replay_all(recordings, base_flows, head_flows, tolerance, jobs)
    return replay_report([asdict(result) for result in results], before.commit, after.commit, chosen)


def _known(flows: Sequence[str], base_flows: Mapping[str, Any]) -> list[str]:
    for flow in flows:
        if flow not in base_flows:
            hint = Nearest().hint(flow, list(base_flows)) or "Flows that are new have no recorded runs."
            raise Usage(f"The base has no flow {flow!r}.", code="no_flow", hint=hint)
    return list(flows)
