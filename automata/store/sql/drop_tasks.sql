-- Caller: store/orchestrator_queue.py drop_tasks. Takes back work that has not begun; with `force` also what runs (a cancel).
-- Index: task_queue_pkey. Locks: rows in (run_id, step) order, the order of every statement on several rows.
WITH dropped AS (
    SELECT queue.run_id, queue.step
    FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(force)s::bool[]) AS input(run_id, step, force)
    JOIN task_queue AS queue USING (run_id, step)
    WHERE queue.fence IS NULL OR input.force
    ORDER BY queue.run_id, queue.step
    FOR UPDATE OF queue
), deleted AS (
    DELETE FROM task_queue AS queue USING dropped
    WHERE queue.run_id = dropped.run_id AND queue.step = dropped.step
    RETURNING queue.run_id, queue.step, queue.lane, queue.reads, queue.attempt, queue.queued_at, queue.started_at,
              queue.worker
), settled AS (
    INSERT INTO tasks (run_id, step, status, attempt, queued_at, started_at, worker)
    SELECT run_id, step, 'CANCELLED', attempt, queued_at, started_at, worker FROM deleted
    ON CONFLICT DO NOTHING
)
SELECT reads FROM deleted WHERE lane = ${ADVANCE} AND reads <> '{}'
