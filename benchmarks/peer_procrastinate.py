"""Jobs of Procrastinate, worker in this process: python peer_procrastinate.py URL WORK COUNT. Prints one line of JSON.

It keeps no state between jobs, so a chain is ten jobs that each put in the next: less than a flow gives.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import procrastinate

STEPS = 10
WIDTH = 500


def make(url: str) -> procrastinate.App:
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, max_size=16))


async def main(url: str, work: str, count: int) -> None:
    app = make(url)
    left = 0
    ended = asyncio.Event()

    @app.task(name="one")
    async def one(step: int) -> None:
        nonlocal left
        if step > 1:
            await one.defer_async(step=step - 1)
            return
        left -= 1
        if left <= 0:
            ended.set()

    samples: list[float] = []
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        worker = asyncio.create_task(app.run_worker_async(concurrency=64, install_signal_handlers=False))
        await asyncio.sleep(1)
        cpu, began = time.process_time(), time.perf_counter()
        if work == "idle":
            for _ in range(count):
                left, start = 1, time.perf_counter()
                ended.clear()
                await one.defer_async(step=1)
                await ended.wait()
                samples.append(1000 * (time.perf_counter() - start))
        else:
            left, steps = count, STEPS if work == "chain" else 1
            for first in range(0, count, WIDTH):
                await one.batch_defer_async(*[{"step": steps}] * min(WIDTH, count - first))
            await ended.wait()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    print(json.dumps({"seconds": seconds, "cpu_sec": cpu, "samples_ms": samples}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
