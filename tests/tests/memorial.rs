//! A memorial that was a mistake is taken back: told with the real binary, by the command line. Its owner hears of both, and nobody gets
//! in by the desk's word alone.

use anyhow::{Context as _, Result, ensure};
use farewell_identity::{LoginError, credential::Hasher};
use farewell_kit::seal;
use farewell_proto::account::v1 as api;
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_tests::caller::fresh;
use farewell_tests::office::{REFUSED, Town};
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::wait;
use serde_json::Value;
use tonic::Code;

const PASSWORD: &str = "a farewell to arms";

/// Until letters of this kind were carried; to how many receivers.
async fn told_of(town: &Town, kind: &str) -> Result<usize> {
    wait::until("letters", async || {
        let letters = town.letters();
        let of_kind = letters.iter().filter(|letter| letter["kind"] == kind);
        let (mail, text) = of_kind.partition::<Vec<_>, _>(|letter| letter["channel"] == "email");
        Ok((!mail.is_empty() && !text.is_empty()).then_some(mail.len() + text.len()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memorial_that_was_a_mistake_is_taken_back_and_its_owner_thaws_the_account() -> Result<()>
{
    let Some(mut town) = Town::open_with_people("1h").await? else {
        return Ok(());
    };
    let identity = farewell_identity::open(&town.database("identity")).await?;
    let (phone, mail) = ("+86 138 0000 0000", "li.na@example.com");
    farewell_identity::sample(&identity, "a-1", phone, mail, PASSWORD).await?;
    let state = || -> Result<Value> { town.told("caller", &["account", "get", "a-1"], "") };
    let way_back = |case: &str, request: &str| {
        let line = ["account", "unmemorialize", "a-1", "--case", case];
        [&line[..], &["--request-id", request]].concat().join(" ")
    };
    let refuses = |case: &str, word: &str| {
        let (line, request) = (way_back(case, &fresh()), "");
        let words: Vec<&str> = line.split(' ').collect();
        town.refuses("caller", (&words, request), REFUSED, word)
    };

    // There is nothing to take back yet, and no approval is used up by asking.
    let early = town.approved("a-1", &["unmemorialize"], &["identity-document"])?;
    refuses(&early, "ACCOUNT_NOT_MEMORIALIZED")?;
    assert_eq!(town.desk_of("bo", &["get", &early])?["used_for"], "");

    let papers = ["death-certificate", "relationship-proof"];
    let legacy = town.approved("a-1", &["legacy"], &papers)?;
    let kept = ["account", "memorialize", "a-1", "--case", &legacy];
    let kept = town.told("caller", &kept, "")?;
    town.done(&kept).await?;
    assert_eq!(state()?["state"], "MEMORIALIZED");
    // That is how its owner, who lives, hears of it.
    assert_eq!(told_of(&town, "MEMORIALIZED").await?, 2);

    refuses(&legacy, "CASE_NOT_FOR_THIS")?;
    let case = town.case("a-1", &["unmemorialize"], &["identity-document"])?;
    refuses(&case, "CASE_NOT_APPROVED")?;
    town.desk_of("bo", &["approve", &case])?;
    refuses(&case, "CASE_NOT_APPROVED")?;
    assert_eq!(state()?["state"], "MEMORIALIZED");
    town.desk_of("chi", &["approve", &case])?;

    // The store is away, and hears of it later.
    town.kill("store")?;
    let request = fresh();
    let line = way_back(&case, &request);
    let words: Vec<&str> = line.split(' ').collect();
    let back = town.told("caller", &words, "")?;
    assert_eq!(back["kind"], "UNMEMORIALIZE");
    assert_eq!(back["case"], case.as_str());
    let again = town.told("caller", &words, "")?;
    assert_eq!(again["name"], back["name"]);
    town.restart("store")?;
    town.done(&back).await?;
    assert_eq!(told_of(&town, "UNMEMORIALIZED").await?, 2);
    let account = town.told("caller", &["account", "get", "a-1"], "")?;
    assert_eq!(account["state"], "FROZEN");
    let choices = account["choices"].to_string();
    ensure!(choices.contains("UNFREEZE"), "{choices}");
    let hasher = Hasher::default();
    let log_in =
        async || farewell_identity::log_in(&identity, &hasher, "a-1", PASSWORD, "a phone").await;
    let refused = log_in().await;
    ensure!(
        matches!(refused, Err(LoginError::Write(seal::Error::Frozen))),
        "{refused:?}"
    );

    // Once: the same request is what it was, and another has nothing to take back.
    assert_eq!(town.told("caller", &words, "")?["name"], back["name"]);
    let line = way_back(&early, &fresh());
    let late: Vec<&str> = line.split(' ').collect();
    town.refuses("caller", (&late, ""), REFUSED, "ACCOUNT_NOT_MEMORIALIZED")?;

    // Its owner shows that it is theirs.
    let thaw = ["account", "unfreeze", "a-1", "--channel", "phone"];
    let thaw = town.told("caller", &thaw, "")?;
    let name = thaw["name"].as_str().context("a name")?;
    let factor = ["--factor", "sms-code"];
    let send = [&["account", "send-code", name][..], &factor].concat();
    town.told("caller", &send, "")?;
    let verify = [&["account", "verify", name][..], &factor].concat();
    town.told("caller", &verify, &town.code(name).await?)?;
    town.done(&thaw).await?;
    let account = town.told("caller", &["account", "get", "a-1"], "")?;
    assert_eq!(account["state"], "ACTIVE");
    log_in().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_takes_no_memorial_back() -> Result<()> {
    let Some(town) = Town::open_with_people("1h").await? else {
        return Ok(());
    };
    let caller = AccountServiceClient::new(town.channel(&town.callers, "caller").await?);
    let sound = api::UnmemorializeAccountRequest {
        request_id: fresh(),
        account: "accounts/a-1".to_owned(),
        case: format!("cases/{}", fresh()),
    };
    type Spoil = fn(&mut api::UnmemorializeAccountRequest);
    let spoilt: [(&str, Spoil); 6] = [
        ("request_id", |it| it.request_id.clear()),
        ("account", |it| it.account.clear()),
        ("account", |it| it.account = "a-1".to_owned()),
        ("case", |it| it.case.clear()),
        ("case", |it| it.case = "deletions/1".to_owned()),
        ("case", |it| {
            it.case = "cases/00000000-0000-0000-0000-000000000000".to_owned();
        }),
    ];
    for (field, spoil) in spoilt {
        let mut request = sound.clone();
        spoil(&mut request);
        let answer = caller.clone().unmemorialize_account(request).await;
        bad_field(field, answer, "INVALID_FIELD", field);
    }
    let answer = caller.clone().unmemorialize_account(sound).await;
    refused("nobody", answer, Code::NotFound, "ACCOUNT_NOT_FOUND");
    Ok(())
}
