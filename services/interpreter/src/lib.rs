//! Says refusals in the language of whoever asks, at every port that answers people's apps.
//!
//! A [`Language`] is read from a request, a [`Catalogue`] has the sentences, and an [`Interpreter`] before a service puts one beside
//! each refusal. [`moment`] writes a time, and [`Words`] what is no refusal: letters, and the page of an archive. What more than one
//! port says is written here, in `sentences/`; what only one says, beside that port. Nothing here knows which refusals there are: each
//! port's own test holds that all of its have a sentence, with [`audit`].

pub mod audit;
mod catalogue;
mod interpreter;
mod language;
mod moment;
mod words;

pub use fluent_bundle::FluentArgs;

pub use catalogue::{Catalogue, Facts, Said};
pub use interpreter::Interpreter;
pub use language::Language;
pub use moment::moment;
pub use words::Words;
