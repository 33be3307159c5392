//! `etcdProxy`: a proxy to the etcd cluster, as a unit of systemd's.
//!
//! The members are looked up by us and given to the proxy by address: etcd's own discovery drops
//! plain HTTP, asks once, and in 3.4 does not work for a proxy at all (etcd #11321). When the
//! records change, what runs is not in force any more. Whether it is in force is read from the
//! command line of the process, not from the file; whether it is well, by asking through it.

mod command;
mod health;
mod holder;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Patience, Seen, Step, Turn};
use crate::clock;
use crate::desired::{ComponentSpec, EtcdProxy as Wanted, Spec, Upstream};
use crate::job::Finding;
use crate::node::files::Staging;
use crate::node::host::{Host, HostError};
use crate::node::service::{Activity, Service};
use crate::node::state::{Kept, Record};
use crate::observed::facts::Health;
use crate::words::Component;

/// Our unit, and its file.
pub(super) const UNIT: &str = "calico-dcos-etcd-proxy.service";
const FILE: &str = "/etc/systemd/system/calico-dcos-etcd-proxy.service";
/// One that was killed is started again by systemd after a second, and answers a moment later. That is
/// neither drift nor illness, so it is waited for.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);
/// From the start until it listens.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// The step.
#[derive(Clone, Copy, Debug)]
pub(super) struct EtcdProxy;

impl Step for EtcdProxy {
    fn component(&self) -> Component {
        Component::EtcdProxy
    }

    async fn observe(
        &self,
        host: &Host,
        record: Option<&Record>,
    ) -> Result<Option<Seen>, HostError> {
        let known = record.and_then(|record| Some((record, wanted(&record.target)?)));
        let found = look_settled(host, known.map(|(_, wanted)| wanted)).await?;
        let Some((unit, health)) = found else { return Ok(None) };
        let mut seen =
            Seen { hash: None, version: None, health, running: unit.is_up(), blocked: None };
        let Some((record, wanted)) = known else { return Ok(Some(seen)) };
        let runs = host.command_line(UNIT, &unit).await?;
        let file = host.root.text(FILE)?;
        let command = recorded_command(record);
        // While nobody can look them up, the members are those that were found last.
        let moved = match members(host, wanted).await {
            Ok(members) => record.notes["members"] != json!(members),
            Err(_) => false,
        };
        if !moved && runs.as_ref() == Some(&command) && file == Some(command::unit_file(&command)) {
            seen.hash = Some(record.target.hash);
        }
        Ok(Some(seen))
    }

    async fn check(
        &self,
        host: &Host,
        target: &ComponentSpec,
        _: Option<&Record>,
    ) -> Result<Finding, HostError> {
        let runs = host.services.look(UNIT).await?.is_some_and(|unit| unit.is_up());
        let Some(wanted) = wanted(target) else { return Ok(Finding::Ready { disrupts: runs }) };
        // Both would otherwise fail only once the old proxy is gone.
        members(host, wanted).await?;
        if !runs && let Some(why) = port_taken(host, wanted) {
            return Ok(Finding::Refused { why });
        }
        Ok(Finding::Ready { disrupts: runs })
    }

    async fn apply(
        &self,
        host: &Host,
        turn: Turn,
        target: &ComponentSpec,
    ) -> Result<(), HostError> {
        let kept =
            host.state.keep(turn.attempt, Component::EtcdProxy, &[FILE.to_owned()], Value::Null)?;
        let Some(wanted) = wanted(target) else { return take_off(host).await };
        let program = host.downloads.program(&wanted.binary, "etcd").await?;
        let program = host.root.place(&program).display().to_string();
        let members = members(host, wanted).await?;
        let command = command::of(wanted, &program, &members);
        let mut record = Record::new(turn.attempt, target, kept.record.as_ref(), Value::Null);
        record.notes = json!({"members": members, "command": command});
        host.state.set_record(Component::EtcdProxy, Some(&record))?;
        host.root.write(FILE, command::unit_file(&command).as_bytes(), 0o644, Staging::Beside)?;
        bring_up(host, &command).await?;
        listens(host, wanted).await
    }

    fn files(&self, _: Option<&Record>) -> Vec<String> {
        vec![FILE.to_owned()]
    }

