//! Ids and the paths that they travel in.

/// Longest device id. It is a topic level, a user name and a file name.
pub const DEVICE_BYTES_MAX: usize = 64;
/// Longest account id.
pub const ACCOUNT_BYTES_MAX: usize = 128;
/// Longest model name, serial number and machine word of a device.
pub const TEXT_BYTES_MAX: usize = 128;

/// The id in `devices/{device}`: 1 to 64 characters of `[A-Za-z0-9_-]`, so that no id can be a topic wildcard or a path.
pub fn device_of(name: &str) -> Option<&str> {
    name.strip_prefix("devices/").filter(|id| is_device_id(id))
}

/// Whether a device id is sound.
pub fn is_device_id(id: &str) -> bool {
    (1..=DEVICE_BYTES_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The ids in `lines/{line}/devices/{device}`; a line's is as a device's.
pub fn device_of_line(name: &str) -> Option<(&str, &str)> {
    let (line, device) = name.strip_prefix("lines/")?.split_once('/')?;
    Some((line, device_of(device)?)).filter(|(line, _)| is_device_id(line))
}

/// `devices/{device}`.
pub fn device(id: &str) -> String {
    format!("devices/{id}")
}

/// The id in `accounts/{account}`.
pub fn account_of(name: &str) -> Option<&str> {
    name.strip_prefix("accounts/")
        .filter(|id| is_account_id(id))
}

/// Whether the id is one of an account that a coordinator can delete: 1 to 128 characters of `[A-Za-z0-9._-]`.
pub fn is_account_id(id: &str) -> bool {
    (1..=ACCOUNT_BYTES_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// `accounts/{account}`.
pub fn account(id: &str) -> String {
    format!("accounts/{id}")
}

/// The id in `homes/{home}`: a household, named like an account.
pub fn home_of(name: &str) -> Option<&str> {
    name.strip_prefix("homes/")
        .filter(|id| (1..=TEXT_BYTES_MAX).contains(&id.len()))
        .filter(|id| !id.contains('/') && !id.chars().any(char::is_control))
}

/// `homes/{home}`.
pub fn home(id: &str) -> String {
    format!("homes/{id}")
}

/// The id in `orders/{order}`.
pub fn order_of(name: &str) -> Option<&str> {
    name.strip_prefix("orders/").filter(|id| is_device_id(id))
}

/// `orders/{order}`.
pub fn order(id: &str) -> String {
    format!("orders/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_be_a_wildcard_a_path_or_nothing_is_no_device() {
        for bad in ["", "+", "#", "a/b", "a b", "ä", "..", &"x".repeat(65)] {
            assert_eq!(device_of(&device(bad)), None, "{bad:?}");
        }
        assert_eq!(device_of("phone-1"), None, "the path is required");
        assert_eq!(device_of("devices/Phone_1-a"), Some("Phone_1-a"));
    }

    #[test]
    fn an_account_that_no_coordinator_can_delete_has_no_name_here() {
        for bad in ["", "a+b", "a#b", "a b", "a/b", "名", &"a".repeat(129)] {
            assert_eq!(account_of(&account(bad)), None, "{bad:?}");
        }
        assert_eq!(account_of("accounts/a.4711_b-c"), Some("a.4711_b-c"));
    }
}
