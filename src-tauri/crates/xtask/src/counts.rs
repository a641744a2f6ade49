//! Reads how many tests passed from what test runners print.

/// How many passed and failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Passed.
    pub passed: u32,
    /// Failed, timed out, or could not run.
    pub failed: u32,
}

/// Whose text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// cargo test.
    Libtest,
    /// cargo nextest.
    Nextest,
    /// vitest.
    Vitest,
}

impl Counts {
    /// One step that succeeded.
    pub fn success() -> Self {
        Self { passed: 1, failed: 0 }
    }

    /// One step that failed.
    pub fn failure() -> Self {
        Self { passed: 0, failed: 1 }
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }

    /// From a runner's text. A runner that failed without saying how many, or that ran nothing, counts as one failure.
    pub fn read(runner: Runner, text: &str, succeeded: bool) -> Self {
        let text = without_colours(text);
        let lines = text.lines().map(str::trim).filter(|line| runner.sums_up(line));
        let mut counts = lines.fold(Self::default(), |sum, line| {
            sum.and(&Self {
                passed: number_before(line, "passed"),
                failed: number_before(line, "failed") + number_before(line, "timed out"),
            })
        });
        if counts.failed == 0 && (!succeeded || counts.passed == 0) {
            counts.failed = 1;
        }
        counts
    }
}

impl Runner {
    fn sums_up(self, line: &str) -> bool {
        match self {
            Self::Libtest => line.starts_with("test result:"),
            Self::Nextest => line.starts_with("Summary ["),
            Self::Vitest => line.starts_with("Tests "),
        }
    }
}

fn number_before(line: &str, word: &str) -> u32 {
    let Some((before, _)) = line.split_once(&format!(" {word}")) else { return 0 };
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split('\u{1b}');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{Counts, Runner};

    fn check(runner: Runner, text: &str, succeeded: bool, passed: u32, failed: u32) {
        assert_eq!(Counts::read(runner, text, succeeded), Counts { passed, failed }, "{text}");
    }

    #[test]
    fn reads_the_runners() {
        let libtest =
            "test result: ok. 3 passed; 0 failed; 1 ignored\ntest result: FAILED. 2 passed; 1 failed; 0 ignored";
        check(Runner::Libtest, libtest, false, 5, 1);
        check(
            Runner::Nextest,
            "     Summary [   0.1s] 7 tests run: 4 passed (1 slow), 2 failed, 1 timed out, 0 skipped",
            false,
            4,
            3,
        );
        check(
            Runner::Vitest,
            "\u{1b}[2m      Tests \u{1b}[22m \u{1b}[1m\u{1b}[32m12 passed\u{1b}[39m\u{1b}[22m (12)",
            true,
            12,
            0,
        );
        check(Runner::Vitest, "      Tests  1 failed | 12 passed (13)", false, 12, 1);
    }

    #[test]
    fn nothing_run_is_a_failure() {
        check(Runner::Nextest, "error: could not compile", false, 0, 1);
        check(Runner::Libtest, "test result: ok. 0 passed; 0 failed; 0 ignored", true, 0, 1);
        check(Runner::Libtest, "test result: ok. 9 passed; 0 failed; 0 ignored", false, 9, 1);
    }
}
