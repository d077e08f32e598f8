"""The description at /openapi.json: FastAPI's own, with our problems instead of its validation errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.responses import Response

from automata.access.principal import Role
from automata.http import problem
from automata.http.authorization import needs
from automata.http.bodies import Json
from automata.http.problem import Problem, ProblemItem

_REF = "#/components/schemas/{model}"
_METHODS = frozenset({"get", "post", "put", "patch", "delete"})


def request_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its JSON body itself."""
    schema = model.model_json_schema(ref_template=_REF)
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def install(app: FastAPI) -> None:
    """Make `app.openapi` say what the app does; built once, at the first request for it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    async def description() -> Response:
        return Json(app.openapi())

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this as the way
    # Not FastAPI's own route: that one would answer everybody.
    app.get("/openapi.json", dependencies=[needs(Role.VIEWER)], include_in_schema=False)(description)


def _build(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    components: dict[str, Any] = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    for model in (Problem, ProblemItem):
        described = model.model_json_schema(ref_template=_REF)
        described.pop("$defs", None)
        components[model.__name__] = described
    for path in schema["paths"].values():
        for method in _METHODS & path.keys():
            _describe_failures(path[method]["responses"])
            components.update(_parts_of_body(path[method]))
    return schema


def _parts_of_body(operation: dict[str, Any]) -> dict[str, Any]:
    """The shapes within a body that a route reads itself: they are referred to as components, so there they belong."""
    content = operation.get("requestBody", {}).get("content", {})
    parts: dict[str, Any] = content.get("application/json", {}).get("schema", {}).get("$defs", {})
    return parts


def _describe_failures(responses: dict[str, Any]) -> None:
    responses.pop("422", None)
    content = {problem.MEDIA: {"schema": {"$ref": _REF.format(model="Problem")}}}
    responses["default"] = {"description": "What went wrong (RFC 9457).", "content": content}
