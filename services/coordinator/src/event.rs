//! What becomes of accounts, told to others as Security Event Tokens (RFC 8417) with the events of OpenID RISC: pushed
//! (RFC 8935) or fetched (RFC 8936), to each receiver at least once and of each account in order.
//!
//! [`relay`] keeps what each receiver is to be told of, in the transaction that forgets the announcement; [`push`] and
//! [`poll`] tell it until the receiver says that it has it. A receiver that is away keeps nobody else waiting.

mod kind;
pub mod poll;
mod push;
pub mod relay;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

use farewell_core::{Deletion, DeletionId};
use farewell_ledger::{Error, Event};
use farewell_runtime::cose::SigningKey;
use farewell_runtime::shutdown::Shutdown;

use crate::center::Center;
use crate::config::Listener;
use kind::Kind;
use token::Token;

/// Who is told, and in whose name.
#[derive(Clone, Debug)]
pub struct Events {
    /// The `iss` of every token, a URL.
    pub issuer: String,
    /// Signs tokens, and nothing else. Every coordinator of a region has the same.
    pub key: SigningKey,
    /// By name.
    pub receivers: Vec<Receiver>,
    /// Where those who fetch come.
    pub listener: Option<Listener>,
}

/// Who is told.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Unique; of one that fetches also the name in its certificate.
    pub name: String,
    /// The `aud` of its tokens.
    pub audience: String,
    pub delivery: Delivery,
}

/// How it is told.
#[derive(Clone)]
pub enum Delivery {
    /// We post to it.
    Push {
        /// `https://…`; `http://` on this machine only.
        url: String,
        /// Sent as bearer token.
        token: Option<String>,
        /// The authority of its certificate, in PEM; `None`: those that the system knows.
        authority: Option<Vec<u8>>,
    },
    /// It fetches from us.
    Poll,
}

/// Shows no URL and no token: both may be secret.
impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Push { .. } => "Push",
            Self::Poll => "Poll",
        })
    }
}

/// Starts what tells receivers.
///
/// Errors: a URL or authority that can't be used.
pub fn start(center: &Arc<Center>, work: &Shutdown) -> anyhow::Result<()> {
    let Some(events) = &center.events else {
        return Ok(());
    };
    for receiver in &events.receivers {
        if let Delivery::Push { .. } = receiver.delivery {
            let push = push::Push::new(Arc::clone(center), receiver.clone())?;
            work.spawn(push.run(work.clone()));
        }
    }
    Ok(())
}

/// These deletions, each read once however often it is named.
async fn deletions(
    center: &Center,
    named: impl Iterator<Item = DeletionId>,
) -> Result<HashMap<DeletionId, Deletion>, Error> {
    let mut ids: Vec<DeletionId> = named.collect();
    ids.sort_unstable();
    ids.dedup();
    let found = center.ledger.get(&ids).await?;
    let found = found.into_iter().map(|owed| owed.deletion);
    Ok(found.map(|deletion| (deletion.id, deletion)).collect())
}

/// The tokens of these events, in their order. What this program can't tell of is left out: a newer one put it there.
async fn tokens(center: &Center, receiver: &Receiver, of: &[Event]) -> Result<Vec<Token>, Error> {
    let Some(events) = &center.events else {
        return Ok(Vec::new());
    };
    let deletions = deletions(center, of.iter().map(|event| event.deletion)).await?;
    let token = |event: &Event| {
        let account = &deletions.get(&event.deletion)?.account;
        let kind = Kind::from_code(event.kind)?;
        Some(Token::new(
            events,
            &receiver.audience,
            (event, kind),
            account,
            center.clock.now(),
        ))
    };
    Ok(of.iter().filter_map(token).collect())
}
