//! The tables of an agent.
//!
//! `devices` and the fence of [`crate::seal`] outlive everything: an epoch is never reused and an erased account binds
//! nothing again. An account's id stands in `bindings` only, and the row goes with the account.

use crate::{journal, seal};

/// What [`crate::store::Store::open`] needs for an agent.
pub const SCHEMA: &[&str] = &[
    journal::SCHEMA,
    seal::SCHEMA,
    // The highest epoch each device ever had, and its last contact.
    "CREATE TABLE IF NOT EXISTS devices (device TEXT PRIMARY KEY, epoch BIGINT NOT NULL, seen_at BIGINT NOT NULL, \
     seen_epoch BIGINT NOT NULL)",
    // The server half: at most one for each device.
    "CREATE TABLE IF NOT EXISTS bindings (device TEXT PRIMARY KEY, epoch BIGINT NOT NULL CHECK (epoch > 0), \
     account TEXT NOT NULL CHECK (account <> ''), model TEXT NOT NULL, serial_number TEXT NOT NULL, via TEXT NOT NULL, \
     state TEXT NOT NULL CHECK (state IN ('BOUND', 'ENDING')), bound_at BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS bindings_account ON bindings (account, device)",
    "CREATE INDEX IF NOT EXISTS bindings_via ON bindings (via, device)",
    // Broker log-ins. Only the hash of a secret is kept.
    "CREATE TABLE IF NOT EXISTS credentials (device TEXT PRIMARY KEY, epoch BIGINT NOT NULL, secret_hash TEXT NOT NULL)",
    // What is owed to devices. `subject` is the device of the roster: for a hub's child, `device` is the hub.
    "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, device TEXT NOT NULL, epoch BIGINT NOT NULL, \
     verb TEXT NOT NULL CHECK (verb IN ('UNBIND', 'RESET', 'REMOVE_CHILD')), child TEXT NOT NULL, \
     subject TEXT NOT NULL, subject_epoch BIGINT NOT NULL CHECK (subject_epoch > 0), via TEXT NOT NULL, \
     command TEXT NOT NULL CHECK (command <> ''), traceparent TEXT NOT NULL, \
     state TEXT NOT NULL CHECK (state IN ('QUEUED', 'SENT', 'RECEIVED', 'EXECUTING', 'EXECUTED', 'CONFIRMED', \
     'SUPERSEDED', 'DETACHED', 'UNSUPPORTED', 'REFUSED')), reason TEXT NOT NULL, queued_at BIGINT NOT NULL, \
     sent_at BIGINT NOT NULL, moved_at BIGINT NOT NULL, expires_at BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX IF NOT EXISTS orders_once ON orders (command, subject, subject_epoch)",
    "CREATE INDEX IF NOT EXISTS orders_device ON orders (device, epoch)",
    "CREATE INDEX IF NOT EXISTS orders_subject ON orders (subject, subject_epoch)",
    "CREATE INDEX IF NOT EXISTS orders_waiting ON orders (state, sent_at)",
    // Erasures under way.
    "CREATE TABLE IF NOT EXISTS erasures (command TEXT PRIMARY KEY, account_mark TEXT NOT NULL, \
     refused BIGINT NOT NULL, begun_at BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS erasures_account ON erasures (account_mark)",
    // Mutations by request id, so that a repeat is one.
    "CREATE TABLE IF NOT EXISTS requests (request_id TEXT PRIMARY KEY, body_digest TEXT NOT NULL, device TEXT NOT NULL, \
     epoch BIGINT NOT NULL, made_at BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS requests_made ON requests (made_at)",
];
