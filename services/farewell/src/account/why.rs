//! What stable words of an account's changes mean, as the coordinator says it in the language that was asked for.

use farewell_proto::account::v1::Explanation;
use serde_json::{Value, json};

use crate::output::Rows;

/// A table of them; empty where there is nothing to explain.
pub fn rows<'a>(explanations: impl IntoIterator<Item = &'a Explanation>) -> Rows {
    let mut rows = Rows::new("why", &["code", "what is so", "what to do"]);
    for it in explanations {
        rows.push([it.code.clone(), it.message.clone(), it.remedy.clone()]);
    }
    rows
}

/// The same for scripts.
pub fn values<'a>(explanations: impl IntoIterator<Item = &'a Explanation>) -> Vec<Value> {
    let value =
        |it: &Explanation| json!({"code": it.code, "message": it.message, "remedy": it.remedy});
    explanations.into_iter().map(value).collect()
}
