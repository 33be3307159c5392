//! Hosts that are wanted and that Mesos does not offer: why, for people.
//!
//! A master does not say why it makes no offer. It is concluded from what its list of agents says
//! of each: what of it is for our roles, what is in use, what is held in offers.

use crate::observed::fleet::{Part, Room, Share};
use crate::words::{HostName, Time};

use super::Controller;
use super::cut::{Ask, units};
use super::launch::needed;

/// Our roles, and those of them that this master does not give us.
type Roles<'a> = (&'a [String], &'a [String]);

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

/// The roles that something of an agent is set aside for.
fn owners(room: &Room) -> impl Iterator<Item = &String> {
    let owns = |share: &Share| share.cpus.total > 0 || share.mem.total > 0;
    room.iter().filter(move |(_, share)| owns(share)).map(|(role, _)| role)
}

/// Whether all of an agent is reserved for roles that this master does not give us.
pub(super) fn out_of_reach(room: &Room, given_up: &[String]) -> bool {
    owners(room).next().is_some() && owners(room).all(|role| given_up.contains(role))
}

/// Why nothing of an agent can be offered to us whatever is free there; none if something can be.
/// `roles` are ours, and those of them that this master does not give us.
pub(super) fn closed(room: &Room, (roles, given_up): Roles<'_>) -> Option<String> {
    let given = |role: &&String| !given_up.contains(*role);
    let open = |role: &String| role == "*" || roles.iter().filter(given).any(|ours| ours == role);
    let mut owners = owners(room).peekable();
    owners.peek()?;
    let owners: Vec<&String> = owners.collect();
    if owners.iter().any(|role| open(role)) {
        return None;
    }
    let quoted = |roles: &[&String]| {
        let quoted: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
        quoted.join(", ")
    };
    let owned = format!("all its resources are reserved for {}", quoted(&owners));
    let kept: Vec<&String> = roles.iter().filter(given).collect();
    Some(if owners.iter().any(|role| given_up.contains(role)) {
        format!(
            "{owned}, and this Mesos gives a framework one role, ours being {}; upgrade Mesos to \
             1.3 or newer, or name the host in rollout.exclude",
            quoted(&kept)
        )
    } else {
        format!("{owned}, which is not among our roles; name it in --roles")
    })
}

/// What the agent's resources say; none if enough is free.
fn why(room: &Room, (roles, given_up): Roles<'_>, ask: Ask) -> Option<Why> {
    let ours = |role: &str| role == "*" || roles.iter().any(|ours| ours == role);
    let ours = |role: &str| ours(role) && !given_up.iter().any(|without| without == role);
    let sum = |part: fn(&Share) -> Part| {
        let shares = room.iter().filter(|(role, _)| ours(role)).map(|(_, share)| part(share));
        shares.fold(Part::default(), |sum, part| Part {
            total: sum.total.saturating_add(part.total),
            used: sum.used.saturating_add(part.used),
            offered: sum.offered.saturating_add(part.offered),
        })
    };
    let (cpus, mem) = (sum(|share| share.cpus), sum(|share| share.mem));
    let shared = room.keys().any(|role| !ours(role));
    let asked =
        [("cpus", u64::from(ask.milli_cpus), cpus), ("mem", u64::from(ask.mem) * 1000, mem)];
    for (name, wanted, part) in asked {
        let unused = part.total.saturating_sub(part.used);
        if part.total < wanted {
            let there = if shared { " for our roles" } else { "" };
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
        let offered = why(&room(&[("*", 4, 1, 2)]), (&roles, &[]), ask);
        let Some(Why::Hidden(text)) = &offered else { panic!("{offered:?}") };
        assert!(text.contains("cpus are offered to other frameworks"), "{text}");
        let much = Ask { milli_cpus: 100, mem: 5_000 };
        assert_eq!(
            why(&room(&[("*", 4, 0, 0)]), (&roles, &[]), much),
            lacking("mem 5000 (it has 4000)")
        );
    }

    #[test]
    fn point_34_an_agent_is_closed_to_us_if_all_of_it_is_reserved_for_others() {
        let roles = ["*".to_owned(), "slave_public".to_owned()];
        let one = ["slave_public".to_owned()];
        let all: &[String] = &[];
        let public =
            "for `slave_public`, and this Mesos gives a framework one role, ours being `*`";
        for (shares, given_up, words) in [
            (vec![("slave_public", 4, 0, 0)], &one[..], Some(public)),
            (vec![("*", 0, 0, 0), ("slave_public", 4, 0, 0)], &one, Some(public)),
            (vec![("*", 4, 4, 0), ("slave_public", 4, 0, 0)], &one, None),
            (vec![("slave_public", 4, 4, 0)], all, None),
            (vec![("kafka", 4, 0, 0), ("hdfs", 1, 0, 0)], all, Some("for `hdfs`, `kafka`, which")),
            (vec![("kafka", 4, 0, 0), ("slave_public", 1, 0, 0)], &one, Some("one role")),
            (vec![("kafka", 4, 0, 0), ("slave_public", 1, 0, 0)], all, None),
            (vec![("*", 0, 0, 0)], all, None),
            (vec![], &one, None),
        ] {
            let room = room(&shares);
            let why = closed(&room, (&roles, given_up));
            let right = match (&why, words) {
                (Some(why), Some(words)) => why.contains(words),
                (why, words) => why.is_none() && words.is_none(),
            };
            assert!(right, "{shares:?}: {why:?}");
        }
    }
}
