-- Caller: store/orchestrator_queue.py request_cancel. Leaves word for the orchestrator; the cancel itself is an advance.
-- Index: runs_pkey, run_results_pkey, task_queue_pkey. Asking twice leaves one row.
WITH active AS (
    SELECT id, version_id FROM runs
    WHERE id = ANY(%(ids)s::uuid[]) AND NOT EXISTS (SELECT 1 FROM run_results WHERE run_id = id)
), requested AS (
    INSERT INTO task_queue (run_id, step, lane, ready_at, version_id)
    SELECT id, ${CANCEL}, ${ADVANCE}, now() - ${HEAD_START}, version_id FROM active
    ON CONFLICT DO NOTHING
)
SELECT id FROM active
