use std::time::Duration;

use farewell_proto::device::v1::OrderState;

use crate::devices::participant::{Terms, left_over};
use crate::devices::registry::Via;
use crate::devices::testing::{
    ACCOUNT, benches, by_hand, command, deferred, done, erase, erase_with, outcomes, patient,
    refused, told,
};
use crate::participant::{DeviceOutcome, DeviceVerb, Order, Outcome, Participant as _};

#[tokio::test]
async fn the_seal_answers_with_the_roster_and_a_repeat_gives_the_same_answer() {
    for bench in benches("roster", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let seal = command("1-seal-test");
        let first = done(bench.line.seal(&seal).await.unwrap());
        assert_eq!(first.outcome, Outcome::Sealed);
        assert_eq!(first.devices.len(), 1);
        assert_eq!(
            (
                first.devices[0].device.as_str(),
                first.devices[0].binding_epoch
            ),
            ("phone-1", epoch)
        );
        assert_eq!(done(bench.line.seal(&seal).await.unwrap()), first);
    }
}

#[tokio::test]
async fn a_late_seal_of_a_revoked_deletion_does_not_close_the_account() {
    for bench in benches("late_seal", Via::Never, patient()).await {
        bench.line.unseal(&command("1-unseal-test")).await.unwrap();
        assert_eq!(
            refused(bench.line.seal(&command("1-seal-test")).await.unwrap()),
            "SEAL_LIFTED"
        );
        bench.bind("phone-1", None).await;
    }
}

#[tokio::test]
async fn only_the_devices_of_the_order_are_touched() {
    for bench in benches("named", Via::Never, patient()).await {
        let named = bench.bind("phone-1", None).await;
        let other = bench.bind("phone-2", None).await;
        let order = erase(&[("phone-1", named)]);
        assert_eq!(deferred(bench.act(&order).await).total, 1);
        assert!(bench.contact("phone-2", other, &[]).await.is_empty());
        let usable = bench.registry.list(ACCOUNT, "", 10).await.unwrap();
        assert_eq!(usable.len(), 1, "the ending binding is no longer listed");
        assert_eq!(usable[0].binding.device, "phone-2");
    }
}

#[tokio::test]
async fn an_order_that_names_nothing_wrong_things_or_somebody_elses_device_touches_nothing() {
    for bench in benches("wrong", Via::Never, patient()).await {
        let mine = bench.bind("phone-1", None).await;
        let theirs = bench
            .try_bind("account-2", "phone-2", None)
            .await
            .unwrap()
            .shown
            .binding
            .epoch;
        for (order, reason) in [
            (erase(&[]), "ROSTER_MISSING"),
            (erase(&[("phone-1", 0)]), "INVALID_EPOCH"),
            (erase(&[("a/b", 1)]), "INVALID_DEVICE"),
            (
                erase(&[("phone-1", mine), ("phone-9", 1)]),
                "UNKNOWN_BINDING",
            ),
            (
                erase(&[("phone-1", mine), ("phone-2", theirs)]),
                "ACCOUNT_MISMATCH",
            ),
        ] {
            assert_eq!(refused(bench.act(&order).await), reason);
        }
        assert!(bench.contact("phone-1", mine, &[]).await.is_empty());
        assert!(bench.contact("phone-2", theirs, &[]).await.is_empty());
        bench.bind("phone-3", None).await;
    }
}

#[tokio::test]
async fn a_name_that_erases_one_accounts_devices_does_nothing_to_another() {
    for bench in benches("name", Via::Hub, patient()).await {
        let epoch = bench.bind("hub-1", None).await;
        deferred(bench.act(&erase(&[("hub-1", epoch)])).await);
        let other = Order {
            account: "account-2".to_owned(),
            ..erase(&[("hub-1", epoch)])
        };
        assert_eq!(refused(bench.act(&other).await), "INVALID_COMMAND");
        bench
            .try_bind("account-2", "hub-2", None)
            .await
            .expect("no fence stands where nothing was erased");
    }
}

