"""Workflows of DBOS in this process: python peer_dbos.py URL WORK COUNT. Prints one line of JSON.

Started directly, which is its fastest way: no queue and no poll between start and first step.
"""

from __future__ import annotations

import json
import sys
import time

from dbos import DBOS, DBOSConfig

STEPS = 10


def main(url: str, work: str, count: int) -> None:
    config: DBOSConfig = {"name": "bench", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False}
    DBOS(config=config)

    @DBOS.step()
    def step(n: int) -> dict[str, bool]:
        return {"ok": True}

    @DBOS.workflow()
    def flow(steps: int) -> None:
        for n in range(steps):
            step(n)

    DBOS.launch()
    flow(1)  # what runs once is over by then
    samples = []
    cpu, began = time.process_time(), time.perf_counter()
    if work == "idle":
        for _ in range(count):
            start = time.perf_counter()
            DBOS.start_workflow(flow, 1).get_result()
            samples.append(1000 * (time.perf_counter() - start))
    else:
        started = [DBOS.start_workflow(flow, STEPS if work == "chain" else 1) for _ in range(count)]
        for one in started:
            one.get_result()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    DBOS.destroy()
    print(json.dumps({"seconds": seconds, "cpu_sec": cpu, "samples_ms": samples}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
