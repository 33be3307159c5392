//! Hosts that are wanted and that Mesos does not offer: why, for people.
//!
//! A master does not say why it makes no offer. It is concluded from what its list of agents says
//! of each: what of it is for our roles, what is in use, what is held in offers.

use crate::observed::fleet::{Part, Room};
use crate::words::{HostName, Time};

use super::Controller;
use super::launch::needed;
use super::offers::{Ask, units};

/// Why a host is not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// It has, or has free, too little: what, as in `cpus 0.3 (0.1 free, …)`.
    Lacking(String),
    /// Something else, as a sentence.
    Hidden(String),
}

impl Controller {
    /// Finds out why hosts that were asked for in vain are not offered, if something that it
    /// depends on has changed.
    pub(super) fn explain_starving(&mut self, now: Time) {
        let due = std::mem::take(&mut self.explain_starving) | self.offers.take_starving_moved();
        if !due {
            return;
        }
        for name in self.offers.starving().clone() {
            let Some(host) = self.hosts.get(&name) else { continue };
            let hidden = self.offers.is_declined(&name, now);
            let ask = needed(host);
            let roles = (&self.config.roles[..], &self.given_up[..]);
            let why = host.room.as_ref().and_then(|room| why(room, roles, ask));
            let why = why.unwrap_or_else(|| {
                Why::Hidden(if hidden {
                    "a filter of ours hides it until offers are asked for again".to_owned()
                } else {
                    "it has been asked for in vain for more than a minute; other frameworks may \
                     be offered all that is free there"
                        .to_owned()
                })
            });
            match why {
                Why::Lacking(lacking) => self.say_lacking(&name, Some(lacking), now),
                Why::Hidden(sentence) => {
                    self.say_lacking(&name, None, now);
                    self.say_unoffered(&name, Some(sentence), now);
                }
            }
        }
    }

    /// Writes down why a host is not offered, or that it is.
    pub(super) fn say_unoffered(&mut self, name: &HostName, why: Option<String>, now: Time) {
        let Some(host) = self.hosts.get(name) else { return };
        let known = host.progress.as_ref().and_then(|progress| progress.unoffered.as_ref());
        if known != why.as_ref() {
            self.progress(name, now, |progress| progress.unoffered = why);
        }
    }
}

/// Whether all of an agent is reserved for roles that this master does not give us.
pub(super) fn out_of_reach(room: &Room, given_up: &[String]) -> bool {
    let mut roles = room.iter().filter(|(_, share)| share.cpus.total > 0 || share.mem.total > 0);
    roles.clone().next().is_some() && roles.all(|(role, _)| given_up.contains(role))
}

