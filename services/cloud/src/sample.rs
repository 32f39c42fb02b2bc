//! A believable account for the demo and the tests.

use std::path::Path;

use farewell_kit::seal;
use farewell_kit::store::Store;

use crate::{backup, contact, note, photo};

const ALBUMS: [(&str, u32); 2] = [("Summer in Qingdao", 7), ("Grandmother's 80th", 5)];
const CONTACTS: [(&str, &str); 5] = [
    ("Zhang Min", "+86 139 0000 0001"),
    ("Liu Yang", "+86 139 0000 0002"),
    ("Chen Jie", "+86 139 0000 0003"),
    ("Dr. Zhao", "+86 10 0000 0004"),
    ("Landlord", "+86 139 0000 0005"),
];
const NOTES: [&str; 3] = [
    "Door code 4711, ask Zhang Min",
    "Milk, eggs, lamp for the hall",
    "Ideas for the long weekend",
];
const BACKUPS: [(&str, u32); 2] = [("Phone 14", 196_608), ("Watch S", 24_576)];

/// Gives the account two albums with twelve photos (files of some kilobytes), five contacts, three notes and two backups.
/// Repeating it changes nothing.
///
/// Errors: the account is sealed or erased; the database or the disk is away.
pub async fn sample(store: &Store, files: &Path, account: &str) -> anyhow::Result<()> {
    let mark = seal::mark(account);
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    for (album, (title, photos)) in ALBUMS.into_iter().enumerate() {
        for number in 0..photos {
            let id = format!("{mark}-{album}-{number}");
            photo::insert(
                &mut tx,
                files,
                &id,
                account,
                title,
                picture(2_048 + number * 977, number + 1),
            )
            .await?;
        }
    }
    for (number, (name, phone)) in CONTACTS.into_iter().enumerate() {
        contact::insert(&mut tx, &format!("{mark}-{number}"), account, name, phone).await?;
    }
    for (number, text) in NOTES.into_iter().enumerate() {
        note::insert(&mut tx, &format!("{mark}-{number}"), account, text).await?;
    }
    for (number, (device, size_bytes)) in BACKUPS.into_iter().enumerate() {
        let content = noise(size_bytes, size_bytes).collect();
        backup::insert(
            &mut tx,
            &format!("{mark}-{number}"),
            account,
            device,
            content,
        )
        .await?;
    }
    Ok(tx.commit().await?)
}

/// Begins and ends as a JPEG does; in between there is nothing to see.
fn picture(size_bytes: u32, seed: u32) -> Vec<u8> {
    const HEAD: [u8; 20] = [
        0xFF, 0xD8, 0xFF, 0xE0, 0, 16, b'J', b'F', b'I', b'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0,
    ];
    HEAD.into_iter()
        .chain(noise(size_bytes, seed))
        .chain([0xFF, 0xD9])
        .collect()
}

/// The same bytes for the same seed.
fn noise(size_bytes: u32, seed: u32) -> impl Iterator<Item = u8> {
    let mut state = seed | 1;
    (0..size_bytes).map(move |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    })
}
