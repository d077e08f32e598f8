-- Caller: store/worker_queue.py still_held. Which claims are neither lost nor cancelled; a look, nothing is renewed.
-- Index: task_queue_pkey. Locks: none.
SELECT queue.fence
FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[]) AS input(run_id, step, fence)
JOIN task_queue AS queue USING (run_id, step)
WHERE queue.fence = input.fence
