-- Caller: store/orchestrator_queue.py load_outputs (orchestrator and worker). Only the outputs that a template reads.
-- Index: tasks_pkey. Locks: none; a task row never changes.
SELECT wanted.run_id, wanted.step, task.status, task.outputs
FROM unnest(%(run_ids)s::uuid[], %(steps)s::text[]) AS wanted(run_id, step)
CROSS JOIN LATERAL (
    SELECT status, CASE WHEN status = 'FAILED' THEN error ELSE outputs END AS outputs FROM tasks
    WHERE tasks.run_id = wanted.run_id AND tasks.step = wanted.step
    OFFSET 0
) AS task
