//! Devices that end after their erasure was answered, and a coordinator that hears of it.

use std::slice;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use farewell_proto::device::v1::OrderState;
use farewell_runtime::shutdown::Shutdown;

use crate::devices::counters::{Counters, Odd};
use crate::devices::participant::{Terms, left_over};
use crate::devices::registry::Via;
use crate::devices::returns::{self, Archive, Next, Teller};
use crate::devices::share::Role;
use crate::devices::testing::{
    ACCOUNT, Bench, ERASE, benches, command, deferred, done, erase, erase_with, outcomes, patient,
    told, told_hub,
};
use crate::devices::{erasure, keeper};
use crate::journal;
use crate::participant::{
    DeviceEnding, DeviceOutcome, DeviceReturn, DeviceVerb, Done, Outcome, Participant as _,
    ReturnKept, UnbindDevice,
};
use crate::scratch;
use crate::session::RETURNS_MAX;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const PATIENCE: Duration = Duration::from_secs(20);

/// Every device is away.
fn impatient() -> Terms {
    Terms {
        horizon: Duration::ZERO,
        ..patient()
    }
}

/// What a coordinator says of all that it is told.
#[derive(Clone, Copy)]
enum Mood {
    Away,
    /// The answers of the erasures are on their way.
    Early,
    Keeps,
    Refuses(&'static str),
}

struct Book {
    mood: Mutex<Mood>,
    heard: Mutex<Vec<Vec<DeviceReturn>>>,
}

impl Book {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            mood: Mutex::new(mood),
            heard: Mutex::default(),
        })
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// All that was heard since it was last asked, by device.
    fn heard(&self) -> Vec<(String, DeviceEnding)> {
        let frames = std::mem::take(&mut *self.heard.lock().unwrap());
        let heard = frames.into_iter().flatten();
        heard.map(|told| (told.device, told.ending)).collect()
    }
}

#[async_trait]
impl Archive for Book {
    async fn keep(&self, returns: Vec<DeviceReturn>) -> Option<Vec<ReturnKept>> {
        self.heard.lock().unwrap().push(returns.clone());
        let refused = match *self.mood.lock().unwrap() {
            Mood::Away => return None,
            Mood::Early => return Some(Vec::new()),
            Mood::Keeps => None,
            Mood::Refuses(word) => Some(word.to_owned()),
        };
        let kept = returns.into_iter().map(|told| ReturnKept {
            command: told.command,
            device: told.device,
            binding_epoch: told.binding_epoch,
            refused: refused.clone(),
        });
        Some(kept.collect())
    }
}

fn teller(bench: &Bench, book: &Arc<Book>, counters: &Counters) -> Teller {
    Teller::new(bench.registry.clone(), book.clone(), counters.clone())
}

/// Tells all that there is.
async fn told_by(bench: &Bench) -> Vec<(String, DeviceEnding)> {
    let book = Book::new(Mood::Keeps);
    let mut teller = teller(bench, &book, &Counters::default());
    while teller.look().await.unwrap() != Next::Idle {}
    book.heard()
}

fn ended(device: &str, ending: DeviceEnding) -> (String, DeviceEnding) {
    (device.to_owned(), ending)
}

async fn look(bench: &Bench, after: Duration) {
    let then = SystemTime::now() + after;
    keeper::look(&bench.registry, &patient(), then)
        .await
        .unwrap();
}

/// A phone that was away when its erasure was answered.
async fn detached(bench: &Bench, device: &str) -> u64 {
    let epoch = bench.bind(device, None).await;
    let answer = done(bench.act(&erase(&[(device, epoch)])).await);
    assert_eq!(
        outcomes(&answer),
        [(device.to_owned(), DeviceOutcome::Detached)]
    );
    epoch
}

