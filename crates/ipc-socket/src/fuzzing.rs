//! The exchange of keys, for the fuzzer.

use std::sync::Arc;

use crate::digest::Key;
use crate::error::Result;
use crate::handshake::{Handshake, Terms};

/// One end of an exchange, fed by hand.
#[derive(Debug)]
pub struct Exchange(Handshake);

impl Exchange {
    /// The end that listens, or the one that connects.
    ///
    /// # Errors
    /// An empty key.
    pub fn new(is_server: bool, key: &[u8], refuse_md5: bool) -> Result<Exchange> {
        let terms = Terms { key: Arc::new(Key::new(key.to_vec())?), refuse_md5 };
        Ok(Exchange(if is_server { Handshake::server(terms)? } else { Handshake::client(terms) }))
    }

    /// How many bytes may be read.
    pub fn wants(&self) -> usize {
        self.0.wants()
    }

    /// Takes in at most as many.
    ///
    /// # Errors
    /// What the other end says shows that it does not have the key, or is not understood.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.receive(bytes)
    }

    /// What is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.0.take_output()
    }

    /// Whether the other end has the key.
    pub fn is_over(&self) -> bool {
        self.0.is_over()
    }
}
