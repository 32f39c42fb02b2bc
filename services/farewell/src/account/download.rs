//! An archive into a file: resumed where it broke off, and named only when it is whole and has the digest that was told.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use farewell_proto::account::v1::{DownloadExportRequest, Export};
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::client::{Accounts, Connection};
use crate::deletion::account_name;

/// How often a download that breaks off is resumed by itself.
const RESUMES_MAX: u32 = 20;
const RESUME_AFTER: Duration = Duration::from_secs(1);

/// Fetches the archive of a ready export. `case`: empty, or what the support desk approved it by.
///
/// Errors: what the coordinator says; a file that can't be written; another digest than was told.
pub async fn to_file(
    connection: &Connection,
    client: &mut Accounts,
    (account, case): (&str, &str),
    export: &Export,
    out: &Path,
) -> anyhow::Result<()> {
    let part = part(out, &export.name);
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&part)
        .with_context(|| format!("cannot write {}", part.display()))?;
    let mut resumes = 0;
    loop {
        let have = i64::try_from(file.metadata()?.len())?;
        if have > 0 {
            eprintln!("{have} of {} bytes are here", export.size_bytes);
        }
        match fetch(connection, client, (account, case), export, have, &mut file).await {
            Ok(()) => break,
            Err(error) if resumes < RESUMES_MAX && passes(&error) => {
                resumes += 1;
                tokio::time::sleep(RESUME_AFTER).await;
            }
            Err(error) => return Err(error),
        }
    }
    file.sync_all()?;
    let digest = digest(&part)?;
    if digest != export.sha256 {
        fs::remove_file(&part)?;
        bail!("the archive has another digest than was told: begin again");
    }
    // A link does not replace what came there meanwhile.
    fs::hard_link(&part, out).with_context(|| format!("cannot write {}", out.display()))?;
    fs::remove_file(&part)?;
    Ok(())
}

async fn fetch(
    connection: &Connection,
    client: &mut Accounts,
    (account, case): (&str, &str),
    export: &Export,
    have: i64,
    file: &mut File,
) -> anyhow::Result<()> {
    let request = DownloadExportRequest {
        name: export.name.clone(),
        account: account_name(account),
        offset: have,
        case: case.to_owned(),
    };
    let mut pieces = client
        .download_export(connection.endless(request))
        .await?
        .into_inner();
    let mut have = have;
    while let Some(piece) = pieces.message().await? {
        ensure!(piece.offset == have, "a piece of another place");
        ensure!(piece.sha256 == export.sha256, "a piece of another archive");
        file.write_all(&piece.content)?;
        have += i64::try_from(piece.content.len())?;
    }
    ensure!(
        have == export.size_bytes,
        tonic::Status::unavailable("the download broke off")
    );
    Ok(())
}

/// Whether waiting helps: a coordinator or the custodian is being restarted.
fn passes(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<tonic::Status>()
        .is_some_and(is_passing)
}

/// The same of a status: a connection that ends in the middle of an answer has no code of its own.
pub(super) fn is_passing(status: &tonic::Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled
    )
}

/// Beside the file, and of this export only: what is in it belongs to no other archive.
fn part(out: &Path, export: &str) -> PathBuf {
    let id = export.rsplit('/').next().unwrap_or_default();
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{id}.part"));
    out.with_file_name(name)
}

fn digest(path: &Path) -> anyhow::Result<Vec<u8>> {
    let (mut file, mut digest) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().to_vec()),
            read => digest.update(&buffer[..read]),
        }
    }
}

/// As digests are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
