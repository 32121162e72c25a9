//! Which node a login gets. Pure: the random numbers are arguments.

use skein_core::port::directory::NodeReport;

/// The less loaded of two different nodes drawn with `draws`, among those that take sessions and
/// are not called `except`.
pub(crate) fn choose<'a>(
    nodes: &'a [NodeReport],
    except: Option<&str>,
    draws: [u64; 2],
) -> Option<&'a NodeReport> {
    let eligible = |report: &&NodeReport| {
        takes_sessions(report) && except.is_none_or(|except| report.node.name != except)
    };
    let open: Vec<_> = nodes.iter().filter(eligible).collect();
    let first = draw(draws[0], open.len())?;
    let Some(second) = draw(draws[1], open.len() - 1) else { return Some(open[first]) };
    // Drawn from the others, whose positions from `first` on are one further.
    let second = if second >= first { second + 1 } else { second };
    Some(if is_less_loaded(open[second], open[first]) { open[second] } else { open[first] })
}

fn takes_sessions(node: &NodeReport) -> bool {
    !node.draining && node.sessions < node.sessions_max
}

/// Compares shares of capacity, not counts: nodes may differ in size.
fn is_less_loaded(a: &NodeReport, b: &NodeReport) -> bool {
    let share =
        |x: &NodeReport, y: &NodeReport| u128::from(x.sessions) * u128::from(y.sessions_max);
    share(a, b) < share(b, a)
}

/// A position below `count`; `None` if there is none. The bias of the remainder is far below what
/// matters for a handful of nodes.
fn draw(random: u64, count: usize) -> Option<usize> {
    let position = random.checked_rem(u64::try_from(count).ok()?)?;
    usize::try_from(position).ok()
}

#[cfg(test)]
mod tests {
    use skein_core::port::directory::{ChatNode, Trust};

    use super::*;

    fn node(name: &str, sessions: u64, sessions_max: u64, draining: bool) -> NodeReport {
        let trust = Trust::Fingerprints(Vec::new());
        let node = ChatNode { name: name.into(), address: "127.0.0.1:1".into(), trust };
        NodeReport { node, sessions, sessions_max, draining, memory_bytes: 0, cpu_permille: 0 }
    }

    fn chosen(nodes: &[NodeReport], draws: [u64; 2]) -> Option<&str> {
        choose(nodes, None, draws).map(|report| report.node.name.as_str())
    }

    #[test]
    fn takes_the_less_loaded_of_two() {
        let nodes = [node("a", 5, 10, false), node("b", 40, 100, false), node("c", 9, 10, false)];
        for (draws, expected) in [
            ([0, 0], "b"),
            ([0, 1], "a"),
            ([1, 0], "b"),
            ([1, 1], "b"),
            ([2, 0], "a"),
            ([2, 1], "b"),
            ([3, 2], "b"),
            ([u64::MAX, u64::MAX], "a"),
        ] {
            assert_eq!(chosen(&nodes, draws), Some(expected), "{draws:?}");
        }
    }

    #[test]
    fn passes_over_full_and_draining_nodes() {
        let nodes = [
            node("full", 10, 10, false),
            node("draining", 0, 10, true),
            node("none", 0, 0, false),
            node("open", 9, 10, false),
        ];
        for draw in 0..8 {
            assert_eq!(chosen(&nodes, [draw, draw / 2]), Some("open"));
        }
        assert_eq!(chosen(&nodes[..3], [0, 0]), None);
        assert_eq!(chosen(&[], [0, 0]), None);
    }

    #[test]
    fn passes_over_whom_it_is_told_to() {
        let nodes = [node("a", 0, 10, false), node("b", 9, 10, false)];
        let name = |except| choose(&nodes, except, [0, 0]).map(|report| &*report.node.name);
        assert_eq!(name(Some("a")), Some("b"));
        assert_eq!(name(Some("c")), Some("a"));
        assert_eq!(choose(&nodes[..1], Some("a"), [0, 0]), None);
    }

    #[test]
    fn draws_every_pair() {
        let nodes: Vec<_> = (0..4).map(|n| node(&n.to_string(), n, 10, false)).collect();
        let mut wins = [0; 4];
        for (first, second) in (0..4).flat_map(|a| (0..3).map(move |b| (a, b))) {
            let name = chosen(&nodes, [first, second]).expect("all are open");
            wins[name.parse::<usize>().expect("a number")] += 1;
        }
        assert_eq!(wins, [6, 4, 2, 0], "of each pair the less loaded, and each pair twice");
    }
}
