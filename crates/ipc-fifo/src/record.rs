//! Records: the bytes of one write(2). Pure functions.
//!
//! | at | bytes | little endian |
//! |---|---|---|
//! | 0 | 4 | magic, with the version |
//! | 4 | 2 | length of what follows the header, at most 4,048 |
//! | 6 | 2 | zero |
//! | 8 | 8 | number of the message, as its writer counts |
//! | 16 | 8 | the writer: random, not 0, below 2⁶³ |
//! | 24 | 8 | where in the message these bytes belong |
//! | 32 | 8 | length of the message |
//! | 40 | 4 | zero |
//! | 44 | 4 | CRC-32 of the 44 bytes before |
//!
//! The check is of the header only: the kernel does not mix records (pipe(7)), so it has to tell records from the bytes of a program that
//! writes something else, and is not there to find errors of transmission.

/// How long a header is.
pub const HEADER: usize = 48;
/// How long a record may be: what the kernel does not mix with what others write, `PIPE_BUF`.
pub const MOST: usize = 4096;
/// How many bytes of a message fit into one record.
pub const PAYLOAD: usize = MOST - HEADER;
/// The last byte is the version.
const MAGIC: [u8; 4] = [0xB5, b'f', b'f', 1];
const CHECK: usize = 44;

const _: () = assert!(PAYLOAD <= u16::MAX as usize);

/// What stands in front of the bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many bytes of the message follow.
    pub len: usize,
    /// Which message of its writer.
    pub number: u64,
    /// Who wrote it.
    pub writer: u64,
    /// Where in the message the bytes belong.
    pub offset: u64,
    /// How long the message is.
    pub total: u64,
}

/// What some bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A header.
    Header(Header),
    /// They could become a header.
    Unclear,
    /// No header.
    Foreign,
}

impl Header {
    /// The bytes of a header. What it says has to be as [`parse`] demands.
    pub fn encode(&self) -> [u8; HEADER] {
        debug_assert!(self.is_sound());
        let mut bytes = [0; HEADER];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&(self.len as u16).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.writer.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.total.to_le_bytes());
        let check = crc32fast::hash(&bytes[..CHECK]);
        bytes[CHECK..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Whether this is the last record of its message.
    pub fn is_last(&self) -> bool {
        self.offset + self.len as u64 == self.total
    }

    /// Nothing that is computed from a header later on can overflow.
    fn is_sound(&self) -> bool {
        let end = self.offset.checked_add(self.len as u64);
        self.len <= PAYLOAD
            && (self.len > 0 || self.total == 0)
            && (1..=i64::MAX as u64).contains(&self.writer)
            && end.is_some_and(|end| end <= self.total)
    }
}

/// Looks for a header at the beginning of `bytes`, which may be anything.
#[inline]
pub fn parse(bytes: &[u8]) -> Beginning {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else {
        let known = bytes.len().min(MAGIC.len());
        return if bytes[..known] == MAGIC[..known] { Beginning::Unclear } else { Beginning::Foreign };
    };
    if header[..4] != MAGIC {
        return Beginning::Foreign; // where one is looked for, most are not
    }
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    let check = u32::from_le_bytes(std::array::from_fn(|i| header[CHECK + i]));
    let zeros = [header[6], header[7], header[40], header[41], header[42], header[43]];
    if zeros != [0; 6] || crc32fast::hash(&header[..CHECK]) != check {
        return Beginning::Foreign;
    }
    let len = u16::from_le_bytes([header[4], header[5]]).into();
    let header = Header { len, number: word(8), writer: word(16), offset: word(24), total: word(32) };
    if header.is_sound() { Beginning::Header(header) } else { Beginning::Foreign }
}

/// How many bytes to leave out, at least one, to come to where a header begins or could begin.
pub fn resync(bytes: &[u8]) -> usize {
    (1..bytes.len()).find(|at| parse(&bytes[*at..]) != Beginning::Foreign).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER_OF_ABC: Header = Header { len: 3, number: 7, writer: 0x0102_0304_0506_0708, offset: 0, total: 3 };

    fn any_header() -> impl Strategy<Value = Header> {
        (1..=PAYLOAD, any::<u64>(), 1..=i64::MAX as u64, 0..1u64 << 40, 0..1u64 << 40).prop_map(
            |(len, number, writer, offset, after)| {
                let total = offset + len as u64 + after;
                Header { len, number, writer, offset, total }
            },
        )
    }

    /// A peer in another language has to write these bytes.
    #[test]
    fn the_bytes_are_as_documented() {
        let mut expected = vec![0xB5, b'f', b'f', 1, 3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1];
        expected.extend([0; 8]);
        expected.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend(crc32fast::hash(&expected).to_le_bytes());
        assert_eq!(HEADER_OF_ABC.encode()[..], expected);
    }

    #[test]
    fn a_header_that_contradicts_itself_is_none() {
        let sound = HEADER_OF_ABC;
        let forged = [
            Header { len: PAYLOAD + 1, total: 5000, ..sound },
            Header { len: 0, total: 3, ..sound },
            Header { writer: 0, ..sound },
            Header { writer: 1 << 63, ..sound },
            Header { offset: 1, ..sound },
            Header { offset: u64::MAX, ..sound },
        ];
        for header in forged {
            assert_eq!(parse(&forge(&header)), Beginning::Foreign, "{header:?}");
        }
        assert_eq!(parse(&forge(&sound)), Beginning::Header(sound));
        let empty = Header { len: 0, total: 0, ..sound };
        assert_eq!(parse(&empty.encode()), Beginning::Header(empty));
    }

    /// The bytes of a header with a right check, whatever it says.
    fn forge(header: &Header) -> [u8; HEADER] {
        let mut bytes = HEADER_OF_ABC.encode();
        bytes[4..6].copy_from_slice(&(header.len as u16).to_le_bytes());
        for (at, word) in [(8, header.number), (16, header.writer), (24, header.offset), (32, header.total)] {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        let check = crc32fast::hash(&bytes[..CHECK]);
        bytes[CHECK..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_parsed(header in any_header(), behind in any::<Vec<u8>>()) {
            let mut bytes = header.encode().to_vec();
            bytes.extend(behind);
            prop_assert_eq!(parse(&bytes), Beginning::Header(header));
        }

        #[test]
        fn a_cut_header_is_unclear_and_a_changed_one_foreign(
            header in any_header(),
            len in 0..HEADER,
            bit in 0..8 * HEADER,
        ) {
            let mut bytes = header.encode();
            prop_assert_eq!(parse(&bytes[..len]), Beginning::Unclear);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(parse(&bytes), Beginning::Foreign);
        }

        #[test]
        fn resync_finds_the_next_header(
            header in any_header(),
            before in proptest::collection::vec(prop_oneof![Just(0xB5u8), Just(b'f'), any::<u8>()], 1..200),
        ) {
            let mut bytes = before.clone();
            bytes.extend(header.encode());
            prop_assert_eq!(resync(&bytes), before.len());
        }

        #[test]
        fn any_bytes_are_parsed(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
            prop_assert!((bytes.len().min(1)..=bytes.len()).contains(&resync(&bytes)));
        }
    }
}
