//! What people of the desk read where it refuses: `sentences/*.ftl`, beside what other ports say as well.

use std::sync::LazyLock;

use farewell_interpreter::{Catalogue, Language};

/// All of them.
pub(crate) static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::new(|language| match language {
        Language::English => include_str!("sentences/en.ftl"),
        Language::Chinese => include_str!("sentences/zh.ftl"),
    })
});

#[cfg(test)]
mod tests {
    use std::path::Path;

    use farewell_interpreter::audit;
    use farewell_kit::home::{ACCOUNT_ELSEWHERE, TO_ACCOUNT_ELSEWHERE};

    use super::*;

    #[test]
    fn every_reason_by_which_the_desk_refuses_is_said_in_every_language() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let interface = "../../proto/farewell/support/v1/support_service.proto";
        let mut reasons = audit::promised(&here.join(interface));
        let of_home = [ACCOUNT_ELSEWHERE, TO_ACCOUNT_ELSEWHERE];
        reasons.extend(of_home.map(str::to_owned));
        reasons.extend(audit::given(&here.join("src")));
        assert!(reasons.len() > 18, "{reasons:?}");
        audit::hold(&CATALOGUE, &reasons);
    }
}
