"""Who is told what, what happened that somebody may want to hear, and what was sent."""

from alembic import op

revision = "0010"
down_revision = "0009"

RULES = """
CREATE TABLE notification_rules (
    source_id uuid NOT NULL CONSTRAINT notification_rules_source_id_fkey REFERENCES sync_sources (id),
    name text NOT NULL,
    spec jsonb NOT NULL CONSTRAINT notification_rules_spec_check CHECK (jsonb_typeof(spec) = 'object'),
    CONSTRAINT notification_rules_pkey PRIMARY KEY (source_id, name)
);
"""

EVENTS = """
CREATE TABLE notification_events (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT notification_events_pkey PRIMARY KEY,
    kind text NOT NULL,
    about jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
"""

# The outbox and the log of deliveries in one: what is due is found by one small index, what ended stays for a while.
NOTIFICATIONS = """
CREATE TABLE notifications (
    id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT notifications_pkey PRIMARY KEY,
    event text NOT NULL,
    source_id uuid,
    rule text NOT NULL,
    kind text NOT NULL,
    payload json NOT NULL,
    url text NOT NULL,
    secret text,
    template text NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz,
    status integer,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    CONSTRAINT notifications_event_source_id_rule_key UNIQUE (event, source_id, rule),
    CONSTRAINT notifications_state_check CHECK (state IN ('pending', 'delivered', 'failed')),
    CONSTRAINT notifications_ended_check CHECK ((state = 'pending') = (ended_at IS NULL))
);
CREATE INDEX notifications_due ON notifications (due_at) WHERE state = 'pending';
CREATE INDEX notifications_created ON notifications (created_at, id);
"""

# By triggers, so that an event is written in the transaction of what happened, whichever statement and version of the
# program wrote that, and the hot statements stay as they are: a row that is no event costs one comparison, and where
# no rules are nothing is written.
FUNCTION = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO notification_events (kind, about)
    SELECT '{kind}', {about} WHERE EXISTS (SELECT FROM notification_rules);
    RETURN NULL;
END
$body$;
"""
# Table -> kind, when it is one, what is kept of it.
EVENTS_OF = {
    "run_results": ("run.failed", "NEW.status = 'FAILED'", "jsonb_build_object('run', NEW.run_id)"),
    "dead_letters": (
        "dead_letter",
        "true",
        "jsonb_build_object('run', NEW.run_id, 'step', NEW.step, 'letter', NEW.id)",
    ),
    "task_queue": (
        "approval.waiting",
        "NEW.lane = '@advance' AND NEW.reads[1] = 'approval'",
        "jsonb_build_object('run', NEW.run_id, 'step', NEW.step)",
    ),
    "sync_attempts": (
        "sync.blocked",
        "NEW.status IN ('failed', 'refused')",
        "jsonb_build_object('source', NEW.source_id, 'attempt', NEW.id)",
    ),
}


def upgrade() -> None:
    op.execute(RULES)
    op.execute(EVENTS)
    op.execute(NOTIFICATIONS)
    for table, (kind, condition, about) in EVENTS_OF.items():
        name = f"notification_event_{table}"
        op.execute(FUNCTION.format(name=name, kind=kind, about=about))
        op.execute(
            f"CREATE TRIGGER notification_event AFTER INSERT ON {table}"
            f" FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION {name}()"
        )
