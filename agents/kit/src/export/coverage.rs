//! What an archive tells of an inventory: every category that it counts is in the files, or is left out for a reason that the
//! person reads.

use std::collections::BTreeSet;

/// A category of the inventory, and a word of [`why`].
pub type LeftOut = (&'static str, &'static str);

/// Why something is not in an archive, as stable words. The custodian has a sentence for each.
pub mod why {
    /// It proves who somebody is, or lets them in: nobody should carry it around, also hashed.
    pub const PROVES_IDENTITY: &str = "PROVES_IDENTITY";
    /// Only the device that made it can read it.
    pub const READ_BY_DEVICE_ONLY: &str = "READ_BY_DEVICE_ONLY";
    /// It is a record of another account, which only names this one (GDPR Art. 15(4)).
    pub const OF_ANOTHER_ACCOUNT: &str = "OF_ANOTHER_ACCOUNT";
    /// An authority or the security department inquires, which telling would harm (GDPR Art. 23(1)(d) and (i), PIPL Art. 18).
    pub const UNDER_INQUIRY: &str = "UNDER_INQUIRY";
    /// Archives that were made before: each can be fetched by itself.
    pub const FETCHED_BY_ITSELF: &str = "FETCHED_BY_ITSELF";
    /// Files that the person showed the support desk, which gives copies of them; what they are is in the archive.
    pub const FROM_SUPPORT_DESK: &str = "FROM_SUPPORT_DESK";

    /// Every word.
    pub const ALL: [&str; 6] = [
        PROVES_IDENTITY,
        READ_BY_DEVICE_ONLY,
        OF_ANOTHER_ACCOUNT,
        UNDER_INQUIRY,
        FETCHED_BY_ITSELF,
        FROM_SUPPORT_DESK,
    ];
}

/// Of the categories that an inventory can name, those that are neither `told` nor left out. A participant's tests want none.
pub fn untold<'a>(
    inventory: impl IntoIterator<Item = &'a str>,
    told: impl IntoIterator<Item = &'a str>,
    left_out: &[LeftOut],
) -> Vec<&'a str> {
    let told: BTreeSet<_> = told.into_iter().collect();
    let is_told = |category: &&str| {
        told.contains(category) || left_out.iter().any(|(left_out, _)| left_out == category)
    };
    inventory.into_iter().filter(|it| !is_told(it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_told_nor_left_out_is_named() {
        let inventory = ["codes", "orders", "wishes"];
        let left_out = [("codes", why::PROVES_IDENTITY)];
        assert_eq!(untold(inventory, ["orders"], &left_out), ["wishes"]);
        assert!(untold(["orders"], ["orders"], &[]).is_empty());
    }
}
