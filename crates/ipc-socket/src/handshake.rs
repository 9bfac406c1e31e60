//! How both ends show each other that they have the same key: the exchange of CPython's `multiprocessing.connection`, as a machine
//! that is fed bytes and gives bytes.
//!
//! ```text
//! server                                              client
//!   #CHALLENGE#{sha256} + 40 random bytes    ──────>
//!                                            <──────  {sha256} + HMAC of what came after #CHALLENGE#
//!   #WELCOME# or #FAILURE#                   ──────>
//!                                            <──────  #CHALLENGE#{sha256} + 40 random bytes
//!   {sha256} + HMAC                          ──────>
//!                                            <──────  #WELCOME# or #FAILURE#
//! ```
//!
//! Each is a frame, a length (`i32`, big endian) before it. Up to Python 3.11 a challenge is 20 random bytes, and the answer the 16 bytes of an
//! HMAC with MD5, whatever the challenge looks like. So who sends the newer challenge and takes both answers, and answers by the
//! challenge's form, talks to all of them.
//!
//! It shows to both that the other end has the key, or has got at somebody who has: challenge and answer can be passed on, also from one
//! client to another one. It does not hide what is sent afterwards.
//!
//! # References
//! CPython `Lib/multiprocessing/connection.py`, `deliver_challenge` and `answer_challenge`; RFC 2104.

use std::sync::Arc;

use ipc_core::crash_point;

use crate::digest::{Digest, Key};
use crate::error::{Error, Result};

const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";
/// The longest message of the exchange; CPython's limit.
const MAX_MESSAGE: usize = 256;
const HEADER: usize = 4;
const RANDOM: usize = 40;
/// The length of a challenge up to Python 3.11, and of the answer to it.
const OLD_CHALLENGE: usize = 20;
const OLD_ANSWER: usize = 16;

/// The key, and what is accepted as a proof of having it.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) key: Arc<Key>,
    pub(crate) refuse_md5: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

/// What the next message of the other end must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Challenge,
    Answer,
    Verdict,
    /// Nothing any more.
    Over,
}

/// One exchange, as one end sees it.
#[derive(Debug)]
pub(crate) struct Handshake {
    terms: Terms,
    side: Side,
    step: Step,
    /// What we have challenged the other end with.
    challenge: Vec<u8>,
    received: Vec<u8>,
    output: Vec<u8>,
}

impl Handshake {
    /// The server begins with a challenge.
    pub(crate) fn server(terms: Terms) -> Result<Handshake> {
        let mut handshake = Handshake::new(terms, Side::Server, Step::Answer);
        handshake.challenge()?;
        Ok(handshake)
    }

    pub(crate) fn client(terms: Terms) -> Handshake {
        Handshake::new(terms, Side::Client, Step::Challenge)
    }

    fn new(terms: Terms, side: Side, step: Step) -> Handshake {
        Handshake { terms, side, step, challenge: Vec::new(), received: Vec::new(), output: Vec::new() }
    }

    /// What is to be sent now; also after an error, as far as it can be.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether nothing more is to be received. What is to be sent still is.
    pub(crate) fn is_over(&self) -> bool {
        self.step == Step::Over
    }

    /// Whether the other end has said nothing so far.
    pub(crate) fn is_untouched(&self) -> bool {
        self.side == Side::Client && self.step == Step::Challenge && self.received.is_empty()
    }

    /// How many bytes may be read: none that come after the exchange. Only the client's verdict is followed by something of the same end.
    pub(crate) fn wants(&self) -> usize {
        let whole = match (self.side, self.step) {
            (_, Step::Over) => return 0,
            (Side::Server, Step::Verdict) => HEADER + WELCOME.len(),
            _ => HEADER + MAX_MESSAGE,
        };
        whole.saturating_sub(self.received.len())
    }

