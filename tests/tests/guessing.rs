//! Somebody guesses, or wants to find out who has an account: over many connections, deletions and restarts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_core::Policy;
use farewell_core::policy::{Channel as Door, Factor as Asked};
use farewell_identity::credential::{Cost, Hasher};
use farewell_identity::{Identity, Rules, code::Pepper, courier, notice};
use farewell_kit::store::Store;
use farewell_kit::{service, session};
use farewell_proto::deletion::v1::{
    Channel, ConfirmLinkRequest, CreateDeletionRequest, Factor, State, VerifyFactorRequest,
};
use farewell_runtime::certs::DevCa;
use farewell_runtime::peer::Role as PeerRole;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use farewell_tests::caller::{Caller, fresh, request};
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::ledger::Place;
use farewell_tests::refusal::{Refusal, refused};
use farewell_tests::{policy, wait};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::{Code, Status};

const ACCOUNT: &str = "a-4711";
const NOBODY: &str = "a-4712";
const PASSWORD: &str = "a farewell to guesses";
/// Proofs that are shown.
const TRIES: usize = 10_000;
const CONNECTIONS: usize = 24;
/// Deletions, each revoked before the next is asked for.
const DELETIONS: usize = 4;
/// A share of the tries takes seconds, and on a busy machine more.
const SHARE_PATIENCE: Duration = Duration::from_secs(120);
/// Six digits.
const CODES: u32 = 1_000_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A coordinator and identity with real databases, either of which can end and come back where it was.
struct Town {
    policy: Policy,
    rules: Rules,
    ledger: Place,
    folder: TempDir,
    coordinator: Option<Coordinator>,
    identity: Option<(Store, Shutdown)>,
    callers: SocketAddr,
    participants: SocketAddr,
}

impl Town {
    async fn start(policy: Policy, rules: Rules) -> Result<Self> {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut town = Self {
            policy,
            rules,
            ledger: Place::sqlite()?,
            folder: TempDir::new()?,
            coordinator: None,
            identity: None,
            callers: anywhere,
            participants: anywhere,
        };
        town.start_coordinator().await?;
        town.start_identity().await?;
        let store = &town.identity.as_ref().context("identity")?.0;
        let (phone, mail) = ("+86 138 0000 0000", "li.na@example.com");
        farewell_identity::sample(store, ACCOUNT, phone, mail, PASSWORD).await?;
        Ok(town)
    }

    async fn start_coordinator(&mut self) -> Result<()> {
        let mut config = config(
            self.policy.clone(),
            &self.ledger.url,
            &Security::PlainLoopback,
        );
        config.pace.query = Duration::from_secs(5);
        config.pace.drain = Duration::from_millis(300);
        // Here identity's own count is what holds: it is the one that survives.
        config.limits.account_per_minute = 1_000_000;
        config.callers.address = self.callers;
        config.participants.address = self.participants;
        let coordinator = Coordinator::start_with(config).await?;
        self.callers = coordinator.callers.parse()?;
        self.participants = coordinator.participants.parse()?;
        self.coordinator = Some(coordinator);
        Ok(())
    }

    async fn start_identity(&mut self) -> Result<()> {
        let shutdown = Shutdown::new();
        let url = format!(
            "sqlite:{}",
            self.folder.path().join("identity.db").display()
        );
        let store = farewell_identity::open(&url).await?;
        let letters = courier::Config::file(self.folder.path().join("letters"));
        let pepper = Pepper::new(*b"sixteen bytes or more")?;
        let couriers = courier::Couriers::open(&letters)?;
        let identity = Identity::new(store.clone(), couriers, pepper, self.rules);
        let identity = identity.with_notices(notice::Config {
            links: Some("https://account.example.com/stay".to_owned()),
            ..notice::Config::default()
        });
        let session = session::Config {
            participant: "identity".to_owned(),
            coordinators: vec![format!("http://{}", self.participants)],
            security: Security::PlainLoopback,
            window_commands: 8,
        };
        shutdown.spawn(service::run(
            store.clone(),
            Arc::new(identity),
            session,
            shutdown.clone(),
        ));
        self.identity = Some((store, shutdown));
        Ok(())
    }

