"""Adds the routes of a router to an application without building them again, as `include_router` does."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Take over the routes of a router whose paths are whole, as they are.

    `include_router` would build each route once more, with the models of its bodies and answers: half a second of every
    process that serves an API.
    """
    app.router.routes.extend(router.routes)
