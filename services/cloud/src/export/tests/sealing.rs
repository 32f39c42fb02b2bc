//! What lies on disk and in rows of an export, and what happens to who touches it.

use std::path::Path;

use farewell_kit::seal;
use farewell_kit::vault::{CHUNK_BYTES, KEY_BYTES, SEAL_BYTES, Unfit};
use sqlx::AssertSqlSafe;

use super::*;

/// Words that stand nowhere else.
const PATH: &str = "albums/Unmistakable Title/1.jpg";
const CONTENT: &str = "an unmistakable picture, which no packing hides";
const CURSOR: &str = "interests/unmistakable-topic";
const TABLES: [&str; 4] = [
    "archive",
    "archive_source",
    "archive_category",
    "spooled_piece",
];

fn folder(bed: &Bed, account: &str, export: &str) -> PathBuf {
    let mark = bed.files.join("exports").join(seal::mark(account));
    mark.join(export.trim_start_matches("exports/"))
}

/// Everything that is on disk of archives, and in the rows of exports.
async fn kept(bed: &Bed, export: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for file in std::fs::read_dir(folder(bed, ACCOUNT, export)).unwrap() {
        all.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    assert!(!all.is_empty());
    if bed.store.is_shared() {
        for table in TABLES {
            let rows = format!("SELECT CAST({table} AS TEXT) FROM {table}");
            let rows: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(rows))
                .fetch_all(bed.store.pool())
                .await
                .unwrap();
            rows.iter().for_each(|(row,)| all.extend(row.as_bytes()));
        }
    } else {
        all.extend(database(bed).await);
    }
    all
}

/// SQLite's files.
async fn database(bed: &Bed) -> Vec<u8> {
    let (_, _, path): (i64, String, String) = sqlx::query_as("PRAGMA database_list")
        .fetch_one(bed.store.pool())
        .await
        .unwrap();
    let files = ["", "-wal"].map(|suffix| std::fs::read(format!("{path}{suffix}")).unwrap());
    files.concat()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|it| it == text.as_bytes())
}

/// A ready export with a picture that fills some chunks.
async fn ready(bed: &Bed) -> String {
    let mut state = 1_u32;
    let noise = (0..300 * 1024).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let picture = Part {
        pieces: vec![Piece {
            path: "noise.jpg".to_owned(),
            content: noise.collect(),
        }],
        ..part("", "", "")
    };
    bed.say("store", [picture]);
    let (running, name) = (bed.run(), fresh());
    bed.start(&name, &["store"]).await.unwrap();
    bed.until(&name, ExportState::Ready).await;
    stopped(running).await;
    name
}

async fn stored_key(bed: &Bed, export: &str) -> String {
    let (key,): (String,) = sqlx::query_as("SELECT data_key FROM archive WHERE id = $1")
        .bind(export.trim_start_matches("exports/"))
        .fetch_one(bed.store.pool())
        .await
        .unwrap();
    key
}

async fn first_bytes(bed: &Bed, export: &str) -> Result<Vec<u8>, NotExported> {
    let read = bed.cloud.exports().read(ACCOUNT, export, 0).await.unwrap();
    read.map(|read| read.content)
}

