//! What law kept of an account holds, whatever happens in the years after the purge: a custodian that is gone holds up nobody, a
//! service that is restored from an old backup brings nothing back, and a legal hold keeps everything until it is released.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_kit::{Retained, seal};
use farewell_proto::deletion::v1::{
    CheckEligibilityRequest, Deletion, GetCertificateRequest, GetInventoryRequest, ObligationState,
    State,
};
use farewell_proto::identifier::v1::{IdentifierKind, IdentifierStanding};
use farewell_proto::operator::v1::{
    HoldDeletionRequest, HoldReason, ReleaseDeletionRequest, ReleaseReason,
};
use farewell_tests::caller::{Caller, conditions, fresh};
use farewell_tests::process::{Process, database};
use farewell_tests::refusal::refused;
use farewell_tests::town::Town;
use farewell_tests::{audit, wait};
use serde_json::Value;
use tonic::Code;

const ACCOUNT: &str = "a-1";
/// Of whom nothing is kept but the name.
const OTHER: &str = "a-2";
const PHONE: &str = "+86 138 0000 0000";
const MAIL: &str = "li.na@example.com";
const NAME: &str = "lina_in_the_hills";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The first backup is of a time before the purge, the second of one after it.
const BACKUPS: [&str; 2] = ["before", "after"];
const SERVICES: [&str; 2] = ["store", "identity"];

/// What is really kept, by class: how many records, and until when.
type Kept = BTreeMap<String, (i64, SystemTime)>;

