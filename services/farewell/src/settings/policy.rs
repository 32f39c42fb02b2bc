//! `[coordinator.policy]`, and files of policies.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use farewell_core::Policy;
use farewell_core::calendar::{self, Calendar};
use farewell_core::policy::{self, Document};
use farewell_runtime::config::{self, Problem, Problems, Validate};
use serde::Deserialize;

/// What a deletion here follows, where nothing else is said.
const BASE: &str = "cn";
/// Mistakes of a calendar that are said one by one: each line may be one.
const CALENDAR_PROBLEMS_MAX: usize = 50;
/// Files that extend each other: beyond it they go round in circles.
const DEPTH_MAX: usize = 8;

/// A policy that extends one that is shipped, or a file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct PolicyChoice(Document);

/// A file that is to be a policy, with what it extends.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct PolicyFile(Document);

/// A file that another one extends: what is wrong with both of them together shows there.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct BaseFile(Document);

impl Validate for PolicyFile {
    fn problems(&self, out: &mut Vec<Problem>) {
        if let Err(Problems(problems)) = complete(self.0.clone()) {
            out.extend(problems);
        }
    }
}

impl Validate for BaseFile {
    fn problems(&self, _: &mut Vec<Problem>) {}
}

impl Validate for PolicyChoice {
    fn problems(&self, out: &mut Vec<Problem>) {
        if let Err(Problems(problems)) = self.policy() {
            out.extend(problems);
        }
    }
}

impl PolicyChoice {
    /// The policy.
    ///
    /// Errors: everything that is wrong with it, and with the files that it extends.
    pub fn policy(&self) -> Result<Policy, Problems> {
        let mut choice = self.0.clone();
        choice.extends.get_or_insert_with(|| BASE.to_owned());
        complete(choice)
    }
}

/// A policy by the name of one that is shipped, or from a file.
///
/// Errors: everything that is wrong with it, and with the files that it extends.
pub fn policy(which: &str) -> Result<Policy, Problems> {
    let document = match named("policy", which)? {
        Named::Shipped(document) => *document,
        Named::File(path) => config::file(path, |it: &mut PolicyFile| begin_at(path, &mut it.0))?.0,
    };
    complete(document)
}

/// A calendar by the name of one that is built in, or from a file.
///
/// Errors: everything that is wrong with it, by line.
pub fn calendar(which: &str) -> Result<Calendar, Problems> {
    if let Some(calendar) = Calendar::built_in(which) {
        return Ok(calendar.clone());
    }
    let wrong = |what: String| Problem::new("calendar", what);
    if !is_path(which) {
        let names = calendar::BUILT_IN.join(", ");
        let what = format!("must be one of {names}, or the path of a file");
        return Err(Problems(vec![wrong(what)]));
    }
    let text = read_limited(Path::new(which))
        .map_err(|error| Problems(vec![wrong(format!("{which}: {error}"))]))?;
    Calendar::parse_own(&text).map_err(|found| {
        if !text.lines().any(is_header) {
            let what = "is no calendar: `farewell calendar show cn` prints one to begin with";
            return Problems(vec![wrong(format!("{which} {what}"))]);
        }
        let each = found.iter().take(CALENDAR_PROBLEMS_MAX);
        let mut told: Vec<_> = each.map(|it| wrong(format!("{which}, {it}"))).collect();
        match found.len().saturating_sub(CALENDAR_PROBLEMS_MAX) {
            0 => {}
            more => told.push(wrong(format!("{which} has {more} more mistakes"))),
        }
        Problems(told)
    })
}

/// A line that stands at a calendar's head.
fn is_header(line: &str) -> bool {
    let key = line.split_once(':').map(|(key, _)| key.trim());
    key.is_some_and(|key| ["name", "version", "source", "weekend", "covered"].contains(&key))
}

/// As much as can be a calendar, and a little more to be refused by.
fn read_limited(path: &Path) -> std::io::Result<String> {
    let limit = u64::try_from(calendar::BYTES_MAX).unwrap_or(u64::MAX);
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_string(&mut text)?;
    Ok(text)
}

/// A word alone is a slip of the pen, and no file that happens to be called so.
fn is_path(which: &str) -> bool {
    let path = Path::new(which);
    path.components().count() > 1 || path.extension().is_some()
}

/// What a policy's file names stands beside it, wherever it is read from.
fn begin_at(file: &Path, document: &mut Document) {
    let folder = file.parent().unwrap_or(Path::new(""));
    for named in [&mut document.extends, &mut document.calendar] {
        if let Some(path) = named.take_if(|it| is_path(it)) {
            *named = Some(folder.join(path).display().to_string());
        }
    }
}

