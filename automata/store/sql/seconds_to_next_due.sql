-- Caller: store/orchestrator_queue.py seconds_to_next_due. Seconds until the next row of a lane is ready; what an idle loop sleeps.
-- Index: task_queue_ready (lane, ready_at): its first entry. No row for an empty lane: min() would make one, and
--   greatest() would turn its NULL into "now", so that an idle loop never slept.
SELECT greatest(0, extract(epoch FROM ready_at - now()))::float8
FROM task_queue WHERE lane = %(lane)s ORDER BY ready_at LIMIT 1