    async fn undo(&self, host: &Host, _: Turn, kept: &Kept) -> Result<(), HostError> {
        let Some(before) = &kept.record else {
            take_off(host).await?;
            return Ok(host.state.put_back(Component::EtcdProxy, kept)?);
        };
        host.state.put_back(Component::EtcdProxy, kept)?;
        bring_up(host, &recorded_command(before)).await
    }
}

fn wanted(target: &ComponentSpec) -> Option<&Wanted> {
    match &target.spec {
        Spec::EtcdProxy(wanted) => Some(wanted),
        _ => None,
    }
}

/// The unit and its health, once it is not on its way up any more; none if there is no such unit.
async fn look_settled(
    host: &Host,
    wanted: Option<&Wanted>,
) -> Result<Option<(Service, Health)>, HostError> {
    let patience = Patience::of(host, SETTLES_WITHIN);
    loop {
        let Some(unit) = host.services.look(UNIT).await? else { return Ok(None) };
        let asked = match wanted {
            Some(wanted) if unit.activity == Activity::Active => health::ask(wanted).await,
            _ => Err("the proxy does not run".to_owned()),
        };
        let why = match asked {
            Ok(()) => return Ok(Some((unit, Health::Healthy))),
            Err(why) => why,
        };
        let age = clock::monotonic().saturating_sub(Duration::from_micros(unit.started_us));
        let on_its_way = unit.activity == Activity::Changing
            || unit.activity == Activity::Active && age < SETTLES_WITHIN;
        if !on_its_way || !patience.lasts().await {
            return Ok(Some((unit, Health::Unhealthy { why })));
        }
    }
}

fn recorded_command(record: &Record) -> Vec<String> {
    serde_json::from_value(record.notes["command"].clone()).unwrap_or_default()
}

/// Has the unit run with this command, and start at boot. What runs so already is left alone.
async fn bring_up(host: &Host, command: &[String]) -> Result<(), HostError> {
    host.services.read_files_again().await?;
    host.services.enable(UNIT).await?;
    let unit = host.services.look(UNIT).await?;
    if let Some(unit) = unit.filter(Service::is_up)
        && host.command_line(UNIT, &unit).await?.is_some_and(|runs| runs == command)
    {
        return Ok(());
    }
    let _ = host.services.reset_failed(UNIT).await;
    Ok(host.services.restart(UNIT).await?)
}

async fn take_off(host: &Host) -> Result<(), HostError> {
    if host.services.look(UNIT).await?.is_some() {
        host.services.stop(UNIT).await?;
        host.services.disable(UNIT).await?;
        host.root.remove(FILE)?;
        host.services.read_files_again().await?;
    }
    Ok(host.state.set_record(Component::EtcdProxy, None)?)
}

/// The members that the proxy is to know, sorted: an order of DNS' is no change.
async fn members(host: &Host, wanted: &Wanted) -> Result<Vec<String>, HostError> {
    let mut members = match &wanted.upstream {
        Upstream::Endpoints(endpoints) => {
            endpoints.iter().map(|url| url.as_str().trim_end_matches('/').to_owned()).collect()
        }
        Upstream::DiscoverySrv(domain) => {
            let records = command::records(wanted.mode, domain.as_str());
            host.dns.members(&records).await?
        }
    };
    members.sort();
    members.dedup();
    if wanted.mode == crate::desired::ProxyMode::V2Proxy
        && matches!(wanted.upstream, Upstream::Endpoints(_))
    {
        return command::peers_of(&members).await;
    }
    Ok(members)
}

/// Who holds the port, if it is taken.
fn port_taken(host: &Host, wanted: &Wanted) -> Option<String> {
    let address: SocketAddr = wanted.listen.as_str().parse().ok()?;
    match TcpListener::bind(address) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let holder = holder::of(host, address.port());
            let holder = holder.unwrap_or_else(|| "a process that cannot be named".to_owned());
            Some(format!("{address} is taken by {holder}; stop it, or declare another `listen`"))
        }
        _ => None,
    }
}

async fn listens(host: &Host, wanted: &Wanted) -> Result<(), HostError> {
    let patience = Patience::of(host, LISTENS_WITHIN);
    loop {
        if TcpStream::connect(wanted.listen.as_str()).await.is_ok() {
            return Ok(());
        }
        if !patience.lasts().await {
            let why = format!(
                "the proxy does not listen at {}; `journalctl -u {UNIT}` says why",
                wanted.listen
            );
            return Err(HostError::Found(why));
        }
    }
}
