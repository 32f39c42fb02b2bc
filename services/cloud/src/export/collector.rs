//! Collects parts from everybody and packs them, a few exports at a time.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use farewell_kit::Fault;
use farewell_kit::async_trait;
use farewell_kit::export::Part;
use farewell_kit::session::{Ask, NoPart, Session};
use farewell_runtime::shutdown::Shutdown;
use tokio::task::JoinSet;

use super::queue::{Claim, Step};
use super::{Exports, archive};

/// How often is looked for what nobody has told of: another process's exports, those that were put off, those that are over.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Whose parts are collected.
#[async_trait]
pub(crate) trait Sources: Send + Sync + 'static {
    async fn part(&self, ask: Ask<'_>) -> Result<Part, NoPart>;
}

/// The participants: this one asks itself, and the others through a coordinator.
pub(crate) struct Everybody<P> {
    pub name: String,
    pub own: P,
    pub session: Session,
}

#[async_trait]
impl<P: farewell_kit::Participant> Sources for Everybody<P> {
    async fn part(&self, ask: Ask<'_>) -> Result<Part, NoPart> {
        if ask.participant == self.name {
            let own = self.own.export_part(ask.account, ask.after).await;
            return own.map_err(|fault| {
                tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "our own part of an export"
                );
                NoPart("OWN_FAULT".to_owned())
            });
        }
        self.session.export_part(ask).await
    }
}

/// Works until the shutdown.
pub(crate) async fn run(exports: Arc<Exports>, sources: Arc<dyn Sources>, shutdown: Shutdown) {
    if !exports.store.is_shared()
        && let Err(fault) = exports.take_back().await
    {
        tell(&fault);
    }
    let mut working = JoinSet::new();
    // By turn: what is to be given back at the end.
    let claimed = Arc::new(Mutex::new(HashMap::<String, Claim>::new()));
    while !shutdown.is_triggered() {
        let now = SystemTime::now();
        exports.sweep(now).await;
        while working.len() < exports.terms.at_a_time {
            match exports.claim(now).await {
                Ok(Some(claim)) => {
                    let (exports, sources) = (Arc::clone(&exports), Arc::clone(&sources));
                    let claimed = Arc::clone(&claimed);
                    working.spawn(async move {
                        let turn = claim.turn.clone();
                        let under_way = || claimed.lock().unwrap_or_else(PoisonError::into_inner);
                        under_way().insert(turn.clone(), claim.clone());
                        work(exports, sources, claim).await;
                        under_way().remove(&turn);
                    });
                }
                Ok(None) => break,
                Err(fault) => {
                    tell(&fault);
                    break;
                }
            }
        }
        tokio::select! {
            () = shutdown.wait() => {}
            () = exports.wake.notified() => {}
            Some(_) = working.join_next() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
    // What is under way ends where it is, and goes on from there.
    working.shutdown().await;
    let left = std::mem::take(&mut *claimed.lock().unwrap_or_else(PoisonError::into_inner));
    for claim in left.into_values() {
        if let Err(fault) = exports.give_back(&claim).await {
            tell(&fault);
        }
    }
}

fn tell(fault: &Fault) {
    tracing::warn!(error = fault as &dyn std::error::Error, "exports wait");
}

async fn work(exports: Arc<Exports>, sources: Arc<dyn Sources>, claim: Claim) {
    let begun = tokio::time::Instant::now();
    // However long those who are asked say nothing, nobody else takes it for left.
    let carried = carry_on(&exports, &*sources, &claim);
    let ended = renewing(&exports, &claim, carried).await;
    let ended = ended.map(|ended| ended.unwrap_or(End::Lost));
    let export = claim.id.as_str();
    match ended {
        Ok(End::Ready(size_bytes)) => {
            tracing::info!(export, size_bytes, took = ?begun.elapsed(), "an archive is ready");
        }
        Ok(End::Waits) => {}
        Ok(End::Lost) => tracing::info!(export, "an export ended under way"),
        Ok(End::TooLarge) => tracing::warn!(export, "an export is too large"),
        Err(fault) => {
            tracing::warn!(
                export,
                error = &fault as &dyn std::error::Error,
                "an export waits"
            );
            if let Err(fault) = exports.put_off(&claim, SystemTime::now()).await {
                tell(&fault);
            }
        }
    }
}

/// How a turn of an export ended.
enum End {
    Ready(u64),
    /// For those who gave no answer.
    Waits,
    Lost,
    TooLarge,
}

async fn carry_on(exports: &Exports, sources: &dyn Sources, claim: &Claim) -> Result<End, Fault> {
    loop {
        let owing = exports.sources(claim).await?;
        if owing.is_empty() {
            let packed = archive::pack(exports, claim).await?;
            return Ok(packed.map_or(End::Lost, End::Ready));
        }
        let mut progressed = false;
        for mut source in owing {
            loop {
                let name = super::record::name_of(&claim.id);
                let ask = Ask {
                    export: &name,
                    account: &claim.account,
                    participant: &source.participant,
                    after: &source.after,
                    attempt: u32::try_from(claim.attempts).unwrap_or(0),
                };
                let part = match sources.part(ask).await {
                    Ok(part) => part,
                    Err(NoPart(reason)) => {
                        let participant = source.participant.as_str();
                        tracing::debug!(export = claim.id, participant, reason, "no part");
                        exports.away(claim, &source).await?;
                        break;
                    }
                };
                let next = part.next.clone();
                match exports.keep(claim, &source, part).await? {
                    Step::Taken => progressed = true,
                    Step::Lost => return Ok(End::Lost),
                    Step::TooLarge => return Ok(End::TooLarge),
                }
                if next.is_empty() {
                    break;
                }
                source.after = next;
            }
        }
        if !progressed {
            exports.put_off(claim, SystemTime::now()).await?;
            return Ok(End::Waits);
        }
    }
}

/// `None`: the export isn't ours any more, and the work is dropped.
async fn renewing<T>(
    exports: &Exports,
    claim: &Claim,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<Option<T>, Fault> {
    let mut work = std::pin::pin!(work);
    loop {
        // Both at a time: the work may hold the very row that is renewed.
        let renewed = async {
            tokio::time::sleep(exports.terms.lease / 4).await;
            exports.renew(claim).await
        };
        tokio::select! {
            done = &mut work => return done.map(Some),
            ours = renewed => if !ours? {
                return Ok(None);
            }
        }
    }
}
