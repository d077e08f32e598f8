"""`automata validate` and `automata schema`: flow files, checked without a server, a database or Git."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.output import colours
from automata.errors import Diagnostic, Invalid, Usage

if TYPE_CHECKING:
    from automata.flow.load import ParsedFlow
    from automata.report.diagnostics import Format

PROJECT = "automata.yaml"
DEFAULT_FOLDER = "flows"
FORMATS: tuple[Format, ...] = ("human", "json", "sarif", "github")
PROGRESS_FROM = 200


class Draft(StrEnum):
    """The drafts of JSON Schema that are written."""

    D2020 = "2020-12"
    D07 = "07"


class SchemaKind(StrEnum):
    """The files that there is a schema of."""

    FLOW = "flow"
    PROJECT = "project"
    ENVIRONMENT = "environment"


def validate(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Flow files, or folders of them. Default: the folders of automata.yaml, else flows/."),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", "-f", metavar="FORMAT[=FILE]", help="human, json, sarif or github; repeatable."),
    ] = None,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="No files are not a failure.")] = False,
) -> None:
    """Check flow files: syntax, shape, references, templates, schedules. Exit code 1 when one of them is wrong."""
    from automata.cli.report_outputs import parse_outputs, write_report
    from automata.report.diagnostics import Report, render

    outputs = parse_outputs(formats or [], FORMATS)
    refused: list[Diagnostic] = []
    files = list(dict.fromkeys(_files(paths, refused)))
    types = _types()
    loaded = [_load(file, types) for file in _watched(files)]
    report = Report(len(files), (*refused, *_project_problems(paths, loaded), *_diagnostics(loaded)))
    report_json = report.as_json()
    write_report(outputs, lambda form, colour: render(report_json, form, _source, colour=colour), colours())
    if not files and not refused and not allow_empty:
        where = ", ".join(path.as_posix() for path in paths or [Path(DEFAULT_FOLDER)])
        raise Invalid(f"There are no flow files in {where}.", code="no_flows", hint="--allow-empty accepts that.")
    if not report.ok:
        raise typer.Exit(Invalid.exit_code)


def schema(
    draft: Annotated[Draft, typer.Option("--draft", help="Draft 07 is what most editors read.")] = Draft.D2020,
    kind: Annotated[SchemaKind, typer.Option("--kind", help="Which file the schema is for.")] = SchemaKind.FLOW,
) -> None:
    """Print the JSON Schema of a flow file, for editors and other programs."""
    from automata.flow.schema import FLOW_SCHEMA, schema_text
    from automata.project.schemas import ENVIRONMENT_SCHEMA, PROJECT_SCHEMA

    schemas = {
        SchemaKind.FLOW: FLOW_SCHEMA,
        SchemaKind.PROJECT: PROJECT_SCHEMA,
        SchemaKind.ENVIRONMENT: ENVIRONMENT_SCHEMA,
    }
    typer.echo(schema_text(draft.value, schemas[kind]), nl=False)


# --- which files ---------------------------------------------------------------------------------------------------


def _files(paths: Sequence[Path] | None, refused: list[Diagnostic]) -> Iterator[Path]:
    """The files; what is no file that a flow could be in, though it stands where flows do, goes to `refused`."""
    if not paths:
        if Path(PROJECT).is_file():
            yield from _project_files(Path(), refused)
        else:
            yield from _folder_files(Path(), DEFAULT_FOLDER, refused)
        return
    for path in paths:
        if not path.exists():
            raise Usage(f"There is no file or folder {path}.", code="path_missing")
        if not path.is_dir():
            yield path
        else:
            yield from _project_files(path, refused) if (path / PROJECT).is_file() else _folder_files(path, "", refused)


def _project_files(root: Path, refused: list[Diagnostic]) -> Iterator[Path]:
    for name in _flow_folders(root / PROJECT):
        folder = root / name
        if not folder.is_dir():
            raise Usage(f"{root / PROJECT} names the folder {name}, which does not exist.", code="folder_missing")
        yield from _folder_files(root, name, refused)


def _flow_folders(file: Path) -> list[str]:
    """What `automata.yaml` names. Raises Usage with all findings when it is wrong."""
    from automata.git.names import check_folder
    from automata.project.manifest import parse_file
    from automata.project.schemas import PROJECT_SCHEMA

    project, findings = parse_file(_read(file), file.as_posix(), PROJECT_SCHEMA)
    if project is None:
        raise Usage(f"{file} is not a valid project file.", code="project", diagnostics=findings.done())
    return [check_folder(name) for name in project.get("flows", [DEFAULT_FOLDER])]


def _folder_files(place: Path, folder: str, refused: list[Diagnostic]) -> Sequence[Path]:
    """What a sync would take for flows below a folder, by the one reader that knows."""
    from automata.project.local import find_flow_files

    files, problems = find_flow_files(place, folder)
    refused += problems
    return files


def _read(file: Path) -> bytes:
    """At most one byte more than a flow file may have. Raises Usage when it cannot be read."""
    from automata.flow.yaml12 import MAX_BYTES

    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Usage(f"{file} cannot be read: {error.strerror}.", code="unreadable") from error


# --- what is wrong with them ---------------------------------------------------------------------------------------


def _load(file: Path, types: Mapping[str, Mapping[str, Any]]) -> ParsedFlow:
    from automata.flow.load import ParsedFlow, validate_text

    name = file.as_posix()
    try:
        return validate_text(_read(file), name, types)
    except Usage as error:
        unread = Diagnostic("AF017", error.message.removesuffix("."), name)
        return ParsedFlow(name, None, None, (unread,))


def _diagnostics(files: Sequence[ParsedFlow]) -> Iterator[Diagnostic]:
    """Those of each file, and behind them what is wrong between it and the others."""
    from automata.flow.subflows import called_flows
    from automata.project.crosscheck import cross_check, repository_flow

    here = {file.flow.name for file in files if file.flow}
    # Flows that were not looked at may be there all the same: only calls of what is here can be judged.
    flows = [
        repository_flow(file, [call for call in called_flows(file.flow.spec) if call[0] in here])
        for file in files
        if file.flow
    ]
    between: dict[str, list[Diagnostic]] = {}
    for diagnostic in cross_check([flow for flow in flows if flow]):
        between.setdefault(diagnostic.file, []).append(diagnostic)
    for file in files:
        yield from file.diagnostics
        yield from between.get(file.file, ())


def _project_problems(paths: Sequence[Path] | None, loaded: Sequence[ParsedFlow]) -> Iterator[Diagnostic]:
    """What is wrong with each project as a whole: its file, its environments, and what its flows read of those."""
    from automata.project.local import find_project_problems

    for root in paths or [Path()]:
        if (root / PROJECT).is_file():
            inside = [flow for flow in loaded if Path(flow.file).is_relative_to(root)]
            yield from find_project_problems(root, inside)


def _types() -> Mapping[str, Mapping[str, Any]]:
    """The config schemas of the step types that installed packages bring."""
    from automata.steps.registry import catalogue

    return {name: info.config_schema for name, info in catalogue().items()}


def _watched(files: Sequence[Path]) -> Iterable[Path]:
    """The files, with a progress bar for a person who waits for many."""
    if len(files) <= PROGRESS_FROM or not sys.stderr.isatty():
        return files
    from rich.progress import track

    from automata.cli.output import console

    return track(files, "Checking flows", console=console(stderr=True), transient=True)


def _source(file: str) -> str | None:
    try:
        return _read(Path(file)).decode("utf-8-sig", errors="replace")
    except Usage:
        return None
