//! What a person is told when something isn't done: beside the reason, which is for machines, a sentence in their language. Told with the
//! real binary, over the wire and by the command line.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use farewell_identity::Case;
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_proto::account::v1::{
    CheckRealNameClearingRequest, Explanation, UnfreezeAccountRequest, VerifyAccountFactorRequest,
};
use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
use farewell_proto::deletion::v1::{
    Channel, Factor, GetDeletionRequest, SendCodeRequest, VerifyFactorRequest,
};
use farewell_tests::caller::{fresh, request};
use farewell_tests::office::{NOT_FOUND, REFUSED, Town};
use farewell_tests::wait;
use serde_json::Value;
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

const PHONE: &str = "+86 138 0000 0000";
const MAIL: &str = "li.na@example.com";
const PASSWORD: &str = "a farewell in two languages";
/// What callers say that they read, what they are answered in, and whether that is Chinese.
const WISHES: [(&str, &str, bool); 4] = [
    ("", "en", false),
    ("fr, en;q=0.5", "en", false),
    ("zh-CN,zh;q=0.9,en;q=0.8", "zh", true),
    ("not; a language", "en", false),
];

fn in_language<T>(wish: &str, message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    if !wish.is_empty() {
        request
            .metadata_mut()
            .insert("accept-language", wish.parse()?);
    }
    Ok(request)
}

fn is_chinese(text: &str) -> bool {
    text.chars()
        .any(|it| ('\u{4e00}'..='\u{9fff}').contains(&it))
}

