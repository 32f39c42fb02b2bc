//! Each device of an erasure is let go of when it has ended itself.

use std::time::Duration;

use farewell_proto::device::v1::OrderState;

use crate::devices::participant::Terms;
use crate::devices::refusal::Refusal;
use crate::devices::registry::Via;
use crate::devices::share::Role;
use crate::devices::testing::{
    ACCOUNT, Bench, ERASE, benches, deferred, done, erase, erase_with, locks, new_binding,
    outcomes, patient, refused, target, told, told_hub,
};
use crate::participant::{DeviceOutcome, DeviceVerb, LockOutcome};

const OTHER: &str = "account-2";
const RELEASED: Option<LockOutcome> = Some(LockOutcome::Released);

/// Wiped, and seen again without the binding.
async fn wipe(bench: &Bench, device: &str, epoch: u64) {
    let owed = bench.contact(device, epoch, &[]).await;
    bench.report(&owed[0], OrderState::Executed).await.unwrap();
    bench.contact(device, 0, &[&owed[0]]).await;
}

async fn count(bench: &Bench, table: &str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    let (rows,): (i64,) = sqlx::query_as(count)
        .fetch_one(bench.registry.store().pool())
        .await
        .unwrap();
    rows
}

async fn shown(bench: &Bench, account: &str) -> Vec<(String, u64, bool)> {
    let listed = bench.registry.list(account, "", 10).await.unwrap();
    let listed = listed.into_iter();
    listed
        .map(|shown| (shown.binding.device, shown.binding.epoch, shown.locked))
        .collect()
}

#[tokio::test]
async fn a_wiped_phone_is_free_while_another_is_still_in_a_drawer() {
    for bench in benches("drawer", Via::Never, patient()).await {
        let wiped = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let away = bench.bind_locked(ACCOUNT, "phone-2").await.unwrap();
        let order = erase(&[("phone-1", wiped), ("phone-2", away)]);
        deferred(bench.act(&order).await);
        for phone in ["phone-1", "phone-2"] {
            let early = bench.bind_locked(OTHER, phone).await;
            assert!(matches!(early, Err(Refusal::DeviceLocked)));
        }
        wipe(&bench, "phone-1", wiped).await;
        let new = bench.bind_locked(OTHER, "phone-1").await.unwrap();
        let early = bench.bind_locked(OTHER, "phone-2").await;
        assert!(matches!(early, Err(Refusal::DeviceLocked)));

        // Whatever is asked again, the next owner keeps what is the next owner's, and is told nothing.
        assert_eq!(deferred(bench.act(&order).await).done, 1);
        let bench = bench.restart(Via::Never, patient()).await;
        assert_eq!(deferred(bench.act(&order).await).done, 1);
        let kept = [("phone-1".to_owned(), new, true)];
        assert_eq!(shown(&bench, OTHER).await, kept);
        assert!(bench.contact("phone-1", new, &[]).await.is_empty());

        wipe(&bench, "phone-2", away).await;
        let answer = done(bench.act(&order).await);
        assert_eq!(locks(&answer), [RELEASED, RELEASED]);
        assert_eq!(
            (answer.counts["devices"], answer.counts["bindings"]),
            (2, 2)
        );
        assert_eq!(
            outcomes(&answer),
            [
                ("phone-1".to_owned(), DeviceOutcome::Confirmed),
                ("phone-2".to_owned(), DeviceOutcome::Confirmed),
            ]
        );
        assert_eq!(done(bench.act(&order).await), answer);
        assert_eq!(shown(&bench, OTHER).await, kept);
        assert_eq!(count(&bench, "partings").await, 0, "the answer says it now");
    }
}

