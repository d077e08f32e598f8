-- Caller: store/worker_queue.py complete. Accepts results: the fence must still be ours, and what was written was accepted.
-- Index: task_queue_pkey, then by ctid; tasks_pkey. Locks: rows in (run_id, step) order.
-- The queue row turns into the wake-up of its run, so no further row is written for that. It is due a whole head
--   start ago (engine/fairness.py): what is begun goes before runs that are new. It reads nothing more: what a task read would
--   look like a kind of waiting where a step is called `flow` (store/waiting_codec.py).
-- A FAILED result leaves its dead letter in the same statement; `letters` reads no table for those that succeeded.
WITH held AS MATERIALIZED (
    SELECT input.*, queue.*
    FROM (
        SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[], %(status)s::text[],
                             %(outputs)s::text[], %(error)s::text[], %(code)s::text[])
          AS input(run_id, step, fence, status, outputs, error, code)
        ORDER BY run_id, step
    ) AS input
    CROSS JOIN LATERAL (
        SELECT ctid AS place, attempt, queued_at, started_at, worker, version_id FROM task_queue AS queue
        WHERE queue.run_id = input.run_id AND queue.step = input.step AND queue.fence = input.fence
        FOR UPDATE
    ) AS queue
), completed AS (
    UPDATE task_queue AS queue SET lane = ${ADVANCE}, ready_at = now() - ${HEAD_START}, fence = NULL, reads = '{}'
    FROM held WHERE queue.ctid = held.place
    RETURNING held.*
), letters AS (
    INSERT INTO dead_letters (run_id, flow_id, version_id, step, attempts, code, error)
    SELECT run_id, (SELECT flow_id FROM runs WHERE runs.id = completed.run_id), version_id, step, attempt, code,
           error::json
    FROM completed WHERE status = 'FAILED' AND code IS NOT NULL
), written AS (
    INSERT INTO tasks (run_id, step, status, attempt, queued_at, started_at, worker, outputs, error)
    SELECT run_id, step, status, attempt, queued_at, started_at, worker, outputs::json, error::json FROM completed
    RETURNING run_id, step
)
SELECT run_id, step, (run_id, step) IN (SELECT run_id, step FROM written) AS is_written FROM held
