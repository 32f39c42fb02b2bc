//! What a person is told when something isn't done: beside the reason, which is for machines, a sentence in their language. Told with the
//! real binary, over the wire and by the command line, at every port that people's apps call.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use farewell_identity::Case;
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_proto::account::v1::{
    CheckRealNameClearingRequest, Explanation, UnfreezeAccountRequest, VerifyAccountFactorRequest,
};
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{BindRequest, Binding, UnbindRequest};
use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
use farewell_proto::deletion::v1::{
    Channel, Factor, GetDeletionRequest, SendCodeRequest, VerifyFactorRequest,
};
use farewell_proto::support::v1 as desk;
use farewell_proto::support::v1::support_service_client::SupportServiceClient;
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

/// What somebody is told of a phone that is bound to somebody else, and to whom only a field is missing.
async fn at_the_phones(town: &Town, (wish, tag, chinese): (&str, &str, bool)) -> Result<()> {
    let phone = |account: &str| BindRequest {
        request_id: fresh(),
        binding: Some(Binding {
            device: "devices/p-1".to_owned(),
            account: account.to_owned(),
            model: "P10".to_owned(),
            ..Default::default()
        }),
    };
    let mut phones = BindingServiceClient::new(town.channel(&town.phones, "caller").await?);
    let mut of_the_desk = BindingServiceClient::new(town.channel(&town.phones, "ana").await?);
    // Only the first of all binds it: afterwards the account has it.
    let bound = phones.bind(phone("accounts/a-1")).await?.into_inner();
    let epoch = bound.binding.context("a binding")?.epoch;
    let unbind = UnbindRequest {
        request_id: fresh(),
        device: "devices/p-2".to_owned(),
        epoch,
        ..Default::default()
    };
    let other = in_language(wish, phone("accounts/b-1"))?;
    let nobodys = in_language(wish, phone("b-1"))?;
    let said = [
        told(phones.bind(other).await, tag, chinese)?,
        told(phones.bind(nobodys).await, tag, chinese)?,
        told(
            phones.unbind(in_language(wish, unbind.clone())?).await,
            tag,
            chinese,
        )?,
        told(
            of_the_desk.unbind(in_language(wish, unbind)?).await,
            tag,
            chinese,
        )?,
    ];
    let reasons = said.each_ref().map(|(reason, _)| reason.as_str());
    let expected = [
        "DEVICE_BOUND",
        "INVALID_FIELD",
        "BINDING_NOT_FOUND",
        "ROLE_NOT_ALLOWED",
    ];
    assert_eq!(reasons, expected);
    Ok(())
}

/// What somebody of the desk is told, and somebody who isn't.
async fn at_the_desk(town: &Town, (wish, tag, chinese): (&str, &str, bool)) -> Result<()> {
    let case = |account: &str| desk::OpenCaseRequest {
        request_id: fresh(),
        account: account.to_owned(),
        kind: desk::CaseKind::LostAccess.into(),
        ..Default::default()
    };
    let mut ana = SupportServiceClient::new(town.channel(&town.desk, "ana").await?);
    let mut caller = SupportServiceClient::new(town.channel(&town.desk, "caller").await?);
    let opened = ana.open_case(case("accounts/a-1")).await?.into_inner();
    let name = opened.case.context("a case")?.name;
    let approve = desk::ApproveCaseRequest {
        request_id: fresh(),
        name: name.clone(),
    };
    let unknown = desk::GetCaseRequest {
        name: "cases/01900000-0000-7000-8000-000000000001".to_owned(),
    };
    let document = desk::GetEvidenceRequest {
        name: format!("{name}/evidence/01900000-0000-7000-8000-000000000002"),
    };
    let nothing = tokio_stream::iter([desk::AddEvidenceRequest::default()]);
    let said = [
        told(
            ana.open_case(in_language(wish, case("a-1"))?).await,
            tag,
            chinese,
        )?,
        told(
            ana.approve_case(in_language(wish, approve)?).await,
            tag,
            chinese,
        )?,
        told(
            ana.get_case(in_language(wish, unknown)?).await,
            tag,
            chinese,
        )?,
        told(
            ana.get_evidence(in_language(wish, document)?).await,
            tag,
            chinese,
        )?,
        told(
            ana.add_evidence(in_language(wish, nothing)?).await,
            tag,
            chinese,
        )?,
        told(
            caller
                .open_case(in_language(wish, case("accounts/a-1"))?)
                .await,
            tag,
            chinese,
        )?,
    ];
    let reasons = said.each_ref().map(|(reason, _)| reason.as_str());
    let expected = [
        "INVALID_FIELD",
        "EVIDENCE_MISSING",
        "CASE_NOT_FOUND",
        "EVIDENCE_NOT_FOUND",
        "INVALID_FIELD",
        "NOT_OF_THE_DESK",
    ];
    assert_eq!(reasons, expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_where_devices_are_bound_or_at_the_desk_reads_why_as_well() -> Result<()> {
    let Some(town) = Town::open("1h", "30d").await? else {
        return Ok(());
    };
    for wish in WISHES {
        at_the_phones(&town, wish).await?;
        at_the_desk(&town, wish).await?;
    }
    // By the command line, which says what the desk says.
    let get = [
        "support",
        "case",
        "get",
        "01900000-0000-7000-8000-000000000001",
    ];
    let in_chinese = [&get[..], &["--language", "zh"]].concat();
    town.refuses("ana", (&in_chinese, ""), NOT_FOUND, "请核对案件编号")?;
    let sentence = "Check the case’s number.";
    town.refuses("ana", (&get, ""), NOT_FOUND, sentence)
}

#[test]
fn a_sentence_that_ports_share_is_said_by_two_of_them() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let ports = [
        &["services/coordinator/src", "services/core/src"][..],
        &["agents/kit/src/devices", "agents/kit/src/home.rs"],
        &["services/support/src", "agents/kit/src/home.rs"],
    ];
    let mut sources = Vec::new();
    for folders in ports {
        let mut source = String::new();
        for folder in folders {
            gather(&root.join(folder), &mut source)?;
        }
        sources.push(source);
    }
    let shared = root.join("services/interpreter/src/sentences/en.ftl");
    let mut lonely = Vec::new();
    for line in std::fs::read_to_string(shared)?.lines() {
        let begins = line.starts_with(|first: char| first.is_ascii_alphabetic());
        let Some((id, _)) = line.split_once(" =").filter(|_| begins) else {
            continue;
        };
        let reason = id.strip_prefix("REFUSED_").unwrap_or(id);
        if sources.iter().filter(|it| it.contains(reason)).count() < 2 {
            lonely.push(reason.to_owned());
        }
    }
    ensure!(lonely.is_empty(), "{lonely:?} belong to one port");
    Ok(())
}

/// The source of a file, or of a folder and those below it.
fn gather(path: &Path, into: &mut String) -> Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            gather(&entry?.path(), into)?;
        }
    } else if path.extension().is_some_and(|it| it == "rs") {
        into.push_str(&std::fs::read_to_string(path)?);
    }
    Ok(())
}
