-- Caller: store/orchestrator_queue.py load_snapshots. What the engine must know of the runs just taken: one row a run, states as arrays.
-- Index: runs_pkey, tasks_pkey, task_queue_pkey, run_results_pkey, run_attempts_pkey. Locks: none; the run's advisory lock is held.
-- A finished run is not among them: its late wake-ups mean nothing.
SELECT runs.id, runs.flow_id, runs.version_id, runs.trigger, runs.scheduled_for, runs.created_at, runs.inputs,
       now() AS now,
       done.steps AS done_steps, done.statuses AS done_statuses, done.errors AS done_errors, done.began AS done_began,
       moving.steps AS moving_steps, moving.statuses AS moving_statuses, moving.since AS moving_since,
       moving.began AS moving_began, runs.parent_run_id, runs.parent_step, runs.depth,
       retried.attempt AS retried_attempt, retried.steps AS retried_steps, retried.began AS retried_began,
       runs.traceparent, runs.contained, retried.at AS retried_at, retried.by AS retried_by
FROM runs
LEFT JOIN LATERAL (
    SELECT array_agg(step) AS steps, array_agg(status) AS statuses,
           array_agg(CASE WHEN status = 'FAILED' THEN error END) AS errors, min(queued_at) AS began
    FROM tasks WHERE run_id = runs.id
) AS done ON true
LEFT JOIN LATERAL (
    SELECT array_agg(step) AS steps,
           array_agg(CASE WHEN lane <> ${ADVANCE} AND fence IS NULL THEN 'QUEUED' ELSE 'RUNNING' END) AS statuses,
           array_agg(coalesce(started_at, queued_at)) AS since, min(queued_at) AS began
    FROM task_queue WHERE run_id = runs.id AND step NOT IN (${CREATED}, ${CANCEL})
) AS moving ON true
LEFT JOIN LATERAL (
    SELECT attempt, steps, started_at AS began, retried_at AS at, retried_by AS by FROM run_attempts WHERE run_id = runs.id ORDER BY attempt DESC LIMIT 1
) AS retried ON true
WHERE runs.id = ANY(%(ids)s::uuid[]) AND NOT EXISTS (SELECT FROM run_results WHERE run_id = runs.id OFFSET 0)
