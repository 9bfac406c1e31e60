//! Why a measurement is void.

use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) type Outcome<T> = Result<T, Failure>;

/// A text, as it has to cross from the measured process to the one that reports it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    text: String,
    is_missing: bool,
}

impl Failure {
    #[cold]
    pub(crate) fn new(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), is_missing: false }
    }

    /// This machine does not have what is to be measured: a row less, and no mistake.
    #[cold]
    pub(crate) fn missing(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), is_missing: true }
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.is_missing
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// Possible because `Failure` is no `Error` itself.
impl<E: std::error::Error> From<E> for Failure {
    #[cold]
    fn from(error: E) -> Failure {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        Failure::new(causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
    }
}
