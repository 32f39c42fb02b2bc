//! How far a section of files has been exported: the cursor of an export, in words.

use farewell_kit::Fault;

/// Between a file's id and the bytes of it that are exported.
const INSIDE: char = '@';

/// After a whole file, or inside of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Empty: before the first.
    pub id: String,
    /// Bytes of it; `None`: all of it.
    pub inside: Option<u64>,
}

impl Place {
    /// Errors: it is none of ours.
    pub fn parse(cursor: &str) -> Result<Self, Fault> {
        let Some((id, offset)) = cursor.split_once(INSIDE) else {
            return Ok(Self::after(cursor));
        };
        let offset = offset
            .parse()
            .map_err(|_| Fault::plain("a cursor that isn't ours"))?;
        Ok(Self::inside(id, offset))
    }

    pub fn after(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            inside: None,
        }
    }

    pub fn inside(id: &str, offset: u64) -> Self {
        Self {
            id: id.to_owned(),
            inside: Some(offset),
        }
    }

    /// Bytes of the file `id` that are exported already; `None`: all.
    pub fn begin_of(&self, id: &str) -> Option<u64> {
        if self.id == id { self.inside } else { Some(0) }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.inside {
            Some(offset) => write!(f, "{}{INSIDE}{offset}", self.id),
            None => f.write_str(&self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back() {
        for place in [Place::default(), Place::after("a"), Place::inside("a", 0)] {
            assert_eq!(Place::parse(&place.to_string()).unwrap(), place);
        }
        assert!(Place::parse("a@b").is_err());
        let place = Place::inside("a", 7);
        assert_eq!(
            (place.begin_of("a"), place.begin_of("b")),
            (Some(7), Some(0))
        );
        assert_eq!(Place::after("a").begin_of("a"), None);
    }
}
