//! Every call of every service, read from the protocol itself: what it can't use is refused by its field, and nothing is changed. A call
//! that is added is asked, too.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use farewell_proto::deletion::v1::{DenialReason, Factor};
use farewell_proto::identifier::v1::IdentifierKind;
use farewell_tests::caller::fresh;
use farewell_tests::ledger;
use farewell_tests::office::Town;
use farewell_tests::refusal::Refusal;
use prost::Message;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet, Timestamp};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// No name, number, code or token of anything.
const NONSENSE: &str = "\u{1} nonsense";
/// Of no enum.
const UNKNOWN: u64 = 99;
/// Calls that need nothing to be said.
const NEEDS_NOTHING: [&str; 5] = [
    "DeletionService/ListDeletions",
    "OperatorService/GetOverview",
    "OperatorService/GetQuarantine",
    "OperatorService/ListStalled",
    "SupportService/ListCases",
];
/// Fields that may hold anything of their type, and why.
const ANYTHING: [(&str, &str, &str); 5] = [
    (
        "SendCode",
        "device",
        "is looked at once it is known that the deletion wants one",
    ),
    (
        "VerifyFactor",
        "proof",
        "what a person types is compared, and wrong",
    ),
    ("VerifyAccountFactor", "proof", "as well"),
    (
        "RevokeDeletion",
        "link_token",
        "what is in a letter is compared, and wrong",
    ),
    (
        "CheckIdentifier",
        "value",
        "is said to be malformed in the answer",
    ),
];

/// A message that was put together by hand.
#[derive(Clone, Debug, Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn text(&mut self, field: &FieldDescriptorProto, text: &str) {
        encode_key(number(field), WireType::LengthDelimited, &mut self.0);
        encode_varint(text.len() as u64, &mut self.0);
        self.0.put_slice(text.as_bytes());
    }

    fn message(&mut self, field: &FieldDescriptorProto, message: &impl Message) {
        encode_key(number(field), WireType::LengthDelimited, &mut self.0);
        self.0.extend(message.encode_length_delimited_to_vec());
    }

    fn number(&mut self, field: &FieldDescriptorProto, value: u64) {
        encode_key(number(field), WireType::Varint, &mut self.0);
        encode_varint(value, &mut self.0);
    }
}

fn number(field: &FieldDescriptorProto) -> u32 {
    field.number().unsigned_abs()
}

/// As it is on the way out, and anything on the way back.
impl Message for Raw {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        prost::encoding::skip_field(wire, tag, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// A call of the protocol.
struct Call {
    /// `SupportService/OpenCase`.
    name: String,
    path: String,
    request: DescriptorProto,
}

fn calls() -> Result<Vec<Call>> {
    let files = FileDescriptorSet::decode(farewell_proto::FILE_DESCRIPTOR_SET)?;
    let mut messages = BTreeMap::new();
    for file in &files.file {
        for message in &file.message_type {
            let name = format!(".{}.{}", file.package(), message.name());
            messages.insert(name, message.clone());
        }
    }
    let mut calls = Vec::new();
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                let request = messages.get(method.input_type()).context("a message")?;
                calls.push(Call {
                    name: format!("{}/{}", service.name(), method.name()),
                    path: format!("/{}.{}/{}", file.package(), service.name(), method.name()),
                    request: request.clone(),
                });
            }
        }
    }
    Ok(calls)
}

/// What a field could hold, so that only another one is wrong. `turn` makes accounts that nobody asked about before.
fn plausible(call: &str, field: &str, turn: usize) -> String {
    let (service, method) = call.split_once('/').unwrap_or_default();
    let id = fresh();
    match (service, method, field) {
        (_, _, "request_id") => id,
        (_, _, "account") => format!("accounts/a-{turn}"),
        (_, "OpenCase", "to_account" | "device") => String::new(),
        (_, "OverrideBlockers", "codes") => "POINTS_LEFT".to_owned(),
        (_, "ListRefusedEvents" | "ResendEvent", "receiver") => "shop".to_owned(),
        (_, _, "to_account") => format!("accounts/b-{turn}"),
        (_, _, "case") => format!("cases/{id}"),
        (_, _, "line") => "lines/phones".to_owned(),
        (_, _, "participant") => "phones".to_owned(),
        (_, "SendCode" | "VerifyFactor", "device") => "lines/phones/devices/p-1".to_owned(),
        (_, _, "device") => "devices/p-1".to_owned(),
        (_, "GetAccount", "name") => format!("accounts/a-{turn}"),
        (_, "GetDeviceUnbinding" | "WatchDeviceUnbinding", "name") => {
            format!("lines/phones/deviceUnbindings/{id}")
        }
        (_, "GetExport" | "CancelExport" | "DownloadExport", "name") => format!("exports/{id}"),
        ("AccountService", _, "name") => format!("accounts/a-{turn}/changes/{id}"),
        (_, "GetEvidence", "name") => format!("cases/{id}/evidence/{id}"),
        ("SupportService", _, "name") => format!("cases/{id}"),
        (_, _, "name") => format!("deletions/{id}"),
        _ => String::new(),
    }
}