#[tokio::test]
async fn the_answer_is_kept_and_nothing_of_the_account_is_left() {
    for bench in benches("finished", Via::Hub, patient()).await {
        let epoch = bench.bind("hub-1", None).await;
        let order = erase(&[("hub-1", epoch)]);
        let waiting = deferred(bench.act(&order).await);
        assert_eq!(
            (waiting.done, waiting.total, waiting.reason.as_str()),
            (0, 1, "WAITING_FOR_DEVICES")
        );
        let residue = done(bench.line.probe(&command("1-probe-test")).await.unwrap());
        assert_eq!(residue.outcome, Outcome::Residue);
        assert_eq!(
            (residue.counts["bindings"], residue.counts["orders"]),
            (1, 1)
        );

        let owed = bench.contact("hub-1", epoch, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        deferred(bench.act(&order).await);
        bench.contact("hub-1", 0, &[&owed[0]]).await;
        let answer = done(bench.act(&order).await);
        assert_eq!(answer.outcome, Outcome::Erased);
        assert_eq!(done(bench.act(&order).await), answer);
        assert_eq!(
            done(bench.line.recall(&order).await.unwrap().unwrap()),
            answer
        );

        assert_eq!(
            done(bench.line.probe(&command("2-probe-test")).await.unwrap()).outcome,
            Outcome::Clean
        );
        assert!(
            left_over(bench.registry.store(), ACCOUNT)
                .await
                .unwrap()
                .is_clean()
        );
        for table in [
            "answered", "bindings", "shares", "locks", "erasures", "fence", "seal", "requests",
            "orders", "devices",
        ] {
            let sql =
                format!("SELECT COUNT(*) FROM {table} t WHERE CAST(t AS TEXT) LIKE '%{ACCOUNT}%'");
            // SQLite has no text of a whole row.
            if bench.url.starts_with("postgres") {
                let (rows,): (i64,) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
                    .fetch_one(bench.registry.store().pool())
                    .await
                    .unwrap();
                assert_eq!(rows, 0, "{table}");
            }
        }
    }
}

#[tokio::test]
async fn an_execution_that_is_not_confirmed_in_time_counts_as_executed() {
    let terms = Terms {
        confirm_wait: Duration::from_secs(50),
        ..patient()
    };
    for bench in benches("unconfirmed", Via::Never, terms).await {
        let epoch = bench.bind("phone-1", None).await;
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        let asked = deferred(bench.act(&order).await);
        let (soon, late) = (Duration::from_secs(10), Duration::from_secs(51));
        assert!((soon..late).contains(&asked.retry_after), "{asked:?}");
        bench.age(terms.confirm_wait).await;
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [("phone-1".to_owned(), DeviceOutcome::Executed)]
        );
    }
}

/// The policy of the deletion may be less patient than the agent, and not more.
#[tokio::test]
async fn a_device_is_waited_for_as_long_as_both_policy_and_agent_would() {
    const SHORT: Duration = Duration::from_secs(10);
    let short = Terms {
        horizon: SHORT,
        ..patient()
    };
    for (name, terms, policy) in [
        ("policy-horizon", patient(), SHORT),
        ("own-horizon", short, Duration::from_secs(3600)),
    ] {
        for bench in benches(name, Via::Never, terms).await {
            let epoch = bench.bind("phone-1", None).await;
            let order = Order {
                horizon: Some(policy),
                retention: Vec::new(),
                ended_by: None,
                ..erase(&[("phone-1", epoch)])
            };
            deferred(bench.act(&order).await);
            bench.age(SHORT).await;
            let answer = done(bench.act(&order).await);
            let detached = [("phone-1".to_owned(), DeviceOutcome::Detached)];
            assert_eq!(outcomes(&answer), detached, "{name}");
        }
    }
}

