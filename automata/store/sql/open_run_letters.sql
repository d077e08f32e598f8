-- Caller: store/orchestrator_queue.py apply, when runs end FAILED by none of their steps: their outputs cannot be made, or the run cannot
--   be executed. The letter names no step; whoever retries it retries all that has failed in the run.
-- Locks: none but the new rows; the run's advisory lock is held.
INSERT INTO dead_letters (run_id, flow_id, version_id, step, attempts, code, error)
SELECT run_id, flow_id, version_id, ${NO_STEP}, attempts, code, error::json
FROM unnest(%(run_id)s::uuid[], %(flow_id)s::uuid[], %(version_id)s::uuid[], %(attempts)s::int[], %(error)s::text[],
            %(code)s::text[])
  AS input(run_id, flow_id, version_id, attempts, error, code)
