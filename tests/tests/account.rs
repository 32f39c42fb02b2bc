//! An account is frozen, thawed, kept in memory, or loses its real name: and stays.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use async_trait::async_trait;
use farewell_core::account::Change;
use farewell_identity::credential::Hasher;
use farewell_identity::{Identity, LoginError, Rules, code::Pepper, courier};
use farewell_kit::seal::{self, Work};
use farewell_kit::store::Store;
use farewell_kit::{
    Answer, CaseAction, CaseStanding, CheckCase, Fault, Holder, Inventory, Order, Participant,
    journal, service, session,
};
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_proto::account::v1::{
    Account, AccountChange, AccountChangeState as Told, AccountChoice, AccountState,
    CheckRealNameClearingRequest, CheckRealNameClearingResponse, ClearRealNameRequest,
    FreezeAccountRequest, GetAccountChangeRequest, GetAccountRequest, MemorializeAccountRequest,
    ReviewRealNameClearingRequest, SendAccountCodeRequest, UnfreezeAccountRequest,
    VerifyAccountFactorRequest, WatchAccountChangeRequest,
};
use farewell_proto::deletion::v1::{Channel as Door, Factor, State};
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use farewell_store::{Shop, entitlements, grant_entitlement};
use farewell_tests::caller::{Caller, fresh};
use farewell_tests::ledger::Place;
use farewell_tests::process::{CoordinatorSite, Process, Told as Settings, needed};
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::wait;
use sqlx::AnyConnection;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};

const ACCOUNT: &str = "a-4711";
const NOBODY: &str = "a-4712";
const PASSWORD: &str = "a farewell to arms";
const CASE: &str = "cases/01900000-0000-7000-8000-00000000000a";
/// What a community's case would be: approved for nothing.
const OTHER_CASE: &str = "cases/01900000-0000-7000-8000-00000000000b";

/// A desk that has approved one case for whatever is asked, once.
struct Desk {
    store: Store,
    used: std::sync::Mutex<Option<String>>,
}

#[async_trait]
impl Holder for Desk {
    fn store(&self) -> &Store {
        &self.store
    }

    async fn held(&self, _: &mut AnyConnection, _: &str) -> Result<Inventory, Fault> {
        Ok(Inventory::default())
    }

    async fn erase(&self, work: Work, _: &Order) -> Result<Answer, Fault> {
        work.finish(seal::erased([], Vec::new())).await
    }

    async fn check_case(&self, request: &CheckCase) -> Result<CaseStanding, Fault> {
        let sound = matches!(
            request.action,
            CaseAction::Memorialize | CaseAction::ClearRealName
        );
        if !sound || format!("cases/{}", request.case) != CASE {
            return Ok(CaseStanding::NotApproved);
        }
        let mut used = self.used.lock().expect("nobody panics with it");
        let used = used.get_or_insert_with(|| request.used_for.clone());
        Ok(if *used == request.used_for {
            CaseStanding::Stands
        } else {
            CaseStanding::Used
        })
    }
}

/// A coordinator as a process of its own, and the services that hold the account, with their databases to look into.
struct Town {
    site: CoordinatorSite,
    coordinator: Option<Process>,
    accounts: AccountServiceClient<Channel>,
    caller: Caller,
    identity: Store,
    shop: Store,
    folder: TempDir,
    running: Vec<(&'static str, Shutdown)>,
    ledger: Place,
}

const EVERYBODY: [&str; 5] = ["cloud", "community", "store", "support", "identity"];

impl Town {
    async fn start(program: &str, ledger: Place, review: bool) -> Result<Self> {
        let folder = TempDir::new()?;
        let told = Settings {
            instance: "story",
            stages: &[&["cloud", "community", "store", "support"], &["identity"]],
            ledger: &ledger.url,
            lease: "2s",
            cooling_off: "1h",
            collector: "",
        };
        let site = CoordinatorSite::new(program, folder.path(), &told)?;
        let settings = folder.path().join("story.toml");
        let text = fs::read_to_string(&settings)?;
        let channels = "channels = { support = [], phone = [\"sms_code\"] }";
        let text = text.replace(
            "channels = { phone = [] }",
            &format!("{channels}\nreal_name_review = {review}"),
        );
        ensure!(text.contains("sms_code"), "the settings were not found");
        let text = text.replace("stalled_after = \"1m\"", "stalled_after = \"1s\"");
        fs::write(&settings, text)?;
        let coordinator = site.start().await?;
        let address = format!("http://{}", site.callers);
        let accounts = endpoint(&address, &Security::PlainLoopback)?.connect_lazy();
        let url = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        let identity = farewell_identity::open(&url("identity.db")).await?;
        let shop = farewell_store::open(&url("store.db")).await?;
        let town = Self {
            caller: site.caller()?,
            accounts: AccountServiceClient::new(accounts),
            coordinator: Some(coordinator),
            site,
            identity,
            shop,
            folder,
            running: Vec::new(),
            ledger,
        };
        let (phone, mail) = ("+86 138 0000 0000", "li.na@example.com");
        farewell_identity::sample(&town.identity, ACCOUNT, phone, mail, PASSWORD).await?;
        farewell_store::sample(&town.shop, ACCOUNT).await?;
        Ok(town)
    }

