use std::collections::BTreeMap;

use farewell_runtime::cose::SigningKey;

use crate::devices::possession::Challenge;
use crate::devices::refusal::Refusal;
use crate::devices::registry::{NewBinding, Registry, Via};
use crate::devices::share::{Role, Share};
use crate::devices::testing::{
    ACCOUNT, Bench, benches, command, device_key, done, new_binding, patient, target,
};
use crate::participant::{
    CheckEligibility, DeviceClass, DeviceVerb, Outcome, Participant as _, RECENT_CHANGE_MAX,
};

const OTHER: &str = "account-2";

fn admin(account: &str) -> Share {
    Share {
        account: account.to_owned(),
        role: Role::Admin,
    }
}

#[tokio::test]
async fn the_roster_says_what_a_policy_must_know() {
    for bench in benches("facts", Via::Hub, patient()).await {
        let hub = bench.bind("hub-1", None).await;
        bench.bind("lamp-1", Some("hub-1")).await;
        bench.share("hub-1", hub, OTHER, Role::Member).await;
        let new = NewBinding {
            class: Some(DeviceClass::Personal),
            verbs: vec![DeviceVerb::Unbind],
            ..new_binding(ACCOUNT, "robot-1", None)
        };
        bench.registry.bind(&new).await.unwrap();
        let sealed = done(bench.line.seal(&command("1-seal-test")).await.unwrap());
        let facts = |place: usize| sealed.devices[place].facts.clone().unwrap();
        let (hub_facts, lamp, robot) = (facts(0), facts(1), facts(2));
        assert!(hub_facts.household && !hub_facts.co_admin && hub_facts.hub.is_none());
        assert_eq!(hub_facts.class, DeviceClass::Home);
        assert_eq!(lamp.hub, Some(("hub-1".to_owned(), hub)));
        assert_eq!(lamp.verbs, [DeviceVerb::RemoveChild, DeviceVerb::Transfer]);
        assert_eq!(robot.class, DeviceClass::Personal);
        assert_eq!(robot.verbs, [DeviceVerb::Unbind]);
        let described = bench.line.describe_device(ACCOUNT, "hub-1").await.unwrap();
        assert_eq!(described.unwrap().facts, hub_facts);
        assert_eq!(
            bench.line.describe_device(OTHER, "hub-1").await.unwrap(),
            None
        );
    }
}

#[tokio::test]
async fn what_goes_with_an_account_is_counted_and_may_be_taken_along() {
    for bench in benches("inventory", Via::Hub, patient()).await {
        let hub = bench.bind("hub-1", None).await;
        bench.bind("lamp-1", Some("hub-1")).await;
        bench.share("hub-1", hub, OTHER, Role::Member).await;
        for (account, held, devices) in [
            (ACCOUNT, vec![("bindings", 2)], 2),
            (OTHER, vec![("shares", 1)], 0),
            ("nobody", vec![], 0),
        ] {
            let inventory = bench.line.inventory(account).await.unwrap();
            let counted = inventory.categories.iter();
            let counted: Vec<_> = counted.map(|it| (it.category.as_str(), it.count)).collect();
            assert_eq!(counted, held);
            assert_eq!(inventory.devices.len(), devices);
            let (mut after, mut told) = (String::new(), BTreeMap::new());
            loop {
                let part = bench.line.export_part(account, &after).await.unwrap();
                for (category, count) in part.categories {
                    *told.entry(category).or_insert(0) += count;
                }
                after = part.next;
                if after.is_empty() {
                    break;
                }
            }
            let told: Vec<_> = told
                .iter()
                .map(|(name, count)| (name.as_str(), *count))
                .collect();
            assert_eq!(told, held);
        }
    }
}

