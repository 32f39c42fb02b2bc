//! Certificates, watchers and lists: what is read is what is.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use farewell_proto::deletion::v1::{Deletion, LegState, ListDeletionsRequest, State};
use farewell_tests::caller::Caller;
use farewell_tests::coordinator::Coordinator;
use farewell_tests::honest::Honest;
use farewell_tests::ledger::Place;
use farewell_tests::refusal::refused;
use farewell_tests::wait::PATIENCE;
use farewell_tests::{audit, policy};
use tokio::time::timeout;
use tonic::Code;

use super::{STAGES, certificate, verified, watch};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_certificate_before_the_purge_and_the_same_bytes_ever_after() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(policy::straight(STAGES), &place.url).await?;
        let caller = coordinator.caller()?;
        let name = caller.delete("alice").await?;
        let early = certificate(&caller, &name).await;
        refused(
            "a certificate",
            early,
            Code::FailedPrecondition,
            "NOT_PURGED",
        );
        let _all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
        caller.until(&name, State::Purged).await?;
        let first = certificate(&caller, &name).await?;
        assert_eq!(certificate(&caller, &name).await?, first);
        let document: serde_json::Value = serde_json::from_slice(&first)?;
        let text = document.to_string();
        ensure!(
            text.contains(name.trim_start_matches("deletions/")),
            "{text}"
        );
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_one_deletion_at_once_at_every_change_and_to_its_end() -> Result<()> {
    let coordinator = Coordinator::start(policy::straight(STAGES), "memory:").await?;
    let caller = coordinator.caller()?;
    let name = caller.delete("alice").await?;
    let mut changes = watch(&caller, &name).await?;
    let first = timeout(PATIENCE, changes.message())
        .await??
        .context("at once")?;
    assert_eq!(first.deletions[0].state(), State::Erasing);
    let _all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
    let mut done = Vec::new();
    let mut last = first;
    while let Some(change) = timeout(PATIENCE, changes.message()).await?? {
        let legs = &change.deletions[0].legs;
        done.push(
            legs.iter()
                .filter(|leg| leg.state() == LegState::Done)
                .count(),
        );
        last = change;
    }
    assert!(done.is_sorted(), "what is done stays done: {done:?}");
    let last = &last.deletions[0];
    assert_eq!(
        (last.name.as_str(), last.state()),
        (name.as_str(), State::Purged)
    );
    assert!(last.close_time.is_some(), "then the stream ends");

    // Whoever comes after the end is told the end.
    let mut late = watch(&caller, &name).await?;
    let told = timeout(PATIENCE, late.message())
        .await??
        .context("the end")?;
    assert_eq!(told.deletions[0].state(), State::Purged);
    assert!(timeout(PATIENCE, late.message()).await??.is_none());
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_all_sees_every_change_of_state_from_now_on() -> Result<()> {
    let coordinator = Coordinator::start(policy::straight(STAGES), "memory:").await?;
    let caller = coordinator.caller()?;
    let _all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
    let before = caller.delete("early").await?;
    caller.until(&before, State::Purged).await?;
    let mut changes = watch(&caller, "deletions/-").await?;
    let mut names = BTreeSet::new();
    for account in ["alice", "bob"] {
        names.insert(caller.delete(account).await?);
    }
    let mut purged = BTreeSet::new();
    while purged.len() < 2 {
        let change = timeout(PATIENCE, changes.message())
            .await??
            .context("a change")?;
        for deletion in change.deletions {
            assert_ne!(deletion.name, before, "it ended before");
            assert!(
                deletion.account.is_empty() && deletion.legs.is_empty(),
                "name and state only"
            );
            assert_ne!(deletion.state(), State::Unspecified);
            if deletion.state() == State::Purged {
                purged.insert(deletion.name);
            }
        }
    }
    assert_eq!(purged, names);
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_many_pages_names_every_deletion_once_newest_first() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let mut names = Vec::new();
        for number in 0..120 {
            names.push(caller.delete(&format!("account-{number}")).await?);
        }
        for name in names.iter().step_by(3) {
            caller.revoke(name).await?;
        }
        names.reverse();
        let (pages, listed) = pages(&caller, 7, &[], "").await?;
        assert_eq!((pages, &listed), (18, &names));
        let revoked: Vec<_> = names.iter().rev().step_by(3).rev().cloned().collect();
        let live: Vec<_> = names
            .iter()
            .filter(|name| !revoked.contains(name))
            .cloned()
            .collect();
        assert_eq!(
            self::pages(&caller, 20, &[State::Revoked], "").await?,
            (2, revoked)
        );
        assert_eq!(
            self::pages(&caller, 80, &[State::AwaitingVerification], "").await?,
            (1, live)
        );
        let both = [State::Revoked, State::AwaitingVerification, State::Revoked];
        assert_eq!(self::pages(&caller, 500, &both, "").await?.1, names);
        assert_eq!(
            self::pages(&caller, 0, &[State::Purged], "").await?,
            (1, vec![])
        );
        let one = self::pages(&caller, 0, &[], "accounts/account-119").await?;
        assert_eq!(one, (1, vec![names[0].clone()]));
        let (first, _) = caller.page(ListDeletionsRequest::default()).await?;
        assert_eq!(first.len(), 50, "the default");
        assert!(first.iter().all(|deletion| deletion.legs.is_empty()));
        coordinator.stop().await?;
    }
    Ok(())
}

async fn pages(
    caller: &Caller,
    page_size: i32,
    states: &[State],
    account: &str,
) -> Result<(usize, Vec<String>)> {
    let mut request = ListDeletionsRequest {
        page_size,
        page_token: String::new(),
        states: states.iter().map(|state| i32::from(*state)).collect(),
        account: account.to_owned(),
    };
    let (mut count, mut names) = (0, Vec::new());
    loop {
        let (page, next) = caller.page(request.clone()).await?;
        count += 1;
        names.extend(page.into_iter().map(|deletion: Deletion| deletion.name));
        if next.is_empty() {
            return Ok((count, names));
        }
        request.page_token = next;
    }
}
