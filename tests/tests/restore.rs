//! A service is restored from a backup of a time before accounts were purged: the dead stay dead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_identity::LoginError;
use farewell_identity::credential::Hasher;
use farewell_kit::{interests, seal};
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_proto::account::v1::{
    AccountChangeLeg, FreezeAccountRequest, GetAccountChangeRequest,
};
use farewell_proto::deletion::v1::{
    Deletion, GetCertificateRequest, ReplayPurgedRequest, ReplayPurgedResponse, ReplayResult, State,
};
use farewell_proto::operator::v1::ParticipantOverview;
use farewell_proto::participant::v1::reply::Answer;
use farewell_proto::participant::v1::{
    DescribeAccountReply, SetStandingReply, SetStandingResult, Verb,
};
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use farewell_store::NewOrder;
use farewell_tests::caller::{Caller, fresh};
use farewell_tests::coordinator::Coordinator;
use farewell_tests::honest::{Honest, Manners};
use farewell_tests::office::Town;
use farewell_tests::policy;
use farewell_tests::process::{CoordinatorSite, Process, Told, database, needed};
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::wait;
use prost_types::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tonic::Code;

const STAGES: &[&[&str]] = &[&["store"]];
const DEAD: [&str; 3] = ["a-1", "a-2", "a-3"];
const ALIVE: &str = "b-1";

struct Place {
    program: String,
    folder: TempDir,
    site: CoordinatorSite,
    config: PathBuf,
}

impl Place {
    fn build() -> Result<Option<Self>> {
        Self::build_with(STAGES, "300ms")
    }

    fn build_with(stages: &[&[&str]], cooling_off: &str) -> Result<Option<Self>> {
        let Some(program) = needed("FAREWELL_BIN") else {
            return Ok(None);
        };
        let folder = TempDir::new()?;
        let ledger = database(folder.path(), "ledger");
        let told = Told {
            instance: "one",
            stages,
            ledger: &ledger,
            lease: "3s",
            cooling_off,
            collector: "",
        };
        let site = CoordinatorSite::new(&program, folder.path(), &told)?;
        let config = folder.path().join("store.toml");
        let text = format!(
            "[service.store]\nplain = true\ndrain = \"2s\"\ncoordinators = [\"{}\"]\ndatabase = \"{}\"\n",
            site.participants,
            database(folder.path(), "store")
        );
        fs::write(&config, text)?;
        Ok(Some(Self {
            program,
            folder,
            site,
            config,
        }))
    }

