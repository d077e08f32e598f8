"""JSON data as YAML: the one place that writes YAML, for files that people keep and for specs that pages show."""

from __future__ import annotations

from typing import Any

import yaml

from automata.flow.yaml12 import is_number


def to_yaml(value: Any) -> str:
    """What `parse_yaml` reads back, in the order of its keys and without anchors."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def to_readable_yaml(value: Any, fast: bool = False) -> str:
    """The same as people write flow files: long texts as blocks, lists indented below their key.

    `fast` leaves that to libyaml, which has neither: for texts so large that writing them would take seconds.
    """
    dumper = yaml.CSafeDumper if fast else _ReadableDumper
    return yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _ReadableDumper(_Dumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML quotes what YAML 1.1 takes for something else; `0o17` and `1e3` are numbers only in 1.2.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if is_number(text) else None)


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if "\n" in text:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    return _text(dumper, text)


_Dumper.add_representer(str, _text)
_ReadableDumper.add_representer(str, _block)
