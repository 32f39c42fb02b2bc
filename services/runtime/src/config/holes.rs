//! What is taken out of a file, so that the rest can be read.

use std::collections::{BTreeMap, BTreeSet};

use figment::value::{Dict, Value};

use super::problem::join;

/// What was taken away.
pub(super) enum Removed {
    Key,
    /// Of a list, whose place in it is that far down the path.
    Element {
        depth: usize,
    },
}

/// Removes what is at `path`. `None`: nothing is.
pub(super) fn remove(dict: &mut Dict, path: &[String]) -> Option<Removed> {
    let [key, rest @ ..] = path else { return None };
    match dict.get_mut(key)? {
        Value::Dict(_, inner) if !rest.is_empty() => remove(inner, rest).map(Removed::below),
        Value::Array(_, list) if !rest.is_empty() => remove_of(list, rest).map(Removed::below),
        _ => dict.remove(key).map(|_| Removed::Key),
    }
}

fn remove_of(list: &mut Vec<Value>, path: &[String]) -> Option<Removed> {
    let [place, rest @ ..] = path else {
        return None;
    };
    let place: usize = place.parse().ok()?;
    match list.get_mut(place)? {
        Value::Dict(_, inner) if !rest.is_empty() => remove(inner, rest).map(Removed::below),
        Value::Array(_, inner) if !rest.is_empty() => remove_of(inner, rest).map(Removed::below),
        _ => {
            list.remove(place);
            Some(Removed::Element { depth: 0 })
        }
    }
}

impl Removed {
    fn below(self) -> Self {
        match self {
            Self::Key => Self::Key,
            Self::Element { depth } => Self::Element { depth: depth + 1 },
        }
    }
}

/// Places of lists that were emptied: what came after one has moved up, and is still called by where it stood.
#[derive(Default)]
pub(super) struct Holes(BTreeMap<String, BTreeSet<usize>>);

impl Holes {
    /// What was found at `path` is gone.
    pub(super) fn note(&mut self, path: &[String]) {
        let key = self.original(&path.join("."));
        if let Some((list, place)) = key.rsplit_once('.')
            && let Ok(place) = place.parse()
        {
            self.0.entry(list.to_owned()).or_default().insert(place);
        }
    }

    /// Where it stood what is found at `key` now. Lists come before those within them.
    pub(super) fn original(&self, key: &str) -> String {
        let mut key = key.to_owned();
        for (list, holes) in &self.0 {
            let Some(rest) = key.strip_prefix(list).and_then(|it| it.strip_prefix('.')) else {
                continue;
            };
            let (place, below) = match rest.split_once('.') {
                Some((place, below)) => (place, Some(below)),
                None => (rest, None),
            };
            let Ok(mut place) = place.parse::<usize>() else {
                continue;
            };
            // In order, so that each hole is counted from where the ones before it put it.
            for hole in holes {
                place += usize::from(*hole <= place);
            }
            key = join(&format!("{list}.{place}"), below.unwrap_or_default());
        }
        key
    }
}
