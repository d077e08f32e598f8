"""Writes image.txt and build.txt beside this file: pinned as runtime.txt and dev.txt say, with the digest of each file.

`python constraints/hashes.py UV`, with the program of that name; `make hashes` calls it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"
EXTRAS = ("oidc", "otel")  # that the image has
OPTIONS = ("--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet")
HEADS = {
    "image.txt": "# What the image runs with: runtime.txt with the digest of every file. Made by `make hashes`.\n",
    "build.txt": "# What the wheel is built with, by the same rule. Made by `make hashes`.\n",
}


def main(uv: str) -> None:
    """Both files, for every platform that there are wheels for."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    extras = [requirement for name in EXTRAS for requirement in project["project"]["optional-dependencies"][name]]
    _write("image.txt", uv, [*project["project"]["dependencies"], *extras], "runtime.txt")
    _write("build.txt", uv, project["build-system"]["requires"], "dev.txt")


def _write(name: str, uv: str, requirements: list[str], constraints: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wanted, found = Path(folder, "wanted.in"), Path(folder, name)
        wanted.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        options = ["--python-version", "3.11", *OPTIONS]
        words = [uv, "pip", "compile", wanted, "--constraint", HERE / constraints, *options, "--output-file", found]
        subprocess.run(words, check=True)  # noqa: S603 - the program that the caller names, no shell
        (HERE / name).write_text(HEADS[name] + found.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