/// Copies a service's database with its log, as a backup of the disk does.
fn copy(service: &str, from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for end in ["", "-wal", "-shm"] {
        let name = format!("{service}.db{end}");
        let _ = fs::remove_file(to.join(&name));
        if from.join(&name).exists() {
            fs::copy(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}

struct Story {
    town: Town,
    caller: Caller,
    /// Of the one deletion that the story is about.
    name: String,
    /// All that there are.
    purged: usize,
    began: SystemTime,
    coordinator: Process,
    store: Process,
    identity: Process,
}

impl Story {
    fn folder(&self) -> &Path {
        self.town.folder.path()
    }

    fn travel(&self, days: u32) -> Result<()> {
        self.town.machine.travel(self.began + DAY * days)
    }

    async fn deletion(&self) -> Result<Deletion> {
        let read = self.caller.get(&self.name).await;
        read.map_err(|status| anyhow!("{status:?}"))
    }

    /// Addenda to the certificate, which stays as it is.
    async fn addenda(&self) -> Result<Vec<Value>> {
        let request = GetCertificateRequest {
            name: self.name.clone(),
        };
        let answer = self.caller.api.clone().get_certificate(request).await;
        let answer = answer.map_err(|status| anyhow!("{status:?}"))?.into_inner();
        let addenda = answer.addenda.iter();
        Ok(addenda
            .map(|text| serde_json::from_str(text))
            .collect::<Result<_, _>>()?)
    }

    /// Everything that has ended so far, by class.
    async fn ended(&self) -> Result<BTreeMap<String, i64>> {
        let mut ended = BTreeMap::new();
        for addendum in self.addenda().await? {
            let expired = addendum["expired"].as_object().cloned().unwrap_or_default();
            for (class, count) in expired {
                *ended.entry(class).or_default() += count.as_i64().context("a count")?;
            }
        }
        Ok(ended)
    }

    async fn until_ended(&self, expected: &[(&str, i64)]) -> Result<()> {
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|(class, count)| ((*class).to_owned(), *count))
            .collect();
        wait::until("an end", async || {
            Ok((self.ended().await? == expected).then_some(()))
        })
        .await
        .with_context(|| format!("{expected:?}"))
    }

    /// Until another account, which comes and goes now, is purged: whatever was due before it has been looked at.
    async fn another_is_purged(&mut self) -> Result<()> {
        let identity = farewell_identity::open(&database(self.folder(), "identity")).await?;
        farewell_identity::register(&identity, OTHER, "wang_wei").await?;
        identity.pool().close().await;
        let other = self.caller.delete(OTHER).await?;
        self.caller.until(&other, State::Purged).await?;
        self.purged += 1;
        Ok(())
    }

    /// What the services' files hold of it, whatever anybody says.
    async fn kept(&self) -> Result<Kept> {
        let id = self.name.trim_start_matches("deletions/");
        let store = farewell_store::open(&database(self.folder(), "store")).await?;
        let mut all = farewell_store::kept(&store, id).await?;
        store.pool().close().await;
        let identity = farewell_identity::open(&database(self.folder(), "identity")).await?;
        all.extend(farewell_identity::kept(&identity, id).await?);
        identity.pool().close().await;
        let by_class = |kept: Retained| (kept.class, (kept.count, kept.until));
        Ok(all.into_iter().map(by_class).collect())
    }

    /// What the live tables hold of the account.
    async fn left_over(&self) -> Result<usize> {
        let store = farewell_store::open(&database(self.folder(), "store")).await?;
        let left = farewell_store::left_over(&store, ACCOUNT).await?;
        store.pool().close().await;
        let identity = farewell_identity::open(&database(self.folder(), "identity")).await?;
        let known = farewell_identity::left_over(&identity, ACCOUNT).await?;
        identity.pool().close().await;
        Ok(left.categories.len() + known.categories.len())
    }

    async fn standing(&self, kind: IdentifierKind, value: &str) -> Result<IdentifierStanding> {
        Ok(self.town.standing(kind, value).await?.0)
    }

    /// A service comes back from a backup, and an operator has done again what was done since that was made.
    async fn restore(mut self, service: &str, backup: &str, made: SystemTime) -> Result<Self> {
        let running = if service == "store" {
            &mut self.store
        } else {
            &mut self.identity
        };
        running.stop().await?;
        let folder = self.town.folder.path();
        copy(service, &folder.join(backup), folder)?;
        *running = self.town.service(service)?;
        let since = prost_types::Timestamp::from(made).to_string();
        let mut command = Command::new(&self.town.program);
        command
            .args(["-o", "json", "deletion", "replay", service, "--plain"])
            .args(["--since", &since, "--endpoint", &self.town.site.callers]);
        let told = self.town.log("told");
        let mut replay = Process::start_apart(&mut command, &told, &self.town.log("replay"))?;
        wait::until("the replay", async || {
            Ok((!replay.is_running()).then_some(()))
        })
        .await?;
        let told = fs::read_to_string(told)?;
        let told: Value = serde_json::from_str(told.lines().last().unwrap_or_default())?;
        ensure!(
            told["deletions"] == self.purged && told["clean"] == self.purged,
            "{service} {backup}: {told}"
        );
        Ok(self)
    }
}

/// A purged account, and backups of a time before it was and of one after.
async fn purged(town: Town) -> Result<(Story, [SystemTime; 2])> {
    let folder = town.folder.path().to_owned();
    let store = farewell_store::open(&database(&folder, "store")).await?;
    let began = SystemTime::now();
    farewell_store::sample(&store, ACCOUNT).await?;
    store.pool().close().await;
    let identity = farewell_identity::open(&database(&folder, "identity")).await?;
    farewell_identity::sample(&identity, ACCOUNT, PHONE, MAIL, "a long password").await?;
    identity.pool().close().await;
    let before = SystemTime::now();
    for service in SERVICES {
        copy(service, &folder, &folder.join(BACKUPS[0]))?;
    }

    let coordinator = town.site.start().await?;
    let (store, identity) = (town.service("store")?, town.service("identity")?);
    let caller = town.site.caller()?;
    let name = caller.delete(ACCOUNT).await?;
    caller.until(&name, State::Purged).await?;
    let kept = |it: &Deletion| Ok(it.obligations.len() == 5);
    caller.until_true(&name, "what is kept", kept).await?;
    store.end().await?;
    identity.end().await?;
    let after = SystemTime::now();
    for service in SERVICES {
        copy(service, &folder, &folder.join(BACKUPS[1]))?;
    }
    let (store, identity) = (town.service("store")?, town.service("identity")?);
    let story = Story {
        town,
        caller,
        name,
        purged: 1,
        began,
        coordinator,
        store,
        identity,
    };
    Ok((story, [before, after]))
}

/// What is kept is stored, and nothing more: no call gives it away, and nobody can be who was there before.
async fn is_restricted(story: &Story) -> Result<()> {
    let account = format!("accounts/{ACCOUNT}");
    let mut api = story.caller.api.clone();
    let look = GetInventoryRequest {
        account: account.clone(),
    };
    let looked = wait::until("everybody to answer", async || {
        let looked = api.clone().get_inventory(look.clone()).await;
        let looked = looked.map_err(|status| anyhow!("{status:?}"))?.into_inner();
        let all = looked.holdings.iter().all(|holding| holding.answered);
        Ok(all.then_some(looked))
    })
    .await?;
    for holding in &looked.holdings {
        ensure!(
            holding.answered && holding.categories.is_empty(),
            "{holding:?}"
        );
    }
    let check = CheckEligibilityRequest { account };
    let checked = api.check_eligibility(check).await;
    let checked = checked
        .map_err(|status| anyhow!("{status:?}"))?
        .into_inner();
    for blocker in &checked.blockers {
        ensure!(blocker.code == "UNKNOWN_ACCOUNT", "{blocker:?}");
    }
    let store = farewell_store::open(&database(story.folder(), "store")).await?;
    let again = farewell_store::grant_coupon(&store, ACCOUNT, 1).await;
    store.pool().close().await;
    ensure!(matches!(again, Err(seal::Error::Erased)), "{again:?}");
    Ok(())
}

/// Identity is gone when numbers are free, and for three months more: the store's entries end meanwhile, it is shown, and what
/// it owes it does when it is back.
async fn who_is_gone_holds_up_nobody(mut story: Story) -> Result<Story> {
    story.identity.stop().await?;
    story.travel(32)?;
    let asked = |it: &Deletion| {
        let asked = it
            .obligations
            .iter()
            .filter(|owed| owed.state() == ObligationState::Asked);
        Ok(asked.count() == 2)
    };
    let deletion = story
        .caller
        .until_true(&story.name, "identity to be asked", asked)
        .await?;
    let since = deletion.obligations.iter().find_map(|owed| owed.ask_time);
    story.travel(126)?;
    story.until_ended(&[("server_logs", 1)]).await?;
    let deletion = story.deletion().await?;
    let shown = conditions(&deletion);
    ensure!(
        shown == [("PARTICIPANT_NOT_CONNECTED", "identity")],
        "{shown:?}"
    );
    let condition = deletion.conditions.first().context("a condition")?;
    ensure!(
        condition.since_time == since,
        "what others answer is none of its own"
    );
    let operator = story.town.site.operator()?;
    let seen = operator.overview().await?.obligations.unwrap_or_default();
    ensure!((seen.open, seen.late, seen.held) == (1, 1, 0), "{seen:?}");
    ensure!(operator.stalled().await?.len() == 1);
    wait::until("the alarm", async || {
        Ok(story
            .town
            .site
            .words()
            .contains("EXPIRY_OVERDUE")
            .then_some(()))
    })
    .await?;
    story.identity = story.town.service("identity")?;
    story
        .until_ended(&[
            ("quarantined_email", 1),
            ("quarantined_phone", 1),
            ("server_logs", 1),
        ])
        .await?;
    let calm = |it: &Deletion| Ok(it.conditions.is_empty());
    story.caller.until_true(&story.name, "calm", calm).await?;
    let seen = operator.overview().await?.obligations.unwrap_or_default();
    ensure!((seen.open, seen.late) == (1, 0), "{seen:?}");
    Ok(story)
}

/// Both services are restored from both backups: the dead stay dead, what had ended stays ended, and the name is held until its
/// own day and no longer.
async fn a_backup_brings_nothing_back(mut story: Story, made: [SystemTime; 2]) -> Result<Story> {
    let (kept, ended) = (story.kept().await?, story.ended().await?);
    ensure!(kept.len() == 3, "{kept:?}");
    for service in SERVICES {
        for (backup, made) in BACKUPS.into_iter().zip(made) {
            story = story.restore(service, backup, made).await?;
            let now = story.kept().await?;
            ensure!(now == kept, "{service} {backup}: {now:?} and not {kept:?}");
            ensure!(story.left_over().await? == 0, "{service} {backup}");
            for (kind, value, expected) in [
                (IdentifierKind::Phone, PHONE, IdentifierStanding::Free),
                (
                    IdentifierKind::UserName,
                    NAME,
                    IdentifierStanding::Quarantined,
                ),
            ] {
                let standing = story.standing(kind, value).await?;
                ensure!(
                    standing == expected,
                    "{service} {backup}: {value} {standing:?}"
                );
            }
        }
    }
    ensure!(
        story.ended().await? == ended,
        "evidence of its own, beside the certificate"
    );
    Ok(story)
}

/// Nothing ends under a hold, through a crash and a restore; everything that had ended does when it is released.
async fn a_hold_keeps_everything(mut story: Story, made: [SystemTime; 2]) -> Result<Story> {
    let (kept, ended) = (story.kept().await?, story.ended().await?);
    let operator = story.town.site.operator()?;
    let hold = HoldDeletionRequest {
        request_id: fresh(),
        name: story.name.clone(),
        reason: HoldReason::CourtOrder.into(),
        reference: "LEGAL-7".to_owned(),
    };
    for _ in 0..2 {
        // The same request is the same hold.
        let held = operator.api.clone().hold_deletion(hold.clone()).await?;
        let held = held.into_inner().deletion.unwrap_or_default();
        let shown = conditions(&held);
        ensure!(shown == [("RETENTION_HELD", "")], "{shown:?}");
        let states = held.obligations.iter().map(|owed| owed.state());
        ensure!(states.collect::<Vec<_>>() == [ObligationState::Held; 3]);
    }
    let twice = HoldDeletionRequest {
        request_id: fresh(),
        ..hold
    };
    let twice = operator.api.clone().hold_deletion(twice).await;
    refused("a second hold", twice, Code::FailedPrecondition, "HELD");
    story.travel(185)?;
    story.coordinator.kill()?;
    story.coordinator = story.town.site.start().await?;
    story.another_is_purged().await?;
    ensure!(story.kept().await? == kept, "something ended under a hold");
    for service in SERVICES {
        story = story.restore(service, BACKUPS[0], made[0]).await?;
        let now = story.kept().await?;
        ensure!(now == kept, "{service}: {now:?} and not {kept:?}");
    }
    ensure!(
        story.ended().await? == ended,
        "something ended under a hold"
    );
    let seen = operator.overview().await?.obligations.unwrap_or_default();
    ensure!((seen.open, seen.late, seen.held) == (2, 0, 1), "{seen:?}");
    ensure!(operator.stalled().await?.len() == 1);
    // A hold is for records: the name is free on its own day, and its hash stays.
    let standing = story.standing(IdentifierKind::UserName, NAME).await?;
    ensure!(standing == IdentifierStanding::Free, "{standing:?}");

    let release = ReleaseDeletionRequest {
        request_id: fresh(),
        name: story.name.clone(),
        reason: ReleaseReason::OrderEnded.into(),
        reference: String::new(),
    };
    operator.api.clone().release_deletion(release).await?;
    story
        .until_ended(&[
            ("quarantined_email", 1),
            ("quarantined_phone", 1),
            ("quarantined_user_name", 1),
            ("server_logs", 2),
        ])
        .await?;
    let left = story.kept().await?;
    ensure!(left.keys().eq(["transactions"]), "{left:?}");
    let holds = story.addenda().await?.into_iter();
    let holds: Vec<_> = holds
        .filter(|addendum| addendum["hold_placed"].is_string())
        .map(|addendum| addendum["hold_released"].is_string())
        .collect();
    ensure!(holds == [false, true], "{holds:?}");
    Ok(story)
}

async fn years(town: Town) -> Result<()> {
    let (mut story, made) = purged(town).await?;
    is_restricted(&story).await?;
    story = who_is_gone_holds_up_nobody(story).await?;
    story = a_backup_brings_nothing_back(story, made).await?;
    story = a_hold_keeps_everything(story, made).await?;
    story.travel(5 * 365)?;
    let closed = |it: &Deletion| Ok(it.close_time.is_some() && it.obligations.is_empty());
    story
        .caller
        .until_true(&story.name, "the end of everything", closed)
        .await?;
    ensure!(story.kept().await?.is_empty());
    let late = HoldDeletionRequest {
        request_id: fresh(),
        name: story.name.clone(),
        reason: HoldReason::CourtOrder.into(),
        reference: "LEGAL-7".to_owned(),
    };
    let operator = story.town.site.operator()?;
    let late = operator.api.clone().hold_deletion(late).await;
    refused("too late", late, Code::FailedPrecondition, "ALREADY_ENDED");
    story.store.end().await?;
    story.identity.end().await?;
    story.coordinator.end().await?;
    let ledger = farewell_ledger::connect(&database(story.town.folder.path(), "ledger")).await?;
    ensure!(audit::sound(&*ledger).await? == story.purged);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_law_keeps_holds_whoever_is_gone_restored_or_held() -> Result<()> {
    let Some(town) = Town::build("Asia/Shanghai")? else {
        return Ok(());
    };
    let folder = town.folder.path().to_owned();
    years(town).await.with_context(|| {
        let logs = ["one", "store", "identity", "replay"].map(|name| {
            let words = fs::read_to_string(folder.join(format!("{name}.log")));
            words.unwrap_or_default()
        });
        logs.join("\n")
    })
}

/// Tables of what is kept stand in the files that keep and end it, and in no other: nothing else can process them.
#[test]
fn nothing_but_retention_knows_the_tables_of_what_is_kept() -> Result<()> {
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services");
    let mut seen = 0;
    for (service, table, owners) in [
        ("store", "retained_order", &["retention.rs"][..]),
        ("store", "retained_log", &["retention.rs"]),
        ("identity", "quarantine WHERE", &["quarantine.rs"]),
        ("identity", "INTO quarantine", &["quarantine.rs"]),
    ] {
        for entry in fs::read_dir(services.join(service).join("src"))? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !path.is_file() {
                continue;
            }
            let source = fs::read_to_string(&path)?;
            let (program, _) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
            if program.contains(table) {
                ensure!(owners.contains(&name.as_str()), "{name} knows {table}");
                seen += 1;
            }
        }
    }
    ensure!(seen == 4, "the tables have other names now: {seen}");
    Ok(())
}
