//! Reading what the standard test harness prints.

/// The sum over all test programs seen.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
    /// The names of what failed, as the harness wrote them.
    pub(crate) failures: Vec<String>,
}

// === impl Tally ===

impl Tally {
    /// Takes one line of output into account.
    pub(crate) fn see(&mut self, line: &str) {
        // A test that prints to the real stdout may leave its words before the harness's own.
        if let Some(at) = line.find("test result: ") {
            self.passed += count(&line[at..], "passed");
            self.failed += count(&line[at..], "failed");
            self.ignored += count(&line[at..], "ignored");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }

    /// Whether tests ran and none failed: no test at all is no success.
    pub(crate) fn is_success(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

/// The number before `word` in `test result: ok. 12 passed; 0 failed; ...`.
fn count(result: &str, word: &str) -> usize {
    let Some((before, _)) = result.split_once(word) else { return 0 };
    before.split_whitespace().next_back().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_program_and_doctest_run_is_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test select::p2c ... ok",
            "test select::adaptive ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "   Doc-tests callsign_core",
            "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            "half a line of a test's test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            tally.see(line);
        }
        let failures = vec!["select::adaptive".to_owned()];
        assert_eq!(tally, Tally { passed: 15, failed: 1, ignored: 2, failures });
        assert!(!tally.is_success());
    }

    #[test]
    fn no_test_at_all_is_no_success() {
        let mut tally = Tally::default();
        tally.see(
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        assert!(!tally.is_success());
        tally.see(
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        assert!(tally.is_success());
    }
}
