//! Everybody is restored at once: every participant's database and files come back from before a purge, and an operator has each of
//! them do again what was done since. The dead stay dead in all of them, and no device is anybody else's than it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use farewell_kit::Inventory;
use farewell_kit::devices::schema;
use farewell_kit::seal;
use farewell_kit::store::Store;
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{BindRequest, Binding, ListBindingsRequest, ReportLostRequest};
use farewell_proto::deletion::v1::GetCertificateRequest;
use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
use farewell_tests::caller::fresh;
use farewell_tests::office::{SECRET, Town};
use farewell_tests::process::{Process, needed};
use farewell_tests::refusal::refused;
use farewell_tests::{foreign, wait};
use prost_types::Timestamp;
use serde_json::Value;
use tonic::Code;

/// Easy to find wherever it should not be.
const DEAD: &str = "zz-dead-4711";
const ALIVE: &str = "zz-alive-4712";
/// Who is given a phone that was wiped.
const FAY: &str = "zz-fay-4713";
const PARTICIPANTS: [&str; 6] = [
    "identity",
    "store",
    "community",
    "cloud",
    "support",
    "phones",
];
/// Wiped, and given to somebody else.
const GIVEN: &str = "p-given";
/// In a drawer until everybody is restored.
const DRAWER: &str = "p-drawer";
/// Let go of after the backup, and bound after it.
const GONE: &str = "p-gone";
const LATE: &str = "p-late";
const KEPT: &str = "p-kept";
/// Reported lost after the backup.
const LOST: &str = "p-lost";

struct Owner {
    account: &'static str,
    phone: &'static str,
    mail: &'static str,
}

const OWNERS: [Owner; 2] = [
    Owner {
        account: DEAD,
        phone: "+86 139 4711 0000",
        mail: "dead.4711@example.com",
    },
    Owner {
        account: ALIVE,
        phone: "+86 139 4712 0000",
        mail: "alive.4712@example.com",
    },
];

/// Something of everything, in every service.
async fn furnish(town: &Town, owner: &Owner) -> Result<()> {
    let account = owner.account;
    let identity = farewell_identity::open(&town.database("identity")).await?;
    let (phone, mail) = (owner.phone, owner.mail);
    farewell_identity::sample(&identity, account, phone, mail, "a farewell to arms").await?;
    let shop = farewell_store::open(&town.database("store")).await?;
    farewell_store::sample(&shop, account).await?;
    let community = farewell_community::open(&town.database("community")).await?;
    farewell_community::sample(&community, account).await?;
    let cloud = farewell_cloud::open(&town.database("cloud")).await?;
    farewell_cloud::sample(&cloud, &town.path("files"), account).await?;
    for store in [identity, shop, community, cloud] {
        store.pool().close().await;
    }
    Ok(())
}

/// What each of them holds of an account, whatever anybody says.
async fn held(town: &Town, account: &str) -> Result<BTreeMap<&'static str, i64>> {
    let count = |held: Inventory| held.categories.iter().map(|it| it.count).sum::<i64>();
    let identity = farewell_identity::open(&town.database("identity")).await?;
    let shop = farewell_store::open(&town.database("store")).await?;
    let community = farewell_community::open(&town.database("community")).await?;
    let cloud = farewell_cloud::open(&town.database("cloud")).await?;
    let desk = farewell_support::open(&town.database("support")).await?;
    let phones = Store::open(&town.database("phones"), "phones", schema::SCHEMA).await?;
    let left = farewell_kit::devices::left_over(&phones, account).await?;
    let files = town.path("files");
    let held = [
        count(farewell_identity::left_over(&identity, account).await?),
        count(farewell_store::left_over(&shop, account).await?),
        count(farewell_community::left_over(&community, account).await?),
        count(farewell_cloud::left_over(&cloud, &files, account).await?),
        count(farewell_support::left_over(&desk, account).await?),
        left.bindings + left.credentials + left.shares + left.orders,
    ];
    for store in [identity, shop, community, cloud, desk, phones] {
        store.pool().close().await;
    }
    Ok(PARTICIPANTS.into_iter().zip(held).collect())
}

/// Copies what lies under these names, and what is theirs: logs of databases, files in folders.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}

/// Everything that participants keep: their databases with their logs, and the folder of photos.
fn belongings(town: &Town) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(town.path(""))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let of_participant = PARTICIPANTS
            .iter()
            .any(|participant| name.starts_with(&format!("{participant}.db")));
        if of_participant || name == "files" {
            names.push(name);
        }
    }
    Ok(names)
}

fn back_up(town: &Town) -> Result<()> {
    let backup = town.path("backup");
    fs::create_dir_all(&backup)?;
    for name in belongings(town)? {
        if town.path(&name).is_dir() {
            copy(&town.path(&name), &backup.join(&name))?;
        } else {
            fs::copy(town.path(&name), backup.join(&name))?;
        }
    }
    Ok(())
}

