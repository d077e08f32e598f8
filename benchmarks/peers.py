"""What users would pick instead, on the same database server, in turn with the product: DBOS and Procrastinate.

They are installed from PyPI into build/peers, and are no dependency of anything here.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg

from benchmarks import counters

PLACE = Path("build/peers")
PEERS = {"dbos": "dbos==3.4.0", "procrastinate": "procrastinate==3.10.0"}
WORKS = {"one-step": (500, 1), "chain": (100, 10), "idle": (40, 1)}  # name -> (runs at scale 1, steps of a run)
ANSWER_SEC = 300


def install() -> Path:
    """The Python that has them. Raises CalledProcessError without a package index."""
    python = PLACE / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", PLACE], check=True)
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEERS.values()]
    subprocess.run(pip, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=ANSWER_SEC)
    return python


def measure(python: Path, url: str, postmaster: psutil.Process, name: str, work: str, scale: float) -> dict[str, Any]:
    """One turn of one peer: seconds, rates and what a step cost the server."""
    runs, steps = max(20, int(WORKS[work][0] * scale)), WORKS[work][1]
    fresh = _database(url)
    script = Path(__file__).with_name(f"peer_{name}.py")

    before = counters.read_apart(fresh, psutil.Process(), postmaster)
    words = [python, script, fresh, work, str(runs)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=ANSWER_SEC, check=False)
    if done.returncode or not done.stdout.strip():
        raise RuntimeError(f"{name} said {done.stderr[-500:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    time.sleep(1.2)  # backends report their counters about once a second
    cost = counters.read_apart(fresh, psutil.Process(), postmaster) - before
    total = runs * steps
    return {
        "runs_per_sec": runs / said["seconds"],
        "steps_per_sec": total / said["seconds"],
        "p50_ms": statistics.median(said["samples_ms"]) if said["samples_ms"] else None,
        "per_step": {
            "statements": cost.statements / total,
            "row_writes": cost.row_writes / total,
            "commits": cost.commits / total,
            "wal_bytes": cost.wal_bytes / total,
            "cpu_ms": 1000 * (said["cpu_sec"] + cost.postgres_cpu_sec) / total,
        },
    }


def _database(url: str) -> str:
    name = f"peer_{uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    fresh = url.replace("/automata?", f"/{name}?")
    with psycopg.connect(fresh, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION pg_stat_statements")
    return fresh