/// The reason and the sentence of a refusal, which is in this language.
fn told<T>(
    answer: Result<Response<T>, Status>,
    tag: &str,
    chinese: bool,
) -> Result<(String, String)> {
    let status = answer.err().context("it was done")?;
    let details = status.get_error_details();
    let reason = details.error_info().context("a reason")?.reason.clone();
    let said = details.localized_message();
    let said = said.with_context(|| format!("{reason} is said to nobody"))?;
    assert_eq!(said.locale, tag, "{reason}");
    assert_eq!(
        is_chinese(&said.message),
        chinese,
        "{reason}: {}",
        said.message
    );
    ensure!(
        said.message != status.message(),
        "{reason}: it is for machines"
    );
    ensure!(!said.message.contains(&reason), "{}", said.message);
    // Developers read English, whatever the person reads.
    ensure!(!is_chinese(status.message()), "{}", status.message());
    Ok((reason, said.message.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_reads_why_in_their_language_and_nobody_learns_more_by_it() -> Result<()> {
    let Some(town) = Town::open_with_people("1h").await? else {
        return Ok(());
    };
    let identity = farewell_identity::open(&town.database("identity")).await?;
    farewell_identity::sample(&identity, "a-1", PHONE, MAIL, PASSWORD).await?;
    let channel = town.channel(&town.callers, "caller").await?;
    let (mut deletions, mut accounts) = (
        DeletionServiceClient::new(channel.clone()),
        AccountServiceClient::new(channel),
    );
    let mut ours = BTreeMap::new();
    for account in ["a-1", "nobody"] {
        let asked = deletions.create_deletion(request(account)).await?;
        let name = asked.into_inner().deletion.context("a deletion")?.name;
        ours.insert(account, name);
    }
    let mut stranger = DeletionServiceClient::new(town.channel(&town.callers, "ana").await?);
    for (wish, tag, chinese) in WISHES {
        let mut said: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
        for account in ["a-1", "nobody"] {
            let name = ours[account].clone();
            let code = |factor: Factor| SendCodeRequest {
                request_id: fresh(),
                name: name.clone(),
                factor: factor.into(),
                device: String::new(),
            };
            let proof = VerifyFactorRequest {
                request_id: fresh(),
                name: name.clone(),
                factor: Factor::SmsCode.into(),
                proof: "0000000".to_owned(),
                ..Default::default()
            };
            // The first of all sends a code, and another one comes too soon.
            let _ = deletions
                .send_code(in_language(wish, code(Factor::SmsCode))?)
                .await;
            let refusals = [
                told(
                    deletions
                        .send_code(in_language(wish, code(Factor::SmsCode))?)
                        .await,
                    tag,
                    chinese,
                )?,
                told(
                    deletions
                        .send_code(in_language(wish, code(Factor::EmailCode))?)
                        .await,
                    tag,
                    chinese,
                )?,
                told(
                    deletions.verify_factor(in_language(wish, proof)?).await,
                    tag,
                    chinese,
                )?,
                told(
                    deletions
                        .create_deletion(in_language(wish, request(account))?)
                        .await,
                    tag,
                    chinese,
                )?,
            ];
            let reasons = refusals.each_ref().map(|(reason, _)| reason.as_str());
            let expected = [
                "CODE_TOO_SOON",
                "FACTOR_NOT_REQUIRED",
                "WRONG_PROOF",
                "ACCOUNT_HAS_LIVE_DELETION",
            ];
            assert_eq!(reasons, expected, "{account}");
            said.insert(account, refusals.to_vec());
        }
        assert_eq!(
            said["a-1"], said["nobody"],
            "a sentence tells nobody who has an account"
        );

        let unknown = GetDeletionRequest {
            name: "deletions/01900000-0000-7000-8000-000000000001".to_owned(),
        };
        let missing = told(
            deletions
                .get_deletion(in_language(wish, unknown.clone())?)
                .await,
            tag,
            chinese,
        )?;
        assert_eq!(missing.0, "DELETION_NOT_FOUND");
        let none = told(
            deletions
                .get_deletion(in_language(wish, GetDeletionRequest::default())?)
                .await,
            tag,
            chinese,
        )?;
        assert_eq!(none.0, "INVALID_FIELD");
        // Who has no business here is told so before anybody looks at what is asked.
        let kept_out = told(
            stranger.get_deletion(in_language(wish, unknown)?).await,
            tag,
            chinese,
        )?;
        assert_eq!(kept_out.0, "NOT_A_CALLER");
        let change = VerifyAccountFactorRequest {
            request_id: fresh(),
            name: format!("accounts/a-1/changes/{}", fresh()),
            factor: Factor::SmsCode.into(),
            proof: "1".to_owned(),
        };
        let change = told(
            accounts
                .verify_account_factor(in_language(wish, change)?)
                .await,
            tag,
            chinese,
        )?;
        assert_eq!(change.0, "ACCOUNT_CHANGE_NOT_FOUND");
        let unproved = UnfreezeAccountRequest {
            request_id: fresh(),
            account: "accounts/a-1".to_owned(),
            channel: Channel::Unspecified.into(),
        };
        let unproved = told(
            accounts
                .unfreeze_account(in_language(wish, unproved)?)
                .await,
            tag,
            chinese,
        )?;
        assert_eq!(unproved.0, "INVALID_FIELD");
    }

    // By the command line, which says what the coordinator says.
    let get = [
        "deletion",
        "get",
        "deletions/01900000-0000-7000-8000-000000000001",
    ];
    town.refuses(
        "caller",
        (&[&get[..], &["--language", "zh"]].concat(), ""),
        NOT_FOUND,
        "没有这项注销",
    )?;
    town.refuses(
        "caller",
        (&[&get[..], &["--language", "en"]].concat(), ""),
        NOT_FOUND,
        "There is no such deletion.",
    )?;
    let verify = [
        "deletion",
        "verify",
        &ours["a-1"],
        "--factor",
        "sms-code",
        "--language",
        "zh",
    ];
    town.refuses("caller", (&verify, "0000000"), REFUSED, "不正确")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_of_a_change_is_said_with_its_remedy_and_speaks_of_no_deletion()
-> Result<()> {
    let Some(town) = Town::open_with_people("1h").await? else {
        return Ok(());
    };
    let identity = farewell_identity::open(&town.database("identity")).await?;
    farewell_identity::sample(&identity, "a-1", PHONE, MAIL, PASSWORD).await?;
    farewell_identity::open_case(&identity, "a-1", Case::LegalHold, "4 O 17/26").await?;
    let shop = farewell_store::open(&town.database("store")).await?;
    farewell_store::lend(&shop, "a-1", 5_000).await?;

    let channel = town.channel(&town.callers, "caller").await?;
    let mut accounts = AccountServiceClient::new(channel);
    let words = ["DEBT_OR_CREDIT", "LEGAL_HOLD"];
    for (wish, tag, chinese) in WISHES {
        let check = CheckRealNameClearingRequest {
            account: "accounts/a-1".to_owned(),
        };
        let answer = accounts
            .check_real_name_clearing(in_language(wish, check)?)
            .await?;
        let language = answer
            .metadata()
            .get("content-language")
            .context("a language")?;
        assert_eq!(language, tag);
        let found = answer.into_inner();
        assert_eq!(found.obstacles, words);
        let codes: Vec<_> = found
            .explanations
            .iter()
            .map(|it| it.code.as_str())
            .collect();
        assert_eq!(codes, words);
        for Explanation {
            message, remedy, ..
        } in &found.explanations
        {
            assert_eq!(
                (is_chinese(message), is_chinese(remedy)),
                (chinese, chinese)
            );
            ensure!(
                !message.contains("deletion") && !message.contains("注销"),
                "{message}"
            );
        }
    }

    // A change that is refused says the same, whoever looks at it, in whatever language they read.
    let ask = [
        "account",
        "clear-real-name",
        "a-1",
        "--channel",
        "phone",
        "--consent",
        "1",
    ];
    let asked = town.told("caller", &ask, "")?;
    let change = asked["name"].as_str().context("a name")?;
    let factor = ["--factor", "sms-code"];
    let send = [&["account", "send-code", change][..], &factor].concat();
    town.told("caller", &send, "")?;
    let code = wait::until("a code", async || {
        let letter = town.letters().pop();
        Ok(letter.and_then(|it| it["code"].as_str().map(str::to_owned)))
    })
    .await?;
    let verify = [&["account", "verify", change][..], &factor].concat();
    town.told("caller", &verify, &code)?;
    for (language, sentence) in [
        ("en", "A legal hold keeps the account as it is."),
        ("zh", "因法律保全要求，该账号须保持现状。"),
    ] {
        let look = ["account", "change", change, "--language", language];
        let refused = wait::until("a refusal", async || {
            let seen = town.told("caller", &look, "")?;
            Ok((seen["state"] == "REFUSED").then_some(seen))
        })
        .await?;
        let said = refused["explanations"].as_array().context("explanations")?;
        let said: Vec<&Value> = said.iter().map(|it| &it["message"]).collect();
        assert_eq!((said.len(), said[1]), (2, &Value::from(sentence)));
        let account = town.ask("caller", &look, "")?;
        ensure!(account.status.success());
    }
    Ok(())
}
