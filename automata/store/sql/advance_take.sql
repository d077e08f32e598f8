-- Caller: store/queue.py take. Takes wake-ups (new runs, finished tasks, due timers, cancels) and their runs.
-- Index: task_queue_ready (lane, ready_at).
-- Locks: rows with SKIP LOCKED, then the run's advisory lock without waiting: two orchestrators never advance one
--   run at a time, and never wait for each other. A run that another holds keeps its rows for the next take.
--   States are read by the *next* statement, so its snapshot is younger than the lock.
WITH due AS MATERIALIZED (
    SELECT run_id, step FROM task_queue
    WHERE lane = '@advance' AND ready_at <= now()
    ORDER BY ready_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), held AS MATERIALIZED (
    SELECT run_id, pg_try_advisory_xact_lock(hashtextextended(run_id::text, 0)) AS mine
    FROM (SELECT DISTINCT run_id FROM due) AS runs_due
), taken AS (
    DELETE FROM task_queue AS queue
    USING due JOIN held USING (run_id)
    WHERE held.mine AND queue.run_id = due.run_id AND queue.step = due.step
    RETURNING queue.run_id, queue.step, queue.queued_at, queue.losses, true AS mine, queue.reads
)
SELECT run_id, step, queued_at, losses, mine, reads FROM taken
UNION ALL
SELECT run_id, '', NULL, 0, false, NULL FROM held WHERE NOT mine
