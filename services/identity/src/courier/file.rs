//! A file in place of a gateway, for development: one line of JSON for each letter.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use farewell_kit::Fault;

use super::{Courier, Letter, json};

/// Only the owner reads and writes.
const MODE: u32 = 0o600;

#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
}

impl File {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

#[async_trait]
impl Courier for File {
    async fn carry(&self, letter: &Letter) -> Result<(), Fault> {
        let (path, line) = (self.path.clone(), format!("{}\n", json(letter)));
        let written = tokio::task::spawn_blocking(move || append(&path, &line))
            .await
            .map_err(io::Error::other);
        written
            .flatten()
            .map_err(|error| Fault::new("the file of codes", error))
    }
}

/// One write for a line, so that two processes don't mix theirs.
fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)?;
    // The mode above is for a new file; an old one may be open to others.
    file.set_permissions(std::fs::Permissions::from_mode(MODE))?;
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::courier::{Content, Way};
    use crate::language::Language;

    #[tokio::test]
    async fn a_line_for_each_letter_that_only_the_owner_reads() {
        let path = std::env::temp_dir().join(format!("farewell-codes-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut letter = Letter {
            id: "l1".to_owned(),
            to: "li@example.com".to_owned(),
            way: Way::Email,
            deletion: "deletions/d1".to_owned(),
            content: Content::Code {
                code: "012345".to_owned(),
                valid: Duration::from_secs(600),
                language: Language::English,
            },
        };
        File::new(path.clone()).carry(&letter).await.unwrap();
        letter.content = Content::Code {
            code: "678901".to_owned(),
            valid: Duration::from_secs(600),
            language: Language::English,
        };
        File::new(path.clone()).carry(&letter).await.unwrap();

        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            lines[0],
            serde_json::json!({"id": "l1", "to": "li@example.com", "channel": "email", "code": "012345", "language": "en", "deletion": "deletions/d1"})
        );
        assert_eq!(lines[1]["code"], "678901");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, MODE);
    }
}
