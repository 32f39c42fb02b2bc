//! Memory of a process that holds many connections.

/// Takes small pages from now on, where the system gives them a choice.
///
/// The allocator asks for pages of 2 MiB, which makes a process with few large objects fast and one with tens of thousands
/// of small ones, each with gaps between them, half as large again.
pub fn small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "large pages can't be switched off");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn no_large_page_is_taken_any_more() {
        super::small_pages();
        assert!(rustix::thread::transparent_huge_pages_are_disabled().unwrap());
    }
}
