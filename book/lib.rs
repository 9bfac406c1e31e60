//! The book, as a library: each page is the documentation of an item here, so that its Rust programs are tests.
//!
//! `cargo test --doc -p ipc-book` runs them. The names are those of the pages: a program that fails is shown with its page's name.
#![forbid(unsafe_code)]

#[doc = include_str!("src/introduction.md")]
#[cfg(doctest)]
struct Introduction;

#[doc = include_str!("src/choosing.md")]
#[cfg(doctest)]
struct Choosing;

#[doc = include_str!("src/from-python.md")]
#[cfg(doctest)]
struct FromPython;

#[doc = include_str!("src/promise.md")]
#[cfg(doctest)]
struct Promise;

#[doc = include_str!("src/handles.md")]
#[cfg(doctest)]
struct Handles;

#[doc = include_str!("src/errors.md")]
#[cfg(doctest)]
struct Errors;

#[doc = include_str!("src/security.md")]
#[cfg(doctest)]
struct Security;

#[doc = include_str!("src/testing.md")]
#[cfg(doctest)]
struct Testing;

#[doc = include_str!("src/limits.md")]
#[cfg(doctest)]
struct Limits;

#[doc = include_str!("src/questions.md")]
#[cfg(doctest)]
struct Questions;