#[tokio::test]
async fn what_is_to_be_known_of_devices_is_told_as_it_is_now() {
    for bench in benches("eligibility", Via::Hub, patient()).await {
        let told = async |account: &str| {
            let asked = CheckEligibility {
                account: account.to_owned(),
                recent_change: RECENT_CHANGE_MAX,
            };
            let told = bench.line.eligibility(&asked).await.unwrap();
            told.into_iter()
                .map(|blocker| (blocker.code, blocker.count))
                .collect::<Vec<_>>()
        };
        let said = |codes: &[(&str, i64)]| {
            codes
                .iter()
                .map(|(code, count)| ((*code).to_owned(), *count))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(ACCOUNT).await, said(&[]));
        let hub = bench.bind("hub-1", None).await;
        bench.bind("lamp-1", Some("hub-1")).await;
        assert_eq!(told(ACCOUNT).await, said(&[("DEVICES_BOUND", 2)]));
        for (table, column, away) in [
            // New, and never seen yet.
            ("devices", "seen_at", false),
            ("bindings", "bound_at", true),
        ] {
            let long_ago = format!("UPDATE {table} SET {column} = 1");
            let long_ago = sqlx::query(sqlx::AssertSqlSafe(long_ago));
            long_ago
                .execute(bench.registry.store().pool())
                .await
                .unwrap();
            let codes = told(ACCOUNT).await;
            let expected = away.then_some(("DEVICE_BOUND_UNREACHABLE".to_owned(), 1));
            assert_eq!(codes.get(1), expected.as_ref(), "the hub, and not its lamp");
        }
        let now = i64::MAX;
        sqlx::query("UPDATE devices SET seen_at = $1")
            .bind(now)
            .execute(bench.registry.store().pool())
            .await
            .unwrap();
        assert_eq!(told(ACCOUNT).await, said(&[("DEVICES_BOUND", 2)]));
        bench.share("hub-1", hub, OTHER, Role::Member).await;
        bench
            .registry
            .report_lost(&target("hub-1", hub), true)
            .await
            .unwrap();
        assert_eq!(
            told(ACCOUNT).await,
            said(&[
                ("DEVICES_BOUND", 2),
                ("DEVICE_IN_LOST_MODE", 1),
                // The lamp is behind the hub: who lives with the one lives with the other.
                ("SOLE_ADMIN_OF_SHARED_HOME", 2),
            ])
        );
        assert_eq!(told(OTHER).await, said(&[]), "what it shares is another's");
        bench.share("hub-1", hub, OTHER, Role::Admin).await;
        bench
            .registry
            .report_lost(&target("hub-1", hub), false)
            .await
            .unwrap();
        assert_eq!(told(ACCOUNT).await, said(&[("DEVICES_BOUND", 2)]));
    }
}

#[tokio::test]
async fn sharing_is_the_owners_to_say_once_and_ends_with_either_account() {
    for bench in benches("sharing", Via::Hub, patient()).await {
        let epoch = bench.bind("hub-1", None).await;
        let ask = target("hub-1", epoch);
        let shown = bench.registry.share(&ask, &admin(OTHER)).await.unwrap();
        assert_eq!(
            bench.registry.share(&ask, &admin(OTHER)).await.unwrap(),
            shown
        );
        assert!(matches!(
            bench.registry.share(&ask, &admin("account-3")).await,
            Err(Refusal::RequestIdReused)
        ));
        for (epoch, account, refused) in [
            (
                epoch,
                ACCOUNT,
                "the device can't be shared with this account",
            ),
            (epoch + 1, OTHER, "the device has another binding by now"),
        ] {
            let asked = target("hub-1", epoch);
            let shared = bench.registry.share(&asked, &admin(account)).await;
            assert_eq!(shared.unwrap_err().to_string(), refused);
        }
        let order = crate::participant::Order {
            account: OTHER.to_owned(),
            ..command("1-seal-test")
        };
        bench.line.seal(&order).await.unwrap();
        assert!(matches!(
            bench.registry.unshare(&target("hub-1", epoch), OTHER).await,
            Err(Refusal::AccountSealed)
        ));
        let probe = |name| crate::participant::Order {
            command: format!("deletions/d1/commands/{name}"),
            ..order.clone()
        };
        let left = done(bench.line.probe(&probe("1-probe-test")).await.unwrap());
        assert_eq!((left.outcome, left.counts["shares"]), (Outcome::Residue, 1));
        let gone = done(bench.act(&probe("1-erase-test")).await);
        assert_eq!((gone.outcome, gone.counts["shares"]), (Outcome::Erased, 1));
        let left = done(bench.line.probe(&probe("2-probe-test")).await.unwrap());
        assert_eq!(left.outcome, Outcome::Clean);
    }
}

