//! The stream that goes up: control messages at once, reports in frames of what is there.
//!
//! HTTP/2 asks for the next message when it can send one. Whatever has been finished by then goes into it: a busy
//! stream makes large frames, an idle one answers at once, and nobody waits for a timer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use farewell_proto::participant::v1::{ConnectRequest, Report, Reports, connect_request::Message};
use farewell_runtime::server::MESSAGE_BYTES_MAX;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::Stream;

use crate::wire;

/// Reports in one frame, whatever a coordinator allows.
pub(super) const REPORTS_MAX: usize = 1024;
/// A frame is closed above this, so that one more report can't lift it over [`MESSAGE_BYTES_MAX`].
const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 4;
/// Rosters and counts of one account are far below; an answer that isn't would end the stream, and again after each
/// reconnect.
const REPORT_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 4;
/// Why such an answer isn't sent.
const ANSWER_TOO_LARGE: &str = "ANSWER_TOO_LARGE";

/// Ends when the senders of both queues are gone and everything in them was sent.
pub(super) struct Uplink {
    control: mpsc::Receiver<Message>,
    reports: mpsc::Receiver<Report>,
    /// From `Welcome`; no report is queued before.
    reports_max: Arc<AtomicUsize>,
    ready: Vec<Report>,
}

impl Uplink {
    pub(super) fn new(
        control: mpsc::Receiver<Message>,
        reports: mpsc::Receiver<Report>,
        reports_max: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            control,
            reports,
            reports_max,
            ready: Vec::new(),
        }
    }

    /// The next frame of what is ready, within the limits of count and size.
    fn frame(&mut self) -> Reports {
        let mut bytes = 0;
        let mut end = 0;
        for report in &mut self.ready {
            let mut report_bytes = report.encoded_len();
            if report_bytes > REPORT_BYTES_MAX {
                tracing::error!(command = %report.command, report_bytes, "an answer is too large to be sent");
                report.answer = Some(wire::refused(
                    ANSWER_TOO_LARGE,
                    &format!("{report_bytes} bytes"),
                ));
                report_bytes = report.encoded_len();
            }
            bytes += report_bytes;
            end += 1;
            if bytes > FRAME_BYTES_MAX {
                break;
            }
        }
        let rest = self.ready.split_off(end);
        Reports {
            reports: std::mem::replace(&mut self.ready, rest),
        }
    }
}

impl Stream for Uplink {
    type Item = ConnectRequest;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ConnectRequest>> {
        let this = self.get_mut();
        let control = this.control.poll_recv(context);
        if let Poll::Ready(Some(message)) = control {
            return Poll::Ready(Some(ConnectRequest {
                message: Some(message),
            }));
        }
        let mut reports_over = false;
        if this.ready.is_empty() {
            let limit = this
                .reports_max
                .load(Ordering::Acquire)
                .clamp(1, REPORTS_MAX);
            if let Poll::Ready(taken) = this.reports.poll_recv_many(context, &mut this.ready, limit)
            {
                reports_over = taken == 0;
            }
        }
        if !this.ready.is_empty() {
            let message = Some(Message::Reports(this.frame()));
            return Poll::Ready(Some(ConnectRequest { message }));
        }
        if control.is_ready() && reports_over {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use farewell_proto::participant::v1::report::Answer;
    use tokio_stream::StreamExt as _;

    use super::*;

    fn report(n: usize, detail: usize) -> Report {
        Report {
            command: n.to_string(),
            account: "accounts/a".to_owned(),
            traceparent: "x".repeat(detail),
            answer: Some(wire::in_progress()),
        }
    }

    async fn frames(reports: Vec<Report>, reports_max: usize) -> Vec<Vec<Report>> {
        let (control_sender, control) = mpsc::channel(1);
        let (sender, receiver) = mpsc::channel(reports.len());
        for report in reports {
            sender.try_send(report).unwrap();
        }
        drop((sender, control_sender));
        let uplink = Uplink::new(control, receiver, Arc::new(AtomicUsize::new(reports_max)));
        uplink
            .map(|request| match request.message {
                Some(Message::Reports(reports)) => reports.reports,
                other => panic!("{other:?}"),
            })
            .collect()
            .await
    }

    #[tokio::test]
    async fn what_is_there_goes_into_one_frame_in_order() {
        let frames = frames((0..500).map(|n| report(n, 0)).collect(), 1024).await;
        assert_eq!(frames.len(), 1);
        assert!(
            frames[0]
                .iter()
                .enumerate()
                .all(|(n, report)| report.command == n.to_string())
        );
    }

    #[tokio::test]
    async fn a_frame_holds_no_more_than_the_coordinator_takes() {
        let sizes: Vec<_> = frames((0..25).map(|n| report(n, 0)).collect(), 10)
            .await
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(sizes, [10, 10, 5]);
    }

    #[tokio::test]
    async fn large_answers_are_spread_so_that_no_frame_ends_the_stream() {
        let frames = frames((0..20).map(|n| report(n, 700_000)).collect(), 1024).await;
        assert_eq!(frames.iter().map(Vec::len).sum::<usize>(), 20);
        for frame in frames {
            assert!(Reports { reports: frame }.encoded_len() < MESSAGE_BYTES_MAX);
        }
    }

    #[tokio::test]
    async fn an_answer_that_no_frame_can_hold_is_refused_instead() {
        let mut large = report(1, 0);
        large.answer = Some(wire::answer(crate::Answer::Deferred(crate::Deferred {
            retry_after: std::time::Duration::from_secs(1),
            reason: "R".repeat(MESSAGE_BYTES_MAX),
            done: 0,
            total: 0,
        })));
        match &frames(vec![large], 1024).await[0][0].answer {
            Some(Answer::Refused(refused)) => assert_eq!(refused.reason, ANSWER_TOO_LARGE),
            other => panic!("{other:?}"),
        }
    }
}
