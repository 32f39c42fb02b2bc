//! Whom a request names, read from its bytes by the descriptors that the API is published with: a call that is added later is
//! routed like the others.

use std::collections::HashMap;

use farewell_core::{AccountId, DeletionId};
use prost::Message as _;
use prost::bytes::{Buf as _, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field, string};
use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;

use crate::service::parse;

/// What persons ask for, through their callers. Identifiers are no accounts yet and are asked about where somebody registers;
/// operators work in their own cell.
const SERVICES: [&str; 2] = [
    "farewell.account.v1.AccountService",
    "farewell.deletion.v1.DeletionService",
];
/// A message's head on the wire: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// Whom a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Account(AccountId),
    Deletion(DeletionId),
    /// Nobody, or what the handler will refuse.
    Nobody,
}

/// Where the requests of one method name whom they are about: the numbers of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    account: Option<u32>,
    name: Option<u32>,
    /// The token of a link, which begins with its deletion.
    token: Option<u32>,
}

impl Naming {
    /// Every method whose requests name somebody, by its path.
    pub fn all() -> HashMap<String, Self> {
        methods()
            .into_iter()
            .filter(|(_, naming)| *naming != Self::default())
            .collect()
    }

    /// Whether a link says whom it is about.
    pub const fn is_by_token(self) -> bool {
        self.token.is_some()
    }

    /// Whom a request is about, as it came over the wire.
    pub fn subject(self, framed: &Bytes) -> Subject {
        let Some(mut message) = message(framed) else {
            return Subject::Nobody;
        };
        let [mut account, mut name, mut token] = [const { String::new() }; 3];
        while message.has_remaining() {
            let Ok((number, kind)) = decode_key(&mut message) else {
                return Subject::Nobody;
            };
            let context = DecodeContext::default();
            let read = match kind {
                WireType::LengthDelimited if self.account == Some(number) => {
                    string::merge(kind, &mut account, &mut message, context)
                }
                WireType::LengthDelimited if self.name == Some(number) => {
                    string::merge(kind, &mut name, &mut message, context)
                }
                WireType::LengthDelimited if self.token == Some(number) => {
                    string::merge(kind, &mut token, &mut message, context)
                }
                _ => skip_field(kind, number, &mut message, context),
            };
            if read.is_err() {
                return Subject::Nobody;
            }
        }
        if !account.is_empty() {
            return of_account(&account);
        }
        if name.starts_with("deletions/") {
            return parse::deletion("name", &name).map_or(Subject::Nobody, Subject::Deletion);
        }
        if !token.is_empty() {
            return parse::confirmation(&token).map_or(Subject::Nobody, Subject::Deletion);
        }
        // `accounts/{account}`, and what belongs to one.
        let parts: Vec<&str> = name.splitn(3, '/').take(2).collect();
        of_account(&parts.join("/"))
    }
}

fn of_account(name: &str) -> Subject {
    parse::account("account", name).map_or(Subject::Nobody, Subject::Account)
}

/// The one message of a request. `None`: there is another number of them, or it is compressed, which no port of ours takes.
fn message(framed: &Bytes) -> Option<Bytes> {
    let mut rest = framed.clone();
    if rest.len() < HEAD_BYTES || rest.get_u8() != 0 {
        return None;
    }
    let length = usize::try_from(rest.get_u32()).ok()?;
    (rest.len() == length).then_some(rest)
}

