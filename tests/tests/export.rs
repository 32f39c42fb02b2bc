//! A person takes everything along before it is erased: real services, killed and away meanwhile, and an archive that others'
//! programs open.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_proto::account::v1::{
    CancelExportRequest, DownloadExportRequest, Export, ExportState, GetExportRequest,
    StartExportRequest,
};
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{BindRequest, Binding};
use farewell_proto::deletion::v1::{CheckEligibilityRequest, State};
use farewell_proto::participant::v1::ExportPartQuestion;
use farewell_proto::participant::v1::connect_request::Message as Up;
use farewell_proto::participant::v1::connect_response::Message as Down;
use farewell_proto::participant::v1::export_part_answer::Answer;
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use farewell_tests::caller::fresh;
use farewell_tests::coordinator::Coordinator;
use farewell_tests::honest::Honest;
use farewell_tests::policy;
use farewell_tests::process::{CoordinatorSite, Process, Told, database, free_port, needed};
use farewell_tests::refusal::refused;
use farewell_tests::scripted::Scripted;
use farewell_tests::wait;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};

const ACCOUNT: &str = "a-4711";
const STAGES: &[&[&str]] = &[&["cloud", "community"], &["store"], &["phones"]];
/// A large album, of 160 MiB, and the memory that the cloud may take for it: the program's own pages, most of them of a binary that
/// nobody optimised, count as well, and more or fewer of them are resident from run to run.
const PHOTOS: usize = 40;
const PHOTO_BYTES: usize = 4 << 20;
const MEMORY_KIB_MAX: u64 = 128 * 1024;
/// A large album is packed, sealed, fetched and compared by programs that nobody optimised, beside others.
const LARGE: Duration = Duration::from_secs(180);
/// Reads the archive as other people's programs do, and says what it found.
const READER: &str = r#"
import csv, hashlib, io, json, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
names = archive.namelist()
assert len(names) == len(set(name.lower() for name in names))
manifest = json.loads(archive.read("manifest.json"))
listed = {file["path"] for file in manifest["files"]}
assert listed | {"index.html", "manifest.json"} == set(names), listed ^ set(names)
for file in manifest["files"]:
    digest = hashlib.sha256()
    with archive.open(file["path"]) as content:
        while piece := content.read(1 << 20):
            digest.update(piece)
    assert digest.hexdigest() == file["sha256"] and archive.getinfo(file["path"]).file_size == file["size_bytes"]
large = [archive.getinfo(name).file_size for name in names if name.startswith("cloud/albums/Large_ ")]
cards = archive.read("cloud/contacts.vcf").decode().split("END:VCARD\r\n")
assert all(card.startswith("BEGIN:VCARD\r\nVERSION:4.0\r\n") for card in cards[:-1]) and cards[-1] == ""
rows = lambda name: list(csv.DictReader(io.StringIO(archive.read(name).decode())))
devices = rows("phones/devices.csv")
assert json.loads(archive.read("phones/devices.json"))[0]["serial_number"] == devices[0]["serial_number"]
page = archive.read("index.html").decode()
assert "<script" not in page and 'lang="zh"' in page
print(len(large), sum(large), len(cards) - 1, len(rows("store/orders.csv")), len(rows("community/posts.csv")),
      devices[0]["serial_number"], devices[0]["warranty_end"])
"#;

/// Where the services run.
struct Town {
    program: String,
    folder: TempDir,
    site: CoordinatorSite,
    devices: String,
    config: PathBuf,
}

impl Town {
    async fn build() -> Result<Option<Self>> {
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
        let devices = format!("127.0.0.1:{}", free_port()?);
        let mut text = String::new();
        for section in [
            "service.cloud",
            "service.community",
            "service.store",
            "agent.phones",
        ] {
            let name = section.rsplit('.').next().unwrap_or_default();
            text.push_str(&format!(
                "[{section}]\nplain = true\ndrain = \"2s\"\ncoordinators = [\"{}\"]\ndatabase = \"{}\"\n",
                site.participants,
                database(folder.path(), name)
            ));
            match name {
                "cloud" => text.push_str(&format!(
                    "files = \"{}\"\nexports.keep = \"1h\"\nexports.keys = \"1:{}\"\n",
                    folder.path().join("files").display(),
                    "5a".repeat(32)
                )),
                "phones" => text.push_str(&format!("listen.devices = \"{devices}\"\n")),
                _ => {}
            }
        }
        let config = folder.path().join("services.toml");
        fs::write(&config, text)?;
        Ok(Some(Self {
            program,
            site,
            devices,
            config,
            folder,
        }))
    }

