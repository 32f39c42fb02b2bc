use crate::devices::refusal::Refusal;
use crate::devices::registry::Via;
use crate::devices::testing::{
    ACCOUNT, ERASE, benches, by_hand, done, erase_with, locks, patient, target,
};
use crate::participant::LockOutcome;

const OTHER: &str = "account-2";

#[tokio::test]
async fn a_lock_keeps_the_device_for_its_account_until_that_lets_go_of_it() {
    for bench in benches("locked", Via::Never, patient()).await {
        let epoch = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let plain = bench.bind("phone-2", None).await;
        let order = erase_with(vec![by_hand("phone-1", epoch), by_hand("phone-2", plain)]);
        let answer = done(bench.act(&order).await);
        assert_eq!(locks(&answer), [Some(LockOutcome::Released), None]);
        bench.bind_locked(OTHER, "phone-1").await.unwrap();
        let twice = done(bench.act(&order).await);
        assert_eq!(twice, answer, "and never another's lock");
    }
}

#[tokio::test]
async fn a_lost_devices_lock_is_kept_and_a_found_device_is_its_accounts_again() {
    for bench in benches("found", Via::Never, patient()).await {
        let epoch = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let report = target("phone-1", epoch);
        assert!(
            bench
                .registry
                .report_lost(&report, true)
                .await
                .unwrap()
                .unwrap()
                .lost
        );
        assert!(
            bench
                .registry
                .report_lost(&report, true)
                .await
                .unwrap()
                .unwrap()
                .lost
        );
        assert!(matches!(
            bench.registry.report_lost(&report, false).await,
            Err(Refusal::RequestIdReused)
        ));
        assert!(matches!(
            bench
                .registry
                .transfer(&target("phone-1", epoch), OTHER)
                .await,
            Err(Refusal::DeviceLost)
        ));
        let again = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let listed = bench.registry.list(ACCOUNT, "", 1).await.unwrap();
        assert!(listed[0].lost, "bound anew it is no less lost");
        let found = target("phone-1", again);
        assert!(
            !bench
                .registry
                .report_lost(&found, false)
                .await
                .unwrap()
                .unwrap()
                .lost
        );
        bench
            .registry
            .transfer(&target("phone-1", again), OTHER)
            .await
            .unwrap();
        assert!(matches!(
            bench.bind_locked(ACCOUNT, "phone-1").await,
            Err(Refusal::DeviceBound)
        ));
        let order = erase_with(vec![by_hand("phone-1", again)]);
        assert_eq!(order.command, ERASE);
        assert_eq!(locks(&done(bench.act(&order).await)), [None]);
    }
}

#[tokio::test]
async fn a_lock_holds_while_the_binding_is_ending() {
    for bench in benches("ending", Via::Never, patient()).await {
        let epoch = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let order = crate::devices::testing::erase(&[("phone-1", epoch)]);
        crate::devices::testing::deferred(bench.act(&order).await);
        assert!(matches!(
            bench.try_bind(OTHER, "phone-1", None).await,
            Err(Refusal::DeviceLocked)
        ));
    }
}

#[tokio::test]
async fn a_device_that_is_found_when_its_account_is_gone_may_be_somebodys_again() {
    for bench in benches("found_late", Via::Never, patient()).await {
        let epoch = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let lost = target("phone-1", epoch);
        bench.registry.report_lost(&lost, true).await.unwrap();
        let order = erase_with(vec![by_hand("phone-1", epoch)]);
        let answer = done(bench.act(&order).await);
        assert_eq!(locks(&answer), [Some(LockOutcome::Kept)]);
        let other = target("phone-1", epoch + 1);
        assert!(matches!(
            bench.registry.report_lost(&other, false).await,
            Err(Refusal::EpochMismatch)
        ));
        assert!(bench.bind_locked(OTHER, "phone-1").await.is_err());
        let found = target("phone-1", epoch);
        let shown = bench.registry.report_lost(&found, false).await.unwrap();
        assert!(shown.is_none(), "nobody has it");
        bench.bind_locked(OTHER, "phone-1").await.unwrap();
    }
}
