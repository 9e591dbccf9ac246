//! Counts tests from what `cargo test` writes, and keeps quiet about the output of those that passed.
//!
//! Each test program writes `running N tests`, a line for each test, and `test result: ...` at its end. A program
//! that dies in between writes no result: the tests that it did finish count, and its death counts as a failure.
//! With `--show-output` the output of passing tests comes too, which is how a test that was skipped is seen.

/// The sum over all test programs so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed, and programs that died.
    pub(crate) failed: u64,
    /// Tests that did not run, and tests that passed without running: lines that begin with the word SKIPPED.
    pub(crate) skipped: u64,
    program: Option<Program>,
    in_successes: bool,
}

/// A test program that has not written its result yet.
#[derive(Debug, Default, PartialEq, Eq)]
struct Program {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Takes the next line; true if it is worth showing.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.in_successes = false;
            self.program = None;
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            self.skipped += count(result, "ignored");
            return true;
        }
        if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.program_died();
            self.program = Some(Program::default());
            return line != "running 0 tests";
        }
        match line {
            "successes:" => self.in_successes = true,
            "failures:" => self.in_successes = false,
            _ => {}
        }
        if !self.in_successes
            && let Some(program) = &mut self.program
            && line.starts_with("test ")
        {
            program.passed += u64::from(line.ends_with(" ... ok"));
            program.failed += u64::from(line.ends_with(" ... FAILED"));
        }
        let skipped = line.trim_start().get(..7).is_some_and(|word| word.eq_ignore_ascii_case("skipped"));
        self.skipped += u64::from(skipped);
        skipped || (!self.in_successes && !line.is_empty())
    }

    /// All lines have come, and `cargo test` ended well or not. A bad end always counts at least one failure:
    /// tests that do not build are not tests that passed.
    pub(crate) fn end(&mut self, success: bool) {
        self.program_died();
        if !success && self.failed == 0 {
            self.failed = 1;
        }
    }

    /// The line that sums up.
    pub(crate) fn summary(&self) -> String {
        format!("{} passed, {} failed", self.passed, self.failed)
    }

    fn program_died(&mut self) {
        if let Some(program) = self.program.take() {
            self.passed += program.passed;
            self.failed += program.failed + 1;
        }
        self.in_successes = false;
    }
}

/// The number before `word` in `ok. 5 passed; 0 failed; 1 ignored; ...`.
fn count(result: &str, word: &str) -> u64 {
    result
        .split(['.', ';'])
        .filter_map(|part| part.trim().strip_suffix(word))
        .find_map(|number| number.trim().parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str, success: bool) -> (Tally, Vec<&str>) {
        let mut tally = Tally::default();
        let shown = text.lines().filter(|line| tally.line(line)).collect();
        tally.end(success);
        (tally, shown)
    }

    const TWO_PROGRAMS: &str = "\nrunning 2 tests\ntest a ... ok\ntest b ... ok\n\nsuccesses:\n\n---- a stdout ----\n\
        test c ... FAILED\n\n\nsuccesses:\n    a\n    b\n\n\
        test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n\
        running 2 tests\ntest d ... ok\ntest e ... FAILED\n\nfailures:\n\n---- e stdout ----\nboom\n\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";

    #[test]
    fn programs_are_summed_up() {
        let (tally, _) = tally(TWO_PROGRAMS, false);
        assert_eq!(tally.summary(), "3 passed, 1 failed");
    }

    #[test]
    fn output_of_failed_tests_is_shown_and_that_of_passed_ones_is_not() {
        let (_, shown) = tally(TWO_PROGRAMS, false);
        assert!(shown.contains(&"boom") && shown.contains(&"test e ... FAILED"), "{shown:?}");
        assert!(!shown.contains(&"---- a stdout ----") && !shown.contains(&"test c ... FAILED"), "{shown:?}");
    }

    #[test]
    fn skipped_and_ignored_tests_are_counted_and_shown() {
        let (tally, shown) = tally(
            "running 2 tests\ntest a ... ok\ntest b ... ignored\n\nsuccesses:\n\n---- a stdout ----\n\
             SKIPPED: no /dev/kvm\n\ntest result: ok. 1 passed; 0 failed; 1 ignored; 0 measured",
            true,
        );
        assert_eq!((tally.passed, tally.failed, tally.skipped), (1, 0, 2));
        assert!(shown.contains(&"SKIPPED: no /dev/kvm"));
    }

    #[test]
    fn program_that_dies_keeps_what_it_finished_and_fails_once() {
        let (dead, _) = tally("running 3 tests\ntest a ... ok\ntest b ... ok\n", false);
        assert_eq!(dead.summary(), "2 passed, 1 failed");
        let (then_another, _) = tally(
            "running 3 tests\ntest a ... ok\nrunning 1 test\ntest x ... ok\ntest result: ok. 1 passed; 0 failed;",
            false,
        );
        assert_eq!(then_another.summary(), "2 passed, 1 failed");
    }

    #[test]
    fn tests_that_do_not_build_are_a_failure() {
        assert_eq!(tally("", false).0.summary(), "0 passed, 1 failed");
        assert_eq!(tally("", true).0.summary(), "0 passed, 0 failed");
    }
}
