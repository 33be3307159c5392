//! The witness: reads in the journals of the hosts, from outside, when services that matter stopped and
//! when they were up again, and says how many hosts were disrupted at the same time. The hosts are
//! containers on one machine, so their steady clocks are one clock. It asks nobody whom it watches.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::host::Host;

/// What systemd says of a unit, by the message IDs of its catalogue.
const STOPPING: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
const EXITED: &str = "98e322203f7a4ed290d09fe03c09fe15";
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";

/// Services whose end disrupts a host.
const SERVICES: [&str; 3] =
    ["docker.service", "dcos-mesos-slave.service", "dcos-mesos-slave-public.service"];

/// From when to when a service was down, in microseconds of the steady clock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outage {
    pub(crate) from: u64,
    /// [`u64::MAX`] if it is still down.
    pub(crate) to: u64,
    pub(crate) host: String,
    pub(crate) service: String,
}

/// What has happened on these hosts since that time.
pub(crate) fn outages(hosts: &[Host], since: u64) -> Vec<Outage> {
    let read = |host: &Host| {
        let units = SERVICES.map(|unit| format!("UNIT={unit}")).join(" ");
        let journal = host.run(&format!("journalctl --output json --quiet _PID=1 {units}"));
        of_journal(&host.0, &journal)
    };
    let mut all: Vec<_> = hosts.iter().flat_map(read).filter(|outage| outage.to > since).collect();
    all.sort();
    all
}

/// The present time of the same clock.
pub(crate) fn now() -> u64 {
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(uptime.tv_sec).unwrap() * 1_000_000
        + u64::try_from(uptime.tv_nsec).unwrap() / 1_000
}

fn of_journal(host: &str, journal: &str) -> Vec<Outage> {
    let mut down: BTreeMap<String, u64> = BTreeMap::new();
    let mut outages = Vec::new();
    let entries = journal.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for entry in entries {
        let field = |name: &str| entry.get(name).and_then(Value::as_str);
        let (Some(unit), Some(message)) = (field("UNIT"), field("MESSAGE_ID")) else { continue };
        let at = field("__MONOTONIC_TIMESTAMP").and_then(|at| at.parse().ok());
        let (true, Some(at)) = (SERVICES.contains(&unit), at) else { continue };
        match message {
            // The first of them: an end that was asked for is told before the process has exited.
            STOPPING | EXITED => drop(down.entry(unit.to_owned()).or_insert(at)),
            STARTED => outages.extend(down.remove(unit).map(|from| Outage {
                from,
                to: at,
                host: host.to_owned(),
                service: unit.to_owned(),
            })),
            _ => {}
        }
    }
    outages.extend(down.into_iter().map(|(service, from)| Outage {
        from,
        to: u64::MAX,
        host: host.to_owned(),
        service,
    }));
    outages
}

/// The most hosts that were disrupted at one moment. One that begins when another ends does not overlap.
pub(crate) fn most_at_once(outages: &[Outage]) -> usize {
    let at = |moment: u64| {
        let then = outages.iter().filter(|outage| outage.from <= moment && moment < outage.to);
        then.map(|outage| &outage.host).collect::<BTreeSet<_>>().len()
    };
    outages.iter().map(|outage| at(outage.from)).max().unwrap_or(0)
}

#[test]
fn a_journal_is_read_as_outages() {
    let line = |at: u64, unit: &str, id: &str| {
        serde_json::json!({"UNIT": unit, "MESSAGE_ID": id, "__MONOTONIC_TIMESTAMP": at.to_string()})
            .to_string()
    };
    let (docker, agent) = (SERVICES[0], SERVICES[1]);
    let journal = [
        line(10, docker, STARTED),
        line(20, docker, STOPPING),
        line(25, docker, EXITED),
        line(26, "other.service", STOPPING),
        line(30, agent, EXITED),
        line(35, docker, STARTED),
        line(40, agent, STARTED),
        "no json".to_owned(),
        line(50, agent, EXITED),
    ];
    let spans: Vec<_> = of_journal("a1", &journal.join("\n"))
        .into_iter()
        .map(|outage| (outage.service, outage.from, outage.to))
        .collect();
    let span = |service: &str, from, to| (service.to_owned(), from, to);
    assert_eq!(spans, [span(docker, 20, 35), span(agent, 30, 40), span(agent, 50, u64::MAX)]);
}

#[test]
fn hosts_are_counted_and_not_services() {
    let outage = |host: &str, from, to| Outage {
        from,
        to,
        host: host.to_owned(),
        service: "docker.service".to_owned(),
    };
    for (outages, most) in [
        (&[][..], 0),
        (&[outage("a", 1, 2), outage("b", 2, 3)], 1),
        (&[outage("a", 1, 4), outage("a", 2, 3)], 1),
        (&[outage("a", 1, 4), outage("b", 2, 3), outage("c", 3, 5)], 2),
        (&[outage("a", 1, u64::MAX), outage("b", 2, u64::MAX), outage("c", 9, 10)], 3),
    ] {
        assert_eq!(most_at_once(outages), most, "{outages:?}");
    }
}
