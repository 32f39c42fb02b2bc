//! One loop, woken by a signal and a timer, that takes no input: it looks on the board and sends what there is room for.
//! First try, retry, restart and take-over are this one path.

use std::sync::Arc;
use std::time::Instant;

use farewell_runtime::shutdown::Shutdown;
use farewell_runtime::telemetry;
use tokio::time::timeout;

use crate::board::{IDLE_MAX, Sending};
use crate::center::Center;

/// Requests that one span is linked to; what is beyond is not linked.
pub const LINKS_MAX: usize = 128;

/// Runs until the shutdown.
pub async fn run(center: Arc<Center>, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        let now = Instant::now();
        let next = {
            let mut board = center.board();
            let next = board.tick(now);
            if !center.draining() && board.has_work() {
                let span = tracing::info_span!("command batch", commands = tracing::field::Empty);
                let traceparent = telemetry::traceparent_of(&span);
                let mut causes = Vec::new();
                let sending = Sending {
                    now,
                    retry: &center.pace.retry,
                    orders: &center.orders,
                    traceparent: &traceparent,
                };
                let sent = board.dispatch(&sending, &mut causes);
                span.record("commands", sent);
                causes
                    .iter()
                    .for_each(|cause| telemetry::link(&span, cause));
            }
            next
        };
        let pause = next.map_or(IDLE_MAX, |next| {
            next.saturating_duration_since(Instant::now()).min(IDLE_MAX)
        });
        tokio::select! {
            _ = timeout(pause, center.wake.notified()) => {}
            () = shutdown.wait() => {}
        }
    }
}
