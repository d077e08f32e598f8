-- Caller: store/new_runs.py create_runs. One row a run, and its first wake-up, in one statement.
-- Index: runs_pkey; runs_idempotency and runs_fire (both partial) decide who was first.
-- Locks: waits for a concurrent insert of the same key, then leaves that one alone.
WITH input AS MATERIALIZED (
    SELECT * FROM unnest(%(id)s::uuid[], %(flow_id)s::uuid[], %(version_id)s::uuid[], %(trigger)s::text[],
                %(inputs)s::text[], %(idempotency_key)s::text[], %(request_hash)s::text[],
                %(schedule_id)s::uuid[], %(scheduled_for)s::timestamptz[], %(created_by)s::text[],
                %(ready_at)s::timestamptz[], %(parent_run_id)s::uuid[], %(parent_step)s::text[],
                %(depth)s::smallint[], %(rerun_of)s::uuid[], %(traceparent)s::text[], %(contained)s::bool[],
                %(head_start)s::float8[])
      AS input(id, flow_id, version_id, trigger, inputs, idempotency_key, request_hash,
               schedule_id, scheduled_for, created_by, ready_at, parent_run_id, parent_step, depth, rerun_of,
               traceparent, contained, head_start)
), created AS (
    INSERT INTO runs (id, flow_id, version_id, trigger, inputs, idempotency_key, request_hash,
                      schedule_id, scheduled_for, created_by, parent_run_id, parent_step, depth, rerun_of,
                      traceparent, contained)
    SELECT id, flow_id, version_id, trigger, inputs::json, idempotency_key, request_hash,
           schedule_id, scheduled_for, created_by, parent_run_id, parent_step, depth, rerun_of, traceparent,
           contained
    FROM input
    ON CONFLICT DO NOTHING
    RETURNING id, created_at
), wakeups AS (
    INSERT INTO task_queue (run_id, step, lane, ready_at, version_id)
    SELECT id, ${CREATED}, ${ADVANCE}, coalesce(ready_at, now() - make_interval(secs => head_start)), version_id
    FROM input WHERE (id IN (SELECT id FROM created)) IS TRUE
)
SELECT id, created_at FROM created
