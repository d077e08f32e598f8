-- Caller: store/worker_queue.py complete_under_lock. Accepts results whose run is advanced in this same transaction: the row of the queue
--   goes instead of turning into a wake-up, and the state is written. What does not return was not touched.
-- Index: task_queue_pkey, then by ctid; tasks_pkey.
-- Locks: the run's advisory lock without waiting (a run that another orchestrator holds is left to complete_tasks.sql), then
--   rows in the order of the arrays, which is that of (run_id, step). A row that changes while it is waited for is
--   accepted if its fence still is ours, or left to complete_tasks.sql: its ctid is another by then.
--   The lock is asked for once a result, where the arrays are read: a filter on a join is asked, and locks, for every row
--   that a plan comes by.
WITH held AS MATERIALIZED (
    SELECT input.*, queue.*
    FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[], %(status)s::text[],
                %(outputs)s::text[], %(error)s::text[], %(code)s::text[])
      AS input(run_id, step, fence, status, outputs, error, code)
    CROSS JOIN LATERAL (
        SELECT ctid AS place, attempt, queued_at, started_at, worker, version_id FROM task_queue AS queue
        WHERE queue.run_id = input.run_id AND queue.step = input.step AND queue.fence = input.fence
        OFFSET 0
    ) AS queue
    WHERE pg_try_advisory_xact_lock(hashtextextended(input.run_id::text, 0))
), accepted AS (
    DELETE FROM task_queue AS queue USING held WHERE queue.ctid = held.place AND queue.fence = held.fence
    RETURNING held.*
), letters AS (
    INSERT INTO dead_letters (run_id, flow_id, version_id, step, attempts, code, error)
    SELECT run_id, (SELECT flow_id FROM runs WHERE runs.id = accepted.run_id), version_id, step, attempt, code,
           error::json
    FROM accepted WHERE status = 'FAILED' AND code IS NOT NULL
), written AS (
    INSERT INTO tasks (run_id, step, status, attempt, queued_at, started_at, worker, outputs, error)
    SELECT run_id, step, status, attempt, queued_at, started_at, worker, outputs::json, error::json FROM accepted
)
SELECT fence, now() FROM accepted
