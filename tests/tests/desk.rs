//! The support desk, told with the real binary and real certificates: what people show, what two of the desk decide on it, and what
//! becomes of the deletion, the documents and whoever tries to do without.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use farewell_kit::devices::POSSESSION_OF_A_DELETION;
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{
    BindRequest, Binding, ReportLostRequest, Role, Share, ShareBindingRequest,
    TransferBindingRequest,
};
use farewell_proto::support::v1 as api;
use farewell_proto::support::v1::support_service_client::SupportServiceClient;
use farewell_runtime::cose::SigningKey;
use farewell_tests::caller::fresh;
use farewell_tests::office::{NOT_ALLOWED, NOT_FOUND, REFUSED, SECRET, Town, USAGE};
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::secret::file_holds;
use farewell_tests::slow_line::SlowLine;
use farewell_tests::wait;
use tonic::Code;

/// Looked for in the desk's files, where names of requests and cases would hold a shorter one by chance.
const OWNER: &str = "zz-who-lost-access";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_access_is_deleted_on_documents_that_two_others_approve() -> Result<()> {
    let Some(mut town) = Town::open("300ms", "30d").await? else {
        return Ok(());
    };
    let case = town.case(OWNER, &["lost-access"], &["identity-document"])?;
    let approve = ["support", "case", "approve", &case];
    town.refuses("bo", (&approve, ""), REFUSED, "EVIDENCE_MISSING")?;
    let deletion = town.create(OWNER, "support")?;
    let verify = ["deletion", "verify", &deletion, "--factor", "documents"];
    town.refuses("caller", (&verify, &case), REFUSED, "CASE_NOT_APPROVED")?;
    town.refuses("caller", (&verify, "passport"), 6, "INVALID_FIELD")?;

    let file = town.path("invoice.pdf");
    fs::write(&file, format!("%PDF-1.7\n{SECRET}\n"))?;
    let file = file.display().to_string();
    town.desk_of("ana", &["add", &case, "--kind", "purchase-proof", &file])?;
    town.refuses("ana", (&approve, ""), NOT_ALLOWED, "OWN_CASE")?;
    town.desk_of("bo", &["approve", &case])?;
    town.refuses("bo", (&approve, ""), NOT_ALLOWED, "SAME_PERSON")?;
    town.refuses("caller", (&verify, &case), REFUSED, "CASE_NOT_APPROVED")?;
    town.refuses("caller", (&approve, ""), NOT_ALLOWED, "NOT_OF_THE_DESK")?;

    // The desk ends without a word, and has forgotten nothing.
    town.kill("support")?;
    town.restart("support")?;
    wait::until("the desk to be back", async || {
        Ok(town.desk_of("chi", &["list"]).is_ok().then_some(()))
    })
    .await?;
    let approved = town.desk_of("chi", &["approve", &case])?;
    assert_eq!(approved["state"], "APPROVED");
    assert_eq!(town.found("support.db", SECRET)?, [""; 0]);
    assert_ne!(town.found("support.db", OWNER)?, [""; 0]);

    // Not for another account, and not for another deletion of this one.
    let other = town.create("b-1", "support")?;
    let foreign = ["deletion", "verify", &other, "--factor", "documents"];
    town.refuses("caller", (&foreign, &case), NOT_FOUND, "CASE_NOT_FOUND")?;
    wait::until("the session of the desk", async || {
        Ok(town.told("caller", &verify, &case).is_ok().then_some(()))
    })
    .await?;
    town.state(&deletion, "PURGED").await?;
    let kept = town.desk_of("bo", &["get", &case])?;
    assert_eq!(kept["account"], "");
    assert_eq!(kept["used_for"], deletion.as_str());
    assert_eq!(kept["evidence"].as_array().map(Vec::len), Some(0));
    assert_eq!(town.found("support.db", OWNER)?, [""; 0], "erased for good");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relatives_get_a_deletion_only_where_they_asked_for_one() -> Result<()> {
    let Some(town) = Town::open("1h", "30d").await? else {
        return Ok(());
    };
    let papers = ["death-certificate", "relationship-proof"];
    let memory = town.approved("a-1", &["legacy"], &papers)?;
    let owner = town.approved(
        "a-1",
        &["lost-access"],
        &["identity-document", "purchase-proof"],
    )?;
    let deletion = town.create("a-1", "legacy")?;
    let verify = ["deletion", "verify", &deletion, "--factor", "documents"];
    for case in [&memory, &owner] {
        town.refuses("caller", (&verify, case), REFUSED, "CASE_NOT_FOR_THIS")?;
    }
    // What stands open for the dead is in the way of whoever holds their phone.
    let check = ["deletion", "eligibility", "a-1"];
    let told = town.told("caller", &check, "")?.to_string();
    ensure!(told.contains("LEGACY_CASE_OPEN"), "{told}");
    town.desk_of("bo", &["withdraw", &memory])?;

    let explicit = town.approved("a-1", &["legacy", "--delete"], &papers)?;
    town.told("caller", &verify, &explicit)?;
    town.state(&deletion, "COOLING_OFF").await?;
    // Taken back, it is used up: the next deletion needs another.
    town.told("caller", &["deletion", "revoke", &deletion], "")?;
    town.state(&deletion, "REVOKED").await?;
    let again = town.create("a-1", "legacy")?;
    let verify = ["deletion", "verify", &again, "--factor", "documents"];
    town.refuses("caller", (&verify, &explicit), REFUSED, "CASE_USED")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_looked_at_under_ones_name_and_gone_after_their_period() -> Result<()> {
    let Some(town) = Town::open("1h", "2s").await? else {
        return Ok(());
    };
    let case = town.case("a-1", &["real-name"], &["identity-document"])?;
    let shown = town.desk_of("bo", &["get", &case])?;
    let document = shown["evidence"][0]["name"]
        .as_str()
        .context("a name")?
        .to_owned();
    let file = town.path("looked.pdf");
    let to = file.display().to_string();
    town.desk_of("bo", &["look", &document, "--file", &to])?;
    ensure!(file_holds(&file, SECRET)?, "the document itself");
    let log = town.desk_of("ana", &["get", &case])?["log"].to_string();
    ensure!(
        log.contains("EVIDENCE_READ") && log.contains("\"bo\""),
        "{log}"
    );
    // Who has no place to read it at has not looked.
    let again = ["support", "case", "look", &document, "--file", &to];
    town.refuses("bo", (&again, ""), USAGE, "is there already")?;
    ensure!(file_holds(&file, SECRET)?, "what was there before");
    let log_after = town.desk_of("ana", &["get", &case])?["log"].to_string();
    ensure!(log_after == log, "{log_after}");

    let reject = ["reject", &case, "--reason", "not-the-owner"];
    town.desk_of("chi", &reject)?;
    wait::until("the document to go", async || {
        let case = town.desk_of("bo", &["get", &case])?;
        Ok((case["evidence"][0]["delete_time"] != "").then_some(()))
    })
    .await?;
    let nothing = town.path("deleted.pdf");
    let to = nothing.display().to_string();
    let look = ["support", "case", "look", &document, "--file", &to];
    town.refuses("bo", (&look, ""), REFUSED, "EVIDENCE_DELETED")?;
    ensure!(!nothing.exists(), "an empty file is no document");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_goes_over_a_slow_line_and_leaves_nothing_where_looking_is_broken_off()
-> Result<()> {
    let Some(mut town) = Town::open("1h", "30d").await? else {
        return Ok(());
    };
    let case = town.case("a-1", &["real-name"], &[])?;
    let scan = town.path("scan.pdf");
    let mut bytes = b"%PDF-1.7\n".to_vec();
    bytes.resize(1024 * 1024, b'x');
    fs::write(&scan, &bytes)?;
    let line = SlowLine::start(&town.desk, 512 * 1024).await?;
    let straight = std::mem::replace(&mut town.desk, line.address().to_owned());

    // Four seconds on this line, by somebody who waits two for an answer.
    let from = scan.display().to_string();
    let add = ["add", &case, "--kind", "identity-document", &from];
    let added = town.desk_of("ana", &[&add[..], &["--timeout", "2s"]].concat())?;
    let document = added["name"].as_str().context("a name")?.to_owned();

    let folder = town.path("looked");
    fs::create_dir(&folder)?;
    let file = folder.join("looked.pdf");
    let to = file.display().to_string();
    let look = ["support", "case", "look", &document, "--file", &to];
    let looking = town.begin("bo", &look, "")?;
    wait::until("a part of it to come", async || {
        let part = fs::read_dir(&folder)?.next().transpose()?;
        let part = part.map(|part| part.metadata()).transpose()?;
        Ok(part.filter(|part| part.len() > 0).map(|_| ()))
    })
    .await?;
    ensure!(!file.exists(), "half a document is none");
    let process = looking.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &process]).status()?;
    ensure!(killed.success());
    let ended = looking.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(
        ended.status.code() == Some(1) && said.contains("nothing was written"),
        "{said}"
    );
    ensure!(fs::read_dir(&folder)?.next().is_none(), "a part stayed");

    town.desk = straight;
    town.desk_of("bo", &look[2..])?;
    ensure!(fs::read(&file)? == bytes, "the document itself");
    let mode = file.metadata()?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "only its owner reads it: {mode:o}");
    ensure!(fs::read_dir(&folder)?.count() == 1, "a part stayed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_in_hand_deletes_its_account_and_a_thief_with_a_lost_one_does_not() -> Result<()> {
    let Some(town) = Town::open("1h", "30d").await? else {
        return Ok(());
    };
    let key = SigningKey::from_seed(&[3; 32])?;
    let mut bindings = BindingServiceClient::new(town.channel(&town.phones, "caller").await?);
    let binding = Binding {
        device: "devices/p-1".to_owned(),
        account: "accounts/a-1".to_owned(),
        model: "Phone 14".to_owned(),
        answer_key: key.public().to_vec().into(),
        ..Default::default()
    };
    let bound = bindings.bind(BindRequest {
        request_id: fresh(),
        binding: Some(binding),
    });
    let epoch = bound.await?.into_inner().binding.context("bound")?.epoch;
    let mut report = async |lost| {
        let reported = bindings.report_lost(ReportLostRequest {
            request_id: fresh(),
            device: "devices/p-1".to_owned(),
            epoch,
            lost,
        });
        reported.await.map(drop)
    };

    let deletion = town.create("a-1", "service-centre")?;
    let name = "lines/phones/devices/p-1";
    let factor = ["--factor", "device-in-hand", "--device", name];
    let send = [&["deletion", "send-code", &deletion][..], &factor].concat();
    let verify = [&["deletion", "verify", &deletion][..], &factor].concat();
    let challenge = || -> Result<Vec<u8>> {
        let told = town.told("caller", &send, "")?;
        bytes(told["challenge"].as_str().context("a challenge")?)
    };
    let sign = |key: &SigningKey, what: &str, challenge: &[u8]| -> String {
        let signed = key.sign(what, challenge.to_vec());
        signed.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let first = challenge()?;
    let right = sign(&key, POSSESSION_OF_A_DELETION, &first);

    // Reported lost after it was asked: whoever has it in hand may have stolen it.
    report(true).await?;
    town.refuses("caller", (&verify, &right), REFUSED, "DEVICE_LOST")?;
    town.refuses("caller", (&send, ""), REFUSED, "DEVICE_LOST")?;
    report(false).await?;

    let thief = SigningKey::from_seed(&[4; 32])?;
    let other = town.create("b-1", "service-centre")?;
    for wrong in [
        sign(&thief, POSSESSION_OF_A_DELETION, &first),
        sign(&key, "farewell.binding.v1.Possession", &first),
        sign(&key, POSSESSION_OF_A_DELETION, &first[..32]),
        sign(&key, POSSESSION_OF_A_DELETION, &[7; 32]),
    ] {
        town.refuses("caller", (&verify, &wrong), NOT_ALLOWED, "NOT_IN_HAND")?;
    }
    let foreign = [&["deletion", "verify", &other][..], &factor].concat();
    town.refuses("caller", (&foreign, &right), NOT_FOUND, "BINDING_NOT_FOUND")?;
    let verified = town.told("caller", &verify, &right)?;
    assert_eq!(verified["state"], "COOLING_OFF");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_banned_has_one_device_unbound_by_the_desk_and_by_nobodys_word() -> Result<()> {
    let Some(town) = Town::open_with_people("1h").await? else {
        return Ok(());
    };
    let mut bindings = BindingServiceClient::new(town.channel(&town.phones, "caller").await?);
    let mut epochs = BTreeMap::new();
    for device in ["p-1", "p-2"] {
        let binding = Binding {
            device: format!("devices/{device}"),
            account: "accounts/a-1".to_owned(),
            model: "Phone 14".to_owned(),
            answer_key: vec![7; 32].into(),
            ..Default::default()
        };
        let bind = BindRequest {
            request_id: fresh(),
            binding: Some(binding),
        };
        let bound = bindings.bind(bind).await?.into_inner().binding;
        epochs.insert(device, bound.context("bound")?.epoch.to_string());
    }
    let community = farewell_community::open(&town.database("community")).await?;
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    farewell_community::ban(&community, "a-1", "spam", tomorrow).await?;

    let own = ["unbind", "--device", "lines/phones/devices/p-1"];
    let once = town.case("a-1", &own, &["identity-document"])?;
    let case = town.approved("a-1", &own, &["identity-document"])?;
    let foreign = town.approved("b-1", &own, &["identity-document"])?;
    let words = |device: &str, more: &[&str]| -> Vec<String> {
        let words = ["device", "unbind", "a-1", "phones", device, "--epoch"];
        let words = [&words[..], &[&epochs[device]], more].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    let alone = words("p-1", &[]);
    let alone: Vec<&str> = alone.iter().map(String::as_str).collect();
    town.refuses("caller", (&alone, ""), REFUSED, "SELF_SERVICE_CLOSED")?;
    let desk = |device: &str, case: &str| words(device, &["--channel", "support", "--case", case]);
    for (device, case, exit, word) in [
        ("p-1", &once, REFUSED, "CASE_NOT_APPROVED"),
        ("p-1", &foreign, NOT_FOUND, "CASE_NOT_FOUND"),
        ("p-2", &case, REFUSED, "CASE_NOT_FOR_THIS"),
    ] {
        let words = desk(device, case);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        town.refuses("caller", (&words, ""), exit, word)?;
    }
    let request = fresh();
    let mut words = desk("p-1", &case);
    words.extend(["--request-id".to_owned(), request.clone()]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for _ in 0..2 {
        let unbound = town.told("caller", &words, "")?;
        assert_eq!(unbound["device"], "devices/p-1");
    }
    let shown = town.desk_of("bo", &["get", &case])?;
    assert_eq!(shown["used_for"], format!("requests/{request}"));
    assert_eq!(shown["asks_for"][0], "lines/phones/devices/p-1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_security_froze_out_and_who_has_died_lose_nothing_to_whoever_asks_in_their_name()
-> Result<()> {
    let Some(town) = Town::open_whole("1h").await? else {
        return Ok(());
    };
    let identity = farewell_identity::open(&town.database("identity")).await?;
    let (phone, mail) = ("+86 138 0000 0000", "li.na@example.com");
    farewell_identity::sample(&identity, "a-1", phone, mail, "a farewell to arms").await?;
    let mut bindings = BindingServiceClient::new(town.channel(&town.phones, "caller").await?);
    let bind = BindRequest {
        request_id: fresh(),
        binding: Some(Binding {
            device: "devices/p-1".to_owned(),
            account: "accounts/a-1".to_owned(),
            model: "Phone 14".to_owned(),
            answer_key: vec![7; 32].into(),
            ..Default::default()
        }),
    };
    let bound = bindings.bind(bind).await?.into_inner().binding;
    let epoch = bound.context("bound")?.epoch.to_string();
    let unbind = [
        "device", "unbind", "a-1", "phones", "p-1", "--epoch", &epoch,
    ];
    let archive = town.path("mine.zip").display().to_string();
    let export = ["account", "export", "a-1", "--out", &archive];
    let (earlier, of_the_desk) = (fresh(), fresh());
    let again = |request: &str| -> Vec<String> {
        let words = [&export[..], &["--request-id", request]].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    let neither = async |made: &str| -> Result<()> {
        town.refuses("caller", (&unbind, ""), REFUSED, "SELF_SERVICE_CLOSED")?;
        town.refuses("caller", (&export, ""), REFUSED, "ACCOUNT_FROZEN")?;
        // Nor an archive that was made before.
        let words = again(made);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        town.refuses("caller", (&words, ""), REFUSED, "ACCOUNT_FROZEN")?;
        ensure!(!town.path("mine.zip").exists());
        let mut line = bindings.clone();
        let given = line.transfer_binding(give(&epoch)?).await.map(drop);
        let shared = line.share_binding(share(&epoch)?).await.map(drop);
        for (what, answer) in [("give", given), ("share", shared)] {
            refused(what, answer, Code::FailedPrecondition, "ACCOUNT_FROZEN");
        }
        Ok(())
    };

    let words = again(&earlier);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    town.told("caller", &words, "")?;
    fs::remove_file(&archive)?;
    ensure!(farewell_identity::set_frozen(&identity, "a-1", true).await?);
    neither(&earlier).await?;
    // The desk knows who it is, and the right to one's data stands.
    let case = town.approved("a-1", &["export"], &["identity-document"])?;
    let mut words = again(&of_the_desk);
    words.extend(["--case".to_owned(), case]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    town.told("caller", &words, "")?;
    ensure!(town.path("mine.zip").exists());
    fs::remove_file(&archive)?;
    neither(&of_the_desk).await?;
    ensure!(farewell_identity::set_frozen(&identity, "a-1", false).await?);
    let shared = bindings.clone().share_binding(share(&epoch)?).await;
    refused("share", shared, Code::FailedPrecondition, "NOT_SHAREABLE");

    let papers = ["death-certificate", "relationship-proof"];
    let legacy = town.approved("a-1", &["legacy"], &papers)?;
    let kept = ["account", "memorialize", "a-1", "--case", &legacy];
    let kept = town.told("caller", &kept, "")?;
    let name = kept["name"].as_str().context("a name")?;
    wait::until("everybody to have it", async || {
        let seen = town.told("caller", &["account", "change", name], "")?;
        Ok((seen["state"] == "DONE").then_some(()))
    })
    .await?;
    neither(&of_the_desk).await
}

fn give(epoch: &str) -> Result<TransferBindingRequest> {
    Ok(TransferBindingRequest {
        request_id: fresh(),
        device: "devices/p-1".to_owned(),
        epoch: epoch.parse()?,
        account: "accounts/b-1".to_owned(),
    })
}

fn share(epoch: &str) -> Result<ShareBindingRequest> {
    Ok(ShareBindingRequest {
        request_id: fresh(),
        device: "devices/p-1".to_owned(),
        epoch: epoch.parse()?,
        share: Some(Share {
            account: "accounts/b-1".to_owned(),
            role: Role::Member.into(),
        }),
    })
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
    digits
        .map(|digits| Ok(u8::from_str_radix(digits, 16)?))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_by_its_field_and_changes_nothing() -> Result<()> {
    let Some(town) = Town::open("1h", "30d").await? else {
        return Ok(());
    };
    let desk = SupportServiceClient::new(town.channel(&town.desk, "ana").await?);
    let sound = api::OpenCaseRequest {
        request_id: fresh(),
        account: "accounts/a-1".to_owned(),
        kind: api::CaseKind::Override.into(),
        codes: vec!["OPEN_DISPUTE".to_owned()],
        ..Default::default()
    };
    type Spoil = fn(&mut api::OpenCaseRequest);
    let spoilt: [(&str, Spoil); 17] = [
        ("request_id", |it| it.request_id.clear()),
        ("account", |it| it.account = "a-1".to_owned()),
        ("account", |it| it.account = "accounts/".to_owned()),
        ("kind", |it| {
            it.kind = 0;
            it.codes.clear();
        }),
        ("kind", |it| {
            it.kind = 99;
            it.codes.clear();
        }),
        ("codes", |it| it.codes.clear()),
        ("codes[0]", |it| it.codes = vec!["points".to_owned()]),
        ("codes", |it| it.codes = vec!["A".to_owned(); 17]),
        ("codes", |it| it.kind = api::CaseKind::LostAccess.into()),
        ("to_account", |it| it.to_account = "accounts/b".to_owned()),
        ("belongings", |it| it.belongings = vec![1]),
        ("legacy_outcome", |it| it.legacy_outcome = 1),
        ("device", |it| {
            it.device = "lines/phones/devices/p-1".to_owned()
        }),
        ("device", |it| {
            it.codes.clear();
            it.kind = api::CaseKind::Unbind.into();
        }),
        ("device", |it| {
            it.codes.clear();
            it.kind = api::CaseKind::Unbind.into();
            it.device = "lines/phones/devices/p 1".to_owned();
        }),
        ("to_account", |it| {
            *it = api::OpenCaseRequest {
                kind: api::CaseKind::Transfer.into(),
                codes: Vec::new(),
                to_account: "accounts/a-1".to_owned(),
                belongings: vec![1],
                ..it.clone()
            };
        }),
        ("belongings[1]", |it| {
            *it = api::OpenCaseRequest {
                kind: api::CaseKind::Transfer.into(),
                codes: Vec::new(),
                to_account: "accounts/b-1".to_owned(),
                belongings: vec![1, 1],
                ..it.clone()
            };
        }),
    ];
    for (field, spoil) in spoilt {
        let mut request = sound.clone();
        spoil(&mut request);
        let opened = desk.clone().open_case(request).await;
        bad_field(field, opened, "INVALID_FIELD", field);
    }
    let everything = api::ListCasesRequest::default();
    let listed = desk.clone().list_cases(everything).await?;
    assert!(listed.into_inner().cases.is_empty(), "nothing was opened");

    let case = desk
        .clone()
        .open_case(sound.clone())
        .await?
        .into_inner()
        .case;
    let case = case.context("a case")?.name;
    let header = api::EvidenceHeader {
        request_id: fresh(),
        case: case.clone(),
        kind: api::EvidenceKind::Other.into(),
        media_type: "image/png".to_owned(),
        size_bytes: 12,
    };
    use api::add_evidence_request::Part;
    let upload = async |header: api::EvidenceHeader, bytes: &'static [u8]| {
        let parts = [Part::Header(header), Part::Chunk(bytes.into())];
        let parts = parts.map(|part| api::AddEvidenceRequest { part: Some(part) });
        desk.clone().add_evidence(tokio_stream::iter(parts)).await
    };
    type Change = fn(&mut api::EvidenceHeader);
    let spoilt: [(&str, Change); 6] = [
        ("header.request_id", |it| it.request_id.clear()),
        ("header.case", |it| it.case.clear()),
        ("header.kind", |it| it.kind = 0),
        ("header.media_type", |it| {
            it.media_type = "image/svg+xml".to_owned()
        }),
        ("header.size_bytes", |it| it.size_bytes = 0),
        ("header.size_bytes", |it| it.size_bytes = 10_485_761),
    ];
    for (field, change) in spoilt {
        let mut spoilt = header.clone();
        change(&mut spoilt);
        let added = upload(spoilt, b"\x89PNG\r\n\x1a\n....").await;
        bad_field(field, added, "INVALID_FIELD", field);
    }
    let disguised = upload(header.clone(), b"%PDF-1.7....").await;
    bad_field(
        "a disguise",
        disguised,
        "INVALID_FIELD",
        "header.media_type",
    );
    for (bytes, word) in [
        (&b"\x89PNG\r\n\x1a\n..."[..], "EVIDENCE_INCOMPLETE_UPLOAD"),
        (b"\x89PNG\r\n\x1a\n.....", "EVIDENCE_TOO_LARGE"),
    ] {
        let refused = upload(header.clone(), bytes).await.err().context(word)?;
        farewell_tests::refusal::refused(word, Err::<(), _>(refused), Code::InvalidArgument, word);
    }
    for name in [
        "",
        "cases/",
        "deletions/1",
        "cases/00000000-0000-0000-0000-00000000000g",
    ] {
        let (name, request_id) = (name.to_owned(), fresh());
        let approve = api::ApproveCaseRequest {
            request_id: request_id.clone(),
            name: name.clone(),
        };
        let answer = desk.clone().approve_case(approve).await;
        bad_field("approve", answer, "INVALID_FIELD", "name");
        let withdraw = api::WithdrawCaseRequest {
            request_id: request_id.clone(),
            name: name.clone(),
        };
        let answer = desk.clone().withdraw_case(withdraw).await;
        bad_field("withdraw", answer, "INVALID_FIELD", "name");
        let get = api::GetCaseRequest { name: name.clone() };
        bad_field(
            "get",
            desk.clone().get_case(get).await,
            "INVALID_FIELD",
            "name",
        );
        let look = api::GetEvidenceRequest { name };
        bad_field(
            "look",
            desk.clone().get_evidence(look).await,
            "INVALID_FIELD",
            "name",
        );
    }
    let unreasoned = api::RejectCaseRequest {
        request_id: fresh(),
        name: case.clone(),
        reason: 0,
    };
    let answer = desk.clone().reject_case(unreasoned).await;
    bad_field("no reason", answer, "INVALID_FIELD", "reason");
    for (field, request) in [
        (
            "page_size",
            api::ListCasesRequest {
                page_size: 501,
                ..Default::default()
            },
        ),
        (
            "states[0]",
            api::ListCasesRequest {
                states: vec![0],
                ..Default::default()
            },
        ),
        (
            "page_token",
            api::ListCasesRequest {
                page_token: "x".to_owned(),
                ..Default::default()
            },
        ),
    ] {
        let answer = desk.clone().list_cases(request).await;
        bad_field(field, answer, "INVALID_FIELD", field);
    }
    let get = api::GetCaseRequest { name: case };
    let after = desk.clone().get_case(get).await?;
    let after = after.into_inner().case.context("the case")?;
    assert_eq!(
        (after.state(), after.log.len()),
        (api::CaseState::Opened, 1)
    );
    Ok(())
}
