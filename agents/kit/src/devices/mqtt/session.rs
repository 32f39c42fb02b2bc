//! A session store that forgets.
//!
//! Without a store the client refuses to resume a session that the broker kept over a restart of ours. What was open
//! is in our own database and is sent again from there, so an empty checkpoint is the truth.

use std::future::{Future, ready};
use std::pin::Pin;

use rumqttc_v5::{
    PersistedAckMode, PersistedSession, SessionStore, SessionStoreError, SessionStoreKey,
};

type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

/// Version of the checkpoint that the client writes itself.
const FORMAT_VERSION: u16 = 1;

/// Gives an empty session back whatever was saved.
#[derive(Debug)]
pub(super) struct Forgetful {
    pub session_expiry_secs: u32,
    pub inflight_max: u16,
}

impl SessionStore for Forgetful {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> StoreFuture<'a, Option<PersistedSession>> {
        Box::pin(ready(Ok(Some(PersistedSession {
            format_version: FORMAT_VERSION,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(self.session_expiry_secs),
            outgoing_inflight_upper_limit: Some(self.inflight_max),
            ack_mode: PersistedAckMode::Automatic,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        }))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> StoreFuture<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> StoreFuture<'a, ()> {
        Box::pin(ready(Ok(())))
    }
}
