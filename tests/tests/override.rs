//! A deletion goes on in spite of what is in its way, because the support desk decided so: told with the real binary, from the case that
//! two people approve to the certificate that names it.

use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use farewell_kit::store::Store;
use farewell_proto::deletion::v1 as api;
use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
use farewell_store::{NewOrder, SupportCase};
use farewell_tests::caller::fresh;
use farewell_tests::office::{NOT_FOUND, REFUSED, Town};
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::wait;
use serde_json::Value;
use sqlx::{AnyConnection, Connection as _};
use tonic::Code;

const DISPUTE: &str = "OPEN_DISPUTE";
const TICKET: &str = "SUPPORT_TICKET_OPEN";
const DEBT: &str = "DEBT_OR_CREDIT";

/// The store, as its own users see it.
async fn shop(town: &Town) -> Result<Store> {
    Ok(farewell_store::open(&town.database("store")).await?)
}

/// An order that has arrived, and is disputed.
async fn dispute(shop: &Store, account: &str) -> Result<()> {
    let order = NewOrder {
        item: "Watch S, graphite",
        amount_cents: 129_900,
        recipient: "Li Na",
        address: "88 Garden Road, Hangzhou",
    };
    let id = farewell_store::place_order(shop, account, &order).await?;
    let now = SystemTime::now();
    ensure!(farewell_store::complete_order(shop, account, &id, now).await?);
    ensure!(farewell_store::open_dispute(shop, account, &id).await?);
    Ok(())
}

async fn ticket(shop: &Store, account: &str) -> Result<String> {
    let (asked, text) = (SupportCase::Ticket, "Where is my watch?");
    Ok(farewell_store::open_support_case(shop, account, asked, text).await?)
}

/// A deletion whose owner the desk knows by documents, and that these stand in the way of.
async fn stopped(town: &Town, account: &str, codes: &[&str]) -> Result<String> {
    let papers = ["identity-document", "purchase-proof"];
    let known = town.approved(account, &["lost-access"], &papers)?;
    let deletion = town.create(account, "support")?;
    let verify = ["deletion", "verify", &deletion, "--factor", "documents"];
    town.told("caller", &verify, &known)?;
    stands(town, &deletion, codes).await?;
    Ok(deletion)
}

/// Until exactly these are in its way.
async fn stands(town: &Town, deletion: &str, codes: &[&str]) -> Result<Value> {
    wait::until("what is in the way", async || {
        let seen = town.told("caller", &["deletion", "get", deletion], "")?;
        let conditions = seen["conditions"].as_array().context("conditions")?;
        let blocked = conditions.iter().filter(|it| it["kind"] == "BLOCKED");
        let mut found: Vec<_> = blocked.filter_map(|it| it["reason"].as_str()).collect();
        found.sort_unstable();
        Ok((found == codes).then(|| seen.clone()))
    })
    .await
}

/// A case for these codes, with a document, that nobody has approved.
fn case(town: &Town, account: &str, codes: &[&str]) -> Result<String> {
    let mut kind = vec!["override"];
    for code in codes {
        kind.extend(["--code", code]);
    }
    town.case(account, &kind, &["other"])
}

fn approved(town: &Town, account: &str, codes: &[&str], by: &[&str]) -> Result<String> {
    let case = case(town, account, codes)?;
    for who in by {
        town.desk_of(who, &["approve", &case])?;
    }
    Ok(case)
}