fn restore(town: &Town) -> Result<()> {
    for name in belongings(town)? {
        if town.path(&name).is_dir() {
            fs::remove_dir_all(town.path(&name))?;
        } else {
            fs::remove_file(town.path(&name))?;
        }
    }
    copy(&town.path("backup"), &town.path(""))
}

/// Everybody but the coordinator dies, and comes back when `meanwhile` is over.
async fn outage(town: &mut Town, meanwhile: impl Fn(&Town) -> Result<()>) -> Result<()> {
    for participant in PARTICIPANTS {
        town.kill(participant)?;
    }
    meanwhile(town)?;
    for participant in PARTICIPANTS {
        town.restart(participant)?;
    }
    town.whole().await
}

async fn bind(town: &Town, phone: &str, account: &str) -> Result<Result<u64, tonic::Status>> {
    let mut bindings = BindingServiceClient::new(town.channel(&town.phones, "caller").await?);
    let binding = Binding {
        activation_lock: true,
        ..foreign::binding(phone, account)
    };
    let request = BindRequest {
        request_id: fresh(),
        binding: Some(binding),
    };
    Ok(bindings.bind(request).await.map(|bound| {
        let binding = bound.into_inner().binding;
        binding.map_or(0, |binding| binding.epoch)
    }))
}

async fn bound(town: &Town, phone: &str, account: &str) -> Result<u64> {
    Ok(bind(town, phone, account).await??)
}

async fn list(town: &Town, account: &str) -> Result<Vec<Binding>> {
    let mut bindings = BindingServiceClient::new(town.channel(&town.phones, "caller").await?);
    let request = ListBindingsRequest {
        account: format!("accounts/{account}"),
        ..ListBindingsRequest::default()
    };
    Ok(bindings.list_bindings(request).await?.into_inner().bindings)
}

async fn lose(town: &Town, phone: &str, epoch: u64) -> Result<()> {
    let mut bindings = BindingServiceClient::new(town.channel(&town.phones, "caller").await?);
    let request = ReportLostRequest {
        request_id: fresh(),
        device: format!("devices/{phone}"),
        epoch,
        lost: true,
    };
    bindings.report_lost(request).await?;
    Ok(())
}

/// Switches a phone from another house on, with the binding that it has.
fn switch_on(town: &Town, python: &str, phone: &str, epoch: u64) -> Result<Process> {
    let keys = town.path("certs").join("orders.pub");
    let mut command = foreign::believing(python, &keys, "phone", phone, epoch);
    command.args(["--agent", &town.phones]);
    command.arg("--tls-dir").arg(town.path("certs"));
    let told = town.path(&format!("{phone}.json"));
    Process::start_apart(&mut command, &told, &town.path("python.log"))
}

/// How often a phone was wiped, in all its life.
fn wiped(town: &Town, phone: &str) -> Result<usize> {
    let deeds = foreign::deeds(&town.path(&format!("{phone}.json")))?;
    let all = deeds.iter().all(|deed| deed["did"] == "DEVICE_VERB_RESET");
    ensure!(all, "{deeds:?}");
    Ok(deeds.len())
}

async fn certificate(town: &Town, name: &str) -> Result<(Vec<u8>, Vec<Value>)> {
    let mut api = DeletionServiceClient::new(town.channel(&town.callers, "caller").await?);
    let name = name.to_owned();
    let told = api.get_certificate(GetCertificateRequest { name }).await?;
    let told = told.into_inner();
    let addenda = told.addenda.iter().map(|text| serde_json::from_str(text));
    Ok((told.document.to_vec(), addenda.collect::<Result<_, _>>()?))
}

fn replay(town: &Town, participant: &str, since: &str) -> Result<Value> {
    let line = ["deletion", "replay", participant, "--since", since];
    let told = town.told("caller", &line, "")?;
    ensure!(
        told["deletions"] == 1 && told["clean"] == 1,
        "{participant}: {told}"
    );
    Ok(told)
}

