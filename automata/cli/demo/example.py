"""The demo's flows repository: `flows-example` as it stands, with the hosts of its environment pointed at the shop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from automata import DISTRIBUTION
from automata.errors import Unavailable
from automata.git.create import clone_bare, create_repository


def make_repository(target: Path, shop_url: str) -> str:
    """Copy the example to `target` and make it a Git repository; returns its first commit's SHA."""
    shutil.copytree(example_folder(), target, dirs_exist_ok=True)
    hosts = {
        "crm_url": f"{shop_url}/crm",
        "erp_url": f"{shop_url}/erp",
        "shipping_url": f"{shop_url}/shipping",
        "bank_url": f"{shop_url}/bank",
        "alerts_url": shop_url,
    }
    # JSON is YAML.
    (target / "environments" / "prod.yaml").write_text(json.dumps({"vars": hosts}, indent=2) + "\n", encoding="utf-8")
    return create_repository(target, "Start with the example flows")


def make_bare_repository(target: Path, shop_url: str) -> str:
    """The same as a bare repository at `target`: one whose branches may be moved, since nobody works in it."""
    work = target.with_suffix(".work")
    commit = make_repository(work, shop_url)
    clone_bare(work, target)
    shutil.rmtree(work)
    return commit


def example_folder() -> Path:
    """Where the example is: inside the wheel, or at the root of a checkout."""
    package = Path(__file__).parents[2]
    for place in (package / "_data" / "flows-example", package.parent / "flows-example"):
        if (place / "automata.yaml").is_file():
            return place
    raise Unavailable("The example is missing from this installation.", hint=f"Install {DISTRIBUTION} again.")
