//! An agent that was restored from a backup erases once more: it waits for nobody, and knows less than the roster.

use std::time::SystemTime;

use farewell_proto::device::v1::OrderState;

use crate::devices::participant::left_over;
use crate::devices::refusal::Refusal;
use crate::devices::registry::Via;
use crate::devices::share::Role;
use crate::devices::testing::{
    ACCOUNT, Bench, benches, command, deferred, done, erase, erase_with, locks, order_for,
    outcomes, patient, sign, target, told,
};
use crate::participant::{
    DeviceDuty, DeviceOutcome, DeviceTask, DeviceVerb, LockOutcome, Order, Outcome,
    Participant as _,
};

const OTHER: &str = "account-2";
const AGAIN: &str = "deletions/d1/commands/32769-erase-test";

/// The same erasure, as it is asked for after a restore.
fn again(devices: Vec<DeviceTask>) -> Order {
    Order {
        command: AGAIN.to_owned(),
        ended_by: Some(SystemTime::now()),
        ..erase_with(devices)
    }
}

fn reset(device: &str, epoch: u64) -> DeviceTask {
    told(AGAIN, device, epoch, &[DeviceVerb::Reset])
}

async fn clean(bench: &Bench) {
    let left = left_over(bench.registry.store(), ACCOUNT).await.unwrap();
    assert!(left.is_clean(), "{left:?}");
    let probed = bench
        .line
        .probe(&command("32769-probe-test"))
        .await
        .unwrap();
    assert_eq!(done(probed).outcome, Outcome::Clean);
}

#[tokio::test]
async fn what_is_repeated_waits_for_nobody_and_who_has_the_binding_still_is_told() {
    for bench in benches("again", Via::Never, patient()).await {
        let wiped = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let drawer = bench.bind("phone-2", None).await;
        let order = again(vec![reset("phone-1", wiped), reset("phone-2", drawer)]);
        let answer = done(bench.act(&order).await);
        let detached = |device: &str| (device.to_owned(), DeviceOutcome::Detached);
        assert_eq!(
            outcomes(&answer),
            [detached("phone-1"), detached("phone-2")]
        );
        assert_eq!(locks(&answer), [Some(LockOutcome::Released), None]);
        assert_eq!(answer.counts["bindings"], 2);
        clean(&bench).await;

        // One was wiped the first time, and does nothing twice. Whose it is now binds it, and it is told nothing any more.
        let owed = bench.contact("phone-1", 0, &[]).await;
        let superseded = OrderState::Superseded;
        let said = bench.report_as(&owed[0], "phone-1", 0, superseded).await;
        said.unwrap();
        let next = bench.bind_locked(OTHER, "phone-1").await.unwrap();
        assert!(bench.contact("phone-1", next, &[]).await.is_empty());
        let again = done(bench.act(&order).await);
        assert_eq!(again, answer, "and so it is when it is asked once more");
        let kept = bench.registry.list(OTHER, "", 10).await.unwrap();
        assert_eq!((kept.len(), kept[0].locked), (1, true));

        // The other was in a drawer all the time.
        let owed = bench.contact("phone-2", drawer, &[]).await;
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        assert!(bench.contact("phone-2", 0, &[&owed[0]]).await.is_empty());
    }
}

#[tokio::test]
async fn bindings_that_a_backup_does_not_know_or_has_again_hold_nothing_up() {
    for bench in benches("older", Via::Never, patient()).await {
        // Let go of after the backup; bound after it; had by somebody else when it was made.
        bench.bind_locked(ACCOUNT, "phone-old").await.unwrap();
        let epoch = bench.bind("phone-1", None).await;
        let theirs = bench.bind_locked(OTHER, "phone-theirs").await.unwrap();
        let (new, later) = (epoch + 50, theirs + 50);
        let order = again(vec![
            reset("phone-1", epoch),
            reset("phone-new", new),
            reset("phone-theirs", later),
        ]);
        let answer = done(bench.act(&order).await);
        let ends = outcomes(&answer);
        assert_eq!(ends.len(), 3);
        assert!(
            ends.iter().all(|(_, end)| *end == DeviceOutcome::Detached),
            "{ends:?}"
        );
        assert_eq!(answer.counts["bindings"], 2);
        clean(&bench).await;

        // Nobody gets a number that was given before, and who still has it hears what it is owed.
        assert_eq!(bench.contact("phone-new", new, &[]).await.len(), 1);
        let next = bench.try_bind(OTHER, "phone-new", None).await.unwrap();
        assert!(next.shown.binding.epoch > new);
        // What was let go of is free, and was told nothing.
        assert!(bench.contact("phone-old", 0, &[]).await.is_empty());
        bench.bind_locked(OTHER, "phone-old").await.unwrap();
        // What is somebody's by all that is known here stays so.
        for named in [theirs, later] {
            assert!(bench.contact("phone-theirs", named, &[]).await.is_empty());
        }
        let kept = bench.registry.list(OTHER, "", 10).await.unwrap();
        let theirs_now = kept.iter().find(|it| it.binding.device == "phone-theirs");
        let theirs_now = theirs_now.unwrap();
        assert_eq!(
            (theirs_now.binding.epoch, theirs_now.locked),
            (theirs, true)
        );
    }
}

