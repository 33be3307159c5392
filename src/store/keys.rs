//! The key space on one page: every key that the project owns in etcd, relative to the prefix.
//!
//! | path | value | who writes it |
//! |---|---|---|
//! | `desired/cluster`, `desired/pools/NAME` | YAML, verbatim | people and tools, nobody else |
//! | `accepted/GENERATION` | the documents of a generation, verbatim | controller |
//! | `rendered/HOST` | hash and version of each component the host is to have | controller |
//! | `observed/HOST` | the newest facts | controller |
//! | `tasks/HOST` | tasks launched or about to be | controller |
//! | `slots/HOST`, `slots/guard` | who may disrupt; limit and count | controller |
//! | `rollout/state`, `rollout/hosts/HOST` | the rollout; attempts and back-off of a host | controller |
//! | `rollout/notices/HOST` | the host's disruption as it is announced in Mesos | controller |
//! | `rollout/measures` | how long hosts held slots, the leader's own host | controller |
//! | `control/…` | pauses, approvals, retries, releases | people through the tool |
//! | `framework-id` | Mesos' name for us | controller |
//! | `leader` | who leads, tied to a lease | controller |
//! | `history/NUMBER` | who changed what, what was done; bounded; numbers grow with time | controller, tool |
//!
//! Invariant: `Key::parse(key.path())` is `key` again, and a path that `path` does not write is
//! not a key. Host names are percent-encoded, so that one host is one key; numbers have twenty
//! digits, so that etcd's byte order is theirs. Names of pools and controls stand as they are,
//! because people write them with `etcdctl`.

use crate::words::{Generation, HostName};

const DESIRED_CLUSTER: &str = "desired/cluster";
const DESIRED_POOLS: &str = "desired/pools/";
const ACCEPTED: &str = "accepted/";
const RENDERED: &str = "rendered/";
const OBSERVED: &str = "observed/";
const TASKS: &str = "tasks/";
const SLOTS: &str = "slots/";
const SLOT_GUARD: &str = "slots/guard";
const ROLLOUT_STATE: &str = "rollout/state";
const ROLLOUT_MEASURES: &str = "rollout/measures";
const ROLLOUT_HOSTS: &str = "rollout/hosts/";
const NOTICES: &str = "rollout/notices/";
const CONTROL: &str = "control/";
const FRAMEWORK_ID: &str = "framework-id";
const LEADER: &str = "leader";
const HISTORY: &str = "history/";

/// One key. The names in the variants must not be empty; an empty one is not read back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The `Cluster` document.
    DesiredCluster,
    /// A `Pool` document, by the name in its path (validation compares it with the one inside).
    DesiredPool(String),
    /// An accepted set of documents.
    Accepted(Generation),
    /// What a host is to have, by hash.
    Rendered(HostName),
    /// What a host reported last.
    Observed(HostName),
    /// The tasks of a host, written ahead of every launch.
    Tasks(HostName),
    /// A host's right to disrupt.
    Slot(HostName),
    /// Limit, host count, held count and cluster ID, compared by every reservation.
    SlotGuard,
    /// The rollout of the current generation.
    RolloutState,
    /// What estimates rest on.
    RolloutMeasures,
    /// Attempts and back-off of one host.
    RolloutHost(HostName),
    /// A host's disruption as it is announced to the frameworks.
    Notice(HostName),
    /// A request of an operator, for example `paused` or `retry/a1`.
    Control(String),
    /// The framework ID that Mesos gave.
    FrameworkId,
    /// Who leads; exists as long as the leader's lease does.
    Leader,
    /// An entry of the history, by number.
    History(u64),
}

