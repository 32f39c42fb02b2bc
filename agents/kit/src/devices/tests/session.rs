use std::sync::Arc;
use std::time::Duration;

use farewell_proto::binding::v1 as binding;
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::answer::Answer;
use farewell_proto::device::v1::attach_request::Message as Up;
use farewell_proto::device::v1::attach_response::Message as Down;
use farewell_proto::device::v1::device_service_client::DeviceServiceClient;
use farewell_runtime::certs::DevCa;
use farewell_runtime::client;
use farewell_runtime::cose;
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use prost::Message as _;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::devices::agent::Handle;
use crate::devices::counters::Odd;
use crate::devices::registry::Via;
use crate::devices::testing::{
    ACCOUNT, TestLine, agent, answer_to, device_key, erase, plain, queue_behind, signed,
    signed_answer,
};

const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    handle: Handle,
    ca: DevCa,
    shutdown: Shutdown,
}

impl Running {
    async fn start(name: &str, via: Via) -> Self {
        let ca = DevCa::create().unwrap();
        let security = Security::Mutual(ca.issue(Role::Participant, "test", &[]).unwrap());
        let shutdown = Shutdown::new();
        let handle = agent(name, security)
            .start(Arc::new(TestLine(via)), shutdown.clone())
            .await
            .unwrap();
        Self {
            handle,
            ca,
            shutdown,
        }
    }

