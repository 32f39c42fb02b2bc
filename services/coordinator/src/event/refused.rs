//! Events that a receiver refused for good: shown to operators, told again if one of them says so, and gone after a while.

use std::sync::Arc;
use std::time::Duration;

use farewell_core::{DeletionId, Time};
use farewell_runtime::shutdown::Shutdown;
use tokio::time::sleep;

use super::kind::Kind;
use super::token;
use crate::center::Center;
use crate::lane::chain;

/// Between two looks for what is over.
const LOOK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Forgets what was refused long ago, until the shutdown. Every coordinator does: again finds nothing.
pub async fn run(center: Arc<Center>, shutdown: Shutdown) {
    let Some(kept) = center.events.as_ref().map(|events| events.refused_kept) else {
        return;
    };
    while !shutdown.is_triggered() {
        let kept_micros = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
        let until = Time::from_micros(center.clock.now().micros().saturating_sub(kept_micros));
        match center.ledger.forget_refused(until).await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "refused events are forgotten"),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "refused events can't be looked at");
            }
        }
        tokio::select! {
            () = sleep(LOOK_AGAIN.min(kept)) => {}
            () = shutdown.wait() => {}
        }
    }
}

/// What the event of this name, which is its token's `jti`, is of. `None`: it is no event's.
pub fn named(name: &str) -> Option<(DeletionId, i16)> {
    let (deletion, kind) = token::of_jti(name)?;
    Some((deletion, kind.code()))
}

/// The name of an event, and the word for what happened. `None`: of a kind that this program doesn't know.
pub fn name(deletion: DeletionId, kind: i16) -> Option<(String, &'static str)> {
    let kind = Kind::from_code(kind)?;
    Some((token::jti(deletion, kind), kind.word()))
}