#[tokio::test]
async fn each_ending_of_a_device_that_was_away_is_told_once() {
    for bench in benches("endings", Via::Never, impatient()).await {
        let devices = ["phone-1", "phone-2", "phone-3"];
        let mut roster = Vec::new();
        for device in devices {
            roster.push((device, bench.bind(device, None).await));
        }
        done(bench.act(&erase(&roster)).await);
        assert_eq!(told_by(&bench).await, [], "the answer says where they are");

        let owed = bench.contact("phone-1", roster[0].1, &[]).await;
        bench.report(&owed[0], OrderState::Received).await.unwrap();
        assert_eq!(told_by(&bench).await, []);
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        let executed = ended("phone-1", DeviceEnding::Executed);
        assert_eq!(told_by(&bench).await, [executed]);
        bench.contact("phone-1", 0, &[&owed[0]]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        let confirmed = ended("phone-1", DeviceEnding::Confirmed);
        assert_eq!(told_by(&bench).await, [confirmed]);

        bench.try_bind("account-2", "phone-2", None).await.unwrap();
        let superseded = ended("phone-2", DeviceEnding::Superseded);
        assert_eq!(told_by(&bench).await, [superseded]);

        look(&bench, HOUR / 2).await;
        assert_eq!(told_by(&bench).await, []);
        look(&bench, 2 * HOUR).await;
        look(&bench, 2 * HOUR).await;
        let never = ended("phone-3", DeviceEnding::NeverReturned);
        assert_eq!(told_by(&bench).await, [never]);
        look(&bench, 900 * DAY).await;
        assert_eq!(told_by(&bench).await, [], "and nothing when it is pruned");
        let left = left_over(bench.registry.store(), ACCOUNT).await.unwrap();
        assert!(left.is_clean());
    }
}

#[tokio::test]
async fn what_is_written_is_no_residue() {
    for bench in benches("no_residue", Via::Never, impatient()).await {
        let epoch = detached(&bench, "phone-1").await;
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        let left = left_over(bench.registry.store(), ACCOUNT).await.unwrap();
        assert!(left.is_clean());
        let probe = bench.line.probe(&command("1-probe-test")).await.unwrap();
        assert_eq!(done(probe).outcome, Outcome::Clean);
        assert_eq!(told_by(&bench).await.len(), 1);
    }
}

#[tokio::test]
async fn what_got_no_answer_is_told_again_and_what_was_refused_is_not() {
    for bench in benches("no_answer", Via::Never, impatient()).await {
        let epoch = detached(&bench, "phone-1").await;
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();

        let (book, counters) = (Book::new(Mood::Away), Counters::default());
        let mut teller = teller(&bench, &book, &counters);
        let executed = ended("phone-1", DeviceEnding::Executed);
        for mood in [Mood::Away, Mood::Early] {
            book.set(mood);
            while teller.look().await.unwrap() != Next::Later {}
            assert_eq!(book.heard(), slice::from_ref(&executed));
        }
        assert_eq!(counters.all().len(), 0);
        book.set(Mood::Refuses("NOT_DETACHED"));
        while teller.look().await.unwrap() != Next::Idle {}
        assert_eq!(book.heard(), [executed]);
        assert_eq!(counters.of(Odd::Return, "NOT_DETACHED"), 1);
        assert_eq!(teller.look().await.unwrap(), Next::Idle);
        assert_eq!(book.heard(), []);
        assert_eq!(told_by(&bench).await, []);
    }
}

#[tokio::test]
async fn a_word_that_nobody_knows_is_counted_too() {
    for bench in benches("new_word", Via::Never, impatient()).await {
        let epoch = detached(&bench, "phone-1").await;
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        let (book, counters) = (Book::new(Mood::Refuses("NEW_WORD")), Counters::default());
        let mut teller = teller(&bench, &book, &counters);
        while teller.look().await.unwrap() != Next::Idle {}
        assert_eq!(counters.of(Odd::Return, "OTHER"), 1);
    }
}

#[tokio::test]
async fn two_endings_of_one_device_are_told_one_after_the_other() {
    for bench in benches("two_endings", Via::Never, impatient()).await {
        let epoch = detached(&bench, "phone-1").await;
        let owed = bench.contact("phone-1", epoch, &[]).await;
        // It did as it was told at the last moment, and is heard of after its order's last day.
        look(&bench, 2 * HOUR).await;
        assert!(bench.contact("phone-1", epoch, &[]).await.is_empty());
        bench.contact("phone-1", epoch, &[&owed[0]]).await;
        bench.contact("phone-1", 0, &[&owed[0]]).await;
        let book = Book::new(Mood::Keeps);
        let mut teller = teller(&bench, &book, &Counters::default());
        while teller.look().await.unwrap() != Next::Idle {}
        assert!(
            book.heard
                .lock()
                .unwrap()
                .iter()
                .all(|frame| frame.len() == 1)
        );
        let endings = [
            DeviceEnding::NeverReturned,
            DeviceEnding::Executed,
            DeviceEnding::Confirmed,
        ];
        assert_eq!(book.heard(), endings.map(|ending| ended("phone-1", ending)));
    }
}

#[tokio::test]
async fn an_execution_that_is_confirmed_behind_the_answer_is_told() {
    let terms = Terms {
        confirm_wait: Duration::ZERO,
        ..patient()
    };
    for bench in benches("confirmed_late", Via::Never, terms).await {
        let epoch = bench.bind("phone-1", None).await;
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        let answer = done(bench.act(&order).await);
        assert_eq!(
            outcomes(&answer),
            [("phone-1".to_owned(), DeviceOutcome::Executed)]
        );
        bench.contact("phone-1", 0, &[&owed[0]]).await;
        let confirmed = ended("phone-1", DeviceEnding::Confirmed);
        assert_eq!(told_by(&bench).await, [confirmed]);
        assert_eq!(done(bench.act(&order).await), answer);
    }
}

#[tokio::test]
async fn what_moves_before_the_answer_is_in_it_and_not_told() {
    for bench in benches("before", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        bench.contact("phone-1", 0, &[&owed[0]]).await;
        let answer = done(bench.act(&order).await);
        assert_eq!(
            outcomes(&answer),
            [("phone-1".to_owned(), DeviceOutcome::Confirmed)]
        );
        assert_eq!(told_by(&bench).await, []);
    }
}

#[tokio::test]
async fn what_moves_between_the_look_and_the_answer_is_in_it_and_not_told() {
    // On SQLite nobody else writes between them.
    let Some(url) = scratch::postgres() else {
        return;
    };
    let namespace = scratch::namespace("devices");
    let bench = Bench::open(url, namespace, Via::Never, patient()).await;
    let epoch = bench.bind("phone-1", None).await;
    let order = erase(&[("phone-1", epoch)]);
    deferred(bench.act(&order).await);
    let owed = bench.contact("phone-1", epoch, &[]).await;
    bench.report(&owed[0], OrderState::Executed).await.unwrap();

    let mut tx = bench.registry.store().pool().begin().await.unwrap();
    let erasure = erasure::find(&mut tx, ERASE).await.unwrap().unwrap();
    bench.contact("phone-1", 0, &[&owed[0]]).await;
    let taken = erasure::finish(&mut tx, &order, &erasure).await.unwrap();
    assert_eq!(taken.results[0].outcome, Some(DeviceOutcome::Confirmed));
    let answer = Done::new(Outcome::Erased);
    journal::record(&mut tx, ERASE, ACCOUNT, &answer)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(told_by(&bench).await, []);
}

#[tokio::test]
async fn what_moves_while_the_answer_is_given_waits_for_it_and_is_told() {
    for bench in benches("while", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();

        let mut tx = bench.registry.store().pool().begin().await.unwrap();
        let erasure = erasure::find(&mut tx, ERASE).await.unwrap().unwrap();
        let taken = erasure::finish(&mut tx, &order, &erasure).await.unwrap();
        assert_eq!(taken.results[0].outcome, Some(DeviceOutcome::Executed));
        let done = [&owed[0]];
        let confirm = bench.contact("phone-1", 0, &done);
        let answer = async {
            // The device is heard meanwhile, and waits for its row.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let answer = Done::new(Outcome::Erased);
            journal::record(&mut tx, ERASE, ACCOUNT, &answer)
                .await
                .unwrap();
            tx.commit().await.unwrap();
        };
        tokio::join!(confirm, answer);
        let confirmed = ended("phone-1", DeviceEnding::Confirmed);
        assert_eq!(told_by(&bench).await, [confirmed]);
    }
}

#[tokio::test]
async fn a_tombstone_expires_behind_the_answer_only() {
    for bench in benches("expires", Via::Never, patient()).await {
        let first = bench.bind("phone-1", None).await;
        let second = bench.bind("phone-2", None).await;
        let order = erase(&[("phone-1", first), ("phone-2", second)]);
        deferred(bench.act(&order).await);
        sqlx::query("UPDATE orders SET state = 'DETACHED' WHERE subject = 'phone-1'")
            .execute(bench.registry.store().pool())
            .await
            .unwrap();
        look(&bench, 2 * HOUR).await;
        let owed = bench.contact("phone-2", second, &[]).await;
        bench.contact("phone-2", 0, &[&owed[0]]).await;
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [
                ("phone-1".to_owned(), DeviceOutcome::Detached),
                ("phone-2".to_owned(), DeviceOutcome::Confirmed)
            ]
        );
        assert_eq!(told_by(&bench).await, []);
        look(&bench, 2 * HOUR).await;
        let never = ended("phone-1", DeviceEnding::NeverReturned);
        assert_eq!(told_by(&bench).await, [never]);
    }
}

