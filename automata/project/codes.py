"""The stable codes of what a repository can have wrong beside its flows, with one sentence each for docs/errors.md."""

from __future__ import annotations

from collections.abc import Mapping

CODES: Mapping[str, str] = {
    "AF301": "A flow folder of `automata.yaml` is the project's own folder, or holds the files of another one.",
    "AF302": "A path or a branch in `automata.yaml` cannot be one.",
    "AF303": "The file of an environment does not exist.",
    "AF304": "A flow folder that `automata.yaml` names does not exist (a warning).",
    "AF305": "Two flows are renamed from the same one.",
    "AF306": "A rule of an environment's `egress` cannot be read.",
    "AF307": "A notification of an environment cannot be sent as it is written.",
    "AF310": "A symbolic link stands where a file or folder is read.",
    "AF311": "A submodule stands where a file or folder is read.",
    "AF312": "Two names differ only in case or in their Unicode form.",
    "AF313": "A file is larger than 256 KiB (flows) or 1 MiB (others).",
    "AF314": "A name holds characters, or is a name, that not every file system can keep.",
    "AF315": "A name is not UTF-8.",
    "AF316": "A folder holds more than 20,000 files and folders.",
    "AF317": "A path is longer than 1,024 bytes, a name longer than 255, or a file lies deeper than 32 folders.",
    "AF320": "A template reads a variable that the environment does not have.",
    "AF330": "A step calls a flow that is not in this repository (a warning).",
    "AF331": "Flows call each other in a circle.",
    "AF332": "Webhooks of two flows have the same secret (a warning).",
    "AF321": "A template reads a secret that the environment's file does not list (a warning).",
}
