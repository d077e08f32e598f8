"""No template reaches Python: every known way out of a Jinja sandbox is refused, and so is everything like it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from automata.flow.template import AMBIENT_KEY, FILTERS, FUNCTIONS, ROOTS, Ambient, TemplateError, compile_template


class Trap:
    """An object that should never be in a context; every way of touching it from a template is noted."""

    touched: list[str] = []  # noqa: RUF012  # shared on purpose: the test reads it from the class

    def __getattr__(self, name: str) -> Any:
        Trap.touched.append(name)
        raise AttributeError(name)

    def __call__(self) -> str:
        Trap.touched.append("()")
        return "called"


def forbidden() -> str:
    raise AssertionError("a template called a function")


CONTEXT: dict[str, Any] = {
    "inputs": {"s": "text", "n": 1, "l": [1], "o": {"k": "v"}, "trap": Trap(), "call": forbidden},
    "steps": {"a": {"outputs": {"x": 1}, "status": "SUCCEEDED"}},
    "secrets": {"TOKEN": "hunter2"},
    "vars": {},
    AMBIENT_KEY: Ambient(lambda: datetime(2026, 7, 1, tzinfo=UTC), lambda: "u"),
}

DUNDERS = (
    "__class__ __init__ __globals__ __builtins__ __mro__ __bases__ __base__ __subclasses__ __dict__ __doc__ "
    "__getattribute__ __getitem__ __reduce__ __reduce_ex__ __code__ __module__ __call__ __iter__ __self__ "
    "__import__ __format__ __init_subclass__ __class_getitem__ __wrapped__ mro func_globals gi_frame f_back"
)
JINJA_NAMES = (
    "self cycler joiner namespace lipsum dict range_ _ __ config request session g url_for get_flashed_messages "
    "super varargs kwargs caller context environment ctx loop template gettext ngettext debug print open eval exec "
    "compile globals locals vars_ getattr setattr import os sys builtins __builtins__ __import__ __ambient__ True_"
)
JINJA_FILTERS = (
    "attr format pprint safe escape e forceescape xmlattr urlize striptags random filesizeformat do_attr eval "
    "exec import_ system popen file read"
)
STATEMENTS = [
    "{% set x = 1 %}",
    "{% set x %}y{% endset %}",
    "{% import 'os' as os %}",
    "{% from 'os' import system %}",
    "{% include '/etc/passwd' %}",
    "{% extends 'base' %}",
    "{% block a %}{% endblock %}",
    "{% macro f() %}{% endmacro %}",
    "{% call f() %}{% endcall %}",
    "{% filter upper %}a{% endfilter %}",
    "{% with x = 1 %}{% endwith %}",
    "{% autoescape true %}{% endautoescape %}",
    "{% do inputs.l.append(1) %}",
    "{% print(inputs) %}",
    "{% debug %}",
    "{% trans %}a{% endtrans %}",
    "{% break %}",
    "{% for x in inputs.l %}{% continue %}{% endfor %}",
    "{%- set x = 1 -%}",
    "{%+ set x = 1 %}",
    "{% if true %}{% set x = 1 %}{% endif %}",
    "{% for x.y in inputs.l %}{% endfor %}",
    "{% for x[0] in inputs.l %}{% endfor %}",
    "{% for ns.value in inputs.l %}{% endfor %}",
    "{% for x in inputs.l recursive %}{{ loop(x) }}{% endfor %}",
]
EXPRESSIONS = [
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__.__mro__[1].__subclasses__()",
    "[].__class__.__base__",
    "{}.__class__",
    "(1).__class__",
    "1.0.__class__",
    "true.__class__",
    "none.__class__",
    "inputs.s['__class__']",
    "inputs.s['__cla' ~ 'ss__']",
    "inputs.o['__class__']['__init__']",
    "inputs['__class__']",
    "inputs.l[inputs.s]",
    r"inputs.s['\x5f\x5fclass\x5f\x5f']",
    r"inputs.s['\u005f_class__']",
    "inputs.s | attr('__class__')",
    "inputs.s | attr('_' ~ '_class__')",
    "inputs | attr('get')('s')",
    "inputs.l | map('attr', '__class__') | list",
    "inputs.l | map(attribute='__class__') | list",
    "inputs.l | map(attribute='__class__.__mro__') | list",
    "inputs.l | sort(attribute='__class__')",
    "inputs.l | groupby('__class__')",
    "inputs.l | groupby(attribute='__init__.__globals__')",
    "inputs.l | selectattr('__class__')",
    "inputs.l | sum(attribute='__class__')",
    "inputs.l | join(attribute='__class__')",
    "inputs.l | unique(attribute='__class__')",
    "inputs.l | min(attribute='__class__')",
    "inputs.l | map('map', 'upper')",
    "inputs.l | map('default', 1)",
    "inputs.l | select('callable')",
    "inputs.l | select('filter')",
    "inputs.s is callable",
    "inputs.s is sameas inputs.s",
    "inputs.s is escaped",
    "'os' is test",
    "'%s' | format(inputs.s)",
    "'%(a)s' % {'a': 1}",
    "'%1000000000d' % 1",
    "'%s' % inputs.s",
    "'{0.__class__}'.format(inputs.s)",
    "'{0.__class__}'.format_map(inputs)",
    "'{0.__class__}' | format(inputs.s)",
    "inputs.s.format",
    "inputs.s.upper()",
    "inputs.s.join(['a'])",
    "inputs.o.items()",
    "inputs.o.get('k')",
    "inputs.o.update({'a': 1})",
    "inputs.l.append(1)",
    "inputs.l.pop()",
    "inputs.l.clear()",
    "inputs.call()",
    "inputs['call']()",
    "(inputs.call)()",
    "inputs.trap()",
    "inputs.trap.name",
    "inputs.trap['name']",
    "inputs.trap",
    "inputs.call",
    "inputs.call ~ ''",
    "inputs.call | string",
    "inputs.trap | length",
    "inputs.trap | json",
    "inputs.trap == 1 or inputs.trap",
    "inputs.trap + 1",
    "inputs.call.__globals__",
    "inputs.call.__code__.co_consts",
    "now.__globals__",
    "now().__class__",
    "range.__self__",
    "range(1).__class__",
    "json.loads('1')",
    "json(inputs).__class__",
    "uuid.getnode()",
    "upper(inputs.s)",
    "coalesce.__globals__",
    "loop.__init__",
    "loop.cycle('a', 'b')",
    "loop.changed(1)",
    "loop(inputs.l)",
    "self.__init__.__globals__",
    "self._TemplateReference__context",
    "cycler.__init__.__globals__.os.popen('id').read()",
    "joiner.__init__.__globals__",
    "namespace.__init__.__globals__",
    "lipsum.__globals__['os'].popen('id').read()",
    "lipsum()",
    "namespace(a=1)",
    "dict(a=1)",
    "cycler('a')",
    "getattr(inputs, 's')",
    "open('/etc/passwd')",
    "__import__('os').system('id')",
    "eval('1')",
    "exec('1')",
    "inputs.s(*inputs.l)",
    "json(*inputs.l)",
    "json(**inputs.o)",
    "lambda: 1",
    "[x for x in inputs.l]",
    "inputs.n := 2",
    "inputs.n = 2",
    "inputs.n; 1",
    "`id`",
    "@inputs",
    "$inputs",
    "f'{inputs}'",
    "inputs.s | safe",
    "inputs.l | random",
    "(inputs.s | upper).__class__",
    "(inputs.s ~ '').__class__",
    "(inputs.n + 1).__class__",
    "(inputs.l | first).__class__",
    "{'a': 1}.keys",
    "{'a': 1}.__class__",
    "'a'.0.__class__",
    "secrets",
    "secrets | json",
    "secrets | length",
    "secrets | items",
    "secrets.values()",
    "secrets['TO' ~ 'KEN']",
    "secrets[inputs.s]",
    "[secrets]",
    "steps[inputs.s].outputs",
    "steps | items",
    "inputs.__dict__",
    "run.__class__",
    "vars.__class__",
]

ATTEMPTS = (
    [f"{{{{ {where}.{name} }}}}" for name in DUNDERS.split() for where in ("inputs.s", "inputs.trap")]
    + [f"{{{{ {name} }}}}" for name in JINJA_NAMES.split()]
    + [f"{{{{ {name}() }}}}" for name in JINJA_NAMES.split()]
    + [f"{{{{ inputs.s | {name} }}}}" for name in JINJA_FILTERS.split()]
    + STATEMENTS
    + [f"{{{{ {expression} }}}}" for expression in EXPRESSIONS]
    + [
        f"{{% for x in inputs.l %}}{{{{ {name} }}}}{{% endfor %}}"
        for name in ("loop.__init__", "x.real", "loop.cycle()")
    ]
)


@pytest.mark.parametrize("text", ATTEMPTS)
def test_an_escape_is_refused(text: str) -> None:
    Trap.touched.clear()
    with pytest.raises(TemplateError):
        compile_template(text).render(CONTEXT)
    assert Trap.touched == []


def test_there_are_many_attempts() -> None:
    assert len(set(ATTEMPTS)) > 150


@pytest.mark.parametrize("key", ["__class__", "items", "keys", "format", "__globals__", "_id", "__typename"])
def test_such_a_name_is_just_data_when_the_data_has_it(key: str) -> None:
    for text in (f"{{{{ inputs.o.{key} }}}}", f"{{{{ inputs.o['{key}'] }}}}", f"{{{{ (inputs.o or 1).{key} }}}}"):
        assert compile_template(text).render({"inputs": {"o": {key: "data"}}}) == "data"


def test_the_allowlists_hold_nothing_that_reaches_further() -> None:
    assert not FILTERS & set(JINJA_FILTERS.split())
    assert not FUNCTIONS & set(JINJA_NAMES.split())
    assert not set(ROOTS) & set(JINJA_NAMES.split())
    granted = (
        "now uuid range coalesce json fromjson b64encode b64decode sha256 hmac_sha256 regex_match regex_replace "
        "parse_time format_time split keys values merge min max urlencode"
    )
    assert set(granted.split()) == FUNCTIONS
