//! What the support desk decides of a deletion in its own cases: that it is denied, taken back for somebody who can't, or takes longer.
//! Told with the real binary, by the command line; what is on record of it is read as a regulator would.

use anyhow::{Context as _, Result, ensure};
use farewell_proto::deletion::v1 as api;
use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
use farewell_proto::operator::v1 as operator_api;
use farewell_proto::operator::v1::operator_service_client::OperatorServiceClient;
use farewell_tests::caller::fresh;
use farewell_tests::office::{NOT_FOUND, REFUSED, Town};
use farewell_tests::refusal::bad_field;
use farewell_tests::wait;
use serde_json::Value;

/// The exit code of bad input.
const INVALID: i32 = 6;
const PAPERS: [&str; 2] = ["identity-document", "purchase-proof"];

/// The last step that somebody decided: what, on whose behalf, through whom, why, and in which case or file.
fn decided(town: &Town, deletion: &str) -> Result<[String; 5]> {
    let told = town.told("operator", &["deletion", "history", deletion], "")?;
    let steps = told["steps"].as_array().context("steps")?;
    let last = steps.iter().rfind(|it| it["decider"] != "FAREWELL");
    let last = last.context("a decision")?;
    let word = |key: &str| last[key].as_str().unwrap_or_default().to_owned();
    let reasons = last["reasons"].as_array().into_iter().flatten();
    let reasons: Vec<_> = reasons.filter_map(Value::as_str).collect();
    Ok([
        word("step"),
        word("decider"),
        word("by"),
        reasons.join(","),
        word("reference"),
    ])
}

/// The texts of letters of a deletion and kind, once there are some.
async fn letters(town: &Town, deletion: &str, kind: &str) -> Result<Vec<String>> {
    wait::until("letters", async || {
        let letters = town.letters();
        let of_kind = letters
            .iter()
            .filter(|it| it["deletion"] == deletion && it["kind"] == kind)
            .map(|it| it["text"].as_str().unwrap_or_default().to_owned());
        Ok(Some(of_kind.collect::<Vec<_>>()).filter(|texts| !texts.is_empty()))
    })
    .await
}