    async fn dial(&self, role: Role, name: &str) -> Channel {
        let security = Security::Mutual(self.ca.issue(role, name, &[]).unwrap());
        client::endpoint(&self.handle.devices_addr.to_string(), &security)
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    async fn bind(&self, device: &str, via: &str) -> u64 {
        let request = bind_request(device, via);
        let bound = BindingServiceClient::new(self.dial(Role::Caller, "app").await)
            .bind(request)
            .await
            .unwrap();
        bound.into_inner().binding.unwrap().epoch
    }

    async fn attach(
        &self,
        certificate: &str,
        attachment: wire::Attachment,
    ) -> Result<Device, Status> {
        let mut client = DeviceServiceClient::new(self.dial(Role::Device, certificate).await);
        let (up, stream) = mpsc::channel(16);
        up.send(wire::AttachRequest {
            message: Some(Up::Attach(attachment)),
        })
        .await
        .unwrap();
        let down = client
            .attach(ReceiverStream::new(stream))
            .await?
            .into_inner();
        Ok(Device { up, down })
    }

    async fn end(self) {
        assert!(
            self.shutdown.drain(PATIENCE).await,
            "the agent ends in order"
        );
    }
}

struct Device {
    up: mpsc::Sender<wire::AttachRequest>,
    down: Streaming<wire::AttachResponse>,
}

impl Device {
    async fn next(&mut self) -> Down {
        tokio::time::timeout(PATIENCE, self.down.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .message
            .unwrap()
    }

    async fn orders(&mut self) -> Vec<wire::Order> {
        match self.next().await {
            Down::Orders(envelope) => envelope.orders.iter().map(opened).collect(),
            Down::Refused(word) => panic!("{word}"),
        }
    }

    async fn report(&self, order: &wire::Order, state: wire::OrderState) {
        let (id, device) = (bare(&order.name), bare(&order.device));
        let report = answer_to(id, device, order.binding_epoch, state, "");
        self.answer(wire::Answer {
            answer: Some(Answer::Plain(report)),
        })
        .await;
    }

    async fn answer(&self, answer: wire::Answer) {
        let message = Some(Up::Answer(answer));
        self.up.send(wire::AttachRequest { message }).await.unwrap();
    }
}

/// What the coordinator wrote, as a device reads it.
fn opened(signed: &Bytes) -> wire::Order {
    let payload = cose::payload("farewell.device.v1.Order", signed).unwrap();
    wire::Order::decode(payload.as_slice()).unwrap()
}

fn bare(name: &str) -> &str {
    name.split_once('/').unwrap().1
}

fn bind_request(device: &str, via: &str) -> binding::BindRequest {
    binding::BindRequest {
        request_id: Uuid::now_v7().to_string(),
        binding: Some(binding::Binding {
            device: device.to_owned(),
            account: format!("accounts/{ACCOUNT}"),
            via: via.to_owned(),
            answer_key: match device.strip_prefix("devices/") {
                Some(watch) if watch.starts_with("watch") => {
                    device_key(watch).public().to_vec().into()
                }
                Some(_) | None => Bytes::new(),
            },
            ..binding::Binding::default()
        }),
    }
}

fn sync(device: &str, epoch: u64) -> wire::SyncEnvelope {
    plain(crate::devices::testing::sync(device, epoch, &[]))
}

fn alone(device: &str, epoch: u64) -> wire::Attachment {
    wire::Attachment {
        device: Some(sync(device, epoch)),
        relayed: Vec::new(),
    }
}

#[tokio::test]
async fn an_attached_phone_gets_its_order_and_its_answer_is_kept() {
    let running = Running::start("attached", Via::Never).await;
    let epoch = running.bind("devices/phone-1", "").await;
    queue_behind(
        &running.handle.store,
        Via::Never,
        &erase(&[("phone-1", epoch)]),
    )
    .await;

    let mut phone = running
        .attach("phone-1", alone("phone-1", epoch))
        .await
        .unwrap();
    let orders = phone.orders().await;
    assert_eq!(orders[0].verb(), wire::DeviceVerb::Reset);
    assert_eq!(
        (orders[0].device.as_str(), orders[0].binding_epoch),
        ("devices/phone-1", epoch)
    );
    phone.report(&orders[0], wire::OrderState::Executed).await;
    // A report is answered only if it is not accepted; the foreign one behind it shows that the first was read.
    let foreign = wire::Order {
        device: "devices/phone-2".to_owned(),
        ..orders[0].clone()
    };
    phone.report(&foreign, wire::OrderState::Executed).await;
    assert!(matches!(phone.next().await, Down::Refused(word) if word == "NOT_YOUR_ORDER"));
    let (state,): (String,) = sqlx::query_as("SELECT state FROM orders")
        .fetch_one(running.handle.store.pool())
        .await
        .unwrap();
    assert_eq!(state, "EXECUTED");
    running.end().await;
}

/// Another process on the same database takes the command, and can't ring here.
#[tokio::test]
async fn an_attached_phone_soon_hears_of_what_another_replica_was_asked() {
    let running = Running::start("replica", Via::Never).await;
    let epoch = running.bind("devices/phone-1", "").await;
    let mut phone = running
        .attach("phone-1", alone("phone-1", epoch))
        .await
        .unwrap();
    queue_behind(
        &running.handle.store,
        Via::Never,
        &erase(&[("phone-1", epoch)]),
    )
    .await;
    // Sooner than the slow timer, by far.
    assert_eq!(phone.orders().await.len(), 1);
    running.end().await;
}

#[tokio::test]
async fn a_device_attaches_as_itself_only() {
    let running = Running::start("itself", Via::Never).await;
    let reason = |status: &Status| status.get_details_error_info().unwrap().reason;
    let status = running
        .attach("phone-2", alone("phone-1", 1))
        .await
        .err()
        .unwrap();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(reason(&status), "NOT_THE_DEVICE");
    let first = async |channel, message| {
        let request = tokio_stream::iter([wire::AttachRequest { message }]);
        let answer = DeviceServiceClient::new(channel).attach(request).await;
        answer.err().unwrap()
    };
    let app = running.dial(Role::Caller, "app").await;
    let caller = first(app, Some(Up::Attach(alone("app", 0)))).await;
    assert_eq!(caller.code(), Code::PermissionDenied);
    assert_eq!(reason(&caller), "ROLE_NOT_ALLOWED");
    let crowd = wire::Attachment {
        relayed: vec![alone("watch-1", 1).device.unwrap(); 17],
        ..alone("phone-1", 1)
    };
    for (message, field) in [
        (None, "attach"),
        (
            Some(Up::Attach(wire::Attachment::default())),
            "attach.device",
        ),
        (Some(Up::Attach(alone("", 1))), "attach.device"),
        (Some(Up::Attach(crowd)), "attach.relayed"),
    ] {
        let status = first(running.dial(Role::Device, "phone-1").await, message).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
    running.end().await;
}

#[tokio::test]
async fn a_phone_relays_for_its_own_wearable_and_for_no_other() {
    let running = Running::start("relay", Via::Companion).await;
    let epoch = running.bind("devices/watch-1", "devices/phone-1").await;
    queue_behind(
        &running.handle.store,
        Via::Companion,
        &erase(&[("watch-1", epoch)]),
    )
    .await;
    let own = crate::devices::testing::sync("watch-1", epoch, &[]);
    let relayed = |phone, sequence| wire::Attachment {
        device: Some(sync(phone, 0)),
        relayed: vec![signed("watch-1", own.clone(), sequence)],
    };

    let mut foreign = running
        .attach("phone-2", relayed("phone-2", 1))
        .await
        .unwrap();
    assert!(matches!(foreign.next().await, Down::Refused(word) if word == "NOT_THE_COMPANION"));
    let unsigned = wire::Attachment {
        device: Some(sync("phone-1", 0)),
        relayed: vec![plain(own.clone())],
    };
    let mut phone = running.attach("phone-1", unsigned).await.unwrap();
    assert!(matches!(phone.next().await, Down::Refused(word) if word == "SIGNATURE_REQUIRED"));
    let mut own_phone = running
        .attach("phone-1", relayed("phone-1", 1))
        .await
        .unwrap();
    let orders = own_phone.orders().await;
    assert_eq!(orders[0].device, "devices/watch-1");
    let executed = wire::OrderReport {
        sequence: 2,
        ..answer_to(
            bare(&orders[0].name),
            "watch-1",
            epoch,
            wire::OrderState::Executed,
            "",
        )
    };
    foreign
        .answer(signed_answer("watch-1", executed.clone()))
        .await;
    assert!(matches!(foreign.next().await, Down::Refused(word) if word == "NOT_YOUR_ORDER"));
    // The phone adds nothing: what the watch didn't sign is not the watch's.
    own_phone
        .report(&orders[0], wire::OrderState::Executed)
        .await;
    assert!(matches!(own_phone.next().await, Down::Refused(word) if word == "SIGNATURE_REQUIRED"));
    own_phone
        .answer(signed_answer("watch-1", executed.clone()))
        .await;
    own_phone.answer(signed_answer("watch-1", executed)).await;
    assert!(matches!(own_phone.next().await, Down::Refused(word) if word == "OLD_SEQUENCE"));
    let refused = |word| running.handle.counters.of(Odd::Refused, word);
    assert_eq!((refused("NOT_YOUR_ORDER"), refused("OLD_SEQUENCE")), (1, 1));
    assert_eq!(refused("SIGNATURE_REQUIRED"), 2);
    running.end().await;
}

#[tokio::test]
async fn only_callers_and_operators_bind_and_errors_say_what_to_mend() {
    let running = Running::start("binding", Via::Never).await;
    let mut device = BindingServiceClient::new(running.dial(Role::Device, "phone-1").await);
    let denied = device
        .bind(bind_request("devices/phone-1", ""))
        .await
        .unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);

    let mut caller = BindingServiceClient::new(running.dial(Role::Caller, "app").await);
    let mut bad = bind_request("phone-1", "");
    let status = caller.bind(bad.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.get_details_error_info().unwrap().reason,
        "INVALID_FIELD"
    );
    assert_eq!(
        status.get_details_bad_request().unwrap().field_violations[0].field,
        "binding.device"
    );
    bad.request_id = "again".to_owned();
    let status = caller.bind(bad).await.unwrap_err();
    assert_eq!(
        status.get_details_bad_request().unwrap().field_violations[0].field,
        "request_id"
    );

    for device in ["devices/a", "devices/b", "devices/c"] {
        running.bind(device, "").await;
    }
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = binding::ListBindingsRequest {
            account: format!("accounts/{ACCOUNT}"),
            page_size: 2,
            page_token,
        };
        let page = caller.list_bindings(request).await.unwrap().into_inner();
        listed.extend(page.bindings.into_iter().map(|binding| binding.device));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ["devices/a", "devices/b", "devices/c"]);
    running.end().await;
}
