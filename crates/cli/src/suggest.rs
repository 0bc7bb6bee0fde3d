//! "Did you mean": the names nearest to what was written.

/// How alike two names must be (Jaro-Winkler, 0 to 1) for one to be suggested for the other.
const LIKENESS_MIN: f64 = 0.8;

/// The name most like `written`, if any is like it at all.
pub(crate) fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(written);
    let likeness = |name: &str| {
        let name = fold(name);
        // A name that holds the other whole is near, however long the rest: `hello` and `Greeter.Hello`.
        let part = name.len() > 2 && folded.len() > 2 && (name.contains(&folded) || folded.contains(&name));
        strsim::jaro_winkler(&folded, &name).max(if part { 0.85 } else { 0.0 })
    };
    names
        .into_iter()
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// Some of `names`, for a sentence: ``a`, `b` and 3 more`.
pub(crate) fn enumerate<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 6;
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "none".to_owned(),
        1 => names[0].clone(),
        count if count <= SHOWN => {
            let (last, first) = names.split_last().map_or(("", &names[..]), |(last, first)| (last, first));
            format!("{} and {last}", first.join(", "))
        }
        count => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
    }
}

/// Case, and the signs that join words, are what people mix up without meaning it.
fn fold(name: &str) -> String {
    name.to_lowercase().replace(['-', '_', '/', '.'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_a_stranger_is_not() {
        let names = ["greeter", "shop.cart", "user-server"];
        assert_eq!(nearest("greter", names), Some("greeter"));
        assert_eq!(nearest("Greeter", names), Some("greeter"));
        assert_eq!(nearest("user_server", names), Some("user-server"));
        assert_eq!(nearest("cart", names), Some("shop.cart"));
        assert_eq!(nearest("zebra", names), None);
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(enumerate([]), "none");
        assert_eq!(enumerate(["a"]), "`a`");
        assert_eq!(enumerate(["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(enumerate(["a"; 9]), "`a`, `a`, `a`, `a`, `a`, `a` and 3 more");
    }
}
