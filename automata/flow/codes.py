"""The stable code of everything that can be wrong with a flow file, with one sentence for docs/errors.md.

A code never changes its meaning and is never used again. AF0xx: the text and its shape; AF1xx: what steps say about
each other; AF2xx: templates.
"""

from __future__ import annotations

from collections.abc import Mapping

from automata.flow.budget import CODES as TEMPLATE_CODES

_FILE = {
    "AF001": "The file is not valid YAML or JSON.",
    "AF002": "The file is not UTF-8 text, or holds a control character.",
    "AF003": "The file is larger than 256 KiB.",
    "AF004": "The file nests deeper than 50 levels.",
    "AF005": "The file has more than 10,000 nodes.",
    "AF006": "Anchors and aliases are not supported.",
    "AF007": "Merge keys (`<<`) are not supported.",
    "AF008": "Tags and other versions of YAML are not supported.",
    "AF009": "A key is given twice.",
    "AF010": "The file holds several documents.",
    "AF011": "The file is empty.",
    "AF012": "A key is not text.",
    "AF013": "A number is not finite or does not fit 64 bits.",
    "AF015": "A text holds the character U+0000, which cannot be stored.",
    "AF016": "The flow has more than 1,000 steps.",
    "AF017": "The file cannot be read from the disk.",
}
_SHAPE = {
    "AF020": "A key is unknown, or does not belong here.",
    "AF021": "A required key is missing.",
    "AF022": "A value has the wrong type.",
    "AF023": "A value is not one of those that are allowed.",
    "AF024": "A text does not have the required form.",
    "AF025": "A number is out of range.",
    "AF026": "A text, list or mapping is empty or too long.",
    "AF027": "A branch of a `parallel` has no steps.",
    "AF028": "The step type is unknown.",
    "AF029": "Keys exclude each other, or none of them is given.",
    "AF030": "A range of status codes runs backwards.",
    "AF032": "A key has no effect on this type of step (a warning).",
    "AF033": "A list holds the same entry twice.",
    "AF034": "The config does not fit the schema of a step type that a package brings.",
    "AF035": "`until` of a `delay` is not a time.",
    "AF036": "The `charset` of an `http` step is not the name of a charset.",
}
_DECLARED = {
    "AF040": "The default of an input does not fit the input.",
    "AF041": "The pattern of an input is not a regular expression (RE2).",
    "AF042": "The schema of an input is not usable: not JSON Schema 2020-12, or it refers to another document.",
    "AF043": "`pattern` or `schema` stands at an input of a type that it is not for.",
    "AF044": "A required input has a default, so that `required` has no effect (a warning).",
    "AF045": "A value of an input's `enum` does not have the input's type.",
    "AF046": "A secret input has a default, which everyone can read (a warning).",
    "AF050": "The cron expression is neither five valid fields nor a nickname, or never fires.",
    "AF051": "The time zone is not an IANA time zone.",
    "AF052": "The inputs of a schedule do not fit the inputs of the flow.",
    "AF053": "Two schedules of a flow have the same name.",
    "AF054": "The inputs of a webhook do not fit the inputs of the flow.",
    "AF055": "Two webhooks of a flow have the same name.",
    "AF058": "Two webhooks of a flow have the same secret (a warning).",
    "AF060": "A run is given an input that the flow does not declare.",
    "AF061": "A required input is missing.",
    "AF062": "An input has the wrong type.",
    "AF063": "An input is not one of its allowed values.",
    "AF064": "An input does not match its pattern.",
    "AF065": "An input does not fit its schema.",
}
_STEPS = {
    "AF100": "Two steps have the same id.",
    "AF101": "`depends_on` names a step that does not exist.",
    "AF102": "A step depends on itself.",
    "AF103": "Steps wait for each other in a cycle.",
    "AF104": "A template reads a step that does not exist.",
    "AF105": "A template reads a step that is not upstream.",
    "AF106": "A template reads an output that the step does not have.",
    "AF107": "A template reads an input that the flow does not declare.",
    "AF108": "A template uses a name that is not available in this place.",
    "AF111": "A template reads a field that does not exist.",
    "AF112": "A step depends on the `on_failure` step.",
    "AF113": "Two branches of a `parallel` have the same id.",
    "AF114": "Two files have flows of the same name.",
    "AF115": "`renamed_from` names a flow that still exists.",
    "AF117": "An output of the flow reads a step that may be skipped, or fail with `continue_on_error` (a warning).",
    "AF120": "A value from outside stands in the path or the host of an address as it is (a warning).",
}

CODES: Mapping[str, str] = {**_FILE, **_SHAPE, **_DECLARED, **_STEPS, **TEMPLATE_CODES}
