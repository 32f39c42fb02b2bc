//! Whoever owes something is named, nothing is purged without it, and nobody else waits for it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use farewell_core::Policy;
use farewell_core::policy::{Deadline, Length, Stage};
use farewell_proto::deletion::v1::{ConditionKind, LegState, State};
use farewell_proto::operator::v1::ListStalledRequest;
use farewell_proto::participant::v1::Verb;
use farewell_runtime::server::Security;
use farewell_tests::caller::conditions;
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::honest::{Honest, Manners};
use farewell_tests::ledger::Place;
use farewell_tests::refusal::bad_field;
use farewell_tests::scripted::{Scripted, honest};
use farewell_tests::wait::{PATIENCE, SILENCE, until};
use farewell_tests::{audit, policy};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::time::sleep;

fn impatient(policy: Policy) -> Policy {
    Policy {
        stalled_after: Duration::from_millis(300),
        ..policy
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_purged_while_somebody_who_never_came_owes_a_leg() -> Result<()> {
    for place in Place::each()? {
        let stages = impatient(policy::straight(&[&["cloud", "community"], &["store"]]));
        let coordinator = Coordinator::start(stages, &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let _cloud = Honest::join(&coordinator.participants, "cloud").await?;
        let store = Honest::join(&coordinator.participants, "store").await?;
        let named = [("PARTICIPANT_NOT_CONNECTED", "community")];
        let stalled = caller
            .until_true(&name, "stalled", |it| {
                Ok(it.legs[0].state() == LegState::Done && conditions(it) == named)
            })
            .await?;
        assert_eq!(stalled.state(), State::Erasing);
        let condition = &stalled.conditions[0];
        assert_eq!(condition.kind(), ConditionKind::Stalled);
        assert!(
            condition.since_time.is_some()
                && !condition.message.is_empty()
                && !condition.remedy.is_empty()
        );
        let legs: Vec<_> = stalled
            .legs
            .iter()
            .map(|leg| (leg.participant.as_str(), leg.state()))
            .collect();
        assert_eq!(
            legs,
            [
                ("cloud", LegState::Done),
                ("community", LegState::Owed),
                ("store", LegState::Planned),
            ]
        );
        let listed = operator.stalled().await?;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].name, name);
        assert_eq!(conditions(&listed[0]), named);
        assert_eq!(listed[0].legs, stalled.legs);

        sleep(SILENCE).await;
        assert_eq!(
            caller.get(&name).await?.state(),
            State::Erasing,
            "it stays where it is"
        );
        assert!(
            store.manners().heard.is_empty(),
            "and the next stage stays closed"
        );

        let _late = Honest::join(&coordinator.participants, "community").await?;
        let purged = caller.until(&name, State::Purged).await?;
        assert_eq!(conditions(&purged), Vec::<(&str, &str)>::new());
        assert!(operator.stalled().await?.is_empty());
        if let Some(kept) = place.open().await? {
            assert_eq!(audit::sound(&*kept).await?, 1);
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_is_there_and_says_nothing_is_named_too() -> Result<()> {
    let stages = impatient(policy::straight(&[&["cloud"]]));
    let coordinator = Coordinator::start(stages, "memory:").await?;
    let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
    let name = caller.delete("alice").await?;
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 4).await?;
    let command = cloud.command().await?;
    // Another word before it came, if that took long.
    let stalled = caller
        .until_true(&name, "stalled", |it| {
            Ok(conditions(it) == [("LEG_OWED", "cloud")])
        })
        .await?;
    assert_eq!(stalled.legs[0].state(), LegState::Sent);
    assert_eq!(operator.stalled().await?.len(), 1);
    let desk = operator.overview().await?.participants[0].clone();
    assert_eq!((desk.sessions, desk.outstanding), (1, 1));
    cloud.answer(&command, honest(&command)).await;
    caller.until(&name, State::Purged).await?;
    assert!(operator.stalled().await?.is_empty());
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_that_nobody_set_holds_the_erasing_back_and_shows() -> Result<()> {
    for place in Place::each()? {
        let sealing = impatient(Policy {
            seal: true,
            ..policy::straight(&[&["cloud", "store"]])
        });
        let coordinator = Coordinator::start(sealing, &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let cloud = Honest::join(&coordinator.participants, "cloud").await?;
        let name = caller.delete("alice").await?;
        let waiting = caller
            .until_true(&name, "stalled", |it| {
                Ok(conditions(it) == [("PARTICIPANT_NOT_CONNECTED", "store")])
            })
            .await?;
        assert_eq!(waiting.state(), State::CoolingOff);
        assert!(waiting.erase_time.is_none());
        assert_eq!(operator.stalled().await?.len(), 1);
        assert_eq!(
            cloud.verbs("alice"),
            [Verb::Seal],
            "nothing is erased before everybody has sealed"
        );
        let store = Honest::join(&coordinator.participants, "store").await?;
        caller.until(&name, State::Purged).await?;
        assert_eq!(store.verbs("alice"), [Verb::Seal, Verb::Erase]);
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unseal_that_is_owed_for_long_is_named_after_the_revoke() -> Result<()> {
    let sealing = impatient(Policy {
        seal: true,
        cooling_off: Duration::from_secs(3_600),
        ..policy::straight(&[&["cloud"]])
    });
    let coordinator = Coordinator::start(sealing, "memory:").await?;
    let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
    let name = caller.delete("alice").await?;
    caller.revoke(&name).await?;
    let owed = caller
        .until_true(&name, "stalled", |it| Ok(!it.conditions.is_empty()))
        .await?;
    assert_eq!(owed.state(), State::Revoked);
    assert_eq!(conditions(&owed), [("PARTICIPANT_NOT_CONNECTED", "cloud")]);
    assert_eq!(operator.stalled().await?[0].name, name);
    let _cloud = Honest::join(&coordinator.participants, "cloud").await?;
    caller
        .until_true(&name, "closed", |it| Ok(it.close_time.is_some()))
        .await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_deletions_are_listed_in_pages_each_once() -> Result<()> {
    let stages = impatient(policy::straight(&[&["cloud"]]));
    let coordinator = Coordinator::start(stages, "memory:").await?;
    let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
    let mut names = Vec::new();
    for number in 0..12 {
        names.push(caller.delete(&format!("account-{number}")).await?);
    }
    names.reverse();
    until("all to be stalled", async || {
        Ok((operator.stalled().await?.len() == 12).then_some(()))
    })
    .await?;
    let mut request = ListStalledRequest {
        page_size: 5,
        page_token: String::new(),
    };
    let mut listed = Vec::new();
    loop {
        let answer = operator
            .api
            .clone()
            .list_stalled(request.clone())
            .await?
            .into_inner();
        listed.extend(answer.deletions.into_iter().map(|it| it.name));
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page_token = answer.next_page_token;
    }
    assert_eq!(listed, names);
    let mut api = operator.api.clone();
    let size = ListStalledRequest {
        page_size: -1,
        ..request.clone()
    };
    bad_field(
        "a page size",
        api.list_stalled(size).await,
        "INVALID_FIELD",
        "page_size",
    );
    let token = ListStalledRequest {
        page_token: "garbage".to_owned(),
        ..request
    };
    bad_field(
        "a token",
        api.list_stalled(token).await,
        "PAGE_TOKEN_MISMATCH",
        "page_token",
    );
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_could_never_purge_is_refused_before_a_port_opens() -> Result<()> {
    let whole = || policy::whole(&[&["cloud"], &["store"]]);
    let stage = |name: &str, participants: &[&str]| -> Result<Stage> {
        Ok(Stage {
            name: name.to_owned(),
            participants: participants
                .iter()
                .map(|name| name.parse())
                .collect::<Result<_, _>>()?,
        })
    };
    let with = |stages: Vec<Stage>| Policy { stages, ..whole() };
    let cases = [
        ("no stage", with(vec![])),
        (
            "empty stages",
            with(vec![stage("A", &[])?, stage("B", &[])?]),
        ),
        (
            "one empty stage",
            with(vec![stage("A", &["cloud"])?, stage("B", &[])?]),
        ),
        (
            "a cycle",
            with(vec![stage("A", &["cloud"])?, stage("B", &["cloud"])?]),
        ),
        (
            "no channel",
            Policy {
                channels: Default::default(),
                ..whole()
            },
        ),
        (
            "a deadline within the wait",
            Policy {
                deadline: Deadline::Within(Length(Duration::ZERO)),
                ..whole()
            },
        ),
    ];
    for (what, policy) in cases {
        let refused = Coordinator::start(policy, "memory:").await;
        let error = refused.err().with_context(|| format!("{what} was taken"))?;
        ensure!(
            error.to_string().contains("the policy can't be used"),
            "{what}: {error:#}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slow_participant_delays_nobody_elses_deletion() -> Result<()> {
    for place in Place::each()? {
        // Two policies at one time can't be had, so the slow one is the last of a line: everybody before it is done at
        // their own pace, and it holds up only what is its own.
        let stages = policy::straight(&[&["cloud", "community"], &["store"]]);
        let mut config = config(stages, &place.url, &Security::PlainLoopback);
        config.pace.retry.base = Duration::from_secs(60);
        config.pace.retry.cap = Duration::from_secs(60);
        let coordinator = Coordinator::start_with(config).await?;
        let caller = coordinator.caller()?;
        let cloud = Honest::join(&coordinator.participants, "cloud").await?;
        let _community = Honest::join(&coordinator.participants, "community").await?;
        // It takes one command and sits on it.
        let mut store = Scripted::join(&coordinator.participants, "store", 2).await?;
        let first = caller.delete("alice").await?;
        let stuck = store.command().await?;
        let mut names = Vec::new();
        let since = Instant::now();
        for number in 0..40 {
            names.push(caller.delete(&format!("account-{number}")).await?);
        }
        for _ in &names {
            let command = store.command().await?;
            assert_ne!(command.name, stuck.name);
            store.answer(&command, honest(&command)).await;
        }
        for name in &names {
            caller.until(name, State::Purged).await?;
        }
        ensure!(since.elapsed() < PATIENCE, "{:?}", since.elapsed());
        assert_eq!(caller.get(&first).await?.state(), State::Erasing);
        assert_eq!(cloud.manners().heard.len(), 41, "once each");
        store.answer(&stuck, honest(&stuck)).await;
        caller.until(&first, State::Purged).await?;
        if let Some(kept) = place.open().await? {
            assert_eq!(audit::sound(&*kept).await?, 41);
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_that_hears_and_never_reads_on_delays_nobody_else() -> Result<()> {
    let coordinator =
        Coordinator::start(policy::straight(&[&["cloud", "store"]]), "memory:").await?;
    let caller = coordinator.caller()?;
    let cloud = Honest::join(&coordinator.participants, "cloud").await?;
    // A wide window, and nobody behind it: frames pile up in its stream.
    let deaf = Scripted::join(&coordinator.participants, "store", 65_536).await?;
    let mut names = Vec::new();
    for number in 0..400 {
        names.push(caller.delete(&format!("account-{number}")).await?);
    }
    until("the others to be done", async || {
        Ok((cloud.manners().heard.len() >= names.len()).then_some(()))
    })
    .await?;
    for name in names.iter().step_by(50) {
        caller
            .until_true(name, "settled", |it| {
                Ok(it.legs[0].state() == LegState::Done)
            })
            .await?;
    }
    drop(deaf);
    let slow = Manners {
        slow: Duration::from_millis(20),
        ..Manners::default()
    };
    let _store = Honest::join_with(&coordinator.participants, "store", slow).await?;
    for name in &names {
        caller.until(name, State::Purged).await?;
    }
    coordinator.stop().await
}

/// Lets the ledger's file refuse every receipt of the deletion, as a disk with a bad page would.
async fn refuse_receipts(url: &str, deletion: &str) -> Result<SqliteConnection> {
    let mut connection = SqliteConnection::connect(url).await?;
    let id = deletion.trim_start_matches("deletions/").replace('-', "");
    let trigger = format!(
        "CREATE TRIGGER no_receipt BEFORE INSERT ON receipt WHEN hex(new.deletion) = upper('{id}')
         BEGIN SELECT RAISE(ABORT, 'no receipt of this one'); END"
    );
    connection.execute(sqlx::AssertSqlSafe(trigger)).await?;
    Ok(connection)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_the_ledger_refuses_holds_up_no_other_and_is_asked_for_again() -> Result<()>
{
    let place = Place::sqlite()?;
    let mut config = config(
        policy::straight(&[&["cloud"]]),
        &place.url,
        &Security::PlainLoopback,
    );
    config.pace.retry.cap = Duration::from_secs(1);
    let coordinator = Coordinator::start_with(config).await?;
    let caller = coordinator.caller()?;
    let mut names = Vec::new();
    for number in 0..8 {
        names.push(caller.delete(&format!("account-{number}")).await?);
    }
    let (bad, good) = (names.remove(3), names);
    let mut ledger = refuse_receipts(&place.url, &bad).await?;
    // All at once, so that they share a batch.
    let cloud = Honest::join(&coordinator.participants, "cloud").await?;
    for name in &good {
        caller.until(name, State::Purged).await?;
    }
    assert_eq!(caller.get(&bad).await?.state(), State::Erasing);
    let times_asked = || {
        let heard = &cloud.manners().heard;
        heard.iter().filter(|it| it.name.starts_with(&bad)).count()
    };
    until("it to be asked for again", async || {
        Ok((times_asked() > 1).then_some(()))
    })
    .await?;
    ledger.execute("DROP TRIGGER no_receipt").await?;
    caller.until(&bad, State::Purged).await?;
    let asked = times_asked();
    assert!(asked < 30, "and not without a pause: {asked}");
    if let Some(kept) = place.open().await? {
        assert_eq!(audit::sound(&*kept).await?, 8);
    }
    coordinator.stop().await
}
