"""The description at /openapi.json by itself: no database is asked for it."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from automata.api.app import create_app
from automata.broker.local import LocalBroker
from automata.settings import Settings


def test_every_reference_of_the_description_leads_to_a_shape_in_it() -> None:
    described = create_app(cast(Any, None), LocalBroker(), Settings(), secrets={}).openapi()
    text = json.dumps(described)
    referred = set(re.findall(r'"\$ref": "([^"]+)"', text))
    shapes = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert referred
    assert referred <= shapes