    /// A person's data, with an album that no memory should hold.
    async fn fill(&self) -> Result<()> {
        let path = self.folder.path();
        let (cloud, files) = (
            farewell_cloud::open(&database(path, "cloud")).await?,
            path.join("files"),
        );
        farewell_cloud::sample(&cloud, &files, ACCOUNT).await?;
        for _ in 0..PHOTOS {
            let picture = vec![rand::random(); PHOTO_BYTES];
            farewell_cloud::add_photo(&cloud, &files, ACCOUNT, "Large? ../", picture).await?;
        }
        cloud.pool().close().await;
        let store = farewell_store::open(&database(path, "store")).await?;
        farewell_store::sample(&store, ACCOUNT).await?;
        store.pool().close().await;
        let community = farewell_community::open(&database(path, "community")).await?;
        farewell_community::sample(&community, ACCOUNT).await?;
        community.pool().close().await;
        Ok(())
    }

    fn service(&self, role: &str, name: &str) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.args([role, name, "--with-parent", "--config"]);
        Process::start(command.arg(&self.config), &self.log(name))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    fn accounts(&self) -> Result<AccountServiceClient<Channel>> {
        accounts(&self.site.callers)
    }

    async fn bind_a_phone(&self) -> Result<()> {
        let channel = endpoint(&self.devices, &Security::PlainLoopback)?.connect_lazy();
        let homes = BindingServiceClient::new(channel);
        let binding = Binding {
            device: "devices/p-1".to_owned(),
            account: format!("accounts/{ACCOUNT}"),
            model: "Phone 14".to_owned(),
            serial_number: "SN-0001".to_owned(),
            warranty_end_time: Some(prost_types::Timestamp {
                seconds: 1_900_000_000,
                nanos: 0,
            }),
            ..Binding::default()
        };
        let request = BindRequest {
            request_id: fresh(),
            binding: Some(binding),
        };
        wait::until("the phone to be bound", async || {
            Ok(homes.clone().bind(request.clone()).await.ok())
        })
        .await?;
        Ok(())
    }

    /// The command line, as a person uses it.
    fn fetch(&self, request: &str, out: &Path) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command
            .args([
                "-o",
                "json",
                "account",
                "export",
                ACCOUNT,
                "--plain",
                "--language",
                "zh",
            ])
            .args([
                "--endpoint",
                &self.site.callers,
                "--request-id",
                request,
                "--out",
            ])
            .arg(out);
        Process::start_apart(&mut command, &self.log("told"), &self.log("fetch"))
    }

    fn words(&self) -> String {
        let logs = ["fetch", "cloud", "store"].map(|name| fs::read_to_string(self.log(name)));
        logs.into_iter().flatten().collect::<String>() + &self.site.words()
    }
}

fn accounts(address: &str) -> Result<AccountServiceClient<Channel>> {
    let channel = endpoint(address, &Security::PlainLoopback)?.connect_lazy();
    Ok(AccountServiceClient::new(channel))
}

async fn get(client: &AccountServiceClient<Channel>, name: &str) -> Result<Export, Status> {
    let request = GetExportRequest {
        name: name.to_owned(),
        account: format!("accounts/{ACCOUNT}"),
    };
    let found = client
        .clone()
        .get_export(request)
        .await?
        .into_inner()
        .export;
    found.ok_or_else(|| Status::internal("no export in the answer"))
}

