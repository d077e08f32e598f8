"""Whatever is written and whatever the data is: a template gives JSON data or a TemplateError, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automata.flow.filters import FILTERS, FUNCTIONS, TESTS
from automata.flow.template import AMBIENT_KEY, Ambient, TemplateError, compile_template
from tests.amounts import times

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        ["a", "id", "a.b", "0", "%Y", "UTC", "[a-z]+", "(x)?", "2026-01-01", "eyJ9", "\ud800", ",", "even"]
    ),
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["a", "id", "b"]), inner, max_size=3)
    ),
    max_leaves=8,
)
AMBIENT = Ambient(lambda: datetime(2026, 7, 1, tzinfo=UTC), lambda: "u")
NAMES = sorted(FILTERS)
OPERATORS = "+ - * / // % ** ~ and or in == <"
WORDS = (
    "{{ }} {% %} {# #} {{- -}} if elif else endif for in endfor raw endraw set not and or is recursive . , : | ( ) [ ] "
    "{ } + - * ** / // % ~ == != < <= > >= = 'a' \"b\" 1 2.5 0x1 none null true x i loop inputs steps .inputs a b.c "
    "upper map select default json first range now coalesce defined in $ \\ ' é"
)


def _outcome(text: str, context: dict[str, Any]) -> None:
    """Anything but data and TemplateError fails the test by itself."""
    try:
        result = compile_template(text).render(context)
    except TemplateError as error:
        code, message = error.code, error.message
    else:
        assert result == json.loads(json.dumps(result, allow_nan=False))
        return
    assert code.startswith("AF2"), message
    assert message


@settings(max_examples=times(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(NAMES), data=st.lists(DATA, min_size=1, max_size=4))
def test_filters_and_functions_survive_any_data(name: str, data: list[Any]) -> None:
    arguments = ", ".join(f"inputs.v[{index}]" for index in range(1, len(data)))
    context = {"inputs": {"v": data}, AMBIENT_KEY: AMBIENT}
    _outcome(f"{{{{ inputs.v[0] | {name}({arguments}) }}}}", context)
    _outcome(f"{{{{ inputs.v | map('{name}', {arguments}) }}}}", context)
    if name in FUNCTIONS:
        _outcome(f"{{{{ {name}(inputs.v[0], {arguments}) }}}}", context)


@settings(max_examples=times(75), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from([*sorted(TESTS), *OPERATORS.split()]),
    left=DATA,
    right=DATA,
)
def test_tests_and_operators_survive_any_data(name: str, left: Any, right: Any) -> None:
    context = {"inputs": {"a": left, "b": right, "l": [left, right]}}
    _outcome(f"{{{{ inputs.a {name} inputs.b }}}}", context)
    _outcome(f"{{{{ inputs.a is {name}(inputs.b) }}}}", context)
    _outcome(f"{{{{ inputs.l | select('{name}', inputs.b) }}}}", context)
    _outcome("{% for x in inputs.a %}{{ x }}{{ inputs.b[x] }}{% endfor %}{{ inputs.a[inputs.b] }}", context)


@settings(max_examples=times(400), deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), max_size=25), st.booleans(), st.sampled_from(["", " "]))
def test_any_sequence_of_words_is_read_or_refused(words: list[str], wrapped: bool, space: str) -> None:
    text = space.join(words)
    _outcome(f"{{{{ {text} }}}}" if wrapped else text, {"inputs": {"a": 1, "b": {"c": [1, 2]}}, "steps": {}})
