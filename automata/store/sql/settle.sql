-- Caller: store/queue.py apply. Final states that the orchestrator decided itself.
-- Index: tasks_pkey. Locks: none but the new rows; a state that is already there stays.
INSERT INTO tasks (run_id, step, status, queued_at, started_at, outputs, error)
SELECT run_id, step, status, since, since, outputs::json, error::json
FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(status)s::text[], %(since)s::timestamptz[],
            %(outputs)s::text[], %(error)s::text[])
  AS given(run_id, step, status, since, outputs, error)
ON CONFLICT DO NOTHING
