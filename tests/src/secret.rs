//! Looks for what must not be written down, or must be.

use std::fs;
use std::path::Path;

use anyhow::Result;

/// Whether a text stands anywhere in these bytes.
pub fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// Whether a text stands anywhere in a file.
pub fn file_holds(path: &Path, text: &str) -> Result<bool> {
    Ok(holds(&fs::read(path)?, text))
}
