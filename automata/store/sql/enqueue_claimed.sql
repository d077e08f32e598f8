-- Caller: store/orchestrator_queue.py apply. New work for the worker of the orchestrator's own process, born claimed: a lease and a
--   fence as claim_tasks.sql would give, without a second visit of the row. Only steps of a run's first attempt come this way.
-- Index: task_queue_pkey. Locks: none but the new rows; the run's advisory lock is held.
INSERT INTO task_queue (run_id, step, lane, ready_at, version_id, reads, fence, started_at, worker)
SELECT run_id, step, lane, now() + make_interval(secs => %(lease)s), version_id,
       string_to_array(reads, ${READS_SEPARATOR}), fence, now(), %(worker)s
FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(lane)s::text[], %(version_id)s::uuid[], %(reads)s::text[],
            %(fence)s::uuid[])
  AS input(run_id, step, lane, version_id, reads, fence)
ON CONFLICT DO NOTHING
