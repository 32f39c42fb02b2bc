//! What only a person decides: that is done once, by somebody who may, and the deletion goes on from there.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use farewell_proto::deletion::v1::{Deletion, State};
use farewell_proto::operator::v1::{
    Decider, ExtendDeadlineRequest, GetHistoryRequest, GetHistoryResponse, HoldDeletionRequest,
    HoldReason, ReleaseDeletionRequest, ReleaseReason, ResolveConflictRequest, ResolveReason,
    RetryLegRequest, RetryReason,
};
use farewell_proto::participant::v1::report::Answer;
use farewell_proto::participant::v1::{Outcome, Refused};
use farewell_tests::caller::{Operator, conditions, fresh};
use farewell_tests::coordinator::Coordinator;
use farewell_tests::ledger::{Place, rows};
use farewell_tests::office::{NOT_ALLOWED, NOT_FOUND, Town};
use farewell_tests::process::{CoordinatorSite, Process, Told, database, needed};
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::scripted::{Scripted, done, honest};
use farewell_tests::wait::{self, SILENCE};
use farewell_tests::{audit, policy};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use tonic::{Code, Status};

const NOTHING: [(&str, &str); 0] = [];

fn retry(name: &str, participant: &str) -> RetryLegRequest {
    RetryLegRequest {
        request_id: fresh(),
        name: name.to_owned(),
        participant: participant.to_owned(),
        reason: RetryReason::CauseCleared.into(),
        reference: "INC-17".to_owned(),
    }
}

fn hold(name: &str) -> HoldDeletionRequest {
    HoldDeletionRequest {
        request_id: fresh(),
        name: name.to_owned(),
        reason: HoldReason::LegalClaim.into(),
        reference: "LEGAL-12/2031".to_owned(),
    }
}

fn release(name: &str) -> ReleaseDeletionRequest {
    ReleaseDeletionRequest {
        request_id: fresh(),
        name: name.to_owned(),
        reason: ReleaseReason::ClaimEnded.into(),
        reference: "LEGAL-12/2031".to_owned(),
    }
}

