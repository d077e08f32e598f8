-- Caller: store/orchestrator_queue.py apply, when runs end that a step of another run waits for. In the child's own transaction.
-- Index: task_queue_pkey. Locks: rows in (run_id, step) order. A parent that waits no more has no such row.
WITH waiting AS (
    SELECT queue.run_id, queue.step
    FROM unnest(%(run_id)s::uuid[], %(step)s::text[]) AS input(run_id, step)
    JOIN task_queue AS queue USING (run_id, step)
    WHERE queue.lane = ${ADVANCE}
    ORDER BY queue.run_id, queue.step
    FOR UPDATE OF queue
)
UPDATE task_queue AS queue SET ready_at = least(queue.ready_at, now() - ${HEAD_START})
FROM waiting WHERE queue.run_id = waiting.run_id AND queue.step = waiting.step
