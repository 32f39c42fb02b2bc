use std::fmt;

/// One mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key as it stands in the file, with its sections: `telemetry.log`.
    pub key: String,
    /// What is wrong and what would be right, without the value: it may be a password.
    pub message: String,
}

impl Problem {
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Every mistake at once, so that a set-up is right after one more try and not after ten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a problem:")?,
            count => write!(f, "the configuration has {count} problems:")?,
        }
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What a type cannot say about its values: ranges, and keys that depend on each other.
pub trait Validate {
    /// Adds every problem to `out`, with keys relative to this value. Use [`nested`] for a field
    /// that validates itself.
    fn problems(&self, out: &mut Vec<Problem>);
}

/// The problems of a field, with its name put before their keys.
pub fn nested(key: &str, value: &impl Validate, out: &mut Vec<Problem>) {
    let first = out.len();
    value.problems(out);
    for problem in &mut out[first..] {
        problem.key = join(key, &problem.key);
    }
}

pub(super) fn join(above: &str, key: &str) -> String {
    match (above, key) {
        ("", key) => key.to_owned(),
        (above, "") => above.to_owned(),
        (above, key) => format!("{above}.{key}"),
    }
}
