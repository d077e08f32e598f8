"""`python -P -m automata.check check|plan …`: the child in which the change of a stranger is checked, with limits.

It writes one JSON report to its standard output. Exit code 1 when the report says no, the error's own when there is
none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from automata.check.fence import fence_process
from automata.check.limits import OUT_OF_MEMORY, Shape, container_memory, limit_process, processors, shape_of
from automata.errors import AutomataError, Invalid


def main(words: Sequence[str]) -> int:
    """The exit code, once the report or the error is written."""
    shape = shape_of(container_memory(), processors())
    limit_process(shape)
    fence_process()
    options = _parser().parse_args(words)
    try:
        report = _report(options, shape)
    except AutomataError as error:
        _write_error(error)
        return error.exit_code
    except MemoryError:
        sys.stderr.write(f"{OUT_OF_MEMORY}\n")
        return AutomataError.exit_code
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__} in the check\n")  # where it was is in no report for strangers
        return AutomataError.exit_code
    json.dump(report, sys.stdout, default=str)  # ASCII: the encoding of our output is the environment's
    return 0 if report.get("ok", True) else Invalid.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="automata.check")
    parser.add_argument("command", choices=("check", "plan"))
    for name in ("--repo", "--env", "--base", "--head"):
        parser.add_argument(name, required=True)
    parser.add_argument("--path", default=None)
    return parser


def _report(options: argparse.Namespace, shape: Shape) -> dict[str, Any]:
    # Behind the limits, so that they hold for what these bring with them too.
    from automata.check.change import check_change
    from automata.check.plan import plan_against_commit
    from automata.project.local import find_local_project
    from automata.settings import load

    project = find_local_project(load(repo=options.repo, repo_path=options.path, environment=options.env))
    if options.command == "plan":
        return plan_against_commit(project, options.base, options.head)
    return check_change(project, options.base, options.head, shape.jobs)


def _write_error(error: AutomataError) -> None:
    lines = [f"error: {error.message} [{error.code}]", *(f"  {finding}" for finding in error.diagnostics)]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    # A stranger's file is quoted: what would move the cursor of a terminal is shown as an escape.
    shown = "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in "\n".join(lines))
    sys.stderr.write(shown + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
