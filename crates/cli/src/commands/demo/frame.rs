//! The picture of a moment: what the live screen shows, as lines.

use std::time::Duration;

use super::{
    stage::{Event, Life, NodeState, Stage, Weight},
    tally::Totals,
};
use crate::{
    output::{Align, Paint, Table, fit},
    units,
};

/// Events that are shown at a time.
const EVENTS_SHOWN: usize = 9;

/// Slots of time in the curve of calls.
const CURVE_SLOTS: usize = 24;

/// Columns that the table takes without bars, and the most that a bar takes.
const TABLE_COLUMNS: usize = 84;
const BAR_MAX: usize = 40;

/// The curve's heights.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The lines of a frame that is `columns` wide; no line is wider.
pub(super) fn frame(stage: &Stage, whole: Duration, columns: usize, paint: Paint) -> Vec<String> {
    let totals = stage.tally().totals(tokio::time::Instant::now());
    let mut lines = vec![title(stage.elapsed(), whole, columns, paint), String::new()];
    lines.extend(nodes(stage, &totals, columns, paint));
    lines.extend([String::new(), rate(&totals, columns, paint), String::new()]);
    let events = stage.events(0);
    let shown = &events[events.len().saturating_sub(EVENTS_SHOWN)..];
    lines.extend(shown.iter().map(|event| paint_event(event, columns, paint)));
    // The frame keeps its height, so that nothing jumps.
    lines.extend(std::iter::repeat_n(String::new(), EVENTS_SHOWN - shown.len()));
    lines
}

/// An event as a line: when, and what.
pub(super) fn event(event: &Event) -> String {
    format!("{:>5.1}s  {}", event.after.as_secs_f64(), event.text)
}

/// The counts as a line, for output that is no screen.
pub(super) fn status(stage: &Stage) -> String {
    let totals = stage.tally().totals(tokio::time::Instant::now());
    let nodes = stage.nodes();
    let share = |node: &NodeState| {
        let line = stage.tally().node(&node.id);
        format!("{} {} {}", node.id, word(node.life), percent(line.calls, answered(&totals)))
    };
    let nodes: Vec<_> = nodes.iter().map(share).collect();
    format!(
        "{:>5.1}s  {} calls, {} a second, {} failed; {}",
        stage.elapsed().as_secs_f64(),
        units::thousands(totals.all.calls),
        units::thousands(totals.rate),
        totals.failed,
        nodes.join(", ")
    )
}

/// `31%`, or a dash where there is nothing to share.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.0}%", part as f64 * 100.0 / whole as f64) }
}

fn answered(totals: &Totals) -> u64 {
    totals.all.calls - totals.failed
}

fn title(elapsed: Duration, whole: Duration, columns: usize, paint: Paint) -> String {
    let left = "callsign demo";
    let text = "  one name, greeter; many nodes";
    let right = format!("{:.0}s of {:.0}s", elapsed.min(whole).as_secs_f64(), whole.as_secs_f64());
    let room = columns.saturating_sub(left.len() + right.len() + 1);
    let text = fit(text, room);
    format!("{}{text:room$} {}", paint.bold(left), paint.dim(right))
}

fn nodes(stage: &Stage, totals: &Totals, columns: usize, paint: Paint) -> Vec<String> {
    let mut table = Table::new([
        ("NODE", Align::Left),
        ("ADDRESS", Align::Left),
        ("VERSION", Align::Left),
        ("STATE", Align::Left),
        ("CALLS", Align::Right),
        ("SHARE", Align::Right),
        ("P50", Align::Right),
        ("P99", Align::Right),
        ("", Align::Left),
    ]);
    let nodes = stage.nodes();
    for node in &nodes {
        let line = stage.tally().node(&node.id);
        let time = |time: Option<Duration>| time.map(units::short).unwrap_or_default();
        table.row(&[
            node.id.clone(),
            node.address.clone().unwrap_or_default(),
            node.version.clone(),
            // As wide as the longest word, so that the columns stand still.
            format!("{:<10}", word(node.life)),
            units::thousands(line.calls),
            percent(line.calls, answered(totals)),
            time(line.p50),
            time(line.p99),
            bar(line.calls, answered(totals), columns),
        ]);
    }
    let lines = table.lines(Paint::OFF).into_iter().map(|line| fit(&line, columns));
    let mut painted = Vec::new();
    for (at, line) in lines.enumerate() {
        painted.push(match at.checked_sub(1).and_then(|at| nodes.get(at)) {
            None => paint.bold(line),
            Some(node) => {
                let word = word(node.life);
                line.replacen(word, &paint_life(node.life, paint), 1)
            }
        });
    }
    painted
}