impl Key {
    /// The path relative to the prefix, without a leading slash.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::DesiredCluster => DESIRED_CLUSTER.to_owned(),
            Self::DesiredPool(name) => format!("{DESIRED_POOLS}{name}"),
            Self::Accepted(Generation(number)) => format!("{ACCEPTED}{number:020}"),
            Self::Rendered(host) => of_host(RENDERED, host),
            Self::Observed(host) => of_host(OBSERVED, host),
            Self::Tasks(host) => of_host(TASKS, host),
            // The one host name that would collide with a key of ours.
            Self::Slot(host) if host.as_str() == "guard" => format!("{SLOTS}%67uard"),
            Self::Slot(host) => of_host(SLOTS, host),
            Self::SlotGuard => SLOT_GUARD.to_owned(),
            Self::RolloutState => ROLLOUT_STATE.to_owned(),
            Self::RolloutMeasures => ROLLOUT_MEASURES.to_owned(),
            Self::RolloutHost(host) => of_host(ROLLOUT_HOSTS, host),
            Self::Notice(host) => of_host(NOTICES, host),
            Self::Control(name) => format!("{CONTROL}{name}"),
            Self::FrameworkId => FRAMEWORK_ID.to_owned(),
            Self::Leader => LEADER.to_owned(),
            Self::History(number) => format!("{HISTORY}{number:020}"),
        }
    }

    /// Reads a path relative to the prefix. `None` for everything that [`Key::path`] does not
    /// write: what somebody else put under the prefix is not ours to interpret.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let key = match path {
            DESIRED_CLUSTER => Self::DesiredCluster,
            SLOT_GUARD => Self::SlotGuard,
            ROLLOUT_STATE => Self::RolloutState,
            ROLLOUT_MEASURES => Self::RolloutMeasures,
            FRAMEWORK_ID => Self::FrameworkId,
            LEADER => Self::Leader,
            _ => Self::parse_named(path)?,
        };
        // One check for every way to write one key twice: `%41` for `A`, `+1` for a number.
        (key.path() == path).then_some(key)
    }

    fn parse_named(path: &str) -> Option<Self> {
        let named = |prefix| path.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        let host = |prefix| named(prefix).and_then(HostName::decoded);
        let number = |prefix| named(prefix).and_then(|digits| digits.parse().ok());
        let text = |prefix| named(prefix).map(str::to_owned);
        None.or_else(|| text(DESIRED_POOLS).map(Self::DesiredPool))
            .or_else(|| number(ACCEPTED).map(|n| Self::Accepted(Generation(n))))
            .or_else(|| host(RENDERED).map(Self::Rendered))
            .or_else(|| host(OBSERVED).map(Self::Observed))
            .or_else(|| host(TASKS).map(Self::Tasks))
            .or_else(|| host(SLOTS).map(Self::Slot))
            .or_else(|| host(ROLLOUT_HOSTS).map(Self::RolloutHost))
            .or_else(|| host(NOTICES).map(Self::Notice))
            .or_else(|| text(CONTROL).map(Self::Control))
            .or_else(|| number(HISTORY).map(Self::History))
    }
}

/// A part of the key space that is listed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Everything under the prefix.
    All,
    /// The documents that people write.
    Desired,
    /// The accepted sets.
    Accepted,
    /// What each host is to have.
    Rendered,
    /// What each host reported.
    Observed,
    /// The tasks of each host.
    Tasks,
    /// The slots and their guard.
    Slots,
    /// The rollout and its hosts.
    Rollout,
    /// Requests of operators.
    Control,
    /// The history.
    History,
}

impl Space {
    /// All of them, the whole first.
    pub const EACH: [Self; 10] = [
        Self::All,
        Self::Desired,
        Self::Accepted,
        Self::Rendered,
        Self::Observed,
        Self::Tasks,
        Self::Slots,
        Self::Rollout,
        Self::Control,
        Self::History,
    ];