    /// Starts a participant, again if it was stopped.
    async fn run(&mut self, name: &'static str) -> Result<()> {
        let url = format!(
            "sqlite:{}",
            self.folder.path().join(format!("{name}.db")).display()
        );
        let (store, participant): (Store, Arc<dyn Participant>) = match name {
            "identity" => {
                let store = farewell_identity::open(&url).await?;
                let letters = courier::Config::file(self.letters());
                let couriers = courier::Couriers::open(&letters)?;
                let pepper = Pepper::new(*b"sixteen bytes or more")?;
                let rules = Rules::default();
                let identity = Identity::new(store.clone(), couriers, pepper, rules);
                (store, Arc::new(identity))
            }
            "store" => {
                let store = farewell_store::open(&url).await?;
                (store.clone(), Arc::new(Shop::new(store)))
            }
            "community" => {
                let store = farewell_community::open(&url).await?;
                let members = farewell_community::Community::new(store.clone());
                (store, Arc::new(members))
            }
            _ => {
                let store = Store::open(&url, "", &[journal::SCHEMA, seal::SCHEMA]).await?;
                let used = std::sync::Mutex::default();
                let desk = Desk {
                    store: store.clone(),
                    used,
                };
                (store, Arc::new(desk))
            }
        };
        let session = session::Config {
            participant: name.to_owned(),
            coordinators: vec![format!("http://{}", self.site.participants)],
            security: Security::PlainLoopback,
            window_commands: 8,
        };
        let shutdown = Shutdown::new();
        let running = service::run(store, participant, session, shutdown.clone());
        shutdown.spawn(running);
        self.running.push((name, shutdown));
        Ok(())
    }

    /// What coordinators told operators of changes that hang.
    fn alarms(&self) -> Vec<String> {
        let words = self.site.words();
        let alarms = words
            .lines()
            .filter(|line| line.contains("ACCOUNT_CHANGE_STALLED"));
        alarms.map(str::to_owned).collect()
    }

    async fn run_all(&mut self) -> Result<()> {
        for name in EVERYBODY {
            self.run(name).await?;
        }
        Ok(())
    }

    async fn stop(&mut self, name: &str) -> Result<()> {
        let place = self
            .running
            .iter()
            .position(|(running, _)| *running == name);
        let (_, shutdown) = self.running.remove(place.context("it doesn't run")?);
        shutdown.trigger();
        ensure!(shutdown.drain(Duration::from_secs(20)).await);
        Ok(())
    }

    /// kill -9, and another one in its place.
    async fn kill(&mut self) -> Result<()> {
        self.coordinator.take().context("a coordinator")?.kill()?;
        self.coordinator = Some(self.site.start().await?);
        Ok(())
    }

    async fn end(mut self) -> Result<()> {
        for name in self
            .running
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
        {
            self.stop(name).await?;
        }
        self.coordinator
            .take()
            .context("a coordinator")?
            .end()
            .await
    }

    fn letters(&self) -> PathBuf {
        self.folder.path().join("letters")
    }

    async fn get(&self) -> Result<Account, Status> {
        let name = format!("accounts/{ACCOUNT}");
        let answer = self
            .accounts
            .clone()
            .get_account(GetAccountRequest { name })
            .await?;
        let account = answer.into_inner().account;
        account.ok_or_else(|| Status::internal("no account in the answer"))
    }

    async fn change(&self, name: &str) -> Result<AccountChange, Status> {
        let name = name.to_owned();
        let request = GetAccountChangeRequest { name };
        let answer = self.accounts.clone().get_account_change(request).await?;
        told(answer.into_inner().change)
    }

    async fn freeze(&self, request: &FreezeAccountRequest) -> Result<AccountChange, Status> {
        let answer = self
            .accounts
            .clone()
            .freeze_account(request.clone())
            .await?;
        told(answer.into_inner().change)
    }

    async fn unfreeze(&self, request: &UnfreezeAccountRequest) -> Result<AccountChange, Status> {
        let answer = self
            .accounts
            .clone()
            .unfreeze_account(request.clone())
            .await?;
        told(answer.into_inner().change)
    }

    async fn clear(&self, request: &ClearRealNameRequest) -> Result<AccountChange, Status> {
        let answer = self
            .accounts
            .clone()
            .clear_real_name(request.clone())
            .await?;
        told(answer.into_inner().change)
    }

