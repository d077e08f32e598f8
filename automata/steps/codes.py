"""The stable code of everything that makes a step or a run fail, with one sentence for docs/errors.md.

A code never changes its meaning: conditions of flows, dead letters and alerts are written against it.
"""

from __future__ import annotations

from collections.abc import Mapping

_CALLS = {
    "http_status": "The answer's status is not in `ok_status`. Tried again when it is in `retry.on_status`.",
    "timeout": "The attempt took longer than `timeout_sec`. Tried again.",
    "dns_error": "The host's name could not be resolved. Tried again.",
    "connect_error": "There was no connection. Tried again.",
    "connection_lost": "The connection broke. Tried again. A `POST` or `PATCH` whose answer has begun keeps it, "
    "without its body.",
    "tls_error": "There was no secure connection. Tried again.",
    "protocol_error": "The answer is not HTTP. Tried again, but for `POST` and `PATCH`: the call was made.",
    "bad_response": "The body is read, and is not what it is to be: not JSON, not text, not whole, not in its "
    "encoding. Or the outputs cannot be stored.",
    "response_too_large": "The answer is larger than `max_response_bytes`.",
    "too_many_redirects": "The service redirects more than 10 times in a row.",
    "bad_redirect": "The service redirects to an address that cannot be called.",
    "redirect_refused": "The service asks to send a body on to another host, and the step reads secrets.",
    "egress_denied": "Flows may not call this address.",
}
_STEPS = {
    "bad_config": "The `config`, once rendered, is not what the step type takes.",
    "template_error": "A template could not be rendered.",
    "unsafe_url": "A value would leave its part of `url` and so change what is called (`AF220`); nothing was sent.",
    "output_too_large": "The outputs take more than 16 MiB.",
    "not_storable": "The database refuses the outputs for good.",
    "secret_unavailable": "A provider does not give a secret at the moment. Tried again.",
    "provider_broken": "A provider of secrets raised an error of its own. Tried again.",
    "unknown_type": "The worker has no such step type: its package is not installed there.",
    "plugin_broken": "The package of the step type could not be loaded.",
    "step_crashed": "The step type raised an error of its own.",
    "worker_lost": "Several workers died while they ran this step, one after another.",
    "foreach_not_a_list": "`foreach` gives no list.",
    "foreach_too_long": "`foreach` gives more than 10,000 items.",
    "approval_expired": "Nobody decided within `expires_sec`.",
    "child_failed": "The run that the `flow` step started has failed.",
    "child_cancelled": "The run that the `flow` step started was cancelled.",
    "no_flow": "The `flow` step names a flow that does not exist.",
    "flow_archived": "The `flow` step names a flow that is archived.",
    "invalid_input": "The inputs do not fit the flow that the `flow` step names.",
    "too_deep": "Flows call each other more than ten deep.",
}
_RUNS = {
    "bad_version": "This version of Automata cannot run the flow's version.",
    "concurrency_skipped": "As many runs as `concurrency` allows were under way (the run is `CANCELLED`).",
    "engine_error": "Automata itself made a mistake over this run; please report it.",
    "stuck": "The remaining steps wait for each other, which a checked flow cannot do.",
    "failed": "The step failed and said nothing else.",
}

CODES: Mapping[str, str] = {**_CALLS, **_STEPS, **_RUNS}
