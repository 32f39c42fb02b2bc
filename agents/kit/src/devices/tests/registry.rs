use std::time::Duration;

use crate::devices::refusal::Refusal;
use crate::devices::registry::Via;
use crate::devices::testing::{
    ACCOUNT, benches, command, done, erase, new_binding, patient, target, word,
};
use crate::participant::Participant as _;

#[tokio::test]
async fn every_new_binding_of_a_device_has_a_greater_epoch_than_any_before() {
    for bench in benches("epochs", Via::Never, patient()).await {
        let first = bench.bind("phone-1", None).await;
        let first = target("phone-1", first);
        let given = bench.registry.transfer(&first, "account-2").await;
        let given = given.unwrap().shown;
        let again = bench.registry.transfer(&first, "account-2").await;
        assert_eq!(again.unwrap().shown, given);
        assert!(given.binding.epoch > first.epoch && first.epoch > 0);
    }
}

#[tokio::test]
async fn a_database_that_was_restored_makes_no_epoch_again() {
    for bench in benches("restored", Via::Never, patient()).await {
        let forgotten = bench.bind("phone-1", None).await;
        for forget in [
            "DELETE FROM bindings",
            "DELETE FROM requests",
            "UPDATE devices SET epoch = 0",
        ] {
            let pool = bench.registry.store().pool();
            sqlx::query(forget).execute(pool).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert!(bench.bind("phone-1", None).await > forgotten);
    }
}

#[tokio::test]
async fn a_sealed_account_binds_nothing_until_the_seal_is_lifted() {
    for bench in benches("sealed", Via::Never, patient()).await {
        bench.line.seal(&command("1-seal-test")).await.unwrap();
        assert!(matches!(
            bench.try_bind(ACCOUNT, "phone-1", None).await,
            Err(Refusal::AccountSealed)
        ));
        bench.line.unseal(&command("1-unseal-test")).await.unwrap();
        bench.bind("phone-1", None).await;
    }
}

#[tokio::test]
async fn an_erased_account_never_binds_a_device_again() {
    for bench in benches("fenced", Via::Never, patient()).await {
        done(bench.act(&erase(&[])).await);
        assert!(matches!(
            bench.try_bind(ACCOUNT, "phone-1", None).await,
            Err(Refusal::AccountSealed)
        ));
    }
}

#[tokio::test]
async fn a_device_of_one_account_is_not_given_to_another() {
    for bench in benches("taken", Via::Never, patient()).await {
        bench.bind("phone-1", None).await;
        assert!(matches!(
            bench.try_bind("account-2", "phone-1", None).await,
            Err(Refusal::DeviceBound)
        ));
    }
}

#[tokio::test]
async fn the_same_request_binds_once_and_its_id_serves_nothing_else() {
    for bench in benches("requests", Via::Hub, patient()).await {
        let mut new = new_binding(ACCOUNT, "hub-1", None);
        let first = bench.registry.bind(&new).await.unwrap();
        let again = bench.registry.bind(&new).await.unwrap();
        assert_eq!(first.shown, again.shown);
        let secret = again.secret.unwrap();
        assert!(
            bench
                .registry
                .is_secret("hub-1", secret.as_bytes())
                .await
                .unwrap()
        );
        assert!(
            !bench
                .registry
                .is_secret("hub-1", first.secret.unwrap().as_bytes())
                .await
                .unwrap()
        );
        new.model = "other".to_owned();
        assert!(matches!(
            bench.registry.bind(&new).await,
            Err(Refusal::RequestIdReused)
        ));
    }
}

#[tokio::test]
async fn a_child_is_bound_only_behind_a_hub_of_its_own_account() {
    for bench in benches("children", Via::Hub, patient()).await {
        bench.bind("hub-1", None).await;
        bench.bind("lamp-1", Some("hub-1")).await;
        for (account, hub) in [
            ("account-2", "hub-1"),
            (ACCOUNT, "hub-2"),
            (ACCOUNT, "lamp-1"),
        ] {
            let refused = bench.try_bind(account, "lamp-2", Some(hub)).await;
            assert!(
                matches!(
                    refused,
                    Err(Refusal::InvalidField {
                        field: "binding.via",
                        ..
                    })
                ),
                "{hub}"
            );
        }
    }
}

#[tokio::test]
async fn only_the_companion_speaks_for_a_wearable() {
    for bench in benches("companion", Via::Companion, patient()).await {
        let epoch = bench.bind("watch-1", Some("phone-1")).await;
        for (phone, watch) in [("phone-2", "watch-1"), ("phone-1", "watch-2")] {
            let foreign = bench.relay(phone, watch, epoch).await;
            assert_eq!(word(foreign), "NOT_THE_COMPANION");
        }
        bench.relay("phone-1", "watch-1", epoch).await.unwrap();
    }
}
