-- Caller: store/worker_queue.py renew (the heartbeat). What does not come back is no longer ours: stop its call.
-- Index: task_queue_pkey. Locks: rows in (run_id, step) order.
WITH held AS MATERIALIZED (
    SELECT queue.run_id, queue.step
    FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[]) AS input(run_id, step, fence)
    JOIN task_queue AS queue USING (run_id, step)
    WHERE queue.fence = input.fence
    ORDER BY queue.run_id, queue.step
    FOR UPDATE OF queue
)
UPDATE task_queue AS queue SET ready_at = now() + make_interval(secs => %(lease)s)
FROM held WHERE queue.run_id = held.run_id AND queue.step = held.step
RETURNING queue.fence
