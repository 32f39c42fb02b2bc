//! What it costs to answer who asks about an account, in statements of the database, is the same whether anybody has it: counted, as
//! times are the machine's. A process of its own, as statements are told to a subscriber of the whole process.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use farewell_identity::courier::{self, Couriers};
use farewell_identity::pepper::Pepper;
use farewell_identity::{Identity, Rules, notice};
use farewell_kit::store::Store;
use farewell_kit::{
    Answer, CheckProof, CodeKind, Order, Participant as _, ProofChecked, ProofKind, SendCode,
    scratch,
};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

const SOMEBODY: &str = "a-4711";
const PASSWORD: &str = "correct horse";
/// A letter is on its way behind the answer's back.
const CARRIED: &str = "UPDATE code SET delivered";
/// By this a test knows that it has heard of every statement before.
const END: &str = "SELECT CAST(4711 AS BIGINT)";
const PATIENCE: Duration = Duration::from_secs(30);

/// Every statement that was carried out, oldest first.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

impl Statements {
    /// Until so many statements begin so. A statement is told of when it is put away, which may be after its answer.
    async fn until(&self, begin: &str, times: usize) {
        let since = Instant::now();
        while self.told(begin) < times {
            assert!(since.elapsed() < PATIENCE, "not told of: {begin}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn told(&self, begin: &str) -> usize {
        let told = self.0.lock().unwrap();
        told.iter().filter(|it| it.starts_with(begin)).count()
    }

    /// All of them, up to one that is made for this.
    async fn take(&self, store: &Store) -> Vec<String> {
        let (end,): (i64,) = sqlx::query_as(END).fetch_one(store.pool()).await.unwrap();
        assert_eq!(end, 4711);
        self.until(END, 1).await;
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The text of a statement, as sqlx tells it: short ones in the summary.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        let short = field.name() == "summary" && self.0.is_empty();
        if short || (field.name() == "db.statement" && !value.is_empty()) {
            self.0 = value.trim().to_owned();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut text = Text::default();
            event.record(&mut text);
            // A new connection of the pool is nobody's question.
            if !text.0.starts_with("SET ") {
                self.0.lock().unwrap().push(text.0);
            }
        }
    }
}

async fn identity(url: &str) -> (Store, Identity) {
    let store = farewell_identity::open(url).await.unwrap();
    let letters = std::env::temp_dir().join(format!("farewell-nobody-{}", uuid::Uuid::new_v4()));
    let couriers = Couriers::open(&courier::Config::file(letters)).unwrap();
    let pepper = Pepper::new(*b"sixteen bytes or more").unwrap();
    let identity = Identity::new(store.clone(), couriers, pepper, Rules::default());
    let identity = identity.with_notices(notice::Config {
        links: Some("https://account.example.com/stay".to_owned()),
        ..notice::Config::default()
    });
    let (phone, mail) = ("+8613800000000", "li@example.com");
    farewell_identity::sample(&store, SOMEBODY, phone, mail, PASSWORD)
        .await
        .unwrap();
    // Somebody without addresses or a password, and somebody who is gone.
    for account in ["bare", "gone"] {
        farewell_identity::register(&store, account, account)
            .await
            .unwrap();
    }
    let erase = Order {
        horizon: None,
        retention: Vec::new(),
        ended_by: None,
        command: "deletions/d1/commands/1-erase-identity".to_owned(),
        account: "gone".to_owned(),
        deadline: None,
        devices: Vec::new(),
        traceparent: String::new(),
    };
    let erased = identity.act(&erase).await.unwrap();
    assert!(matches!(erased, Answer::Done(_)), "{erased:?}");
    (store, identity)
}

/// What is done when somebody asks about an account who doesn't own it: in their order, and behind the answers' backs.
async fn work(
    (store, identity): &(Store, Identity),
    statements: &Statements,
    account: &str,
) -> (Vec<String>, Vec<String>) {
    let deletion = format!("deletions/of-{account}");
    statements.take(store).await;
    for (letters, kind) in [CodeKind::Sms, CodeKind::Email, CodeKind::EmailLink]
        .into_iter()
        .enumerate()
    {
        // A repeat, and one that comes too soon, send nothing.
        for request_id in ["first", "first", "too-soon"] {
            let request = SendCode {
                account: account.to_owned(),
                deletion: deletion.clone(),
                kind,
                request_id: request_id.to_owned(),
            };
            identity.send_code(&request).await.unwrap();
            statements.until(CARRIED, letters + 1).await;
        }
    }
    for kind in [
        ProofKind::SmsCode,
        ProofKind::EmailCode,
        ProofKind::EmailLink,
        ProofKind::Password,
    ] {
        for request_id in ["one", "one", "two", "three", "four", "five", "six"] {
            let shown = CheckProof {
                account: account.to_owned(),
                deletion: deletion.clone(),
                kind,
                // Seven digits: even somebody's own code is not hit by chance.
                proof: "0000000".to_owned(),
                request_id: request_id.to_owned(),
            };
            let checked = identity.check_proof(&shown).await.unwrap();
            assert!(!matches!(checked, ProofChecked::Right));
        }
    }
    let all = statements.take(store).await.into_iter();
    all.partition(|statement| !statement.starts_with(CARRIED))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answering_for_nobody_is_the_same_work_as_for_somebody() {
    let statements = Statements::default();
    tracing_subscriber::registry()
        .with(statements.clone())
        .init();
    let postgres = scratch::own_postgres().await;
    for url in std::iter::once(scratch::sqlite("nobody")).chain(postgres) {
        let identity = identity(&url).await;
        let somebody = work(&identity, &statements, SOMEBODY).await;
        assert!(somebody.0.len() > 100, "{somebody:#?}");
        assert_eq!(somebody.1.len(), 3, "a letter of each kind");
        for account in ["nobody", "bare", "gone"] {
            let other = work(&identity, &statements, account).await;
            let mut pairs = other.0.iter().zip(&somebody.0);
            let differs = pairs.find(|(one, other)| one != other);
            assert_eq!(differs, None, "{account}");
            assert_eq!(other.0.len(), somebody.0.len(), "{account}");
            assert_eq!(other.1, somebody.1, "{account}");
        }
        println!("{} statements for anybody", somebody.0.len());
    }
}
