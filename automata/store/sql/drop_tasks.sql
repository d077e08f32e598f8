-- Caller: store/orchestrator_queue.py drop_tasks. Takes back work that has not begun; with `force` also what runs (a cancel).
-- Index: task_queue_pkey, then by ctid. Locks: rows in (run_id, step) order, the order of every statement on several rows.
WITH held AS MATERIALIZED (
    SELECT input.run_id, input.step, queue.place
    FROM (
        SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(force)s::bool[]) AS input(run_id, step, force)
        ORDER BY run_id, step
    ) AS input
    CROSS JOIN LATERAL (
        SELECT ctid AS place FROM task_queue AS queue
        WHERE queue.run_id = input.run_id AND queue.step = input.step AND (queue.fence IS NULL OR input.force)
        FOR UPDATE
    ) AS queue
), deleted AS (
    DELETE FROM task_queue AS queue USING held WHERE queue.ctid = held.place
    RETURNING queue.run_id, queue.step, queue.lane, queue.reads, queue.attempt, queue.queued_at, queue.started_at,
              queue.worker
), settled AS (
    INSERT INTO tasks (run_id, step, status, attempt, queued_at, started_at, worker)
    SELECT run_id, step, 'CANCELLED', attempt, queued_at, started_at, worker FROM deleted
    ON CONFLICT DO NOTHING
)
SELECT run_id, step, true AS is_written, reads FROM deleted WHERE lane = ${ADVANCE} AND reads <> '{}'
UNION ALL
SELECT run_id, step, false, NULL FROM held WHERE ((run_id, step) IN (SELECT run_id, step FROM deleted)) IS NOT TRUE