fn methods() -> Vec<(String, Naming)> {
    let files = FileDescriptorSet::decode(farewell_proto::FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut requests = HashMap::new();
    for file in &files.file {
        for message in &file.message_type {
            let number = |name: &str| {
                let mut fields = message.field.iter();
                let field =
                    fields.find(|field| field.name() == name && field.r#type() == Type::String);
                field.and_then(|field| u32::try_from(field.number()).ok())
            };
            let naming = Naming {
                account: number("account"),
                name: number("name"),
                token: number("token"),
            };
            requests.insert(format!(".{}.{}", file.package(), message.name()), naming);
        }
    }
    let mut methods = Vec::new();
    for file in &files.file {
        for service in &file.service {
            let service_name = format!("{}.{}", file.package(), service.name());
            if !SERVICES.contains(&service_name.as_str()) {
                continue;
            }
            for method in service.method.iter().filter(|it| !it.client_streaming()) {
                let naming = requests.get(method.input_type()).copied();
                let path = format!("/{service_name}/{}", method.name());
                methods.push((path, naming.unwrap_or_default()));
            }
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use farewell_proto::account::v1 as account;
    use farewell_proto::deletion::v1 as deletion;
    use prost::bytes::{BufMut as _, BytesMut};

    use super::*;

    const ID: &str = "01900000-0000-7000-8000-000000000001";

    fn framed(message: &impl prost::Message) -> Bytes {
        let mut framed = BytesMut::new();
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut framed).unwrap();
        framed.freeze()
    }

    fn read(path: &str, message: &impl prost::Message) -> Subject {
        Naming::all()[path].subject(&framed(message))
    }

    #[test]
    fn every_call_of_a_person_names_somebody_but_for_these() {
        let nobody = methods()
            .into_iter()
            .filter(|(_, naming)| *naming == Naming::default());
        let nobody: Vec<_> = nobody.map(|(path, _)| path).collect();
        assert_eq!(
            nobody,
            ["/farewell.deletion.v1.DeletionService/ReplayPurged"],
            "a participant's backup is its own cell's; what else names nobody by `account` or `name` is not routed"
        );
        let listed = methods().len();
        assert!(listed > 20, "{listed} methods");
    }

    #[test]
    fn an_account_and_a_deletion_are_read_from_the_bytes() {
        let of_a = Subject::Account("a-4711".parse().unwrap());
        let created = deletion::CreateDeletionRequest {
            request_id: ID.to_owned(),
            account: "accounts/a-4711".to_owned(),
            consents: vec![deletion::Consent {
                text: "accounts/b".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let path = "/farewell.deletion.v1.DeletionService/CreateDeletion";
        assert_eq!(read(path, &created), of_a);
        let looked = account::GetAccountRequest {
            name: "accounts/a-4711".to_owned(),
        };
        let path = "/farewell.account.v1.AccountService/GetAccount";
        assert_eq!(read(path, &looked), of_a);
        let change = account::GetAccountChangeRequest {
            name: format!("accounts/a-4711/changes/{ID}"),
        };
        let path = "/farewell.account.v1.AccountService/GetAccountChange";
        assert_eq!(read(path, &change), of_a);
        let export = account::GetExportRequest {
            name: format!("exports/{ID}"),
            account: "accounts/a-4711".to_owned(),
        };
        let path = "/farewell.account.v1.AccountService/GetExport";
        assert_eq!(read(path, &export), of_a);
        let got = deletion::GetDeletionRequest {
            name: format!("deletions/{ID}"),
        };
        let path = "/farewell.deletion.v1.DeletionService/GetDeletion";
        assert_eq!(read(path, &got), Subject::Deletion(ID.parse().unwrap()));
        let confirmed = deletion::ConfirmLinkRequest {
            request_id: ID.to_owned(),
            token: format!("{ID}.0f0f"),
        };
        let path = "/farewell.deletion.v1.DeletionService/ConfirmLink";
        assert_eq!(
            read(path, &confirmed),
            Subject::Deletion(ID.parse().unwrap())
        );
    }

    #[test]
    fn what_the_handler_refuses_is_left_to_it() {
        let path = "/farewell.deletion.v1.DeletionService/CreateDeletion";
        let naming = Naming::all()[path];
        for account in ["", "accounts/", "a-4711", "accounts/a b", "deletions/x"] {
            let request = deletion::CreateDeletionRequest {
                account: account.to_owned(),
                ..Default::default()
            };
            assert_eq!(naming.subject(&framed(&request)), Subject::Nobody);
        }
        let request = deletion::CreateDeletionRequest {
            account: "accounts/a".to_owned(),
            ..Default::default()
        };
        let whole = framed(&request);
        let mut compressed = BytesMut::from(&whole[..]);
        compressed[0] = 1;
        let two = [&whole[..], &whole[..]].concat();
        for odd in [
            Bytes::new(),
            whole.slice(..4),
            whole.slice(..whole.len() - 1),
            compressed.freeze(),
            two.into(),
            Bytes::from_static(&[0, 0, 0, 0, 2, 0x0a, 0xff]),
        ] {
            assert_eq!(naming.subject(&odd), Subject::Nobody, "{odd:?}");
        }
    }
}
