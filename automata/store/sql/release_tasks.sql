-- Caller: store/worker_queue.py release (a drain). Gives tasks back at once; the attempt does not count.
-- Index: task_queue_pkey. Locks: rows in (run_id, step) order.
WITH held AS MATERIALIZED (
    SELECT queue.run_id, queue.step
    FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[]) AS input(run_id, step, fence)
    JOIN task_queue AS queue USING (run_id, step)
    WHERE queue.fence = input.fence
    ORDER BY queue.run_id, queue.step
    FOR UPDATE OF queue
)
UPDATE task_queue AS queue SET ready_at = now(), fence = NULL, started_at = NULL, worker = NULL
FROM held WHERE queue.run_id = held.run_id AND queue.step = held.step
