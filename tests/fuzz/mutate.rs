//! Small changes to known inputs, the same in every run.

/// A source of changes.
pub struct Mutator {
    state: u64,
    words: Vec<Vec<u8>>,
}

impl Mutator {
    /// `words`: what may be put in besides bytes.
    pub fn new(seed: u64, words: Vec<Vec<u8>>) -> Self {
        Self { state: seed | 1, words }
    }

    fn below(&mut self, most: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % most.max(1) as u64) as usize
    }

    /// One of these, changed in a few places.
    pub fn next(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, inputs);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        const TELLING: &[u8] = b"\r\n\0 ()[]{}\"\\*%+~&<>.,:;@$\x80\xff059aZ";
        let at = self.below(bytes.len() + 1);
        let end = (at + 1 + self.below(12)).min(bytes.len());
        match self.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 => bytes.insert(at, TELLING[self.below(TELLING.len())]),
            2 if at < bytes.len() => bytes[at] = TELLING[self.below(TELLING.len())],
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            5 if !self.words.is_empty() => {
                let which = self.below(self.words.len());
                bytes.splice(at..at, self.words[which].clone());
            }
            _ => {
                let other = &inputs[self.below(inputs.len())];
                let from = self.below(other.len() + 1);
                let to = (from + self.below(60)).min(other.len());
                bytes.splice(at..at, other[from..to].to_vec());
            }
        }
    }
}
