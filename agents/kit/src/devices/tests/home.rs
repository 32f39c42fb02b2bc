use std::sync::Arc;

use farewell_proto::binding::v1 as wire;
use farewell_proto::binding::v1::binding_service_server::BindingService as _;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::devices::refusal::Refusal;
use crate::devices::registry::{NewBinding, Registry, Via};
use crate::devices::service::Service;
use crate::devices::share::{Role, Share};
use crate::devices::testing::{ACCOUNT, Bench, benches, new_binding, patient, target};
use crate::scratch::{Atlas, EUROPEAN, FROZEN_OUT, HIDDEN, dump};

fn asking(bench: &Bench, atlas: &Arc<Atlas>) -> Registry {
    bench.registry.clone().asking(atlas.clone())
}

fn member(account: &str) -> Share {
    Share {
        account: account.to_owned(),
        role: Role::Member,
    }
}

/// How often accounts were held: a refusal leaves not even that.
async fn fences(registry: &Registry) -> i64 {
    let count = sqlx::query_as("SELECT COUNT(*) FROM fence");
    let (count,): (i64,) = count.fetch_one(registry.store().pool()).await.unwrap();
    count
}

#[tokio::test]
async fn nothing_is_stored_of_an_account_that_lives_elsewhere_or_may() {
    for bench in benches("elsewhere", Via::Hub, patient()).await {
        let registry = asking(&bench, &Arc::default());
        let hub = registry.bind(&new_binding(ACCOUNT, "hub-1", None)).await;
        let hub = target("hub-1", hub.unwrap().shown.binding.epoch);
        let before = (dump(registry.store()).await, fences(&registry).await);
        for (account, reason) in [
            (EUROPEAN, "the account's home is the region eu"),
            (HIDDEN, "nobody can say now"),
        ] {
            let new = new_binding(account, "hub-2", None);
            let bound = registry.bind(&new).await.map(drop);
            let hub = || target("hub-1", hub.epoch);
            let given = registry.transfer(&hub(), account).await.map(drop);
            let shared = registry.share(&hub(), &member(account)).await.map(drop);
            let listed = registry.list(account, "", 10).await.map(drop);
            for refused in [bound, given, shared, listed] {
                let refused = refused.unwrap_err().to_string();
                assert!(refused.starts_with(reason), "{refused}");
            }
        }
        let after = (dump(registry.store()).await, fences(&registry).await);
        assert_eq!(after, before);
    }
}

#[tokio::test]
async fn what_was_answered_is_answered_again_and_what_is_lost_is_lost_without_a_question() {
    for bench in benches("unasked", Via::Hub, patient()).await {
        let atlas = Arc::<Atlas>::default();
        let registry = asking(&bench, &atlas);
        let new = new_binding(ACCOUNT, "hub-1", None);
        let epoch = registry.bind(&new).await.unwrap().shown.binding.epoch;
        let (share, end, give) = (
            target("hub-1", epoch),
            target("hub-1", epoch),
            target("hub-1", epoch),
        );
        registry.share(&share, &member("account-2")).await.unwrap();
        assert_eq!(atlas.asked(), 2);

        registry.bind(&new).await.unwrap();
        registry.share(&share, &member("account-2")).await.unwrap();
        registry.unshare(&end, EUROPEAN).await.unwrap();
        assert_eq!(registry.list(ACCOUNT, "", 10).await.unwrap().len(), 1);
        assert!(
            registry
                .list(ACCOUNT, "hub-1", 10)
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(atlas.asked(), 2);

        registry.transfer(&give, "account-2").await.unwrap();
        registry.transfer(&give, "account-2").await.unwrap();
        assert_eq!(atlas.asked(), 3);

        // What is no request is refused before anybody is asked.
        let wrong = NewBinding {
            model: "m".repeat(10_000),
            ..new_binding(EUROPEAN, "hub-3", None)
        };
        assert!(registry.bind(&wrong).await.is_err());
        assert!(registry.share(&share, &member(EUROPEAN)).await.is_err());
        assert_eq!(atlas.asked(), 3);
    }
}

#[tokio::test]
async fn whom_security_froze_out_gives_no_device_away() {
    for bench in benches("frozen_out", Via::Hub, patient()).await {
        let registry = asking(&bench, &Arc::default());
        let new = new_binding(FROZEN_OUT, "hub-1", None);
        let epoch = registry.bind(&new).await.unwrap().shown.binding.epoch;
        let hub = || target("hub-1", epoch);
        let before = (dump(registry.store()).await, fences(&registry).await);
        let given = registry.transfer(&hub(), ACCOUNT).await.map(drop);
        let shared = registry.share(&hub(), &member(ACCOUNT)).await.map(drop);
        let unbound = registry.unbind(&hub(), b"in hand").await;
        for refused in [given, shared, unbound] {
            assert!(
                matches!(refused, Err(Refusal::AccountFrozen)),
                "{refused:?}"
            );
        }
        let after = (dump(registry.store()).await, fences(&registry).await);
        assert_eq!(after, before);
        // That somebody no longer shares it takes nothing from its owner.
        registry.unshare(&hub(), ACCOUNT).await.unwrap();
    }
}

#[tokio::test]
async fn a_machine_can_read_where_to_go_and_when_to_come_again() {
    for bench in benches("told", Via::Never, patient()).await {
        let registry = asking(&bench, &Arc::default());
        let service = Service::new(registry, Arc::new(|_: &str| {}));
        let ask = async |account: &str| -> Status {
            let request = wire::BindRequest {
                request_id: uuid::Uuid::now_v7().to_string(),
                binding: Some(wire::Binding {
                    device: "devices/phone-1".to_owned(),
                    account: format!("accounts/{account}"),
                    ..Default::default()
                }),
            };
            service.bind(Request::new(request)).await.unwrap_err()
        };
        let elsewhere = ask(EUROPEAN).await;
        let info = elsewhere.get_details_error_info().unwrap();
        assert_eq!(elsewhere.code(), Code::FailedPrecondition);
        assert_eq!(info.reason, "ACCOUNT_ELSEWHERE");
        assert_eq!(info.metadata["region"], "eu");
        assert_eq!(info.metadata["address"], "https://eu.example:7400");
        let unknown = ask(HIDDEN).await;
        let info = unknown.get_details_error_info().unwrap();
        assert_eq!(unknown.code(), Code::Unavailable);
        assert_eq!(info.reason, "HOME_UNKNOWN");
        assert_eq!(info.metadata["cause"], "IDENTITY_UNAVAILABLE");
        assert!(unknown.get_details_retry_info().is_some());
    }
}