#[tokio::test]
async fn of_a_device_that_is_unbound_alone_nothing_is_told() {
    let terms = Terms {
        unbind_horizon: Duration::ZERO,
        ..patient()
    };
    for bench in benches("unbound_alone", Via::Never, terms).await {
        let mut epochs = Vec::new();
        for device in ["phone-1", "phone-2"] {
            let epoch = bench.bind(device, None).await;
            epochs.push(epoch);
            let name = format!("lines/test/deviceUnbindings/{device}");
            let request = UnbindDevice {
                account: ACCOUNT.to_owned(),
                device: told(&name, device, epoch, &[DeviceVerb::Unbind]),
                name,
            };
            bench.line.unbind_device(&request).await.unwrap().unwrap();
            keeper::look(&bench.registry, &terms, SystemTime::now())
                .await
                .unwrap();
        }
        let owed = bench.contact("phone-1", epochs[0], &[]).await;
        bench.contact("phone-1", 0, &[&owed[0]]).await;
        look(&bench, 2 * HOUR).await;
        assert_eq!(told_by(&bench).await, []);
    }
}

#[tokio::test]
async fn of_a_device_that_somebody_took_over_nothing_is_told() {
    for bench in benches("taken_over", Via::Hub, patient()).await {
        let epoch = bench.bind("hub-1", None).await;
        bench.share("hub-1", epoch, "account-2", Role::Admin).await;
        let verbs = [DeviceVerb::Transfer, DeviceVerb::Reset];
        let order = erase_with(vec![told(ERASE, "hub-1", epoch, &verbs)]);
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [("hub-1".to_owned(), DeviceOutcome::Transferred)]
        );
        let owed = bench.contact("hub-1", epoch, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        bench.contact("hub-1", epoch + 1, &[&owed[0]]).await;
        look(&bench, 2 * HOUR).await;
        assert_eq!(told_by(&bench).await, []);
    }
}