/// The policy that a document says, with the files that it names. What is wrong with one of them hides nothing of the others, nor of
/// the document itself.
fn complete(document: Document) -> Result<Policy, Problems> {
    let mut chain = Chain::default();
    chain.follow(document);
    chain.policy()
}

/// A document with what it extends, read as far as it can be.
#[derive(Default)]
struct Chain {
    /// Each over those after it; the path of what was read from a file that another one names.
    documents: Vec<(Option<PathBuf>, Document)>,
    /// What is at their end can't be known.
    torn: bool,
    problems: Vec<Problem>,
}

impl Chain {
    fn follow(&mut self, document: Document) {
        let mut next = Some((None, document));
        while let Some((path, mut document)) = next {
            self.bring_days(&mut document);
            next = document
                .extends
                .as_deref()
                .and_then(|which| self.base(which));
            self.documents.push((path, document));
        }
    }

    /// A calendar of one's own, from its file.
    fn bring_days(&mut self, document: &mut Document) {
        let Some(path) = document.calendar.clone().filter(|it| is_path(it)) else {
            return;
        };
        let found = calendar(&path).unwrap_or_else(|Problems(wrong)| {
            self.problems.extend(wrong);
            // Any will do to find what else is wrong.
            Calendar::built_in("none")
                .cloned()
                .expect("a test reads every calendar that is built in")
        });
        document.calendar = Some(found.name().to_owned());
        document.own_calendar = Some(found).filter(|it| Calendar::built_in(it.name()).is_none());
    }

    /// What the last document extends. `None`: it can't be known, which has been said.
    fn base(&mut self, which: &str) -> Option<(Option<PathBuf>, Document)> {
        let path = match named("extends", which) {
            Ok(Named::Shipped(base)) => return Some((None, *base)),
            Ok(Named::File(path)) => path,
            Err(Problems(wrong)) => {
                self.problems.extend(wrong);
                self.torn = true;
                return None;
            }
        };
        if self.documents.len() >= DEPTH_MAX {
            self.tear("the files extend each other in circles".to_owned());
            return None;
        }
        match config::file(path, |it: &mut BaseFile| begin_at(path, &mut it.0)) {
            Ok(base) => Some((Some(path.to_owned()), base.0)),
            Err(Problems(wrong)) => {
                for wrong in wrong {
                    let of_file = path.to_str() == Some(&wrong.key);
                    self.tear(if of_file {
                        wrong.to_string()
                    } else {
                        format!("{}, {wrong}", path.display())
                    });
                }
                None
            }
        }
    }

    fn tear(&mut self, message: String) {
        self.torn = true;
        self.problems.push(Problem::new("extends", message));
    }

    fn policy(mut self) -> Result<Policy, Problems> {
        let over = |base: Document, (_, document): &(_, Document)| document.clone().over(base);
        let whole = self.documents.iter().rev().fold(Document::default(), over);
        let found = whole.policy();
        let wrong = found.as_ref().map_or_else(Clone::clone, |_| Vec::new());
        // Nothing can be said of what stands in a file that can't be read.
        let known = wrong.iter().filter(|it| !self.torn || whole.says(&it.key));
        let mut problems: Vec<_> = known.map(|it| self.placed(it)).collect();
        let differs = |shipped| found.as_ref() != Ok(&shipped);
        let name = whole.name.as_deref().unwrap_or_default();
        // The name stands on certificates: nobody should take one law for another.
        if !self.torn && Policy::shipped(name).is_some_and(differs) {
            let message = format!(
                "is that of a policy that is shipped, and this differs from it: give it one of its own, or say only \
                 extends = \"{name}\""
            );
            problems.push(Problem::new("name", message));
        }
        self.problems.append(&mut problems);
        match found {
            Ok(policy) if self.problems.is_empty() => Ok(policy),
            Ok(_) | Err(_) => Err(Problems(self.problems)),
        }
    }

    /// With the file that its key comes from, if that is another one than what was asked for.
    fn placed(&self, wrong: &policy::Problem) -> Problem {
        let mut documents = self.documents.iter();
        let whose = documents.find(|(_, document)| document.says(&wrong.key));
        let message = match whose {
            Some((Some(path), _)) => format!("{} (from {})", wrong.message, path.display()),
            Some((None, _)) | None => wrong.message.clone(),
        };
        Problem::new(&wrong.key, message)
    }
}

enum Named<'a> {
    Shipped(Box<Document>),
    File(&'a Path),
}

