//! A service is restored from a backup of a time before accounts were purged: the dead stay dead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_proto::deletion::v1::{GetCertificateRequest, ReplayPurgedRequest, State};
use farewell_tests::caller::Caller;
use farewell_tests::coordinator::Coordinator;
use farewell_tests::policy;
use farewell_tests::process::{CoordinatorSite, Process, Told, database, needed};
use farewell_tests::refusal::refused;
use farewell_tests::wait;
use prost_types::Timestamp;
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
        let Some(program) = needed("FAREWELL_BIN") else {
            return Ok(None);
        };
        let folder = TempDir::new()?;
        let ledger = database(folder.path(), "ledger");
        let told = Told {
            instance: "one",
            stages: STAGES,
            ledger: &ledger,
            lease: "3s",
            cooling_off: "300ms",
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
    let told: serde_json::Value = serde_json::from_str(&fs::read_to_string(place.log("told"))?)?;
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