/// Verifies it by documents; until the session of the desk is there.
async fn verified(town: &Town, deletion: &str, case: &str) -> Result<()> {
    let verify = ["deletion", "verify", deletion, "--factor", "documents"];
    wait::until("the session of the desk", async || {
        Ok(town.told("caller", &verify, case).is_ok().then_some(()))
    })
    .await?;
    town.state(deletion, "COOLING_OFF").await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_denied_says_why_and_may_be_asked_for_again() -> Result<()> {
    let Some(mut town) = Town::open_with_people("1h").await? else {
        return Ok(());
    };
    let identity = farewell_identity::open(&town.database("identity")).await?;
    let (phone, mail) = ("+86 138 0000 0000", "li.na@example.com");
    farewell_identity::sample(&identity, "a-1", phone, mail, "a farewell to arms").await?;
    let case = town.case("a-1", &["lost-access"], &PAPERS)?;
    let first = town.create("a-1", "support")?;
    let request = fresh();
    let deny = [
        "deletion",
        "deny",
        &first,
        "--case",
        &case,
        "--request-id",
        &request,
    ];
    town.refuses("caller", (&deny, ""), REFUSED, "CASE_NOT_REJECTED")?;
    let reject = ["reject", &case, "--reason", "not-the-owner"];
    town.desk_of("bo", &reject)?;
    let other = town.create("b-1", "support")?;
    let foreign = ["deletion", "deny", &other, "--case", &case];
    town.refuses("caller", (&foreign, ""), NOT_FOUND, "CASE_NOT_FOUND")?;

    // The answer is lost with the coordinator, and the same request has the same answer.
    town.told("caller", &deny, "")?;
    town.kill("coordinator")?;
    town.restart("coordinator")?;
    town.whole().await?;
    let denied = town.told("caller", &deny, "")?;
    assert_eq!(denied["state"], "DENIED");
    assert_eq!(denied["denial"]["reason"], "NOT_THE_OWNER");
    let row = |row: [&str; 5]| row.map(str::to_owned);
    let expected = row(["DENIED", "DESK", "caller", "NOT_THE_OWNER", &case]);
    assert_eq!(decided(&town, &first)?, expected);
    for text in letters(&town, &first, "DENIED").await? {
        ensure!(text.contains("owner of the account"), "{text}");
        ensure!(text.contains("you can ask again"), "{text}");
    }

    // It says nothing about the next request, which may be denied for a reason of law before it is verified, and afterwards.
    let second = town.create("a-1", "support")?;
    let again = ["deletion", "deny", &second, "--case", &case];
    town.refuses("caller", (&again, ""), REFUSED, "CASE_USED")?;
    let by_law = ["--reason", "legal-obligation", "--reference", "LEGAL-9"];
    let by_law = [&["operator", "deny", &second], &by_law[..]].concat();
    let denied = town.told("operator", &by_law, "")?;
    assert_eq!(denied["denial"]["reason"], "LEGAL_OBLIGATION");
    let expected = row([
        "DENIED",
        "OPERATOR",
        "operator",
        "LEGAL_OBLIGATION",
        "LEGAL-9",
    ]);
    assert_eq!(decided(&town, &second)?, expected);

    let granted = town.approved("a-1", &["lost-access"], &PAPERS)?;
    let third = town.create("a-1", "support")?;
    verified(&town, &third, &granted).await?;
    let late = ["deletion", "deny", &third, "--case", &granted];
    town.refuses("caller", (&late, ""), REFUSED, "ILLEGAL_STATE")?;
    let unfounded = ["operator", "deny", &third, "--reason", "unfounded"];
    town.told("operator", &unfounded, "")?;
    town.state(&third, "DENIED").await?;
    town.refuses("operator", (&unfounded, ""), REFUSED, "ALREADY_ENDED")?;
    // Its seals are lifted: everything is as it was.
    wait::until("the seals to be lifted", async || {
        let seen = town.told("caller", &["deletion", "get", &third], "")?;
        Ok(seen["close_time"]
            .as_str()
            .filter(|it| !it.is_empty())
            .map(drop))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_desk_takes_back_and_extends_on_cases_of_its_own() -> Result<()> {
    let Some(town) = Town::open("1h", "30d").await? else {
        return Ok(());
    };
    let row = |row: [&str; 5]| row.map(str::to_owned);
    let granted = town.approved("a-1", &["lost-access"], &PAPERS)?;
    let first = town.create("a-1", "support")?;
    verified(&town, &first, &granted).await?;
    let case = town.case("a-1", &["revoke"], &[])?;
    let approve = ["support", "case", "approve", &case];
    town.refuses("bo", (&approve, ""), REFUSED, "EVIDENCE_MISSING")?;
    let case = town.case("a-1", &["revoke"], &["other"])?;
    let revoke = ["deletion", "revoke", &first, "--case", &case];
    town.refuses("caller", (&revoke, ""), REFUSED, "CASE_NOT_APPROVED")?;
    town.desk_of("bo", &["approve", &case])?;
    let other = town.create("b-1", "support")?;
    let foreign = ["deletion", "revoke", &other, "--case", &case];
    town.refuses("caller", (&foreign, ""), NOT_FOUND, "CASE_NOT_FOUND")?;
    let wrong = ["deletion", "revoke", &first, "--case", &granted];
    town.refuses("caller", (&wrong, ""), REFUSED, "CASE_NOT_FOR_THIS")?;
    let request = fresh();
    let once = [&revoke[..], &["--request-id", &request]].concat();
    for _ in 0..2 {
        assert_eq!(town.told("caller", &once, "")?["state"], "REVOKED");
    }
    let expected = row(["REVOKED", "DESK", "caller", "", &case]);
    assert_eq!(decided(&town, &first)?, expected);
    let used = town.desk_of("bo", &["get", &case])?;
    assert_eq!(used["used_for"], first.as_str());

    let second = town.create("a-1", "support")?;
    let again = ["deletion", "revoke", &second, "--case", &case];
    town.refuses("caller", (&again, ""), REFUSED, "CASE_USED")?;
    let longer = town.case("a-1", &["extension", "--code", "COMPLEXITY"], &[])?;
    let extend = |reason: &'static str, case: &str| {
        let line = [
            "deletion", "extend", &second, "--reason", reason, "--case", case,
        ];
        line.map(str::to_owned).to_vec()
    };
    let refuses = |line: Vec<String>, word: &str| {
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        town.refuses("caller", (&words, ""), REFUSED, word)
    };
    refuses(extend("complexity", &longer), "CASE_NOT_APPROVED")?;
    town.desk_of("chi", &["approve", &longer])?;
    refuses(extend("number-of-requests", &longer), "CASE_NOT_FOR_THIS")?;
    let line = extend("complexity", &longer);
    let words: Vec<&str> = line.iter().map(String::as_str).collect();
    let extended = town.told("caller", &words, "")?;
    assert_eq!(extended["deadline_extension"]["reason"], "COMPLEXITY");
    ensure!(extended["deadline_extension"]["earlier_deadline"] != extended["deadline"]);
    let expected = row(["DEADLINE_EXTENDED", "DESK", "caller", "COMPLEXITY", &longer]);
    assert_eq!(decided(&town, &second)?, expected);
    // What can't be done uses up nobody's approval.
    let more = town.case("a-1", &["extension", "--code", "COMPLEXITY"], &[])?;
    town.desk_of("chi", &["approve", &more])?;
    refuses(extend("complexity", &more), "DEADLINE_ALREADY_EXTENDED")?;
    assert_eq!(town.desk_of("chi", &["get", &more])?["used_for"], "");

    for codes in [
        &[][..],
        &["--code", "BECAUSE"],
        &["--code", "COMPLEXITY", "--code", "COMPLEXITY"],
    ] {
        let open = ["support", "case", "open", "a-1", "--kind", "extension"];
        let open = [&open[..], codes].concat();
        town.refuses("ana", (&open, ""), INVALID, "INVALID_FIELD")?;
    }
    bad_calls(&town, &second, &longer).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_is_used_once_also_where_the_desk_comes_back_from_a_backup() -> Result<()> {
    let Some(mut town) = Town::open("1h", "30d").await? else {
        return Ok(());
    };
    let request = fresh();
    let case = town.case("a-1", &["revoke"], &["identity-document"])?;
    town.desk_of("bo", &["approve", &case])?;
    let denied = town.case("b-1", &["lost-access"], &PAPERS)?;
    town.desk_of("bo", &["reject", &denied, "--reason", "not-the-owner"])?;
    let files = ["", "-wal", "-shm"].map(|end| format!("support.db{end}"));
    town.kill("support")?;
    for file in &files {
        let backup = town.path(&format!("{file}.backup"));
        std::fs::copy(town.path(file), backup)?;
    }
    town.restart("support")?;
    town.whole().await?;

    let first = town.create("a-1", "support")?;
    let revoke = [
        "deletion",
        "revoke",
        &first,
        "--case",
        &case,
        "--request-id",
        &request,
    ];
    let revoked = town.told("caller", &revoke, "")?;
    assert_eq!(revoked["state"], "REVOKED");
    let other = town.create("b-1", "support")?;
    let deny = ["deletion", "deny", &other, "--case", &denied];
    assert_eq!(town.told("caller", &deny, "")?["state"], "DENIED");

    // It knows of neither use any more.
    town.kill("support")?;
    for file in &files {
        let backup = town.path(&format!("{file}.backup"));
        std::fs::copy(backup, town.path(file))?;
    }
    town.restart("support")?;
    town.kill("coordinator")?;
    town.restart("coordinator")?;
    town.whole().await?;
    assert_eq!(town.desk_of("bo", &["get", &case])?["used_for"], "");
    let second = town.create("a-1", "support")?;
    let again = ["deletion", "revoke", &second, "--case", &case];
    town.refuses("caller", (&again, ""), REFUSED, "CASE_USED")?;
    let next = town.create("b-1", "support")?;
    let again = ["deletion", "deny", &next, "--case", &denied];
    town.refuses("caller", (&again, ""), REFUSED, "CASE_USED")?;
    assert_eq!(
        town.desk_of("bo", &["get", &case])?["used_for"],
        "",
        "and is not asked"
    );
    // What it was used for first has the same answer.
    let revoked = town.told("caller", &revoke, "")?;
    assert_eq!(revoked["name"], first.as_str());
    Ok(())
}

/// Bad input of each call names its field and changes nothing.
async fn bad_calls(town: &Town, name: &str, case: &str) -> Result<()> {
    let before = town.told("caller", &["deletion", "get", name], "")?;
    let mut caller = DeletionServiceClient::new(town.channel(&town.callers, "caller").await?);
    let revoke = api::RevokeDeletionRequest {
        request_id: fresh(),
        name: name.to_owned(),
        link_token: String::new(),
        case: case.to_owned(),
    };
    let deny = api::DenyDeletionRequest {
        request_id: fresh(),
        name: name.to_owned(),
        case: case.to_owned(),
    };
    let extend = api::ExtendDeadlineRequest {
        request_id: fresh(),
        name: name.to_owned(),
        reason: api::ExtensionReason::Complexity.into(),
        case: case.to_owned(),
    };
    for (what, field, [request_id, name, case]) in [
        ("no id", "request_id", ["", name, case]),
        ("no deletion", "name", [&fresh(), "", case]),
        ("no case", "case", [&fresh(), name, "cases/"]),
        ("another's name", "case", [&fresh(), name, "deletions/1"]),
    ] {
        let [request_id, name, case] = [request_id, name, case].map(str::to_owned);
        let spoilt = api::RevokeDeletionRequest {
            request_id: request_id.clone(),
            name: name.clone(),
            case: case.clone(),
            ..revoke.clone()
        };
        bad_field(
            what,
            caller.revoke_deletion(spoilt).await,
            "INVALID_FIELD",
            field,
        );
        let spoilt = api::DenyDeletionRequest {
            request_id: request_id.clone(),
            name: name.clone(),
            case: case.clone(),
        };
        bad_field(
            what,
            caller.deny_deletion(spoilt).await,
            "INVALID_FIELD",
            field,
        );
        let spoilt = api::ExtendDeadlineRequest {
            request_id,
            name,
            case,
            ..extend.clone()
        };
        bad_field(
            what,
            caller.extend_deadline(spoilt).await,
            "INVALID_FIELD",
            field,
        );
    }
    let both = api::RevokeDeletionRequest {
        link_token: "a link's".to_owned(),
        ..revoke
    };
    bad_field(
        "a link and a case",
        caller.revoke_deletion(both).await,
        "INVALID_FIELD",
        "case",
    );
    let empty = api::DenyDeletionRequest {
        case: String::new(),
        ..deny
    };
    bad_field(
        "no case at all",
        caller.deny_deletion(empty).await,
        "INVALID_FIELD",
        "case",
    );
    for reason in [0, 99] {
        let odd = api::ExtendDeadlineRequest {
            reason,
            ..extend.clone()
        };
        bad_field(
            "a reason",
            caller.extend_deadline(odd).await,
            "INVALID_FIELD",
            "reason",
        );
    }
    let mut operator = OperatorServiceClient::new(town.channel(&town.operators, "operator").await?);
    // What documents show only the desk can say.
    for reason in [0, 1, 2, 4, 99] {
        let odd = operator_api::DenyDeletionRequest {
            request_id: fresh(),
            name: name.to_owned(),
            reason,
            reference: String::new(),
        };
        bad_field(
            "a reason",
            operator.deny_deletion(odd).await,
            "INVALID_FIELD",
            "reason",
        );
    }
    let after = town.told("caller", &["deletion", "get", name], "")?;
    assert_eq!(after, before);
    Ok(())
}