#[tokio::test]
async fn a_child_is_not_somebody_elses_because_its_hub_is() {
    for bench in benches("child", Via::Hub, impatient()).await {
        let hub = bench.bind("hub-1", None).await;
        let mut tasks = Vec::new();
        for lamp in ["lamp-1", "lamp-2"] {
            let epoch = bench.bind(lamp, Some("hub-1")).await;
            tasks.push(told_hub(ERASE, (lamp, epoch), ("hub-1", hub)));
        }
        tasks.push(told(ERASE, "hub-1", hub, &[DeviceVerb::Reset]));
        done(bench.act(&erase_with(tasks)).await);
        let sold = bench.try_bind("account-2", "hub-1", None).await.unwrap();
        let new = sold.shown.binding.epoch;
        assert!(bench.contact("hub-1", new, &[]).await.is_empty());
        let superseded = |device| ended(device, DeviceEnding::Superseded);
        assert_eq!(told_by(&bench).await, [superseded("hub-1")]);

        let bound = bench.try_bind("account-2", "lamp-1", Some("hub-1")).await;
        bound.unwrap();
        assert_eq!(told_by(&bench).await, [superseded("lamp-1")]);
        look(&bench, 2 * HOUR).await;
        let never = ended("lamp-2", DeviceEnding::NeverReturned);
        assert_eq!(told_by(&bench).await, [never]);
    }
}

