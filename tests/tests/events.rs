//! What becomes of accounts is told to other systems, as Security Event Tokens that somebody else's library believes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_coordinator::{Config, Listener, Receiver};
use farewell_core::retry::Backoff;
use farewell_proto::deletion::v1::State;
use farewell_proto::operator::v1::{
    ListRefusedEventsRequest, ReceiverOverview, ResendEventRequest,
};
use farewell_proto::participant::v1::Verb;
use farewell_runtime::certs::DevCa;
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use farewell_runtime::{jws, tls};
use farewell_tests::caller;
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::honest::Honest;
use farewell_tests::ledger::Place;
use farewell_tests::policy;
use farewell_tests::receiver::{self, Python, key, loopback, told};
use farewell_tests::refusal::Refusal;
use farewell_tests::wait::until;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;

fn telling(receivers: Vec<Receiver>, listener: Option<Listener>, place: &str) -> Config {
    let plain = Security::PlainLoopback;
    let mut config = config(policy::whole(&[&["cloud"]]), place, &plain);
    config.policy.cooling_off = Duration::from_millis(700);
    config.pace.retry = Backoff {
        base: Duration::from_millis(50),
        cap: Duration::from_millis(200),
    };
    config.events = Some(receiver::events(receivers, listener));
    config
}

/// The audience of who fetches.
const MAIL: &str = "https://mail.example.com";

fn fetching(name: &str) -> Receiver {
    receiver::fetching(name, MAIL)
}