/// What `key` names.
fn named<'a>(key: &str, which: &'a str) -> Result<Named<'a>, Problems> {
    if let Some(document) = Document::shipped(which) {
        return Ok(Named::Shipped(Box::new(document)));
    }
    if !is_path(which) {
        let names = Document::SHIPPED.join(", ");
        let what = format!("must be one of {names}, or the path of a file");
        return Err(Problems(vec![Problem::new(key, what)]));
    }
    Ok(Named::File(Path::new(which)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn keys(problems: Problems) -> Vec<String> {
        let mut keys: Vec<_> = problems.0.into_iter().map(|it| it.key).collect();
        keys.sort();
        keys
    }

    fn choice(text: serde_json::Value) -> Result<Policy, Problems> {
        serde_json::from_value::<PolicyChoice>(text)
            .unwrap()
            .policy()
    }

    #[test]
    fn a_policy_is_a_shipped_one_or_a_file_or_what_differs_from_it() {
        let cn = Policy::cn();
        assert_eq!(choice(serde_json::json!({})).unwrap(), cn);
        let shipped = choice(serde_json::json!({"extends": "eu"})).unwrap();
        assert_eq!(Some(shipped), Policy::shipped("eu"));
        let ours = file("extends = 'us'\nname = 'ours'\ncooling_off = '3 days'");
        let path = ours.path().to_str().unwrap();
        let longer = serde_json::json!({"extends": path, "cooling_off": "4 days"});
        let longer = choice(longer).unwrap();
        assert_eq!(
            (longer.name.as_str(), longer.cooling_off.as_secs()),
            ("ours", 4 * 86_400)
        );
        assert_eq!(
            Some(longer.deadline),
            Policy::shipped("us").map(|us| us.deadline)
        );
        assert_eq!(policy(path).unwrap().cooling_off.as_secs(), 3 * 86_400);
    }

    #[test]
    fn nobody_takes_one_law_for_another() {
        let meant = choice(serde_json::json!({"name": "eu"}));
        let problems = meant.unwrap_err();
        assert!(
            problems.to_string().contains("extends = \"eu\""),
            "{problems}"
        );
        assert!(choice(serde_json::json!({"name": "cn"})).is_ok());
        assert_eq!(
            keys(choice(serde_json::json!({"extends": "mars"})).unwrap_err()),
            ["extends"]
        );
    }

    #[test]
    fn ten_mistakes_of_a_file_are_ten_problems() {
        let ours = file(
            "name = 'Ours!'\nseal = 'yes'\ncooling_off = '7 moons'\ndeadline = '1 day'\ndeadline_warning = 3\n\
             recheck = '0s'\nsurprise = 1\nextends = 'cn'\n[channels]\nfax = ['password']\n[devices]\npersonal = 'burn'\n\
             order_life = '1h'\n[[stages]]\nname = 'one'\nparticipants = ['cloud']\n",
        );
        let problems = policy(ours.path().to_str().unwrap()).unwrap_err();
        let found = keys(problems);
        assert_eq!(
            found,
            [
                "channels.fax",
                "cooling_off",
                "deadline",
                "deadline_warning",
                "devices.order_life",
                "devices.personal",
                "name",
                "recheck",
                "seal",
                "stages.0.name",
                "surprise",
            ]
        );
    }

    const OURS: &str = "name: de-by\nversion: 2026-1\nsource: Bavaria\nweekend: Saturday Sunday\n\
        covered: 2026-01-01 to 2026-12-31\n\n2026-01-06 off Epiphany\n2026-06-06 work A fair\n";

    #[test]
    fn a_calendar_of_ones_own_is_a_file_that_a_policy_names() {
        let days = file(OURS);
        let path = days.path().to_str().unwrap();
        let ours = file(&format!(
            "extends = 'eu'\nname = 'ours'\ncalendar = '{path}'\ndeadline = '15 working days'"
        ));
        let policy = policy(ours.path().to_str().unwrap()).unwrap();
        assert_eq!(policy.calendar, "de-by");
        let requested = farewell_core::Time::from_micros(1_767_250_800_000_000); // 2026-01-01, 08:00 in Berlin
        let shipped = Policy {
            calendar: "none".to_owned(),
            own_calendar: None,
            ..policy.clone()
        };
        let late = policy.due(requested).at.micros() - shipped.due(requested).at.micros();
        assert_eq!(late, 24 * 60 * 60 * 1_000_000, "Epiphany isn't worked");
        assert!(!policy.due(requested).provisional);
        let beyond = farewell_core::Time::from_micros(1_797_750_000_000_000); // 2026-12-20
        assert!(
            policy.due(beyond).provisional,
            "nobody has said what comes in 2027"
        );
        // As it is shown, and as the ledger keeps it.
        let shown = Document::from(&policy).to_toml().unwrap();
        let again = file(&shown);
        assert_eq!(
            super::policy(again.path().to_str().unwrap()).unwrap(),
            policy
        );
        let kept = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&kept).unwrap(), policy);
        // What is published later holds for it, too; another calendar's days don't.
        let next = OURS.replace("2026-12-31", "2027-12-31");
        let newer = Policy {
            own_calendar: Some(Calendar::parse(&next).unwrap()),
            ..policy.clone()
        };
        let renewed = policy.clone().with_days_of(&newer);
        assert!(!renewed.due(beyond).provisional);
        assert_eq!(policy.clone().with_days_of(&shipped), policy);
        assert_eq!(shipped.clone().with_days_of(&newer), shipped);
    }

    #[test]
    fn what_is_wrong_with_a_calendar_is_said_by_line_and_hides_nothing_else() {
        let days = file("name: CN\nweekend: Monday Monday\n2026-13-01 off X\n");
        let path = days.path().to_str().unwrap();
        let ours = file(&format!(
            "extends = 'cn'\nname = 'ours'\nrecheck = '0s'\ncalendar = '{path}'"
        ));
        let problems = policy(ours.path().to_str().unwrap()).unwrap_err();
        let said = problems.to_string();
        assert!(
            said.contains("line 1: a name") && said.contains("line 3: `2026-13-01`"),
            "{said}"
        );
        let found = keys(problems);
        assert!(found.contains(&"recheck".to_owned()), "{found:?}");
        let alone = calendar(path).unwrap_err();
        assert!(alone.0.len() >= 5, "{alone}");
        let page = file("[calendar]\nname = \"ours\"\n");
        let none = calendar(page.path().to_str().unwrap()).unwrap_err();
        assert_eq!(none.0.len(), 1, "{none}");
        let many = file(&OURS.replace("2026-01-06 off Epiphany", &"2026-13-01 off X\n".repeat(60)));
        let many = calendar(many.path().to_str().unwrap()).unwrap_err();
        assert_eq!(many.0.len(), CALENDAR_PROBLEMS_MAX + 1, "{many}");
        assert!(many.to_string().contains("10 more mistakes"), "{many}");
        for (which, named) in [
            ("lunar", "must be one of"),
            ("/no/such/days.txt", "/no/such/days.txt"),
        ] {
            let wrong = choice(serde_json::json!({"name": "ours", "calendar": which}));
            let wrong = wrong.unwrap_err();
            assert!(wrong.to_string().contains(named), "{wrong}");
        }
        for (days, others) in [
            (OURS.to_owned(), 0),
            (OURS.replace("version: ", "edition: "), 2),
        ] {
            let taken = file(&days.replace("de-by", "cn"));
            let wrong = calendar(taken.path().to_str().unwrap()).unwrap_err();
            assert!(wrong.to_string().contains("built in"), "{wrong}");
            assert_eq!(wrong.0.len(), 1 + others, "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_with_one_file_hides_nothing_of_another() {
        let own = "name = 'cn'\nrecheck = '0s'\ncalendar = '/no/such/days.txt'\ndeadline_warning = 3\n\
                   [channels]\nfax = ['password']\n";
        let torn = file("seal = 'yes'\nprobe = 'no'\nverification = '0s'");
        let torn = torn.path().to_str().unwrap().to_owned();
        let sound = file("extends = 'eu'\nname = 'base'\nstalled_after = '0s'");
        let sound = sound.path().to_str().unwrap().to_owned();
        for (extends, more) in [
            ("mars", &[("extends", "must be one of default, cn")][..]),
            (
                "/no/such/policy.toml",
                &[("extends", "/no/such/policy.toml: ")],
            ),
            (
                &torn,
                &[
                    ("extends", ".toml, probe: must be true or false"),
                    ("extends", ".toml, seal: must be true or false"),
                ],
            ),
            // What stands in a base that could be read is said of it, and the whole can be compared with what is shipped.
            (
                &sound,
                &[("name", "is that of a policy"), ("stalled_after", "(from ")],
            ),
        ] {
            let ours = file(&format!("extends = '{extends}'\n{own}"));
            let problems = policy(ours.path().to_str().unwrap()).unwrap_err();
            let mut told: Vec<_> = problems
                .0
                .into_iter()
                .map(|it| (it.key, it.message))
                .collect();
            told.sort();
            let expected = [
                ("calendar", "/no/such/days.txt"),
                ("channels.fax", "must be one of"),
                ("deadline_warning", "a number"),
                ("recheck", "without a pause"),
            ];
            let mut expected = [&expected, more].concat();
            expected.sort_unstable();
            assert_eq!(told.len(), expected.len(), "{told:#?}");
            for ((key, message), (meant, part)) in told.iter().zip(expected) {
                assert!(key == meant && message.contains(part), "{meant}: {told:#?}");
            }
        }
    }

    #[test]
    fn files_that_extend_each_other_in_circles_are_refused() {
        let ours = file("");
        let path = ours.path().to_str().unwrap();
        std::fs::write(path, format!("extends = '{path}'")).unwrap();
        assert_eq!(keys(policy(path).unwrap_err()), ["extends"]);
    }
}