/// Nothing of the account is in any file that a participant keeps.
fn no_trace(town: &Town) -> Result<()> {
    let [dead, _] = &OWNERS;
    let digits: String = dead.phone.chars().filter(char::is_ascii_digit).collect();
    for participant in PARTICIPANTS {
        for trace in [DEAD, dead.phone, &digits, dead.mail, SECRET] {
            let found = town.found(&format!("{participant}.db"), trace)?;
            ensure!(found.is_empty(), "{trace} is in {found:?}");
        }
    }
    let photos = town.path("files").join(seal::mark(DEAD));
    ensure!(!photos.exists(), "photos are back");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_restored_and_the_dead_stay_dead_in_all_of_them() -> Result<()> {
    let Some(python) = needed("FAREWELL_TEST_PYTHON") else {
        return Ok(());
    };
    let horizon = ("FAREWELL_AGENT__PHONES__HORIZON", "3s".to_owned());
    let Some(mut town) = Town::open_whole_with_settings("300ms", vec![horizon]).await? else {
        return Ok(());
    };
    for owner in &OWNERS {
        furnish(&town, owner).await?;
    }
    for phone in [GIVEN, DRAWER] {
        town.certify(phone)?;
    }
    let papers = ["identity-document", "purchase-proof"];
    let case = town.approved(DEAD, &["lost-access"], &papers)?;
    let given = bound(&town, GIVEN, DEAD).await?;
    let drawer = bound(&town, DRAWER, DEAD).await?;
    let gone = bound(&town, GONE, DEAD).await?.to_string();
    bound(&town, KEPT, ALIVE).await?;
    let lost = bound(&town, LOST, DEAD).await?;
    let alive = held(&town, ALIVE).await?;
    outage(&mut town, back_up).await?;
    let since = Timestamp::from(std::time::SystemTime::now()).to_string();

    // Life goes on: a phone is let go of, one is lost, another is bound, and then the account is deleted.
    lose(&town, LOST, lost).await?;
    let unbind = ["device", "unbind", DEAD, "phones", GONE, "--epoch", &gone];
    town.told("caller", &unbind, "")?;
    let late = bound(&town, LATE, DEAD).await?;
    let on = switch_on(&town, &python, GIVEN, given)?;
    town.sees(GIVEN, DEAD).await?;
    let frozen = town.told("caller", &["account", "freeze", DEAD], "")?;
    let frozen = frozen["name"].as_str().context("a name")?;
    wait::until("everybody to have it", async || {
        let seen = town.told("caller", &["account", "change", frozen], "")?;
        Ok((seen["state"] == "DONE").then_some(()))
    })
    .await?;
    let create = ["deletion", "create", DEAD, "--channel", "support"];
    let agreed = ["--consent", "device-reset=1"];
    let created = town.told("caller", &[&create[..], &agreed].concat(), "")?;
    let deletion = created["name"].as_str().context("a name")?.to_owned();
    let verify = ["deletion", "verify", &deletion, "--factor", "documents"];
    town.told("caller", &verify, &case)?;
    town.state(&deletion, "PURGED").await?;
    assert_eq!(wiped(&town, GIVEN)?, 1);
    no_trace(&town)?;
    let (certified, addenda) = certificate(&town, &deletion).await?;
    ensure!(addenda.is_empty(), "{addenda:?}");
    on.kill()?;
    let fays = bound(&town, GIVEN, FAY).await?;
    ensure!(fays > given);
    let on = switch_on(&town, &python, GIVEN, fays)?;

    // Everything comes back, and everybody holds what had gone.
    outage(&mut town, restore).await?;
    for (participant, count) in held(&town, DEAD).await? {
        ensure!(
            count > 0,
            "the backup brought nothing back to {participant}"
        );
    }
    refused(
        "the phone that was given away",
        bind(&town, GIVEN, FAY).await?,
        Code::FailedPrecondition,
        "DEVICE_BOUND",
    );

    for participant in PARTICIPANTS {
        let told = replay(&town, participant, &since)?;
        let again = told["erased"].as_object().context("counts")?;
        ensure!(
            again.values().any(|count| count.as_i64() > Some(0)),
            "{participant}: {told}"
        );
        // Who is gone is told of as gone, and not as one that stays frozen.
        ensure!(told["accounts"] == 0, "{participant}: {told}");
    }
    let left = held(&town, DEAD).await?;
    ensure!(left.values().all(|count| *count == 0), "{left:?}");
    no_trace(&town)?;
    ensure!(held(&town, ALIVE).await? == alive, "somebody else's");

    // The phone that was wiped is not wiped again, and is whose it is once they say so; the others are free, the one of which the
    // backup knew nothing included.
    let again = bound(&town, GIVEN, FAY).await?;
    ensure!(again > fays);
    on.kill()?;
    let _on = switch_on(&town, &python, GIVEN, again)?;
    for phone in [GONE, LATE] {
        ensure!(bound(&town, phone, FAY).await? > late);
    }
    refused(
        "a lost phone",
        bind(&town, LOST, FAY).await?,
        Code::FailedPrecondition,
        "DEVICE_LOCKED",
    );
    replay(&town, "phones", &since)?;
    let kept = list(&town, FAY).await?;
    ensure!(
        kept.len() == 3 && kept.iter().all(|it| it.activation_lock),
        "{kept:?}"
    );
    ensure!(
        kept.iter()
            .any(|it| it.epoch == again && it.device == format!("devices/{GIVEN}")),
        "{kept:?}"
    );

    // The one in the drawer is told when it comes back, and it is on record.
    let _back = switch_on(&town, &python, DRAWER, drawer)?;
    wait::until("the phone from the drawer", async || {
        let (_, addenda) = certificate(&town, &deletion).await?;
        let its = addenda.iter().any(|addendum| {
            addendum["device"] == format!("devices/{DRAWER}") && addendum["before"] == "DETACHED"
        });
        Ok(its.then_some(()))
    })
    .await?;
    assert_eq!((wiped(&town, DRAWER)?, wiped(&town, GIVEN)?), (1, 1));
    let (after, _) = certificate(&town, &deletion).await?;
    ensure!(after == certified, "the certificate has changed");
    Ok(())
}
