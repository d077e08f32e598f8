-- Caller: store/orchestrator_queue.py apply. Final states that the orchestrator decided itself.
-- Index: tasks_pkey; for runs that were retried also task_attempts_pkey, since their attempts count on.
-- Locks: none but the new rows; a state that is already there stays. `code` is given for a failure that is the step's
--   own (a group's is that of a step inside): it leaves a dead letter.
WITH input AS MATERIALIZED (
    SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(status)s::text[], %(since)s::timestamptz[],
                         %(outputs)s::text[], %(error)s::text[], %(code)s::text[])
      AS input(run_id, step, status, since, outputs, error, code)
), settled AS (
    INSERT INTO tasks (run_id, step, status, attempt, queued_at, started_at, outputs, error)
    SELECT run_id, step, status,
           CASE WHEN run_id = ANY(%(retried)s::uuid[]) THEN 1 + (
               SELECT coalesce(max(attempt), 0) FROM task_attempts AS attempts
               WHERE attempts.run_id = input.run_id AND attempts.step = input.step
           ) ELSE 1 END,
           since, since, outputs::json, error::json
    FROM input
    ON CONFLICT DO NOTHING
    RETURNING run_id, step, status, attempt
)
INSERT INTO dead_letters (run_id, flow_id, version_id, step, attempts, code, error)
SELECT run_id, runs.flow_id, runs.version_id, step, settled.attempt, input.code, input.error::json
FROM settled JOIN input USING (run_id, step) JOIN runs ON runs.id = run_id
WHERE settled.status = 'FAILED' AND input.code IS NOT NULL
