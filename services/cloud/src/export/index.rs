//! What a person opens first: a page that needs no network, no script and no program but a browser, in the person's language.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::SystemTime;

use farewell_interpreter::{FluentArgs, Language, Words, moment};
use farewell_kit::store::micros;
use jiff::tz::TimeZone;

use super::category::Held;

/// Files of one participant that have a link; of more the page says how many, and the folder shows them.
const LINKS_MAX: usize = 2_000;
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222}\
    h2{margin-top:2rem}ul{padding-left:1.2rem}th,td{padding:.1rem 1rem .1rem 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
    th+th,td+td{text-align:right;white-space:nowrap}.note{color:#555}";

/// They are part of the program: a test holds them to be whole.
static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(|language| [text(language)]));

/// The page, as it grows.
pub(super) struct Index {
    language: Language,
    folders: BTreeMap<String, Contents>,
}

#[derive(Default)]
struct Contents {
    items: i64,
    files: usize,
    size_bytes: u64,
    rows: String,
    /// What there is, by category, and then what there isn't.
    held: String,
    left_out: String,
}

impl Index {
    /// In a language.
    pub const fn new(language: Language) -> Self {
        Self {
            language,
            folders: BTreeMap::new(),
        }
    }

    /// Tells of a file.
    pub fn add(&mut self, participant: &str, name: &str, size_bytes: u64) {
        let folder = self.folders.entry(participant.to_owned()).or_default();
        folder.files += 1;
        folder.size_bytes += size_bytes;
        if folder.files <= LINKS_MAX {
            let shown = name.split_once('/').map_or(name, |(_, rest)| rest);
            let _ = writeln!(
                folder.rows,
                "<tr><td><a href=\"{}\">{}</a></td><td>{}</td></tr>",
                link(name),
                escaped(shown),
                size(size_bytes)
            );
        }
    }

    /// Tells how many things a participant gave.
    pub fn items(&mut self, participant: &str, items: i64) {
        self.folders
            .entry(participant.to_owned())
            .or_default()
            .items = items;
    }

    /// Tells of which categories these things are, and what of the inventory is not there.
    pub fn categories<'a>(
        &mut self,
        participant: &str,
        categories: impl Iterator<Item = (&'a String, &'a Held)>,
    ) {
        let (mut told, mut left_out) = (String::new(), String::new());
        for (category, held) in categories {
            // A number is a contact to whom it is bound, and somebody else to an address book.
            let own = format!("{participant}-{category}");
            let name = match WORDS.has(&own, self.language) {
                true => self.say(&own, &[]),
                false => self.word("category", category),
            };
            if held.items > 0 {
                let about = [
                    ("category", name.clone()),
                    ("items", held.items.to_string()),
                ];
                let line = escaped(&self.say("held", &about));
                let _ = writeln!(told, "<li>{line}</li>");
            }
            if !held.left_out.is_empty() {
                let about = [
                    ("category", name),
                    ("why", self.word("why", &held.left_out)),
                ];
                let line = escaped(&self.say("not-here", &about));
                let _ = writeln!(left_out, "<li>{line}</li>");
            }
        }
        let folder = self.folders.entry(participant.to_owned()).or_default();
        (folder.held, folder.left_out) = (told, left_out);
    }

    /// RFC 3339, in UTC.
    pub fn moment(&self, at: SystemTime) -> String {
        jiff::Timestamp::from_microsecond(micros(at))
            .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            .unwrap_or_default()
    }

    /// The whole page.
    pub fn page(&self, begun: SystemTime) -> String {
        let day = jiff::Timestamp::from_microsecond(micros(begun))
            .map(|at| moment(&at.to_zoned(TimeZone::UTC), self.language))
            .unwrap_or_default();
        let say = |id: &str, about: &[(&'static str, String)]| escaped(&self.say(id, about));
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             </head>\n<body>\n<h1>{title}</h1>\n<p>{}</p>\n<p class=\"note\">{}</p>\n",
            self.language,
            say("made", &[("time", day)]),
            say("promise", &[]),
            title = say("title", &[]),
        );
        for (participant, folder) in &self.folders {
            let heading = escaped(&self.word("of", participant));
            let _ = write!(page, "<h2>{heading}</h2>\n<p class=\"note\">");
            if folder.files == 0 {
                let _ = writeln!(page, "{}</p>", say("nothing", &[]));
                page.push_str(&list(&folder.left_out));
                continue;
            }
            let about = [
                ("items", folder.items.to_string()),
                ("files", folder.files.to_string()),
                ("size", size(folder.size_bytes)),
            ];
            let _ = writeln!(
                page,
                "{}</p>\n{}<table>\n<thead><tr><th scope=\"col\">{}</th><th scope=\"col\">{}</th></tr></thead>\n{}</table>",
                say("amount", &about),
                list(&folder.held),
                say("file", &[]),
                say("size", &[]),
                folder.rows
            );
            if folder.files > LINKS_MAX {
                let about = [
                    ("files", (folder.files - LINKS_MAX).to_string()),
                    ("folder", participant.clone()),
                ];
                let _ = writeln!(page, "<p>{}</p>", say("more", &about));
            }
            page.push_str(&list(&folder.left_out));
        }
        let _ = writeln!(
            page,
            "<p class=\"note\">{}</p>\n</body>\n</html>",
            say("check", &[])
        );
        page
    }

    /// What a person calls what others call `word`: that itself, if nobody has said.
    fn word(&self, kind: &str, word: &str) -> String {
        let id = format!("{kind}-{word}");
        if WORDS.has(&id, self.language) {
            self.say(&id, &[])
        } else {
            word.to_owned()
        }
    }

    fn say(&self, id: &str, about: &[(&'static str, String)]) -> String {
        let mut args = FluentArgs::new();
        for (name, value) in about {
            args.set(*name, value.clone());
        }
        WORDS.text(id, &args, self.language).unwrap_or_default()
    }
}

const fn text(language: Language) -> &'static str {
    match language {
        Language::English => include_str!("index/en.ftl"),
        Language::Chinese => include_str!("index/zh.ftl"),
    }
}

fn list(lines: &str) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("<ul>\n{lines}</ul>\n")
}

/// A size as people read it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut tenths, mut unit) = (bytes.saturating_mul(10), 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths = tenths.div_ceil(1_000);
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A relative reference of RFC 3986.
fn link(name: &str) -> String {
    let mut link = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                link.push(char::from(byte));
            }
            byte => {
                let _ = write!(link, "%{byte:02X}");
            }
        }
    }
    link
}

