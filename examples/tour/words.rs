//! What a word is, and where a text can be cut.
//!
//! Words are counted as GNU `wc -w` does in a UTF-8 locale: they are parted by white space, of which the non-breaking kinds are
//! some. Control characters, the line and paragraph separators, and bytes that are not UTF-8 neither make a word nor part one,
//! as in `wc` before version 9.5; newer ones take them for parts of words. Code points without a character are parts of words
//! here, which only matters where a word consists of nothing else.

/// What a character, or a byte that is none, means for words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Part,
    Nothing,
    /// The first byte of a character of several bytes, or none at all.
    Beyond,
}

/// The classes of all bytes, as most are characters by themselves.
const CLASSES: [Class; 256] = {
    let mut classes = [Class::Beyond; 256];
    let mut byte = 0;
    while byte < 0x80 {
        classes[byte] = match byte as u8 {
            b'\t'..=b'\r' | b' ' => Class::Space,
            b'!'..=b'~' => Class::Part,
            _ => Class::Nothing,
        };
        byte += 1;
    }
    classes
};

/// How many words there are in `text`.
pub(crate) fn count(text: &[u8]) -> u64 {
    let mut words = 0;
    let mut inside = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let (class, len) = match CLASSES[usize::from(byte)] {
            Class::Beyond => decode(&text[at..]),
            class => (class, 1),
        };
        // No branches: whether a word ends here is nothing that a processor could predict.
        words += u64::from(!inside & (class == Class::Part));
        inside = (class == Class::Part) | (inside & (class == Class::Nothing));
        at += len;
    }
    words
}

/// The class of the character of several bytes at the start of `text`, and how many; of one byte if there is none.
fn decode(text: &[u8]) -> (Class, usize) {
    let len = match text[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    let character = text.get(..len).and_then(|bytes| std::str::from_utf8(bytes).ok()?.chars().next());
    match character {
        None => (Class::Nothing, 1),
        Some(character) => (class(character), len),
    }
}

fn class(character: char) -> Class {
    match character {
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => Class::Nothing,
        '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{205f}' | '\u{3000}' => Class::Space,
        '\u{a0}' | '\u{202f}' | '\u{2060}' => Class::Space, // non-breaking, as U+2007 above
        _ => Class::Part,
    }
}

/// Cuts `text` behind white space into parts of at most `size` bytes, so that the words of the parts are those of the whole. A
/// word that is longer than that makes its part as long as it needs.
pub(crate) fn chunks(text: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (chunk, after) = rest.split_at(cut(rest, size));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Where to cut `text`. ASCII's white space is enough: it has one byte and cannot be taken for a part of a character.
fn cut(text: &[u8], size: usize) -> usize {
    let is_space = |byte: &u8| CLASSES[usize::from(*byte)] == Class::Space;
    let Some((near, far)) = text.split_at_checked(size) else { return text.len() };
    let behind = near.iter().rposition(is_space).or_else(|| far.iter().position(is_space).map(|at| size + at));
    behind.map_or(text.len(), |at| at + 1)
}

#[cfg(test)]
mod tests;