    async fn look(&self) -> Result<CheckRealNameClearingResponse, Status> {
        let account = format!("accounts/{ACCOUNT}");
        let request = CheckRealNameClearingRequest { account };
        let found = self
            .accounts
            .clone()
            .check_real_name_clearing(request)
            .await;
        found.map(tonic::Response::into_inner)
    }

    async fn approve(&self, change: &str, case: &str) -> Result<AccountChange, Status> {
        let request = ReviewRealNameClearingRequest {
            name: change.to_owned(),
            case: case.to_owned(),
        };
        let answer = self
            .accounts
            .clone()
            .review_real_name_clearing(request)
            .await?;
        told(answer.into_inner().change)
    }

    async fn memorialize(
        &self,
        request: &MemorializeAccountRequest,
    ) -> Result<AccountChange, Status> {
        let answer = self
            .accounts
            .clone()
            .memorialize_account(request.clone())
            .await?;
        told(answer.into_inner().change)
    }

    async fn send_code(&self, change: &str) -> Result<(), Status> {
        let request = SendAccountCodeRequest {
            request_id: fresh(),
            name: change.to_owned(),
            factor: Factor::SmsCode.into(),
        };
        let sent = self.accounts.clone().send_account_code(request).await;
        sent.map(drop)
    }

    async fn verify(&self, change: &str, proof: &str) -> Result<AccountChange, Status> {
        let request = VerifyAccountFactorRequest {
            request_id: fresh(),
            name: change.to_owned(),
            factor: Factor::SmsCode.into(),
            proof: proof.to_owned(),
        };
        let answer = self.accounts.clone().verify_account_factor(request).await?;
        told(answer.into_inner().change)
    }

    /// The code that was sent for a change.
    async fn code(&self, change: &str) -> Result<String> {
        let id = change.rsplit('/').next().context("a name")?;
        let subject = format!("requests/{id}");
        let sent = wait::until("the letter", async || {
            let text = fs::read_to_string(self.letters()).unwrap_or_default();
            let letters = text.lines().rev();
            let mut letters =
                letters.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let letter = letters.find(|letter| letter["deletion"] == subject);
            Ok(letter.and_then(|letter| letter["code"].as_str().map(str::to_owned)))
        });
        sent.await
    }

    /// Proves a change with the code that is sent for it.
    async fn prove(&self, change: &str) -> Result<AccountChange> {
        let sent = wait::until("a code", async || match self.send_code(change).await {
            Ok(()) => Ok(Some(())),
            Err(status) if status.code() == Code::Unavailable => Ok(None),
            Err(status) => Err(anyhow!("{status:?}")),
        });
        sent.await?;
        let code = self.code(change).await?;
        let wrong = if code == "000000" { "000001" } else { "000000" };
        refused(
            "a wrong code",
            self.verify(change, wrong).await,
            Code::FailedPrecondition,
            "WRONG_PROOF",
        );
        self.verify(change, &code)
            .await
            .map_err(|status| anyhow!("{status:?}"))
    }

    async fn until(&self, change: &str, state: Told) -> Result<AccountChange> {
        let what = format!("{state:?}");
        let reached = wait::until(&what, async || {
            let found = self.change(change).await;
            let found = found.ok().filter(|change| change.state() == state);
            Ok(found)
        });
        reached.await
    }

    /// Whether the account is let write at a participant.
    async fn admits(&self, store: &Store) -> Result<bool> {
        let mut tx = store.pool().begin().await?;
        Ok(seal::admit(&mut tx, ACCOUNT).await.is_ok())
    }

    async fn log_in(&self) -> Result<String, LoginError> {
        let hasher = Hasher::default();
        farewell_identity::log_in(&self.identity, &hasher, ACCOUNT, PASSWORD, "a phone").await
    }

    /// Every row of the account that must stay as it is, of identity and the store.
    async fn kept(&self) -> Result<Vec<String>> {
        let mut kept = Vec::new();
        for (store, statements) in [
            (
                &self.identity,
                &[
                    "SELECT 'account ' || user_name || frozen || risk_locked || registered_at FROM account",
                    "SELECT 'credential ' || hash || changed_at FROM credential",
                    "SELECT 'contact ' || address FROM contact ORDER BY address",
                    "SELECT 'grant ' || app || revoked_at FROM app_grant ORDER BY app",
                ][..],
            ),
            (
                &self.shop,
                &[
                    "SELECT 'order ' || id || item || state FROM placed_order ORDER BY id",
                    "SELECT 'points ' || points || forfeited FROM points",
                    "SELECT 'wallet ' || balance_cents FROM wallet",
                    "SELECT 'subscription ' || plan || active FROM subscription ORDER BY plan",
                    "SELECT 'entitlement ' || kind || lapsed_at FROM entitlement WHERE by_real_name = 0",
                ],
            ),
        ] {
            for statement in statements {
                let rows: Vec<(String,)> =
                    sqlx::query_as(*statement).fetch_all(store.pool()).await?;
                ensure!(!rows.is_empty(), "nothing to compare: {statement}");
                kept.extend(rows.into_iter().map(|(row,)| row));
            }
        }
        Ok(kept)
    }

