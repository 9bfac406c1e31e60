//! The book, as a library: each page is the documentation of an item here, so that its Rust programs are tests.
//!
//! `cargo test --doc -p ipc-book` runs them; a program that fails is shown with the file and line of its page. To read it, `mdbook build book`
//! (mdBook 0.4) writes it to `target/book`; nothing else needs mdBook.
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
