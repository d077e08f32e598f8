-- Caller: store/worker_queue.py retry. A failed attempt goes back to the queue for later and holds no slot meanwhile.
-- Index: task_queue_pkey, then by ctid. Locks: rows in (run_id, step) order; the fence must still be ours.
WITH held AS MATERIALIZED (
    SELECT input.*, queue.*
    FROM (
        SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(fence)s::uuid[], %(delay_ms)s::bigint[],
                             %(error)s::text[])
          AS input(run_id, step, fence, delay_ms, error)
        ORDER BY run_id, step
    ) AS input
    CROSS JOIN LATERAL (
        SELECT ctid AS place, attempt, started_at, worker FROM task_queue AS queue
        WHERE queue.run_id = input.run_id AND queue.step = input.step AND queue.fence = input.fence
        FOR UPDATE
    ) AS queue
), requeued AS (
    UPDATE task_queue AS queue
    SET fence = NULL, started_at = NULL, worker = NULL, attempt = queue.attempt + 1,
        ready_at = now() + make_interval(secs => held.delay_ms / 1000.0)
    FROM held WHERE queue.ctid = held.place
    RETURNING held.*, queue.ready_at
), written AS (
    INSERT INTO task_attempts (run_id, step, attempt, started_at, worker, error, retry_at)
    SELECT run_id, step, attempt, started_at, worker, error::json, ready_at FROM requeued
    ON CONFLICT DO NOTHING
)
SELECT run_id, step, (run_id, step) IN (SELECT run_id, step FROM requeued) AS is_written FROM held