#[tokio::test]
async fn nothing_of_an_export_lies_in_plain_while_it_is_collected_or_waits() {
    for bed in Bed::on_each("export_plain", Terms::default()).await {
        bed.say("store", [part(PATH, CONTENT, CURSOR)]);
        let (running, name) = (bed.run(), fresh());
        bed.start(&name, &["store"]).await.unwrap();
        for _ in 0..2_000 {
            let source = bed.get(&name).await.sources.remove(0);
            if source.items == 1 && source.away {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let words = [PATH, "Unmistakable", CONTENT, CURSOR, "unmistakable"];
        let collected = kept(&bed, &name).await;
        for word in words {
            assert!(!holds(&collected, word), "collected: {word}");
        }
        bed.say("store", [part("more.jpg", "more", "")]);
        bed.until(&name, ExportState::Ready).await;
        stopped(running).await;
        let packed = kept(&bed, &name).await;
        for word in words.into_iter().chain(["manifest.json", "index.html"]) {
            assert!(!holds(&packed, word), "packed: {word}");
        }
        // It is there, for its owner, and would have been found.
        let archive = bed.download(&name).await;
        assert!(holds(&archive, PATH) && holds(&archive, CONTENT));
    }
}

#[tokio::test]
async fn a_download_goes_on_from_anywhere_with_the_same_bytes() {
    for bed in Bed::on_each("export_ranges", Terms::default()).await {
        let name = ready(&bed).await;
        let whole = bed.download(&name).await;
        assert!(whole.len() > 4 * CHUNK_BYTES);
        let (chunk, end) = (CHUNK_BYTES, whole.len());
        for offset in [1, chunk - 1, chunk, chunk + 1, 3 * chunk, end - 1, end] {
            let at = u64::try_from(offset).unwrap();
            let read = bed.cloud.exports().read(ACCOUNT, &name, at).await;
            let read = read.unwrap().unwrap();
            assert!(read.content.len() <= farewell_kit::export::PART_BYTES);
            assert_eq!(read.content, whole[offset..offset + read.content.len()]);
            assert_eq!(read.content.is_empty(), offset == end);
        }
    }
}

#[tokio::test]
async fn an_archive_that_was_cut_reordered_or_is_anothers_is_refused_and_says_so() {
    for bed in Bed::on_each("export_damaged", Terms::default()).await {
        let name = ready(&bed).await;
        let path = folder(&bed, ACCOUNT, &name).join("archive.sealed");
        let good = std::fs::read(&path).unwrap();
        let theirs = fresh();
        let exports = bed.cloud.exports();
        let started = exports.start(&wish("another", &theirs, &["cloud"])).await;
        started.unwrap().unwrap();
        let claim = exports.claim(SystemTime::now()).await.unwrap().unwrap();
        let source = exports.sources(&claim).await.unwrap().remove(0);
        let large = part("a.jpg", &"x".repeat(400 * 1024), "");
        exports.keep(&claim, &source, large).await.unwrap();
        archive::pack(exports, &claim).await.unwrap().unwrap();
        let theirs = std::fs::read(folder(&bed, "another", &theirs).join("archive.sealed"));

        let stride = CHUNK_BYTES + SEAL_BYTES;
        let swapped = [
            &good[stride..2 * stride],
            &good[..stride],
            &good[2 * stride..],
        ];
        for (what, damaged) in [
            ("cut", good[..stride / 2].to_vec()),
            ("emptied", Vec::new()),
            ("reordered", swapped.concat()),
            ("another's", theirs.unwrap()),
        ] {
            std::fs::write(&path, damaged).unwrap();
            let read = first_bytes(&bed, &name).await;
            assert_eq!(read.err(), Some(NotExported::Damaged), "{what}");
        }
        std::fs::write(&path, &good).unwrap();
        first_bytes(&bed, &name).await.unwrap();
    }
}

#[tokio::test]
async fn an_older_key_opens_what_lies_under_it_and_one_that_is_missing_says_so() {
    for bed in Bed::on_each("export_keys", Terms::default()).await {
        let name = ready(&bed).await;
        assert!(stored_key(&bed, &name).await.starts_with("1:"));
        let whole = bed.download(&name).await;
        let under = |vault| {
            Bed::under(
                bed.store.clone(),
                bed.files.clone(),
                vault,
                Terms::default(),
            )
        };
        let both = under(scratch::vault(&[1, 2]));
        assert_eq!(both.download(&name).await, whole);
        let only_new = under(scratch::vault(&[2]));
        let read = first_bytes(&only_new, &name).await;
        assert_eq!(read.err(), Some(NotExported::KeyUnknown));
        let other = under(Vault::new([(1, [99; KEY_BYTES])]).unwrap());
        let read = first_bytes(&other, &name).await;
        assert_eq!(read.err(), Some(NotExported::Damaged));
        // And no process starts so.
        let kept = || keys(&bed.store);
        for vault in [scratch::vault(&[1, 2]), scratch::vault(&[1])] {
            vault.settle(kept().await.unwrap()).unwrap();
        }
        let gone = scratch::vault(&[2]).settle(kept().await.unwrap());
        assert_eq!(gone, Err(Unfit::Missing(1)));

        // One that was begun under the old key ends under the new one, and waits for nothing else.
        let begun = fresh();
        bed.start(&begun, &["store"]).await.unwrap();
        assert!(stored_key(&bed, &begun).await.starts_with("1:"));
        assert_eq!(versions(&bed).await, [1], "one of both");
        both.say("store", [part("orders.csv", "one", "")]);
        let running = both.run();
        both.until(&begun, ExportState::Ready).await;
        assert!(stored_key(&bed, &begun).await.starts_with("2:"));
        let files = unpacked(both.download(&begun).await);
        assert_eq!(files["store/orders.csv"], b"one");
        stopped(running).await;
        bed.start(&fresh(), &["store"]).await.unwrap();
        assert_eq!(versions(&bed).await, [1, 2]);
    }
}

/// Of the keys that a process looks at when it starts.
async fn versions(bed: &Bed) -> Vec<u32> {
    let kept = keys(&bed.store).await.unwrap().into_iter();
    let mut versions: Vec<_> = kept.map(|(_, wrapped)| wrapped.version).collect();
    versions.sort_unstable();
    versions
}

#[tokio::test]
async fn no_process_starts_that_could_not_go_on_with_what_is_collected() {
    for bed in Bed::on_each("export_key_running", Terms::default()).await {
        assert_eq!(versions(&bed).await, [0; 0]);
        bed.start(&fresh(), &["store"]).await.unwrap();
        let other = Vault::new([(1, [99; KEY_BYTES])]).unwrap();
        for (vault, expected) in [
            (scratch::vault(&[1]), Ok(())),
            (scratch::vault(&[2]), Err(Unfit::Missing(1))),
            (other, Err(Unfit::Changed(1))),
        ] {
            assert_eq!(vault.settle(keys(&bed.store).await.unwrap()), expected);
        }
    }
}

#[tokio::test]
async fn whatever_ends_an_export_destroys_its_key_before_its_files() {
    let terms = Terms {
        keep: Duration::from_secs(60 * 60),
        ..Terms::default()
    };
    for bed in Bed::on_each("export_key_first", terms).await {
        let exports = bed.cloud.exports();
        let (cancelled, expired) = (ready(&bed).await, fresh());
        let spooled = stored_key(&bed, &cancelled).await;
        exports.cancel(ACCOUNT, &cancelled).await.unwrap().unwrap();
        assert_eq!(stored_key(&bed, &cancelled).await, "");
        let digits = |key: &str| key.split_once(':').unwrap().1.to_owned();
        if !bed.store.is_shared() {
            assert!(!holds(&database(&bed).await, &digits(&spooled)));
        }
        assert!(
            folder(&bed, ACCOUNT, &cancelled)
                .join("archive.sealed")
                .exists()
        );

        bed.start(&expired, &["cloud"]).await.unwrap();
        let claim = exports.claim(SystemTime::now()).await.unwrap().unwrap();
        for source in exports.sources(&claim).await.unwrap() {
            exports
                .keep(&claim, &source, part("a", "b", ""))
                .await
                .unwrap();
        }
        let collected = stored_key(&bed, &expired).await;
        archive::pack(exports, &claim).await.unwrap().unwrap();
        let packed = stored_key(&bed, &expired).await;
        assert!(
            ![&spooled, &collected].contains(&&packed),
            "a key of its own"
        );
        // What stands where a folder should is nothing that could be emptied.
        let path = folder(&bed, ACCOUNT, &expired);
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::write(&path, b"in the way").unwrap();
        exports
            .sweep(SystemTime::now() + Duration::from_secs(2 * 60 * 60))
            .await;
        assert_eq!(bed.get(&expired).await.state, ExportState::Expired);
        assert_eq!(stored_key(&bed, &expired).await, "");
        if !bed.store.is_shared() {
            let files = database(&bed).await;
            for key in [&collected, &packed] {
                assert!(!holds(&files, &digits(key)), "in the database's files");
            }
        }
        assert!(path.exists());
        std::fs::remove_file(&path).unwrap();

        let erased = ready(&bed).await;
        let work = seal::erase(&bed.store, &order("1-erase-cloud"))
            .await
            .unwrap();
        let seal::Begun::Open(mut work) = work else {
            panic!("never answered before");
        };
        destroy_keys(work.tx(), ACCOUNT).await.unwrap();
        work.pause().await.unwrap();
        assert_eq!(stored_key(&bed, &erased).await, "");
        let read = first_bytes(&bed, &erased).await;
        assert_eq!(read.err(), Some(NotExported::NotReady));
    }
}

/// Tables as they were when archives lay in plain.
const EARLIER: &[&str] = &[
    farewell_kit::journal::SCHEMA,
    seal::SCHEMA,
    "CREATE TABLE archive (id TEXT PRIMARY KEY, account TEXT NOT NULL CHECK (account <> ''), \
        language TEXT NOT NULL, \
        state TEXT NOT NULL CHECK (state IN ('RUNNING', 'READY', 'FAILED', 'CANCELLED', 'EXPIRED')), reason TEXT NOT NULL, \
        begun_at BIGINT NOT NULL, due_at BIGINT NOT NULL, attempts BIGINT NOT NULL, ended_at BIGINT NOT NULL, \
        expires_at BIGINT NOT NULL, held_by TEXT NOT NULL, held_until BIGINT NOT NULL, pieces BIGINT NOT NULL, \
        spool_bytes BIGINT NOT NULL, size_bytes BIGINT NOT NULL, sha256 BLOB NOT NULL, \
        cleared BIGINT NOT NULL CHECK (cleared IN (0, 1)), CHECK ((state = 'RUNNING') = (ended_at = 0))); \
     CREATE TABLE archive_piece (archive TEXT NOT NULL, path TEXT NOT NULL); \
     INSERT INTO archive_piece VALUES ('01900000-0000-7000-8000-000000000001', 'albums/Unmistakable Title/1.jpg')",
];

#[tokio::test]
async fn what_an_earlier_version_kept_in_plain_is_over_and_gone() {
    for store in farewell_kit::scratch::stores(crate::NAMESPACE, EARLIER, "export_earlier").await {
        let files = std::env::temp_dir().join(format!("farewell-earlier-{}", Uuid::new_v4()));
        let (ready, running) = (fresh(), fresh());
        let far = i64::MAX / 2;
        for (name, state, ended) in [(&ready, "READY", 1_i64), (&running, "RUNNING", 0)] {
            sqlx::query(
                "INSERT INTO archive VALUES ($1, $2, 'en', $3, '', 1, 1, 0, $4, $5, '', 0, 1, 9, 9, $6, 1)",
            )
            .bind(name.trim_start_matches("exports/"))
            .bind(ACCOUNT)
            .bind(state)
            .bind(ended)
            .bind(far)
            .bind(vec![1_u8; 32])
            .execute(store.pool())
            .await
            .unwrap();
        }
        for statement in [crate::photo::SCHEMA, SCHEMA] {
            sqlx::raw_sql(statement)
                .execute(store.pool())
                .await
                .unwrap();
        }
        for _ in 0..2 {
            prepare(&store).await.unwrap();
        }
        let bed = Bed::over(store, files, Terms::default());
        let plain = folder(&bed, ACCOUNT, &ready);
        std::fs::create_dir_all(&plain).unwrap();
        std::fs::write(plain.join("archive.zip"), b"PK").unwrap();
        assert_eq!(
            first_bytes(&bed, &ready).await.err(),
            Some(NotExported::NotReady)
        );
        let exports = bed.cloud.exports();
        assert!(exports.claim(SystemTime::now()).await.unwrap().is_none());
        exports.sweep(SystemTime::now()).await;
        assert_eq!(bed.get(&ready).await.state, ExportState::Expired);
        assert_eq!(bed.get(&running).await.state, ExportState::Failed);
        assert!(!Path::exists(&plain));
        let gone = sqlx::query("SELECT path FROM archive_piece")
            .fetch_all(bed.store.pool())
            .await;
        assert!(gone.is_err(), "paths were in plain, too");
    }
}
