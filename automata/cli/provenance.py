"""`automata provenance`: from a run back to the commit, the proposal, the check and the people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from automata.cli.client import Api
from automata.cli.options import ApiUrl, Output, RunId
from automata.cli.output import Format, emit, moment, printable, status

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
        node = node.add(_part("commit", f"{short(commit['sha'])}  {commit['message'] or ''}"))
        node.add(_part("by", f"{commit['author'] or 'nobody'}, {moment(commit['committed_at'])}"))
        node.add(_part("file", f"{commit['path']} of {commit['source']}"))
    for name, words in told(chain):
        node.add(_part(name, words))
    return root


def told(chain: Json) -> list[tuple[str, str]]:
    """(name, words) of proposal, check and approvals; how the version came to be stands first."""
    lines = [("origin", chain["means"])]
    if one := chain["proposal"]:
        lines.append(("proposal", f"{one['number']}  {one['title']} ({one['branch']}), by {one['author']}"))
        lines.append(("check", _check(chain["check"])))
        lines += [("approved", _approval(one)) for one in chain["approvals"]] or [("approved", "by nobody")]
        who = f"by {one['applied_by']}" if one["applied_by"] else "with Git"
        merge = f" as {short(one['merge_sha'])}" if one["merge_sha"] else ""
        lines.append(("merged", f"{who}{merge}, {moment(one['applied_at'])}"))
    return lines


def short(sha: str) -> str:
    """The commit, short as Git shows it; a working tree's `-dirty` stays visible."""
    commit, dash, rest = sha.partition("-")
    return sha if commit == "working" else f"{commit[:12]}{dash}{rest}"


def _check(check: Json | None) -> str:
    if check is None:
        return "none of exactly this merge"
    stages = ", ".join(f"{one['name']} {one['state']}" for one in check["stages"] or ())
    verdict = "passed" if check["passed"] else f"refused by {', '.join(check['failed'])}"
    return f"{verdict}, {moment(check['at'])}" + (f" ({stages})" if stages else "")


def _approval(one: Json) -> str:
    said = f": {one['comment']}" if one["comment"] else ""
    return f"by {one['by']}, {moment(one['at'])}{said}"


def _part(name: str, words: str) -> Text:
    from rich.text import Text

    return Text.assemble((f"{name} ", "dim"), printable(words))
