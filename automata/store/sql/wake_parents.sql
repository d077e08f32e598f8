-- Caller: store/orchestrator_queue.py apply, when runs end that a step of another run waits for. In the child's own transaction.
-- Index: task_queue_pkey, then by ctid. Locks: rows in (run_id, step) order. A parent that waits no more has no such row.
--   IS TRUE keeps the lane from being walked, of which an empty queue promises that it is short.
WITH held AS MATERIALIZED (
    SELECT input.run_id, input.step, queue.place
    FROM (
        SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[]) AS input(run_id, step) ORDER BY run_id, step
    ) AS input
    CROSS JOIN LATERAL (
        SELECT ctid AS place FROM task_queue AS queue
        WHERE queue.run_id = input.run_id AND queue.step = input.step AND (queue.lane = ${ADVANCE}) IS TRUE
        FOR UPDATE
    ) AS queue
), woken AS (
    UPDATE task_queue AS queue SET ready_at = least(queue.ready_at, now() - ${HEAD_START})
    FROM held WHERE queue.ctid = held.place
    RETURNING held.run_id, held.step
)
SELECT run_id, step, (run_id, step) IN (SELECT run_id, step FROM woken) AS is_written FROM held
