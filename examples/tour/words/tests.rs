use std::fs;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::Command;

use super::*;

/// The definition, word for word and slowly.
fn count_simply(text: &[u8]) -> u64 {
    // What is not UTF-8 has no say.
    let text: String = text.utf8_chunks().map(|chunk| chunk.valid()).collect();
    let is_space = |c: char| match c {
        '\u{85}' | '\u{2028}' | '\u{2029}' => false,
        c => c.is_whitespace() || c == '\u{2060}',
    };
    let is_part = |c: char| !c.is_control() && c != '\u{2028}' && c != '\u{2029}';
    text.split(is_space).filter(|word| word.contains(is_part)).count() as u64
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    /// Up to `len` pieces of what is difficult: all kinds of space, controls, long characters, and halves of characters.
    fn text(&mut self, len: usize) -> Vec<u8> {
        const PIECES: [&[u8]; 32] = [
            b" ",
            b"\n",
            b"\t",
            b"\x0b",
            b"\x0c",
            b"\r",
            b"a",
            b"word",
            b"\0",
            b"\x01",
            b"\x1b",
            b"\x7f",
            "é".as_bytes(),
            "語".as_bytes(),
            "🦀".as_bytes(),
            "\u{85}".as_bytes(),
            "\u{a0}".as_bytes(),
            "\u{1680}".as_bytes(),
            "\u{2003}".as_bytes(),
            "\u{2007}".as_bytes(),
            "\u{200b}".as_bytes(),
            "\u{2028}".as_bytes(),
            "\u{202f}".as_bytes(),
            "\u{205f}".as_bytes(),
            "\u{2060}".as_bytes(),
            "\u{3000}".as_bytes(),
            "\u{feff}".as_bytes(),
            b"\xff",
            b"\xe2",
            b"\xe2\x80",
            b"\x80",
            b"\xed\xa0\x80",
        ];
        let len = self.below(len + 1);
        (0..len).flat_map(|_| PIECES[self.below(PIECES.len())]).copied().collect()
    }
}

#[test]
fn words_are_those_of_the_simple_definition() {
    let mut random = Random(1);
    for round in 0..20_000 {
        let text = random.text(40);
        assert_eq!(count(&text), count_simply(&text), "round {round}: {}", text.escape_ascii());
        let bytes: Vec<u8> = (0..random.below(40)).map(|_| random.below(256) as u8).collect();
        assert_eq!(count(&bytes), count_simply(&bytes), "round {round}: {}", bytes.escape_ascii());
    }
    for character in '\0'..=char::MAX {
        let text = format!("{character} a{character}b {character}");
        assert_eq!(count(text.as_bytes()), count_simply(text.as_bytes()), "{character:?}");
    }
}

#[test]
fn chunks_are_the_text_and_have_its_words() {
    let mut random = Random(2);
    for round in 0..20_000 {
        let text = random.text(60);
        let size = 1 + random.below(20);
        let chunks: Vec<&[u8]> = chunks(&text, size).collect();
        assert_eq!(chunks.concat(), text, "round {round}");
        let words: u64 = chunks.iter().map(|chunk| count(chunk)).sum();
        assert_eq!(words, count(&text), "round {round}, size {size}: {}", text.escape_ascii());
    }
}

#[test]
fn chunks_are_as_long_as_they_may_be() {
    let cut = |text, size| chunks(text, size).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect::<Vec<_>>();
    assert_eq!(cut(b"one two three", 8), ["one two ", "three"]);
    assert_eq!(cut(b"one two three", 7), ["one ", "two ", "three"]);
    assert_eq!(cut(b"a muchtoolong word", 4), ["a ", "muchtoolong ", "word"]);
    assert_eq!(cut(b"muchtoolong", 4), ["muchtoolong"]);
    assert_eq!(cut(b"exact", 5), ["exact"]);
    assert_eq!(cut(b"", 5), [""; 0]);
}

/// What `wc -w` says for each of `files`; or why it cannot be asked.
fn ask_wc(files: &[Scratch]) -> Result<Vec<u64>, String> {
    let run = |args: &[PathBuf]| {
        let output = Command::new("wc").env("LC_ALL", "C.UTF-8").env_remove("POSIXLY_CORRECT").args(args).output();
        output.map_err(|error| format!("it cannot be run: {error}"))
    };
    let version = run(&["--version".into()])?.stdout;
    if !version.starts_with(b"wc (GNU coreutils)") {
        return Err("it is not GNU's".to_string());
    }
    // Two words in UTF-8; one, where `wc` finds no such locale.
    let probe = Scratch::new("probe", "a\u{3000}b".as_bytes());
    let args = [&probe].into_iter().chain(files).map(|file| file.0.clone());
    let args: Vec<PathBuf> = [PathBuf::from("-w")].into_iter().chain(args).collect();
    let output = run(&args)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = |line: &str| line.split_whitespace().next().unwrap().parse().unwrap();
    let mut counts: Vec<u64> = lines.lines().take(1 + files.len()).map(words).collect();
    if counts.remove(0) != 2 { Err("there is no UTF-8 locale".to_string()) } else { Ok(counts) }
}

/// Not `eprintln`, which is not shown where the test passes.
fn say_not_compared(reason: &str) {
    let _ = writeln!(std::io::stderr(), "words are not compared with those of wc: {reason}");
}

/// A file that goes when it is dropped, also by a test that fails.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &[u8]) -> Scratch {
        let path =
            std::env::temp_dir().join(format!("tour-{name}.{}.{:?}", std::process::id(), std::thread::current().id()));
        fs::write(&path, text).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn wc_counts_as_many_in_the_files_of_the_repository() {
    let texts = crate::input::own_files().unwrap();
    assert!(texts.len() > 20, "only {} files", texts.len());
    // Copies, as somebody may be writing the files.
    let copies: Vec<Scratch> =
        texts.iter().enumerate().map(|(i, text)| Scratch::new(&format!("copy{i}"), text)).collect();
    match ask_wc(&copies) {
        Err(reason) => say_not_compared(&reason),
        Ok(theirs) => {
            for (text, theirs) in texts.iter().zip(theirs) {
                assert_eq!(count(text), theirs, "in the file that begins with {:?}", text.lines().next());
            }
        }
    }
}

#[test]
fn wc_parts_words_at_the_same_characters() {
    // Between letters, so that it does not matter whether a character alone makes a word, where versions differ. And not the
    // two separators at which newer versions part words.
    let mut text = String::new();
    let characters: Vec<char> = ('\u{1}'..='\u{3100}').filter(|c| !matches!(c, '\u{2028}' | '\u{2029}')).collect();
    characters.iter().for_each(|character| text.extend(['a', *character, 'b', '\n']));
    let file = Scratch::new("unicode", text.as_bytes());
    match ask_wc(&[file]) {
        Err(reason) => say_not_compared(&reason),
        Ok(theirs) => {
            assert_eq!(count(text.as_bytes()), theirs[0]);
            assert!(theirs[0] > characters.len() as u64 + 20);
        }
    }
}