async fn ask_again(operator: &Operator, request: &RetryLegRequest) -> Result<Deletion, Status> {
    let answer = operator.api.clone().retry_leg(request.clone()).await?;
    Ok(answer.into_inner().deletion.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_leg_is_asked_again_when_an_operator_says_so() -> Result<()> {
    for place in Place::each()? {
        let plan = policy::straight(&[&["cloud", "store"]]);
        let coordinator = Coordinator::start(plan, &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 1).await?;
        let refusing = Answer::Refused(Refused {
            reason: "BUSY".to_owned(),
            detail: String::new(),
        });
        let first = cloud.command().await?;
        cloud.answer(&first, refusing.clone()).await;
        let stuck = |it: &Deletion| Ok(conditions(it) == [("LEG_REFUSED", "cloud")]);
        caller.until_true(&name, "a refusal", stuck).await?;
        let history = page(&operator, &name, 0, "").await?;
        let refusal = history.steps.last().context("a step")?;
        assert_eq!(refusal.step, "LEG_REFUSED");
        assert_eq!(
            (refusal.by.as_str(), &refusal.reasons[..]),
            ("cloud", &["BUSY".to_owned()][..])
        );

        let other = ask_again(&operator, &retry(&name, "store")).await;
        refused(
            "who refuses nothing",
            other,
            Code::FailedPrecondition,
            "LEG_NOT_REFUSED",
        );
        let nobody = ask_again(&operator, &retry(&name, "")).await;
        bad_field("nobody", nobody, "INVALID_FIELD", "participant");
        cloud.silence(SILENCE).await?;

        let request = retry(&name, "cloud");
        let cleared = ask_again(&operator, &request).await?;
        assert_eq!(conditions(&cleared), NOTHING);
        let again = cloud.command().await?;
        assert_eq!(again.name, first.name, "the same command as before");
        cloud.answer(&again, refusing).await;
        caller.until_true(&name, "another refusal", stuck).await?;
        // The operator's request, sent twice on the way, is no word on the second refusal.
        ask_again(&operator, &request).await?;
        cloud.silence(SILENCE).await?;

        ask_again(&operator, &retry(&name, "cloud")).await?;
        let last = cloud.command().await?;
        cloud.answer(&last, honest(&last)).await;
        let mut store = Scripted::join(&coordinator.participants, "store", 1).await?;
        let erase = store.command().await?;
        store.answer(&erase, honest(&erase)).await;
        caller.until(&name, State::Purged).await?;
        // Even after the end a repeat is no mistake.
        assert_eq!(ask_again(&operator, &request).await?.state(), State::Purged);
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_that_was_looked_into_blocks_no_longer() -> Result<()> {
    for place in Place::each()? {
        let plan = policy::straight(&[&["cloud"], &["store"]]);
        let coordinator = Coordinator::start(plan, &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let resolve = ResolveConflictRequest {
            request_id: fresh(),
            name: name.clone(),
            reason: ResolveReason::KeptConfirmed.into(),
            reference: String::new(),
        };
        let mut api = operator.api.clone();
        let early = api.resolve_conflict(resolve.clone());
        refused(
            "no conflict",
            early.await,
            Code::FailedPrecondition,
            "ILLEGAL_STATE",
        );
        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 1).await?;
        let erase = cloud.command().await?;
        for photos in [3, 4] {
            let erased = done(Outcome::Erased, &[("photos", photos)]);
            cloud.answer(&erase, Answer::Done(erased)).await;
        }
        let disputed = |it: &Deletion| Ok(conditions(it) == [("EVIDENCE_CONFLICT", "")]);
        caller.until_true(&name, "a conflict", disputed).await?;
        let mut store = Scripted::join(&coordinator.participants, "store", 1).await?;
        let last = store.command().await?;
        store.answer(&last, honest(&last)).await;
        assert_eq!(caller.get(&name).await?.state(), State::Erasing);
        // It was refused before, so it is not known as something that was done.
        api.resolve_conflict(resolve).await?;
        let purged = caller.until(&name, State::Purged).await?;
        assert_eq!(
            purged.legs[0].counts["photos"], 3,
            "the first answer stands"
        );
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legal_hold_stops_the_purge_until_it_is_released() -> Result<()> {
    for place in Place::each()? {
        let plan = policy::straight(&[&["cloud"]]);
        let coordinator = Coordinator::start(plan, &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let unheld = operator.api.clone().release_deletion(release(&name)).await;
        refused(
            "nothing to release",
            unheld,
            Code::FailedPrecondition,
            "ILLEGAL_STATE",
        );
        let held = operator
            .api
            .clone()
            .hold_deletion(hold(&name))
            .await?
            .into_inner();
        let held = held.deletion.unwrap_or_default();
        assert_eq!(conditions(&held), [("LEGAL_HOLD", "")]);
        let twice = operator.api.clone().hold_deletion(hold(&name)).await;
        refused("a second hold", twice, Code::FailedPrecondition, "HELD");

        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 1).await?;
        cloud.silence(SILENCE).await?;
        assert_eq!(caller.get(&name).await?.state(), State::Erasing);
        operator
            .api
            .clone()
            .release_deletion(release(&name))
            .await?;
        let erase = cloud.command().await?;
        cloud.answer(&erase, honest(&erase)).await;
        caller.until(&name, State::Purged).await?;
        let late = operator.api.clone().hold_deletion(hold(&name)).await;
        refused("too late", late, Code::FailedPrecondition, "ALREADY_ENDED");
        coordinator.stop().await?;
    }
    Ok(())
}

/// What is wrong with a decision, and in which field.
type Fault<'a> = (&'a str, &'a str, Spoilt<'a>);

/// The fields that every decision has.
#[derive(Clone, Copy)]
struct Spoilt<'a> {
    request_id: &'a str,
    name: &'a str,
    reason: i32,
    reference: &'a str,
}

/// Makes a call, and answers with what was said.
macro_rules! decide {
    ($api:expr, $call:ident, $request:ident, $spoilt:expr $(, $field:ident: $value:expr)*) => {{
        let spoilt: Spoilt<'_> = $spoilt;
        let request = $request {
            request_id: spoilt.request_id.to_owned(),
            name: spoilt.name.to_owned(),
            reason: spoilt.reason,
            reference: spoilt.reference.to_owned(),
            $($field: $value,)*
        };
        $api.clone().$call(request).await.map(drop)
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_names_nothing_leaves_nothing_behind() -> Result<()> {
    let place = Place::sqlite()?;
    let coordinator = Coordinator::start(policy::straight(&[&["cloud"]]), &place.url).await?;
    let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
    let name = caller.delete("alice").await?;
    let kept = farewell_ledger::connect(&place.url).await?;
    wait::until("everything to be announced", async || {
        let overview = kept.overview(Duration::ZERO, Duration::ZERO).await?;
        Ok((overview.outbox == 0).then_some(()))
    })
    .await?;
    let before = rows(&*kept).await?;
    let id = fresh();
    let sound = Spoilt {
        request_id: &id,
        name: &name,
        reason: 1,
        reference: "",
    };
    let long = format!("LEGAL-{}", "1".repeat(64));
    let faults: [Fault<'_>; 11] = [
        (
            "no id",
            "request_id",
            Spoilt {
                request_id: "",
                ..sound
            },
        ),
        (
            "no UUID",
            "request_id",
            Spoilt {
                request_id: "one",
                ..sound
            },
        ),
        ("no deletion", "name", Spoilt { name: "", ..sound }),
        (
            "an account",
            "name",
            Spoilt {
                name: "accounts/a",
                ..sound
            },
        ),
        ("no reason", "reason", Spoilt { reason: 0, ..sound }),
        (
            "an unknown reason",
            "reason",
            Spoilt {
                reason: 99,
                ..sound
            },
        ),
        (
            "a negative one",
            "reason",
            Spoilt {
                reason: -1,
                ..sound
            },
        ),
        (
            "a person",
            "reference",
            Spoilt {
                reference: "Anna Smith",
                ..sound
            },
        ),
        (
            "an address",
            "reference",
            Spoilt {
                reference: "a@example.org",
                ..sound
            },
        ),
        (
            "a number alone",
            "reference",
            Spoilt {
                reference: "8613800000000",
                ..sound
            },
        ),
        (
            "too long",
            "reference",
            Spoilt {
                reference: &long,
                ..sound
            },
        ),
    ];
    let api = &operator.api;
    for (what, field, spoilt) in faults {
        let cloud = "cloud".to_owned();
        let answers = [
            decide!(api, hold_deletion, HoldDeletionRequest, spoilt),
            decide!(api, release_deletion, ReleaseDeletionRequest, spoilt),
            decide!(api, resolve_conflict, ResolveConflictRequest, spoilt),
            decide!(api, extend_deadline, ExtendDeadlineRequest, spoilt),
            decide!(api, retry_leg, RetryLegRequest, spoilt, participant: cloud),
        ];
        for answer in answers {
            bad_field(what, answer, "INVALID_FIELD", field);
        }
    }
    let unknown = format!("deletions/{}", fresh());
    let stranger = Spoilt {
        name: &unknown,
        ..sound
    };
    let answer = decide!(api, hold_deletion, HoldDeletionRequest, stranger);
    refused("unknown", answer, Code::NotFound, "DELETION_NOT_FOUND");
    let used = caller.get(&name).await?;
    assert_eq!(used.state(), State::Erasing);
    assert_eq!(rows(&*kept).await?, before);
    // None of it was taken: the id is as good as new, for one body.
    decide!(api, hold_deletion, HoldDeletionRequest, sound)?;
    decide!(api, hold_deletion, HoldDeletionRequest, sound)?;
    let other = Spoilt { reason: 2, ..sound };
    let other = decide!(api, hold_deletion, HoldDeletionRequest, other);
    refused(
        "another body",
        other,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    coordinator.stop().await
}

async fn page(
    operator: &Operator,
    name: &str,
    page_size: i32,
    page_token: &str,
) -> Result<GetHistoryResponse, Status> {
    let request = GetHistoryRequest {
        name: name.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    Ok(operator
        .api
        .clone()
        .get_history(request)
        .await?
        .into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_told_page_by_page_and_to_a_sound_question_alone() -> Result<()> {
    for place in Place::each()? {
        let plan = policy::straight(&[&["cloud"]]);
        let coordinator = Coordinator::start(plan, &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let (name, other) = (caller.delete("alice").await?, caller.delete("bob").await?);
        for round in 0..4 {
            let mut api = operator.api.clone();
            if round % 2 == 0 {
                api.hold_deletion(hold(&name)).await?;
            } else {
                api.release_deletion(release(&name)).await?;
            }
        }
        let whole = page(&operator, &name, 0, "").await?;
        assert_eq!(whole.next_page_token, "");
        let words: Vec<_> = whole.steps.iter().map(|it| it.step.as_str()).collect();
        assert_eq!(words, ["ERASING", "HELD", "RELEASED", "HELD", "RELEASED"]);
        let (mut steps, mut token) = (Vec::new(), String::new());
        loop {
            let some = page(&operator, &name, 2, &token).await?;
            assert!((1..=2).contains(&some.steps.len()));
            steps.extend(some.steps);
            token = some.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(steps, whole.steps);

        for (what, wrong, field) in [
            ("nothing", "", "name"),
            ("all", "deletions/-", "name"),
            ("an account", "accounts/alice", "name"),
        ] {
            let answer = page(&operator, wrong, 0, "").await;
            bad_field(what, answer, "INVALID_FIELD", field);
        }
        for size in [-1, 501] {
            let answer = page(&operator, &name, size, "").await;
            bad_field("a size", answer, "INVALID_FIELD", "page_size");
        }
        let first = page(&operator, &name, 1, "").await?;
        let elsewhere = page(&operator, &other, 1, &first.next_page_token).await;
        bad_field("another's", elsewhere, "PAGE_TOKEN_MISMATCH", "page_token");
        let made_up = page(&operator, &name, 1, "1").await;
        bad_field("nobody's", made_up, "PAGE_TOKEN_MISMATCH", "page_token");
        let unknown = page(&operator, &format!("deletions/{}", fresh()), 0, "").await;
        refused("unknown", unknown, Code::NotFound, "DELETION_NOT_FOUND");
        coordinator.stop().await?;
    }
    Ok(())
}

/// Decides, with kill -9 at any moment of it, and asks again until there is an answer: also twice at a time.
async fn insist<T>(
    site: &CoordinatorSite,
    running: Process,
    request: T,
    send: impl AsyncFn(Operator, T) -> Result<(), Status> + Clone,
) -> Result<Process>
where
    T: Clone,
{
    let operator = site.operator()?;
    let moment = Duration::from_micros(rand::random_range(0..12_000));
    let (lost, ()) = tokio::join!(send(operator, request.clone()), async {
        sleep(moment).await;
        drop(running);
    });
    let running = site.start().await?;
    let operator = site.operator()?;
    let again = || send(operator.clone(), request.clone());
    let (one, other) = tokio::join!(again(), again());
    one.with_context(|| format!("after {lost:?}: {}", site.words()))?;
    other.with_context(|| format!("after {lost:?}: {}", site.words()))?;
    Ok(running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_whose_answer_was_lost_is_made_once_and_on_record_once() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let folder = TempDir::new()?;
    let ledger = database(folder.path(), "ledger");
    let told = Told {
        instance: "one",
        stages: &[&["cloud"]],
        ledger: &ledger,
        lease: "2s",
        cooling_off: "1h",
        collector: "",
    };
    let site = CoordinatorSite::new(&program, folder.path(), &told)?;
    let mut running = site.start().await?;
    let name = site.caller()?.delete("alice").await?;
    let mut asked = Vec::new();
    for _ in 0..4 {
        let (place, lift) = (hold(&name), release(&name));
        asked.extend([place.request_id.clone(), lift.request_id.clone()]);
        running = insist(
            &site,
            running,
            place,
            async |operator: Operator, request| {
                operator.api.clone().hold_deletion(request).await.map(drop)
            },
        )
        .await?;
        running = insist(&site, running, lift, async |operator: Operator, request| {
            operator
                .api
                .clone()
                .release_deletion(request)
                .await
                .map(drop)
        })
        .await?;
    }
    let steps = page(&site.operator()?, &name, 0, "").await?.steps;
    let decided: Vec<_> = steps
        .iter()
        .filter(|step| step.decider() == Decider::Operator)
        .map(|step| step.request_id.clone())
        .collect();
    assert_eq!(decided, asked, "{steps:?}");
    drop(running);
    Ok(())
}

/// Who decided which step, why, and with what it is found; without what followed from policy and time alone.
fn decisions(history: &Value) -> Vec<[String; 5]> {
    let steps = history["steps"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let decided = steps.filter(|it| it["decider"] != "FAREWELL" || it["reasons"] != json!([]));
    let decided = decided.map(|it| {
        let reasons = it["reasons"].as_array().into_iter().flatten();
        let reasons: Vec<_> = reasons.map(text).collect();
        [
            text(&it["step"]),
            text(&it["decider"]),
            text(&it["by"]),
            reasons.join(","),
            text(&it["reference"]),
        ]
    });
    decided.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_regulator_reads_who_decided_what_when_and_why_also_after_the_purge() -> Result<()> {
    // Long enough to stand in no identifier by chance.
    const ACCOUNT: &str = "somebody-of-the-regulator";
    let Some(town) = Town::open("300ms", "30d").await? else {
        return Ok(());
    };
    let papers = ["identity-document", "purchase-proof"];
    let memory = town.case(ACCOUNT, &["legacy"], &["death-certificate"])?;
    let case = town.approved(ACCOUNT, &["lost-access"], &papers)?;
    let deletion = town.create(ACCOUNT, "support")?;
    let verify = ["deletion", "verify", &deletion, "--factor", "documents"];
    wait::until("the session of the desk", async || {
        Ok(town.told("caller", &verify, &case).is_ok().then_some(()))
    })
    .await?;
    let history = ["deletion", "history", &deletion];
    wait::until("what is in the way to be on record", async || {
        let told = town.told("operator", &history, "")?;
        let blocked = |it: &[String; 5]| it[0] == "BLOCKED";
        Ok(decisions(&told).iter().any(blocked).then_some(()))
    })
    .await?;
    let reason = ["--reason", "court-order", "--reference", "LEGAL-12/2031"];
    let hold = [&["operator", "hold", &deletion], &reason[..]].concat();
    town.told("operator", &hold, "")?;
    town.desk_of("bo", &["withdraw", &memory])?;
    town.state(&deletion, "COOLING_OFF").await?;
    let release = ["operator", "release", &deletion, "--reason", "order-ended"];
    town.told("operator", &release, "")?;
    town.state(&deletion, "PURGED").await?;

    let told = town.told("operator", &history, "")?;
    let mut seen = decisions(&told);
    // It is asked again and again whether it is still in the way.
    seen.dedup();
    let row = |row: [&str; 5]| row.map(str::to_owned);
    let expected = [
        row(["AWAITING_VERIFICATION", "PERSON", "caller", "", ""]),
        row(["FACTOR_VERIFIED", "DESK", "caller", "DOCUMENTS", &case]),
        row(["BLOCKED", "FAREWELL", "", "LEGACY_CASE_OPEN:support", ""]),
        row([
            "HELD",
            "OPERATOR",
            "operator",
            "COURT_ORDER",
            "LEGAL-12/2031",
        ]),
        row(["RELEASED", "OPERATOR", "operator", "ORDER_ENDED", ""]),
    ];
    let others: Vec<_> = seen.iter().filter(|it| !expected.contains(it)).collect();
    ensure!(others.is_empty(), "{others:?}");
    let first = |row: &[String; 5]| seen.iter().position(|it| it == row);
    let places: Vec<_> = expected.iter().map(first).collect();
    ensure!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{seen:?}"
    );
    let steps = told["steps"].as_array().context("steps")?;
    let times: Vec<_> = steps.iter().map(|it| it["time"].as_str()).collect();
    ensure!(
        times.iter().all(Option::is_some) && times.is_sorted(),
        "{times:?}"
    );
    let numbers: Vec<_> = steps.iter().map(|it| it["revision"].as_u64()).collect();
    ensure!(
        numbers
            .iter()
            .copied()
            .eq((1..).take(steps.len()).map(Some))
    );
    let last = steps.last().context("a last step")?;
    ensure!(steps.iter().any(|it| it["step"] == "PURGED"), "{last}");
    ensure!(
        !told.to_string().contains(ACCOUNT),
        "the account is nobody's business"
    );

    // What a person takes back is theirs, through whoever they asked; and an operator who helps stands there as such.
    for (who, decider) in [("caller", "PERSON"), ("operator", "OPERATOR")] {
        let name = town.create("b-1", "support")?;
        town.told(who, &["deletion", "revoke", &name], "")?;
        let told = town.told("operator", &["deletion", "history", &name], "")?;
        let last = decisions(&told).pop().context("a decision")?;
        assert_eq!(last, row(["REVOKED", decider, who, "", ""]));
    }
    let own = ["deletion", "history", &deletion];
    town.refuses("caller", (&own, ""), NOT_ALLOWED, "NOT_AN_OPERATOR")?;
    let nobody = format!("deletions/{}", fresh());
    let nobody = ["deletion", "history", &nobody];
    town.refuses("operator", (&nobody, ""), NOT_FOUND, "DELETION_NOT_FOUND")?;
    let silent = ["operator", "hold", &deletion];
    town.refuses("operator", (&silent, ""), 2, "--reason")?;
    Ok(())
}
