use std::time::{Duration, SystemTime};

use farewell_proto::device::v1::{self as wire, OrderState};

use crate::devices::counters::Odd;
use crate::devices::keeper;
use crate::devices::participant::Terms;
use crate::devices::registry::{NewBinding, Via};
use crate::devices::said::Said;
use crate::devices::testing::{
    ACCOUNT, Bench, TIME_PROOF, answer_to, benches, deferred, device_key, done, erase, new_binding,
    patient, plain, signed, signed_answer, sync, word,
};

/// A phone with a key of its own that is to be wiped.
async fn owing(bench: &Bench) -> u64 {
    let new = NewBinding {
        answer_key: Some(device_key("phone-1").public()),
        ..new_binding(ACCOUNT, "phone-1", None)
    };
    let epoch = bench.registry.bind(&new).await.unwrap().shown.binding.epoch;
    deferred(bench.act(&erase(&[("phone-1", epoch)])).await);
    epoch
}

#[tokio::test]
async fn a_device_with_a_key_is_believed_only_what_it_signed_and_nothing_twice() {
    for bench in benches("signed", Via::Never, patient()).await {
        let epoch = owing(&bench).await;
        let say = async |envelope| {
            let said = Said::sync(envelope).map_err(crate::devices::delivery::Trouble::Word)?;
            bench.delivery.contact(said, None).await
        };
        let mine = || sync("phone-1", epoch, &[]);
        assert_eq!(word(say(plain(mine())).await), "SIGNATURE_REQUIRED");
        assert_eq!(word(say(signed("phone-2", mine(), 5)).await), "UNKNOWN_KEY");
        assert_eq!(
            word(say(signed("phone-1", mine(), 0)).await),
            "OLD_SEQUENCE"
        );
        let owed = say(signed("phone-1", mine(), 5)).await.unwrap().orders;
        for old in [5, 4] {
            assert_eq!(
                word(say(signed("phone-1", mine(), old)).await),
                "OLD_SEQUENCE"
            );
        }
        let report = |sequence| wire::OrderReport {
            sequence,
            ..answer_to(&owed[0].id, "phone-1", epoch, OrderState::Executed, "")
        };
        let said = |report| Said::answer(signed_answer("phone-1", report)).unwrap();
        let old = bench.delivery.report(said(report(5)), None).await;
        assert_eq!(word(old), "OLD_SEQUENCE");
        assert_eq!(
            bench
                .delivery
                .owed("phone-1", None)
                .await
                .unwrap()
                .orders
                .len(),
            1
        );
        bench.delivery.report(said(report(6)), None).await.unwrap();
        let refused = |word| bench.delivery.counters().of(Odd::Refused, word);
        assert_eq!(
            (refused("OLD_SEQUENCE"), refused("SIGNATURE_REQUIRED")),
            (4, 1)
        );
    }
}

#[tokio::test]
async fn the_key_is_the_devices_own_and_survives_its_binding() {
    for bench in benches("key_stays", Via::Never, patient()).await {
        owing(&bench).await;
        // Bound anew without naming a key: what it says must be signed all the same.
        let epoch = bench.try_bind("account-2", "phone-1", None).await;
        let epoch = epoch.unwrap().shown.binding.epoch;
        let said = Said::sync(plain(sync("phone-1", epoch, &[]))).unwrap();
        let refused = bench.delivery.contact(said, None).await;
        assert_eq!(word(refused), "SIGNATURE_REQUIRED");
    }
}

#[tokio::test]
async fn a_device_that_signs_nothing_may_count_as_it_likes() {
    for bench in benches("plain", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        // A number that nobody signed proves nothing; believed, a large one would silence the device for its next owner.
        for sequence in [0, i64::MAX as u64, 3, 3, 2, 0] {
            let said = Said::sync(plain(wire::Sync {
                sequence,
                ..sync("phone-1", epoch, &[])
            }));
            let contact = bench.delivery.contact(said.unwrap(), None).await;
            assert!(contact.is_ok(), "{sequence}");
        }
    }
}

#[tokio::test]
async fn a_device_without_a_clock_gets_the_time_with_its_orders() {
    for bench in benches("clock", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let ask = async |nonce: Vec<u8>| {
            let said = Said::sync(plain(wire::Sync {
                nonce: nonce.into(),
                ..sync("phone-1", epoch, &[])
            }));
            bench.delivery.contact(said.unwrap(), None).await.unwrap()
        };
        assert!(
            ask(vec![1; 16]).await.time_proof.is_empty(),
            "nothing is owed"
        );
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        let parcel = ask(vec![1; 32]).await;
        assert_eq!(parcel.time_proof, TIME_PROOF);
        assert_eq!(parcel.to_wire().orders.len(), 1);
        assert!(
            ask(Vec::new()).await.time_proof.is_empty(),
            "it has a clock"
        );
        for nonce in [1, 15, 33] {
            let said = Said::sync(plain(wire::Sync {
                nonce: vec![1; nonce].into(),
                ..sync("phone-1", epoch, &[])
            }));
            assert_eq!(said.err(), Some("INVALID_NONCE"));
        }
        bench.contact("phone-1", 0, &[&parcel.orders[0]]).await;
        done(bench.act(&order).await);
    }
}

#[tokio::test]
async fn what_was_said_once_is_believed_no_more_when_everything_else_is_forgotten() {
    let terms = Terms {
        horizon: Duration::ZERO,
        ..patient()
    };
    for bench in benches("forgotten_orders", Via::Never, terms).await {
        let new = |account| NewBinding {
            answer_key: Some(device_key("phone-1").public()),
            ..new_binding(account, "phone-1", None)
        };
        let bound = bench.registry.bind(&new(ACCOUNT)).await.unwrap();
        let epoch = bound.shown.binding.epoch;
        done(bench.act(&erase(&[("phone-1", epoch)])).await);
        let say = async |sequence| {
            let said = signed("phone-1", sync("phone-1", epoch, &[]), sequence);
            bench
                .delivery
                .contact(Said::sync(said).unwrap(), None)
                .await
        };
        assert_eq!(say(5).await.unwrap().orders.len(), 1);
        let then = SystemTime::now() + Duration::from_secs(900 * 24 * 3600);
        keeper::look(&bench.registry, &terms, then).await.unwrap();
        let (orders,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM orders")
            .fetch_one(bench.registry.store().pool())
            .await
            .unwrap();
        assert_eq!(orders, 0);
        assert_eq!(word(say(5).await), "OLD_SEQUENCE");
        bench.registry.bind(&new("account-2")).await.unwrap();
        assert_eq!(word(say(5).await), "OLD_SEQUENCE", "the key is the same");
        say(6).await.unwrap();
    }
}
