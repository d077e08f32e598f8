-- Caller: store/orchestrator_queue.py apply. New work for workers and new timers.
-- Index: task_queue_pkey; for runs that were retried also task_attempts_pkey, since their attempts count on.
-- Locks: none but the new rows; the run's advisory lock is held.
INSERT INTO task_queue (run_id, step, lane, ready_at, version_id, reads, attempt, earlier)
SELECT run_id, step, lane, coalesce(ready_at, now()), version_id, string_to_array(reads, ${READS_SEPARATOR}),
       1 + earlier.attempts, earlier.attempts
FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(lane)s::text[], %(ready_at)s::timestamptz[],
            %(version_id)s::uuid[], %(reads)s::text[])
  AS input(run_id, step, lane, ready_at, version_id, reads)
CROSS JOIN LATERAL (
    SELECT CASE WHEN run_id = ANY(%(retried)s::uuid[]) THEN (
        SELECT coalesce(max(attempt), 0) FROM task_attempts AS attempts
        WHERE attempts.run_id = input.run_id AND attempts.step = input.step
    ) ELSE 0 END AS attempts
) AS earlier
ON CONFLICT DO NOTHING