/// What the agent's resources say; none if enough is free. `roles` are ours, and those of them
/// that this master does not give us.
fn why(room: &Room, (roles, given_up): (&[String], &[String]), ask: Ask) -> Option<Why> {
    if out_of_reach(room, given_up) {
        return Some(Why::Hidden(
            "all its resources are reserved for a role that this Mesos does not give us beside \
             our other one; upgrade it to 1.3"
                .to_owned(),
        ));
    }
    let ours = |role: &str| role == "*" || roles.iter().any(|ours| ours == role);
    let ours = |role: &str| ours(role) && !given_up.iter().any(|without| without == role);
    let sum = |part: fn(&crate::observed::fleet::Share) -> Part| {
        let shares = room.iter().filter(|(role, _)| ours(role)).map(|(_, share)| part(share));
        shares.fold(Part::default(), |sum, part| Part {
            total: sum.total.saturating_add(part.total),
            used: sum.used.saturating_add(part.used),
            offered: sum.offered.saturating_add(part.offered),
        })
    };
    let (cpus, mem) = (sum(|share| share.cpus), sum(|share| share.mem));
    let others: Vec<String> =
        room.keys().filter(|role| !ours(role)).map(|role| format!("`{role}`")).collect();
    if cpus.total == 0 && mem.total == 0 && !others.is_empty() {
        return Some(Why::Hidden(format!(
            "all its resources are reserved for {}, which is not among our roles (--roles)",
            others.join(", ")
        )));
    }
    let asked =
        [("cpus", u64::from(ask.milli_cpus), cpus), ("mem", u64::from(ask.mem) * 1000, mem)];
    for (name, wanted, part) in asked {
        let unused = part.total.saturating_sub(part.used);
        if part.total < wanted {
            let there = if others.is_empty() { "" } else { " for our roles" };
            let (wanted, total) = (units(wanted), units(part.total));
            return Some(Why::Lacking(format!("{name} {wanted} (it has {total}{there})")));
        }
        if unused < wanted {
            let (wanted, unused, total) = (units(wanted), units(unused), units(part.total));
            return Some(Why::Lacking(format!(
                "{name} {wanted} ({unused} of {total} free, tasks of other frameworks hold the rest)"
            )));
        }
        if unused.saturating_sub(part.offered) < wanted {
            return Some(Why::Hidden(format!(
                "its {name} are offered to other frameworks, which do not give them back; set \
                 `--offer_timeout` on the masters"
            )));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::fleet::Share;

    /// `(role, total, used, offered)` in cores, with a thousand times as much memory.
    fn room(shares: &[(&str, u64, u64, u64)]) -> Room {
        let share = |&(role, total, used, offered): &(&str, u64, u64, u64)| {
            let part = |unit: u64| Part {
                total: total * unit,
                used: used * unit,
                offered: offered * unit,
            };
            (role.to_owned(), Share { cpus: part(1_000), mem: part(1_000_000) })
        };
        shares.iter().map(share).collect()
    }

    #[test]
    fn point_34_what_a_master_counts_tells_why_it_makes_no_offer() {
        let roles = ["*".to_owned(), "slave_public".to_owned()];
        let ask = Ask { milli_cpus: 1_500, mem: 64 };
        let lacking = |text: &str| Some(Why::Lacking(text.to_owned()));
        for (shares, expected) in [
            (vec![("*", 4, 0, 0)], None),
            (vec![("slave_public", 4, 2, 0)], None),
            (vec![("*", 1, 0, 0), ("slave_public", 1, 0, 0)], None),
            (vec![("*", 1, 0, 0)], lacking("cpus 1.5 (it has 1)")),
            (
                vec![("*", 1, 0, 0), ("kafka", 8, 0, 0)],
                lacking("cpus 1.5 (it has 1 for our roles)"),
            ),
            (
                vec![("*", 4, 3, 0)],
                lacking("cpus 1.5 (1 of 4 free, tasks of other frameworks hold the rest)"),
            ),
        ] {
            assert_eq!(why(&room(&shares), (&roles, &[]), ask), expected, "{shares:?}");
        }
        for (shares, part) in [
            (vec![("kafka", 4, 0, 0), ("hdfs", 1, 0, 0)], "reserved for `hdfs`, `kafka`"),
            (vec![("*", 4, 1, 2)], "cpus are offered to other frameworks"),
        ] {
            let Some(Why::Hidden(text)) = why(&room(&shares), (&roles, &[]), ask) else {
                panic!("{shares:?}")
            };
            assert!(text.contains(part), "{text}");
        }
        let given_up = ["slave_public".to_owned()];
        for (shares, expected) in [
            (vec![("slave_public", 4, 0, 0)], true),
            (vec![("*", 0, 0, 0), ("slave_public", 4, 0, 0)], true),
            (vec![("*", 4, 0, 0), ("slave_public", 4, 0, 0)], false),
            (vec![("kafka", 4, 0, 0)], false),
            (vec![], false),
        ] {
            assert_eq!(out_of_reach(&room(&shares), &given_up), expected, "{shares:?}");
            let why = why(&room(&shares), (&roles, &given_up), ask);
            let told = |why| matches!(why, Some(Why::Hidden(why)) if why.contains("1.3"));
            assert_eq!(told(why), expected, "{shares:?}");
        }
        let much = Ask { milli_cpus: 100, mem: 5_000 };
        assert_eq!(
            why(&room(&[("*", 4, 0, 0)]), (&roles, &[]), much),
            lacking("mem 5000 (it has 4000)")
        );
    }
}