    async fn restart_coordinator(&mut self) -> Result<()> {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.stop().await?;
        }
        self.start_coordinator().await
    }

    async fn restart_identity(&mut self) -> Result<()> {
        self.stop_identity().await?;
        self.start_identity().await
    }

    async fn stop_identity(&mut self) -> Result<()> {
        if let Some((_, shutdown)) = self.identity.take() {
            shutdown.trigger();
            ensure!(shutdown.drain(Duration::from_secs(20)).await);
        }
        Ok(())
    }

    fn caller(&self) -> Result<Caller> {
        Caller::new(&self.callers.to_string(), &Security::PlainLoopback)
    }

    /// Rows by kind of proof.
    async fn counted(&self, table: &'static str) -> Result<BTreeMap<String, i64>> {
        let statement = match table {
            "attempt" => "SELECT kind, COUNT(*) FROM attempt GROUP BY kind",
            _ => "SELECT kind, COUNT(*) FROM proof GROUP BY kind",
        };
        let store = &self.identity.as_ref().context("identity")?.0;
        let rows: Vec<(String, i64)> = sqlx::query_as(statement).fetch_all(store.pool()).await?;
        Ok(rows.into_iter().collect())
    }

    /// Codes that were really sent for a deletion, latest last.
    fn letters(&self, deletion: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("letters")).unwrap_or_default();
        let letters = text
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        letters
            .filter(|letter| letter["deletion"] == deletion)
            .filter_map(|letter| letter["code"].as_str().map(str::to_owned))
            .collect()
    }

    async fn stop(mut self) -> Result<()> {
        self.stop_identity().await?;
        match self.coordinator.take() {
            Some(coordinator) => coordinator.stop().await,
            None => Ok(()),
        }
    }
}

fn verified() -> Policy {
    let mut policy = policy::verified(&[&["identity"]]);
    let factors = vec![Asked::Password, Asked::EmailCode, Asked::EmailLink];
    policy.channels.insert(Door::Web, factors);
    policy
}

fn patient<T>(answer: Result<T, Status>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.code() == Code::Unavailable => Ok(None),
        Err(status) => Err(anyhow!("{status:?}")),
    }
}

/// Asks for a deletion, once the coordinator is back.
async fn ask(caller: &Caller, account: &str, channel: Channel) -> Result<String> {
    let asked = CreateDeletionRequest {
        channel: channel.into(),
        ..request(account)
    };
    let deletion = wait::until("a deletion", async || {
        patient(caller.ask(asked.clone()).await)
    });
    Ok(deletion.await?.name)
}

/// What the guessers try at this moment: the deletion, and what it asks for.
type Target = Arc<RwLock<(String, Vec<Factor>)>>;

/// What became of the tries, by the word of the answer.
type Tally = Arc<Mutex<BTreeMap<String, usize>>>;

/// Guesses until all tries are made, over a connection of its own.
async fn guess(caller: Caller, target: Target, made: Arc<AtomicUsize>, tally: Tally) {
    while made.fetch_add(1, Ordering::Relaxed) < TRIES {
        let word = try_once(&caller, &target, &tally).await;
        count(&tally, word);
    }
}