    async fn real_names(&self) -> Result<i64> {
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM real_name")
            .fetch_one(self.identity.pool())
            .await?;
        Ok(count)
    }
}

fn told(change: Option<AccountChange>) -> Result<AccountChange, Status> {
    change.ok_or_else(|| Status::internal("no change in the answer"))
}

fn freezing() -> FreezeAccountRequest {
    FreezeAccountRequest {
        request_id: fresh(),
        account: format!("accounts/{ACCOUNT}"),
    }
}

fn thawing() -> UnfreezeAccountRequest {
    UnfreezeAccountRequest {
        request_id: fresh(),
        account: format!("accounts/{ACCOUNT}"),
        channel: Door::Phone.into(),
    }
}

fn clearing() -> ClearRealNameRequest {
    ClearRealNameRequest {
        request_id: fresh(),
        account: format!("accounts/{ACCOUNT}"),
        channel: Door::Phone.into(),
        lapse_consent_version: 2,
    }
}

fn owing(change: &AccountChange) -> Vec<&str> {
    let owed = change.legs.iter().filter(|leg| leg.done_time.is_none());
    owed.map(|leg| leg.participant.as_str()).collect()
}

/// Asks until participants are connected.
async fn frozen(town: &Town, request: &FreezeAccountRequest) -> Result<AccountChange> {
    let frozen = wait::until("a freeze", async || match town.freeze(request).await {
        Ok(change) => Ok(Some(change)),
        Err(status) if status.code() == Code::Unavailable => Ok(None),
        Err(status) => Err(anyhow!("{status:?}")),
    });
    frozen.await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_reaches_whoever_was_away_and_outlives_a_deletion_that_is_taken_back() -> Result<()>
{
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let mut town = Town::start(&program, Place::sqlite()?, false).await?;
    for name in ["community", "store", "support", "identity"] {
        town.run(name).await?;
    }
    let before = {
        grant_entitlement(&town.shop, ACCOUNT, "newsletter-discount", false).await?;
        town.kept().await?
    };
    let session = town.log_in().await?;

    // The cloud is away; everybody else has it.
    let request = freezing();
    let change = frozen(&town, &request).await?;
    wait::until("all but the cloud", async || {
        let change = town.change(&change.name).await?;
        Ok((owing(&change) == ["cloud"]).then_some(()))
    })
    .await?;
    // Operators see who owes it, and since when.
    let hanging = wait::until("operators to see it", async || {
        Ok(town
            .site
            .operator()?
            .overview()
            .await?
            .account_changes
            .pop())
    })
    .await?;
    assert_eq!(
        (&hanging.name, owing(&hanging)),
        (&change.name, vec!["cloud"])
    );
    assert!(hanging.state_time.is_some());
    // And are alarmed: once, however often it is looked at, and whoever looks.
    let alarm = wait::until("an alarm", async || Ok(town.alarms().pop())).await?;
    assert!(
        alarm.contains("owed=[\"cloud\"]") && alarm.contains("since="),
        "{alarm}"
    );
    let id = change.name.rsplit('/').next().context("an id")?;
    assert!(alarm.contains(id) && !alarm.contains(ACCOUNT), "{alarm}");
    let ledger = farewell_ledger::connect(&town.ledger.url).await?;
    wait::until("the alarm to be on record", async || {
        let stored = ledger.account(&ACCOUNT.parse()?).await?;
        let told = |change: &Change| change.alarmed_at;
        Ok(stored.and_then(|it| it.changes.iter().find_map(told)))
    })
    .await?;
    let raised = town.alarms().len();
    ensure!(!farewell_identity::is_logged_in(&town.identity, &session).await?);
    ensure!(matches!(
        town.log_in().await,
        Err(LoginError::Write(seal::Error::Frozen))
    ));
    ensure!(!town.admits(&town.shop).await?);
    let account = town.get().await?;
    assert_eq!(account.state(), AccountState::Frozen);
    let choices: Vec<_> = account.choices().collect();
    assert_eq!(
        choices,
        [
            AccountChoice::StopPersonalization,
            AccountChoice::Unfreeze,
            AccountChoice::ClearRealName,
            AccountChoice::Delete
        ]
    );

    // The same request is the same change, whoever answers; another body is none.
    town.kill().await?;
    let again = frozen(&town, &request).await?;
    assert_eq!(
        (&again.name, again.create_time),
        (&change.name, change.create_time)
    );
    let other = FreezeAccountRequest {
        account: format!("accounts/{NOBODY}"),
        ..request.clone()
    };
    let reused = wait::until("identity to be back", async || {
        match town.freeze(&other).await {
            Err(status) if status.code() == Code::Unavailable => Ok(None),
            answer => Ok(Some(answer)),
        }
    });
    refused(
        "nobody's",
        reused.await?,
        Code::NotFound,
        "ACCOUNT_NOT_FOUND",
    );
    let other = UnfreezeAccountRequest {
        request_id: request.request_id.clone(),
        ..thawing()
    };
    refused(
        "another use of the id",
        town.unfreeze(&other).await,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    assert_eq!(owing(&town.change(&change.name).await?), ["cloud"]);
    town.run("cloud").await?;
    let done = town.until(&change.name, Told::Done).await?;
    assert_eq!(
        town.alarms().len(),
        raised,
        "and not by the next coordinator"
    );
    let overview = town.site.operator()?.overview().await?;
    assert!(
        overview.account_changes.is_empty(),
        "nothing hangs any more"
    );
    assert_eq!(done.legs.len(), EVERYBODY.len());

    // A frozen account may be deleted, and who takes that back finds it frozen.
    let deletion = farewell_proto::deletion::v1::CreateDeletionRequest {
        channel: Door::Support.into(),
        ..farewell_tests::caller::request(ACCOUNT)
    };
    let deletion = town.caller.ask(deletion).await?.name;
    town.caller.until(&deletion, State::CoolingOff).await?;
    let sealed = town.get().await?;
    assert_eq!(
        (sealed.state(), &sealed.deletion),
        (AccountState::Sealed, &deletion)
    );
    town.caller.revoke(&deletion).await?;
    wait::until("every seal to be lifted", async || {
        let deletion = town.caller.get(&deletion).await?;
        Ok(deletion.close_time.map(drop))
    })
    .await?;
    assert_eq!(town.get().await?.state(), AccountState::Frozen);
    ensure!(matches!(
        town.log_in().await,
        Err(LoginError::Write(seal::Error::Frozen))
    ));
    ensure!(!town.admits(&town.shop).await?);

    // Thawing is proved, and nothing of it happens before.
    let request = thawing();
    let change = town.unfreeze(&request).await?;
    assert_eq!(change.state(), Told::AwaitingVerification);
    assert_eq!(town.unfreeze(&request).await?, change);
    ensure!(!town.admits(&town.shop).await?);
    town.kill().await?;
    town.prove(&change.name).await?;
    town.until(&change.name, Told::Done).await?;
    assert_eq!(town.get().await?.state(), AccountState::Active);
    town.log_in().await?;
    ensure!(town.admits(&town.shop).await?);
    assert_eq!(town.kept().await?, before);

    // As a person sees it.
    let shown = Command::new(&program)
        .args(["account", "get", ACCOUNT, "--plain", "-o", "json"])
        .args(["--endpoint", &format!("http://{}", town.site.callers)])
        .output()?;
    ensure!(
        shown.status.success(),
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
    assert_eq!(
        (&shown["state"], &shown["changes"][1]["kind"]),
        (&"ACTIVE".into(), &"FREEZE".into())
    );
    town.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_name_goes_with_what_is_tied_to_it_and_the_rest_stays() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let mut town = Town::start(&program, Place::sqlite()?, true).await?;
    town.run_all().await?;
    grant_entitlement(&town.shop, ACCOUNT, "newsletter-discount", false).await?;
    grant_entitlement(&town.shop, ACCOUNT, "student-discount", true).await?;
    grant_entitlement(&town.shop, ACCOUNT, "adult-content", true).await?;
    let before = town.kept().await?;

    // Beforehand: what would lapse, and what is in the way.
    let credit = farewell_store::lend(&town.shop, ACCOUNT, 5_000).await?;
    let found = wait::until("everybody to answer", async || {
        let found = town.look().await?;
        let unanswered = found.obstacles == ["PARTICIPANT_UNREACHABLE"];
        Ok((!unanswered).then_some(found))
    })
    .await?;
    assert_eq!((found.possible, found.review), (false, true));
    assert_eq!(found.obstacles, ["DEBT_OR_CREDIT"]);
    let lapses = found
        .lapses
        .iter()
        .map(|lapse| (lapse.participant.as_str(), lapse.lapses.clone()));
    assert_eq!(
        lapses.collect::<Vec<_>>(),
        [
            ("store", [("entitlements".to_owned(), 2)].into()),
            ("identity", [("real_names".to_owned(), 1)].into()),
        ]
    );

    // With a debt it is refused, once it is proved, and nothing has changed.
    let change = town.clear(&clearing()).await?;
    town.prove(&change.name).await?;
    let refusal = town.until(&change.name, Told::Refused).await?;
    assert_eq!(refusal.reasons, ["DEBT_OR_CREDIT"]);
    assert_eq!(
        (
            town.real_names().await?,
            entitlements(&town.shop, ACCOUNT).await?.len()
        ),
        (1, 3)
    );
    farewell_store::pay_back(&town.shop, ACCOUNT, &credit, 5_000).await?;
    ensure!(town.look().await?.possible);

    // Identity's limits hold for all kinds of requests together.
    let request = clearing();
    let change = town.clear(&request).await?;
    refused(
        "another code at once",
        town.send_code(&change.name).await,
        Code::ResourceExhausted,
        "CODE_TOO_SOON",
    );
    sqlx::query("UPDATE code SET issued_at = issued_at - 3600000000, next_send_at = next_send_at - 3600000000")
        .execute(town.identity.pool())
        .await?;
    town.prove(&change.name).await?;
    let review = town.until(&change.name, Told::InReview).await?;
    ensure!(review.legs.is_empty() && review.expire_time.is_some());
    town.kill().await?;
    assert_eq!(town.clear(&request).await?.state(), Told::InReview);

    // The desk agrees; the store is away, and identity keeps the name until it has let go.
    town.stop("store").await?;
    let unapproved = wait::until("the desk", async || {
        match town.approve(&change.name, OTHER_CASE).await {
            Err(status) if status.code() == Code::Unavailable => Ok(None),
            answer => Ok(Some(answer)),
        }
    });
    refused(
        "a case that nobody approved",
        unapproved.await?,
        Code::FailedPrecondition,
        "CASE_NOT_APPROVED",
    );
    town.approve(&change.name, CASE).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Somebody doesn't answer, so nobody knows that nothing is in the way.
    assert_eq!(town.change(&change.name).await?.state(), Told::Checking);
    assert_eq!(town.real_names().await?, 1);
    town.kill().await?;
    town.run("store").await?;
    let done = town.until(&change.name, Told::Done).await?;
    assert_eq!(done.case, CASE);
    let lapsed = |name: &str| {
        let leg = done.legs.iter().find(|leg| leg.participant == name);
        leg.map(|leg| leg.lapsed.clone()).unwrap_or_default()
    };
    assert_eq!(lapsed("store"), [("entitlements".to_owned(), 2)].into());
    assert_eq!(lapsed("identity"), [("real_names".to_owned(), 1)].into());
    assert_eq!(
        entitlements(&town.shop, ACCOUNT).await?,
        ["newsletter-discount"]
    );
    assert_eq!((town.real_names().await?, town.kept().await?), (0, before));

    // A repeat is the same, and a second one finds nothing to clear.
    assert_eq!(town.clear(&request).await?, done);
    assert_eq!(town.look().await?.obstacles, ["NO_REAL_NAME"]);
    let watch = WatchAccountChangeRequest {
        name: change.name.clone(),
    };
    let mut watched = town
        .accounts
        .clone()
        .watch_account_change(watch)
        .await?
        .into_inner();
    let first = watched.message().await?.context("one")?;
    assert_eq!(first.change, Some(done));
    ensure!(watched.message().await?.is_none());
    town.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_kept_in_memory_and_self_service_ends_there() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let mut town = Town::start(&program, Place::sqlite()?, false).await?;
    for name in ["community", "store", "identity"] {
        town.run(name).await?;
    }
    grant_entitlement(&town.shop, ACCOUNT, "newsletter-discount", false).await?;
    let before = town.kept().await?;
    let request = MemorializeAccountRequest {
        request_id: fresh(),
        account: format!("accounts/{ACCOUNT}"),
        case: CASE.to_owned(),
    };
    let without = wait::until("identity", async || {
        match town.memorialize(&request).await {
            Err(status) if status.message().contains("identity") => Ok(None),
            answer => Ok(Some(answer)),
        }
    });
    refused(
        "without a desk",
        without.await?,
        Code::Unavailable,
        "DESK_UNAVAILABLE",
    );
    assert_eq!(town.get().await?.state(), AccountState::Active);
    town.run("support").await?;
    town.run("cloud").await?;
    let other = MemorializeAccountRequest {
        case: OTHER_CASE.to_owned(),
        request_id: fresh(),
        ..request.clone()
    };
    let refusal = wait::until("the desk", async || match town.memorialize(&other).await {
        Err(status) if status.code() == Code::Unavailable => Ok(None),
        answer => Ok(Some(answer)),
    });
    refused(
        "a case that nobody approved",
        refusal.await?,
        Code::FailedPrecondition,
        "CASE_NOT_APPROVED",
    );
    let change = town.memorialize(&request).await?;
    assert_eq!(town.memorialize(&request).await?.name, change.name);
    town.until(&change.name, Told::Done).await?;
    let again = MemorializeAccountRequest {
        request_id: fresh(),
        ..request.clone()
    };
    refused(
        "a case is used once",
        town.memorialize(&again).await,
        Code::FailedPrecondition,
        "CASE_USED",
    );

    let account = town.get().await?;
    assert_eq!(account.state(), AccountState::Memorialized);
    ensure!(account.choices.is_empty());
    ensure!(town.log_in().await.is_err());
    refused(
        "a freeze",
        town.freeze(&freezing()).await,
        Code::FailedPrecondition,
        "ACCOUNT_MEMORIALIZED",
    );
    let thaw = town.unfreeze(&thawing()).await?;
    town.prove(&thaw.name).await?;
    let thaw = town.until(&thaw.name, Told::Refused).await?;
    assert_eq!(thaw.reasons, ["ACCOUNT_MEMORIALIZED"]);
    let eligible = farewell_proto::deletion::v1::CheckEligibilityRequest {
        account: format!("accounts/{ACCOUNT}"),
    };
    let found = town
        .caller
        .api
        .clone()
        .check_eligibility(eligible)
        .await?
        .into_inner();
    ensure!(!found.eligible);
    ensure!(
        found
            .blockers
            .iter()
            .any(|blocker| blocker.code == "ACCOUNT_MEMORIALIZED")
    );
    assert_eq!(town.kept().await?, before);
    town.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_learns_anything_by_asking_and_bad_input_changes_nothing() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let mut town = Town::start(&program, Place::sqlite()?, false).await?;
    town.run_all().await?;
    let known = town.unfreeze(&thawing()).await?;
    let nobody = UnfreezeAccountRequest {
        account: format!("accounts/{NOBODY}"),
        ..thawing()
    };
    let unknown = town.unfreeze(&nobody).await?;
    assert_eq!(known.state(), unknown.state());
    assert_eq!(known.factors_required, unknown.factors_required);
    for change in [&known, &unknown] {
        wait::until("a code", async || {
            match town.send_code(&change.name).await {
                Ok(()) => Ok(Some(())),
                Err(status) if status.code() == Code::Unavailable => Ok(None),
                Err(status) => Err(anyhow!("{status:?}")),
            }
        })
        .await?;
        refused(
            "a guess",
            town.verify(&change.name, "no code").await,
            Code::FailedPrecondition,
            "WRONG_PROOF",
        );
    }
    // Of one that isn't frozen only its owner is told so.
    let code = town.code(&known.name).await?;
    town.verify(&known.name, &code).await?;
    let known = town.until(&known.name, Told::Refused).await?;
    assert_eq!(known.reasons, ["ACCOUNT_NOT_FROZEN"]);
    // A freeze by security is lifted by security.
    farewell_identity::set_frozen(&town.identity, ACCOUNT, true).await?;
    assert_eq!(town.get().await?.state(), AccountState::FrozenBySecurity);

    for (what, request, field) in [
        (
            "no id",
            FreezeAccountRequest {
                request_id: String::new(),
                ..freezing()
            },
            "request_id",
        ),
        (
            "no account",
            FreezeAccountRequest {
                account: String::new(),
                ..freezing()
            },
            "account",
        ),
    ] {
        bad_field(what, town.freeze(&request).await, "INVALID_FIELD", field);
    }
    for (what, request, field) in [
        (
            "no id",
            UnfreezeAccountRequest {
                request_id: "1".to_owned(),
                ..thawing()
            },
            "request_id",
        ),
        (
            "no account",
            UnfreezeAccountRequest {
                account: ACCOUNT.to_owned(),
                ..thawing()
            },
            "account",
        ),
        (
            "no channel",
            UnfreezeAccountRequest {
                channel: 0,
                ..thawing()
            },
            "channel",
        ),
        (
            "an unknown channel",
            UnfreezeAccountRequest {
                channel: 99,
                ..thawing()
            },
            "channel",
        ),
        (
            "a channel that proves nothing",
            UnfreezeAccountRequest {
                channel: Door::Support.into(),
                ..thawing()
            },
            "channel",
        ),
    ] {
        bad_field(what, town.unfreeze(&request).await, "INVALID_FIELD", field);
    }
    for (what, request, field) in [
        (
            "no id",
            ClearRealNameRequest {
                request_id: String::new(),
                ..clearing()
            },
            "request_id",
        ),
        (
            "no account",
            ClearRealNameRequest {
                account: "accounts/".to_owned(),
                ..clearing()
            },
            "account",
        ),
        (
            "no channel",
            ClearRealNameRequest {
                channel: 0,
                ..clearing()
            },
            "channel",
        ),
        (
            "no consent",
            ClearRealNameRequest {
                lapse_consent_version: 0,
                ..clearing()
            },
            "lapse_consent_version",
        ),
    ] {
        bad_field(what, town.clear(&request).await, "INVALID_FIELD", field);
    }
    let mut api = town.accounts.clone();
    let memorialize = MemorializeAccountRequest {
        request_id: fresh(),
        account: format!("accounts/{ACCOUNT}"),
        case: "case 7".to_owned(),
    };
    let answer = api.memorialize_account(memorialize).await;
    bad_field("no case", answer, "INVALID_FIELD", "case");
    let name = format!("accounts/{ACCOUNT}/changes/{}", fresh());
    let review = |name: &str, case: &str| ReviewRealNameClearingRequest {
        name: name.to_owned(),
        case: case.to_owned(),
    };
    let answer = api.review_real_name_clearing(review("", CASE)).await;
    bad_field("no name", answer, "INVALID_FIELD", "name");
    let answer = api.review_real_name_clearing(review(&name, "")).await;
    bad_field("no case", answer, "INVALID_FIELD", "case");
    let answer = api
        .review_real_name_clearing(review(&known.name, CASE))
        .await;
    refused(
        "not in review",
        answer,
        Code::FailedPrecondition,
        "ILLEGAL_STATE",
    );
    let missing = "ACCOUNT_CHANGE_NOT_FOUND";
    refused(
        "no change",
        town.change(&name).await,
        Code::NotFound,
        missing,
    );
    refused(
        "no change",
        town.send_code(&name).await,
        Code::NotFound,
        missing,
    );
    refused(
        "no change",
        town.verify(&name, "1").await,
        Code::NotFound,
        missing,
    );
    bad_field(
        "no name",
        town.change("accounts/x").await,
        "INVALID_FIELD",
        "name",
    );
    bad_field("no name", town.send_code("").await, "INVALID_FIELD", "name");
    bad_field(
        "no proof",
        town.verify(&known.name, "").await,
        "INVALID_FIELD",
        "proof",
    );
    let code = SendAccountCodeRequest {
        request_id: fresh(),
        name: unknown.name.clone(),
        factor: 0,
    };
    bad_field(
        "no factor",
        api.send_account_code(code.clone()).await,
        "INVALID_FIELD",
        "factor",
    );
    let other = SendAccountCodeRequest {
        factor: Factor::EmailCode.into(),
        ..code
    };
    bad_field(
        "another factor",
        api.send_account_code(other).await,
        "FACTOR_NOT_REQUIRED",
        "factor",
    );
    let nobody = GetAccountRequest {
        name: format!("accounts/{NOBODY}"),
    };
    refused(
        "nobody",
        api.get_account(nobody).await,
        Code::NotFound,
        "ACCOUNT_NOT_FOUND",
    );
    let nothing = GetAccountRequest::default();
    bad_field(
        "no name",
        api.get_account(nothing).await,
        "INVALID_FIELD",
        "name",
    );
    let nothing = CheckRealNameClearingRequest::default();
    bad_field(
        "no account",
        api.check_real_name_clearing(nothing).await,
        "INVALID_FIELD",
        "account",
    );
    let nothing = WatchAccountChangeRequest::default();
    bad_field(
        "no name",
        api.watch_account_change(nothing).await,
        "INVALID_FIELD",
        "name",
    );
    ensure!(town.admits(&town.shop).await?);
    drop(api);
    town.end().await
}

/// Whichever comes first, the account ends frozen if it ends at all, and the deletion as it would without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_and_a_deletion_at_the_same_time_do_each_what_they_do() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let mut town = Town::start(&program, Place::sqlite()?, false).await?;
    town.run_all().await?;
    frozen(&town, &freezing()).await?;
    let asked = farewell_proto::deletion::v1::CreateDeletionRequest {
        channel: Door::Support.into(),
        ..farewell_tests::caller::request(ACCOUNT)
    };
    let request = freezing();
    let (deletion, change) = tokio::join!(town.caller.ask(asked), town.freeze(&request));
    let (deletion, change) = (deletion?.name, change?.name);
    town.caller.until(&deletion, State::CoolingOff).await?;
    town.until(&change, Told::Done).await?;
    assert_eq!(town.get().await?.state(), AccountState::Sealed);
    town.caller.revoke(&deletion).await?;
    wait::until("every seal to be lifted", async || {
        Ok(town.caller.get(&deletion).await?.close_time.map(drop))
    })
    .await?;
    assert_eq!(town.get().await?.state(), AccountState::Frozen);
    ensure!(!town.admits(&town.shop).await?);
    town.end().await
}