    /// What the paths of its keys begin with, relative to the prefix.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Desired => "desired/",
            Self::Accepted => ACCEPTED,
            Self::Rendered => RENDERED,
            Self::Observed => OBSERVED,
            Self::Tasks => TASKS,
            Self::Slots => SLOTS,
            Self::Rollout => "rollout/",
            Self::Control => CONTROL,
            Self::History => HISTORY,
        }
    }

    /// Whether the key is in it.
    #[must_use]
    pub fn contains(self, key: &Key) -> bool {
        match self {
            Self::All => true,
            Self::Desired => matches!(key, Key::DesiredCluster | Key::DesiredPool(_)),
            Self::Accepted => matches!(key, Key::Accepted(_)),
            Self::Rendered => matches!(key, Key::Rendered(_)),
            Self::Observed => matches!(key, Key::Observed(_)),
            Self::Tasks => matches!(key, Key::Tasks(_)),
            Self::Slots => matches!(key, Key::Slot(_) | Key::SlotGuard),
            Self::Rollout => matches!(
                key,
                Key::RolloutState | Key::RolloutMeasures | Key::RolloutHost(_) | Key::Notice(_)
            ),
            Self::Control => matches!(key, Key::Control(_)),
            Self::History => matches!(key, Key::History(_)),
        }
    }
}

fn of_host(prefix: &str, host: &HostName) -> String {
    format!("{prefix}{}", host.encoded())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_key() -> impl Strategy<Value = Key> {
        let host = || prop_oneof![Just("guard".to_owned()), "[a-z0-9.-]{1,12}", "\\PC{1,8}"];
        prop_oneof![
            Just(Key::DesiredCluster),
            Just(Key::SlotGuard),
            Just(Key::RolloutState),
            Just(Key::RolloutMeasures),
            Just(Key::FrameworkId),
            Just(Key::Leader),
            "\\PC{1,8}".prop_map(Key::DesiredPool),
            "\\PC{1,8}".prop_map(Key::Control),
            any::<u64>().prop_map(|n| Key::Accepted(Generation(n))),
            any::<u64>().prop_map(Key::History),
            host().prop_map(|h| Key::Rendered(HostName(h))),
            host().prop_map(|h| Key::Observed(HostName(h))),
            host().prop_map(|h| Key::Tasks(HostName(h))),
            host().prop_map(|h| Key::Slot(HostName(h))),
            host().prop_map(|h| Key::RolloutHost(HostName(h))),
            host().prop_map(|h| Key::Notice(HostName(h))),
        ]
    }

    proptest! {
        #[test]
        fn a_key_is_read_back_as_written(key in any_key()) {
            prop_assert_eq!(Key::parse(&key.path()), Some(key));
        }

        #[test]
        fn a_path_that_is_a_key_is_the_only_one_of_that_key(path in "(slots|history|tasks)/[%0-9a-fA-Fg+ ]{1,21}") {
            if let Some(key) = Key::parse(&path) {
                prop_assert_eq!(key.path(), path);
            }
        }

        #[test]
        fn a_space_holds_the_keys_whose_paths_begin_with_its_own(key in any_key()) {
            for space in Space::EACH {
                prop_assert_eq!(space.contains(&key), key.path().starts_with(space.path()));
            }
        }

        #[test]
        fn the_byte_order_of_numbers_is_theirs(a: u64, b: u64) {
            prop_assert_eq!(Key::History(a).path().cmp(&Key::History(b).path()), a.cmp(&b));
        }
    }

    #[test]
    fn the_page_is_as_documented() {
        for (key, path) in [
            (Key::DesiredPool("gpu".into()), "desired/pools/gpu"),
            (Key::Accepted(Generation(7)), "accepted/00000000000000000007"),
            (Key::Slot("a/1 ü".into()), "slots/a%2F1%20%C3%BC"),
            (Key::Slot("guard".into()), "slots/%67uard"),
            (Key::Observed("guard".into()), "observed/guard"),
            (Key::RolloutHost("a1.example".into()), "rollout/hosts/a1.example"),
            (Key::Notice("a1.example".into()), "rollout/notices/a1.example"),
        ] {
            assert_eq!(key.path(), path);
        }
    }

    #[test]
    fn what_is_not_ours_is_not_a_key() {
        for path in ["", "x", "slots", "slots/", "slots/%", "slots/%4", "slots/%41", "slots/a b"] {
            assert_eq!(Key::parse(path), None, "{path}");
        }
        for path in ["slots/%ff", "accepted/7", "history/+0000000000000000001", "leader/x"] {
            assert_eq!(Key::parse(path), None, "{path}");
        }
    }
}