async fn receivers(coordinator: &Coordinator) -> Result<Vec<ReceiverOverview>> {
    Ok(coordinator.operator()?.overview().await?.receivers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_a_revoke_and_a_purge_are_told_in_order_however_a_receiver_behaves() -> Result<()> {
    let Some(mut python) = Python::new()? else {
        return Ok(());
    };
    python.listen(
        "ads",
        "503,drop,400:authentication_failed,500,400:invalid_audience,200",
    )?;
    let mut config = telling(vec![python.receiver("ads")], None, "memory:");
    config.policy.cooling_off = Duration::from_secs(1);
    let coordinator = Coordinator::start_with(config).await?;
    let caller = coordinator.caller()?;
    let cloud = Honest::join(&coordinator.participants, "cloud").await?;
    // Nothing begins before everybody has sealed: so long it can be taken back.
    cloud.manners().held_back = Some(Verb::Seal);
    let revoked = caller.delete("bob").await?;
    caller.until(&revoked, State::CoolingOff).await?;
    caller.revoke(&revoked).await?;
    cloud.manners().held_back = None;
    let purged = caller.delete("alice").await?;
    caller.until(&purged, State::Purged).await?;

    let expected = BTreeMap::from([
        (
            "alice".to_owned(),
            vec!["disabled".to_owned(), "purged".to_owned()],
        ),
        (
            "bob".to_owned(),
            vec!["disabled".to_owned(), "enabled".to_owned()],
        ),
    ]);
    until("everything to be told", async || {
        Ok((python.taken()? == expected).then_some(()))
    })
    .await?;
    until("nothing to be left", async || {
        Ok(receivers(&coordinator).await?.is_empty().then_some(()))
    })
    .await?;

    // A repeat is known by its name, and an answer that is none of RFC 8935's is none.
    let seen = python.seen()?;
    assert!(seen.len() >= 4 + 6, "six answers were no yes: {seen:?}");
    let mut names = BTreeMap::<&str, Vec<&Value>>::new();
    for line in &seen {
        let claims = &line["claims"];
        let jti = claims["jti"].as_str().context("a name")?;
        names.entry(jti).or_default().push(&claims["events"]);
        assert_eq!(claims["iss"], claims["sub_id"]["iss"]);
        let (account, _) = told(claims)?;
        let of = if account == "alice" {
            &purged
        } else {
            &revoked
        };
        assert_eq!(claims["txn"].as_str(), Some(of.as_str()));
    }
    assert_eq!(names.len(), 4);
    for repeats in names.values() {
        assert!(repeats.windows(2).all(|pair| pair[0] == pair[1]));
    }
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_for_good_is_seen_and_holds_up_nothing() -> Result<()> {
    let Some(mut python) = Python::new()? else {
        return Ok(());
    };
    python.listen("ads", "400:invalid_request")?;
    let coordinator =
        Coordinator::start_with(telling(vec![python.receiver("ads")], None, "memory:")).await?;
    let _cloud = Honest::join(&coordinator.participants, "cloud").await?;
    let caller = coordinator.caller()?;
    let purged = caller.delete("alice").await?;
    caller.until(&purged, State::Purged).await?;
    let rest = BTreeMap::from([("alice".to_owned(), vec!["purged".to_owned()])]);
    until("what comes next to be told", async || {
        Ok((python.taken()? == rest).then_some(()))
    })
    .await?;
    let left = until("a refusal", async || {
        let left = receivers(&coordinator).await?;
        let done = left.len() == 1 && left[0].waiting == 0;
        Ok(done.then_some(left))
    })
    .await?;
    assert_eq!((left[0].receiver.as_str(), left[0].refused), ("ads", 1));

    // It is shown, and told again once somebody says so: then it is taken.
    let operator = coordinator.operator()?;
    let shown = operator.refused_events("ads").await?;
    assert_eq!(shown.len(), 1);
    let (event, reason) = (shown[0].event.clone(), shown[0].reason.as_str());
    assert_eq!(
        (shown[0].kind.as_str(), reason),
        ("account-disabled", "invalid_request")
    );
    assert_eq!(shown[0].deletion, purged);
    assert!(shown[0].refuse_time.is_some() && shown[0].occur_time.is_some());
    let resend = |request_id: &str, receiver: &str, event: &str| ResendEventRequest {
        request_id: request_id.to_owned(),
        receiver: receiver.to_owned(),
        event: event.to_owned(),
    };
    let id = caller::fresh();
    for (wrong, code, reason) in [
        (resend("", "ads", &event), Code::InvalidArgument, ""),
        (
            resend(&caller::fresh(), "", &event),
            Code::InvalidArgument,
            "",
        ),
        (
            resend(&caller::fresh(), "Ads", &event),
            Code::InvalidArgument,
            "",
        ),
        (
            resend(&caller::fresh(), "ads", ""),
            Code::InvalidArgument,
            "",
        ),
        (
            resend(&caller::fresh(), "ads", "x.account-purged"),
            Code::InvalidArgument,
            "",
        ),
        (
            resend(&caller::fresh(), "mail", &event),
            Code::FailedPrecondition,
            "EVENT_NOT_REFUSED",
        ),
    ] {
        let refused = operator.api.clone().resend_event(wrong).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
        assert!(reason.is_empty() || Refusal::of(&refused).reason == reason);
    }
    let unpaged = ListRefusedEventsRequest {
        receiver: "ads".to_owned(),
        page_token: "x".to_owned(),
        ..Default::default()
    };
    let refused = operator
        .api
        .clone()
        .list_refused_events(unpaged)
        .await
        .unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "PAGE_TOKEN_MISMATCH");
    assert!(operator.refused_events("").await.is_err());
    assert_eq!(
        operator.refused_events("ads").await?,
        shown,
        "nothing was changed"
    );

    for _ in 0..2 {
        operator
            .api
            .clone()
            .resend_event(resend(&id, "ads", &event))
            .await?;
    }
    let reused = resend(&id, "mail", &event);
    let refused = operator.api.clone().resend_event(reused).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "REQUEST_ID_REUSED");
    let both = vec!["purged".to_owned(), "disabled".to_owned()];
    until("it to be taken", async || {
        Ok((python.taken()?.get("alice") == Some(&both)).then_some(()))
    })
    .await?;
    until("nothing to be left", async || {
        Ok(receivers(&coordinator).await?.is_empty().then_some(()))
    })
    .await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_forgotten_after_its_period() -> Result<()> {
    let Some(mut python) = Python::new()? else {
        return Ok(());
    };
    python.listen("ads", "400:invalid_request,400:invalid_request")?;
    let mut config = telling(vec![python.receiver("ads")], None, "memory:");
    if let Some(events) = &mut config.events {
        events.refused_kept = Duration::from_secs(1);
    }
    let coordinator = Coordinator::start_with(config).await?;
    let _cloud = Honest::join(&coordinator.participants, "cloud").await?;
    let caller = coordinator.caller()?;
    let purged = caller.delete("alice").await?;
    caller.until(&purged, State::Purged).await?;
    until("both to be refused", async || {
        Ok((python.seen()?.len() == 2).then_some(()))
    })
    .await?;
    until("both to be forgotten", async || {
        Ok(receivers(&coordinator).await?.is_empty().then_some(()))
    })
    .await?;
    coordinator.stop().await
}

/// As many as are read at a time, and more.
const OLD: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_cannot_take_yet_holds_up_no_other_account() -> Result<()> {
    let Some(mut python) = Python::new()? else {
        return Ok(());
    };
    python.never = "old-";
    python.listen("ads", "")?;
    let coordinator =
        Coordinator::start_with(telling(vec![python.receiver("ads")], None, "memory:")).await?;
    let _cloud = Honest::join(&coordinator.participants, "cloud").await?;
    let caller = coordinator.caller()?;
    let mut old = JoinSet::new();
    for number in 0..OLD {
        let caller = caller.clone();
        old.spawn(async move { caller.delete(&format!("old-{number}")).await });
    }
    for name in old.join_all().await {
        caller.until(&name?, State::Purged).await?;
    }
    let new = caller.delete("new").await?;
    caller.until(&new, State::Purged).await?;
    let whole = vec!["disabled".to_owned(), "purged".to_owned()];
    let expected = BTreeMap::from([("new".to_owned(), whole)]);
    until("the new account's events", async || {
        Ok((python.taken()? == expected).then_some(()))
    })
    .await?;
    until("only the others to wait", async || {
        let left = receivers(&coordinator).await?;
        let others = (left[0].waiting, left[0].refused) == (2 * i64::try_from(OLD)?, 0);
        Ok(others.then_some(()))
    })
    .await?;
    // Of an account that waits, nothing later was tried.
    for line in python.seen()? {
        let (account, event) = told(&line["claims"])?;
        assert!(account == "new" || event == "disabled", "{account} {event}");
    }

    // Once it is mended, all of it is taken, in order.
    python.never = "";
    python.running = None;
    python.listen("ads", "")?;
    let taken = until("everything", async || {
        let taken = python.taken()?;
        let whole = taken.values().all(|events| events.len() == 2);
        // The new one's and all the others'.
        Ok((taken.len() == OLD + 1 && whole).then_some(taken))
    })
    .await?;
    assert!(taken.values().all(|events| events == &expected["new"]));
    coordinator.stop().await
}

/// Deletions of one account, one after the other.
const TURNS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accounts_deletions_are_told_in_order_whichever_coordinators_have_them() -> Result<()> {
    let Some(mut python) = Python::new()? else {
        return Ok(());
    };
    python.listen("ads", "")?;
    let place = Place::sqlite()?;
    let mut coordinators = Vec::new();
    let mut clouds = Vec::new();
    for instance in ["one", "two"] {
        let mut told = telling(vec![python.receiver("ads")], None, &place.url);
        told.instance = instance.to_owned();
        told.policy.cooling_off = Duration::from_secs(3_600);
        let coordinator = Coordinator::start_with(told).await?;
        clouds.push(Honest::join(&coordinator.participants, "cloud").await?);
        coordinators.push(coordinator);
    }
    let callers = [coordinators[0].caller()?, coordinators[1].caller()?];
    until("both to hold slots", async || {
        let overview = coordinators[0].operator()?.overview().await?;
        let all: Vec<u32> = overview.coordinators.iter().map(|it| it.slots).collect();
        Ok((all.len() == 2 && all.iter().all(|slots| *slots > 0)).then_some(()))
    })
    .await?;
    let accounts: Vec<String> = (0..12).map(|number| format!("a-{number}")).collect();
    for turn in 0..TURNS {
        let caller = &callers[turn % callers.len()];
        let mut names = Vec::new();
        for account in &accounts {
            names.push(caller.delete(account).await?);
        }
        for name in names {
            caller.until(&name, State::CoolingOff).await?;
            let revoked = caller.revoke(&name).await;
            revoked.map_err(|status| anyhow!("{status:?}"))?;
        }
    }
    let life: Vec<String> = ["disabled", "enabled"]
        .into_iter()
        .cycle()
        .take(2 * TURNS)
        .map(str::to_owned)
        .collect();
    let expected: BTreeMap<_, _> = accounts.into_iter().map(|it| (it, life.clone())).collect();
    until("everything to be told", async || {
        let taken = first_of_each(&python.seen()?)?;
        Ok((taken == expected).then_some(()))
    })
    .await?;
    drop(clouds);
    for coordinator in coordinators {
        coordinator.stop().await?;
    }
    Ok(())
}

/// What came, by account in the order of its coming, without the repeats that a slot's change of hands may bring.
fn first_of_each(seen: &[Value]) -> Result<BTreeMap<String, Vec<String>>> {
    let (mut taken, mut names) = (BTreeMap::<_, Vec<_>>::new(), BTreeSet::new());
    for line in seen {
        ensure!(line["wrong"].is_null(), "{line}");
        let name = line["claims"]["jti"].as_str().context("a name")?;
        if names.insert(name.to_owned()) {
            let (account, event) = told(&line["claims"])?;
            taken.entry(account).or_default().push(event);
        }
    }
    Ok(taken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_away_holds_up_nobody_and_hears_it_all_after_a_restart() -> Result<()> {
    let place = Place::sqlite()?;
    let (Some(mut here), Some(mut away)) = (Python::new()?, Python::new()?) else {
        return Ok(());
    };
    here.listen("here", "")?;
    let both = || vec![here.receiver("here"), away.receiver("away")];
    let coordinator = Coordinator::start_with(telling(both(), None, &place.url)).await?;
    let cloud = Honest::join(&coordinator.participants, "cloud").await?;
    let caller = coordinator.caller()?;
    let purged = caller.delete("alice").await?;
    caller.until(&purged, State::Purged).await?;
    let whole = vec!["disabled".to_owned(), "purged".to_owned()];
    until("the one that is there", async || {
        Ok((here.taken()?.get("alice") == Some(&whole)).then_some(()))
    })
    .await?;
    let left = until("the other to be named", async || {
        let left = receivers(&coordinator).await?;
        let done = left.len() == 1 && left[0].waiting == 2;
        Ok(done.then_some(left))
    })
    .await?;
    assert_eq!(left[0].receiver, "away");
    assert!(left[0].oldest_time.is_some());
    drop(cloud);
    coordinator.stop().await?;

    away.listen("away", "")?;
    let both = vec![here.receiver("here"), away.receiver("away")];
    let coordinator = Coordinator::start_with(telling(both, None, &place.url)).await?;
    until("the one that was away", async || {
        Ok((away.taken()?.get("alice") == Some(&whole)).then_some(()))
    })
    .await?;
    assert_eq!(here.taken()?["alice"], whole, "once");
    coordinator.stop().await
}

async fn fetch(client: &Client, url: &str, body: &Value) -> Result<(StatusCode, Value)> {
    let answer = client.post(url).json(body).send().await?;
    Ok((answer.status(), answer.json().await?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_fetches_until_it_has_said_that_it_has_it() -> Result<()> {
    let Some(python) = Python::new()? else {
        return Ok(());
    };
    tls::install_provider();
    let listener = Some(loopback(Security::PlainLoopback));
    let told = telling(vec![fetching("mail")], listener, "memory:");
    let coordinator = Coordinator::start_with(told).await?;
    let client = Client::new();
    let url = format!("http://{}/events/mail", coordinator.events);
    let _cloud = Honest::join(&coordinator.participants, "cloud").await?;
    let caller = coordinator.caller()?;

    // Whoever waits is answered when there is something.
    let waiting = tokio::spawn({
        let (client, url) = (client.clone(), url.clone());
        async move { fetch(&client, &url, &json!({"maxEvents": 1})).await }
    });
    let purged = caller.delete("alice").await?;
    caller.until(&purged, State::Purged).await?;
    let (status, first) = waiting.await??;
    assert_eq!(status, StatusCode::OK);
    let sets = first["sets"].as_object().context("sets")?;
    assert_eq!(sets.len(), 1);
    let (jti, token) = sets.iter().next().context("a token")?;
    let claims = python.check(token.as_str().context("a token")?, MAIL)?;
    assert_eq!(
        receiver::told(&claims)?,
        ("alice".to_owned(), "disabled".to_owned())
    );
    assert_eq!(claims["jti"].as_str(), Some(jti.as_str()));

    // What it doesn't say that it has, comes again, and until then nothing that came after it; what it has, doesn't.
    let now = json!({"returnImmediately": true});
    until("both to wait", async || {
        let left = receivers(&coordinator).await?;
        Ok((left[0].waiting == 2).then_some(()))
    })
    .await?;
    let (_, again) = fetch(&client, &url, &now).await?;
    let again = again["sets"].as_object().context("sets")?;
    assert_eq!(again.keys().collect::<Vec<_>>(), [jti]);
    let ack = json!({"returnImmediately": true, "ack": [jti, "no.such", "x"], "maxEvents": 1});
    let (_, rest) = fetch(&client, &url, &ack).await?;
    assert_eq!(rest["moreAvailable"], false);
    let rest = rest["sets"].as_object().context("sets")?;
    let last = rest.keys().next().context("the purge")?;
    assert!(last.ends_with(".account-purged"));
    let wont = json!({"maxEvents": 0, "setErrs": {last: {"err": "invalid_request", "description": "who?"}}});
    let (status, nothing) = fetch(&client, &url, &wont).await?;
    assert_eq!((status, nothing), (StatusCode::OK, json!({"sets": {}})));
    let left = receivers(&coordinator).await?;
    assert_eq!((left[0].waiting, left[0].refused), (0, 1));
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_request_is_told_why_and_changes_nothing() -> Result<()> {
    tls::install_provider();
    let listener = Some(loopback(Security::PlainLoopback));
    let told = telling(vec![fetching("mail")], listener, "memory:");
    let coordinator = Coordinator::start_with(told).await?;
    let _cloud = Honest::join(&coordinator.participants, "cloud").await?;
    let caller = coordinator.caller()?;
    let purged = caller.delete("alice").await?;
    caller.until(&purged, State::Purged).await?;
    let client = Client::new();
    let base = format!("http://{}", coordinator.events);
    let own = format!("{base}/events/mail");
    let all = until("one", async || {
        let (_, one) = fetch(&client, &own, &json!({"returnImmediately": true})).await?;
        let sets = one["sets"].as_object().context("sets")?.clone();
        Ok((!sets.is_empty()).then_some(sets))
    })
    .await?;
    let names: Vec<_> = all.keys().cloned().collect();
    let many: Vec<_> = std::iter::repeat_n(&names[0], 1_001).collect();
    for (path, body, status, err) in [
        ("/events/other", json!({"ack": names}), 403, "access_denied"),
        (
            "/events/mail",
            json!({"ack": names[0]}),
            400,
            "invalid_request",
        ),
        (
            "/events/mail",
            json!({"ack": names, "maxEvents": -1}),
            400,
            "invalid_request",
        ),
        ("/events/mail", json!([names]), 400, "invalid_request"),
        ("/events/mail", json!({"ack": many}), 400, "invalid_request"),
    ] {
        let (got, answer) = fetch(&client, &format!("{base}{path}"), &body).await?;
        assert_eq!(
            (got.as_u16(), &answer["err"]),
            (status, &json!(err)),
            "{path} {body}"
        );
    }
    let large = client.post(&own).body("x".repeat(300_000)).send().await?;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let (_, left) = fetch(&client, &own, &json!({"returnImmediately": true})).await?;
    let left = left["sets"].as_object().context("sets")?;
    assert_eq!(left.keys().cloned().collect::<Vec<_>>(), names);

    let keys = client
        .get(format!("{base}/.well-known/jwks.json"))
        .send()
        .await?;
    assert_eq!(keys.json::<Value>().await?, jws::key_set(&[key().public()]));
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_library_fetches_over_tls_with_http_1() -> Result<()> {
    let Some(python) = Python::new()? else {
        return Ok(());
    };
    tls::install_provider();
    let ca = DevCa::create()?;
    let own = Security::Mutual(ca.issue(Role::Coordinator, "coordinator", &[])?);
    let told = telling(vec![fetching("mail")], Some(loopback(own)), "memory:");
    let coordinator = Coordinator::start_with(told).await?;
    let _cloud = Honest::join(&coordinator.participants, "cloud").await?;
    let caller = coordinator.caller()?;
    let purged = caller.delete("alice").await?;
    caller.until(&purged, State::Purged).await?;
    until("both to wait", async || {
        let left = receivers(&coordinator).await?;
        Ok(left.iter().any(|it| it.waiting == 2).then_some(()))
    })
    .await?;

    let fetched = |role, name| -> Result<Vec<Value>> {
        let shown = ca.issue(role, name, &[])?;
        let (root, pem) = (
            python.folder.path().join("ca.pem"),
            python.folder.path().join("own.pem"),
        );
        std::fs::write(&root, &shown.ca_pem)?;
        std::fs::write(&pem, format!("{}{}", shown.cert_pem, shown.key_pem))?;
        let port = coordinator.events.rsplit(':').next().context("a port")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/fetcher.py");
        let mut command = Command::new(&python.program);
        command
            .arg(script)
            .args(["--port", port, "--path", "/events/mail"]);
        let output = command
            .arg("--ca")
            .arg(root)
            .arg("--cert")
            .arg(pem)
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let lines = std::str::from_utf8(&output.stdout)?.lines();
        lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
    };
    let refused = fetched(Role::Receiver, "ads")?;
    assert_eq!(refused[0]["status"], 403, "{refused:?}");
    let answers = fetched(Role::Receiver, "mail")?;
    let mut events = Vec::new();
    for answer in &answers {
        assert_eq!(
            (&answer["status"], &answer["version"]),
            (&json!(200), &json!(11))
        );
        assert_eq!(answer["alpn"], "http/1.1");
        for token in answer["answer"]["sets"]
            .as_object()
            .context("sets")?
            .values()
        {
            let token = token.as_str().context("a token")?;
            events.push(receiver::told(&python.check(token, MAIL)?)?.1);
        }
    }
    assert_eq!(
        events,
        ["disabled", "purged"],
        "one after the other: {answers:?}"
    );
    assert!(receivers(&coordinator).await?.is_empty());
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_receivers_own_certificate_opens_its_events() -> Result<()> {
    tls::install_provider();
    let ca = DevCa::create()?;
    let own = Security::Mutual(ca.issue(Role::Coordinator, "coordinator", &[])?);
    let mut told = telling(
        vec![fetching("mail")],
        Some(loopback(own.clone())),
        "memory:",
    );
    for listener in [
        &mut told.callers,
        &mut told.participants,
        &mut told.operators,
    ] {
        listener.security = own.clone();
    }
    let coordinator = Coordinator::start_with(told).await?;
    let url = format!("https://{}/events/mail", coordinator.events);
    let client = |role, name| -> Result<Client> {
        let shown = ca.issue(role, name, &[])?;
        let pem = format!("{}{}", shown.cert_pem, shown.key_pem);
        Ok(Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(shown.ca_pem.as_bytes())?])
            .identity(reqwest::Identity::from_pem(pem.as_bytes())?)
            .build()?)
    };
    let now = json!({"returnImmediately": true});
    let (status, answer) = fetch(&client(Role::Receiver, "mail")?, &url, &now).await?;
    assert_eq!(
        (status, answer),
        (StatusCode::OK, json!({"sets": {}, "moreAvailable": false}))
    );
    for (role, name) in [
        (Role::Receiver, "ads"),
        (Role::Caller, "mail"),
        (Role::Operator, "mail"),
        (Role::Participant, "mail"),
    ] {
        let (status, answer) = fetch(&client(role, name)?, &url, &now).await?;
        assert_eq!(status, StatusCode::FORBIDDEN, "{role}/{name}");
        assert_eq!(answer["err"], "access_denied");
    }
    let nobody = Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(ca.pem().as_bytes())?])
        .build()?;
    assert!(fetch(&nobody, &url, &now).await.is_err());
    coordinator.stop().await
}
