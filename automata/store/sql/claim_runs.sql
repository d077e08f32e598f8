-- Caller: store/tasks.py claim. What templates may read of the runs whose tasks were just claimed; one row a run.
-- Index: runs_pkey. Locks: none; a run row never changes.
SELECT id, trigger, scheduled_for, created_at, inputs FROM runs WHERE id = ANY(%(ids)s::uuid[])