async fn sign(registry: &Registry, device: &str, epoch: u64) -> Vec<u8> {
    let challenge = registry.challenge(device, epoch).await.unwrap();
    possession(&device_key(device), challenge)
}

fn possession(key: &SigningKey, challenge: Challenge) -> Vec<u8> {
    key.sign("farewell.binding.v1.Possession", challenge.to_vec())
}

async fn bound_with_key(bench: &Bench) -> u64 {
    let new = NewBinding {
        answer_key: Some(device_key("phone-1").public()),
        activation_lock: true,
        ..new_binding(ACCOUNT, "phone-1", None)
    };
    bench.registry.bind(&new).await.unwrap().shown.binding.epoch
}

#[tokio::test]
async fn only_the_device_in_hand_is_removed_by_hand() {
    for bench in benches("in_hand", Via::Never, patient()).await {
        let epoch = bound_with_key(&bench).await;
        let keyless = bench.bind("phone-2", None).await;
        assert!(matches!(
            bench.registry.challenge("phone-2", keyless).await,
            Err(Refusal::NoAnswerKey)
        ));
        let challenge = bench.registry.challenge("phone-1", epoch).await.unwrap();
        for forged in [
            possession(&device_key("phone-2"), challenge),
            possession(&device_key("phone-1"), [0; 32]),
            challenge.to_vec(),
        ] {
            let asked = target("phone-1", epoch);
            let refused = bench.registry.unbind(&asked, &forged).await;
            assert!(matches!(refused, Err(Refusal::NotInHand)));
        }
        let (ask, signed) = (
            target("phone-1", epoch),
            possession(&device_key("phone-1"), challenge),
        );
        bench.registry.unbind(&ask, &signed).await.unwrap();
        bench.registry.unbind(&ask, &signed).await.unwrap();
        bench.try_bind(OTHER, "phone-1", None).await.unwrap();
    }
}

#[tokio::test]
async fn a_challenge_is_good_once_and_not_for_long_and_never_for_a_lost_device() {
    for bench in benches("challenge", Via::Never, patient()).await {
        let epoch = bound_with_key(&bench).await;
        let unbind = async |signed: &[u8]| {
            let asked = target("phone-1", epoch);
            bench.registry.unbind(&asked, signed).await
        };
        let signed = sign(&bench.registry, "phone-1", epoch).await;
        bench
            .registry
            .report_lost(&target("phone-1", epoch), true)
            .await
            .unwrap();
        assert!(matches!(unbind(&signed).await, Err(Refusal::DeviceLost)));
        bench
            .registry
            .report_lost(&target("phone-1", epoch), false)
            .await
            .unwrap();
        for _ in 0..4 {
            sign(&bench.registry, "phone-1", epoch).await;
        }
        assert!(matches!(unbind(&signed).await, Err(Refusal::NotInHand)));
        let signed = sign(&bench.registry, "phone-1", epoch).await;
        sqlx::query("UPDATE challenges SET made_at = made_at - 900000001")
            .execute(bench.registry.store().pool())
            .await
            .unwrap();
        assert!(matches!(unbind(&signed).await, Err(Refusal::NotInHand)));
        let signed = sign(&bench.registry, "phone-1", epoch).await;
        unbind(&signed).await.unwrap();
        assert!(matches!(
            unbind(&signed).await,
            Err(Refusal::BindingNotFound)
        ));
    }
}
