use std::io::{self, ErrorKind, Write as _};

use proptest::prelude::*;

use super::*;

fn vault(versions: &[u32]) -> Vault {
    let keys = versions
        .iter()
        .map(|version| (*version, [u8::try_from(*version).unwrap(); KEY_BYTES]));
    Vault::new(keys).unwrap()
}

#[test]
fn a_document_opens_under_its_own_name_and_key_and_not_if_a_bit_was_changed() {
    let (key, wrapped) = vault(&[1]).make("c1").unwrap();
    let sealed = key.seal("c1/e1", b"passport").unwrap();
    assert!(!sealed.windows(8).any(|bytes| bytes == b"passport"));
    assert_eq!(sealed.len(), 8 + SEAL_BYTES);
    let again = vault(&[1]).unwrap("c1", &wrapped).unwrap();
    assert_eq!(again.open("c1/e1", sealed.clone()).unwrap(), b"passport");
    assert_eq!(again.open("c1/e2", sealed.clone()), Err(Error::Sealed));
    for place in [0, NONCE_LEN, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        assert_eq!(again.open("c1/e1", changed), Err(Error::Sealed));
    }
    assert_eq!(again.open("c1/e1", Vec::new()), Err(Error::Sealed));
    let (other, _) = vault(&[1]).make("c1").unwrap();
    assert_eq!(other.open("c1/e1", sealed), Err(Error::Sealed));
}

#[test]
fn a_key_that_is_needed_can_be_neither_taken_away_nor_changed() {
    let kept = |versions: &[u32], name: &str| {
        let (_, wrapped) = vault(versions).make(name).unwrap();
        (name.to_owned(), wrapped)
    };
    let all = [kept(&[1], "c1"), kept(&[1], "c2"), kept(&[1, 2], "c3")];
    assert_eq!(vault(&[1, 2, 3]).settle(all.clone()), Ok(()));
    assert_eq!(vault(&[2]).settle(all.clone()), Err(Unfit::Missing(1)));
    assert_eq!(vault(&[1]).settle(all.clone()), Err(Unfit::Missing(2)));
    let changed = Vault::new([(1, [1; KEY_BYTES]), (2, [9; KEY_BYTES])]).unwrap();
    assert_eq!(changed.settle(all), Err(Unfit::Changed(2)));
    assert_eq!(vault(&[7]).settle([]), Ok(()), "nothing is kept");
    // What can't be had back keeps nobody from going on.
    let digits = "02".repeat(KEY_BYTES);
    let without = Vault::parse(&format!("1:lost,2:{digits}")).unwrap();
    assert_eq!(without.settle([kept(&[1], "c1"), kept(&[2], "c2")]), Ok(()));
    assert_eq!(without.make("c").unwrap().1.version, 2);
    let twice = Vault::parse(&format!("1:lost,1:{digits}"));
    assert_eq!(twice.err(), Some(Error::VersionTwice));
    assert_eq!(Vault::parse("1:lost").err(), Some(Error::NoKey));
}

#[test]
fn an_older_key_opens_what_it_wrapped_and_the_newest_wraps() {
    let (_, old) = vault(&[1]).make("c1").unwrap();
    let both = vault(&[1, 2]);
    both.unwrap("c1", &old).unwrap();
    assert!(both.unwrap("c2", &old).is_err(), "another case's");
    let (_, new) = both.make("c1").unwrap();
    assert_eq!((old.version, new.version), (1, 2));
    let gone = vault(&[2]).unwrap("c1", &old).err();
    assert_eq!(gone, Some(Error::UnknownVersion));
    // Under another key of the same version.
    let other = Vault::new([(1, [9; KEY_BYTES])]).unwrap();
    assert_eq!(other.unwrap("c1", &old).err(), Some(Error::Sealed));
    let text = old.to_text();
    assert!(Wrapped::from_text(&text) == Ok(old));
    for bad in ["", "1", "x:00", "1:0", "1:0g", "1:\u{e9}"] {
        assert_eq!(
            Wrapped::from_text(bad).err(),
            Some(Error::Malformed),
            "{bad}"
        );
    }
}

#[test]
fn a_key_is_64_hexadecimal_digits_and_never_shown() {
    let (first, second) = ("0f".repeat(KEY_BYTES), "0a".repeat(KEY_BYTES));
    let both = Vault::parse(&format!("1:{first}, 2:{second},")).unwrap();
    assert_eq!(format!("{both:?}"), "{1, 2}");
    assert_eq!(both.keys[&1], [15; KEY_BYTES]);
    for (bad, why) in [
        ("", Error::NoKey),
        (",", Error::NoKey),
        ("1", Error::Malformed),
        (&first, Error::Malformed),
        ("1:0f", Error::Malformed),
        (&format!("x:{first}"), Error::Malformed),
        (&format!("1:{}", "0g".repeat(32)), Error::Malformed),
        (&format!("1:{}", "\u{e9}".repeat(32)), Error::Malformed),
        (&format!("1:{first},1:{second}"), Error::VersionTwice),
    ] {
        assert_eq!(Vault::parse(bad).err(), Some(why), "{bad}");
        assert!(!why.to_string().contains(&first));
    }
    let (key, wrapped) = both.make("c1").unwrap();
    let shown = format!("{key:?} {wrapped:?}");
    assert_eq!(shown, "DataKey { .. } Wrapped { version: 2, .. }");
}

