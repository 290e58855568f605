/**
 * The first tables. Times are epoch milliseconds by the store's clock (`ms()`), so that replicas whose clocks differ agree on
 * who is late. What is secret is a hash (`*_hash`) or sealed with a key from outside the store (`sealed_*`).
 */
import type { Migration } from '../migrate.ts';

export const base: Migration = {
  version: 1,
  name: 'base',
  compatibleFrom: 1,
  statements: [
    `CREATE FUNCTION ms() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint'`,

    // What changed, for the other replicas: announced by pg_notify, and read from here by whoever missed that.
    `CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at bigint NOT NULL DEFAULT ms(), topic text NOT NULL, subject text NOT NULL)`,
    `CREATE INDEX events_at ON events (at)`,

    // One row a running process. What it owns is given up when its lease runs out.
    `CREATE TABLE replicas (id text PRIMARY KEY, version text NOT NULL, schema int NOT NULL, started_at bigint NOT NULL DEFAULT ms(), lease_until bigint NOT NULL, ended_at bigint)`,
    `CREATE INDEX replicas_lease ON replicas (lease_until) WHERE ended_at IS NULL`,

    `CREATE TABLE keys (kid text PRIMARY KEY, purpose text NOT NULL, public_key text NOT NULL, sealed_private text NOT NULL, created_at bigint NOT NULL DEFAULT ms(), retired_at bigint)`,

    `CREATE TABLE people (
       id text PRIMARY KEY, issuer text NOT NULL, subject text NOT NULL, name text, email text,
       groups jsonb NOT NULL DEFAULT '[]', roles jsonb NOT NULL DEFAULT '[]',
       created_at bigint NOT NULL DEFAULT ms(), seen_at bigint NOT NULL DEFAULT ms(), disabled_at bigint,
       UNIQUE (issuer, subject))`,
    // A login of ours: what a cookie, or an editor's tokens, stand on. Ended: everything on it is cut.
    `CREATE TABLE logins (
       id text PRIMARY KEY, person text NOT NULL REFERENCES people, client text NOT NULL, provider text NOT NULL, provider_session text,
       auth_time bigint NOT NULL, acr text, created_at bigint NOT NULL DEFAULT ms(), expires_at bigint NOT NULL, ended_at bigint, ended_why text,
       cookie_hash text UNIQUE, refresh_hash text UNIQUE, refresh_before jsonb NOT NULL DEFAULT '[]')`,
    `CREATE INDEX logins_person ON logins (person) WHERE ended_at IS NULL`,
    `CREATE INDEX logins_provider_session ON logins (provider, provider_session) WHERE ended_at IS NULL`,
    // A login under way: kept from the redirect to the provider until its answer, which may reach another replica.
    `CREATE TABLE login_attempts (state_hash text PRIMARY KEY, provider text NOT NULL, sealed text NOT NULL, created_at bigint NOT NULL DEFAULT ms(), expires_at bigint NOT NULL)`,
    `CREATE TABLE codes (code_hash text PRIMARY KEY, login text NOT NULL REFERENCES logins, client text NOT NULL, redirect_uri text NOT NULL, challenge text NOT NULL, nonce text, expires_at bigint NOT NULL, used_at bigint)`,
    `CREATE TABLE device_codes (device_hash text PRIMARY KEY, user_code text UNIQUE NOT NULL, client text NOT NULL, login text REFERENCES logins, denied boolean NOT NULL DEFAULT false, polled_at bigint, expires_at bigint NOT NULL, used_at bigint)`,
    // Proofs that count once: ID tokens, SAML assertions, workloads' tokens.
    `CREATE TABLE used_proofs (proof_hash text PRIMARY KEY, expires_at bigint NOT NULL)`,
    `CREATE TABLE rate_limits (key text PRIMARY KEY, level double precision NOT NULL, at bigint NOT NULL)`,

    `CREATE TABLE service_accounts (
       id text PRIMARY KEY, name text UNIQUE NOT NULL, groups jsonb NOT NULL DEFAULT '[]', connections jsonb NOT NULL DEFAULT '[]', max_seconds int NOT NULL,
       secret_hash text, workload jsonb, created_by text NOT NULL, created_at bigint NOT NULL DEFAULT ms(), disabled_at bigint)`,

    `CREATE TABLE policies (version bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL, digest text NOT NULL, author jsonb NOT NULL, comment text NOT NULL, source text NOT NULL, created_at bigint NOT NULL DEFAULT ms())`,

    `CREATE TABLE sessions (
       id text PRIMARY KEY, conversation text NOT NULL, chain text NOT NULL, person text NOT NULL, actor jsonb NOT NULL, connection text NOT NULL, protocol text NOT NULL, surface text NOT NULL,
       login text, owner text NOT NULL REFERENCES replicas, opened_at bigint NOT NULL DEFAULT ms(), closed_at bigint, close_reason text, entries bigint, head text, recovered boolean NOT NULL DEFAULT false)`,
    `CREATE INDEX sessions_open ON sessions (owner) WHERE closed_at IS NULL`,
    `CREATE INDEX sessions_person ON sessions (person, opened_at DESC)`,
    `CREATE INDEX sessions_opened ON sessions (opened_at DESC)`,
    `CREATE TABLE entries (session text NOT NULL REFERENCES sessions, seq bigint NOT NULL, hash text NOT NULL, line text NOT NULL, PRIMARY KEY (session, seq))`,

    // The audit: one chain a person, and one, "gateway", for what was changed about the gateway itself.
    `CREATE TABLE chains (chain text PRIMARY KEY, entries bigint NOT NULL, head text NOT NULL)`,
    `CREATE TABLE audit (chain text NOT NULL, seq bigint NOT NULL, at bigint NOT NULL, hash text NOT NULL, line text NOT NULL, PRIMARY KEY (chain, seq))`,
    `CREATE TABLE checkpoints (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at bigint NOT NULL DEFAULT ms(), kid text NOT NULL, statement text NOT NULL, signature text NOT NULL)`,

    `CREATE TABLE grants (
       id text PRIMARY KEY, person text NOT NULL, connection text NOT NULL, scope jsonb NOT NULL, covers text NOT NULL, given jsonb, reason text, approval text NOT NULL,
       policy_version text NOT NULL, given_by jsonb NOT NULL, created_at bigint NOT NULL DEFAULT ms(), until bigint NOT NULL, used bigint NOT NULL DEFAULT 0, ended_at bigint, ended_by jsonb)`,
    `CREATE INDEX grants_standing ON grants (person, connection) WHERE ended_at IS NULL`,
    `CREATE TABLE grant_sessions (grant_id text NOT NULL REFERENCES grants, session text NOT NULL, PRIMARY KEY (grant_id, session))`,
    // A question for people. "approved" → "spent" happens once, by the replica that asked.
    `CREATE TABLE approvals (
       id text PRIMARY KEY, kind text NOT NULL CHECK (kind IN ('operation', 'access')), state text NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'spent')),
       session text, owner text, operation text, digest text NOT NULL, policy_version text NOT NULL, connection text NOT NULL, requester text NOT NULL,
       question jsonb NOT NULL, sealed_question text, approvers jsonb NOT NULL, quorum int NOT NULL, fresh_login boolean NOT NULL, escalate_to jsonb NOT NULL DEFAULT '[]', escalate_at bigint, escalated_at bigint,
       asked_at bigint NOT NULL DEFAULT ms(), deadline bigint NOT NULL, why text, decided_at bigint, decided_by jsonb, note text, scope jsonb, grant_id text, spent_at bigint, outcome text)`,
    `CREATE INDEX approvals_pending ON approvals (deadline) WHERE state = 'pending'`,
    `CREATE INDEX approvals_owner ON approvals (owner) WHERE state IN ('pending', 'approved')`,
    `CREATE INDEX approvals_decided ON approvals (decided_at DESC) WHERE decided_at IS NOT NULL`,
    `CREATE TABLE answers (approval text NOT NULL REFERENCES approvals, person text NOT NULL, answer text NOT NULL, scope jsonb, note text, fresh_at bigint, at bigint NOT NULL DEFAULT ms(), by jsonb NOT NULL, PRIMARY KEY (approval, person))`,
    // A login made for one approval: nothing else it opens, nothing else opens that approval.
    `CREATE TABLE fresh_logins (approval text NOT NULL REFERENCES approvals, person text NOT NULL, auth_time bigint NOT NULL, at bigint NOT NULL DEFAULT ms(), PRIMARY KEY (approval, person))`,

    // Messages to send to others, at least once.
    `CREATE TABLE outgoing (id text PRIMARY KEY, target text NOT NULL, event text NOT NULL, subject text NOT NULL, body jsonb NOT NULL, created_at bigint NOT NULL DEFAULT ms(), attempts int NOT NULL DEFAULT 0, next_at bigint NOT NULL DEFAULT ms(), sent_at bigint, given_up_at bigint, problem text)`,
    `CREATE INDEX outgoing_due ON outgoing (next_at) WHERE sent_at IS NULL AND given_up_at IS NULL`,
  ],
};
