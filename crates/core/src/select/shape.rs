//! Which nodes a call should go to, where filters say which it may.

use std::{fmt, str::FromStr};

use super::{Filter, Filters};
use crate::error::{Error, Result};

const OP: &str = "shape the calls";

/// Which nodes calls should go to, among those that pass the filters. The default is: all alike.
///
/// - A *split* sends a share of the calls to some nodes, such as 10 % to a new version, and the rest to the others. Calls with a
///   [key](super::PickRequest::hash) always fall on the same side.
/// - A *preference* is an order: the first condition that any usable node meets is the one that holds. When a better one holds again
///   it is returned to, once it has held for a while.
/// - *Nearness* is an order of zones. Calls stay in the first zone while it has more than about 70 % of its nodes, and spill over
///   into the next in proportion to what is missing below that. Besides, where the [strategy](super::Strategy) compares nodes
///   (adaptive, least request), each call looks at one node of the next zone, drawn by chance, and goes there if the one near by costs
///   more than twice as much: so a zone that has too many clients is helped by the others ([counted](super::Slate::spills)).
///
/// All three may be combined, in this order. They are computed when a slate is made; a pick draws one number more, and in a
/// zone one for the node that it looks at. A condition that
/// leaves nobody to call is left, and [counted](super::Slate::fallbacks); a filter never is.
///
/// ```
/// use callsign_core::select::{Filter, Shape};
///
/// let canary = Shape::default().split(Filter::version("2"), 10.0)?;
/// let lane = Shape::default().prefer(Filter::group("blue")).prefer(Filter::group("green"));
/// let home = Shape::default().near(["eu-1a", "eu-1b"]);
///
/// assert!(canary.split(Filter::version("3"), 95.0).is_err(), "more than all of the calls");
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    /// Conditions, each with its share of the calls from zero to one.
    pub(super) splits: Vec<(Filters, f64)>,
    pub(super) tiers: Vec<Filters>,
    /// A node that meets no preference is not called.
    pub(super) preferred_only: bool,
    pub(super) zones: Vec<String>,
}

// === impl Shape ===

impl Shape {
    /// Sends `percent` of the calls to nodes that meet these conditions, and not to others. A node that meets several counts for the
    /// first.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless it is from 0 to 100, with all splits together.
    pub fn split(mut self, conditions: impl Into<Filters>, percent: f64) -> Result<Self> {
        let conditions = conditions.into();
        if !(0.0..=100.0).contains(&percent) {
            let message = format!("the share of {conditions} is from 0 to 100 %, not {percent}");
            return Err(Error::invalid(OP, message));
        }
        let sum = self.splits.iter().map(|(_, share)| share * 100.0).sum::<f64>() + percent;
        if sum > 100.0 + 1e-6 {
            let message = format!("with {conditions} the splits make {sum} % of the calls together");
            return Err(Error::invalid(OP, message).with_hint("what they leave goes to the other nodes"));
        }
        self.splits.push((conditions, percent / 100.0));
        Ok(self)
    }

    /// Prefers nodes that meet these conditions, after those preferred before.
    #[must_use]
    pub fn prefer(mut self, conditions: impl Into<Filters>) -> Self {
        self.tiers.push(conditions.into());
        self
    }

    /// Calls no node that meets none of the preferences.
    #[must_use]
    pub fn preferred_only(self) -> Self {
        Self { preferred_only: true, ..self }
    }

    /// Prefers nodes in these zones, the first most.
    #[must_use]
    pub fn near<Z: Into<String>>(mut self, zones: impl IntoIterator<Item = Z>) -> Self {
        self.zones.extend(zones.into_iter().map(Into::into));
        self
    }

