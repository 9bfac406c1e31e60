//! Harness of the cross-process tests.
