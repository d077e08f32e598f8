-- Caller: store/tasks.py complete. Accepts results: the fence must still be ours, and what returns was accepted.
-- Index: task_queue_pkey, tasks_pkey. Locks: rows in (run_id, step) order.
-- The queue row turns into the wake-up of its run, so no further row is written for that.
WITH given AS (
    SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[], %(status)s::text[],
                         %(outputs)s::text[], %(error)s::text[])
      AS given(run_id, step, fence, status, outputs, error)
), mine AS MATERIALIZED (
    SELECT queue.run_id, queue.step, given.status, given.outputs, given.error
    FROM given JOIN task_queue AS queue USING (run_id, step)
    WHERE queue.fence = given.fence
    ORDER BY queue.run_id, queue.step
    FOR UPDATE OF queue
), freed AS (
    UPDATE task_queue AS queue SET lane = '@advance', ready_at = now(), fence = NULL
    FROM mine WHERE queue.run_id = mine.run_id AND queue.step = mine.step
    RETURNING queue.run_id, queue.step, mine.status, queue.attempt, queue.queued_at, queue.started_at, queue.worker,
              mine.outputs, mine.error
)
INSERT INTO tasks (run_id, step, status, attempt, queued_at, started_at, worker, outputs, error)
SELECT run_id, step, status, attempt, queued_at, started_at, worker, outputs::json, error::json FROM freed
RETURNING run_id, step
