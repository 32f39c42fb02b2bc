use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{Cursor, Read as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use farewell_kit::async_trait;
use farewell_kit::export::{Part, Piece};
use farewell_kit::session::{Ask, NoPart};
use farewell_kit::{
    Custodian as _, Export, ExportState, NotExported, Order, Outcome, Participant as _, StartExport,
};
use farewell_runtime::shutdown::Shutdown;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::collector::Sources;
use super::*;
use crate::{Cloud, add_photo, left_over, sample, scratch};

mod sealing;

const ACCOUNT: &str = "a-4711";

/// The cloud itself and others who say what they are told to; whoever has nothing left to say is away.
struct Town {
    cloud: Cloud,
    others: Mutex<HashMap<String, VecDeque<Part>>>,
    /// Parts until the process hangs, as if it were killed there.
    patience: Mutex<Option<usize>>,
}

#[async_trait]
impl Sources for Town {
    async fn part(&self, ask: Ask<'_>) -> Result<Part, NoPart> {
        let hangs = {
            let mut patience = self.patience.lock().unwrap();
            if let Some(left) = patience.as_mut() {
                *left = left.saturating_sub(1);
            }
            *patience == Some(0)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        if ask.participant == "cloud" {
            return Ok(self
                .cloud
                .export_part(ask.account, ask.after)
                .await
                .unwrap());
        }
        let mut others = self.others.lock().unwrap();
        let said = others
            .get_mut(ask.participant)
            .and_then(VecDeque::pop_front);
        said.ok_or(NoPart("PARTICIPANT_AWAY".to_owned()))
    }
}

struct Bed {
    store: Store,
    files: PathBuf,
    cloud: Cloud,
    town: Arc<Town>,
}

impl Bed {
    async fn on_each(name: &str, terms: Terms) -> Vec<Self> {
        let mut all = Vec::new();
        for store in scratch::stores(name).await {
            let files = std::env::temp_dir().join(format!("farewell-{name}-{}", Uuid::new_v4()));
            sample(&store, &files, ACCOUNT).await.unwrap();
            all.push(Self::over(store, files, terms.clone()));
        }
        all
    }

    fn over(store: Store, files: PathBuf, terms: Terms) -> Self {
        Self::under(store, files, scratch::vault(&[1]), terms)
    }

    fn under(store: Store, files: PathBuf, vault: Vault, terms: Terms) -> Self {
        let cloud = Cloud::with(store.clone(), files.clone(), vault, terms);
        let town = Town {
            cloud: cloud.clone(),
            others: Mutex::default(),
            patience: Mutex::default(),
        };
        Self {
            store,
            files,
            cloud,
            town: Arc::new(town),
        }
    }

    /// As after a kill: what was only in memory is gone, and the lease of the dead process over.
    async fn restarted(self, terms: Terms) -> Self {
        sqlx::query("UPDATE archive SET held_until = 0")
            .execute(self.store.pool())
            .await
            .unwrap();
        Self::over(self.store, self.files, terms)
    }

    fn run(&self) -> (JoinHandle<()>, Shutdown) {
        let shutdown = Shutdown::new();
        let exports = Arc::clone(self.cloud.exports());
        let run = run(
            exports,
            Arc::clone(&self.town) as Arc<dyn Sources>,
            shutdown.clone(),
        );
        (tokio::spawn(run), shutdown)
    }

    fn say(&self, participant: &str, parts: impl IntoIterator<Item = Part>) {
        let mut others = self.town.others.lock().unwrap();
        others
            .entry(participant.to_owned())
            .or_default()
            .extend(parts);
    }

    async fn start(&self, export: &str, with: &[&str]) -> Result<Export, NotExported> {
        self.cloud
            .exports()
            .start(&wish(ACCOUNT, export, with))
            .await
            .unwrap()
    }

    async fn get(&self, export: &str) -> Export {
        let found = self.cloud.exports().get(ACCOUNT, export).await.unwrap();
        found.unwrap()
    }

    async fn until(&self, export: &str, state: ExportState) -> Export {
        for _ in 0..2_000 {
            let found = self.get(export).await;
            if found.state == state {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never {state:?}: {:?}", self.get(export).await);
    }

    /// The archive as it is downloaded.
    async fn download(&self, export: &str) -> Vec<u8> {
        let mut archive = Vec::new();
        loop {
            let offset = u64::try_from(archive.len()).unwrap();
            let read = self.cloud.exports().read(ACCOUNT, export, offset).await;
            let read = read.unwrap().unwrap();
            archive.extend(&read.content);
            if u64::try_from(archive.len()).unwrap() == read.size_bytes {
                assert_eq!(read.sha256, Sha256::digest(&archive).to_vec());
                return archive;
            }
        }
    }

    fn nothing_on_disk(&self) -> bool {
        let folder = self.files.join("exports");
        std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
    }

    async fn until_nothing_on_disk(&self) {
        for _ in 0..1_000 {
            if self.nothing_on_disk() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("something is left on disk");
    }
}

fn wish(account: &str, export: &str, with: &[&str]) -> StartExport {
    StartExport {
        account: account.to_owned(),
        export: export.to_owned(),
        participants: with.iter().map(|&name| name.to_owned()).collect(),
        language: "zh".to_owned(),
        though_frozen: false,
    }
}

fn fresh() -> String {
    format!("exports/{}", Uuid::now_v7())
}

fn part(path: &str, content: &str, next: &str) -> Part {
    Part {
        pieces: vec![Piece {
            path: path.to_owned(),
            content: content.as_bytes().to_vec(),
        }],
        items: 1,
        next: next.to_owned(),
        ..Part::default()
    }
}

fn unpacked(archive: Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut files = BTreeMap::new();
    for place in 0..zip.len() {
        let mut file = zip.by_index(place).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        let fresh = files.insert(file.name().unwrap().into_owned(), content);
        assert!(fresh.is_none(), "a name twice");
    }
    files
}

fn order(command: &str) -> Order {
    Order {
        horizon: None,
        retention: Vec::new(),
        ended_by: None,
        command: format!("deletions/d1/commands/{command}"),
        account: ACCOUNT.to_owned(),
        deadline: None,
        devices: Vec::new(),
        traceparent: String::new(),
    }
}

async fn stopped((running, shutdown): (JoinHandle<()>, Shutdown)) {
    shutdown.trigger();
    running.await.unwrap();
}

#[tokio::test]
async fn an_archive_holds_everything_and_its_manifest_says_so() {
    for bed in Bed::on_each("export_whole", Terms::default()).await {
        bed.say(
            "store",
            [
                part("orders.csv", "one,", "x"),
                part("orders.csv", "two", ""),
            ],
        );
        let running = bed.run();
        let name = fresh();
        let begun = bed.start(&name, &["cloud", "store"]).await.unwrap();
        assert_eq!(
            (begun.state, begun.sources.len()),
            (ExportState::Running, 2)
        );
        let ready = bed.until(&name, ExportState::Ready).await;
        assert!(
            ready
                .sources
                .iter()
                .all(|source| source.done && !source.away)
        );
        assert_eq!(ready.sources[1].items, 2);

        let files = unpacked(bed.download(&name).await);
        assert_eq!(files["store/orders.csv"], b"one,two");
        let photos = files.keys().filter(|name| name.ends_with(".jpg"));
        assert_eq!(photos.clone().count(), 12);
        assert!(photos.clone().all(|name| name.starts_with("cloud/albums/")));
        let cards = String::from_utf8(files["cloud/contacts.vcf"].clone()).unwrap();
        assert_eq!(cards.matches("END:VCARD\r\n").count(), 5);
        let notes = files
            .iter()
            .filter(|(name, _)| name.starts_with("cloud/notes/"));
        assert!(
            notes
                .clone()
                .any(|(_, text)| text.starts_with(b"Door code"))
        );
        let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        let listed = manifest["files"].as_array().unwrap();
        assert_eq!(listed.len(), files.len() - 2);
        for file in listed {
            let content = &files[file["path"].as_str().unwrap()];
            assert_eq!(file["size_bytes"], content.len());
            let digest = Sha256::digest(content);
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(file["sha256"], digest);
        }
        let index = String::from_utf8(files["index.html"].clone()).unwrap();
        assert!(index.contains("\u{5546}\u{57ce}") && index.contains("href=\"store/orders.csv\""));
        stopped(running).await;
    }
}

#[tokio::test]
async fn the_same_name_is_the_same_export_and_one_runs_at_a_time() {
    for bed in Bed::on_each("export_same", Terms::default()).await {
        let (name, other) = (fresh(), fresh());
        let first = bed.start(&name, &["cloud"]).await.unwrap();
        assert_eq!(bed.start(&name, &["cloud"]).await.unwrap(), first);
        let second = bed.start(&other, &["cloud"]).await;
        assert_eq!(second, Err(NotExported::Running(name.clone())));
        let exports = bed.cloud.exports();
        let theirs = exports
            .start(&wish("another", &name, &["cloud"]))
            .await
            .unwrap();
        assert_eq!(theirs, Err(NotExported::Reused));
        for found in [
            exports.get("another", &name).await.unwrap(),
            exports.get(ACCOUNT, "exports/../x").await.unwrap(),
            exports.get(ACCOUNT, &other).await.unwrap(),
            exports.cancel("another", &name).await.unwrap(),
        ] {
            assert_eq!(found, Err(NotExported::NotFound));
        }
        let early = exports.read(ACCOUNT, &name, 0).await.unwrap();
        assert!(matches!(early, Err(NotExported::NotReady)));

        bed.cloud.seal(&order("1-seal-cloud")).await.unwrap();
        let again = bed.start(&name, &["cloud"]).await.unwrap();
        assert_eq!(again, first, "a repeat is answered, sealed or not");
        let running = bed.run();
        bed.until(&name, ExportState::Ready).await;
        let sealed = bed.start(&other, &["cloud"]).await;
        assert_eq!(
            sealed,
            Err(NotExported::Sealed),
            "one that ran ends, no other begins"
        );
        let beyond = exports.read(ACCOUNT, &name, 1 << 40).await.unwrap();
        assert!(matches!(beyond, Err(NotExported::OutOfRange)));
        stopped(running).await;
    }
}

#[tokio::test]
async fn a_process_killed_anywhere_leads_to_the_same_archive() {
    let terms = Terms::default();
    for mut bed in Bed::on_each("export_killed", terms.clone()).await {
        let picture = vec![7; 700 * 1024];
        add_photo(&bed.store, &bed.files, ACCOUNT, "Large", picture)
            .await
            .unwrap();
        let name = fresh();
        bed.start(&name, &["cloud"]).await.unwrap();
        for _ in 0..8 {
            *bed.town.patience.lock().unwrap() = Some(2);
            let (running, _shutdown) = bed.run();
            tokio::time::sleep(Duration::from_millis(300)).await;
            running.abort();
            let _ = running.await;
            // What a part left that was never committed.
            let spool = bed.files.join("exports").join(seal::mark(ACCOUNT));
            let spool = spool
                .join(name.trim_start_matches("exports/"))
                .join("spool");
            if let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(spool) {
                std::io::Write::write_all(&mut file, &[0xAA; 4_096]).unwrap();
            }
            bed = bed.restarted(terms.clone()).await;
        }
        let running = bed.run();
        bed.until(&name, ExportState::Ready).await;
        let files = unpacked(bed.download(&name).await);
        let large = files
            .iter()
            .find(|(name, _)| name.starts_with("cloud/albums/Large/"));
        assert_eq!(large.unwrap().1.len(), 700 * 1024);
        assert!(large.unwrap().1.iter().all(|byte| *byte == 7));
        assert_eq!(
            files.keys().filter(|name| name.ends_with(".jpg")).count(),
            13
        );
        stopped(running).await;
    }
}

#[tokio::test]
async fn who_is_away_is_waited_for_and_a_deletion_waits_no_longer_than_that() {
    const LONG: Duration = Duration::from_secs(3_600);
    let terms = Terms {
        at_a_time: 1,
        time_max: LONG,
        ..Terms::default()
    };
    for bed in Bed::on_each("export_away", terms.clone()).await {
        let running = bed.run();
        let (slow, hopeless) = (fresh(), fresh());
        bed.start(&slow, &["cloud", "store"]).await.unwrap();
        let blockers = farewell_kit::Holder::blockers(&bed.cloud, ACCOUNT)
            .await
            .unwrap();
        assert_eq!(blockers[0].code, "EXPORT_RUNNING");
        assert!(blockers[0].until.unwrap() <= SystemTime::now() + LONG);
        // One that waits keeps no place from the others.
        let exports = bed.cloud.exports();
        let theirs = fresh();
        let started = exports
            .start(&wish("another", &theirs, &["cloud"]))
            .await
            .unwrap();
        started.unwrap();
        for _ in 0..2_000 {
            let found = exports.get("another", &theirs).await.unwrap().unwrap();
            if found.state == ExportState::Ready {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let found = exports.get("another", &theirs).await.unwrap().unwrap();
        assert_eq!(found.state, ExportState::Ready);
        let waits = bed.get(&slow).await;
        assert!(waits.sources[1].away && !waits.sources[1].done && waits.sources[0].done);
        bed.say("store", [part("orders.csv", "one", "")]);
        bed.until(&slow, ExportState::Ready).await;
        assert!(
            farewell_kit::Holder::blockers(&bed.cloud, ACCOUNT)
                .await
                .unwrap()
                .is_empty()
        );

        bed.start(&hopeless, &["cloud", "store"]).await.unwrap();
        // As if so long had gone by.
        sqlx::query("UPDATE archive SET expires_at = expires_at - $1 WHERE state = 'RUNNING'")
            .bind(i64::try_from(LONG.as_micros()).unwrap())
            .execute(bed.store.pool())
            .await
            .unwrap();
        let failed = bed.until(&hopeless, ExportState::Failed).await;
        assert_eq!(
            (failed.reason.as_str(), failed.expires),
            ("TIMED_OUT", None)
        );
        assert!(
            farewell_kit::Holder::blockers(&bed.cloud, ACCOUNT)
                .await
                .unwrap()
                .is_empty()
        );
        let archives = bed.files.join("exports").join(seal::mark(ACCOUNT));
        for _ in 0..2_000 {
            if std::fs::read_dir(&archives).unwrap().count() == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(
            std::fs::read_dir(&archives).unwrap().count(),
            1,
            "what was collected is gone"
        );
        stopped(running).await;
    }
}

#[tokio::test]
async fn an_archive_is_erased_when_it_expires_is_cancelled_or_has_a_newer_one_after_it() {
    let terms = Terms {
        keep: Duration::from_secs(4),
        ..Terms::default()
    };
    for bed in Bed::on_each("export_over", terms.clone()).await {
        let running = bed.run();
        let (first, second, third) = (fresh(), fresh(), fresh());
        bed.start(&first, &["cloud"]).await.unwrap();
        bed.until(&first, ExportState::Ready).await;
        bed.start(&second, &["cloud"]).await.unwrap();
        bed.until(&second, ExportState::Ready).await;
        assert_eq!(bed.get(&first).await.state, ExportState::Expired);
        let cancelled = bed
            .cloud
            .exports()
            .cancel(ACCOUNT, &second)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(cancelled.state, ExportState::Cancelled);
        let again = bed
            .cloud
            .exports()
            .cancel(ACCOUNT, &second)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(again, cancelled);
        bed.until_nothing_on_disk().await;
        let read = bed.cloud.exports().read(ACCOUNT, &second, 0).await.unwrap();
        assert!(matches!(read, Err(NotExported::NotReady)));

        bed.start(&third, &["cloud"]).await.unwrap();
        bed.until(&third, ExportState::Ready).await;
        assert!(!bed.nothing_on_disk());
        bed.until(&third, ExportState::Expired).await;
        bed.until_nothing_on_disk().await;
        stopped(running).await;
    }
}

#[tokio::test]
async fn with_the_account_goes_every_archive_ready_or_not() {
    for bed in Bed::on_each("export_erased", Terms::default()).await {
        let running = bed.run();
        let (ready, hanging) = (fresh(), fresh());
        bed.start(&ready, &["cloud"]).await.unwrap();
        bed.until(&ready, ExportState::Ready).await;
        let before = bed.cloud.inventory(ACCOUNT).await.unwrap();
        let archives = before
            .categories
            .iter()
            .find(|it| it.category == "archives");
        assert!(archives.is_some_and(|it| it.count == 1 && it.size_bytes > 12 * 2_048));
        bed.start(&hanging, &["cloud", "store"]).await.unwrap();
        let answer = bed.cloud.act(&order("1-erase-cloud")).await.unwrap();
        let farewell_kit::Answer::Done(done) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(done.counts["archives"], 2);
        // Also what comes for it now.
        bed.say("store", [part("orders.csv", "one", "")]);
        tokio::time::sleep(Duration::from_secs(3)).await;
        bed.until_nothing_on_disk().await;
        let left = left_over(&bed.store, &bed.files, ACCOUNT).await.unwrap();
        assert!(left.categories.is_empty(), "{left:?}");
        for name in [&ready, &hanging] {
            let found = bed.cloud.exports().get(ACCOUNT, name).await.unwrap();
            assert_eq!(found, Err(NotExported::NotFound));
        }
        let after = bed.start(&fresh(), &["cloud"]).await;
        assert_eq!(after, Err(NotExported::Sealed), "as while it was sealed");
        stopped(running).await;

        // A backup of the disk brought one back.
        let stray = bed.files.join("exports").join(seal::mark(ACCOUNT));
        std::fs::create_dir_all(stray.join("old")).unwrap();
        std::fs::write(stray.join("old/archive.zip"), b"PK").unwrap();
        let probe = bed.cloud.probe(&order("1-probe-cloud")).await.unwrap();
        let farewell_kit::Answer::Done(found) = probe else {
            panic!("{probe:?}");
        };
        assert_eq!(
            (found.outcome, found.counts["archives"]),
            (Outcome::Residue, 1)
        );
        bed.cloud.act(&order("2-erase-cloud")).await.unwrap();
        assert!(bed.nothing_on_disk());
    }
}

#[tokio::test]
async fn what_is_too_large_fails_and_leaves_nothing() {
    let terms = Terms {
        size_bytes_max: 20_000,
        ..Terms::default()
    };
    for bed in Bed::on_each("export_large", terms.clone()).await {
        let running = bed.run();
        let name = fresh();
        bed.start(&name, &["cloud"]).await.unwrap();
        let failed = bed.until(&name, ExportState::Failed).await;
        assert_eq!(failed.reason, "TOO_LARGE");
        bed.until_nothing_on_disk().await;
        stopped(running).await;
    }
}

#[tokio::test]
async fn one_process_at_a_time_works_on_an_export() {
    for bed in Bed::on_each("export_claims", Terms::default()).await {
        bed.start(&fresh(), &["cloud"]).await.unwrap();
        let other = Bed::over(bed.store.clone(), bed.files.clone(), Terms::default());
        let now = SystemTime::now();
        let claim = bed.cloud.exports().claim(now).await.unwrap().unwrap();
        assert!(other.cloud.exports().claim(now).await.unwrap().is_none());
        let later = now + Terms::default().lease * 2;
        let taken = other.cloud.exports().claim(later).await.unwrap().unwrap();
        assert_eq!(taken.id, claim.id);
        let source = bed.cloud.exports().sources(&claim).await.unwrap().remove(0);
        let late = bed
            .cloud
            .exports()
            .keep(&claim, &source, part("a", "b", ""))
            .await;
        assert_eq!(late.unwrap(), queue::Step::Lost);
    }
}

/// Says nothing for a while, and counts how often it was asked.
struct Slow {
    town: Arc<Town>,
    silence: Duration,
    asked: AtomicUsize,
}

#[async_trait]
impl Sources for Slow {
    async fn part(&self, ask: Ask<'_>) -> Result<Part, NoPart> {
        if ask.participant == "store" {
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.silence).await;
        }
        self.town.part(ask).await
    }
}

#[tokio::test]
async fn who_says_nothing_for_long_brings_no_second_turn_upon_an_export() {
    let terms = Terms {
        lease: Duration::from_secs(6),
        ..Terms::default()
    };
    for bed in Bed::on_each("export_silent", terms.clone()).await {
        let other = Bed::over(bed.store.clone(), bed.files.clone(), terms.clone());
        bed.say("store", [part("orders.csv", "one", "")]);
        let slow = Arc::new(Slow {
            town: Arc::clone(&bed.town),
            silence: terms.lease + Duration::from_secs(2),
            asked: AtomicUsize::new(0),
        });
        let shutdown = Shutdown::new();
        let running: Vec<_> = [&bed, &other]
            .map(|it| {
                let sources = Arc::clone(&slow) as Arc<dyn Sources>;
                tokio::spawn(run(
                    Arc::clone(it.cloud.exports()),
                    sources,
                    shutdown.clone(),
                ))
            })
            .into();
        let name = fresh();
        bed.start(&name, &["cloud", "store"]).await.unwrap();
        bed.until(&name, ExportState::Ready).await;
        assert_eq!(slow.asked.load(Ordering::Relaxed), 1);
        assert_eq!(
            unpacked(bed.download(&name).await)["store/orders.csv"],
            b"one"
        );
        shutdown.trigger();
        for process in running {
            process.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_turn_that_lost_its_export_changes_nothing_also_in_the_same_process() {
    for bed in Bed::on_each("export_fence", Terms::default()).await {
        let exports = bed.cloud.exports();
        let name = fresh();
        bed.start(&name, &["cloud", "store"]).await.unwrap();
        let now = SystemTime::now();
        let first = exports.claim(now).await.unwrap().unwrap();
        // It slept through its lease.
        let second = exports.claim(now + Terms::default().lease * 2).await;
        let second = second.unwrap().unwrap();
        assert_eq!(second.id, first.id);
        for source in exports.sources(&first).await.unwrap() {
            let late = exports.keep(&first, &source, part("a", "wrong", "")).await;
            assert_eq!(late.unwrap(), queue::Step::Lost);
            exports.away(&first, &source).await.unwrap();
            let own = exports.keep(&second, &source, part("a", "right", "")).await;
            assert_eq!(own.unwrap(), queue::Step::Taken);
        }
        assert!(bed.get(&name).await.sources.iter().all(|it| !it.away));
        assert!(!exports.renew(&first).await.unwrap());
        exports.put_off(&first, now).await.unwrap();
        exports.give_back(&first).await.unwrap();
        assert!(
            exports.claim(now).await.unwrap().is_none(),
            "it is the second's"
        );
        assert_eq!(archive::pack(exports, &first).await.unwrap(), None);
        let packed = archive::pack(exports, &second).await.unwrap();
        assert!(packed.is_some());
        // It was packing all the while, and is done after the other.
        assert_eq!(archive::pack(exports, &first).await.unwrap(), None);
        let files = unpacked(bed.download(&name).await);
        assert_eq!(files["store/a"], b"right");
        let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(manifest["files"].as_array().map(Vec::len), Some(2));
    }
}

#[tokio::test]
async fn one_that_cannot_be_swept_keeps_no_other_from_it() {
    let terms = Terms {
        keep: Duration::from_millis(1),
        ..Terms::default()
    };
    for bed in Bed::on_each("export_unswept", terms.clone()).await {
        let exports = bed.cloud.exports();
        let mut folders = Vec::new();
        for account in ["stuck", ACCOUNT] {
            let name = fresh();
            let wish = wish(account, &name, &["cloud"]);
            exports.start(&wish).await.unwrap().unwrap();
            let claim = exports.claim(SystemTime::now()).await.unwrap().unwrap();
            let source = exports.sources(&claim).await.unwrap().remove(0);
            let step = exports.keep(&claim, &source, part("a", "b", "")).await;
            assert_eq!(step.unwrap(), queue::Step::Taken);
            exports.cancel(account, &name).await.unwrap().unwrap();
            let mark = bed.files.join("exports").join(seal::mark(account));
            folders.push(mark.join(name.trim_start_matches("exports/")));
        }
        // What stands where a folder should is nothing that could be emptied.
        std::fs::remove_dir_all(&folders[0]).unwrap();
        std::fs::write(&folders[0], b"in the way").unwrap();
        let now = SystemTime::now();
        exports.sweep(now).await;
        assert!(!folders[1].exists(), "it came later, and is gone");
        let left = "SELECT COUNT(*) FROM archive WHERE cleared = 0";
        let (left,): (i64,) = sqlx::query_as(left)
            .fetch_one(bed.store.pool())
            .await
            .unwrap();
        assert_eq!(left, 1);
        // Once it is mended, it goes, too.
        std::fs::remove_file(&folders[0]).unwrap();
        exports.sweep(now + Duration::from_secs(61)).await;
        let cleared = "SELECT COUNT(*) FROM archive WHERE cleared = 1";
        let (cleared,): (i64,) = sqlx::query_as(cleared)
            .fetch_one(bed.store.pool())
            .await
            .unwrap();
        assert_eq!(cleared, 2);
    }
}

#[tokio::test]
async fn of_a_frozen_account_nothing_new_is_made_and_it_says_why() {
    for bed in Bed::on_each("export_frozen", Terms::default()).await {
        let standing = |generation, standing| farewell_kit::SetStanding {
            account: ACCOUNT.to_owned(),
            generation,
            standing,
            recent_change: farewell_kit::RECENT_CHANGE_MAX,
        };
        let frozen = standing(1, farewell_kit::Standing::Frozen);
        bed.cloud.set_standing(&frozen).await.unwrap();
        let name = fresh();
        let refused = bed.start(&name, &["cloud"]).await;
        assert_eq!(refused, Err(NotExported::Frozen));
        let exports = bed.cloud.exports();
        let approved = |account, export: &str| StartExport {
            though_frozen: true,
            ..wish(account, export, &["cloud"])
        };
        let given = fresh();
        let begun = exports.start(&approved(ACCOUNT, &given)).await.unwrap();
        assert_eq!(begun.unwrap().state, ExportState::Running);
        let running = bed.run();
        bed.until(&given, ExportState::Ready).await;
        stopped(running).await;
        // Nobody approves one of an account that is being deleted.
        bed.cloud.seal(&order("1-seal-cloud")).await.unwrap();
        let sealed = exports.start(&approved(ACCOUNT, &fresh())).await.unwrap();
        assert_eq!(sealed, Err(NotExported::Sealed));
        bed.cloud.unseal(&order("1-unseal-cloud")).await.unwrap();
        let active = standing(2, farewell_kit::Standing::Active);
        bed.cloud.set_standing(&active).await.unwrap();
        bed.start(&name, &["cloud"]).await.unwrap();
    }
}