fn peak_kib(process: &Process) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = line.and_then(|line| line.split_whitespace().next());
    Ok(peak.context("VmHWM")?.parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_taken_along_through_kills_and_absence_and_then_erased() -> Result<()> {
    let (Some(town), Some(python)) = (Town::build().await?, needed("FAREWELL_TEST_PYTHON")) else {
        return Ok(());
    };
    let told = story(&town, &python).await;
    told.with_context(|| town.words())
}

async fn story(town: &Town, python: &str) -> Result<()> {
    town.fill().await?;
    let mut coordinator = town.site.start().await?;
    let mut cloud = town.service("service", "cloud")?;
    let _community = town.service("service", "community")?;
    let _phones = town.service("agent", "phones")?;
    town.bind_a_phone().await?;
    let client = town.accounts()?;

    // The store is away: everybody else gives what they have, and it is waited for.
    let (request, out) = (fresh(), town.folder.path().join("mine.zip"));
    let name = format!("exports/{request}");
    wait::until("the cloud to be there", async || {
        let found = get(&client, "exports/01900000-0000-7000-8000-000000000001").await;
        Ok(matches!(found, Err(status) if status.code() == Code::NotFound).then_some(()))
    })
    .await?;
    let mut fetching = town.fetch(&request, &out)?;
    let spooled = |export: &Export| -> i64 { export.sources.iter().map(|it| it.size_bytes).sum() };
    let large = i64::try_from(PHOTOS * PHOTO_BYTES)?;
    for part in [large / 8, large / 2] {
        wait::until("a part of the album", async || {
            Ok(get(&client, &name)
                .await
                .ok()
                .filter(|it| spooled(it) > part))
        })
        .await?;
        cloud.kill()?;
        cloud = town.service("service", "cloud")?;
    }
    coordinator.kill()?;
    coordinator = town.site.start().await?;
    let waiting = wait::until("everybody but the store", async || {
        let found = get(&client, &name).await.ok();
        let done = |it: &Export| it.sources.iter().filter(|source| source.done).count() == 3;
        let away = |it: &Export| it.sources.iter().any(|source| source.away);
        Ok(found.filter(|it| done(it) && away(it)))
    })
    .await?;
    let store = waiting.sources.iter().find(|it| it.participant == "store");
    ensure!(store.is_some_and(|it| it.away && !it.done), "{waiting:?}");
    ensure!(fetching.is_running() && !out.exists());

    // A deletion waits for it.
    let caller = town.site.caller()?;
    let request = CheckEligibilityRequest {
        account: format!("accounts/{ACCOUNT}"),
    };
    let checked = caller
        .api
        .clone()
        .check_eligibility(request)
        .await?
        .into_inner();
    let named = checked
        .blockers
        .iter()
        .any(|it| it.code == "EXPORT_RUNNING");
    ensure!(named && !checked.eligible, "{checked:?}");
    ensure!(get(&client, &name).await?.state() == ExportState::Running);

    let store = town.service("service", "store")?;
    wait::until_within(LARGE, "the archive", async || {
        Ok((!fetching.is_running()).then_some(()))
    })
    .await?;
    ensure!(out.exists(), "nothing was fetched");
    let peak = peak_kib(&cloud)?;
    ensure!(peak < MEMORY_KIB_MAX, "the cloud took {peak} KiB");
    let read = Command::new(python)
        .args(["-c", READER])
        .arg(&out)
        .output()?;
    let said = String::from_utf8_lossy(&read.stdout).trim().to_owned();
    ensure!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let expected = format!("{PHOTOS} {large} 5 4 ");
    ensure!(said.starts_with(&expected), "{said}");
    ensure!(said.ends_with(" SN-0001 2030-03-17T17:46:40Z"), "{said}");

    // A part that was fetched before is used again.
    let again = town.folder.path().join("again.zip");
    let whole = fs::read(&out)?;
    let id = name.trim_start_matches("exports/");
    let half = whole.len() / 2;
    fs::write(
        again.with_file_name(format!("again.zip.{id}.part")),
        &whole[..half],
    )?;
    let mut fetching = town.fetch(id, &again)?;
    wait::until_within(LARGE, "the rest", async || {
        Ok((!fetching.is_running()).then_some(()))
    })
    .await?;
    ensure!(fs::read(&again)? == whole);
    let told = fs::read_to_string(town.log("fetch"))?;
    ensure!(
        told.contains(&format!("{half} of {} bytes are here", whole.len())),
        "{told}"
    );

    // With the account goes the archive.
    let deletion = caller.delete(ACCOUNT).await?;
    let gone = wait::until("the archive to go", async || {
        let found = get(&client, &name).await;
        Ok(matches!(found, Err(status) if status.code() == Code::NotFound).then_some(()))
    });
    let gone = gone.await;
    gone.with_context(|| format!("{deletion}: {}", town.words()))?;
    let left = fs::read_dir(town.folder.path().join("files/exports"))?.count();
    ensure!(left == 0, "{left} folders of archives are left");
    let found = caller
        .get(&deletion)
        .await
        .map_err(|status| anyhow::anyhow!("{status:?}"))?;
    ensure!(found.state() != State::Denied, "{found:?}");
    drop((store, cloud, coordinator));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_the_custodian_gets_what_others_hold() -> Result<()> {
    let coordinator =
        Coordinator::start(policy::straight(&[&["cloud", "store"]]), "memory:").await?;
    let honest = Honest::join(&coordinator.participants, "store").await?;
    let question = |id, participant: &str| ExportPartQuestion {
        id,
        export: format!("exports/{}", fresh()),
        account: format!("accounts/{ACCOUNT}"),
        participant: participant.to_owned(),
        after: String::new(),
    };
    let ask = async |name: &str, asked: ExportPartQuestion| -> Result<Answer> {
        let mut stream = Scripted::join(&coordinator.participants, name, 1).await?;
        stream.say(Up::ExportPart(asked)).await;
        loop {
            match stream.hear().await? {
                Some(Down::ExportPart(answer)) => return answer.answer.context("an answer"),
                Some(_) => {}
                None => anyhow::bail!("the stream ended"),
            }
        }
    };
    let part = wait::until("the store's part", async || {
        Ok(match ask("cloud", question(1, "store")).await? {
            Answer::Part(part) => Some(part),
            Answer::Refused(_) => None,
        })
    })
    .await?;
    ensure!(part.next.is_empty());
    let stolen = ask("store", question(2, "cloud")).await?;
    ensure!(
        matches!(&stolen, Answer::Refused(word) if word == "NOT_CUSTODIAN"),
        "{stolen:?}"
    );
    for bad in [
        question(3, "nobody-of-any-policy"),
        question(4, "not a name"),
        ExportPartQuestion {
            account: "a-4711".to_owned(),
            ..question(5, "store")
        },
        ExportPartQuestion {
            after: "x".repeat(5_000),
            ..question(6, "store")
        },
    ] {
        let answer = ask("cloud", bad).await?;
        ensure!(
            matches!(&answer, Answer::Refused(word) if word == "QUESTION_MALFORMED"),
            "{answer:?}"
        );
    }
    drop(honest);
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_named_and_a_custodian_that_is_away_is_waited_for_by_the_caller() -> Result<()>
{
    let coordinator = Coordinator::start(policy::straight(&[&["cloud"]]), "memory:").await?;
    let mut client = accounts(&coordinator.callers)?;
    let account = format!("accounts/{ACCOUNT}");
    let name = format!("exports/{}", fresh());
    for (request_id, account, field) in [
        ("", account.as_str(), "request_id"),
        ("not-a-uuid", &account, "request_id"),
        (
            "00000000-0000-0000-0000-000000000000",
            &account,
            "request_id",
        ),
        (&fresh(), "", "account"),
        (&fresh(), "accounts/", "account"),
        (&fresh(), "accounts/a/b", "account"),
        (&fresh(), ACCOUNT, "account"),
    ] {
        let request = StartExportRequest {
            request_id: request_id.to_owned(),
            account: account.to_owned(),
            ..StartExportRequest::default()
        };
        let answer = client.start_export(request).await;
        let refusal = refused("start", answer, Code::InvalidArgument, "INVALID_FIELD");
        ensure!(refusal.fields == [field], "{refusal:?}");
    }
    for (name, account, field) in [
        ("", account.as_str(), "name"),
        ("exports/", &account, "name"),
        ("exports/x", &account, "name"),
        (
            "deletions/01900000-0000-7000-8000-000000000001",
            &account,
            "name",
        ),
        (&name, "", "account"),
        (&name, "accounts/\u{4f60}", "account"),
    ] {
        let (name, account) = (name.to_owned(), account.to_owned());
        let get = GetExportRequest {
            name: name.clone(),
            account: account.clone(),
        };
        let cancel = CancelExportRequest {
            name: name.clone(),
            account: account.clone(),
        };
        let download = DownloadExportRequest {
            name,
            account,
            offset: 0,
            case: String::new(),
        };
        for refusal in [
            refused(
                "get",
                client.get_export(get).await,
                Code::InvalidArgument,
                "INVALID_FIELD",
            ),
            refused(
                "cancel",
                client.cancel_export(cancel).await,
                Code::InvalidArgument,
                "INVALID_FIELD",
            ),
            refused(
                "download",
                client.download_export(download).await.map(drop),
                Code::InvalidArgument,
                "INVALID_FIELD",
            ),
        ] {
            ensure!(refusal.fields == [field], "{refusal:?}");
        }
    }
    for case in ["x", "cases/", "cases/00000000-0000-0000-0000-000000000000"] {
        let request = StartExportRequest {
            request_id: fresh(),
            account: account.clone(),
            case: case.to_owned(),
        };
        let answer = client.start_export(request).await;
        let refusal = refused("start", answer, Code::InvalidArgument, "INVALID_FIELD");
        ensure!(refusal.fields == ["case"], "{refusal:?}");
        let request = DownloadExportRequest {
            name: name.clone(),
            account: account.clone(),
            offset: 0,
            case: case.to_owned(),
        };
        let answer = client.download_export(request).await.map(drop);
        let refusal = refused("download", answer, Code::InvalidArgument, "INVALID_FIELD");
        ensure!(refusal.fields == ["case"], "{refusal:?}");
    }
    let before = DownloadExportRequest {
        name: name.clone(),
        account: account.clone(),
        offset: -1,
        case: String::new(),
    };
    let answer = client.download_export(before).await.map(drop);
    let refusal = refused("download", answer, Code::InvalidArgument, "INVALID_FIELD");
    ensure!(refusal.fields == ["offset"]);
    let request = StartExportRequest {
        request_id: fresh(),
        account,
        ..StartExportRequest::default()
    };
    let answer = client.start_export(request).await;
    let refusal = refused("start", answer, Code::Unavailable, "CUSTODIAN_UNREACHABLE");
    ensure!(
        refusal
            .retry_after
            .is_some_and(|after| after >= Duration::from_secs(1))
    );
    coordinator.stop().await
}
