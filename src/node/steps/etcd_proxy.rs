//! `etcdProxy`: a proxy to the etcd cluster, as a unit of systemd's.
//!
//! The members are looked up by us and given to the proxy by address: etcd's own discovery drops
//! plain HTTP, asks once, and in 3.4 does not work for a proxy at all (etcd #11321). When the
//! records change, what runs is not in force any more. Whether it is in force is read from the
//! command line of the process, not from the file; whether it is well, by asking through it.

mod command;
mod holder;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{Patience, Seen, Step};
use crate::desired::{ComponentSpec, EtcdProxy as Wanted, Spec, Upstream};
use crate::job::Finding;
use crate::node::dns;
use crate::node::files::Staging;
use crate::node::host::{Host, HostError};
use crate::node::service::Service;
use crate::node::state::{Kept, Record};
use crate::observed::facts::Health;
use crate::words::{Attempt, Component};

/// Our unit, and its file.
pub(super) const UNIT: &str = "calico-dcos-etcd-proxy.service";
const FILE: &str = "/etc/systemd/system/calico-dcos-etcd-proxy.service";
/// An etcd whose members elect a leader answers later than this, and is not well.
const ANSWER: Duration = Duration::from_secs(3);
/// A gateway without any member that it reaches closes a connection at once.
const STAYS_OPEN: Duration = Duration::from_millis(300);
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
        let Some(unit) = host.services.look(UNIT).await? else { return Ok(None) };
        let mut seen = Seen {
            hash: None,
            version: None,
            health: Health::Unhealthy { why: "the proxy does not run".to_owned() },
            running: unit.is_up(),
            blocked: None,
        };
        let Some((record, wanted)) =
            record.and_then(|record| Some((record, wanted(&record.target)?)))
        else {
            return Ok(Some(seen));
        };
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
        if unit.is_up() {
            seen.health = match ask(wanted).await {
                Ok(()) => Health::Healthy,
                Err(why) => Health::Unhealthy { why },
            };
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
        attempt: Attempt,
        target: &ComponentSpec,
    ) -> Result<(), HostError> {
        let kept =
            host.state.keep(attempt, Component::EtcdProxy, &[FILE.to_owned()], Value::Null)?;
        let Some(wanted) = wanted(target) else { return take_off(host).await };
        let program = host.downloads.program(&wanted.binary, "etcd").await?;
        let program = host.root.place(&program).display().to_string();
        let members = members(host, wanted).await?;
        let command = command::of(wanted, &program, &members);
        let mut record = Record::new(attempt, target, kept.record.as_ref(), Value::Null);
        record.notes = json!({"members": members, "command": command});
        host.state.set_record(Component::EtcdProxy, Some(&record))?;
        host.root.write(FILE, command::unit_file(&command).as_bytes(), 0o644, Staging::Beside)?;
        bring_up(host, &command).await?;
        listens(host, wanted).await
    }

    fn files(&self, _: Option<&Record>) -> Vec<String> {
        vec![FILE.to_owned()]
    }

    async fn undo(&self, host: &Host, kept: &Kept) -> Result<(), HostError> {
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

/// Asks etcd through the proxy whether it is well. Behind TLS only that a member is there can be
/// known, as the certificates are those of the proxy's clients.
async fn ask(wanted: &Wanted) -> Result<(), String> {
    let address = wanted.listen.as_str();
    let failed =
        |what: String| format!("etcd does not answer through the proxy at {address}: {what}");
    if command::passes_tls(wanted) {
        let connect = tokio::time::timeout(ANSWER, TcpStream::connect(address)).await;
        let mut stream = match connect {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("no connection".to_owned())),
        };
        return match tokio::time::timeout(STAYS_OPEN, stream.read(&mut [0])).await {
            Err(_) => Ok(()),
            Ok(_) => Err(failed("it closes connections; no member can be reached".to_owned())),
        };
    }
    let answer = match dns::http(ANSWER) {
        Ok(http) => http.get(format!("http://{address}/health")).send().await,
        Err(error) => Err(error),
    };
    let answer = answer.map_err(|error| failed(error.without_url().to_string()))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    if status.is_success() && text.contains("true") {
        Ok(())
    } else {
        Err(failed(format!("{status} {}", text.trim())))
    }
}
