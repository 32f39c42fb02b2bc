use super::super::testing::*;
use crate::devices::Role;
use crate::devices::registry::{NewBinding, Via};
use crate::participant::{Answer, DeviceVerb, Order, Participant as _, UnbindDevice};
use crate::scratch::dump;

const OTHER: &str = "a-other";
const NAME: &str = "lines/test/deviceUnbindings/u1";

#[tokio::test]
async fn a_household_that_was_sealed_and_unsealed_is_as_it_was_to_the_byte() {
    for (name, via) in [
        ("seal_phones", Via::Never),
        ("seal_watches", Via::Companion),
        ("seal_hubs", Via::Hub),
    ] {
        for bench in benches(name, via, patient()).await {
            let phone = (via == Via::Companion).then_some("phone-1");
            let bind = async |device, hub: Option<&str>| {
                let via = phone.or(hub);
                let new = NewBinding {
                    answer_key: Some(device_key(device).public()),
                    activation_lock: device == "d-4",
                    ..new_binding(ACCOUNT, device, via)
                };
                bench
                    .registry
                    .bind(&new)
                    .await
                    .map(|it| it.shown.binding.epoch)
            };
            let first = bind("d-1", None).await.unwrap();
            let hub = (via == Via::Hub).then_some("d-1");
            bind("d-2", hub).await.unwrap();
            let owed = bind("d-3", None).await.unwrap();
            bind("d-4", None).await.unwrap();
            // Only what stands in a home is shared.
            let shared = via == Via::Hub;
            if shared {
                bench.share("d-1", first, OTHER, Role::Member).await;
            }
            let lost = target("d-1", first);
            bench.registry.report_lost(&lost, true).await.unwrap();
            // One that is to be unbound, and was not told yet.
            let unbinding = UnbindDevice {
                account: ACCOUNT.to_owned(),
                name: NAME.to_owned(),
                device: told(NAME, "d-3", owed, &[DeviceVerb::Unbind]),
            };
            bench.line.unbind_device(&unbinding).await.unwrap().unwrap();

            let before = dump(bench.registry.store()).await;
            for table in ["bindings", "devices", "shares", "locks", "orders"] {
                let held = !before[table].is_empty();
                assert_eq!(held, shared || table != "shares", "{table}");
            }
            let order = |verb| Order {
                command: format!("deletions/d1/commands/1-{verb}-{name}"),
                ..command(verb)
            };
            let sealed = bench.line.seal(&order("seal")).await.unwrap();
            assert!(matches!(sealed, Answer::Done(_)), "{sealed:?}");
            assert!(bind("d-5", None).await.is_err());
            // Twice, as it may be delivered twice.
            for _ in 0..2 {
                let lifted = bench.line.unseal(&order("unseal")).await.unwrap();
                assert!(matches!(lifted, Answer::Done(_)), "{lifted:?}");
            }
            assert_eq!(dump(bench.registry.store()).await, before);
            assert!(bind("d-5", None).await.is_ok());
        }
    }
}
