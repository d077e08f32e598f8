-- Caller: store/worker_queue.py complete. Accepts results: the fence must still be ours, and what returns was accepted.
-- Index: task_queue_pkey, tasks_pkey. Locks: rows in (run_id, step) order.
-- The queue row turns into the wake-up of its run, so no further row is written for that. It is due a whole head
--   start ago (engine/fairness.py): what is begun goes before runs that are new. It reads nothing more: what a task read would
--   look like a kind of waiting where a step is called `flow` (store/waiting_codec.py).
-- A FAILED result leaves its dead letter in the same statement; `letters` reads no table for those that succeeded.
WITH input AS (
    SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[], %(status)s::text[],
                         %(outputs)s::text[], %(error)s::text[], %(code)s::text[])
      AS input(run_id, step, fence, status, outputs, error, code)
), accepted AS MATERIALIZED (
    SELECT queue.run_id, queue.step, input.status, input.outputs, input.error, input.code
    FROM input JOIN task_queue AS queue USING (run_id, step)
    WHERE queue.fence = input.fence
    ORDER BY queue.run_id, queue.step
    FOR UPDATE OF queue
), completed AS (
    UPDATE task_queue AS queue SET lane = ${ADVANCE}, ready_at = now() - ${HEAD_START}, fence = NULL, reads = '{}'
    FROM accepted WHERE queue.run_id = accepted.run_id AND queue.step = accepted.step
    RETURNING queue.run_id, queue.step, accepted.status, queue.attempt, queue.queued_at, queue.started_at, queue.worker,
              queue.version_id, accepted.outputs, accepted.error, accepted.code
), letters AS (
    INSERT INTO dead_letters (run_id, flow_id, version_id, step, attempts, code, error)
    SELECT run_id, (SELECT flow_id FROM runs WHERE runs.id = completed.run_id), version_id, step, attempt, code,
           error::json
    FROM completed WHERE status = 'FAILED' AND code IS NOT NULL
)
INSERT INTO tasks (run_id, step, status, attempt, queued_at, started_at, worker, outputs, error)
SELECT run_id, step, status, attempt, queued_at, started_at, worker, outputs::json, error::json FROM completed
RETURNING run_id, step
