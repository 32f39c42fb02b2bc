//! What becomes of accounts, told to others as Security Event Tokens (RFC 8417) with the events of OpenID RISC: pushed
//! (RFC 8935) or fetched (RFC 8936), to each receiver at least once and of each account in order.
//!
//! [`relay`] keeps what each receiver is to be told of, in the transaction that forgets the announcement; [`push`] and
//! [`poll`] tell it until the receiver says that it has it. A receiver that is away keeps nobody else waiting, and a token that
//! it doesn't take no other account's. What it refuses for good is kept for a while ([`refused`]).
//!
//! Of one account the coordinator of its slot tells, one event after the other, whichever coordinators had its deletions: the
//! ledger's order ([`farewell_ledger::Event::seq`]) is that of what happened. When a slot passes on, the one before may still
//! be telling what the next one tells, too: a repeat, with the same `jti`.

mod kind;
pub mod poll;
mod push;
pub mod refused;
pub mod relay;
mod token;

use std::sync::Arc;
use std::time::Duration;

use farewell_ledger::Event;
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
    /// How long a refused event is kept for somebody to have it told again.
    pub refused_kept: Duration,
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
    work.spawn(refused::run(Arc::clone(center), work.clone()));
    Ok(())
}

/// The tokens of these events, in their order.
fn tokens(center: &Center, receiver: &Receiver, of: &[Event]) -> Vec<Token> {
    let Some(events) = &center.events else {
        return Vec::new();
    };
    let now = center.clock.now();
    let token = |event: &Event| {
        let kind = Kind::from_code(event.kind)?;
        Some(Token::new(events, &receiver.audience, (event, kind), now))
    };
    of.iter().filter_map(token).collect()
}
