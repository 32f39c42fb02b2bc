//! `farewell operator quarantine`: what is held back under which key, and what was given back.

use farewell_proto::identifier::v1::IdentifierKind;
use farewell_proto::operator::v1::{GetQuarantineResponse, IdentifierRelease};
use serde_json::{Value, json};

use crate::deletion::view;
use crate::output::Rows;

pub fn tables(seen: &GetQuarantineResponse) -> Vec<Rows> {
    let columns = ["version", "in use", "held back", "links"];
    let mut keys = Rows::new("peppers", &columns);
    for key in &seen.keys {
        // An older one without either can be taken away.
        let of_use = match (key.newest, key.identifiers + key.links) {
            (true, _) => "newest",
            (false, 0) => "no more",
            (false, _) => "needed",
        };
        keys.push([
            key.version.to_string(),
            of_use.to_owned(),
            key.identifiers.to_string(),
            key.links.to_string(),
        ]);
    }
    let columns = [
        "time", "caller", "kind", "held", "version", "hash", "request",
    ];
    let mut releases = Rows::new("released", &columns);
    for release in &seen.releases {
        releases.push([
            view::time(release.time.as_ref()),
            release.caller.clone(),
            kind(release).to_owned(),
            if release.held { "yes" } else { "no" }.to_owned(),
            release.version.to_string(),
            release.hash.clone(),
            release.request_id.clone(),
        ]);
    }
    vec![keys, releases]
}

pub fn json(seen: &GetQuarantineResponse) -> Value {
    let keys = seen.keys.iter().map(|key| {
        json!({
            "version": key.version,
            "newest": key.newest,
            "identifiers": key.identifiers,
            "links": key.links,
        })
    });
    let releases = seen.releases.iter().map(|release| {
        json!({
            "request_id": release.request_id,
            "kind": kind(release),
            "hash": release.hash,
            "version": release.version,
            "caller": release.caller,
            "time": view::time(release.time.as_ref()),
            "held": release.held,
        })
    });
    json!({
        "keys": keys.collect::<Vec<_>>(),
        "releases": releases.collect::<Vec<_>>(),
        "next_page_token": seen.next_page_token,
    })
}

fn kind(release: &IdentifierRelease) -> &'static str {
    let name = IdentifierKind::as_str_name(&release.kind());
    name.strip_prefix("IDENTIFIER_KIND_").unwrap_or(name)
}
