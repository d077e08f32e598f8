-- Caller: store/worker_queue.py claim. What templates may read of the runs whose tasks were just claimed; one row a run.
-- Index: runs_pkey, run_attempts_pkey. Locks: none; a run row changes only while nothing moves in the run.
SELECT id, trigger, scheduled_for, created_at, inputs,
       1 + coalesce((SELECT max(attempt) FROM run_attempts WHERE run_id = runs.id), 0) AS attempt, traceparent, contained,
       (SELECT json_object_agg(step, attempt + 1 ORDER BY attempt)
        FROM run_attempts CROSS JOIN LATERAL unnest(changed) AS step WHERE run_id = runs.id) AS changed
FROM runs WHERE id = ANY(%(ids)s::uuid[])
