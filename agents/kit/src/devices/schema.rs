//! The tables of an agent.
//!
//! `devices` and the fence of [`crate::seal`] outlive everything: an epoch is never reused and an erased account binds
//! nothing again. An account's id stands in `bindings` and `shares` only, and those rows go with the account; locks,
//! erasures and unbindings name it by its mark.

use super::lease;
use crate::{journal, seal};

/// What [`crate::store::Store::open`] needs for an agent.
pub const SCHEMA: &[&str] = &[
    journal::SCHEMA,
    seal::SCHEMA,
    lease::SCHEMA,
    // What is the device's own: the highest epoch it ever had, the one it has while a transfer is still to be told, its
    // key and how far it has counted, whether it is lost, and its last contact.
    "CREATE TABLE IF NOT EXISTS devices (device TEXT PRIMARY KEY, epoch BIGINT NOT NULL, \
     held_epoch BIGINT NOT NULL CHECK (held_epoch <= epoch), answer_key BLOB NOT NULL, sequence BIGINT NOT NULL, \
     lost BIGINT NOT NULL CHECK (lost IN (0, 1)), seen_at BIGINT NOT NULL, seen_epoch BIGINT NOT NULL)",
    // The server half: at most one for each device.
    "CREATE TABLE IF NOT EXISTS bindings (device TEXT PRIMARY KEY, epoch BIGINT NOT NULL CHECK (epoch > 0), \
     account TEXT NOT NULL CHECK (account <> ''), model TEXT NOT NULL, serial_number TEXT NOT NULL, via TEXT NOT NULL, \
     home TEXT NOT NULL, class TEXT NOT NULL CHECK (class IN ('', 'PERSONAL', 'HOME')), verbs TEXT NOT NULL, \
     safety_relevant BIGINT NOT NULL CHECK (safety_relevant IN (0, 1)), warranty_end_at BIGINT NOT NULL, \
     state TEXT NOT NULL CHECK (state IN ('BOUND', 'ENDING')), bound_at BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS bindings_account ON bindings (account, device)",
    "CREATE INDEX IF NOT EXISTS bindings_via ON bindings (via, device)",
    // Other accounts of the household that use a device.
    "CREATE TABLE IF NOT EXISTS shares (device TEXT NOT NULL, epoch BIGINT NOT NULL CHECK (epoch > 0), \
     account TEXT NOT NULL CHECK (account <> ''), role TEXT NOT NULL CHECK (role IN ('ADMIN', 'MEMBER')), \
     shared_at BIGINT NOT NULL, PRIMARY KEY (device, account))",
    "CREATE INDEX IF NOT EXISTS shares_account ON shares (account)",
    // Activation locks that are on, by the mark of the account that they are on for.
    "CREATE TABLE IF NOT EXISTS locks (device TEXT PRIMARY KEY, locked_for TEXT NOT NULL CHECK (locked_for <> ''), \
     kept BIGINT NOT NULL CHECK (kept IN (0, 1)))",
    // What a device in hand was asked to sign.
    "CREATE TABLE IF NOT EXISTS challenges (hash TEXT PRIMARY KEY, device TEXT NOT NULL, epoch BIGINT NOT NULL, \
     made_at BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS challenges_device ON challenges (device, made_at)",
    // Broker log-ins. Only the hash of a secret is kept.
    "CREATE TABLE IF NOT EXISTS credentials (device TEXT PRIMARY KEY, epoch BIGINT NOT NULL, secret_hash TEXT NOT NULL)",
    // What is owed to devices. `subject` is the device of the roster: for a hub's child, `device` is the hub. A device
    // that can't be told has a row without id and signed bytes.
    "CREATE TABLE IF NOT EXISTS orders (command TEXT NOT NULL CHECK (command <> ''), subject TEXT NOT NULL, \
     subject_epoch BIGINT NOT NULL CHECK (subject_epoch > 0), id TEXT UNIQUE, signed BLOB NOT NULL, \
     device TEXT NOT NULL, epoch BIGINT NOT NULL, \
     verb TEXT NOT NULL CHECK (verb IN ('UNBIND', 'RESET', 'REMOVE_CHILD', 'TRANSFER')), child TEXT NOT NULL, \
     new_epoch BIGINT NOT NULL, via TEXT NOT NULL, traceparent TEXT NOT NULL, \
     state TEXT NOT NULL CHECK (state IN ('QUEUED', 'SENT', 'RECEIVED', 'DEFERRED_SAFE', 'EXECUTING', 'EXECUTED', \
     'CONFIRMED', 'TRANSFERRED', 'SUPERSEDED', 'DETACHED', 'NEVER_RETURNED', 'UNSUPPORTED', 'REFUSED')), reason TEXT NOT NULL, \
     queued_at BIGINT NOT NULL, sent_at BIGINT NOT NULL, moved_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, \
     PRIMARY KEY (command, subject, subject_epoch), CHECK (id IS NOT NULL OR state IN ('UNSUPPORTED', 'SUPERSEDED')))",
    "CREATE INDEX IF NOT EXISTS orders_device ON orders (device, epoch)",
    "CREATE INDEX IF NOT EXISTS orders_subject ON orders (subject, subject_epoch)",
    // What was never sent, by its age, and what was sent long ago.
    "CREATE INDEX IF NOT EXISTS orders_unsent ON orders (state, sent_at, queued_at)",
    "CREATE INDEX IF NOT EXISTS orders_expired ON orders (expires_at)",
    // How devices ended after their erasure was answered, until a coordinator has it.
    "CREATE TABLE IF NOT EXISTS returns (command TEXT NOT NULL, device TEXT NOT NULL, epoch BIGINT NOT NULL CHECK (epoch > 0), \
     ending TEXT NOT NULL CHECK (ending IN ('EXECUTED', 'CONFIRMED', 'SUPERSEDED', 'NEVER_RETURNED')), at BIGINT NOT NULL, \
     PRIMARY KEY (command, device, epoch, ending))",
    // Erasures under way.
    "CREATE TABLE IF NOT EXISTS erasures (command TEXT PRIMARY KEY, account_mark TEXT NOT NULL, \
     refused BIGINT NOT NULL, begun_at BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS erasures_account ON erasures (account_mark)",
    "CREATE INDEX IF NOT EXISTS erasures_begun ON erasures (begun_at)",
    // What went of the server half of an erasure's devices that have ended, until all have.
    "CREATE TABLE IF NOT EXISTS partings (command TEXT NOT NULL, device TEXT NOT NULL, epoch BIGINT NOT NULL CHECK (epoch > 0), \
     lock_outcome TEXT NOT NULL CHECK (lock_outcome IN ('', 'RELEASED', 'KEPT', 'PASSED_ON')), \
     bindings BIGINT NOT NULL CHECK (bindings >= 0), credentials BIGINT NOT NULL CHECK (credentials >= 0), \
     PRIMARY KEY (command, device, epoch))",
    // Devices that were unbound one by one. How far the device is stands in its order of this name.
    "CREATE TABLE IF NOT EXISTS unbindings (name TEXT PRIMARY KEY, account_mark TEXT NOT NULL, device TEXT NOT NULL, \
     epoch BIGINT NOT NULL, begun_at BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS unbindings_begun ON unbindings (begun_at)",
    // Mutations by request id, so that a repeat is one.
    "CREATE TABLE IF NOT EXISTS requests (request_id TEXT PRIMARY KEY, body_digest TEXT NOT NULL, device TEXT NOT NULL, \
     epoch BIGINT NOT NULL, made_at BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS requests_made ON requests (made_at)",
];
