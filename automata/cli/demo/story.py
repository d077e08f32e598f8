"""What the demo does with the product: four runs, and whether the shop counted what the runs claim."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from automata.cli.client import Api
from automata.cli.demo.shop import DECLINED, LABEL_FAILURES, ORDERS, PAGE
from automata.cli.output import console, say
from automata.cli.run_view import follow, progress, tree

Runs = Mapping[str, Mapping[str, Any]]  # by flow: the run, with its tasks under "tasks"


@dataclass(frozen=True, slots=True)
class Act:
    """A run that the demo starts."""

    flow: str
    words: str
    inputs: Mapping[str, Any]


ACTS = (
    Act("sync-orders", "fetch a page of orders from the CRM and hand it to the ERP", {"source_id": "crm-1"}),
    Act("import-all-orders", "fetch three pages and the customers side by side, import them as one list", {}),
    Act("ship-order", f"a label printer that fails {LABEL_FAILURES} times before it works", {"order": "o-1001"}),
    Act(
        "settle-invoice",
        "a card that is declined: the run fails, and on_failure raises an alert",
        {"invoice": DECLINED},
    ),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One claim beside what the shop counted."""

    claim: str
    expected: Any
    found: Any

    @property
    def holds(self) -> bool:
        """Whether the shop counted what was claimed."""
        return bool(self.expected == self.found)


def play(api: Api) -> dict[str, dict[str, Any]]:
    """Start every act's run, follow it to its end and show it."""
    runs: dict[str, dict[str, Any]] = {}
    for number, act in enumerate(ACTS, 1):
        say(f"\n{number}. {act.flow}: {act.words}")
        started = api.post("flows", act.flow, "runs", body={"inputs": act.inputs})
        run, tasks = follow(api, started["id"], progress(plain=False))
        console().print(tree(run, tasks))
        runs[act.flow] = {**run, "tasks": {task["step"]: task for task in tasks}}
    return runs


def checks(runs: Runs, ledger: Mapping[str, Any]) -> Iterator[Check]:
    """What the runs claim against what the shop counted itself."""
    ids = {flow: run["id"] for flow, run in runs.items()}
    label = f"label-{ACTS[2].inputs['order']}"
    for act in ACTS:
        wanted = "FAILED" if act.flow == "settle-invoice" else "SUCCEEDED"
        yield Check(f"{act.flow} ended as it should", wanted, runs[act.flow]["status"])
    arrived = {f"{ids['sync-orders']}:save": PAGE, f"{ids['import-all-orders']}:save": ORDERS}
    yield Check("the ERP received each import once, as a JSON list of orders", arrived, ledger["imports"])
    yield Check("the ERP holds every order of the CRM", ORDERS, ledger["orders"])
    yield Check("import-all-orders says how many", ORDERS, _output(runs, "import-all-orders", "imported"))
    yield Check("the label printer was asked until it worked", {"o-1001": LABEL_FAILURES + 1}, ledger["label_calls"])
    yield Check(
        "ship-order counted those attempts", LABEL_FAILURES + 1, runs["ship-order"]["tasks"]["label"]["attempt"]
    )
    yield Check("ship-order has its label", label, _output(runs, "ship-order", "label"))
    yield Check("the declined card was not charged", [], ledger["payments"])
    alert = [text for text in ledger["alerts"] if DECLINED in text and "pay" in text]
    yield Check("one alert names the invoice and the step", (1, ledger["alerts"]), (len(alert), alert))


def _output(runs: Runs, flow: str, name: str) -> Any:
    return (runs[flow]["outputs"] or {}).get(name)


def print_outcome(results: Iterator[Check], ledger: Mapping[str, Any], line: Callable[[str], None] = say) -> bool:
    """Print what the shop counted and each check; True when all hold."""
    line("\nWhat the shop itself counted")
    for run, count in ledger["imports"].items():
        line(f"  ERP     {count} orders in one JSON list  ({run})")
    line(f"  ERP     {ledger['orders']} different orders in all")
    line(f"  labels  {sum(ledger['label_calls'].values())} calls for one label")
    for text in ledger["alerts"]:
        line(f"  alert   {text}")
    line("\nWhat was promised")
    good = True
    for check in results:
        line(f"  {'ok      ' if check.holds else 'MISMATCH'}  {check.claim}")
        if not check.holds:
            good = False
            line(f"            expected {check.expected!r}, found {check.found!r}")
    return good
