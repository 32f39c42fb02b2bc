//! Every door that a deletion is asked for at, from the request to the certificate: with the real binary, by the command line, and what
//! each of them has proved.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use farewell_kit::devices::POSSESSION_OF_A_DELETION;
use farewell_kit::store::Store;
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{BindRequest, Binding, ChallengeDeviceRequest};
use farewell_runtime::cose::SigningKey;
use farewell_tests::caller::fresh;
use farewell_tests::office::{REFUSED, Town};
use farewell_tests::process::{Process, needed};
use farewell_tests::refusal::refused;
use farewell_tests::{foreign, wait};
use serde_json::Value;
use tonic::Code;

const PASSWORD: &str = "a farewell by every door";
const PHONE: &str = "p-1";
/// A device that was bound without a key of its own.
const KEYLESS: &str = "p-2";
const SEED: [u8; 32] = [3; 32];

/// An account that has a little of everything, and nothing in its way.
async fn person(identity: &Store, account: &str) -> Result<()> {
    let phone = format!("+86 138 0000 {:04}", u32::from(account.as_bytes()[0]));
    let mail = format!("{account}@example.com");
    farewell_identity::sample(identity, account, &phone, &mail, PASSWORD).await
}

/// Until it is purged, and what its certificate says: the same bytes each time.
async fn certified(town: &Town, deletion: &str) -> Result<Value> {
    town.state(deletion, "PURGED").await?;
    let read = ["deletion", "certificate", deletion];
    let first = town.ask("caller", &read, "")?;
    ensure!(first.status.success(), "{first:?}");
    ensure!(
        first.stdout == town.ask("caller", &read, "")?.stdout,
        "not the same bytes"
    );
    let certificate: Value = serde_json::from_slice(&first.stdout)?;
    assert_eq!(certificate["deletion"], deletion);
    let legs = certificate["legs"].as_array().context("legs")?;
    for participant in ["phones", "store", "support", "community", "identity"] {
        let erased = |leg: &&Value| leg["participant"] == participant && leg["verb"] == "erase";
        ensure!(
            legs.iter().any(|leg| erased(&leg)),
            "{participant}: {legs:#?}"
        );
    }
    Ok(certificate)
}

