//! The whole fleet at a glance: bars and a map, as shapes that need no script. Their size is bounded: ten thousand hosts are
//! as many squares as two thousand.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::look::{Cell, STANDINGS, colour};
use crate::plan::Plan;
use crate::surface::hosts::{Standing, word};
use crate::surface::text::grouped;
use crate::words::Component;

/// The colours of hosts, from what is well to what is bad; a square that stands for several shows the last of theirs.
const COLOURS: [&str; 5] = ["good", "dim", "work", "wait", "bad"];

/// Squares on the map.
const SQUARES: usize = 2000;

/// From one square to the next, and what of that is between them.
const PITCH: usize = 14;
const GAP: usize = 2;

/// Parts of a whole, side by side.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) parts: Vec<Part>,
    /// The same in words.
    pub(super) words: String,
}

/// A part of a bar, in thousandths.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) colour: &'static str,
    pub(super) x: usize,
    pub(super) width: usize,
}

impl Bar {
    fn of(parts: impl Iterator<Item = (&'static str, usize)>, all: usize, words: String) -> Self {
        let mut sum: usize = 0;
        let mut bar = Vec::new();
        for (colour, number) in parts {
            // From sums, so that what is left of divisions does not add up.
            let x = (sum * 1000).checked_div(all).unwrap_or(0);
            sum += number;
            let width = (sum * 1000).checked_div(all).unwrap_or(0).saturating_sub(x);
            if width > 0 {
                bar.push(Part { colour, x, width });
            }
        }
        Self { parts: bar, words }
    }

    /// All hosts by the colours of their reasons.
    pub(super) fn of_hosts(plan: &Plan<'_>) -> Self {
        let summary = &plan.summary;
        let mut numbers = BTreeMap::from([("good", summary.in_sync)]);
        for (code, number) in &summary.reasons {
            *numbers.entry(colour(code)).or_default() += number;
        }
        // What only waits stays the ground, at the end.
        let order = ["good", "work", "wait", "bad"];
        let parts = order.map(|colour| (colour, numbers.get(colour).copied().unwrap_or(0)));
        Self::of(parts.into_iter(), summary.hosts, String::new())
    }
}

/// How one component stands on all hosts.
#[derive(Debug)]
pub(super) struct ComponentBar {
    pub(super) name: &'static str,
    pub(super) bar: Bar,
}

/// All components.
pub(super) fn components(plan: &Plan<'_>) -> Vec<ComponentBar> {
    let of = |component: Component| {
        let mut numbers: BTreeMap<Standing, usize> = BTreeMap::new();
        for host in &plan.hosts {
            *numbers.entry(Standing::of(component, host)).or_default() += 1;
        }
        let found = |standing: &Standing| numbers.get(standing).copied().filter(|it| *it > 0);
        let parts = STANDINGS.iter().filter_map(|it| Some((Cell::new(*it, None), found(it)?)));
        let parts: Vec<(Cell, usize)> = parts.collect();
        let words = match &parts[..] {
            [(cell, _)] => cell.words.clone(),
            parts => {
                let each = |(cell, number): &(Cell, usize)| {
                    format!("{} {}", grouped(*number as u64), cell.words)
                };
                parts.iter().map(each).collect::<Vec<_>>().join(", ")
            }
        };
        let parts = parts.iter().map(|(cell, number)| (cell.colour, *number));
        ComponentBar { name: component.name(), bar: Bar::of(parts, plan.hosts.len(), words) }
    };
    Component::ALL.map(of).into()
}

/// All hosts as squares, in the order of the list.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Squares in a row.
    pub(super) columns: usize,
    /// Hosts that a square stands for.
    pub(super) each: usize,
    /// For each colour the path of its squares: dashes make squares of a line.
    pub(super) paths: Vec<(&'static str, String)>,
}

impl Map {
    pub(super) fn of(plan: &Plan<'_>) -> Self {
        let each = plan.hosts.len().div_ceil(SQUARES).max(1);
        let rank = |host| COLOURS.iter().position(|it| *it == colour(word(host))).unwrap_or(0);
        let squares = plan.hosts.chunks(each);
        let squares: Vec<usize> =
            squares.map(|hosts| hosts.iter().map(rank).max().unwrap_or(0)).collect();
        // Wider than high, as the place for it is.
        let columns = (squares.len() * 5).isqrt().clamp(20, 72);
        let mut paths = COLOURS.map(|colour| (colour, String::new()));
        for (row, squares) in squares.chunks(columns).enumerate() {
            let y = row * PITCH + PITCH / 2;
            let mut x = 0;
            for run in squares.chunk_by(|one, other| one == other) {
                let length = run.len() * PITCH;
                // Writing to text cannot fail.
                let _ = write!(paths[run[0]].1, "M{x} {y}h{}", length - GAP);
                x += length;
            }
        }
        Self {
            width: columns * PITCH,
            height: squares.len().div_ceil(columns) * PITCH,
            columns,
            each,
            paths: paths.into_iter().filter(|(_, path)| !path.is_empty()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::testing::{NOW, accept, fleet, sync};
    use crate::surface::view::View;

    fn view(hosts: usize) -> View {
        let mut state = fleet(hosts);
        accept(&mut state);
        sync(&mut state, "a1");
        View::new(state, Vec::new(), NOW).unwrap()
    }

    /// How many squares a path draws.
    fn squares(path: &str) -> usize {
        let lengths = path.split('h').skip(1).map(|run| run.split('M').next().unwrap());
        lengths.map(|length| (length.parse::<usize>().unwrap() + GAP) / PITCH).sum()
    }

    #[test]
    fn each_host_is_a_square_and_many_share_one_that_shows_the_worst() {
        for (hosts, each, bad) in [(40, 1, 4), (10_000, 5, 500)] {
            let view = view(hosts);
            let map = Map::of(&view.plan());
            let drawn: usize = map.paths.iter().map(|(_, path)| squares(path)).sum();
            assert_eq!((drawn, map.each), (hosts / each, each), "{hosts}");
            let path = &map.paths.iter().find(|(colour, _)| *colour == "bad").unwrap().1;
            assert_eq!(
                squares(path),
                bad,
                "two of twenty are blocked or unreachable, side by side"
            );
        }
    }

    #[test]
    fn bars_have_a_part_for_each_standing_and_say_it_in_words() {
        let view = view(40);
        let plan = view.plan();
        let all = components(&plan);
        let node = all.iter().find(|it| it.name == "calicoNode").unwrap();
        assert_eq!(node.bar.words, "1 as declared, 37 to be installed, 2 not known");
        assert_eq!(node.bar.parts.iter().map(|part| part.width).sum::<usize>(), 1000);
        let unmanaged = all.iter().find(|it| it.name == "calicoLibnetwork").unwrap();
        assert!(unmanaged.bar.words.contains("not managed"), "{}", unmanaged.bar.words);
        let hosts = Bar::of_hosts(&plan);
        assert!(hosts.parts.iter().map(|part| part.width).sum::<usize>() < 1000);
    }
}
