-- Caller: store/orchestrator_queue.py postpone. Puts wake-ups back when advancing their run raised: later, and counted.
-- Index: runs_pkey, task_queue_pkey.
INSERT INTO task_queue (run_id, step, lane, ready_at, queued_at, version_id, losses, reads)
SELECT input.run_id, input.step, ${ADVANCE}, now() + make_interval(secs => 2 ^ least(input.losses, 12)),
       coalesce(input.queued_at, now()), run.version_id, input.losses + 1,
       string_to_array(input.reads, ${READS_SEPARATOR})
FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(queued_at)s::timestamptz[], %(losses)s::int[],
            %(reads)s::text[])
  AS input(run_id, step, queued_at, losses, reads)
CROSS JOIN LATERAL (SELECT version_id FROM runs WHERE runs.id = input.run_id OFFSET 0) AS run
ON CONFLICT DO NOTHING
