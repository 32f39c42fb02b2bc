//! What is asked wrongly about factors is said by its field, and changes nothing.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use farewell_core::Policy;
use farewell_core::policy::{Channel as Door, Factor as Asked};
use farewell_proto::deletion::v1::{
    Channel, CreateDeletionRequest, Factor, SendCodeRequest, VerifyFactorRequest,
};
use farewell_runtime::server::Security;
use farewell_tests::caller::{fresh, request};
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::ledger::{self, Place};
use farewell_tests::policy;
use farewell_tests::refusal::bad_field;

const DEVICE: &str = "lines/phones/devices/d-1";

fn every_door() -> Policy {
    use Asked::{DeviceInHand, Documents, EmailCode, EmailLink, Password, SmsCode};
    Policy {
        channels: BTreeMap::from([
            (Door::Phone, vec![SmsCode]),
            (Door::Web, vec![Password, EmailCode, EmailLink]),
            (Door::Support, vec![Documents]),
            (Door::ServiceCentre, vec![DeviceInHand]),
        ]),
        ..policy::verified(&[&["identity"], &["phones"]])
    }
}

/// A device's name, and what is none.
fn no_devices() -> Vec<String> {
    let mut bad: Vec<String> = [
        "",
        "devices/d-1",
        "lines/phones",
        "lines/phones/devices/",
        "lines//devices/d-1",
        "lines/fridges/devices/d-1",
        "lines/phones/devices/d 1",
        "lines/phones/d-1",
    ]
    .map(str::to_owned)
    .to_vec();
    bad.push(format!("lines/phones/devices/{}", "d".repeat(200)));
    bad
}

fn names() -> [&'static str; 4] {
    ["", "deletions/", "deletions/x", "accounts/a-1"]
}

