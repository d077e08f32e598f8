-- Caller: store/tasks.py complete. Accepts results: the fence must still be ours, and what returns was accepted.
-- Index: task_queue_pkey, tasks_pkey. Locks: rows in (run_id, step) order.
-- The queue row turns into the wake-up of its run, so no further row is written for that. It is due a whole head start
--   ago (engine/fairness.py): what is begun goes before runs that are new. It reads nothing more: what a task read would
--   look like a kind of waiting where a step is called `flow` (store/waiting.py).
-- A FAILED result leaves its dead letter in the same statement; `letters` reads no table for those that succeeded.
WITH given AS (
    SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[], %(status)s::text[],
                         %(outputs)s::text[], %(error)s::text[], %(code)s::text[])
      AS given(run_id, step, fence, status, outputs, error, code)
), mine AS MATERIALIZED (
    SELECT queue.run_id, queue.step, given.status, given.outputs, given.error, given.code
    FROM given JOIN task_queue AS queue USING (run_id, step)
    WHERE queue.fence = given.fence
    ORDER BY queue.run_id, queue.step
    FOR UPDATE OF queue
), freed AS (
    UPDATE task_queue AS queue SET lane = ${ADVANCE}, ready_at = now() - ${HEAD_START}, fence = NULL, reads = '{}'
    FROM mine WHERE queue.run_id = mine.run_id AND queue.step = mine.step
    RETURNING queue.run_id, queue.step, mine.status, queue.attempt, queue.queued_at, queue.started_at, queue.worker,
              queue.version_id, mine.outputs, mine.error, mine.code
), letters AS (
    INSERT INTO dead_letters (run_id, flow_id, version_id, step, attempts, code, error)
    SELECT run_id, (SELECT flow_id FROM runs WHERE runs.id = freed.run_id), version_id, step, attempt, code, error::json
    FROM freed WHERE status = 'FAILED' AND code IS NOT NULL
)
INSERT INTO tasks (run_id, step, status, attempt, queued_at, started_at, worker, outputs, error)
SELECT run_id, step, status, attempt, queued_at, started_at, worker, outputs::json, error::json FROM freed
RETURNING run_id, step
