"""The body of a request as the model it has to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from automata.http.bodies import from_validation, read_json_object

Model = TypeVar("Model", bound=BaseModel)


async def read_model(request: Request, model: type[Model]) -> Model:
    """No body counts as `{}`. Raises BadBody for what is no object, Invalid that names what the model refuses."""
    return valid(model, await read_json_object(request))


def valid(model: type[Model], value: Mapping[str, Any]) -> Model:
    """Raises Invalid that names what the model refuses."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise from_validation(error) from error
