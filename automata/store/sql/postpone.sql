-- Caller: store/queue.py postpone. Puts wake-ups back when advancing their run raised: later, and counted.
-- Index: task_queue_pkey.
INSERT INTO task_queue (run_id, step, lane, ready_at, queued_at, version_id, losses, reads)
SELECT given.run_id, given.step, ${ADVANCE}, now() + make_interval(secs => 2 ^ given.losses),
       coalesce(given.queued_at, now()), runs.version_id, given.losses + 1,
       string_to_array(given.reads, ${READS_SEPARATOR})
FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(queued_at)s::timestamptz[], %(losses)s::int[],
            %(reads)s::text[])
  AS given(run_id, step, queued_at, losses, reads)
JOIN runs ON runs.id = given.run_id
ON CONFLICT DO NOTHING