fn ids() -> [&'static str; 3] {
    ["", "x", "00000000-0000-0000-0000-000000000000"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_of_a_code_and_of_a_proof_is_refused_by_its_name_and_nothing_changes()
-> Result<()> {
    let place = Place::sqlite()?;
    let config = config(every_door(), &place.url, &Security::PlainLoopback);
    let coordinator = Coordinator::start_with(config).await?;
    let caller = coordinator.caller()?;
    let mut deletions = BTreeMap::new();
    for channel in [
        Channel::Phone,
        Channel::Web,
        Channel::Support,
        Channel::ServiceCentre,
    ] {
        let asked = CreateDeletionRequest {
            channel: channel.into(),
            ..request(&format!("a-{}", i32::from(channel)))
        };
        let asked = caller.ask(asked).await.map_err(|it| anyhow!("{it:?}"))?;
        deletions.insert(i32::from(channel), asked.name);
    }
    let of = |channel: Channel| {
        deletions
            .get(&channel.into())
            .cloned()
            .context("a deletion")
    };
    let (phone, web) = (of(Channel::Phone)?, of(Channel::Web)?);
    let (desk, shop) = (of(Channel::Support)?, of(Channel::ServiceCentre)?);
    let kept = place.open().await?.context("the ledger")?;
    let before = ledger::rows(kept.as_ref()).await?;

    let code = |name: &str, factor: Factor| SendCodeRequest {
        request_id: fresh(),
        name: name.to_owned(),
        factor: factor.into(),
        device: String::new(),
    };
    let mut codes: Vec<(SendCodeRequest, &str, &str)> = Vec::new();
    let right = code(&phone, Factor::SmsCode);
    for id in ids() {
        let request_id = id.to_owned();
        codes.push((
            SendCodeRequest {
                request_id,
                ..right.clone()
            },
            "INVALID_FIELD",
            "request_id",
        ));
    }
    for name in names() {
        let name = name.to_owned();
        codes.push((
            SendCodeRequest {
                name,
                ..right.clone()
            },
            "INVALID_FIELD",
            "name",
        ));
    }
    for factor in [0, 99, -1] {
        codes.push((
            SendCodeRequest {
                factor,
                ..right.clone()
            },
            "INVALID_FIELD",
            "factor",
        ));
    }
    for (name, factor, reason) in [
        (&web, Factor::Password, "INVALID_FIELD"),
        (&desk, Factor::Documents, "INVALID_FIELD"),
        (&phone, Factor::EmailCode, "FACTOR_NOT_REQUIRED"),
        (&phone, Factor::EmailLink, "FACTOR_NOT_REQUIRED"),
        (&web, Factor::SmsCode, "FACTOR_NOT_REQUIRED"),
        (&web, Factor::DeviceInHand, "FACTOR_NOT_REQUIRED"),
        (&shop, Factor::SmsCode, "FACTOR_NOT_REQUIRED"),
    ] {
        codes.push((code(name, factor), reason, "factor"));
    }
    for (name, factor) in [
        (&phone, Factor::SmsCode),
        (&web, Factor::EmailCode),
        (&web, Factor::EmailLink),
    ] {
        let device = DEVICE.to_owned();
        codes.push((
            SendCodeRequest {
                device,
                ..code(name, factor)
            },
            "INVALID_FIELD",
            "device",
        ));
    }
    for device in no_devices() {
        let challenge = code(&shop, Factor::DeviceInHand);
        codes.push((
            SendCodeRequest {
                device,
                ..challenge
            },
            "INVALID_FIELD",
            "device",
        ));
    }
    let sent = codes.len();
    for (bad, reason, field) in codes {
        let what = format!("{bad:?}");
        let answer = caller.api.clone().send_code(bad).await;
        bad_field(&what, answer, reason, field);
    }

    let shown = |name: &str, factor: Factor, proof: &str| VerifyFactorRequest {
        request_id: fresh(),
        name: name.to_owned(),
        factor: factor.into(),
        proof: proof.to_owned(),
        ..Default::default()
    };
    let in_hand = VerifyFactorRequest {
        device: DEVICE.to_owned(),
        statement: vec![1; 64].into(),
        ..shown(&shop, Factor::DeviceInHand, "")
    };
    let right = shown(&phone, Factor::SmsCode, "123456");
    let mut proofs: Vec<(VerifyFactorRequest, &str, &str)> = Vec::new();
    for id in ids() {
        let request_id = id.to_owned();
        proofs.push((
            VerifyFactorRequest {
                request_id,
                ..right.clone()
            },
            "INVALID_FIELD",
            "request_id",
        ));
    }
    for name in names() {
        let name = name.to_owned();
        proofs.push((
            VerifyFactorRequest {
                name,
                ..right.clone()
            },
            "INVALID_FIELD",
            "name",
        ));
    }
    for factor in [0, 99, -1] {
        proofs.push((
            VerifyFactorRequest {
                factor,
                ..right.clone()
            },
            "INVALID_FIELD",
            "factor",
        ));
    }
    for (name, factor) in [
        (&phone, Factor::Password),
        (&phone, Factor::EmailLink),
        (&web, Factor::SmsCode),
        (&shop, Factor::SmsCode),
    ] {
        proofs.push((shown(name, factor, "1"), "FACTOR_NOT_REQUIRED", "factor"));
    }
    let desk_case = "cases/01900000-0000-7000-8000-000000000001";
    for (name, factor, proof) in [
        (&phone, Factor::SmsCode, "1"),
        (&web, Factor::EmailCode, "1"),
        (&web, Factor::EmailLink, "1"),
        (&web, Factor::Password, "1"),
        (&desk, Factor::Documents, desk_case),
    ] {
        let good = shown(name, factor, proof);
        for proof in [String::new(), "1".repeat(257)] {
            proofs.push((
                VerifyFactorRequest {
                    proof,
                    ..good.clone()
                },
                "INVALID_FIELD",
                "proof",
            ));
        }
        let device = DEVICE.to_owned();
        proofs.push((
            VerifyFactorRequest {
                device,
                ..good.clone()
            },
            "INVALID_FIELD",
            "device",
        ));
        let statement = vec![1].into();
        proofs.push((
            VerifyFactorRequest { statement, ..good },
            "INVALID_FIELD",
            "statement",
        ));
    }
    for proof in [
        "1",
        "cases/",
        "cases/x",
        "deletions/01900000-0000-7000-8000-000000000001",
    ] {
        proofs.push((
            shown(&desk, Factor::Documents, proof),
            "INVALID_FIELD",
            "proof",
        ));
    }
    for statement in [vec![], vec![1; 1_025]] {
        let statement = statement.into();
        proofs.push((
            VerifyFactorRequest {
                statement,
                ..in_hand.clone()
            },
            "INVALID_FIELD",
            "statement",
        ));
    }
    let proof = "123456".to_owned();
    proofs.push((
        VerifyFactorRequest {
            proof,
            ..in_hand.clone()
        },
        "INVALID_FIELD",
        "proof",
    ));
    for device in no_devices() {
        proofs.push((
            VerifyFactorRequest {
                device,
                ..in_hand.clone()
            },
            "INVALID_FIELD",
            "device",
        ));
    }
    let compared = proofs.len();
    for (bad, reason, field) in proofs {
        let what = format!("{bad:?}");
        let answer = caller.api.clone().verify_factor(bad).await;
        bad_field(&what, answer, reason, field);
    }

    let after = ledger::rows(kept.as_ref()).await?;
    assert_eq!(before, after, "nothing changed");
    // Nor was a request's id used up: the same one, asked rightly, is not another's.
    let mended = caller.api.clone().verify_factor(in_hand.clone()).await;
    let unheard = mended.expect_err("nobody is there to look at it");
    assert_eq!(unheard.code(), tonic::Code::Unavailable, "{unheard:?}");
    println!(
        "{sent} codes and {compared} proofs were asked for wrongly, each was refused by its field, and nothing changed"
    );
    coordinator.stop().await
}