#[tokio::test]
async fn a_device_that_was_lost_by_then_keeps_its_lock_though_the_backup_says_nothing_of_it() {
    for bench in benches("lost_again", Via::Never, patient()).await {
        let epoch = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let lost = |device: &str, epoch| DeviceTask {
            lost: true,
            ..reset(device, epoch)
        };
        let order = again(vec![lost("phone-1", epoch), lost("phone-new", epoch + 50)]);
        let answer = done(bench.act(&order).await);
        assert_eq!(locks(&answer), [Some(LockOutcome::Kept), None]);
        clean(&bench).await;
        for (device, epoch) in [("phone-1", epoch), ("phone-new", epoch + 50)] {
            let taken = bench.bind_locked(OTHER, device).await;
            assert!(matches!(taken, Err(Refusal::DeviceLocked)), "{device}");
            let found = target(device, epoch);
            bench.registry.report_lost(&found, false).await.unwrap();
            bench.bind_locked(OTHER, device).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_account_whose_devices_were_all_let_go_of_since_is_clean_too() {
    for bench in benches("no_roster", Via::Hub, patient()).await {
        bench.bind("hub-1", None).await;
        bench.bind("lamp-1", Some("hub-1")).await;
        let answer = done(bench.act(&again(Vec::new())).await);
        assert_eq!(
            (answer.counts["bindings"], answer.counts["credentials"]),
            (2, 1)
        );
        assert!(answer.devices.is_empty());
        clean(&bench).await;
    }
}

#[tokio::test]
async fn an_erasure_that_was_under_way_by_the_time_of_the_backup_ends_with_its_repetition() {
    for bench in benches("midway", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        deferred(bench.act(&erase(&[("phone-1", epoch)])).await);
        let order = again(vec![reset("phone-1", epoch)]);
        let answer = done(bench.act(&order).await);
        assert_eq!(
            outcomes(&answer),
            [("phone-1".to_owned(), DeviceOutcome::Detached)]
        );
        clean(&bench).await;
        // It is owed both, does one, and has no binding when it comes to the other.
        let owed = bench.contact("phone-1", epoch, &[]).await;
        assert_eq!(owed.len(), 2);
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        let superseded = OrderState::Superseded;
        bench
            .report_as(&owed[1], "phone-1", 0, superseded)
            .await
            .unwrap();
        bench.try_bind(OTHER, "phone-1", None).await.unwrap();
    }
}

#[tokio::test]
async fn a_device_that_somebody_took_over_is_never_wiped_because_they_are_not_known_any_more() {
    for bench in benches("heir_gone", Via::Hub, patient()).await {
        let task = |device: &str, epoch| {
            let orders = [DeviceVerb::Transfer, DeviceVerb::Reset]
                .map(|verb| sign(&order_for(AGAIN, device, epoch, verb)));
            DeviceTask {
                device: device.to_owned(),
                binding_epoch: epoch,
                duty: DeviceDuty::Orders(orders.to_vec()),
                lost: false,
            }
        };
        let known = bench.bind("hub-1", None).await;
        bench.share("hub-1", known, OTHER, Role::Admin).await;
        let unshared = bench.bind("hub-2", None).await;
        let new = unshared + 50;
        let order = again(vec![
            task("hub-1", known),
            task("hub-2", unshared),
            task("hub-3", new),
        ]);
        let answer = done(bench.act(&order).await);
        let ends: Vec<_> = outcomes(&answer).into_iter().map(|(_, end)| end).collect();
        let detached = DeviceOutcome::Detached;
        assert_eq!(ends, [DeviceOutcome::Transferred, detached, detached]);
        clean(&bench).await;
        for (hub, epoch) in [("hub-1", known), ("hub-2", unshared), ("hub-3", new)] {
            let owed = bench.contact(hub, epoch, &[]).await;
            let verbs: Vec<_> = owed.iter().map(|order| order.verb).collect();
            assert_eq!(verbs, [DeviceVerb::Transfer], "{hub}");
        }
        let kept = bench.registry.list(OTHER, "", 10).await.unwrap();
        assert_eq!(kept.len(), 1);
    }
}
