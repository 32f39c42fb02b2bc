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
        let mut causes = HashSet::new();
        for command in commands {
            if is_sampled(&command.traceparent)
                && causes.insert(command.traceparent.as_str())
                && causes.len() == LINKS_MAX
            {
                break;
            }
        }
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
        for cause in causes {
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
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Spans(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Spans {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    impl Spans {
        /// What is exported of `work`.
        fn of(work: impl FnOnce()) -> Vec<SpanData> {
            let spans = Self::default();
            let provider = SdkTracerProvider::builder()
                .with_simple_exporter(spans.clone())
                .build();
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
            std::mem::take(&mut *spans.0.lock().unwrap())
        }
    }

    fn command(n: usize, traceparent: String) -> Command {
        let name = format!("deletions/d{n}/commands/1-erase-notes");
        Command {
            name,
            account: "accounts/ann".to_owned(),
            traceparent,
            ..Command::default()
        }
    }

    fn order(command: &Command) -> Order {
        Order {
            horizon: None,
            retention: Vec::new(),
            ended_by: None,
            command: command.name.clone(),
            account: "ann".to_owned(),
            deadline: None,
            devices: Vec::new(),
            traceparent: command.traceparent.clone(),
        }
    }

    fn sampled(n: usize) -> String {
        format!("00-{:032x}-{:016x}-01", n + 1, n + 1)
    }

    #[test]
    fn a_batch_is_linked_to_its_causes_and_a_sampled_command_has_a_span_that_its_report_names() {
        let mut traceparent = String::new();
        let spans = Spans::of(|| {
            let commands: Vec<_> = (0..100).map(|n| command(n, sampled(n))).collect();
            let batch = Batch::of(&commands, "notes");
            traceparent = batch.command(&order(&commands[0])).traceparent;
            assert!(
                batch
                    .command(&order(&command(1, String::new())))
                    .traceparent
                    .is_empty()
            );
        });
        let [one, batch] = spans.as_slice() else {
            panic!("{spans:?}")
        };
        assert_eq!(
            (one.name.as_ref(), batch.name.as_ref()),
            ("carry out command", "handle command batch")
        );
        assert_eq!((one.links.len(), batch.links.len()), (1, LINKS_MAX));
        assert_eq!(one.parent_span_id, batch.span_context.span_id());
        let told = format!(
            "00-{}-{}-01",
            one.span_context.trace_id(),
            one.span_context.span_id()
        );
        assert_eq!(traceparent, told);
        assert!(
            format!("{spans:?}").contains("deletions/d0") && !format!("{spans:?}").contains("ann")
        );
    }

    #[test]
    fn a_frame_of_which_nothing_is_sampled_makes_no_span() {
        let spans = Spans::of(|| {
            let commands = [
                command(1, String::new()),
                command(2, sampled(2).replace("-01", "-00")),
            ];
            Batch::of(&commands, "notes").command(&order(&commands[1]));
        });
        assert!(spans.is_empty());
    }

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
