//! Names in an archive that any system can unpack, whatever a person has called an album.

use std::collections::HashSet;

/// Longest part of a path: file systems take 255 bytes, and a number may follow.
const PART_BYTES_MAX: usize = 120;
/// Parts of a path; what is deeper lies in the last folder.
const PARTS_MAX: usize = 8;
/// An extension is what follows the last point, if it is so short.
const EXTENSION_BYTES_MAX: usize = 10;
/// What Windows reserves, with or without an extension.
const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];
const RESERVED_NUMBERED: [&str; 2] = ["com", "lpt"];

/// The names of one archive: each once, also where upper and lower case are one.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// A name for the file `path` in the folder `folder`.
    pub fn give(&mut self, folder: &str, path: &str) -> String {
        let mut parts = vec![safe(folder)];
        let given = path.split(['/', '\\']).filter(|part| !part.is_empty());
        for (place, part) in given.enumerate() {
            match parts.last_mut() {
                Some(last) if place >= PARTS_MAX => *last = safe(&format!("{last}_{part}")),
                _ => parts.push(safe(part)),
            }
        }
        if parts.len() == 1 {
            parts.push("_".to_owned());
        }
        let wanted = parts.join("/");
        let mut name = wanted.clone();
        let mut number = 1;
        while !self.0.insert(name.to_lowercase()) {
            number += 1;
            name = numbered(&wanted, number);
        }
        name
    }
}

fn numbered(name: &str, number: u32) -> String {
    let (stem, extension) = split(name);
    format!("{stem} ({number}){extension}")
}

/// One part of a path, without anything that leads elsewhere, hides, or can't be a name.
fn safe(part: &str) -> String {
    let legal = |c: char| match c {
        '<' | '>' | ':' | '"' | '/' | '\\' | '|' | '?' | '*' => '_',
        c if c.is_control() || is_invisible(c) => '_',
        c => c,
    };
    let part: String = part.chars().map(legal).collect();
    // Windows drops points and spaces at the end; one at the beginning hides the file elsewhere.
    let part = part.trim().trim_end_matches(['.', ' ']);
    let part = if part.starts_with('.') {
        format!("_{part}")
    } else {
        part.to_owned()
    };
    let (stem, extension) = split(&part);
    let stem = shortened(stem, PART_BYTES_MAX - extension.len());
    let name = format!("{stem}{extension}");
    if name.is_empty() || is_reserved(&name) {
        format!("_{name}")
    } else {
        name
    }
}

/// Turns or hides what stands beside it: `gpj.exe` would read as `exe.jpg`.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{2028}' | '\u{2029}')
}

fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_ascii_lowercase();
    let numbered = |word: &&str| {
        let rest = stem.strip_prefix(*word);
        rest.is_some_and(|rest| rest.chars().count() == 1 && rest.chars().all(char::is_numeric))
    };
    RESERVED.contains(&stem.as_str()) || RESERVED_NUMBERED.iter().any(numbered)
}

/// Stem and extension, with its point.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(point)
            if point > 0
                && name.len() - point <= EXTENSION_BYTES_MAX
                && !name[point..].contains('/') =>
        {
            name.split_at(point)
        }
        _ => (name, ""),
    }
}

fn shortened(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str) -> String {
        Names::default().give("cloud", path)
    }

    #[test]
    fn an_honest_name_stays_as_it_is() {
        for path in [
            "orders.csv",
            "albums/Summer in Qingdao/01.jpg",
            "albums/\u{5976}\u{5976}\u{7684}\u{751f}\u{65e5}/01.jpg",
            "notes/a.b.c.txt",
            "albums/No. 5/CONCERT.jpg",
        ] {
            assert_eq!(one(path), format!("cloud/{path}"));
        }
    }

    #[test]
    fn no_name_leads_out_of_its_folder_or_cant_be_made() {
        for (path, name) in [
            ("../../etc/passwd", "cloud/_/_/etc/passwd"),
            ("/etc/passwd", "cloud/etc/passwd"),
            ("..\\..\\boot.ini", "cloud/_/_/boot.ini"),
            ("C:\\x.txt", "cloud/C_/x.txt"),
            ("albums/./a.jpg", "cloud/albums/_/a.jpg"),
            ("a\0b\n.txt", "cloud/a_b_.txt"),
            ("con", "cloud/_con"),
            ("albums/AUX.jpg", "cloud/albums/_AUX.jpg"),
            ("lpt1.txt", "cloud/_lpt1.txt"),
            ("ends. . .", "cloud/ends"),
            ("   ", "cloud/_"),
            ("", "cloud/_"),
            (".bashrc", "cloud/_.bashrc"),
            ("what?<>|*\".txt", "cloud/what______.txt"),
            ("x\u{202e}gpj.exe", "cloud/x_gpj.exe"),
        ] {
            assert_eq!(one(path), name, "{path:?}");
        }
        let deep = one(&"a/".repeat(50));
        assert!(deep.split('/').count() <= PARTS_MAX + 1, "{deep}");
    }

    #[test]
    fn a_long_name_is_cut_between_characters_and_keeps_its_extension() {
        let name = one(&format!("{}.jpg", "\u{4f60}".repeat(200)));
        assert!(name.len() <= "cloud/".len() + PART_BYTES_MAX && name.ends_with("\u{4f60}.jpg"));
    }

    #[test]
    fn two_files_never_have_one_name_not_even_on_windows() {
        let mut names = Names::default();
        let mut give = |path| names.give("cloud", path);
        assert_eq!(give("albums/a?/1.jpg"), "cloud/albums/a_/1.jpg");
        assert_eq!(give("albums/a*/1.jpg"), "cloud/albums/a_/1 (2).jpg");
        assert_eq!(give("albums/A_/1.JPG"), "cloud/albums/A_/1 (3).JPG");
        assert_eq!(give("albums/a_/1 (2).jpg"), "cloud/albums/a_/1 (2) (2).jpg");
    }
}