    fn store(&self) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.args(["service", "store", "--with-parent", "--config"]);
        Process::start(command.arg(&self.config), &self.log("store"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// What the store's file holds of an account, whatever anybody says.
    async fn held(&self, account: &str) -> Result<i64> {
        let store = farewell_store::open(&database(self.folder.path(), "store")).await?;
        let held = farewell_store::left_over(&store, account).await?;
        store.pool().close().await;
        let orders = held.categories.iter().find(|it| it.category == "orders");
        Ok(orders.map_or(0, |it| it.count))
    }

    /// The command line, as an operator uses it after a restore.
    fn replay(&self, since: &str) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command
            .args([
                "-o", "json", "deletion", "replay", "store", "--plain", "--since", since,
            ])
            .args(["--endpoint", &self.site.callers]);
        Process::start_apart(&mut command, &self.log("told"), &self.log("replay"))
    }

    fn words(&self) -> String {
        let logs = ["replay", "told", "store"].map(|name| fs::read_to_string(self.log(name)));
        logs.into_iter().flatten().collect::<String>() + &self.site.words()
    }
}

/// Copies a database with its log, as a backup of the disk does.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for end in ["", "-wal", "-shm"] {
        let name = format!("store.db{end}");
        let _ = fs::remove_file(to.join(&name));
        if from.join(&name).exists() {
            fs::copy(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}

async fn certificate(caller: &Caller, name: &str) -> Result<Vec<u8>> {
    let request = GetCertificateRequest {
        name: name.to_owned(),
    };
    let answer = caller.api.clone().get_certificate(request).await;
    let answer = answer.map_err(|status| anyhow!("{status:?}"))?;
    Ok(answer.into_inner().document.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dead_stay_dead() -> Result<()> {
    let Some(place) = Place::build()? else {
        return Ok(());
    };
    let told = story(&place).await;
    told.with_context(|| place.words())
}

async fn story(place: &Place) -> Result<()> {
    let store = farewell_store::open(&database(place.folder.path(), "store")).await?;
    for account in DEAD.into_iter().chain([ALIVE]) {
        farewell_store::sample(&store, account).await?;
    }
    store.pool().close().await;
    let backup = place.folder.path().join("backup");
    copy(place.folder.path(), &backup)?;
    let since = Timestamp::from(std::time::SystemTime::now());

    let mut coordinator = place.site.start().await?;
    let shop = place.store()?;
    let caller = place.site.caller()?;
    let mut certificates = Vec::new();
    for account in DEAD {
        let name = caller.delete(account).await?;
        caller.until(&name, State::Purged).await?;
        certificates.push((certificate(&caller, &name).await?, name));
    }
    shop.end().await?;
    for account in DEAD {
        ensure!(place.held(account).await? == 0, "{account} was erased");
    }
    let alive = place.held(ALIVE).await?;

    copy(&backup, place.folder.path())?;
    for account in DEAD {
        ensure!(
            place.held(account).await? > 0,
            "the backup brought {account} back"
        );
    }
    // Whoever was restored isn't there yet, and the coordinator dies while it is waited for.
    let mut replay = place.replay(&since.to_string())?;
    wait::until("the replay to wait", async || {
        let words = fs::read_to_string(place.log("replay")).unwrap_or_default();
        Ok(words.contains("no answer").then_some(()))
    })
    .await?;
    coordinator.kill()?;
    coordinator = place.site.start().await?;
    let shop = place.store()?;
    wait::until("the replay", async || {
        Ok((!replay.is_running()).then_some(()))
    })
    .await?;
    let told: Value = serde_json::from_str(&fs::read_to_string(place.log("told"))?)?;
    ensure!(told["deletions"] == 3 && told["clean"] == 3, "{told}");
    ensure!(told["erased"]["points"].as_i64() >= Some(3), "{told}");
    for (before, name) in &certificates {
        ensure!(
            certificate(&caller, name).await? == *before,
            "a certificate changed"
        );
    }

    // Again does no harm, and what was purged before the time isn't touched.
    let count = async |since: Timestamp| -> Result<usize> {
        let request = ReplayPurgedRequest {
            participant: "store".to_owned(),
            since_time: Some(since),
            page_token: String::new(),
        };
        let told = caller.api.clone().replay_purged(request).await;
        let mut told = told.map_err(|status| anyhow!("{status:?}"))?.into_inner();
        let mut seen = 0;
        while let Some(one) = told.message().await? {
            ensure!(
                one.reason.is_empty() && one.counts.is_empty() && one.left.is_empty(),
                "{one:?}"
            );
            seen += 1;
        }
        Ok(seen)
    };
    ensure!(count(since).await? == 3);
    let now = Timestamp::from(std::time::SystemTime::now());
    ensure!(count(now).await? == 0);

    shop.end().await?;
    for account in DEAD {
        ensure!(place.held(account).await? == 0, "{account} is back");
    }
    ensure!(
        place.held(ALIVE).await? == alive && alive > 0,
        "somebody else was erased"
    );
    coordinator.kill()
}

/// Whether the store takes an order, as its own users see it.
async fn sells(place: &Place, account: &str) -> Result<bool> {
    let shop = farewell_store::open(&database(place.folder.path(), "store")).await?;
    let order = NewOrder {
        item: "Band 9",
        amount_cents: 24_900,
        recipient: "Li Na",
        address: "88 Garden Road, Hangzhou",
    };
    let placed = farewell_store::place_order(&shop, account, &order).await;
    shop.pool().close().await;
    match placed {
        Ok(_) => Ok(true),
        Err(seal::Error::Sealed) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Until the store has sealed what a deletion is of, or lifted that, and the coordinator has it durably. An order that is placed too
/// early would be in the deletion's way.
async fn until_settled(caller: &Caller, name: &str, taken_back: bool) -> Result<Deletion> {
    let settled = |seen: &Deletion| {
        let mut seals = seen.legs.iter().filter(|leg| leg.verb == "SEAL");
        Ok(match seen.state() {
            State::CoolingOff => !taken_back && seals.all(|leg| leg.settle_time.is_some()),
            State::Revoked => taken_back && seen.close_time.is_some(),
            _ => false,
        })
    };
    caller.until_true(name, "the store's seal", settled).await
}

/// A replay to its end, as the command line tells it.
async fn replayed(place: &Place, since: &Timestamp) -> Result<Value> {
    let mut replay = place.replay(&since.to_string())?;
    wait::until("the replay", async || {
        Ok((!replay.is_running()).then_some(()))
    })
    .await?;
    let told = fs::read_to_string(place.log("told"))?;
    let last = told.lines().last().context("it said nothing")?;
    Ok(serde_json::from_str(last)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_that_was_forgotten_is_there_again_and_one_that_was_lifted_is_not() -> Result<()> {
    let Some(place) = Place::build_with(STAGES, "1h")? else {
        return Ok(());
    };
    let told = seals(&place).await;
    told.with_context(|| place.words())
}

async fn seals(place: &Place) -> Result<()> {
    let _coordinator = place.site.start().await?;
    let caller = place.site.caller()?;
    let shop = place.store()?;
    let taken_back = caller.delete("b-1").await?;
    let before = caller.delete("b-2").await?;
    for name in [&taken_back, &before] {
        until_settled(&caller, name, false).await?;
    }
    shop.end().await?;
    let backup = place.folder.path().join("backup");
    copy(place.folder.path(), &backup)?;
    let since = Timestamp::from(std::time::SystemTime::now());

    let shop = place.store()?;
    let revoked = caller.revoke(&taken_back).await;
    revoked.map_err(|status| anyhow!("{status:?}"))?;
    until_settled(&caller, &taken_back, true).await?;
    let under_way = caller.delete("a-1").await?;
    until_settled(&caller, &under_way, false).await?;
    let as_it_stands = [("a-1", false), ("b-1", true), ("b-2", false)];
    for (account, open) in as_it_stands {
        ensure!(sells(place, account).await? == open, "{account}");
    }
    shop.end().await?;

    copy(&backup, place.folder.path())?;
    ensure!(sells(place, "a-1").await?, "the backup knows of no seal");
    ensure!(!sells(place, "b-1").await?, "the backup brought a seal");
    let shop = place.store()?;
    let told = replayed(place, &since).await?;
    ensure!(
        told["deletions"] == 2 && told["sealed"] == 1 && told["unsealed"] == 1,
        "{told}"
    );
    for (account, open) in as_it_stands {
        ensure!(sells(place, account).await? == open, "{account}");
    }
    // Again does no harm, and who takes it back finds the account as it was.
    ensure!(replayed(place, &since).await?["deletions"] == 2);
    let revoked = caller.revoke(&under_way).await;
    revoked.map_err(|status| anyhow!("{status:?}"))?;
    until_settled(&caller, &under_way, true).await?;
    ensure!(sells(place, "a-1").await?, "it is as it was");
    shop.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_looked_and_is_restored_before_the_purge_holds_nothing_after_it() -> Result<()> {
    let Some(place) = Place::build_with(&[&["store", "cloud"]], "300ms")? else {
        return Ok(());
    };
    let told = before_the_purge(&place).await;
    told.with_context(|| place.words())
}

async fn before_the_purge(place: &Place) -> Result<()> {
    let store = farewell_store::open(&database(place.folder.path(), "store")).await?;
    farewell_store::sample(&store, "a-1").await?;
    store.pool().close().await;
    let backup = place.folder.path().join("backup");
    copy(place.folder.path(), &backup)?;
    let since = Timestamp::from(std::time::SystemTime::now());

    let _coordinator = place.site.start().await?;
    let caller = place.site.caller()?;
    let shop = place.store()?;
    let cloud = Honest::join(&place.site.participants, "cloud").await?;
    // It never gets round to looking; the store has looked.
    cloud.manners().held_back = Some(Verb::Probe);
    let name = caller.delete("a-1").await?;
    let looked = |seen: &Deletion| {
        let mut legs = seen.legs.iter();
        Ok(legs.any(|leg| {
            leg.participant == "store" && leg.verb == "PROBE" && leg.settle_time.is_some()
        }))
    };
    caller
        .until_true(&name, "the store to look", looked)
        .await?;
    shop.end().await?;
    copy(&backup, place.folder.path())?;
    ensure!(place.held("a-1").await? > 0, "the backup brought it back");
    let shop = place.store()?;
    let told = replayed(place, &since).await?;
    ensure!(told["deletions"] == 1 && told["clean"] == 1, "{told}");
    ensure!(told["erased"]["points"].as_i64() >= Some(1), "{told}");
    let seen = caller
        .get(&name)
        .await
        .map_err(|status| anyhow!("{status:?}"))?;
    ensure!(seen.state() == State::Verifying, "{seen:?}");

    drop(cloud);
    let _cloud = Honest::join(&place.site.participants, "cloud").await?;
    caller.until(&name, State::Purged).await?;
    shop.end().await?;
    ensure!(place.held("a-1").await? == 0, "a-1 is back");
    Ok(())
}

const PASSWORD: &str = "a farewell to arms";

/// Has its owner prove a change by the code that was sent for it, until everybody has it.
async fn proved(town: &Town, change: &Value) -> Result<()> {
    let name = change["name"].as_str().context("a name")?;
    let send = ["account", "send-code", name, "--factor", "sms-code"];
    town.told("caller", &send, "")?;
    let code = town.code(name).await?;
    let verify = ["account", "verify", name, "--factor", "sms-code"];
    town.told("caller", &verify, &code)?;
    town.done(change).await
}

/// What identity and the store hold and know: real names and interests of `a-1`, and which of the two accounts its owner gets into.
async fn known(town: &Town) -> Result<(i64, usize, [bool; 2])> {
    let shop = farewell_store::open(&town.database("store")).await?;
    let interests = interests::of(&shop, "a-1").await?;
    shop.pool().close().await;
    let identity = farewell_identity::open(&town.database("identity")).await?;
    let names = sqlx::query_as("SELECT COUNT(*) FROM real_name WHERE account = 'a-1'");
    let (names,): (i64,) = names.fetch_one(identity.pool()).await?;
    let mut open = [false; 2];
    for (open, account) in open.iter_mut().zip(["a-1", "b-1"]) {
        let hasher = Hasher::default();
        let logged_in =
            farewell_identity::log_in(&identity, &hasher, account, PASSWORD, "a phone").await;
        *open = match logged_in {
            Ok(_) => true,
            Err(LoginError::Write(seal::Error::Frozen)) => false,
            Err(error) => return Err(error.into()),
        };
    }
    identity.pool().close().await;
    Ok((names, interests.len(), open))
}

/// Has a service killed, and its database put somewhere, or back from there.
async fn put(town: &mut Town, names: [&str; 2], back: bool) -> Result<()> {
    for name in names {
        town.kill(name)?;
        for end in ["", "-wal", "-shm"] {
            let own = town.path(&format!("{name}.db{end}"));
            let kept = town.path(&format!("backup-{name}.db{end}"));
            let (from, to) = if back { (kept, own) } else { (own, kept) };
            let _ = fs::remove_file(&to);
            if from.exists() {
                fs::copy(from, to)?;
            }
        }
        town.restart(name)?;
    }
    town.whole().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_stays_is_as_its_owner_wanted_where_a_service_comes_back_from_a_backup()
-> Result<()> {
    const RESTORED: [&str; 2] = ["identity", "store"];
    let unreviewed = vec![(
        "FAREWELL_COORDINATOR__POLICY__REAL_NAME_REVIEW",
        "false".to_owned(),
    )];
    let Some(mut town) = Town::open_with_settings("1h", unreviewed).await? else {
        return Ok(());
    };
    let identity = farewell_identity::open(&town.database("identity")).await?;
    for (account, phone) in [("a-1", "+86 138 0000 0000"), ("b-1", "+86 138 0000 0001")] {
        let mail = format!("{account}@example.com");
        farewell_identity::sample(&identity, account, phone, &mail, PASSWORD).await?;
    }
    identity.pool().close().await;
    let shop = farewell_store::open(&town.database("store")).await?;
    farewell_store::sample(&shop, "a-1").await?;
    shop.pool().close().await;
    let frozen = town.told("caller", &["account", "freeze", "b-1"], "")?;
    town.done(&frozen).await?;
    let before = known(&town).await?;
    ensure!(before == (1, 4, [true, false]), "{before:?}");
    put(&mut town, RESTORED, false).await?;
    let since = Timestamp::from(std::time::SystemTime::now()).to_string();

    let channel = ["--channel", "phone"];
    let clear = ["account", "clear-real-name", "a-1", "--consent", "1"];
    let cleared = town.told("caller", &[&clear[..], &channel].concat(), "")?;
    proved(&town, &cleared).await?;
    for wish in ["stop-personalization", "freeze"] {
        let asked = town.told("caller", &["account", wish, "a-1"], "")?;
        town.done(&asked).await?;
    }
    let thaw = ["account", "unfreeze", "b-1"];
    let thawed = town.told("caller", &[&thaw[..], &channel].concat(), "")?;
    proved(&town, &thawed).await?;
    let wanted = (0, 0, [false, true]);
    ensure!(known(&town).await? == wanted);

    put(&mut town, RESTORED, true).await?;
    ensure!(
        known(&town).await? == before,
        "the backup brought it all back"
    );
    for (name, accounts) in [("identity", 2), ("store", 2)] {
        // Once more does no harm.
        for _ in 0..2 {
            let replay = ["deletion", "replay", name, "--since", &since];
            let told = town.told("caller", &replay, "")?;
            ensure!(told["accounts"] == accounts, "{name}: {told}");
            ensure!(told["deletions"] == 0, "{name}: {told}");
        }
    }
    ensure!(known(&town).await? == wanted, "{:?}", known(&town).await?);
    // What had been told before that is told again by nobody.
    let now = Timestamp::from(std::time::SystemTime::now()).to_string();
    let replay = ["deletion", "replay", "identity", "--since", &now];
    ensure!(town.told("caller", &replay, "")?["accounts"] == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_says_what_it_cant_take() -> Result<()> {
    let coordinator = Coordinator::start(policy::straight(STAGES), "memory:").await?;
    let mut api = coordinator.caller()?.api;
    let good = ReplayPurgedRequest {
        participant: "store".to_owned(),
        since_time: Some(Timestamp {
            seconds: 1_780_000_000,
            nanos: 0,
        }),
        page_token: String::new(),
    };
    for (bad, reason, field) in [
        (
            ReplayPurgedRequest {
                participant: String::new(),
                ..good.clone()
            },
            "INVALID_FIELD",
            "participant",
        ),
        (
            ReplayPurgedRequest {
                participant: "notes".to_owned(),
                ..good.clone()
            },
            "INVALID_FIELD",
            "participant",
        ),
        (
            ReplayPurgedRequest {
                since_time: None,
                ..good.clone()
            },
            "INVALID_FIELD",
            "since_time",
        ),
        (
            ReplayPurgedRequest {
                since_time: Some(Timestamp::default()),
                ..good.clone()
            },
            "INVALID_FIELD",
            "since_time",
        ),
        (
            ReplayPurgedRequest {
                page_token: "of-another-query".to_owned(),
                ..good.clone()
            },
            "PAGE_TOKEN_MISMATCH",
            "page_token",
        ),
    ] {
        let answer = api.replay_purged(bad).await.map(drop);
        let refusal = refused(field, answer, Code::InvalidArgument, reason);
        ensure!(refusal.fields == [field], "{refusal:?}");
    }
    // Nothing was purged: nobody has to be there.
    let mut told = api.replay_purged(good).await?.into_inner();
    ensure!(told.message().await?.is_none());
    coordinator.stop().await
}

/// All that a replay says.
async fn all(caller: &Caller, request: &ReplayPurgedRequest) -> Result<Vec<ReplayPurgedResponse>> {
    let told = caller.api.clone().replay_purged(request.clone()).await;
    let mut told = told.map_err(|status| anyhow!("{status:?}"))?.into_inner();
    let mut seen = Vec::new();
    while let Some(one) = told.message().await? {
        seen.push(one);
    }
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_gets_no_answer_holds_up_nobody_and_what_broke_off_goes_on_where_it_was()
-> Result<()> {
    const EVERYBODY: [&str; 3] = ["accounts/a-1", "accounts/a-2", "accounts/a-3"];
    let answering = |answer| Manners {
        beside_the_point: Some(answer),
        ..Manners::default()
    };
    let standing = |result: SetStandingResult| {
        Answer::SetStanding(SetStandingReply {
            result: result.into(),
        })
    };
    let policy = policy::straight(&[&["store"], &["identity"]]);
    let coordinator = Coordinator::start(policy, "memory:").await?;
    let known = Answer::DescribeAccount(DescribeAccountReply {
        known: true,
        ..DescribeAccountReply::default()
    });
    let address = &coordinator.participants;
    let _identity = Honest::join_with(address, "identity", answering(known)).await?;
    let kept = answering(standing(SetStandingResult::Kept));
    let store = Honest::join_with(address, "store", kept).await?;

    let channel = endpoint(&coordinator.callers, &Security::PlainLoopback)?.connect_lazy();
    let mut accounts = AccountServiceClient::new(channel);
    for account in EVERYBODY {
        let request = FreezeAccountRequest {
            request_id: fresh(),
            account: account.to_owned(),
        };
        let change = accounts.freeze_account(request).await?.into_inner().change;
        let name = change.context("a change")?.name;
        wait::until("the store to have it", async || {
            let request = GetAccountChangeRequest { name: name.clone() };
            let seen = accounts.clone().get_account_change(request).await?;
            let change = seen.into_inner().change.context("a change")?;
            let has =
                |leg: &AccountChangeLeg| leg.participant == "store" && leg.done_time.is_some();
            Ok(change.legs.iter().any(has).then_some(()))
        })
        .await?;
    }

    store.manners().unable_about = Some("accounts/a-2".to_owned());
    let caller = coordinator.caller()?;
    let request = ReplayPurgedRequest {
        participant: "store".to_owned(),
        since_time: Some(Timestamp {
            seconds: 1_780_000_000,
            nanos: 0,
        }),
        page_token: String::new(),
    };
    let told = all(&caller, &request).await?;
    let names: Vec<_> = told.iter().map(|one| one.account.as_str()).collect();
    ensure!(names == EVERYBODY, "{told:?}");
    for one in &told {
        let expected = if one.account == "accounts/a-2" {
            (ReplayResult::Deferred, "NO_ANSWER")
        } else {
            (ReplayResult::Told, "")
        };
        ensure!((one.result(), one.reason.as_str()) == expected, "{one:?}");
    }

    // It goes on with the account after the last one.
    store.manners().unable_about = None;
    for (place, one) in told.iter().enumerate() {
        let rest = ReplayPurgedRequest {
            page_token: one.page_token.clone(),
            ..request.clone()
        };
        let rest = all(&caller, &rest).await?;
        let names: Vec<_> = rest.iter().map(|one| one.account.as_str()).collect();
        ensure!(names == EVERYBODY[place + 1..], "{rest:?}");
    }
    let token = &told[0].page_token;
    let other = ReplayPurgedRequest {
        participant: "identity".to_owned(),
        page_token: token.clone(),
        ..request.clone()
    };
    let cut = |page_token: &str| ReplayPurgedRequest {
        page_token: page_token.to_owned(),
        ..request.clone()
    };
    let bare = &token[token.len() - 16..];
    // A slash is in no id.
    let no_id = format!("2f{token}");
    for bad in [other, cut(&token[1..]), cut(&no_id), cut(bare)] {
        let answer = caller.api.clone().replay_purged(bad).await.map(drop);
        bad_field("a token", answer, "PAGE_TOKEN_MISMATCH", "page_token");
    }

    // Of an account that is gone there is nothing to tell, and who isn't there at all is waited for.
    store.manners().beside_the_point = Some(standing(SetStandingResult::Gone));
    ensure!(all(&caller, &request).await? == []);
    drop(store);
    let operator = coordinator.operator()?;
    wait::until("the store to leave", async || {
        let overview = operator.overview().await?;
        let here = |it: &ParticipantOverview| it.participant == "store" && it.sessions > 0;
        Ok((!overview.participants.iter().any(here)).then_some(()))
    })
    .await?;
    let mut broken = caller
        .api
        .clone()
        .replay_purged(request)
        .await?
        .into_inner();
    let answer = broken.message().await;
    refused("nobody", answer, Code::Unavailable, "PARTICIPANT_AWAY");
    coordinator.stop().await
}