/// A try, until it has an answer: what got none is asked again as the same request, and what was for a deletion that is no
/// more, for the next one.
async fn try_once(caller: &Caller, target: &Target, tally: &Tally) -> String {
    let mut shown: Option<VerifyFactorRequest> = None;
    loop {
        let request = shown.take().unwrap_or_else(|| guessed(target));
        let word = match show(caller, &request).await {
            Ok(()) => return "RIGHT".to_owned(),
            Err(status) => Refusal::of(&status).reason,
        };
        match word.as_str() {
            "ILLEGAL_STATE" => {}
            "" | "IDENTITY_UNAVAILABLE" | "LEDGER_UNAVAILABLE" => shown = Some(request),
            _ => return word,
        }
        count(tally, format!("AGAIN {word}"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Half of the links are shown on their page, the others by their factor.
async fn show(caller: &Caller, request: &VerifyFactorRequest) -> Result<(), Status> {
    let mut api = caller.api.clone();
    if request.factor() == Factor::EmailLink && request.proof.ends_with(['0', '2', '4', '6']) {
        let page = ConfirmLinkRequest {
            request_id: request.request_id.clone(),
            token: request.proof.clone(),
        };
        return api.confirm_link(page).await.map(drop);
    }
    api.verify_factor(request.clone()).await.map(drop)
}

fn guessed(target: &Target) -> VerifyFactorRequest {
    let (name, factors) = target
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let factor = factors[rand::random_range(0..factors.len())];
    let proof = match factor {
        Factor::Password => format!("guess {}", rand::random::<u32>()),
        // Whoever guesses knows the deletion, and not 256 bits.
        Factor::EmailLink => {
            let [high, low] = rand::random::<[u128; 2]>();
            let id = name.trim_start_matches("deletions/");
            format!("{id}.{high:032x}{low:032x}")
        }
        _ => format!("{:06}", rand::random_range(0..CODES)),
    };
    VerifyFactorRequest {
        request_id: fresh(),
        name,
        factor: factor.into(),
        proof,
        ..Default::default()
    }
}

fn count(tally: &Tally, word: String) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    *tally.entry(word).or_default() += 1;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_guesses_over_many_connections_and_restarts_get_as_many_tries_as_one_person()
-> Result<()> {
    let mut rules = Rules::default();
    // The guessers are in no hurry, the story is.
    rules.codes.resend_wait = Duration::from_millis(1);
    let allowed = i64::from(rules.tries_per_day_max);
    let mut town = Town::start(verified(), rules).await?;
    let cheap = Hasher::new(Cost {
        memory_kib: 8,
        passes: 1,
    });
    let store = &town.identity.as_ref().context("identity")?.0;
    farewell_identity::change_password(store, &cheap, ACCOUNT, PASSWORD).await?;

    let begun = Instant::now();
    let caller = town.caller()?;
    let target = Target::default();
    let (made, tally) = (Arc::new(AtomicUsize::new(0)), Tally::default());
    let mut guessers = JoinSet::new();
    let (mut sent, mut restarts) = (0, 0);
    let mut last = String::new();
    for round in 0..DELETIONS {
        let (channel, factors) = match round % 2 {
            0 => (Channel::Phone, vec![Factor::SmsCode]),
            _ => {
                let link = [Factor::EmailCode, Factor::EmailLink, Factor::Password];
                (Channel::Web, link.to_vec())
            }
        };
        if !last.is_empty() {
            wait::until("the revoke", async || patient(caller.revoke(&last).await)).await?;
        }
        last = ask(&caller, ACCOUNT, channel).await?;
        for code in factors.iter().filter(|it| **it != Factor::Password) {
            wait::until("a code", async || {
                patient(caller.send_code(&last, *code).await)
            })
            .await?;
            sent += 1;
        }
        *target.write().unwrap_or_else(PoisonError::into_inner) = (last.clone(), factors);
        if round == 0 {
            for _ in 0..CONNECTIONS {
                let guesser = guess(
                    town.caller()?,
                    Arc::clone(&target),
                    Arc::clone(&made),
                    Arc::clone(&tally),
                );
                guessers.spawn(guesser);
            }
        }
        // Either end of the line goes away in the middle, and is back before the next deletion.
        let half = TRIES * (2 * round + 1) / (2 * DELETIONS);
        wait::until_within(SHARE_PATIENCE, "half of a round", async || {
            Ok((made.load(Ordering::Relaxed) >= half).then_some(()))
        })
        .await?;
        match round % 3 {
            0 => town.restart_identity().await?,
            1 => town.restart_coordinator().await?,
            _ => {
                restarts += 1;
                town.restart_identity().await?;
                town.restart_coordinator().await?;
            }
        }
        restarts += 1;
        let whole = TRIES * (round + 1) / DELETIONS;
        wait::until_within(SHARE_PATIENCE, "a round", async || {
            Ok((made.load(Ordering::Relaxed) >= whole).then_some(()))
        })
        .await?;
    }
    while guessers.join_next().await.is_some() {}

    let tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
    let said = |word: &str| tally.get(word).copied().unwrap_or_default();
    let (attempts, compared) = (town.counted("attempt").await?, town.counted("proof").await?);
    println!(
        "{TRIES} tries over {CONNECTIONS} connections, {DELETIONS} deletions, {sent} codes and {restarts} restarts in {:?}: \
         {tally:?}; compared {compared:?}",
        begun.elapsed()
    );
    let every: BTreeMap<_, _> = ["EMAIL_CODE", "EMAIL_LINK", "PASSWORD", "SMS_CODE"]
        .map(|kind| (kind.to_owned(), allowed))
        .into();
    assert_eq!((&attempts, &compared), (&every, &every));
    // Of two kinds of code, each compared with one of a million: 1 in 50,000 runs may see one that is right.
    let likely = 2.0 * f64::from(rules.tries_per_day_max) / f64::from(CODES);
    println!("{} right; {likely} were to be expected", said("RIGHT"));
    assert_eq!(said("RIGHT"), 0);
    let answered = usize::try_from(4 * allowed)?;
    assert_eq!(said("WRONG_PROOF"), answered);
    assert_eq!(said("TOO_MANY_TRIES"), TRIES - answered);

    // It is over for a day, for the owner as well, who is told so.
    let caller = town.caller()?;
    let again = ask_again(&caller, &last).await?;
    wait::until("a code", async || {
        patient(caller.send_code(&again, Factor::SmsCode).await)
    })
    .await?;
    let codes = wait::until("the letter", async || {
        let letters = town.letters(&again);
        Ok((!letters.is_empty()).then_some(letters))
    });
    let right = codes.await?.pop().context("the code")?;
    let locked = caller.verify(&again, Factor::SmsCode, &right).await;
    let locked = refused(
        "the owner",
        locked,
        Code::ResourceExhausted,
        "TOO_MANY_TRIES",
    );
    let wait = locked.retry_after.context("when to come again")?;
    println!("the owner may try again in {wait:?}");
    ensure!(
        wait > DAY - Duration::from_secs(600) && wait <= DAY,
        "{wait:?}"
    );
    ensure!(!format!("{locked:?}").contains(ACCOUNT));
    town.stop().await
}

async fn ask_again(caller: &Caller, last: &str) -> Result<String> {
    wait::until("the revoke", async || patient(caller.revoke(last).await)).await?;
    ask(caller, ACCOUNT, Channel::Phone).await
}

/// What somebody sees who asks about an account, without what differs between any two deletions.
async fn look(town: &Town, account: &str) -> Result<(Vec<String>, Vec<Duration>, String)> {
    let caller = town.caller()?;
    let (mut seen, mut took) = (Vec::new(), Vec::new());
    let mut last = String::new();
    for channel in [Channel::Phone, Channel::Web] {
        if !last.is_empty() {
            let revoked = caller.revoke(&last).await.map_err(|it| anyhow!("{it:?}"))?;
            seen.push(format!("{:?}", revoked.state()));
        }
        let asked = CreateDeletionRequest {
            channel: channel.into(),
            ..request(account)
        };
        let mut deletion = caller.ask(asked).await.map_err(|it| anyhow!("{it:?}"))?;
        last = deletion.name.clone();
        deletion = caller.get(&last).await.map_err(|it| anyhow!("{it:?}"))?;
        let factors = &deletion.factors;
        seen.push(format!(
            "{:?} {factors:?} {:?}",
            deletion.state(),
            deletion.conditions
        ));
        let kinds = match channel {
            Channel::Phone => vec![Factor::SmsCode],
            _ => vec![Factor::EmailCode, Factor::EmailLink, Factor::Password],
        };
        for factor in kinds {
            if factor != Factor::Password {
                for _ in 0..2 {
                    let begun = Instant::now();
                    let sent = caller.send_code(&last, factor).await;
                    took.push(begun.elapsed());
                    seen.push(match sent {
                        Ok(sent) => {
                            let wait = |at: Option<prost_types::Timestamp>| at.map(|at| at.seconds);
                            let between = wait(sent.expire_time)
                                .zip(wait(sent.next_send_time))
                                .map(|(one, other)| one - other);
                            format!("sent, {between:?}")
                        }
                        Err(status) => words(&status),
                    });
                }
            }
            for _ in 0..6 {
                let begun = Instant::now();
                // Longer than any code is.
                let shown = caller.verify(&last, factor, "0000000").await;
                took.push(begun.elapsed());
                seen.push(match shown {
                    Ok(deletion) => format!("{:?}", deletion.state()),
                    Err(status) => words(&status),
                });
            }
        }
    }
    Ok((seen, took, last))
}

/// A refusal, with its wait to the minute.
fn words(status: &Status) -> String {
    let refusal = Refusal::of(status);
    let minutes = refusal.retry_after.map(|wait| wait.as_secs().div_ceil(60));
    format!(
        "{:?} {} {:?} {:?} {minutes:?} {}",
        refusal.code, refusal.reason, refusal.metadata, refusal.fields, refusal.message
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_learns_by_asking_whether_there_is_an_account_and_what_nobody_proves_expires()
-> Result<()> {
    let policy = Policy {
        verification: Duration::from_secs(20),
        ..verified()
    };
    let town = Town::start(policy, Rules::default()).await?;
    let caller = town.caller()?;
    wait::until("identity", async || {
        let name = ask(&caller, "a-first", Channel::Phone).await?;
        let there = patient(caller.send_code(&name, Factor::SmsCode).await)?;
        let _ = caller.revoke(&name).await;
        Ok(there)
    })
    .await?;
    let (known, known_took, _) = look(&town, ACCOUNT).await?;
    let (nobody, nobody_took, last) = look(&town, NOBODY).await?;
    assert_eq!(known, nobody, "field by field");
    for word in ["sent", "CODE_TOO_SOON", "WRONG_PROOF", "TOO_MANY_TRIES"] {
        ensure!(known.iter().any(|seen| seen.contains(word)), "{known:#?}");
    }
    let unsaid = |seen: &String| !seen.contains("UNKNOWN") && !seen.contains(NOBODY);
    ensure!(nobody.iter().all(unsaid), "{nobody:#?}");
    for (place, (known, nobody)) in known_took.iter().zip(&nobody_took).enumerate() {
        println!("answer {place:2}: {known:?} of somebody, {nobody:?} of nobody");
    }
    println!("the last answer was the same: {:?}", known.last());
    ensure!(town.letters(&last).is_empty());
    let store = &town.identity.as_ref().context("identity")?.0;
    let (rows,): (i64,) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM code WHERE account = $1) + (SELECT COUNT(*) FROM proof WHERE account = $1)",
    )
    .bind(NOBODY)
    .fetch_one(store.pool())
    .await?;
    assert_eq!(rows, 0, "nothing is kept under a name that is nobody's");
    caller.until(&last, State::Expired).await?;
    town.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_asks_too_fast_is_told_when_to_come_again_and_holds_up_nobody_else()
-> Result<()> {
    let ca = DevCa::create()?;
    let mutual = |role, name: &str| anyhow::Ok(Security::Mutual(ca.issue(role, name, &[])?));
    let own = mutual(PeerRole::Coordinator, "coordinator")?;
    let mut config = config(verified(), "memory:", &own);
    config.limits.account_per_minute = 6;
    let coordinator = Coordinator::start_with(config).await?;
    let caller = |name| Caller::new(&coordinator.callers, &mutual(PeerRole::Caller, name)?);
    let (settings, web) = (caller("settings")?, caller("web")?);
    let name = ask(&settings, "alice", Channel::Phone).await?;
    // Every kind counts, whatever becomes of it, over as many connections as there are.
    for _ in 0..2 {
        let again = caller("settings")?;
        let sent = again.send_code(&name, Factor::SmsCode).await;
        refused("a code", sent, Code::Unavailable, "IDENTITY_UNAVAILABLE");
        let shown = again.verify(&name, Factor::SmsCode, "000000").await;
        refused("a proof", shown, Code::Unavailable, "IDENTITY_UNAVAILABLE");
    }
    let second = settings.ask(request("alice")).await;
    let live = "ACCOUNT_HAS_LIVE_DELETION";
    refused("a second", second, Code::AlreadyExists, live);
    let (fast, word) = (Code::ResourceExhausted, "CALLER_TOO_FAST");
    let sent = settings.send_code(&name, Factor::SmsCode).await;
    let told = refused("a code", sent, fast, word);
    let wait = told.retry_after.context("when to come again")?;
    ensure!(
        wait > Duration::ZERO && wait <= Duration::from_secs(10),
        "{wait:?}"
    );
    let shown = settings.verify(&name, Factor::SmsCode, "000000").await;
    refused("a proof", shown, fast, word);
    refused("a second", settings.ask(request("alice")).await, fast, word);

    // Reading and revoking go on, and so do other accounts and other callers.
    assert_eq!(
        settings
            .get(&name)
            .await
            .map_err(|it| anyhow!("{it:?}"))?
            .state(),
        State::AwaitingVerification
    );
    ask(&settings, "bob", Channel::Phone).await?;
    let shown = web.verify(&name, Factor::SmsCode, "000000").await;
    refused("another", shown, Code::Unavailable, "IDENTITY_UNAVAILABLE");
    settings
        .revoke(&name)
        .await
        .map_err(|it| anyhow!("{it:?}"))?;
    coordinator.stop().await
}