/// The value of an enum that asks for the most of the other fields.
fn telling(call: &str, field: &str) -> u64 {
    match (call, field) {
        ("DeletionService/SendCode" | "DeletionService/VerifyFactor", "factor") => {
            Factor::DeviceInHand as u64
        }
        ("SupportService/OpenCase", "legacy_outcome") => 0,
        // Others are the desk's to say.
        ("OperatorService/DenyDeletion", "reason") => DenialReason::NotTheOwner as u64,
        ("IdentifierService/ReleaseIdentifier", "kind") => IdentifierKind::Phone as u64,
        _ => 1,
    }
}

/// The request with everything plausible but one field.
fn spoilt(call: &Call, place: usize, turn: usize) -> Option<Raw> {
    let mut raw = Raw::default();
    for (at, field) in call.request.field.iter().enumerate() {
        let wrong = at == place;
        let whole = matches!(field.label(), Label::Optional | Label::Required);
        match field.r#type() {
            Type::String if wrong => raw.text(field, NONSENSE),
            Type::String => {
                let text = plausible(&call.name, field.name(), turn);
                if whole || !text.is_empty() {
                    raw.text(field, &text);
                }
            }
            Type::Bytes if !wrong => raw.text(field, "x"),
            Type::Message if field.name().ends_with("_time") && !wrong => {
                raw.message(field, &Timestamp::from(SystemTime::now()));
            }
            Type::Enum if wrong => raw.number(field, UNKNOWN),
            Type::Enum if whole => raw.number(field, telling(&call.name, field.name())),
            // Sizes, offsets and the like: fewer than none.
            Type::Int32 | Type::Int64 if wrong => raw.number(field, u64::MAX),
            Type::Uint32 | Type::Uint64 if whole && !wrong => raw.number(field, 1),
            // Absent is zero.
            Type::Uint64 if wrong => {}
            _ if wrong => return None,
            _ => {}
        }
    }
    Some(raw)
}

/// A port with who may call there.
struct Ports(BTreeMap<&'static str, Channel>);

impl Ports {
    async fn open(town: &Town) -> Result<Self> {
        let callers = town.channel(&town.callers, "caller").await?;
        Ok(Self(BTreeMap::from([
            ("AccountService", callers.clone()),
            ("DeletionService", callers.clone()),
            ("IdentifierService", callers),
            (
                "OperatorService",
                town.channel(&town.operators, "operator").await?,
            ),
            ("SupportService", town.channel(&town.desk, "ana").await?),
            (
                "BindingService",
                town.channel(&town.phones, "caller").await?,
            ),
        ])))
    }

    /// What is said to it. `None`: nobody calls this service but devices and participants, in streams of their own.
    async fn ask(&self, call: &Call, raw: Raw) -> Result<Option<Refusal>> {
        let (service, _) = call.name.split_once('/').context("a service")?;
        let Some(channel) = self.0.get(service) else {
            return Ok(None);
        };
        let mut client = Grpc::new(channel.clone());
        client.ready().await?;
        let path = call.path.parse()?;
        let codec = ProstCodec::<Raw, Raw>::default();
        // Every shape of call begins with one message, and a refusal is the first thing that comes back.
        let request = Request::new(tokio_stream::iter([raw]));
        let answer = client.streaming(request, path, codec);
        let answer = tokio::time::timeout(Duration::from_secs(30), answer).await?;
        let refused: Status = match answer {
            Err(status) => status,
            Ok(answer) => match answer.into_inner().message().await {
                Err(status) => status,
                Ok(answer) => Status::ok(format!("it was done: {answer:?}")),
            },
        };
        Ok(Some(Refusal::of(&refused)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_call_cannot_use_is_refused_by_its_field_and_changes_nothing() -> Result<()> {
    let Some(town) = Town::open_with_people("1h").await? else {
        return Ok(());
    };
    town.whole().await?;
    let kept = farewell_ledger::connect(&town.database("coordinator")).await?;
    let before = ledger::rows(&*kept).await?;
    let ports = Ports::open(&town).await?;
    let (mut asked, mut wrong) = (0, Vec::new());
    for call in calls()? {
        let empty = ports.ask(&call, Raw::default()).await?;
        let Some(empty) = empty else {
            continue;
        };
        let needs_nothing = NEEDS_NOTHING.contains(&call.name.as_str());
        let refused = empty.code == Code::InvalidArgument && !empty.fields.is_empty();
        if refused == needs_nothing {
            wrong.push(format!("{} with nothing: {empty:?}", call.name));
        }
        for (place, field) in call.request.field.iter().enumerate() {
            let (_, method) = call.name.split_once('/').unwrap_or_default();
            let anything = |it: &&(&str, &str, &str)| it.0 == method && it.1 == field.name();
            if ANYTHING.iter().any(|it| anything(&it)) {
                continue;
            }
            let Some(raw) = spoilt(&call, place, asked) else {
                continue;
            };
            asked += 1;
            let answer = ports.ask(&call, raw).await?.context("an answer")?;
            let names = |it: &String| it.starts_with(field.name());
            let refused = answer.code == Code::InvalidArgument && answer.fields.iter().any(names);
            if !refused || answer.reason.is_empty() {
                wrong.push(format!("{}, {}: {answer:?}", call.name, field.name()));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{asked} fields of all calls were wrong, one at a time");
    ensure!(asked > 100, "only {asked} fields");
    assert_eq!(ledger::rows(&*kept).await?, before);
    let cases = town.desk_of("bo", &["list"])?;
    assert_eq!(cases["cases"].as_array().map(Vec::len), Some(0), "{cases}");
    Ok(())
}
