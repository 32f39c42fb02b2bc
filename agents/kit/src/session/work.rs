//! One command: recall, carry out, and what to say of it.

use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use farewell_proto::participant::v1::Report;
use farewell_runtime::backoff::jittered;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::desk::{Askers, Ended, How};
use super::trace::Traced;
use super::{Limits, Shared};
use crate::participant::{Answer, Deferred, Fault, Order};
use crate::wire::{self, Verb};

/// Why a command that met a [`Fault`] is put off.
const PARTICIPANT_FAULT: &str = "PARTICIPANT_FAULT";
/// What the wire asks for at least.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(1);

/// A command that may be carried out.
pub(super) struct Job {
    pub(super) name: Arc<str>,
    pub(super) verb: Verb,
    pub(super) order: Order,
}

impl Job {
    pub(super) fn new(verb: Verb, order: Order) -> Self {
        Self {
            name: order.command.as_str().into(),
            verb,
            order,
        }
    }

    /// Whether `other`, of the same name, asks for the same thing.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.verb == other.verb
            && self.order.account == other.order.account
            && self.order.devices.len() == other.order.devices.len()
            // Not by the bytes: between two deliveries the coordinator may have changed over to another key.
            && self
                .order
                .devices
                .iter()
                .zip(&other.order.devices)
                .all(|(one, another)| one.is_same(another))
    }
}

/// What is to be said of a command, and to whom.
pub(super) struct Settled {
    pub(super) askers: Askers,
    pub(super) report: Report,
}

impl Shared {
    /// Carries out a command that the desk has started.
    pub(super) async fn carry_out(&self, job: Arc<Job>, traced: Traced) -> Settled {
        let Traced { span, traceparent } = traced;
        loop {
            let answer = timeout(self.limits.work, caught(self.answer(&job)));
            let answer = answer.instrument(span.clone()).await;
            let (answer, how) = match answer.unwrap_or_else(|_| Err(endless())) {
                Ok(answer @ Answer::Deferred(_)) => (answer, How::Deferred),
                Ok(answer @ (Answer::Done(_) | Answer::Refused { .. })) => (answer, How::Final),
                Err(fault) => (self.put_off(&job, &fault), How::Faulted),
            };
            match self.desk.end(&job.name, how) {
                Ended::Again => {}
                Ended::Settled(askers) => {
                    let report = wire::report(&job.order, traceparent, wire::answer(answer));
                    return Settled { askers, report };
                }
            }
        }
    }

    async fn answer(&self, job: &Job) -> Result<Answer, Fault> {
        if let Some(answer) = self.code.recall(&job.order).await? {
            return Ok(answer);
        }
        match job.verb {
            Verb::Seal => self.code.seal(&job.order).await,
            Verb::Unseal => self.code.unseal(&job.order).await,
            Verb::Erase => self.code.act(&job.order).await,
            Verb::Probe => self.code.probe(&job.order).await,
            Verb::Expire => self.code.expire(&job.order).await,
        }
    }

    fn put_off(&self, job: &Job, fault: &Fault) -> Answer {
        let faults = self.desk.fault(&job.name);
        if let Some(unsaid) = self.lines.next() {
            let cause = chain(fault);
            tracing::warn!(command = %job.name, faults, cause, unsaid, "a command met trouble and is put off");
        }
        let Limits {
            fault_base,
            fault_cap,
            ..
        } = self.limits;
        let pause = jittered(
            faults.saturating_sub(1),
            fault_base,
            fault_cap,
            rand::random(),
        );
        Answer::Deferred(Deferred {
            retry_after: pause.max(RETRY_AFTER_MIN),
            reason: PARTICIPANT_FAULT.to_owned(),
            done: 0,
            total: 0,
        })
    }
}

/// Work that reached its limit: a command that hangs would hold its room, and be told of, for ever.
fn endless() -> Fault {
    Fault::plain("work that came to no end and was dropped")
}

/// Turns a panic of the participant's code into a fault: one bad account must not end the work on all others.
pub(super) async fn caught<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let mut work = pin!(work);
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(polled) => polled,
            // What it panicked with may hold personal data; the panic hook has said where.
            Err(_) => Poll::Ready(Err(Fault::plain("the participant's code panicked"))),
        },
    )
    .await
}

/// An error and everything beneath it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a `String` can't fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
