"""What may be wrong with a test file, beside what codes AF001 to AF035 say of any file. docs/errors.md lists them."""

from __future__ import annotations

CODES = {
    "AF401": "A test file names a file that is not there, too large, or outside of the repository.",
    "AF402": "Two cases of a test file have the same name.",
    "AF403": "A time of a test file cannot be read.",
    "AF404": "Two mocks of a test file have the same id.",
    "AF405": "A mock of a step says what only a mock of a request can, or not what it gives.",
    "AF406": "A matcher of a mock or an expectation cannot be read.",
    "AF407": "A test file is about a flow that is not there.",
    "AF408": "A recording is not one, or lacks what a replay needs.",
    "AF409": "An OpenAPI file cannot be used, or a response of a mock does not follow it.",
}
