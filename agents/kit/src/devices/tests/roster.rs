//! Accounts with many devices: what is read of them, and in how many questions to the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::devices::registry::{NewBinding, Via};
use crate::devices::share::Role;
use crate::devices::testing::{ACCOUNT, Bench, command, done, new_binding, patient};
use crate::participant::Participant as _;
use crate::scratch;

const HUBS: usize = 10;
/// With each hub.
const CHILDREN: usize = 49;
const OTHER: &str = "account-2";
/// Bindings in one page.
const PAGE: u32 = 500;

/// Counts what this thread asks PostgreSQL. (SQLite is asked by threads of its own.)
#[derive(Clone, Default)]
struct Questions(Arc<AtomicUsize>);

impl<S: Subscriber> Layer<S> for Questions {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Questions {
    fn counted(&self) -> DefaultGuard {
        set_default(tracing_subscriber::registry().with(self.clone()))
    }

    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// `hubs` of the account, every other one shared, and lamps behind each.
async fn house(bench: &Bench, account: &str, hubs: usize) {
    for place in 0..hubs {
        let hub = format!("{account}-{place:02}");
        let new = NewBinding {
            activation_lock: place.is_multiple_of(3),
            ..new_binding(account, &hub, None)
        };
        let bound = bench.registry.bind(&new).await.unwrap();
        if place.is_multiple_of(2) {
            let epoch = bound.shown.binding.epoch;
            bench.share(&hub, epoch, "account-3", Role::Admin).await;
            bench.share(&hub, epoch, "account-4", Role::Member).await;
        }
        for child in 0..CHILDREN {
            let lamp = format!("{hub}-{child:02}");
            bench.try_bind(account, &lamp, Some(&hub)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_large_roster_takes_as_many_questions_to_the_database_as_a_small_one() {
    let questions = Questions::default();
    for url in scratch::urls("roster") {
        let counted = url.starts_with("postgres");
        let namespace = scratch::namespace("devices");
        let bench = Bench::open(url, namespace, Via::Hub, patient()).await;
        house(&bench, ACCOUNT, HUBS).await;
        house(&bench, OTHER, 1).await;

        let mut asked = Vec::new();
        for (account, hubs) in [(OTHER, 1), (ACCOUNT, HUBS)] {
            let devices = hubs * (1 + CHILDREN);
            let guard = questions.counted();
            questions.take();
            let began = Instant::now();
            let page = bench.registry.list(account, "", PAGE).await.unwrap();
            let (listing, listed) = (questions.take(), began.elapsed());
            let began = Instant::now();
            let mut seal = command(&format!("1-seal-{account}"));
            account.clone_into(&mut seal.account);
            let sealed = done(bench.line.seal(&seal).await.unwrap());
            let (sealing, took) = (questions.take(), began.elapsed());
            drop(guard);
            println!(
                "{devices} devices: a page {listing} questions, {listed:?}; a roster {sealing} questions, {took:?}"
            );
            asked.push((listing, sealing));

            assert_eq!((page.len(), sealed.devices.len()), (devices, devices));
            for (shown, result) in page.iter().zip(&sealed.devices) {
                let device = &shown.binding.device;
                assert_eq!(device, &result.device);
                let place: usize = device[account.len() + 1..][..2].parse().unwrap();
                let is_hub = shown.binding.via.is_none();
                let shared = place.is_multiple_of(2);
                let shares: Vec<_> = shown.shares.iter().map(|share| share.role).collect();
                let expected = if is_hub && shared {
                    vec![Role::Admin, Role::Member]
                } else {
                    Vec::new()
                };
                assert_eq!(shares, expected, "{device}");
                assert_eq!(shown.locked, is_hub && place.is_multiple_of(3), "{device}");
                let facts = result.facts.as_ref().unwrap();
                // Who lives with the hub lives with its lamps.
                assert_eq!((facts.co_admin, facts.household), (shared, shared));
                let hub = facts.hub.as_ref().map(|(hub, _)| hub.clone());
                assert_eq!(hub, shown.binding.via, "{device}");
            }
            let half = &page[devices / 2].binding.device;
            let rest = bench.registry.list(account, half, PAGE).await.unwrap();
            assert_eq!(rest, page[devices / 2 + 1..]);
        }
        if counted {
            assert!(asked[0].0 > 0 && asked[0].1 > 0, "questions are counted");
            assert_eq!(asked[0], asked[1]);
        }
    }
}
