-- Caller: store/queue.py apply. New work for workers and new timers.
-- Index: task_queue_pkey. Locks: none but the new rows; the run's advisory lock is held.
INSERT INTO task_queue (run_id, step, lane, ready_at, version_id, reads)
SELECT run_id, step, lane, coalesce(ready_at, now()), version_id, string_to_array(reads, E'\x1f')
FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(lane)s::text[], %(ready_at)s::timestamptz[],
            %(version_id)s::uuid[], %(reads)s::text[])
  AS given(run_id, step, lane, ready_at, version_id, reads)
ON CONFLICT DO NOTHING
