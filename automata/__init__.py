"""Automata: flows live in Git, are proven before the merge, and run durably on PostgreSQL."""

from functools import cache

__version__ = "0.1.0"
DISTRIBUTION = "automata-flows"  # what pip installs; `automata` on the public index is somebody else's

_CODE = frozenset({".html", ".py", ".sql"})


@cache
def build() -> str:
    """The version with a digest of the product's own code, as `0.1.0+3fa9c1d27b`.

    Two processes with one build run the same code, however it was installed; between releases the version alone is
    one for every commit, and would hide that they do not.
    """
    import hashlib
    from pathlib import Path

    package = Path(__file__).parent
    code = {path.relative_to(package): path for path in package.rglob("*.*") if path.suffix in _CODE}
    digest = hashlib.sha256()
    for name in sorted(name for name in code if name.parts[0] != "_data"):  # `_data` is not in a checkout
        digest.update(name.as_posix().encode() + b"\0" + code[name].read_bytes() + b"\0")
    return f"{__version__}+{digest.hexdigest()[:10]}"
