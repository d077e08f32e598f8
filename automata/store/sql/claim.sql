-- Caller: store/tasks.py claim, for the free slots of one worker.
-- Index: task_queue_ready (lane, ready_at). A lease that ran out is simply ready again; `losses` counts those.
-- Locks: rows with SKIP LOCKED. The transaction does not wait for the disk: losing a claim only repeats it, and a
--   fence is random, so one that a database crash forgot can never be handed out again.
WITH due AS MATERIALIZED (
    SELECT run_id, step FROM task_queue
    WHERE lane = %(lane)s AND ready_at <= now()
    ORDER BY ready_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE task_queue AS queue
SET fence = gen_random_uuid(), losses = queue.losses + (queue.fence IS NOT NULL)::int,
    ready_at = now() + make_interval(secs => %(lease)s), started_at = now(), worker = %(worker)s
FROM due
WHERE queue.run_id = due.run_id AND queue.step = due.step
RETURNING queue.run_id, queue.step, queue.fence, queue.attempt, queue.losses, queue.version_id, queue.reads,
          queue.earlier, now() AS now