    /// Takes in what was read, at most what was wanted.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<()> {
        self.received.extend_from_slice(bytes);
        while let Some((header, rest)) = self.received.split_first_chunk::<HEADER>() {
            let len = match usize::try_from(i32::from_be_bytes(*header)) {
                Ok(len) if self.step == Step::Verdict && len != WELCOME.len() => return Err(self.mistake("no verdict")),
                Ok(len) if len <= MAX_MESSAGE => len,
                _ => return Err(self.mistake("a message of an impossible length")),
            };
            let Some(message) = rest.get(..len).map(<[u8]>::to_vec) else { return Ok(()) };
            self.received.drain(..HEADER + len);
            self.step(&message)?;
        }
        Ok(())
    }

    fn step(&mut self, message: &[u8]) -> Result<()> {
        match self.step {
            Step::Challenge => {
                let Some(challenge) = message.strip_prefix(CHALLENGE) else {
                    return Err(self.mistake("no challenge"));
                };
                let answer = self.answer(challenge)?;
                self.send(&answer);
                self.step = Step::Verdict;
                crash_point!("handshake.answered");
            }
            Step::Answer => {
                if let Err(error) = self.judge(message) {
                    self.send(FAILURE);
                    return Err(error);
                }
                self.send(WELCOME);
                self.step = match self.side {
                    Side::Server => Step::Challenge,
                    Side::Client => Step::Over,
                };
                crash_point!("handshake.welcomed");
            }
            Step::Verdict => {
                match message {
                    WELCOME => {}
                    FAILURE => return Err(Error::KeyRefused),
                    _ => return Err(self.mistake("no verdict")),
                }
                match self.side {
                    Side::Server => self.step = Step::Over,
                    Side::Client => {
                        self.challenge()?;
                        self.step = Step::Answer;
                    }
                }
            }
            Step::Over => return Err(self.mistake("more than belongs to it")),
        }
        Ok(())
    }

    /// Demands a proof.
    fn challenge(&mut self) -> Result<()> {
        let mut random = [0; RANDOM];
        getrandom::fill(&mut random).map_err(|error| Error::Io {
            doing: "get random bytes",
            source: error
                .raw_os_error()
                .map_or_else(|| std::io::Error::other(error), std::io::Error::from_raw_os_error),
        })?;
        self.challenge = [Digest::Sha256.prefix(), &random].concat();
        let message = [CHALLENGE, &self.challenge].concat();
        self.send(&message);
        crash_point!("handshake.challenged");
        Ok(())
    }

    /// The answer to the other end's challenge, in the form that the challenge asks for.
    fn answer(&self, challenge: &[u8]) -> Result<Vec<u8>> {
        let old = challenge.len() == OLD_CHALLENGE;
        let digest = match challenge.len() {
            OLD_CHALLENGE => Digest::Md5,
            0..OLD_CHALLENGE => return Err(Error::Protocol("a challenge that is too short")),
            _ => Digest::prefixing(challenge)?.0.ok_or(Error::Protocol("a challenge without the name of a digest"))?,
        };
        self.permit(digest)?;
        let mac = digest.of(&self.terms.key, challenge);
        Ok(if old { mac } else { [digest.prefix(), &mac].concat() })
    }

    /// Whether the other end has answered our challenge as one who has the key.
    fn judge(&self, answer: &[u8]) -> Result<()> {
        let (digest, mac) = match answer.len() {
            OLD_ANSWER => (Digest::Md5, answer),
            _ => match Digest::prefixing(answer)? {
                (Some(digest), mac) => (digest, mac),
                (None, _) => return Err(self.mistake("no answer to the challenge")),
            },
        };
        self.permit(digest)?;
        if digest.verify(&self.terms.key, &self.challenge, mac) { Ok(()) } else { Err(Error::WrongKey) }
    }

    fn permit(&self, digest: Digest) -> Result<()> {
        if digest == Digest::Md5 && self.terms.refuse_md5 { Err(Error::WeakDigest) } else { Ok(()) }
    }

    fn send(&mut self, message: &[u8]) {
        self.output.extend_from_slice(&(message.len() as u32).to_be_bytes());
        self.output.extend_from_slice(message);
    }

    /// A server that sends something else than a challenge does not ask for a key.
    fn mistake(&self, why: &'static str) -> Error {
        match (self.side, self.step) {
            (Side::Client, Step::Challenge) => Error::NoChallenge,
            _ => Error::Protocol(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms(key: &[u8]) -> Terms {
        Terms { key: Arc::new(Key::new(key.to_vec()).unwrap()), refuse_md5: false }
    }

    fn frame(message: &[u8]) -> Vec<u8> {
        [&(message.len() as u32).to_be_bytes(), message].concat()
    }

    /// Carries bytes to and fro, `cut` at a time, until both ends have come to an end.
    fn run(server: &mut Handshake, client: &mut Handshake, cut: usize) -> (Result<()>, Result<()>) {
        let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
        let (mut of_server, mut of_client) = (None, None);
        loop {
            to_client.extend(server.take_output());
            to_server.extend(client.take_output());
            let mut moved = false;
            for (end, bytes, result) in
                [(&mut *server, &mut to_server, &mut of_server), (&mut *client, &mut to_client, &mut of_client)]
            {
                let n = end.wants().min(bytes.len()).min(cut);
                if n > 0 && result.is_none() {
                    moved = true;
                    let part: Vec<u8> = bytes.drain(..n).collect();
                    *result = end.receive(&part).err();
                }
            }
            if !moved {
                let outcome = |error: Option<Error>| error.map_or(Ok(()), Err);
                return (outcome(of_server), outcome(of_client));
            }
        }
    }

    fn over(server: &Handshake, client: &Handshake) -> bool {
        server.is_over() && client.is_over()
    }

    #[test]
    fn both_ends_with_the_same_key_agree_however_the_bytes_are_cut() {
        for cut in 1..80 {
            let (mut server, mut client) =
                (Handshake::server(terms(b"key")).unwrap(), Handshake::client(terms(b"key")));
            let results = run(&mut server, &mut client, cut);
            assert!(results.0.is_ok() && results.1.is_ok() && over(&server, &client), "{cut}: {results:?}");
        }
    }

    #[test]
    fn another_key_is_an_error_at_both_ends() {
        let (mut server, mut client) = (Handshake::server(terms(b"key")).unwrap(), Handshake::client(terms(b"kez")));
        let results = run(&mut server, &mut client, 1000);
        assert!(matches!(results, (Err(Error::WrongKey), Err(Error::KeyRefused))), "{results:?}");
        assert!(!server.is_over() && !client.is_over());
    }

    /// A client has answered rightly, as a server of another key cannot; the client finds out in its turn.
    #[test]
    fn a_server_without_the_key_is_found_out() {
        let mut client = Handshake::client(terms(b"key"));
        let challenge = [CHALLENGE, b"{sha256}", &[7; RANDOM]].concat();
        client.receive(&frame(&challenge)).unwrap();
        client.receive(&frame(WELCOME)).unwrap();
        let ours = client.take_output();
        assert!(ours.windows(CHALLENGE.len()).any(|part| part == CHALLENGE));
        assert!(matches!(client.receive(&frame(&[0; OLD_ANSWER])), Err(Error::WrongKey)));
        assert_eq!(client.take_output(), frame(FAILURE));
        // Nor does our own answer, sent back to us, pass for theirs.
        let mut client = Handshake::client(terms(b"key"));
        client.receive(&frame(&challenge)).unwrap();
        let answer = client.take_output();
        client.receive(&frame(WELCOME)).unwrap();
        assert!(matches!(client.receive(&answer), Err(Error::WrongKey)));
    }

    /// The other end as CPython up to 3.11: 20 bytes, and 16 back.
    #[test]
    fn the_old_form_is_spoken_and_can_be_refused() {
        let key = Key::new(b"secret".to_vec()).unwrap();
        let old: Vec<u8> = [CHALLENGE, &(0..0x14).collect::<Vec<u8>>()].concat();
        let mut client = Handshake::client(terms(b"secret"));
        client.receive(&frame(&old)).unwrap();
        let answer = client.take_output();
        assert_eq!(answer, frame(&Digest::Md5.of(&key, &old[CHALLENGE.len()..])));
        client.receive(&frame(WELCOME)).unwrap();
        let asked = client.take_output()[HEADER + CHALLENGE.len()..].to_vec();
        client.receive(&frame(&Digest::Md5.of(&key, &asked))).unwrap();
        assert!(client.is_over());
        assert_eq!(client.take_output(), frame(WELCOME));

        let strict = Terms { refuse_md5: true, ..terms(b"secret") };
        let mut client = Handshake::client(strict.clone());
        assert!(matches!(client.receive(&frame(&old)), Err(Error::WeakDigest)));
        assert!(client.take_output().is_empty());
        let mut server = Handshake::server(strict).unwrap();
        let asked = server.take_output()[HEADER + CHALLENGE.len()..].to_vec();
        assert!(matches!(server.receive(&frame(&Digest::Md5.of(&key, &asked))), Err(Error::WeakDigest)));
        assert_eq!(server.take_output(), frame(FAILURE));
    }

    #[test]
    fn whatever_else_comes_is_an_error_at_once() {
        let server = || Handshake::server(terms(b"key")).unwrap();
        let client = || Handshake::client(terms(b"key"));
        for bytes in [&[0xff; 4][..], &[0x7f, 0xff, 0xff, 0xff], &[0, 0, 1, 1], b"GET / HTTP/1.1"] {
            assert!(matches!(server().receive(bytes), Err(Error::Protocol(_))), "{bytes:?}");
            assert!(matches!(client().receive(bytes), Err(Error::NoChallenge)), "{bytes:?}");
        }
        assert!(matches!(server().receive(&frame(b"")), Err(Error::Protocol(_))));
        assert!(matches!(client().receive(&frame(b"hello")), Err(Error::NoChallenge)));
        assert!(matches!(client().receive(&frame(&[CHALLENGE, &[1; 19]].concat())), Err(Error::Protocol(_))));
        assert!(matches!(client().receive(&frame(&[CHALLENGE, &[1; 21]].concat())), Err(Error::Protocol(_))));
        assert!(client().receive(&frame(&[CHALLENGE, b"{sha3_256}", &[1; 40]].concat())).is_err());
    }

    #[test]
    fn no_byte_after_the_exchange_is_read() {
        let (mut server, mut client) = (Handshake::server(terms(b"key")).unwrap(), Handshake::client(terms(b"key")));
        client.receive(&server.take_output()).unwrap();
        server.receive(&client.take_output()).unwrap();
        client.receive(&server.take_output()).unwrap();
        server.receive(&client.take_output()).unwrap();
        client.receive(&server.take_output()).unwrap();
        assert_eq!((client.wants(), server.wants()), (0, HEADER + WELCOME.len()));
        let mut last = client.take_output();
        assert_eq!(last.len(), server.wants());
        last.extend_from_slice(b"data");
        server.receive(&last[..5]).unwrap();
        assert_eq!(server.wants(), last.len() - 4 - 5);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_wait_for_more(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..50) {
            for mut end in [Handshake::server(terms(b"key")).unwrap(), Handshake::client(terms(b"key"))] {
                let mut rest = &bytes[..];
                while end.wants() > 0 && !rest.is_empty() {
                    let n = end.wants().min(rest.len()).min(cut);
                    if end.receive(&rest[..n]).is_err() {
                        break;
                    }
                    rest = &rest[n..];
                }
                prop_assert!(!end.is_over());
            }
        }
    }
}