/// What was asked for and is a person's to prove.
async fn code(town: &Town, deletion: &str, factor: &str) -> Result<String> {
    let send = ["deletion", "send-code", deletion, "--factor", factor];
    town.told("caller", &send, "")?;
    wait::until("a letter with the code", async || {
        let letters = town.letters();
        let code = letters.iter().find(|it| it["deletion"] == deletion);
        Ok(code.and_then(|it| it["code"].as_str().map(str::to_owned)))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_on_the_phone_or_on_the_web_gets_a_certificate() -> Result<()> {
    let Some(town) = Town::open_with_people("300ms").await? else {
        return Ok(());
    };
    let identity = farewell_identity::open(&town.database("identity")).await?;
    for (account, channel, factors) in [
        ("a-1", "phone", &["sms-code"][..]),
        ("b-1", "web", &["password", "email-code"][..]),
    ] {
        person(&identity, account).await?;
        let deletion = town.create(account, channel)?;
        for factor in factors {
            let proof = match *factor {
                "password" => PASSWORD.to_owned(),
                by_letter => code(&town, &deletion, by_letter).await?,
            };
            let verify = ["deletion", "verify", &deletion, "--factor", factor];
            town.told("caller", &verify, &proof)?;
        }
        let certificate = certified(&town, &deletion).await?;
        assert_eq!(certificate["account"], account);
        let left = farewell_identity::left_over(&identity, account).await?;
        assert_eq!(left.categories, [], "{channel}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_at_the_desk_gets_a_certificate_and_so_do_relatives() -> Result<()> {
    let Some(town) = Town::open_with_people("300ms").await? else {
        return Ok(());
    };
    let identity = farewell_identity::open(&town.database("identity")).await?;
    let papers = ["death-certificate", "relationship-proof"];
    let proofs = ["identity-document", "purchase-proof"];
    for (account, channel, kind, documents) in [
        ("a-1", "support", &["lost-access"][..], proofs),
        ("b-1", "legacy", &["legacy", "--delete"][..], papers),
    ] {
        person(&identity, account).await?;
        let case = town.approved(account, kind, &documents)?;
        let deletion = town.create(account, channel)?;
        let verify = ["deletion", "verify", &deletion, "--factor", "documents"];
        town.told("caller", &verify, &case)?;
        let certificate = certified(&town, &deletion).await?;
        assert_eq!(certificate["account"], account);
        // The case is what remains at the desk, and says what for.
        let kept = town.desk_of("bo", &["get", &case])?;
        assert_eq!(kept["account"], "");
        assert_eq!(kept["used_for"], deletion.as_str());
        let left = farewell_identity::left_over(&identity, account).await?;
        assert_eq!(left.categories, [], "{channel}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_shop_with_the_device_in_hand_gets_a_certificate_and_the_device_is_reset()
-> Result<()> {
    let Some(python) = needed("FAREWELL_TEST_PYTHON") else {
        return Ok(());
    };
    let settings = vec![("FAREWELL_AGENT__PHONES__HORIZON", "3s".to_owned())];
    let Some(town) = Town::open_with_settings("300ms", settings).await? else {
        return Ok(());
    };
    let identity = farewell_identity::open(&town.database("identity")).await?;
    person(&identity, "a-1").await?;
    let key = SigningKey::from_seed(&SEED)?;
    let mut bindings = BindingServiceClient::new(town.channel(&town.phones, "caller").await?);
    let mut epochs = Vec::new();
    for (device, answer_key) in [(PHONE, key.public().to_vec()), (KEYLESS, Vec::new())] {
        let binding = Binding {
            answer_key: answer_key.into(),
            ..foreign::binding(device, "a-1")
        };
        let bound = bindings.bind(BindRequest {
            request_id: fresh(),
            binding: Some(binding),
        });
        epochs.push(bound.await?.into_inner().binding.context("bound")?.epoch);
    }
    let _in_hand = in_hand(&town, &python, epochs[0])?;
    town.sees(PHONE, "a-1").await?;

    // Without a key nothing shows that it is the one on the table: neither to the shop's own system, nor to a deletion.
    let keyless = bindings.challenge_device(ChallengeDeviceRequest {
        device: format!("devices/{KEYLESS}"),
        epoch: epochs[1],
    });
    refused(
        "no key",
        keyless.await,
        Code::FailedPrecondition,
        "NO_ANSWER_KEY",
    );
    let deletion = town.create("a-1", "service-centre")?;
    let ask = |verb: &'static str, device: &str| -> Vec<String> {
        let device = format!("lines/phones/devices/{device}");
        let words = ["deletion", verb, &deletion, "--factor", "device-in-hand"];
        let words = words.into_iter().chain(["--device", &device]);
        words.map(str::to_owned).collect()
    };
    let (send, none) = (ask("send-code", PHONE), ask("send-code", KEYLESS));
    let verify = ask("verify", PHONE);
    town.refuses("caller", (&words(&none), ""), REFUSED, "NO_ANSWER_KEY")?;

    let told = town.told("caller", &words(&send), "")?;
    let challenge = bytes(told["challenge"].as_str().context("a challenge")?)?;
    let signed = key.sign(POSSESSION_OF_A_DELETION, challenge);
    let signed: String = signed.iter().map(|byte| format!("{byte:02x}")).collect();
    town.told("caller", &words(&verify), &signed)?;

    let certificate = certified(&town, &deletion).await?;
    // The one in hand did as it was told; of the other only the server half is gone, and the certificate says so.
    let silent = certificate["devices_not_confirmed"].as_array();
    let silent = silent.context("devices_not_confirmed")?;
    assert_eq!(silent.len(), 1, "{silent:?}");
    assert_eq!(silent[0]["device"], format!("devices/{KEYLESS}"));
    let deeds = foreign::deeds(&town.path("in-hand"))?;
    let did: Vec<_> = deeds.iter().filter_map(|it| it["did"].as_str()).collect();
    assert_eq!(
        did,
        ["DEVICE_VERB_UNBIND"],
        "nobody agreed to have it wiped"
    );
    Ok(())
}

/// The device on the shop's table, with a certificate of its own: it attaches, obeys and says so.
fn in_hand(town: &Town, python: &str, epoch: u64) -> Result<Process> {
    let certs = town.path("certs");
    let mut make = Command::new(needed("FAREWELL_BIN").context("the binary")?);
    let made = make.arg("certs").arg(&certs).args(["--device", PHONE]);
    ensure!(made.output()?.status.success());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seed: String = SEED.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut device = Command::new(python);
    device
        .arg(root.join("foreign/device.py"))
        .args(["phone", "--device", PHONE, "--epoch", &epoch.to_string()])
        .arg("--proto")
        .arg(root.join("../proto"))
        .arg("--order-keys")
        .arg(certs.join("orders.pub"))
        .args(["--seed", &seed, "--agent", &town.phones, "--tls-dir"])
        .arg(&certs);
    Process::start_apart(
        &mut device,
        &town.path("in-hand"),
        &town.path("in-hand.log"),
    )
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
    digits
        .map(|digits| Ok(u8::from_str_radix(digits, 16)?))
        .collect()
}
