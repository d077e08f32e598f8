-- Caller: store/orchestrator_queue.py apply. Ends runs: the result, and no row left that moves.
-- Index: run_results_pkey, task_queue_pkey. Locks: rows of finished runs only; their advisory locks are held.
WITH emptied AS (
    DELETE FROM task_queue WHERE run_id = ANY(%(run_id)s::uuid[])
)
INSERT INTO run_results (run_id, flow_id, status, started_at, outputs, error)
SELECT run_id, flow_id, status, coalesce(started_at, now()), outputs::json, error::json
FROM unnest(%(run_id)s::uuid[], %(flow_id)s::uuid[], %(status)s::text[], %(started_at)s::timestamptz[],
            %(outputs)s::text[], %(error)s::text[])
  AS input(run_id, flow_id, status, started_at, outputs, error)
ON CONFLICT DO NOTHING
