-- Caller: store/queue.py next_due. Seconds until the next row of a lane is ready; what an idle loop sleeps.
-- Index: task_queue_ready (lane, ready_at): its first entry.
SELECT greatest(0, extract(epoch FROM min(ready_at) - now()))::float8 FROM task_queue WHERE lane = %(lane)s
