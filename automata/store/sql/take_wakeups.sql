-- Caller: store/orchestrator_queue.py take_wakeups. Takes wake-ups (new runs, finished tasks, due timers, cancels) and their runs.
-- Index: task_queue_ready (lane, ready_at); then by ctid, a plan that cannot go wrong: the planner's picture of the queue
--   is that of an empty table as often as not, and a join chosen for one row compares every row with every other.
-- Locks: rows with SKIP LOCKED, then the run's advisory lock without waiting: two orchestrators never advance one
--   run at a time, and never wait for each other. A run that another holds keeps its rows for the next take, and so does
--   a row that changed while it was being locked (its new ctid is not of this snapshot).
--   States are read by the *next* statement, so its snapshot is younger than the lock.
WITH due AS MATERIALIZED (
    SELECT ctid AS place, run_id FROM task_queue
    WHERE lane = ${ADVANCE} AND ready_at <= now()
    ORDER BY ready_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), held AS MATERIALIZED (
    SELECT place, run_id, pg_try_advisory_xact_lock(hashtextextended(run_id::text, 0)) AS is_ours FROM due
), taken AS (
    DELETE FROM task_queue WHERE ctid = ANY(ARRAY(SELECT place FROM held WHERE is_ours))
    RETURNING run_id, step, queued_at, losses, true AS is_ours, reads
)
SELECT run_id, step, queued_at, losses, is_ours, reads FROM taken
UNION ALL
SELECT DISTINCT run_id, '', NULL::timestamptz, 0, false, NULL::text[] FROM held WHERE NOT is_ours