#[tokio::test]
async fn many_are_told_in_frames_and_what_is_early_holds_nobody_up() {
    for bench in benches("frames", Via::Never, patient()).await {
        let many = RETURNS_MAX + 44;
        for place in 0..many {
            sqlx::query("INSERT INTO returns VALUES ($1, $2, 1, 'EXECUTED', 5)")
                .bind(ERASE)
                .bind(format!("phone-{place:03}"))
                .execute(bench.registry.store().pool())
                .await
                .unwrap();
        }
        let book = Book::new(Mood::Early);
        let mut teller = teller(&bench, &book, &Counters::default());
        let early = Next::AtOnce { progress: false };
        assert_eq!(teller.look().await.unwrap(), early);
        book.set(Mood::Keeps);
        let kept = Next::AtOnce { progress: true };
        assert_eq!(teller.look().await.unwrap(), kept);
        assert_eq!(teller.look().await.unwrap(), Next::Later);
        assert_eq!(teller.look().await.unwrap(), kept);
        let frames: Vec<_> = book.heard.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(frames, [RETURNS_MAX, 44, RETURNS_MAX]);
        assert_eq!(told_by(&bench).await, []);
    }
}

#[tokio::test]
async fn a_return_is_told_when_it_is_rung_for_and_after_a_restart() {
    for bench in benches("rung", Via::Never, impatient()).await {
        let (first, second) = ("phone-1", "phone-2");
        let roster = [
            (first, bench.bind(first, None).await),
            (second, bench.bind(second, None).await),
        ];
        done(bench.act(&erase(&roster)).await);
        let executed = async |bench: &Bench, (device, epoch): (&str, u64)| {
            let owed = bench.contact(device, epoch, &[]).await;
            bench.report(&owed[0], OrderState::Executed).await.unwrap();
        };
        let tell = |bench: &Bench, book: &Arc<Book>| {
            let shutdown = Shutdown::new();
            let telling = returns::tell(
                bench.registry.clone(),
                book.clone(),
                Counters::default(),
                shutdown.clone(),
            );
            shutdown.spawn(telling);
            shutdown
        };
        let hears = async |book: &Book, device: &str| {
            let expected = [ended(device, DeviceEnding::Executed)];
            let heard = async {
                loop {
                    let heard = book.heard();
                    if !heard.is_empty() {
                        return heard;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            assert_eq!(
                tokio::time::timeout(PATIENCE, heard).await.unwrap(),
                expected
            );
        };

        let book = Book::new(Mood::Away);
        let shutdown = tell(&bench, &book);
        executed(&bench, roster[0]).await;
        hears(&book, first).await;
        assert!(shutdown.drain(PATIENCE).await);

        let bench = bench.restart(Via::Never, impatient()).await;
        let book = Book::new(Mood::Keeps);
        let shutdown = tell(&bench, &book);
        hears(&book, first).await;
        executed(&bench, roster[1]).await;
        hears(&book, second).await;
        // Heard first, forgotten then: an end in between would only tell it once more.
        let forgotten = async {
            let pool = bench.registry.store().pool();
            let left = "SELECT COUNT(*) FROM returns";
            while sqlx::query_as::<_, (i64,)>(left)
                .fetch_one(pool)
                .await
                .unwrap()
                != (0,)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, forgotten).await.unwrap();
        assert!(shutdown.drain(PATIENCE).await);
    }
}
