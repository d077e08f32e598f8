-- Caller: store/worker_queue.py renew (the heartbeat). What does not come back is no longer ours: stop its call.
-- Index: task_queue_pkey, then by ctid. Locks: rows in (run_id, step) order.
-- What is held comes back even where it was not written: then another renewal was faster.
WITH held AS MATERIALIZED (
    SELECT input.fence, queue.place
    FROM (
        SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[]) AS input(run_id, step, fence)
        ORDER BY run_id, step
    ) AS input
    CROSS JOIN LATERAL (
        SELECT ctid AS place FROM task_queue AS queue
        WHERE queue.run_id = input.run_id AND queue.step = input.step AND queue.fence = input.fence
        FOR UPDATE
    ) AS queue
), renewed AS (
    UPDATE task_queue AS queue SET ready_at = now() + make_interval(secs => %(lease)s)
    FROM held WHERE queue.ctid = held.place
)
SELECT fence FROM held