#[tokio::test]
async fn a_device_offline_past_the_horizon_is_detached_and_its_tombstone_fires_when_it_returns() {
    for bench in benches("horizon", Via::Hub, patient()).await {
        let bound = bench.try_bind(ACCOUNT, "hub-1", None).await.unwrap();
        let (epoch, secret) = (bound.shown.binding.epoch, bound.secret.unwrap());
        let order = erase(&[("hub-1", epoch)]);
        deferred(bench.act(&order).await);
        bench.age(patient().horizon).await;
        let answer = done(bench.act(&order).await);
        assert_eq!(
            outcomes(&answer),
            [("hub-1".to_owned(), DeviceOutcome::Detached)]
        );
        assert!(
            left_over(bench.registry.store(), ACCOUNT)
                .await
                .unwrap()
                .is_clean()
        );

        assert!(
            bench
                .registry
                .is_secret("hub-1", secret.as_bytes())
                .await
                .unwrap(),
            "the only way to the device"
        );
        let owed = bench.contact("hub-1", epoch, &[]).await;
        assert_eq!(owed.len(), 1);
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        assert!(
            !bench
                .registry
                .is_secret("hub-1", secret.as_bytes())
                .await
                .unwrap()
        );
        assert_eq!(
            done(bench.act(&order).await),
            answer,
            "what was answered stays"
        );
    }
}

#[tokio::test]
async fn a_tombstone_never_reaches_the_next_owner() {
    let terms = Terms {
        horizon: Duration::ZERO,
        ..patient()
    };
    for bench in benches("tombstone", Via::Never, terms).await {
        let epoch = bench.bind("phone-1", None).await;
        done(bench.act(&erase(&[("phone-1", epoch)])).await);
        let new = bench
            .try_bind("account-2", "phone-1", None)
            .await
            .unwrap()
            .shown
            .binding
            .epoch;
        assert!(bench.contact("phone-1", new, &[]).await.is_empty());
        assert!(bench.contact("phone-1", 0, &[]).await.is_empty());
    }
}

#[tokio::test]
async fn a_device_that_refuses_needs_a_person_and_is_asked_once_more_when_one_says_so() {
    for bench in benches("stubborn", Via::Never, patient()).await {
        let epoch = bench.bind("lock-1", None).await;
        let order = erase(&[("lock-1", epoch)]);
        deferred(bench.act(&order).await);
        let first = bench.contact("lock-1", epoch, &[]).await;
        bench.report(&first[0], OrderState::Refused).await.unwrap();
        assert!(bench.is_woken(&order));
        assert_eq!(refused(bench.act(&order).await), "DEVICE_REFUSED");

        deferred(bench.act(&order).await);
        let second = bench.contact("lock-1", epoch, &[]).await;
        assert_eq!(
            first[0].signed, second[0].signed,
            "it is signed: a device thinks again about what it has refused"
        );
        bench
            .report(&second[0], OrderState::Executed)
            .await
            .unwrap();
        bench.contact("lock-1", 0, &[&second[0]]).await;
        done(bench.act(&order).await);
    }
}

#[tokio::test]
async fn a_model_that_cannot_be_told_ends_unsupported_at_once() {
    for bench in benches("manual", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let order = erase_with(vec![by_hand("phone-1", epoch)]);
        let answer = done(bench.act(&order).await);
        assert_eq!(
            outcomes(&answer),
            [("phone-1".to_owned(), DeviceOutcome::Unsupported)]
        );
    }
}

#[tokio::test]
async fn a_device_wiped_in_an_earlier_round_is_not_waited_for_again() {
    for bench in benches("rounds", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let first = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&first).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.contact("phone-1", 0, &[&owed[0]]).await;
        done(bench.act(&first).await);
        let name = "deletions/d1/commands/2-erase-test";
        let second = Order {
            command: name.to_owned(),
            devices: vec![told(name, "phone-1", epoch, &[DeviceVerb::Reset])],
            ..first
        };
        assert_eq!(
            outcomes(&done(bench.act(&second).await)),
            [("phone-1".to_owned(), DeviceOutcome::Confirmed)]
        );
    }
}