/// A node's share as a bar, where there is room for one.
fn bar(part: u64, whole: u64, columns: usize) -> String {
    let room = columns.saturating_sub(TABLE_COLUMNS).min(BAR_MAX);
    let cells = (part as f64 * room as f64 / whole.max(1) as f64).round() as usize;
    if cells == 0 { " ".to_owned() } else { "█".repeat(cells) }
}

fn rate(totals: &Totals, columns: usize, paint: Paint) -> String {
    let counts = format!(
        "{:>6} calls/s  {}  {} calls ",
        units::thousands(totals.rate),
        curve(&totals.curve),
        units::thousands(totals.all.calls),
    );
    let failed = format!("{} failed", units::thousands(totals.failed));
    let counts = fit(&counts, columns.saturating_sub(failed.len() + 1));
    let failed = if totals.failed == 0 { paint.good(failed) } else { paint.error(failed) };
    format!("{counts} {failed}")
}

fn curve(slots: &[u32]) -> String {
    let last = &slots[slots.len().saturating_sub(CURVE_SLOTS)..];
    let most = last.iter().copied().max().unwrap_or(0).max(1) as usize;
    let bars = last.iter().map(|calls| BARS[*calls as usize * (BARS.len() - 1) / most]);
    let curve: String = bars.collect();
    format!("{curve:<CURVE_SLOTS$}")
}

fn paint_event(of: &Event, columns: usize, paint: Paint) -> String {
    let line = fit(&event(of), columns);
    match of.weight {
        Weight::Deed => paint.accent(line),
        Weight::Good => line,
        Weight::Bad => paint.bad(line),
    }
}

fn word(life: Life) -> &'static str {
    match life {
        Life::Starting => "starting",
        Life::Ready => "ready",
        Life::Connecting => "connecting",
        Life::Draining => "draining",
        Life::Killed => "killed",
        Life::Stopped => "stopped",
    }
}

fn paint_life(life: Life, paint: Paint) -> String {
    let word = word(life);
    match life {
        Life::Ready => paint.good(word),
        Life::Killed => paint.bad(word),
        Life::Starting | Life::Connecting | Life::Draining => paint.warn(word),
        Life::Stopped => paint.dim(word),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::commands::demo::tally::Call;

    fn stage() -> Stage {
        let stage = Stage::new();
        for (id, version, life) in [
            ("greeter-1", "1.0.0", Life::Ready),
            ("greeter-2", "1.0.0", Life::Killed),
            ("greeter-12", "1.1.0", Life::Connecting),
        ] {
            stage.enter(id, version);
            stage.update(id, |node| {
                node.address = Some("127.0.0.1:40001".into());
                node.life = life;
            });
        }
        for step in 0..30_u64 {
            let node = if step % 3 == 0 { "greeter-1" } else { "greeter-2" };
            let elapsed = Duration::from_micros(900 + step * 100);
            stage
                .tally()
                .record(Call { node: Some(node), elapsed, attempts: 1, failure: None }, Instant::now());
        }
        for step in 0..20 {
            stage.say(Weight::Deed, format!("event {step} {}", "with many words ".repeat(8)));
        }
        stage
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_fits_into_80_columns_and_24_lines() {
        let stage = stage();
        let lines = frame(&stage, Duration::from_secs(20), 80, Paint::OFF);
        assert!(lines.len() < 24, "{}", lines.len());
        for line in &lines {
            assert_eq!(fit(line, 80), *line, "wider than the screen");
        }
        assert!(lines[3].starts_with("greeter-1   127.0.0.1:40001  1.0.0    ready"), "{}", lines[3]);
        assert!(lines[3].contains("33%"), "{}", lines[3]);
        let last = lines.last().unwrap();
        assert!(last.contains("event 19") && last.ends_with('…'), "{last}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_keeps_its_height_while_events_come_in() {
        let stage = Stage::new();
        let empty = frame(&stage, Duration::from_secs(20), 80, Paint::OFF).len();
        stage.say(Weight::Good, "something");
        assert_eq!(frame(&stage, Duration::from_secs(20), 80, Paint::OFF).len(), empty);
    }

    #[tokio::test(start_paused = true)]
    async fn colours_are_never_the_only_sign() {
        let stage = stage();
        let plain = frame(&stage, Duration::from_secs(20), 80, Paint::OFF).join("\n");
        assert!(!plain.contains('\x1b'));
        assert!(plain.contains("killed") && plain.contains("0 failed"));
        assert!(
            frame(&stage, Duration::from_secs(20), 80, Paint::new(true))
                .join("\n")
                .contains("\x1b[31mkilled")
        );
    }
}
