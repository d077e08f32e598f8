-- Caller: store/worker_queue.py retry. A failed attempt goes back to the queue for later and holds no slot meanwhile.
-- Index: task_queue_pkey. Locks: rows in (run_id, step) order; the fence must still be ours.
WITH input AS (
    SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[], %(delay_ms)s::bigint[],
                         %(error)s::text[])
      AS input(run_id, step, fence, delay_ms, error)
), accepted AS MATERIALIZED (
    SELECT queue.run_id, queue.step, queue.attempt, queue.started_at, queue.worker, input.delay_ms, input.error
    FROM input JOIN task_queue AS queue USING (run_id, step)
    WHERE queue.fence = input.fence
    ORDER BY queue.run_id, queue.step
    FOR UPDATE OF queue
), requeued AS (
    UPDATE task_queue AS queue
    SET fence = NULL, started_at = NULL, worker = NULL, attempt = queue.attempt + 1,
        ready_at = now() + make_interval(secs => accepted.delay_ms / 1000.0)
    FROM accepted WHERE queue.run_id = accepted.run_id AND queue.step = accepted.step
    RETURNING queue.run_id, queue.step, accepted.attempt, accepted.started_at, accepted.worker, accepted.error,
              queue.ready_at
)
INSERT INTO task_attempts (run_id, step, attempt, started_at, worker, error, retry_at)
SELECT run_id, step, attempt, started_at, worker, error::json, ready_at FROM requeued
ON CONFLICT DO NOTHING
RETURNING run_id, step
