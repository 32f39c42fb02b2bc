//! `farewell deletion replay`: what was purged is erased again at a service that was restored from a backup, and what stays is brought to
//! where it was.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use farewell_proto::deletion::v1::{ReplayPurgedRequest, ReplayPurgedResponse, ReplayResult};
use serde_json::json;
use tonic::Code;

use crate::client::Connection;
use crate::output::{Output, Rows};

/// How often a replay that breaks off goes on by itself.
const RESUMES_MAX: u32 = 30;
const RESUME_AFTER: Duration = Duration::from_secs(2);
/// Names between two lines that say how far it is.
const TELL_EVERY: u64 = 100;

/// RFC 3339, as people and backups write times.
pub fn moment(text: &str) -> Result<prost_types::Timestamp, String> {
    text.parse()
        .map_err(|_| "must be a time such as 2026-03-01T04:00:00Z".to_owned())
}

/// Follows a replay to its end, through restarts of whoever takes part.
///
/// Errors: what the coordinator says; something is left, or a person must look.
pub async fn run(
    connection: &Connection,
    participant: &str,
    since: prost_types::Timestamp,
    output: Output,
) -> anyhow::Result<()> {
    let mut client = connection.deletions().await?;
    let mut tally = Tally::default();
    let mut resumes = 0;
    loop {
        let request = ReplayPurgedRequest {
            participant: participant.to_owned(),
            since_time: Some(since),
            page_token: tally.page_token.clone(),
        };
        let ended = async {
            let mut told = client
                .replay_purged(connection.endless(request))
                .await?
                .into_inner();
            while let Some(one) = told.message().await? {
                tally.take(one);
            }
            Ok::<_, tonic::Status>(())
        };
        match ended.await {
            Ok(()) => break,
            Err(status) if status.code() == Code::Unavailable && resumes < RESUMES_MAX => {
                resumes += 1;
                eprintln!("{}; going on", status.message());
                tokio::time::sleep(RESUME_AFTER).await;
            }
            Err(status) => return Err(status).context("the replay broke off"),
        }
    }
    tally.show(output)?;
    if tally.open.is_empty() {
        Ok(())
    } else {
        bail!("{} are not as they were yet", tally.open.len())
    }
}

#[derive(Default)]
struct Tally {
    deletions: u64,
    clean: u64,
    sealed: u64,
    unsealed: u64,
    accounts: u64,
    counts: BTreeMap<String, i64>,
    /// By name: what was told of twice, as it was told last.
    open: BTreeMap<String, ReplayPurgedResponse>,
    page_token: String,
}

impl Tally {
    fn take(&mut self, one: ReplayPurgedResponse) {
        let before = self.told();
        self.deletions += u64::from(one.account.is_empty());
        self.page_token.clone_from(&one.page_token);
        for (category, count) in &one.counts {
            *self.counts.entry(category.clone()).or_default() += count;
        }
        let done = match one.result() {
            ReplayResult::Clean => Some(&mut self.clean),
            ReplayResult::Sealed => Some(&mut self.sealed),
            ReplayResult::Unsealed => Some(&mut self.unsealed),
            ReplayResult::Told => Some(&mut self.accounts),
            _ => None,
        };
        if let Some(done) = done {
            *done += 1;
            self.open.remove(name(&one));
        } else {
            eprintln!("{} {} {}", name(&one), word(&one), one.reason);
            self.open.insert(name(&one).to_owned(), one);
        }
        if let Some(line) = self.progress(before) {
            eprintln!("{line}");
        }
    }

    fn told(&self) -> u64 {
        self.deletions + self.accounts
    }

    /// How far it is, now and then; `before` is how many were told of then.
    fn progress(&self, before: u64) -> Option<String> {
        let told = self.told();
        (told > before && told.is_multiple_of(TELL_EVERY))
            .then(|| format!("{} deletions, {} accounts", self.deletions, self.accounts))
    }

    fn show(&self, output: Output) -> anyhow::Result<()> {
        let open: Vec<_> = self
            .open
            .values()
            .map(|one| json!({"name": name(one), "result": word(one), "reason": one.reason}))
            .collect();
        let value = json!({
            "deletions": self.deletions,
            "clean": self.clean,
            "sealed": self.sealed,
            "unsealed": self.unsealed,
            "accounts": self.accounts,
            "erased": self.counts,
            "open": open,
        });
        let mut rows = Rows::new(
            "",
            &[
                "deletions",
                "clean",
                "sealed",
                "unsealed",
                "accounts",
                "erased again",
            ],
        );
        let counts = self.counts.iter().filter(|(_, count)| **count > 0);
        let counts: Vec<_> = counts
            .map(|(category, count)| format!("{count} {category}"))
            .collect();
        rows.push([
            self.deletions.to_string(),
            self.clean.to_string(),
            self.sealed.to_string(),
            self.unsealed.to_string(),
            self.accounts.to_string(),
            counts.join(", "),
        ]);
        output.write(&value, &[rows])
    }
}

/// The deletion's or the account's.
fn name(one: &ReplayPurgedResponse) -> &str {
    if one.account.is_empty() {
        &one.deletion
    } else {
        &one.account
    }
}

fn word(one: &ReplayPurgedResponse) -> &'static str {
    let name = one.result().as_str_name();
    name.strip_prefix("REPLAY_RESULT_").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_account(number: u64, result: ReplayResult) -> ReplayPurgedResponse {
        ReplayPurgedResponse {
            account: format!("accounts/a-{number}"),
            result: result.into(),
            ..ReplayPurgedResponse::default()
        }
    }

    #[test]
    fn progress_is_told_once_a_hundred_names_and_what_is_done_later_is_not_open() {
        let mut tally = Tally::default();
        let mut lines = Vec::new();
        for number in 0..250 {
            let before = tally.told();
            tally.take(of_account(number, ReplayResult::Told));
            lines.extend(tally.progress(before));
            // What is put off is no progress.
            let before = tally.told();
            tally.take(of_account(1_000, ReplayResult::Deferred));
            lines.extend(tally.progress(before));
        }
        let expected = ["0 deletions, 100 accounts", "0 deletions, 200 accounts"];
        assert_eq!(lines, expected);
        assert_eq!(tally.open.len(), 1);
        tally.take(of_account(1_000, ReplayResult::Told));
        assert!(tally.open.is_empty());
    }
}