#[cfg(test)]
mod tests {
    use farewell_kit::export::why;

    use super::*;

    const THEN: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn what_a_person_wrote_stays_text() {
        let mut index = Index::new(Language::English);
        index.add("cloud", "cloud/albums/<script>alert(1)/a \"b\".jpg", 2_500);
        index.items("cloud", 1);
        index.items("store", 0);
        let page = index.page(THEN);
        assert!(
            !page.contains("<script")
                && page.contains("&lt;script&gt;alert(1)/a &quot;b&quot;.jpg")
        );
        assert!(page.contains("href=\"cloud/albums/%3Cscript%3Ealert%281%29/a%20%22b%22.jpg\""));
        assert!(page.contains("2.5 kB") && page.contains("default-src 'none'"));
    }

    #[test]
    fn both_languages_have_every_sentence() {
        let ids = |text: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.split_once(" = "));
            lines.map(|(id, _)| id.to_owned()).collect()
        };
        assert_eq!(ids(text(Language::English)), ids(text(Language::Chinese)));
        for (language, begun) in [
            (Language::English, "1 January 1970, 00:00 UTC"),
            (Language::Chinese, "1970年1月1日 00:00（UTC）"),
        ] {
            let mut index = Index::new(language);
            index.add("store", "store/orders.csv", 1);
            index.items("store", 3);
            let held = |items, left_out: &str| Held {
                items,
                left_out: left_out.to_owned(),
            };
            let categories = BTreeMap::from([
                ("orders".to_owned(), held(3, "")),
                (
                    "named_in_transfers".to_owned(),
                    held(0, why::OF_ANOTHER_ACCOUNT),
                ),
            ]);
            index.categories("store", categories.iter());
            index.categories(
                "elsewhere",
                [(&"<b>".to_owned(), &held(0, "A_WORD_OF_THEIRS"))].into_iter(),
            );
            let page = index.page(THEN);
            assert!(page.contains(begun) && !page.contains("{ $"), "{page}");
            assert!(
                !page.contains("<p></p>")
                    && !page.contains("<h2></h2>")
                    && !page.contains("<li></li>")
            );
            assert!(
                !page.contains("named_in_transfers") && !page.contains(why::OF_ANOTHER_ACCOUNT)
            );
            assert!(page.contains("&lt;b&gt;") && page.contains("A_WORD_OF_THEIRS"));
            assert!(
                page.contains("<th scope=\"col\">") && !page.contains("<th scope=\"col\"></th>")
            );
            for why in why::ALL {
                assert!(WORDS.has(&format!("why-{why}"), language), "{why}");
            }
        }
    }

    #[test]
    fn ones_own_number_is_not_called_as_an_address_book() {
        let mut index = Index::new(Language::English);
        let held = Held {
            items: 2,
            left_out: String::new(),
        };
        for participant in ["cloud", "identity"] {
            index.add(participant, "contacts.csv", 1);
            index.categories(participant, [(&"contacts".to_owned(), &held)].into_iter());
        }
        let page = index.page(THEN);
        assert!(
            page.contains("<li>Contacts: 2</li>")
                && page.contains("<li>Your number and address: 2</li>"),
            "{page}"
        );
    }

    #[test]
    fn sizes_are_told_as_people_read_them() {
        for (bytes, told) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_234_567, "1.3 MB"),
            (99_999_999, "100.0 MB"),
        ] {
            assert_eq!(size(bytes), told);
        }
    }
}
