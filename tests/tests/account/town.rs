//! The coordinator and participants that the stories of an account need, all but the coordinator in this process.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use async_trait::async_trait;
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
    Account, AccountChange, AccountChangeState as Told, CheckRealNameClearingRequest,
    CheckRealNameClearingResponse, ClearRealNameRequest, FreezeAccountRequest,
    GetAccountChangeRequest, GetAccountRequest, MemorializeAccountRequest,
    ReviewRealNameClearingRequest, SendAccountCodeRequest, UnfreezeAccountRequest,
    VerifyAccountFactorRequest,
};
use farewell_proto::deletion::v1::Factor;
use farewell_proto::operator::v1::ParticipantOverview;
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use farewell_store::Shop;
use farewell_tests::caller::{Caller, fresh};
use farewell_tests::ledger::Place;
use farewell_tests::process::{CoordinatorSite, Process, Told as Settings};
use farewell_tests::refusal::refused;
use farewell_tests::wait;
use sqlx::AnyConnection;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{ACCOUNT, CASE, PASSWORD, told};

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
pub struct Town {
    pub site: CoordinatorSite,
    pub coordinator: Option<Process>,
    pub accounts: AccountServiceClient<Channel>,
    pub caller: Caller,
    pub identity: Store,
    pub shop: Store,
    pub folder: TempDir,
    running: Vec<(&'static str, Shutdown)>,
    pub ledger: Place,
}

pub const EVERYBODY: [&str; 5] = ["cloud", "community", "store", "support", "identity"];

impl Town {
    pub async fn start(program: &str, ledger: Place, review: bool) -> Result<Self> {
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
        let text = text.replace("stalled_after = \"1m\"", "stalled_after = \"3s\"");
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

    /// Starts a participant, again if it was stopped, and waits until it takes part.
    pub async fn run(&mut self, name: &'static str) -> Result<()> {
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
        let operator = self.site.operator()?;
        wait::until(name, async || {
            let overview = operator.overview().await?;
            let here = |it: &ParticipantOverview| it.participant == name && it.sessions > 0;
            Ok(overview.participants.iter().any(here).then_some(()))
        })
        .await
    }

    /// What coordinators told operators of changes that hang.
    pub fn alarms(&self) -> Vec<String> {
        let words = self.site.words();
        let alarms = words
            .lines()
            .filter(|line| line.contains("ACCOUNT_CHANGE_STALLED"));
        alarms.map(str::to_owned).collect()
    }

    pub async fn run_all(&mut self) -> Result<()> {
        for name in EVERYBODY {
            self.run(name).await?;
        }
        Ok(())
    }

    pub async fn stop(&mut self, name: &str) -> Result<()> {
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
    pub async fn kill(&mut self) -> Result<()> {
        self.coordinator.take().context("a coordinator")?.kill()?;
        self.coordinator = Some(self.site.start().await?);
        Ok(())
    }

    pub async fn end(mut self) -> Result<()> {
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

    pub fn letters(&self) -> PathBuf {
        self.folder.path().join("letters")
    }

    pub async fn get(&self) -> Result<Account, Status> {
        let name = format!("accounts/{ACCOUNT}");
        let answer = self
            .accounts
            .clone()
            .get_account(GetAccountRequest { name })
            .await?;
        let account = answer.into_inner().account;
        account.ok_or_else(|| Status::internal("no account in the answer"))
    }

    pub async fn change(&self, name: &str) -> Result<AccountChange, Status> {
        let name = name.to_owned();
        let request = GetAccountChangeRequest { name };
        let answer = self.accounts.clone().get_account_change(request).await?;
        told(answer.into_inner().change)
    }

    pub async fn freeze(&self, request: &FreezeAccountRequest) -> Result<AccountChange, Status> {
        let answer = self
            .accounts
            .clone()
            .freeze_account(request.clone())
            .await?;
        told(answer.into_inner().change)
    }

    pub async fn unfreeze(
        &self,
        request: &UnfreezeAccountRequest,
    ) -> Result<AccountChange, Status> {
        let answer = self
            .accounts
            .clone()
            .unfreeze_account(request.clone())
            .await?;
        told(answer.into_inner().change)
    }

    pub async fn clear(&self, request: &ClearRealNameRequest) -> Result<AccountChange, Status> {
        let answer = self
            .accounts
            .clone()
            .clear_real_name(request.clone())
            .await?;
        told(answer.into_inner().change)
    }

    pub async fn look(&self) -> Result<CheckRealNameClearingResponse, Status> {
        let account = format!("accounts/{ACCOUNT}");
        let request = CheckRealNameClearingRequest { account };
        let found = self
            .accounts
            .clone()
            .check_real_name_clearing(request)
            .await;
        found.map(tonic::Response::into_inner)
    }

    pub async fn approve(&self, change: &str, case: &str) -> Result<AccountChange, Status> {
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

    pub async fn memorialize(
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

    pub async fn send_code(&self, change: &str) -> Result<(), Status> {
        let request = SendAccountCodeRequest {
            request_id: fresh(),
            name: change.to_owned(),
            factor: Factor::SmsCode.into(),
        };
        let sent = self.accounts.clone().send_account_code(request).await;
        sent.map(drop)
    }

    pub async fn verify(&self, change: &str, proof: &str) -> Result<AccountChange, Status> {
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
    pub async fn code(&self, change: &str) -> Result<String> {
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
    pub async fn prove(&self, change: &str) -> Result<AccountChange> {
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

    pub async fn until(&self, change: &str, state: Told) -> Result<AccountChange> {
        let what = format!("{state:?}");
        let reached = wait::until(&what, async || {
            let found = self.change(change).await;
            let found = found.ok().filter(|change| change.state() == state);
            Ok(found)
        });
        reached.await
    }

    /// Whether the account is let write at a participant.
    pub async fn admits(&self, store: &Store) -> Result<bool> {
        let mut tx = store.pool().begin().await?;
        Ok(seal::admit(&mut tx, ACCOUNT).await.is_ok())
    }

    pub async fn log_in(&self) -> Result<String, LoginError> {
        let hasher = Hasher::default();
        farewell_identity::log_in(&self.identity, &hasher, ACCOUNT, PASSWORD, "a phone").await
    }

    /// Every row of the account that must stay as it is, of identity and the store.
    pub async fn kept(&self) -> Result<Vec<String>> {
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

    pub async fn real_names(&self) -> Result<i64> {
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM real_name")
            .fetch_one(self.identity.pool())
            .await?;
        Ok(count)
    }
}
