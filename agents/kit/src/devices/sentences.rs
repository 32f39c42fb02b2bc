//! What people read where their devices are bound: `sentences/*.ftl`, beside what other ports say as well.

use std::sync::LazyLock;

use farewell_interpreter::{Catalogue, Language};

/// All of them.
pub static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::new(|language| match language {
        Language::English => include_str!("sentences/en.ftl"),
        Language::Chinese => include_str!("sentences/zh.ftl"),
    })
});

#[cfg(test)]
mod tests {
    use std::path::Path;

    use farewell_interpreter::audit;

    use super::*;

    #[test]
    fn every_reason_by_which_a_binding_is_refused_is_said_in_every_language() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let interface = "../../proto/farewell/binding/v1/binding_service.proto";
        let mut reasons = audit::promised(&here.join(interface));
        reasons.extend(audit::given(&here.join("src/devices")));
        assert!(reasons.len() > 15, "{reasons:?}");
        audit::hold(&CATALOGUE, &reasons);
    }
}