#[tokio::test]
async fn a_device_that_is_not_seen_again_is_let_go_of_when_its_confirmation_is_waited_for_no_longer()
 {
    let terms = Terms {
        confirm_wait: Duration::from_secs(60),
        ..patient()
    };
    for bench in benches("unseen", Via::Hub, terms).await {
        let bound = bench.try_bind(ACCOUNT, "hub-1", None).await.unwrap();
        let secret = bound.secret.unwrap();
        let away = bench.bind("hub-2", None).await;
        let order = erase(&[("hub-1", bound.shown.binding.epoch), ("hub-2", away)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("hub-1", bound.shown.binding.epoch, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        let asked = deferred(bench.act(&order).await);
        assert!(asked.retry_after <= Duration::from_secs(2), "{asked:?}");
        let is_good = async || {
            let registry = &bench.registry;
            registry
                .is_secret("hub-1", secret.as_bytes())
                .await
                .unwrap()
        };
        assert!(is_good().await, "it is to be seen again by it");
        assert_eq!(count(&bench, "bindings").await, 2);
        bench.age(terms.confirm_wait).await;
        deferred(bench.act(&order).await);
        assert!(!is_good().await);
        assert_eq!(count(&bench, "bindings").await, 1);

        // Seen late, it is confirmed all the same, and nothing is counted twice.
        bench.contact("hub-1", 0, &[]).await;
        wipe(&bench, "hub-2", away).await;
        let answer = done(bench.act(&order).await);
        let counted = (answer.counts["bindings"], answer.counts["credentials"]);
        assert_eq!(counted, (2, 2));
        let ends = outcomes(&answer);
        assert_eq!(ends[0].1, DeviceOutcome::Confirmed);
        assert_eq!(locks(&answer), [None, None]);
    }
}

#[tokio::test]
async fn a_lost_device_keeps_its_lock_whoever_is_in_a_drawer_until_it_is_found() {
    for bench in benches("lost_early", Via::Never, patient()).await {
        let lost = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let stolen = bench.bind_locked(ACCOUNT, "phone-2").await.unwrap();
        let away = bench.bind_locked(ACCOUNT, "phone-3").await.unwrap();
        for (phone, epoch) in [("phone-1", lost), ("phone-2", stolen)] {
            let report = target(phone, epoch);
            bench.registry.report_lost(&report, true).await.unwrap();
        }
        let order = erase(&[("phone-1", lost), ("phone-2", stolen), ("phone-3", away)]);
        deferred(bench.act(&order).await);
        for (phone, epoch) in [("phone-1", lost), ("phone-2", stolen)] {
            wipe(&bench, phone, epoch).await;
            let thief = bench.try_bind(OTHER, phone, None).await;
            assert!(matches!(thief, Err(Refusal::DeviceLocked)));
        }
        deferred(bench.act(&order).await);
        let found = target("phone-1", lost);
        let found = bench.registry.report_lost(&found, false).await.unwrap();
        assert!(found.is_none(), "nobody has it");
        bench.bind_locked(OTHER, "phone-1").await.unwrap();
        let bench = bench.restart(Via::Never, patient()).await;
        wipe(&bench, "phone-3", away).await;
        let answer = done(bench.act(&order).await);
        let kept = Some(LockOutcome::Kept);
        assert_eq!(locks(&answer), [RELEASED, kept, RELEASED]);
        let thief = bench.try_bind(OTHER, "phone-2", None).await;
        assert!(matches!(thief, Err(Refusal::DeviceLocked)));
    }
}

#[tokio::test]
async fn a_locked_child_that_its_hub_has_removed_wakes_its_erasure_and_is_free() {
    for bench in benches("locked_child", Via::Hub, patient()).await {
        let hub = bench.bind("hub-1", None).await;
        let locked = crate::devices::registry::NewBinding {
            activation_lock: true,
            ..new_binding(ACCOUNT, "door-1", Some("hub-1"))
        };
        let door = bench.registry.bind(&locked).await.unwrap();
        let door = door.shown.binding.epoch;
        let order = erase_with(vec![
            told_hub(ERASE, ("door-1", door), ("hub-1", hub)),
            told(ERASE, "hub-1", hub, &[DeviceVerb::Reset]),
        ]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("hub-1", hub, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        assert!(bench.is_woken(&order), "though the hub is still waited for");
        deferred(bench.act(&order).await);
        bench.bind_locked(OTHER, "door-1").await.unwrap();
        wipe(&bench, "hub-1", hub).await;
        let answer = done(bench.act(&order).await);
        assert_eq!(locks(&answer), [RELEASED, None]);
        assert_eq!(answer.counts["bindings"], 2);
        assert_eq!(shown(&bench, OTHER).await.len(), 1);
    }
}

#[tokio::test]
async fn a_tombstone_that_fires_before_the_answer_gives_its_log_in_back_and_is_counted_once() {
    for bench in benches("early_tombstone", Via::Hub, patient()).await {
        let away = bench.bind_locked(ACCOUNT, "hub-1").await.unwrap();
        let stubborn = bench.bind("hub-2", None).await;
        let order = erase(&[("hub-1", away), ("hub-2", stubborn)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("hub-2", stubborn, &[]).await;
        bench.report(&owed[0], OrderState::Refused).await.unwrap();
        bench.age(patient().horizon).await;
        assert_eq!(refused(bench.act(&order).await), "DEVICE_REFUSED");
        let (bindings, log_ins) = (
            count(&bench, "bindings").await,
            count(&bench, "credentials").await,
        );
        assert_eq!((bindings, log_ins), (1, 2), "one only way to a device");
        assert_eq!(count(&bench, "locks").await, 0);

        let tombstone = bench.contact("hub-1", away, &[]).await;
        let executed = OrderState::Executed;
        bench.report(&tombstone[0], executed).await.unwrap();
        assert_eq!(count(&bench, "credentials").await, 1);
        bench.report(&tombstone[0], executed).await.unwrap();
        deferred(bench.act(&order).await);
        wipe(&bench, "hub-2", stubborn).await;
        bench.contact("hub-1", 0, &[]).await;
        let answer = done(bench.act(&order).await);
        let counted = (answer.counts["bindings"], answer.counts["credentials"]);
        assert_eq!(counted, (2, 2));
        assert_eq!(locks(&answer), [RELEASED, None]);
    }
}

#[tokio::test]
async fn a_lock_that_was_passed_on_is_the_heirs_whatever_the_heir_does_before_the_answer() {
    for bench in benches("heirs_lock", Via::Hub, patient()).await {
        let given = bench.bind_locked(ACCOUNT, "hub-1").await.unwrap();
        bench.share("hub-1", given, OTHER, Role::Admin).await;
        let open = bench.bind("hub-2", None).await;
        bench.share("hub-2", open, OTHER, Role::Admin).await;
        let away = bench.bind_locked(ACCOUNT, "hub-3").await.unwrap();
        let wanted = [DeviceVerb::Transfer, DeviceVerb::Reset];
        let order = erase_with(vec![
            told(ERASE, "hub-1", given, &wanted),
            told(ERASE, "hub-2", open, &wanted),
            told(ERASE, "hub-3", away, &[DeviceVerb::Reset]),
        ]);
        assert_eq!(deferred(bench.act(&order).await).done, 2);
        let heirs = shown(&bench, OTHER).await;
        let locked: Vec<_> = heirs.iter().map(|(_, _, locked)| *locked).collect();
        assert_eq!(locked, [true, false]);
        let sold = target("hub-1", heirs[0].1);
        bench.registry.transfer(&sold, "account-3").await.unwrap();
        let bench = bench.restart(Via::Hub, patient()).await;
        wipe(&bench, "hub-3", away).await;
        let answer = done(bench.act(&order).await);
        let passed_on = Some(LockOutcome::PassedOn);
        assert_eq!(locks(&answer), [passed_on, None, RELEASED]);
        assert_eq!(answer.counts["bindings"], 1, "two are somebody's");
        let buyers = shown(&bench, "account-3").await;
        assert!(buyers[0].2, "and never another's lock");
    }
}

#[tokio::test]
async fn a_device_that_comes_without_a_binding_nobody_told_it_to_drop_is_free_too() {
    for bench in benches("no_binding", Via::Never, patient()).await {
        let epoch = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let away = bench.bind("phone-2", None).await;
        let order = erase(&[("phone-1", epoch), ("phone-2", away)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("phone-1", 0, &[]).await;
        let superseded = OrderState::Superseded;
        let said = bench.report_as(&owed[0], "phone-1", 0, superseded).await;
        said.unwrap();
        bench.bind_locked(OTHER, "phone-1").await.unwrap();
        wipe(&bench, "phone-2", away).await;
        let answer = done(bench.act(&order).await);
        assert_eq!(locks(&answer), [RELEASED, None]);
        assert_eq!(answer.counts["bindings"], 2);
    }
}
