"""Each command in the guides is run as it stands, against a server that really runs, or says beside it why it is not.

A block with `<!-- not run: WHY -->` above it is left out, and so are the pages that a test of their own goes through.
What a page names as an example (a run, a dead letter) is replaced by one that exists.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from automata.cli.demo.shop import DECLINED
from tests.acceptance.conftest import SHOP_HOOK, Answer, Automata, Place

DOCS = Path(__file__).parents[2] / "docs"
ELSEWHERE = {
    "quickstart.md": "tests/acceptance/test_docs.py",
    "webhooks.md": "tests/acceptance/test_webhooks.py",
}
BACKUP = "tests/promises/test_backup.py"
BLOCK = re.compile(r"(?:^<!-- not run: ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHELL = re.compile(r"(?:automata|make|curl|pip|export|git|pg_\w+|docker|kubectl) ")
EXAMPLE = "019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11"
# The example's payment is declined whenever it is tried, and my-branch changes a flow.
EXITS = {"automata run retry 0": 1, "automata plan --base main --head my-branch": 2}
APPROVED = {"name": "reviewed", "steps": [{"id": "review", "type": "approval"}]}
IMPORT = {
    "name": "import",
    "inputs": {"count": {"type": "integer"}, "ids": {"type": "array", "default": []}},
    "steps": [{"id": "count", "type": "transform", "config": {"mappings": {"n": "{{ inputs.count }}"}}}],
}


def _shell_blocks() -> list[tuple[str, str, str]]:
    """(page and line, why it is not run or nothing, the text) of what a reader would paste into a shell."""
    found = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            why, language, block = match.groups()
            if language in ("sh", "shell", "bash", "console") or (not language and SHELL.match(block)):
                found.append((f"{page.name}:{text.count(chr(10), 0, match.start(3)) + 1}", why or "", block))
    return found


def _to_run() -> list[Any]:
    here = [(place, block) for place, why, block in _shell_blocks() if not why and place.split(":")[0] not in ELSEWHERE]
    return [pytest.param(block, id=place) for place, block in here if not block.startswith("pg_")]


@pytest.fixture(scope="module")
def repository(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's repository, with the branches and files that the pages name; the server has flows for the rest."""
    for flow in (APPROVED, IMPORT):
        httpx.post(f"{place.api}/api/v1/flows", json=flow, timeout=120).raise_for_status()
    folder = tmp_path_factory.mktemp("guides") / "flows"
    shutil.copytree(DOCS.parent / "flows-example", folder)
    changed = folder / "flows/ship-order.yaml"
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "All flows")
    git(folder, "branch", "develop")
    git(folder, "checkout", "-qb", "my-branch")
    changed.write_text(re.sub("^labels: .*", "labels: {team: parcels}", changed.read_text(), flags=re.MULTILINE))
    git(folder, "commit", "-qam", "Another team")
    git(folder, "checkout", "-q", "main")
    with (folder / "tests/sync-orders.test.yaml").open("a") as cases:
        cases.write("# so that something differs from main\n")
    (folder / "inputs.json").write_text('{"count": 7}')
    (folder / "order.json").write_text('{"order": {"id": "o-1001"}}')
    return folder


@pytest.mark.parametrize("block", _to_run())
def test_a_block_of_commands_works(
    block: str, repository: Path, automata: Automata, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    monkeypatch.setenv("AUTOMATA_SECRET_SHOP_HOOK", SHOP_HOOK)
    for line in block.replace("\\\n", " ").splitlines():
        if line.strip():
            answer = automata(*_words(line, automata))
            wanted = next((code for start, code in EXITS.items() if line.startswith(start)), 0)
            assert answer.code == wanted, f"{line}\n{answer.out}\n{answer.err}"


def test_what_is_not_run_has_a_reason_and_the_tests_that_it_names_exist() -> None:
    reasons = [why for _, why, _ in _shell_blocks() if why]
    named = {path for why in [*reasons, *ELSEWHERE.values(), BACKUP] for path in re.findall(r"tests/[\w./]*\w", why)}
    assert reasons
    assert all(len(why) > 10 for why in reasons)
    assert [path for path in named if not (DOCS.parent / path).exists()] == []
    assert {place.split(":")[0] for place, _, _ in _shell_blocks()} >= set(ELSEWHERE)


def _words(line: str, automata: Automata) -> list[str]:
    """The words of a command, with what exists in the place of examples."""
    words = shlex.split(line.partition(" > ")[0], comments=True)
    assert words[0] == "automata", f"only commands of Automata can be run here: {line}"
    words = words[1:]
    if EXAMPLE in words:
        kind = next((made for start, made in _MADE.items() if " ".join(words).startswith(start)), _declined)
        run = kind(automata)
        words = [run if word == EXAMPLE else word for word in words]
    letters = [word for word in words if words[0] == "dlq" and word in ("42", "43")]
    fresh = {word: _letter(automata) for word in letters}
    return [fresh.get(word, word) for word in words]


def _started(automata: Automata, *words: str) -> str:
    return str(automata("run", "start", *words, "-o", "json").json["id"])


def _declined(automata: Automata) -> str:
    return _started(automata, "settle-invoice", "-i", f"invoice={DECLINED}", "--wait")


def _synced(automata: Automata) -> str:
    return _started(automata, "sync-orders", "-i", "source_id=crm-1", "--wait")


def _slow(automata: Automata) -> str:
    return _started(automata, "slow")


def _reviewed(automata: Automata) -> str:
    run = _started(automata, "reviewed")
    while run not in automata("approval", "list", "-o", "json").out:
        pass
    return run


_MADE: Mapping[str, Callable[[Automata], str]] = {
    "run cancel": _slow,
    "run logs": _synced,
    "approval": _reviewed,
}


def _letter(automata: Automata) -> str:
    listed: Answer = automata("dlq", "list", "--run", _declined(automata), "-o", "json")
    return str(json.loads(listed.out)["items"][0]["id"])


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)
