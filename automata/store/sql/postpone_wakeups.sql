-- Caller: store/orchestrator_queue.py postpone. Puts wake-ups back when advancing their run raised: later, and counted.
-- Index: task_queue_pkey.
INSERT INTO task_queue (run_id, step, lane, ready_at, queued_at, version_id, losses, reads)
SELECT input.run_id, input.step, ${ADVANCE}, now() + make_interval(secs => 2 ^ input.losses),
       coalesce(input.queued_at, now()), runs.version_id, input.losses + 1,
       string_to_array(input.reads, ${READS_SEPARATOR})
FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(queued_at)s::timestamptz[], %(losses)s::int[],
            %(reads)s::text[])
  AS input(run_id, step, queued_at, losses, reads)
JOIN runs ON runs.id = input.run_id
ON CONFLICT DO NOTHING
