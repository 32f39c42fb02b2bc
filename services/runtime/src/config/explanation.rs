//! What is wrong with a value, in words that people use and without the value.

use figment::error::{Actual, Kind};

/// figment's own words name the value; these do not.
pub(super) fn explain(kind: &Kind) -> String {
    match kind {
        Kind::InvalidType(actual, expected) => {
            format!("must be {}, but is {}", meant(expected), shape(actual))
        }
        Kind::InvalidValue(_, expected) => format!("must be {}", meant(expected)),
        Kind::InvalidLength(count, expected) => {
            format!("must be {}, but has {count}", meant(expected))
        }
        Kind::UnknownVariant(_, known) => format!("must be one of {}", known.join(", ")),
        Kind::UnknownField(_, known) => {
            format!("is not a key here; there are {}", known.join(", "))
        }
        Kind::MissingField(_) => "is required".into(),
        Kind::Message(said) if said == "invalid socket address syntax" => {
            "must be an address with its port, such as 127.0.0.1:7400 or [::1]:7400".into()
        }
        other => other.to_string(),
    }
}

/// What was expected, in words that aren't the program's.
fn meant(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "a section",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number",
        other if other.starts_with("struct ") => "a section",
        other if other.starts_with("enum ") => "one of the words for it",
        other => other,
    }
}

fn shape(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) => "text",
        Actual::Seq => "a list",
        Actual::Map => "a section",
        _ => "something else",
    }
}
