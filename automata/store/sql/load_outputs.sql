-- Caller: store/orchestrator_queue.py load_outputs (orchestrator and worker). Only the outputs that a template reads.
-- Index: tasks_pkey. Locks: none; a task row never changes.
SELECT tasks.run_id, tasks.step, tasks.status,
       CASE WHEN tasks.status = 'FAILED' THEN tasks.error ELSE tasks.outputs END AS outputs
FROM unnest(%(run_ids)s::uuid[], %(steps)s::text[]) AS wanted(run_id, step)
JOIN tasks USING (run_id, step)
