//! Keyed digests: what shows that somebody has the key, without showing the key.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Sha256, Sha384};

use crate::error::{Error, Result};

/// What both ends have and nobody else. It is not printed.
pub(crate) struct Key(Box<[u8]>);

impl Key {
    /// An empty key would look like one, and keep nobody out.
    pub(crate) fn new(bytes: Vec<u8>) -> Result<Key> {
        if bytes.is_empty() { Err(Error::BadKey("it is empty")) } else { Ok(Key(bytes.into())) }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    Md5,
    Sha256,
    Sha384,
}

impl Digest {
    /// The digest that `text` begins with, in braces, and what comes after it.
    pub(crate) fn prefixing(text: &[u8]) -> Result<(Option<Digest>, &[u8])> {
        let Some(named) = text.strip_prefix(b"{") else { return Ok((None, text)) };
        let Some(end) = named.iter().take(16).position(|byte| *byte == b'}') else { return Ok((None, text)) };
        let digest = match &named[..end] {
            b"md5" => Digest::Md5,
            b"sha256" => Digest::Sha256,
            b"sha384" => Digest::Sha384,
            _ => return Err(Error::Protocol("it wants a digest that is not known here")),
        };
        Ok((Some(digest), &named[end + 1..]))
    }

    pub(crate) fn prefix(self) -> &'static [u8] {
        match self {
            Digest::Md5 => b"{md5}",
            Digest::Sha256 => b"{sha256}",
            Digest::Sha384 => b"{sha384}",
        }
    }

    /// The digest of `message` under the key.
    pub(crate) fn of(self, key: &Key, message: &[u8]) -> Vec<u8> {
        fn compute<M: Mac + KeyInit>(key: &Key, message: &[u8]) -> Vec<u8> {
            keyed::<M>(key).chain_update(message).finalize().into_bytes().to_vec()
        }
        match self {
            Digest::Md5 => compute::<Hmac<Md5>>(key, message),
            Digest::Sha256 => compute::<Hmac<Sha256>>(key, message),
            Digest::Sha384 => compute::<Hmac<Sha384>>(key, message),
        }
    }

    /// Whether `claimed` is that digest, found out in a time that does not tell how much of it is right.
    pub(crate) fn verify(self, key: &Key, message: &[u8], claimed: &[u8]) -> bool {
        fn check<M: Mac + KeyInit>(key: &Key, message: &[u8], claimed: &[u8]) -> bool {
            keyed::<M>(key).chain_update(message).verify_slice(claimed).is_ok()
        }
        match self {
            Digest::Md5 => check::<Hmac<Md5>>(key, message, claimed),
            Digest::Sha256 => check::<Hmac<Sha256>>(key, message, claimed),
            Digest::Sha384 => check::<Hmac<Sha384>>(key, message, claimed),
        }
    }
}

fn keyed<M: Mac + KeyInit>(key: &Key) -> M {
    <M as KeyInit>::new_from_slice(&key.0).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What CPython computes.
    #[test]
    fn digests_are_cpythons() {
        let key = Key::new(b"secret".to_vec()).unwrap();
        let old: Vec<u8> = (0..0x14).collect();
        assert_eq!(hex(&Digest::Md5.of(&key, &old)), "7defa9cc46abc3583325d17ccda75190");
        let new: Vec<u8> = b"{sha256}".iter().copied().chain(0..0x28).collect();
        assert_eq!(
            hex(&Digest::Sha256.of(&key, &new)),
            "fc57fbe650d6124b98215e7b5d197d5807ad69982d275a9735ea2d56f1fa6989"
        );
        assert_eq!(hex(&Digest::Md5.of(&key, &new)), "8e48d2bb349b4b72b9382999ed5b62eb");
    }

    #[test]
    fn only_the_whole_right_digest_is_verified() {
        let (key, other) = (Key::new(vec![1]).unwrap(), Key::new(vec![2]).unwrap());
        for digest in [Digest::Md5, Digest::Sha256, Digest::Sha384] {
            let right = digest.of(&key, b"message");
            assert!(digest.verify(&key, b"message", &right));
            assert!(!digest.verify(&other, b"message", &right));
            assert!(!digest.verify(&key, b"massage", &right));
            assert!(!digest.verify(&key, b"message", &right[1..]));
            assert!(!digest.verify(&key, b"message", b""));
        }
    }

    #[test]
    fn keys_are_not_empty_and_not_printed() {
        assert!(matches!(Key::new(vec![]), Err(Error::BadKey(_))));
        assert_eq!(format!("{:?}", Key::new(b"secret".to_vec()).unwrap()), "Key(..)");
    }

    #[test]
    fn prefixes_are_read() {
        assert_eq!(Digest::prefixing(b"{sha256}abc").unwrap(), (Some(Digest::Sha256), &b"abc"[..]));
        assert_eq!(Digest::prefixing(b"{sha256abcdefghijklmnopq}").unwrap().0, None);
        assert_eq!(Digest::prefixing(b"abc{md5}").unwrap(), (None, &b"abc{md5}"[..]));
        assert!(Digest::prefixing(b"{sha1}abc").is_err());
    }
}
