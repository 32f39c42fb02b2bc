//! Spans for commands: one for each frame, linked to what sent them; one for a command only if its sender is sampled.
//!
//! A frame without a sampled command costs a look at the last two characters of each traceparent, and no span.

use std::collections::HashSet;

use farewell_proto::participant::v1::Command;
use farewell_runtime::telemetry::{link, traceparent_of};
use tracing::Span;

use crate::participant::Order;

/// Links of one span. A frame of 1,024 commands rarely has more than a few causes; what is beyond is not linked.
const LINKS_MAX: usize = 32;
/// `00-{32}-{16}-01`.
const TRACEPARENT_BYTES: usize = 55;

/// The span that a command is carried out in, and how its report points at it. Both are nothing for most commands.
pub(super) struct Traced {
    pub(super) span: Span,
    pub(super) traceparent: String,
}

impl Traced {
    /// For a command that was woken: what sent it is long over, so it is linked and nothing more.
    pub(super) fn woken(order: &Order, participant: &str) -> Self {
        if !is_sampled(&order.traceparent) {
            return Self {
                span: Span::none(),
                traceparent: String::new(),
            };
        }
        let span = tracing::info_span!(
            "carry out woken command",
            farewell.participant = participant,
            farewell.deletion = deletion(&order.command)
        );
        Self::started(span, &order.traceparent)
    }

    fn started(span: Span, cause: &str) -> Self {
        link(&span, cause);
        let traceparent = traceparent_of(&span);
        Self { span, traceparent }
    }
}

/// The span of a frame.
pub(super) struct Batch<'a> {
    participant: &'a str,
    /// None unless something in the frame is sampled and spans are exported.
    span: Option<Span>,
}

impl<'a> Batch<'a> {
    pub(super) fn of(commands: &[Command], participant: &'a str) -> Self {
        let causes: HashSet<&str> = commands
            .iter()
            .map(|c| c.traceparent.as_str())
            .filter(|t| is_sampled(t))
            .take(LINKS_MAX * 32)
            .collect();
        if causes.is_empty() {
            return Self {
                participant,
                span: None,
            };
        }
        let span = tracing::info_span!(
            "handle command batch",
            farewell.participant = participant,
            commands = commands.len()
        );
        for cause in causes.into_iter().take(LINKS_MAX) {
            link(&span, cause);
        }
        let exported = !traceparent_of(&span).is_empty();
        Self {
            participant,
            span: exported.then_some(span),
        }
    }

    pub(super) fn command(&self, order: &Order) -> Traced {
        match &self.span {
            Some(batch) if is_sampled(&order.traceparent) => {
                let span = tracing::info_span!(parent: batch, "carry out command", farewell.participant = self.participant, farewell.deletion = deletion(&order.command));
                Traced::started(span, &order.traceparent)
            }
            Some(batch) => Traced {
                span: batch.clone(),
                traceparent: String::new(),
            },
            None => Traced {
                span: Span::none(),
                traceparent: String::new(),
            },
        }
    }
}

/// Whether a traceparent's sender is recorded anywhere: only then is there something to point at.
fn is_sampled(traceparent: &str) -> bool {
    traceparent.len() == TRACEPARENT_BYTES
        && traceparent
            .as_bytes()
            .last()
            .is_some_and(|flags| flags & 1 == 1)
}

/// `deletions/{deletion}` of a command's name.
fn deletion(command: &str) -> &str {
    command
        .split_once("/commands/")
        .map_or("", |(deletion, _)| deletion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sampled_traceparent_is_pointed_at() {
        let trace = |flags| format!("00-{}-{}-{flags}", "a".repeat(32), "b".repeat(16));
        assert!(is_sampled(&trace("01")) && is_sampled(&trace("03")));
        assert!(!is_sampled(&trace("00")) && !is_sampled("") && !is_sampled("01"));
    }

    #[test]
    fn a_span_names_the_deletion_and_not_the_account() {
        assert_eq!(
            deletion("deletions/d1/commands/1-erase-notes"),
            "deletions/d1"
        );
    }
}
