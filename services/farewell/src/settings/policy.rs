//! `[coordinator.policy]`, and files of policies.

use std::path::Path;

use farewell_core::Policy;
use farewell_core::policy::Document;
use farewell_runtime::config::{self, Problem, Problems, Validate};
use serde::Deserialize;

/// What a deletion here follows, where nothing else is said.
const BASE: &str = "cn";
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
        let whole = settle(self.0.clone(), DEPTH_MAX);
        if let Err(Problems(problems)) = whole.and_then(|whole| finish(&whole)) {
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
        finish(&settle(choice, DEPTH_MAX)?)
    }
}

/// A policy by the name of one that is shipped, or from a file.
///
/// Errors: everything that is wrong with it, and with the files that it extends.
pub fn policy(which: &str) -> Result<Policy, Problems> {
    let document = match named(which)? {
        Named::Shipped(document) => *document,
        Named::File(path) => config::file::<PolicyFile>(path)?.0,
    };
    finish(&settle(document, DEPTH_MAX)?)
}

fn finish(document: &Document) -> Result<Policy, Problems> {
    let policy = document.policy().map_err(|problems| {
        let problems = problems.into_iter();
        Problems(
            problems
                .map(|it| Problem::new(it.key, it.message))
                .collect(),
        )
    })?;
    // The name stands on certificates: nobody should take one law for another.
    let name = &policy.name;
    if Policy::shipped(name).is_some_and(|shipped| shipped != policy) {
        let message = format!(
            "is that of a policy that is shipped, and this differs from it: give it one of its own, or say only \
             extends = \"{name}\""
        );
        return Err(Problems(vec![Problem::new("name", message)]));
    }
    Ok(policy)
}

fn settle(document: Document, depth: usize) -> Result<Document, Problems> {
    let Some(which) = &document.extends else {
        return Ok(document);
    };
    let base = match named(which)? {
        Named::Shipped(base) => *base,
        Named::File(path) => {
            let Some(depth) = depth.checked_sub(1) else {
                return Err(odd("the files extend each other in circles"));
            };
            settle(config::file::<BaseFile>(path)?.0, depth)?
        }
    };
    Ok(document.over(base))
}

enum Named<'a> {
    Shipped(Box<Document>),
    File(&'a Path),
}

fn named(which: &str) -> Result<Named<'_>, Problems> {
    if let Some(document) = Document::shipped(which) {
        return Ok(Named::Shipped(Box::new(document)));
    }
    let path = Path::new(which);
    // A word alone is a slip of the pen, and no file that happens to be called so.
    if path.components().count() < 2 && path.extension().is_none() {
        let names = Document::SHIPPED.join(", ");
        return Err(odd(&format!(
            "must be one of {names}, or the path of a file"
        )));
    }
    Ok(Named::File(path))
}

fn odd(message: &str) -> Problems {
    Problems(vec![Problem::new("extends", message)])
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
                "stages",
                "surprise",
            ]
        );
    }

    #[test]
    fn files_that_extend_each_other_in_circles_are_refused() {
        let ours = file("");
        let path = ours.path().to_str().unwrap();
        std::fs::write(path, format!("extends = '{path}'")).unwrap();
        assert_eq!(keys(policy(path).unwrap_err()), ["extends"]);
    }
}
