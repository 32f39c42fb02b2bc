//! Personalised advertising is stopped: what the store and the community believed is gone, nothing is gathered any more, and the rest
//! stays. Told with the real binary, by the command line.

use anyhow::{Context as _, Result, ensure};
use farewell_kit::interests;
use farewell_proto::account::v1 as api;
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_store::NewOrder;
use farewell_tests::caller::fresh;
use farewell_tests::office::{REFUSED, Town};
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::wait;
use serde_json::{Value, json};
use tonic::Code;

/// How many interests each participant says that it holds.
fn interests_held(town: &Town) -> Result<Vec<(String, i64)>> {
    let told = town.told("caller", &["deletion", "inventory", "a-1"], "")?;
    let mut held = Vec::new();
    for holding in told["holdings"].as_array().context("holdings")? {
        let categories = holding["categories"].as_array().context("categories")?;
        let interests = categories.iter().find(|it| it["category"] == "interests");
        if let Some(interests) = interests {
            let who = holding["participant"].as_str().context("a name")?;
            let count = interests["count"].as_i64().context("a count")?;
            held.push((who.to_owned(), count));
        }
    }
    Ok(held)
}

async fn state(town: &Town, change: &str, state: &str) -> Result<Value> {
    wait::until("a state", async || {
        let seen = town.told("caller", &["account", "change", change], "")?;
        Ok((seen["state"] == state).then(|| seen.clone()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_advertising_knew_is_gone_and_does_not_come_back() -> Result<()> {
    let Some(mut town) = Town::open_with_people("1h").await? else {
        return Ok(());
    };
    let identity = farewell_identity::open(&town.database("identity")).await?;
    let (phone, mail) = ("+86 138 0000 0000", "li.na@example.com");
    farewell_identity::sample(&identity, "a-1", phone, mail, "a farewell to arms").await?;
    let shop = farewell_store::open(&town.database("store")).await?;
    farewell_store::sample(&shop, "a-1").await?;
    let circles = farewell_community::open(&town.database("community")).await?;
    farewell_community::sample(&circles, "a-1").await?;
    let held = interests_held(&town)?;
    assert_eq!(held, [("store".to_owned(), 4), ("community".to_owned(), 2)]);
    let orders = |town: &Town| -> Result<String> {
        let told = town.told("caller", &["deletion", "inventory", "a-1"], "")?;
        let of_store = &told["holdings"][1];
        ensure!(of_store["participant"] == "store", "{told}");
        Ok(of_store["categories"][0].to_string())
    };
    let before = orders(&town)?;
    let account = town.told("caller", &["account", "get", "a-1"], "")?;
    assert_eq!(account["personalization_stop_time"], "");
    let choices = account["choices"].to_string();
    ensure!(choices.contains("STOP_PERSONALIZATION"), "{choices}");

    // The community is away: the store stops at once, and the change waits.
    town.kill("community")?;
    let request = fresh();
    let line = ["account", "stop-personalization", "a-1"];
    let stop = [&line[..], &["--request-id", &request]].concat();
    let stopped = town.told("caller", &stop, "")?;
    assert_eq!(stopped["kind"], "STOP_PERSONALIZATION");
    let name = stopped["name"].as_str().context("a name")?;
    wait::until("the store to stop", async || {
        let left = interests::of(&shop, "a-1").await?;
        Ok(left.is_empty().then_some(()))
    })
    .await?;
    assert_eq!(state(&town, name, "WORKING").await?["state"], "WORKING");
    let account = town.told("caller", &["account", "get", "a-1"], "")?;
    assert_ne!(account["personalization_stop_time"], "");
    let choices = account["choices"].to_string();
    ensure!(!choices.contains("STOP_PERSONALIZATION"), "{choices}");

    // kill -9 of the coordinator; what is owed is still owed.
    town.kill("coordinator")?;
    town.restart("coordinator")?;
    town.restart("community")?;
    town.whole().await?;
    let done = state(&town, name, "DONE").await?;
    let lapsed = |who: &str| {
        let legs = done["legs"].as_array();
        let leg = legs.and_then(|legs| legs.iter().find(|leg| leg["participant"] == who));
        leg.map(|leg| leg["lapsed"].clone())
    };
    assert_eq!(lapsed("store"), Some(json!({"interests": 4})));
    assert_eq!(lapsed("community"), Some(json!({"interests": 2})));
    assert_eq!(lapsed("identity"), Some(json!({})));
    assert_eq!(interests_held(&town)?, []);
    assert_eq!(orders(&town)?, before, "everything else stays");

    // The same request again, and another: both change nothing.
    assert_eq!(town.told("caller", &stop, "")?["state"], "DONE");
    let another = town.told("caller", &line, "")?;
    let another = another["name"].as_str().context("a name")?;
    state(&town, another, "DONE").await?;

    // What the person does from here on teaches nobody anything.
    let order = NewOrder {
        item: "Hub with four lamps",
        amount_cents: 89_900,
        recipient: "Li Na",
        address: "88 Garden Road, Hangzhou",
    };
    let placed = farewell_store::place_order(&shop, "a-1", &order).await?;
    farewell_community::join(&circles, "a-1", "tea").await?;
    assert_eq!(interests_held(&town)?, []);

    // A deletion takes it all along: a sealed account has nothing more to stop.
    let now = std::time::SystemTime::now();
    ensure!(farewell_store::complete_order(&shop, "a-1", &placed, now).await?);
    let papers = ["identity-document", "purchase-proof"];
    let known = town.approved("a-1", &["lost-access"], &papers)?;
    let deletion = town.create("a-1", "support")?;
    let verify = ["deletion", "verify", &deletion, "--factor", "documents"];
    town.told("caller", &verify, &known)?;
    town.state(&deletion, "COOLING_OFF").await?;
    town.refuses("caller", (&line, ""), REFUSED, "ACCOUNT_SEALED")?;
    assert_eq!(town.told("caller", &stop, "")?["state"], "DONE");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_stops_nothing() -> Result<()> {
    let Some(town) = Town::open_with_people("1h").await? else {
        return Ok(());
    };
    let caller = AccountServiceClient::new(town.channel(&town.callers, "caller").await?);
    for (field, request_id, account) in [
        ("request_id", String::new(), "accounts/a-1"),
        ("request_id", "1".to_owned(), "accounts/a-1"),
        ("account", fresh(), ""),
        ("account", fresh(), "a-1"),
        ("account", fresh(), "accounts/a b"),
    ] {
        let request = api::StopPersonalizationRequest {
            request_id,
            account: account.to_owned(),
        };
        let answer = caller.clone().stop_personalization(request).await;
        bad_field(field, answer, "INVALID_FIELD", field);
    }
    let request = api::StopPersonalizationRequest {
        request_id: fresh(),
        account: "accounts/a-1".to_owned(),
    };
    let answer = caller.clone().stop_personalization(request).await;
    refused("nobody", answer, Code::NotFound, "ACCOUNT_NOT_FOUND");
    Ok(())
}
