"""Who may come in (tokens, sessions), and a log of who changed what that nobody can change afterwards."""

from alembic import op

revision = "0014"
down_revision = "0013"

# A token and a session's id are kept as their SHA-256: what is read here lets nobody in.
TOKENS = """
CREATE TABLE access_tokens (
    id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT access_tokens_pkey PRIMARY KEY,
    hash bytea NOT NULL CONSTRAINT access_tokens_hash_key UNIQUE,
    name text NOT NULL,
    mail text NOT NULL,
    role text NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    used_at timestamptz,
    CONSTRAINT access_tokens_role_check CHECK (role IN ('viewer', 'operator', 'author', 'reviewer', 'admin')),
    CONSTRAINT access_tokens_labels_check CHECK (jsonb_typeof(labels) = 'object'),
    CONSTRAINT access_tokens_limit_check CHECK (role <> 'admin' OR labels = '{}')
);
CREATE UNIQUE INDEX access_tokens_name ON access_tokens (name) WHERE revoked_at IS NULL;
"""

# `id` stays while the cookie is renewed; `former` is the cookie before, good for a moment after `renewed_at`.
SESSIONS = """
CREATE TABLE access_sessions (
    id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT access_sessions_pkey PRIMARY KEY,
    hash bytea NOT NULL CONSTRAINT access_sessions_hash_key UNIQUE,
    former bytea CONSTRAINT access_sessions_former_key UNIQUE,
    token_id uuid CONSTRAINT access_sessions_token_id_fkey REFERENCES access_tokens (id),
    name text NOT NULL,
    mail text NOT NULL,
    role text NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    renewed_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT access_sessions_role_check CHECK (role IN ('viewer', 'operator', 'author', 'reviewer', 'admin')),
    CONSTRAINT access_sessions_labels_check CHECK (jsonb_typeof(labels) = 'object')
);
CREATE INDEX access_sessions_token ON access_sessions (token_id);
CREATE INDEX access_sessions_expired ON access_sessions (expires_at);
CREATE TABLE access_secrets (
    name text NOT NULL CONSTRAINT access_secrets_pkey PRIMARY KEY,
    value bytea NOT NULL
);
"""

AUDIT = """
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_log_pkey PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    role text NOT NULL,
    token_id uuid,
    address text NOT NULL,
    request_id text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    before json,
    after json
);
CREATE INDEX audit_log_object ON audit_log (object, id);
CREATE INDEX audit_log_actor ON audit_log (actor, id);
"""

# A trigger holds whoever runs our code, also as the owner of the table, which a REVOKE does not bind. Taking the
# trigger away is DDL, that is: a visible deed of the owner, which a role with INSERT and SELECT alone cannot do.
# `audit_forget` is that deed for retention: it takes the lock that keeps other writers out, and logs itself.
APPEND_ONLY = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM PUBLIC;
CREATE FUNCTION audit_forget(until timestamptz, who text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE gone bigint;
BEGIN
    IF until > now() - interval '30 days' THEN
        RAISE EXCEPTION 'what is younger than 30 days stays' USING ERRCODE = 'insufficient_privilege';
    END IF;
    ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only;
    DELETE FROM audit_log WHERE at < until;
    GET DIAGNOSTICS gone = ROW_COUNT;
    ALTER TABLE audit_log ENABLE TRIGGER audit_log_append_only;
    INSERT INTO audit_log (actor, role, address, request_id, action, object, before, after)
    VALUES (who, 'admin', '', '', 'audit.forget', 'audit_log', NULL,
            json_build_object('before', until, 'entries', gone));
    RETURN gone;
END $$;
REVOKE EXECUTE ON FUNCTION audit_forget FROM PUBLIC;
"""


def upgrade() -> None:
    op.execute(TOKENS)
    op.execute(SESSIONS)
    op.execute(AUDIT)
    op.execute(APPEND_ONLY)
