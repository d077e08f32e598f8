-- Caller: store/worker_queue.py claim, for the free slots of one worker.
-- Index: task_queue_ready (lane, ready_at), then by ctid (see take_wakeups.sql). A lease that ran out is simply ready
--   again; `losses` counts those.
-- Locks: rows with SKIP LOCKED. The transaction does not wait for the disk: losing a claim only repeats it, and a
--   fence is random, so one that a database crash forgot can never be handed out again.
UPDATE task_queue
SET fence = gen_random_uuid(), losses = losses + (fence IS NOT NULL)::int,
    ready_at = now() + make_interval(secs => %(lease)s), started_at = now(), worker = %(worker)s
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM task_queue
    WHERE lane = %(lane)s AND ready_at <= now()
    ORDER BY ready_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
))
RETURNING run_id, step, fence, attempt, losses, version_id, reads, earlier, now() AS now
