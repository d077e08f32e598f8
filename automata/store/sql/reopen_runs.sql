-- Caller: store/run_retries.py. Takes the ends of runs back, so that they go on: all of a run's failures (`runs`), the failed
--   steps of dead letters (`letters`; one without a step is of all), or named failed steps (`at`). With `climb` the runs
--   above that failed with one of these go on too, each at the step that waited for it. `failing` would have ended now,
--   FAILED, and have no result yet. One statement: another snapshot could see a run that failed anew.
-- Index: dead_letters_pkey, run_results_pkey, tasks_pkey, runs_pkey, runs_parent, run_attempts_pkey, dead_letters_run.
-- Locks: the advisory locks of the runs above are held. Results in run order (who comes second finds the row gone, and
--   the run is not among what returns), then dead letters in id order, the order of every statement on several of them.
-- What is cleared: the failed steps that are asked for and the groups around them; on_failure; and what was CANCELLED,
--   except inside a group that stays FAILED. Attempts that were made go to task_attempts first. Steps that succeeded or
--   were skipped stay as they are. What was decided about a cleared approval is asked for again.
WITH RECURSIVE chosen AS MATERIALIZED (
    SELECT unnest(%(runs)s::uuid[]) AS run_id, NULL::text AS step
    UNION ALL
    SELECT * FROM unnest(%(at_run)s::uuid[], %(at_step)s::text[])
    UNION ALL
    SELECT run_id, nullif(step, ${NO_STEP}) FROM dead_letters WHERE id = ANY(%(letters)s::bigint[]) AND state = 'open'
), input AS (
    SELECT run_id, step FROM chosen
    UNION
    SELECT child.parent_run_id, child.parent_step
    FROM input
    -- OFFSET 0: each is looked up by its key, whatever the planner thinks of how many there are.
    CROSS JOIN LATERAL (SELECT * FROM runs WHERE runs.id = input.run_id OFFSET 0) AS child
    CROSS JOIN LATERAL (SELECT status FROM run_results WHERE run_results.run_id = child.id OFFSET 0) AS child_result
    CROSS JOIN LATERAL (SELECT id, contained FROM runs WHERE runs.id = child.parent_run_id OFFSET 0) AS parent
    CROSS JOIN LATERAL (SELECT status FROM run_results WHERE run_results.run_id = parent.id OFFSET 0) AS parent_result
    CROSS JOIN LATERAL (
        SELECT status FROM tasks WHERE tasks.run_id = parent.id AND tasks.step = child.parent_step OFFSET 0
    ) AS task
    WHERE %(climb)s AND (parent.contained OR NOT child.contained)
      AND child_result.status = ANY(%(statuses)s::text[]) AND parent_result.status = 'FAILED' AND task.status = 'FAILED'
      -- Only a run that was retried may have started another child for the step since, and waits for that one then.
      AND (NOT EXISTS (SELECT FROM run_attempts WHERE run_attempts.run_id = parent.id) OR NOT EXISTS (
          SELECT FROM runs AS later
          WHERE later.parent_run_id = parent.id AND later.parent_step = child.parent_step
            AND later.created_at > child.created_at
      ))
), ended AS MATERIALIZED (
    SELECT run_id, status, started_at, finished_at, error FROM run_results
    WHERE run_id = ANY(ARRAY(SELECT run_id FROM input)) AND status = ANY(%(statuses)s::text[])
    ORDER BY run_id
    FOR UPDATE
), held AS MATERIALIZED (
    SELECT run_id, status, started_at, finished_at, error FROM ended
    UNION ALL
    SELECT run_id, 'FAILED', started_at, now(), error::json
    FROM unnest(%(failing)s::uuid[], %(failing_started_at)s::timestamptz[], %(failing_error)s::text[])
      AS failing(run_id, started_at, error)
), taken_back AS (
    DELETE FROM run_results USING ended WHERE run_results.run_id = ended.run_id
), reopened AS (
    INSERT INTO run_attempts (run_id, attempt, status, started_at, finished_at, error, steps, retried_at, retried_by)
    SELECT run_id,
           1 + coalesce((SELECT max(attempt) FROM run_attempts AS attempts WHERE attempts.run_id = held.run_id), 0),
           status, started_at, finished_at, error,
           (SELECT CASE WHEN bool_and(step IS NOT NULL) THEN array_agg(DISTINCT step) END
            FROM input WHERE input.run_id = held.run_id),
           clock_timestamp(), %(by)s
    FROM held
    RETURNING run_id, attempt + 1 AS attempt
), handlers AS MATERIALIZED (
    SELECT held.run_id, version.spec #>> '{on_failure,id}' AS step
    FROM held JOIN runs ON runs.id = held.run_id JOIN flow_versions AS version ON version.id = runs.version_id
), requested AS MATERIALIZED (
    SELECT tasks.run_id, tasks.step
    FROM handlers AS handler JOIN tasks ON tasks.run_id = handler.run_id
    WHERE tasks.step = handler.step OR starts_with(tasks.step, handler.step || '.') OR starts_with(tasks.step, handler.step || '[')
       OR tasks.status = 'FAILED' AND (
           tasks.run_id IN (SELECT run_id FROM input WHERE step IS NULL)
           OR (tasks.run_id, tasks.step) IN (SELECT run_id, step FROM input WHERE step IS NOT NULL)
       )
), around AS MATERIALIZED (
    SELECT DISTINCT run_id, left(step, place - 1) AS step
    FROM requested CROSS JOIN LATERAL generate_series(2, length(step)) AS place
    WHERE substr(step, place, 1) IN ('.', '[')
), opened AS MATERIALIZED (
    SELECT run_id, step FROM requested UNION SELECT run_id, step FROM around
), freed AS (
    SELECT tasks.run_id, tasks.step FROM held JOIN tasks ON tasks.run_id = held.run_id
    WHERE tasks.status = 'CANCELLED' AND NOT EXISTS (
        SELECT FROM tasks AS outer_task
        WHERE outer_task.run_id = tasks.run_id AND outer_task.status = 'FAILED'
          AND (starts_with(tasks.step, outer_task.step || '.') OR starts_with(tasks.step, outer_task.step || '['))
          AND (outer_task.run_id, outer_task.step) NOT IN (SELECT run_id, step FROM opened)
    )
), cleared AS (
    DELETE FROM tasks USING (SELECT run_id, step FROM opened UNION SELECT run_id, step FROM freed) AS undone
    WHERE tasks.run_id = undone.run_id AND tasks.step = undone.step
    RETURNING tasks.*
), undecided AS (
    DELETE FROM approvals USING cleared WHERE approvals.run_id = cleared.run_id AND approvals.step = cleared.step
), archived AS (
    INSERT INTO task_attempts (run_id, step, attempt, started_at, finished_at, worker, error, retry_at)
    SELECT run_id, step, attempt, started_at, finished_at, worker, error, now() FROM cleared
    WHERE status = 'FAILED' OR worker IS NOT NULL
    ON CONFLICT DO NOTHING
), closing AS MATERIALIZED (
    SELECT id FROM dead_letters WHERE state = 'open' AND id = ANY(ARRAY(
        SELECT letter.id
        FROM (SELECT run_id, step FROM cleared UNION ALL SELECT run_id, ${NO_STEP} FROM held) AS gone
        CROSS JOIN LATERAL (
            SELECT id FROM dead_letters WHERE dead_letters.run_id = gone.run_id AND dead_letters.step = gone.step OFFSET 0
        ) AS letter
    ))
    ORDER BY id
    FOR UPDATE
), closed AS (
    UPDATE dead_letters SET state = 'retried', resolved_at = now(), resolved_by = %(by)s
    FROM closing WHERE dead_letters.id = closing.id
    RETURNING dead_letters.id, dead_letters.run_id
), wakeups AS (
    INSERT INTO task_queue (run_id, step, lane, ready_at, version_id)
    SELECT runs.id, ${CREATED}, ${ADVANCE}, now(), runs.version_id FROM reopened JOIN runs ON runs.id = reopened.run_id
    ON CONFLICT DO NOTHING
)
SELECT run_id, attempt, array(SELECT id FROM closed WHERE closed.run_id = reopened.run_id ORDER BY id)
FROM reopened