    /// Whether all nodes are alike.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.splits.is_empty() && self.tiers.is_empty() && self.zones.is_empty()
    }

    /// Whether a key decides where a call goes.
    #[must_use]
    pub fn uses_key(&self) -> bool {
        !self.splits.is_empty()
    }

    /// Fails if the shape asks for what `filters` forbid.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) with the two that contradict each other.
    pub fn check_within(&self, filters: &Filters) -> Result<()> {
        filters.check()?;
        let asked = self.splits.iter().map(|(conditions, _)| conditions).chain(&self.tiers);
        for conditions in asked {
            filters.and_all(conditions).check()?;
        }
        match self.zones.first() {
            Some(zone) if !self.zones.iter().any(|zone| filters.and(Filter::zone(zone)).check().is_ok()) => {
                filters.and(Filter::zone(zone)).check()
            }
            _ => Ok(()),
        }
    }

    /// Reads splits: `version:2@10,group:lab@5`.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn with_splits(self, text: &str) -> Result<Self> {
        text.split(',').try_fold(self, |shape, part| {
            let wrong = || {
                Error::invalid(OP, format!("{part:?} is no split"))
                    .with_hint("write conditions and a percentage: version:2@10")
            };
            let (conditions, percent) = part.rsplit_once('@').ok_or_else(wrong)?;
            let percent = percent.trim_end_matches('%').parse().map_err(|_| wrong())?;
            shape.split(conditions_of(conditions)?, percent)
        })
    }

    /// Reads preferences, the first the best: `group:blue+version:2,group:blue`. The last may be `none`, for
    /// [`preferred_only`](Self::preferred_only).
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn with_preferences(self, text: &str) -> Result<Self> {
        let (text, only) = match text.strip_suffix(",none") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let shape = text
            .split(',')
            .try_fold(self, |shape, part| Ok::<_, Error>(shape.prefer(conditions_of(part)?)))?;
        Ok(if only { shape.preferred_only() } else { shape })
    }
}

/// `group:blue+version:2`
fn conditions_of(text: &str) -> Result<Filters> {
    text.split('+').map(|one| Filter::from_str(&one.replacen(':', "=", 1))).collect()
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(
            self.splits.iter().map(|(conditions, share)| format!("{} % to {conditions}", share * 100.0)),
        );
        words.extend(self.tiers.iter().map(|conditions| format!("rather {conditions}")));
        words.extend(self.preferred_only.then(|| "nobody else".to_owned()));
        words.extend(self.zones.iter().map(|zone| format!("near {zone}")));
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_the_same_as_code() {
        let shape = Shape::default().with_splits("version:2@10,group:lab@2.5%").unwrap();
        let code = Shape::default().split(Filter::version("2"), 10.0).unwrap();
        assert_eq!(shape, code.split(Filter::group("lab"), 2.5).unwrap());

        let shape = Shape::default().with_preferences("group:blue+version:2,label.team:a:b,none").unwrap();
        let both = Filters::from(Filter::group("blue")).and(Filter::version("2"));
        let code = Shape::default().prefer(both).prefer(Filter::label("team", "a:b")).preferred_only();
        assert_eq!(shape, code);
        assert_eq!(code.to_string(), "rather version=2 and group=blue, rather label.team=a:b, nobody else");
    }

    #[test]
    fn shares_that_cannot_be_are_refused() {
        for percent in [-1.0, 100.1, f64::NAN, f64::INFINITY] {
            assert!(Shape::default().split(Filter::version("2"), percent).is_err(), "{percent}");
        }
        let shape = Shape::default().split(Filter::version("2"), 60.0).unwrap();
        let error = shape.split(Filter::version("3"), 50.0).unwrap_err();
        assert!(error.to_string().contains("110 %"), "{error}");
        for text in ["version:2", "version:2@", "version:2@x", "@5", "grup:a@5", "version@5"] {
            assert!(Shape::default().with_splits(text).is_err(), "{text}");
        }
        for text in ["", "none", "group:a,,none", "group=a+b"] {
            assert!(Shape::default().with_preferences(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_filters_forbid_cannot_be_asked_for() {
        let blue = Filters::from(Filter::group("blue"));
        let shape = |text: &str| Shape::default().with_preferences(text).unwrap();
        assert!(shape("group:blue").check_within(&blue).is_ok());
        let error = shape("version:2,group:green").check_within(&blue).unwrap_err();
        assert!(
            error.to_string().contains("group=blue") && error.to_string().contains("group=green"),
            "{error}"
        );
        assert!(blue.and(Filter::group("red")).check().is_err());
        assert!(Filters::new([Filter::version("1"), Filter::version("1.2")]).check().is_ok());
        assert!(Filters::new([Filter::version("1"), Filter::version("2")]).check().is_err());
        assert!(Filters::new([Filter::label("a", "x"), Filter::label("b", "y")]).check().is_ok());
        let zone = Filters::from(Filter::zone("eu-1a"));
        assert!(Shape::default().near(["eu-1b", "eu-1a"]).check_within(&zone).is_ok());
        assert!(Shape::default().near(["eu-1b"]).check_within(&zone).is_err());
    }
}
