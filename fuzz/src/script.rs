//! An input read as a list of steps.

/// Takes steps and their parameters from the start of an input.
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Script<'a> {
        Script(input)
    }

    /// `None` at the end of the input.
    pub(crate) fn step(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A parameter, 0 at the end of the input.
    pub(crate) fn byte(&mut self) -> usize {
        self.step().unwrap_or(0).into()
    }

    pub(crate) fn short(&mut self) -> usize {
        self.byte() << 8 | self.byte()
    }

    /// The next `len` bytes, or what is left.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// An error's message without its numbers and without what it quotes: those say nothing about the way that was taken.
pub(crate) fn letters(text: &str) -> String {
    text.split(['`', '"']).step_by(2).flat_map(str::chars).filter(|letter| letter.is_ascii_alphabetic()).collect()
}

/// Bytes of which each place is different from its neighbours, and each message from the next.
pub(crate) fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + (i >> 8) * 13 + seed * 31) as u8).collect()
}