/// The command line that asks for it.
fn asking<'a>(deletion: &'a str, case: &'a str, codes: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["deletion", "override", deletion, "--case", case];
    for code in codes {
        words.extend(["--code", code]);
    }
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_the_desk_let_a_deletion_go_on_and_a_crash_costs_no_approval() -> Result<()> {
    let Some(mut town) = Town::open("300ms", "30d").await? else {
        return Ok(());
    };
    let shop = shop(&town).await?;
    dispute(&shop, "a-1").await?;
    let loan = farewell_store::lend(&shop, "a-1", 100).await?;

    // Whoever looks before is told who could decide otherwise.
    let told = town.told("caller", &["deletion", "eligibility", "a-1"], "")?;
    let blockers = told["blockers"].as_array().context("blockers")?;
    let overrider = |code: &str| {
        let blocker = blockers.iter().find(|it| it["code"] == code);
        blocker.map(|it| it["overridable_by"].clone())
    };
    assert_eq!(
        overrider(DISPUTE),
        Some("SUPPORT_WITH_SECOND_PERSON".into())
    );
    assert_eq!(overrider(DEBT), Some("NOBODY".into()));

    let deletion = stopped(&town, "a-1", &[DEBT, DISPUTE]).await?;
    let refuses = |case: &str, codes: &[&str], code: i32, word: &str| {
        let line = asking(&deletion, case, codes);
        town.refuses("caller", (&line, ""), code, word)
    };
    let own = case(&town, "a-1", &[DISPUTE])?;
    let debt = approved(&town, "a-1", &[DEBT, DISPUTE], &["bo", "chi"])?;
    let ticket = approved(&town, "a-1", &[TICKET], &["bo", "chi"])?;
    let foreign = approved(&town, "b-1", &[DISPUTE], &["bo", "chi"])?;
    refuses(&own, &[DISPUTE], REFUSED, "CASE_NOT_APPROVED")?;
    town.desk_of("bo", &["approve", &own])?;
    refuses(&own, &[DISPUTE], REFUSED, "CASE_NOT_APPROVED")?;
    refuses(&debt, &[DEBT], REFUSED, "BLOCKER_NOT_OVERRIDABLE")?;
    refuses(&debt, &[DISPUTE, DEBT], REFUSED, "BLOCKER_NOT_OVERRIDABLE")?;
    refuses(&ticket, &[TICKET], REFUSED, "BLOCKER_NOT_IN_THE_WAY")?;
    refuses(&ticket, &[DISPUTE], REFUSED, "CASE_NOT_FOR_THIS")?;
    refuses(&foreign, &[DISPUTE], NOT_FOUND, "CASE_NOT_FOUND")?;
    let nobodys = format!("cases/{}", fresh());
    refuses(&nobodys, &[DISPUTE], NOT_FOUND, "CASE_NOT_FOUND")?;
    for unused in [&debt, &ticket, &foreign] {
        assert_eq!(town.desk_of("bo", &["get", unused])?["used_for"], "");
    }
    town.desk_of("chi", &["approve", &own])?;

    // The desk has agreed, and the coordinator dies before it can write that down.
    let request = fresh();
    let line = [
        &asking(&deletion, &own, &[DISPUTE])[..],
        &["--request-id", &request],
    ]
    .concat();
    town.signal("support", "STOP")?;
    let waiting = town.begin("caller", &line, "")?;
    let mut ledger = AnyConnection::connect(&town.database("coordinator")).await?;
    wait::until("the request to be kept", async || {
        let kept: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM request WHERE id = $1")
            .bind(uuid::Uuid::parse_str(&request)?.as_bytes().to_vec())
            .fetch_optional(&mut ledger)
            .await?;
        Ok(kept.map(drop))
    })
    .await?;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut ledger).await?;
    town.signal("support", "CONT")?;
    let used_for = format!("{deletion}/overrides/{request}");
    wait::until("the desk to agree", async || {
        let used = town.desk_of("bo", &["get", &own])?["used_for"].clone();
        Ok((used == used_for.as_str()).then_some(()))
    })
    .await?;
    town.kill("coordinator")?;
    sqlx::query("ROLLBACK").execute(&mut ledger).await?;
    ledger.close().await?;
    assert!(!waiting.wait_with_output()?.status.success());
    town.restart("coordinator")?;
    town.whole().await?;
    let seen = stands(&town, &deletion, &[DEBT, DISPUTE]).await?;
    assert_eq!(seen["overridden"], Value::Array(Vec::new()));

    // The same request goes on with the same approval, and once more changes nothing.
    let other = [&asking(&deletion, &own, &[DISPUTE])[..], &["--request-id"]].concat();
    let other_request = fresh();
    let by_another = [&other[..], &[&other_request]].concat();
    town.refuses("caller", (&by_another, ""), REFUSED, "CASE_USED")?;
    let first = town.told("caller", &line, "")?;
    let again = town.told("caller", &line, "")?;
    for told in [&first, &again] {
        let overridden = told["overridden"].as_array().context("overridden")?;
        assert_eq!(overridden.len(), 1, "{told}");
        assert_eq!(overridden[0]["code"], DISPUTE);
        assert_eq!(overridden[0]["participant"], "store");
        assert_eq!(overridden[0]["case"], own.as_str());
    }
    stands(&town, &deletion, &[DEBT]).await?;
    let reused = asking(&deletion, &debt, &[DISPUTE]);
    let reused = [&reused[..], &["--request-id", &request]].concat();
    let said = String::from_utf8(town.ask("caller", &reused, "")?.stderr)?;
    ensure!(said.contains("REQUEST_ID_REUSED"), "{said}");

    // The debt is nobody's to override: it is paid.
    assert_eq!(
        farewell_store::pay_back(&shop, "a-1", &loan, 100).await?,
        Some(0)
    );
    town.state(&deletion, "PURGED").await?;
    let printed = town.ask("caller", &["deletion", "certificate", &deletion], "")?;
    let certificate: Value = serde_json::from_slice(&printed.stdout)?;
    let stated = &certificate["blockers_overridden"];
    assert_eq!(stated.as_array().map(Vec::len), Some(1), "{certificate}");
    assert_eq!(stated[0]["code"], DISPUTE);
    assert_eq!(stated[0]["participant"], "store");
    assert_eq!(stated[0]["case"], own.as_str());
    let kept = town.desk_of("bo", &["get", &own])?;
    assert_eq!(kept["used_for"], used_for.as_str());
    assert_eq!(kept["account"], "", "erased for good");
    let late = asking(&deletion, &debt, &[DISPUTE]);
    town.refuses("caller", (&late, ""), REFUSED, "PAST_NO_RETURN")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_new_takes_another_case_and_what_is_taken_back_leaves_nothing() -> Result<()> {
    let Some(town) = Town::open("300ms", "30d").await? else {
        return Ok(());
    };
    let shop = shop(&town).await?;
    dispute(&shop, "a-1").await?;
    let question = ticket(&shop, "a-1").await?;

    // Of two that are in the way one is overridden; then it is taken back.
    let first = stopped(&town, "a-1", &[DISPUTE, TICKET]).await?;
    let decided = approved(&town, "a-1", &[DISPUTE], &["bo", "chi"])?;
    town.told("caller", &asking(&first, &decided, &[DISPUTE]), "")?;
    stands(&town, &first, &[TICKET]).await?;
    let twice = asking(&first, &decided, &[DISPUTE]);
    town.refuses("caller", (&twice, ""), REFUSED, "BLOCKER_NOT_IN_THE_WAY")?;
    town.told("caller", &["deletion", "revoke", &first], "")?;
    let ended = town.state(&first, "REVOKED").await?;
    assert_eq!(
        ended["overridden"][0]["case"],
        decided.as_str(),
        "on record"
    );
    town.refuses("caller", (&twice, ""), REFUSED, "ALREADY_ENDED")?;

    // The next deletion of the account begins without it.
    let second = stopped(&town, "a-1", &[DISPUTE, TICKET]).await?;
    let old = asking(&second, &decided, &[DISPUTE]);
    town.refuses("caller", (&old, ""), REFUSED, "CASE_USED")?;
    ensure!(farewell_store::close_support_case(&shop, "a-1", &question).await?);
    stands(&town, &second, &[DISPUTE]).await?;

    // A hold keeps it at the end of its wait, until something new is there.
    let hold = ["operator", "hold", &second, "--reason", "investigation"];
    town.told("operator", &hold, "")?;
    let anew = approved(&town, "a-1", &[DISPUTE], &["chi", "bo"])?;
    town.told("caller", &asking(&second, &anew, &[DISPUTE]), "")?;
    town.state(&second, "COOLING_OFF").await?;
    ticket(&shop, "a-1").await?;
    let release = [
        "operator",
        "release",
        &second,
        "--reason",
        "placed-in-error",
    ];
    town.told("operator", &release, "")?;
    let held = stands(&town, &second, &[TICKET]).await?;
    assert_eq!(held["state"], "COOLING_OFF");
    // One person is enough for a question that nobody has answered.
    let single = approved(&town, "a-1", &[TICKET], &["bo"])?;
    town.told("caller", &asking(&second, &single, &[TICKET]), "")?;
    let purged = town.state(&second, "PURGED").await?;
    let cases: Vec<_> = purged["overridden"]
        .as_array()
        .context("overridden")?
        .iter()
        .map(|it| it["case"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(cases, [anew.as_str(), single.as_str()]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_by_its_field_and_overrides_nothing() -> Result<()> {
    let Some(town) = Town::open("1h", "30d").await? else {
        return Ok(());
    };
    let shop = shop(&town).await?;
    dispute(&shop, "a-1").await?;
    let deletion = stopped(&town, "a-1", &[DISPUTE]).await?;
    let case = approved(&town, "a-1", &[DISPUTE], &["bo", "chi"])?;
    let caller = DeletionServiceClient::new(town.channel(&town.callers, "caller").await?);
    let sound = api::OverrideBlockersRequest {
        request_id: fresh(),
        name: deletion.clone(),
        codes: vec![DISPUTE.to_owned()],
        case: case.clone(),
    };
    type Spoil = fn(&mut api::OverrideBlockersRequest);
    let spoilt: [(&str, Spoil); 12] = [
        ("request_id", |it| it.request_id.clear()),
        ("request_id", |it| it.request_id = "1".to_owned()),
        ("name", |it| it.name.clear()),
        ("name", |it| it.name = "accounts/a-1".to_owned()),
        ("codes", |it| it.codes.clear()),
        ("codes", |it| it.codes = vec!["A".to_owned(); 17]),
        ("codes[0]", |it| it.codes = vec![String::new()]),
        ("codes[0]", |it| it.codes = vec!["open dispute".to_owned()]),
        ("codes[1]", |it| it.codes.push(DISPUTE.to_owned())),
        ("case", |it| it.case.clear()),
        ("case", |it| it.case = "cases/".to_owned()),
        ("case", |it| {
            it.case = "cases/00000000-0000-0000-0000-000000000000".to_owned();
        }),
    ];
    for (field, spoil) in spoilt {
        let mut request = sound.clone();
        spoil(&mut request);
        let answer = caller.clone().override_blockers(request).await;
        bad_field(field, answer, "INVALID_FIELD", field);
    }
    let mut unknown = sound.clone();
    unknown.name = format!("deletions/{}", fresh());
    let answer = caller.clone().override_blockers(unknown).await;
    refused("nobody's", answer, Code::NotFound, "DELETION_NOT_FOUND");
    let seen = stands(&town, &deletion, &[DISPUTE]).await?;
    assert_eq!(seen["overridden"], Value::Array(Vec::new()));
    assert_eq!(town.desk_of("bo", &["get", &case])?["used_for"], "");

    // And it was none of the others' fault.
    let answer = caller.clone().override_blockers(sound.clone()).await?;
    let answered = answer.into_inner().deletion.context("a deletion")?;
    assert_eq!(answered.overridden[0].case, case);
    let mut other = sound;
    other.codes.push(TICKET.to_owned());
    let answer = caller.clone().override_blockers(other).await;
    refused("reused", answer, Code::AlreadyExists, "REQUEST_ID_REUSED");
    Ok(())
}
