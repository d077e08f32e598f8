-- Caller: store/retention.py prune_batch. A window of ended runs in the order of their ids, and which of them go.
-- Index: dead_letters_run, runs_parent, and run_results_pkey, a range of it: an id begins with the time it was made at (by a clock that
--   may be `clocks_apart` ahead), and a run ends after that. So no index on finished_at is paid for by every run that ends.
-- Locks: the results that go, in run order, with SKIP LOCKED: one that is being reopened is not old any more.
-- A run whose parent still runs stays: the parent reads its outputs. So does one that did not succeed with an open dead
--   letter, or above a run with one: somebody is still to decide about it, and a retry has both go on.
WITH bound AS MATERIALIZED (
    SELECT now() - make_interval(days => %(days)s) AS until
), seen AS MATERIALIZED (
    SELECT run_id FROM run_results
    WHERE run_id > %(after)s
      AND run_id < (SELECT lpad(to_hex((extract(epoch FROM until + %(clocks_apart)s::interval) * 1000)::bigint), 12, '0')
                           || repeat('0', 20) FROM bound)::uuid
    ORDER BY run_id LIMIT %(limit)s
), old_runs AS MATERIALIZED (
    SELECT result.run_id FROM seen JOIN run_results AS result USING (run_id)
    WHERE result.finished_at < (SELECT until FROM bound)
      AND NOT EXISTS (
          SELECT FROM runs JOIN runs AS parent ON parent.id = runs.parent_run_id
          WHERE runs.id = result.run_id AND NOT EXISTS (SELECT FROM run_results AS r WHERE r.run_id = parent.id)
      )
      AND (result.status = 'SUCCEEDED' OR NOT EXISTS (
          WITH RECURSIVE below AS (
              SELECT result.run_id AS id
              UNION ALL
              SELECT runs.id FROM below JOIN runs ON runs.parent_run_id = below.id
          )
          SELECT FROM below
          CROSS JOIN LATERAL (SELECT state FROM dead_letters WHERE dead_letters.run_id = below.id OFFSET 0) AS letter
          WHERE letter.state = 'open'
      ))
    ORDER BY result.run_id
    FOR UPDATE OF result SKIP LOCKED
)
SELECT run_id, old_runs.run_id IS NOT NULL FROM seen LEFT JOIN old_runs USING (run_id) ORDER BY run_id
