//! The account of the demonstration: what is put into the services, and how its owner gets the code.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::stage::Stage;
use crate::sample::{self, Owner};

/// How long a code may take.
const CODE_WAIT: Duration = Duration::from_secs(30);
const CODE_POLL: Duration = Duration::from_millis(50);

/// A new account each time, so that one database can see many demonstrations.
pub struct Account {
    pub id: String,
}

impl Account {
    /// An id and nothing else yet.
    pub fn new() -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self {
            id: format!("demo-{}", &id[..8]),
        }
    }

    /// `accounts/{account}`.
    pub fn name(&self) -> String {
        format!("accounts/{}", self.id)
    }

    /// Gives it data in every service.
    ///
    /// Errors: a database that can't be opened.
    pub async fn fill(&self, stage: &Stage) -> anyhow::Result<()> {
        sample::fill(&stage.places(), &self.id, &Owner::default()).await?;
        Ok(())
    }

    /// The code of a deletion, from the file of the development courier.
    ///
    /// Errors: there is none in time.
    pub async fn read_code(&self, stage: &Stage, deletion: &str) -> anyhow::Result<String> {
        let file = stage.codes();
        let until = Instant::now() + CODE_WAIT;
        loop {
            if let Some(code) = std::fs::read_to_string(&file)
                .ok()
                .and_then(|text| code_in(&text, deletion))
            {
                return Ok(code);
            }
            if Instant::now() >= until {
                return Err(anyhow::anyhow!("no code in {}", file.display()))
                    .context("the development courier");
            }
            sleep(CODE_POLL).await;
        }
    }
}

/// The newest code of a deletion in lines of JSON, among which there are notices, too.
fn code_in(text: &str, deletion: &str) -> Option<String> {
    text.lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|letter| letter["deletion"] == deletion && letter["code"].is_string())
        .and_then(|letter| letter["code"].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_code_of_the_deletion_counts() {
        let text = "{\"code\":\"1\",\"deletion\":\"deletions/a\"}\n{\"code\":\"2\",\"deletion\":\"deletions/a\"}\n\
                    {\"code\":\"3\",\"deletion\":\"deletions/b\"}\nhalf a li";
        assert_eq!(code_in(text, "deletions/a"), Some("2".to_owned()));
        assert_eq!(code_in(text, "deletions/c"), None);
    }
}
