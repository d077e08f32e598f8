-- Caller: store/worker_queue.py still_held. Which claims are neither lost nor cancelled; a look, nothing is renewed.
-- Index: task_queue_pkey. Locks: none.
SELECT queue.fence
FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[]) AS input(run_id, step, fence)
CROSS JOIN LATERAL (
    SELECT fence FROM task_queue AS queue
    WHERE queue.run_id = input.run_id AND queue.step = input.step AND queue.fence = input.fence
    OFFSET 0
) AS queue
