"""Measures the structure of the code: floors, import circles, sizes, docstrings.

`python -m tests.architecture` prints the figures; `--write` puts the table of floors into CONTRIBUTING.md.
tests/test_architecture.py holds the bounds.
"""

from __future__ import annotations

import ast
import statistics
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- floors: made by python -m tests.architecture --write -->", "<!-- floors end -->"
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Module:
    """One parsed file. `name` is dotted; a package goes by its own name."""

    path: Path
    name: str
    tree: ast.Module
    lines: int


@cache
def modules(folder: str) -> tuple[Module, ...]:
    """Every Python file below `folder`, which is relative to the repository."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text()
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(path.relative_to(ROOT), name, ast.parse(text), text.count("\n")))
    return tuple(found)


def imports(module: Module, known: set[str]) -> set[str]:
    """The modules of `known` that this one imports, anywhere in the file: late imports and those for types count."""
    targets = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            targets |= submodules & known
            if not submodules <= known:
                targets.add(node.module)
    return (targets & known) - {module.name}


def circles(folder: str = "automata") -> list[list[str]]:
    """Groups of modules that import each other in a ring (Tarjan's strongly connected components)."""
    known = {module.name for module in modules(folder)}
    graph = {module.name: sorted(imports(module, known)) for module in modules(folder)}
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    rings: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in graph[name]:
            if target not in order:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], order[target])
        if low[name] == order[name]:
            at = stack.index(name)
            ring, stack[at:] = stack[at:], []
            if len(ring) > 1:
                rings.append(sorted(ring))

    for name in graph:
        if name not in order:
            visit(name)
    return sorted(rings)


def functions(folder: str) -> Iterator[tuple[Module, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function and method below `folder`, nested ones too."""
    for module in modules(folder):
        for node in ast.walk(module.tree):
            if isinstance(node, FUNCTION):
                yield module, node


def function_lengths(folder: str = "automata") -> list[int]:
    """Lines of each function, shortest first; its docstring and signature count."""
    return sorted((node.end_lineno or node.lineno) - node.lineno + 1 for _, node in functions(folder))


def long_files(most: int, folder: str = "automata") -> dict[str, int]:
    """Files over `most` lines, with their length."""
    return {str(module.path): module.lines for module in modules(folder) if module.lines > most}


def public_names(folder: str = "automata") -> Iterator[tuple[str, bool]]:
    """Public functions, classes and methods of public classes: their dotted names, and whether a docstring is there."""
    for module in modules(folder):
        for node in module.tree.body:
            if not isinstance(node, (*FUNCTION, ast.ClassDef)) or node.name.startswith("_"):
                continue
            yield f"{module.name}.{node.name}", bool(ast.get_docstring(node))
            for member in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(member, FUNCTION) and not member.name.startswith("_"):
                    yield f"{module.name}.{node.name}.{member.name}", bool(ast.get_docstring(member))


def share_without_docstring(folder: str = "automata") -> float:
    """The part of the public names that has no docstring, from 0 to 1."""
    documented = [has for _, has in public_names(folder)]
    return documented.count(False) / len(documented)


def floors() -> list[list[str]]:
    """The layers of pyproject.toml from the ground up: each a list of packages or modules, without `automata.`."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [
        [part.strip().removeprefix("automata.") for part in layer.replace(":", "|").split("|")]
        for layer in reversed(layers)
    ]


def floor_table() -> str:
    """The floors as a table in Markdown, the top first, each room with the first sentence of its own docstring."""
    rows = ["| floor | room | what it is for |", "|---|---|---|"]
    for number, rooms in reversed(list(enumerate(floors()))):
        rows += [f"| {number} | `{room}` | {purpose(room)} |" for room in rooms]
    return "\n".join(rows)


def purpose(room: str) -> str:
    """The first paragraph of the docstring of a room, on one line."""
    path = ROOT / "automata" / room.replace(".", "/")
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    return " ".join((ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].split())


def contributing() -> tuple[str, str]:
    """CONTRIBUTING.md as it is and as it has to be."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return text, f"{head}{BEGIN}\n{floor_table()}\n{END}{tail}"


def main() -> None:
    if "--write" in sys.argv[1:]:
        (ROOT / "CONTRIBUTING.md").write_text(contributing()[1])
        return
    lengths = function_lengths()
    rooms = Counter(module.path.parts[1] for module in modules("automata"))
    print(f"files {sum(rooms.values())}, over 400 lines: {long_files(400) or 'none'}")
    print(f"import circles: {circles() or 'none'}")
    print(f"functions {len(lengths)}, median {statistics.median(lengths)}, p95 {lengths[int(len(lengths) * 0.95)]}")
    print(f"public names without docstring: {share_without_docstring():.1%} of {len(list(public_names()))}")


if __name__ == "__main__":
    main()
