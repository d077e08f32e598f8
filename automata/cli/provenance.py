"""`automata provenance`: from a run back to the commit, the proposal, the check and the people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from automata.cli.client import Api
from automata.cli.options import ApiUrl, Output, RunId
from automata.cli.output import Format, emit, moment, printable, status
from automata.git.names import short_sha

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

Json = Mapping[str, Any]


def provenance(
    run: RunId,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Say where a run comes from: its version, the commit, the proposal, who approved it, what the check said.

    A version that came without a proposal is said to be one.
    """
    with Api(api_url) as api:
        chain = api.get("runs", run, "provenance")
    emit(chain, output, tree)


def tree(chain: Json) -> Tree:
    """Each part hangs on the one that it explains."""
    from rich.text import Text
    from rich.tree import Tree

    run, version = chain["run"], chain["version"]
    by = f", by {printable(run['created_by'])}" if run["created_by"] else ""
    root = Tree(Text.assemble(("run ", "dim"), f"{run['id']}  ", status(run["status"])), guide_style="dim")
    root.add(_part("started", f"{moment(run['created_at'])}, {run['trigger']}{by}"))
    node = root.add(_part("version", f"{run['flow']} v{version['number']}, {moment(version['created_at'])}"))
    if commit := chain["commit"]:
        node = node.add(_part("commit", f"{short_sha(commit['sha'])}  {commit['message'] or ''}"))
        unnamed = "not known" if chain["origin"] == "earlier" else "nobody"
        node.add(_part("by", ", ".join(filter(None, (commit["author"] or unnamed, moment(commit["committed_at"]))))))
        node.add(_part("file", f"{commit['path']} of {commit['source']}"))
    for name, text in lines_of(chain):
        node.add(_part(name, text))
    return root


def lines_of(chain: Json) -> list[tuple[str, str]]:
    """(name, text) of how the version came to be, of its proposal, its check and its approvals."""
    lines = [("origin", chain["means"])]
    if proposal := chain["proposal"]:
        title = f"{proposal['title']} ({proposal['branch']})"
        lines.append(("proposal", f"{proposal['number']}  {title}, by {proposal['author']}"))
        lines.append(("check", _check(chain["check"])))
        lines += [("approved", _approval(approval)) for approval in chain["approvals"]] or [("approved", "by nobody")]
        who = f"by {proposal['applied_by']}" if proposal["applied_by"] else "with Git"
        merge = f" as {short_sha(proposal['merge_sha'])}" if proposal["merge_sha"] else ""
        lines.append(("merged", f"{who}{merge}, {moment(proposal['applied_at'])}"))
    return lines


def _check(check: Json | None) -> str:
    if check is None:
        return "none of exactly this merge"
    stages = ", ".join(f"{stage['name']} {stage['state']}" for stage in check["stages"] or ())
    verdict = "passed" if check["passed"] else f"refused by {', '.join(check['failed'])}"
    return f"{verdict}, {moment(check['at'])}" + (f" ({stages})" if stages else "")


def _approval(approval: Json) -> str:
    comment = f": {approval['comment']}" if approval["comment"] else ""
    return f"by {approval['by']}, {moment(approval['at'])}{comment}"


def _part(name: str, text: str) -> Text:
    from rich.text import Text

    return Text.assemble((f"{name} ", "dim"), printable(text))
