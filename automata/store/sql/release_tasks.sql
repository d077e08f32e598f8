-- Caller: store/worker_queue.py release (a drain). Gives tasks back at once; the attempt does not count.
-- Index: task_queue_pkey, then by ctid. Locks: rows in (run_id, step) order.
WITH held AS MATERIALIZED (
    SELECT input.run_id, input.step, queue.place
    FROM (
        SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[]) AS input(run_id, step, fence)
        ORDER BY run_id, step
    ) AS input
    CROSS JOIN LATERAL (
        SELECT ctid AS place FROM task_queue AS queue
        WHERE queue.run_id = input.run_id AND queue.step = input.step AND queue.fence = input.fence
        FOR UPDATE
    ) AS queue
), released AS (
    UPDATE task_queue AS queue SET ready_at = now(), fence = NULL, started_at = NULL, worker = NULL
    FROM held WHERE queue.ctid = held.place
    RETURNING held.run_id, held.step
)
SELECT run_id, step, (run_id, step) IN (SELECT run_id, step FROM released) AS is_written FROM held