#[test]
fn text_reads_back_and_its_mark_is_one_keys_own() {
    let (key, _) = vault(&[1]).make("e1").unwrap();
    let (other, _) = vault(&[1]).make("e1").unwrap();
    let sealed = key
        .seal_text("e1/after", "third_party_apps/Recipe Box")
        .unwrap();
    assert!(sealed.bytes().all(|it| it.is_ascii_hexdigit()));
    let text = key.open_text("e1/after", &sealed).unwrap();
    assert_eq!(text, "third_party_apps/Recipe Box");
    assert_eq!(other.open_text("e1/after", &sealed), Err(Error::Sealed));
    assert_eq!(key.open_text("e1/after", "no digits"), Err(Error::Sealed));
    assert_eq!(key.mark("albums/1.jpg"), key.mark("albums/1.jpg"));
    assert_ne!(key.mark("albums/1.jpg"), key.mark("albums/2.jpg"));
    assert_ne!(key.mark("albums/1.jpg"), other.mark("albums/1.jpg"));
}

/// A content, and what lies on a disk of it.
fn sealed(name: &str, content: &[u8], pace: usize) -> (DataKey, Vec<u8>) {
    let vault = vault(&[1]);
    let (key, wrapped) = vault.make(name).unwrap();
    let mut sealer = Sealer::new(key, name, Vec::new());
    for piece in content.chunks(pace) {
        sealer.write_all(piece).unwrap();
    }
    (
        vault.unwrap(name, &wrapped).unwrap(),
        sealer.finish().unwrap(),
    )
}

fn from(disk: &[u8]) -> impl FnMut(&mut [u8], u64) -> io::Result<()> {
    move |buffer, at| {
        let at = usize::try_from(at).unwrap();
        let there = disk.get(at..at + buffer.len());
        buffer.copy_from_slice(there.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..bytes).map(next).collect()
}

#[test]
fn a_content_of_any_length_reads_back_from_anywhere() {
    let chunk = CHUNK_BYTES;
    for length in [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 2 * chunk + 7] {
        let content = noise(length);
        let (key, disk) = sealed("e1/archive", &content, 7_001);
        let chunks = length.div_ceil(chunk).max(1);
        assert_eq!(disk.len(), length + chunks * SEAL_BYTES);
        let reader = Chunks {
            key: &key,
            name: "e1/archive",
            size_bytes: u64::try_from(length).unwrap(),
        };
        for offset in [0, 1, chunk - 1, chunk, chunk + 1, length, length + 9] {
            for bytes_max in [0, 1, chunk, 3 * chunk] {
                let at = u64::try_from(offset).unwrap();
                let read = reader.read(at, bytes_max, from(&disk)).unwrap();
                let begin = offset.min(length);
                let end = (begin + bytes_max).min(length);
                assert_eq!(read, content[begin..end], "{length} {offset} {bytes_max}");
            }
        }
    }
}

#[test]
fn a_chunk_that_is_missing_moved_foreign_or_changed_does_not_open() {
    let (length, stride) = (3 * CHUNK_BYTES, CHUNK_BYTES + SEAL_BYTES);
    let content = noise(length);
    let (key, disk) = sealed("e1/archive", &content, length);
    let (_, foreign) = sealed("e1/archive", &content, length);
    let read = |name: &str, size: usize, disk: &[u8]| {
        let reader = Chunks {
            key: &key,
            name,
            size_bytes: u64::try_from(size).unwrap(),
        };
        reader
            .read(0, length, from(disk))
            .map_err(|error| error.kind())
    };
    assert_eq!(
        read("e1/archive", length, &disk).as_deref(),
        Ok(&content[..])
    );
    let damaged = Err(ErrorKind::InvalidData);
    assert_eq!(read("e2/archive", length, &disk), damaged, "another's name");
    // Cut between two chunks: also if somebody says that it was never longer.
    let cut = &disk[..2 * stride];
    assert_eq!(
        read("e1/archive", length, cut),
        Err(ErrorKind::UnexpectedEof)
    );
    assert_eq!(read("e1/archive", 2 * CHUNK_BYTES, cut), damaged);
    assert_eq!(
        read("e1/archive", length, &disk[..disk.len() - 1]),
        Err(ErrorKind::UnexpectedEof)
    );
    let swapped = [
        &disk[stride..2 * stride],
        &disk[..stride],
        &disk[2 * stride..],
    ]
    .concat();
    assert_eq!(read("e1/archive", length, &swapped), damaged);
    let twice = [&disk[..stride], &disk[..stride], &disk[2 * stride..]].concat();
    assert_eq!(read("e1/archive", length, &twice), damaged);
    let mixed = [
        &disk[..stride],
        &foreign[stride..2 * stride],
        &disk[2 * stride..],
    ]
    .concat();
    assert_eq!(read("e1/archive", length, &mixed), damaged);
    for place in [0, NONCE_LEN, stride - 1, 2 * stride + 40] {
        let mut changed = disk.clone();
        changed[place] ^= 1;
        assert_eq!(read("e1/archive", length, &changed), damaged);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_reading_on_gives_the_same_bytes(length in 0..3 * CHUNK_BYTES, steps in prop::collection::vec(1..100_000_usize, 1..40)) {
        let content = noise(length);
        let (key, disk) = sealed("e1/archive", &content, 4_096);
        let reader = Chunks { key: &key, name: "e1/archive", size_bytes: u64::try_from(length).unwrap() };
        let mut whole = Vec::new();
        for step in steps.iter().cycle() {
            let at = u64::try_from(whole.len()).unwrap();
            let read = reader.read(at, *step, from(&disk)).unwrap();
            if read.is_empty() {
                break;
            }
            whole.extend(read);
        }
        prop_assert_eq!(whole, content);
    }
}
