//! What went wrong elsewhere, each by its name.

use std::time::Duration;

use farewell_proto::device::v1::OrderState;

use crate::devices::participant::Terms;
use crate::devices::refusal::Refusal;
use crate::devices::registry::Via;
use crate::devices::share::Role;
use crate::devices::testing::{
    ACCOUNT, ERASE, benches, deferred, done, erase, erase_with, locks, outcomes, patient, target,
    told, word,
};
use crate::participant::{DeviceOutcome, DeviceVerb, LockOutcome};

/// A wipe that waits for one owner's device must never find the next owner's.
#[tokio::test]
async fn pending_wipe_does_not_reach_the_re_enrolled_device() {
    let terms = Terms {
        horizon: Duration::ZERO,
        ..patient()
    };
    for bench in benches("re_enrolled", Via::Never, terms).await {
        let epoch = bench.bind("phone-1", None).await;
        done(bench.act(&erase(&[("phone-1", epoch)])).await);
        let wipe = bench.contact("phone-1", epoch, &[]).await;
        assert_eq!(wipe.len(), 1);
        let new = bench.try_bind("account-2", "phone-1", None).await;
        let new = new.unwrap().shown.binding.epoch;
        for epoch in [0, epoch, new] {
            assert!(bench.contact("phone-1", epoch, &[]).await.is_empty());
        }
        // The old owner's word for it changes nothing for the new one.
        bench.report(&wipe[0], OrderState::Executed).await.unwrap();
        let kept = bench.registry.list("account-2", "", 10).await.unwrap();
        assert_eq!(kept.len(), 1);
    }
}

/// A device that was deleted and knocks again is a device without a binding, not a new one.
#[tokio::test]
async fn deleted_device_does_not_re_create_itself_at_its_next_poll() {
    for bench in benches("re_created", Via::Hub, patient()).await {
        let epoch = bench.bind("hub-1", None).await;
        let order = erase(&[("hub-1", epoch)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("hub-1", epoch, &[]).await;
        bench.contact("hub-1", 0, &[&owed[0]]).await;
        done(bench.act(&order).await);
        let claimed = epoch + 1_000_000;
        for epoch in [epoch, 0, claimed] {
            assert!(bench.contact("hub-1", epoch, &[]).await.is_empty());
        }
        for table in ["bindings", "credentials", "shares"] {
            let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
            let (rows,): (i64,) = sqlx::query_as(count)
                .fetch_one(bench.registry.store().pool())
                .await
                .unwrap();
            assert_eq!(rows, 0, "{table}");
        }
        let next = bench.try_bind("account-2", "hub-1", None).await.unwrap();
        let next = next.shown.binding.epoch;
        assert!(next > epoch && next < claimed, "its word set no epoch");
    }
}

/// A removal of which the device never heard leaves nobody who can't bind it.
#[tokio::test]
async fn half_removed_binding_can_be_bound_again() {
    for bench in benches("half_removed", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.report(&owed[0], OrderState::Executing).await.unwrap();
        let new = bench.try_bind("account-2", "phone-1", None).await;
        let new = new.unwrap().shown.binding.epoch;
        assert!(new > epoch);
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [("phone-1".to_owned(), DeviceOutcome::Superseded)]
        );
        assert!(bench.contact("phone-1", new, &[]).await.is_empty());
    }
}

/// An account's death must not lock a family out of its home.
#[tokio::test]
async fn last_admin_leaves_and_the_household_keeps_its_door() {
    for bench in benches("door", Via::Hub, patient()).await {
        let heir = "account-2";
        let kept = bench.bind("door-1", None).await;
        bench.share("door-1", kept, heir, Role::Admin).await;
        let alone = bench.bind("door-2", None).await;
        bench.share("door-2", alone, heir, Role::Member).await;
        let wanted = [DeviceVerb::Transfer, DeviceVerb::Unbind];
        let order = erase_with(vec![
            told(ERASE, "door-1", kept, &wanted),
            told(ERASE, "door-2", alone, &wanted),
        ]);
        deferred(bench.act(&order).await);
        let passed_on = bench.contact("door-1", kept, &[]).await;
        assert_eq!(passed_on[0].verb, DeviceVerb::Transfer);
        let owned = bench.registry.list(heir, "", 10).await.unwrap();
        assert_eq!(owned.len(), 1);
        assert_eq!(owned[0].binding.device, "door-1");
        // Nobody takes the other: it forgets the account, and goes on opening.
        let unbound = bench.contact("door-2", alone, &[]).await;
        assert_eq!(unbound[0].verb, DeviceVerb::Unbind);
        bench.contact("door-2", 0, &[&unbound[0]]).await;
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [
                ("door-1".to_owned(), DeviceOutcome::Transferred),
                ("door-2".to_owned(), DeviceOutcome::Confirmed),
            ]
        );
    }
}

/// Deleting an account must not be the way to launder what was stolen.
#[tokio::test]
async fn no_grey_market_unlock_through_deletion() {
    for bench in benches("grey_market", Via::Never, patient()).await {
        let epoch = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let report = target("phone-1", epoch);
        bench.registry.report_lost(&report, true).await.unwrap();
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        assert_eq!(owed[0].verb, DeviceVerb::Reset, "it is wiped all the same");
        bench.contact("phone-1", 0, &[&owed[0]]).await;
        let answer = done(bench.act(&order).await);
        assert_eq!(locks(&answer), [Some(LockOutcome::Kept)]);
        for account in ["account-2", "account-3"] {
            assert!(matches!(
                bench.try_bind(account, "phone-1", None).await,
                Err(Refusal::DeviceLocked)
            ));
        }
        assert!(matches!(
            bench.bind_locked(ACCOUNT, "phone-1").await,
            Err(Refusal::AccountSealed)
        ));
    }
}

/// A watch that was sold is the buyer's, also for the phone that once carried its words.
#[tokio::test]
async fn watch_bound_anew_hears_nothing_from_the_former_owners_phone() {
    for bench in benches("bound_anew", Via::Companion, patient()).await {
        let epoch = bench.bind("watch-1", Some("phone-1")).await;
        deferred(bench.act(&erase(&[("watch-1", epoch)])).await);
        let wipe = bench.relay("phone-1", "watch-1", epoch).await.unwrap();
        assert_eq!(wipe.len(), 1);
        // The session is still open when the watch is bound anew.
        let new = bench
            .try_bind("account-2", "watch-1", Some("phone-2"))
            .await;
        let new = new.unwrap().shown.binding.epoch;
        let owed = bench.delivery.owed("watch-1", Some("phone-1")).await;
        assert_eq!(word(owed), "NOT_THE_COMPANION");
        let told = bench
            .relay_answer("phone-1", &wipe[0], OrderState::Executed)
            .await;
        assert_eq!(word(told), "NOT_THE_COMPANION");
        let attached = bench.relay("phone-1", "watch-1", new).await;
        assert_eq!(word(attached), "NOT_THE_COMPANION");
        assert!(
            bench
                .relay("phone-2", "watch-1", new)
                .await
                .unwrap()
                .is_empty()
        );
    }
}
