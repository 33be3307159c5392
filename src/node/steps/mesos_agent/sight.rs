//! The agent as it is found on the machine.

use std::time::Duration;

use super::flags::{self, ETCD_AUTHORITY, Flags, MODULES};
use super::plan::Notes;
use crate::node::agent::Agent;
use crate::node::host::{Host, HostError};
use crate::node::service::{Activity, Service};
use crate::node::steps::Patience;

/// From its start until it answers an agent may take as long; it recovers its executors first.
const SETTLES_WITHIN: Duration = Duration::from_mins(1);

/// A unit of the agent, and the files of its environment in the order in which they are read.
#[derive(Debug)]
pub(super) struct Unit {
    pub name: &'static str,
    /// Of the package, replaced at its upgrades.
    earlier: &'static [&'static str],
    /// The operator's own; ours are written here.
    pub environment: &'static str,
    later: &'static [&'static str],
}

const fn dcos(name: &'static str) -> Unit {
    Unit {
        name,
        earlier: &[
            "/opt/mesosphere/etc/mesos-slave-common",
            "/opt/mesosphere/etc/mesos-slave",
            "/opt/mesosphere/etc/mesos-slave-common-extras",
        ],
        environment: "/var/lib/dcos/mesos-slave-common",
        later: &[
            "/var/lib/dcos/mesos-resources",
            "/run/dcos/etc/mesos-slave",
            "/etc/mesosphere/mesos/agent.env",
        ],
    }
}

const fn package(name: &'static str, environment: &'static str) -> Unit {
    Unit { name, earlier: &[], environment, later: &[] }
}

pub(super) const UNITS: [Unit; 4] = [
    dcos("dcos-mesos-slave.service"),
    dcos("dcos-mesos-slave-public.service"),
    package("mesos-slave.service", "/etc/default/mesos-slave"),
    package("mesos-agent.service", "/etc/default/mesos-agent"),
];

/// The files of the environment of all units.
pub(super) fn files() -> impl Iterator<Item = &'static str> {
    UNITS.iter().flat_map(|unit| std::iter::once(&unit.environment).chain(unit.later)).copied()
}

/// What was found.
pub(super) struct Sight {
    pub of: &'static Unit,
    pub unit: Service,
    /// None if the agent does not answer.
    pub version: Option<String>,
    /// None if the agent does not tell, and its process cannot be looked at.
    pub flags: Option<Flags>,
    /// The file of its environment that is ours to write to, and those after it.
    pub files: Vec<(&'static str, String)>,
}

impl Sight {
    /// The text of the file of the environment that is ours to write to.
    pub(super) fn environment(&self) -> &str {
        self.files.first().map_or("", |(_, text)| text)
    }

    /// Something was written under this very process that only another one reads.
    pub(super) fn restart_is_due(&self, notes: &Notes) -> bool {
        notes.restart_from == Some(self.unit.started_us)
    }
}

/// None if no unit of an agent is known on the host.
pub(super) async fn look(host: &Host) -> Result<Option<Sight>, HostError> {
    for of in &UNITS {
        let Some(unit) = host.services.look(of.name).await? else { continue };
        // Both units of DC/OS are installed on some hosts, and one of them runs.
        if unit.activity == Activity::Inactive && unit.file_state != "enabled" {
            continue;
        }
        let mut files = Vec::new();
        for file in std::iter::once(&of.environment).chain(of.later) {
            files.push((*file, host.root.exact_text(file)?.unwrap_or_default()));
        }
        let (version, flags) = flags(host, of, &unit, &files).await?;
        return Ok(Some(Sight { of, unit, version, flags, files }));
    }
    Ok(None)
}

/// The same once the agent answers, which at boot and after a restart takes its time.
pub(super) async fn look_settled(host: &Host) -> Result<Option<Sight>, HostError> {
    let patience = Patience::of(host, SETTLES_WITHIN);
    loop {
        let sight = look(host).await?;
        let settled = sight
            .as_ref()
            .is_none_or(|sight| sight.version.is_some() || sight.unit.activity == Activity::Failed);
        if settled || !patience.lasts().await {
            return Ok(sight);
        }
    }
}

/// What the agent says of itself. Its API may be closed to us; what it was started with is not.
async fn flags(
    host: &Host,
    of: &Unit,
    unit: &Service,
    files: &[(&'static str, String)],
) -> Result<(Option<String>, Option<Flags>), HostError> {
    let (mut version, mut flags) = (None, None);
    if let Some(agent) = Agent::known(host)? {
        version = agent.mesos_version().await;
        flags = agent.flags().await.as_ref().map(Flags::read);
    }
    let mut of_process = None;
    if unit.main_pid != 0 && host.sees_all_processes()? {
        let environment = host.root.read(&format!("/proc/{}/environ", unit.main_pid))?;
        of_process = environment.map(|found| Flags::of_environment(&found.bytes));
    }
    let Some(mut flags) = flags.or_else(|| of_process.clone()) else { return Ok((version, None)) };
    if let Some(words) = host.command_line(of.name, unit).await? {
        flags = flags.with_line(&words);
    }
    // What the agent does not tell: a variable that is no flag of its own, and from where it has
    // its modules. Where its process cannot be looked at, its files have to be believed.
    let told = |variable: &str| {
        let said = of_process.as_ref().map(|flags| flags.get(variable).to_owned());
        said.or_else(|| files.iter().rev().find_map(|(_, text)| flags::set_to(text, variable)))
    };
    let authority = told(ETCD_AUTHORITY);
    let said = flags.get(MODULES);
    if !said.is_empty() && !said.starts_with('/') && !said.starts_with("file://") {
        let mut path = told(MODULES).filter(|path| !path.is_empty());
        for file in of.earlier.iter().rev() {
            let text = host.root.text(file)?.unwrap_or_default();
            path = path.or_else(|| flags::set_to(&text, MODULES));
        }
        flags = flags.with(MODULES, path);
    }
    Ok((version, Some(flags.with(ETCD_AUTHORITY, authority))))
}
