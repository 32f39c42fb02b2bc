//! Where a coordinator of a story keeps its promises, and what is kept there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use farewell_core::{DeletionId, Plan};
use farewell_ledger::{Filter, Ledger};
use tempfile::TempDir;

/// A ledger of a story's own.
#[derive(Debug)]
pub struct Place {
    pub url: String,
    _folder: TempDir,
}

impl Place {
    /// A ledger that forgets.
    pub fn memory() -> Result<Self> {
        Ok(Self {
            url: "memory:".to_owned(),
            _folder: TempDir::new()?,
        })
    }

    /// A ledger in a file.
    pub fn sqlite() -> Result<Self> {
        let folder = TempDir::new()?;
        let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
        Ok(Self {
            url,
            _folder: folder,
        })
    }

    /// One of each kind that needs no server.
    pub fn each() -> Result<[Self; 2]> {
        Ok([Self::memory()?, Self::sqlite()?])
    }

    /// A second look at what is kept. `None` in memory, which only its coordinator sees.
    pub async fn open(&self) -> Result<Option<Arc<dyn Ledger>>> {
        if self.url == "memory:" {
            return Ok(None);
        }
        Ok(Some(farewell_ledger::connect(&self.url).await?))
    }
}

/// Every deletion, oldest first.
pub async fn deletions(ledger: &dyn Ledger) -> Result<Vec<farewell_core::Deletion>> {
    const PAGE_ROWS: u32 = 500;
    let mut all = Vec::new();
    let mut before = None::<DeletionId>;
    loop {
        let page = ledger.list(&Filter::default(), before, PAGE_ROWS).await?;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        all.extend(page);
    }
    all.reverse();
    Ok(all)
}

/// Everything that can be read of every deletion, as text to compare.
pub async fn rows(ledger: &dyn Ledger) -> Result<String> {
    let mut text = String::new();
    for deletion in deletions(ledger).await? {
        let receipts = ledger.receipts(deletion.id).await?;
        let addenda = ledger.addenda(deletion.id).await?;
        let history = ledger.history(deletion.id, 0, 1_000).await?;
        text.push_str(&format!(
            "{deletion:?} {receipts:?} {addenda:?} {history:?}\n"
        ));
    }
    let overview = ledger.overview(Duration::ZERO, Duration::ZERO).await?;
    text.push_str(&format!("{:?} {}", overview.states, overview.outbox));
    Ok(text)
}

/// The plan of every policy version.
pub async fn plans(ledger: &dyn Ledger) -> Result<Vec<(u32, Plan)>> {
    let policies = ledger.policies().await?;
    policies
        .into_iter()
        .map(|(version, policy)| {
            let plan =
                Plan::new(version, policy).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
            Ok((version, plan))
        })
        .collect()
}
