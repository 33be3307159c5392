//! `docker`: the cluster store of the Docker daemon.
//!
//! Three keys of `daemon.json` are ours; everything else in it stays as it is. A store that somebody
//! else has set, there or on the command line, is left alone and said. Docker 1.11 to 20.10 takes
//! a first store by SIGHUP if an address to advertise comes with it; all else takes a restart.

mod rules;
#[cfg(test)]
mod tests;
mod trial;

use std::time::Duration;

use serde_json::{Value, json};

use super::{Patience, Seen, Step, Turn};
use crate::desired::{ComponentSpec, Docker as Wanted, Spec};
use crate::job::Finding;
use crate::node::dns;
use crate::node::files::Staging;
use crate::node::host::{Host, HostError};
use crate::node::service::{Activity, Service, ServiceError};
use crate::node::state::{Kept, Record};
use crate::observed::facts::{DockerFacts, Health};
use crate::words::Component;
use rules::{CommandLine, View, Way};

/// The unit of every package of Docker, and of DC/OS.
pub(super) const UNIT: &str = "docker.service";
/// A daemon that takes longer to answer after it is up is not well.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);
/// A daemon that starts is waited for so long, and one that does not answer.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
/// A reload is over in milliseconds; one that shows nothing was not taken.
const RELOADS_WITHIN: Duration = Duration::from_secs(10);

/// The step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Docker;

impl Step for Docker {
    fn component(&self) -> Component {
        Component::Docker
    }

    async fn observe(
        &self,
        host: &Host,
        record: Option<&Record>,
    ) -> Result<Option<Seen>, HostError> {
        let Some(sight) = look(host).await? else { return Ok(None) };
        let hash = record.and_then(|record| {
            let Spec::Docker(wanted) = &record.target.spec else { return None };
            sight.view.is_in_force(wanted).then_some(record.target.hash)
        });
        let health = match (&sight.view.info, &sight.silence) {
            (Some(_), _) => Health::Healthy,
            (None, why) => Health::Unhealthy { why: why.clone().unwrap_or_default() },
        };
        Ok(Some(Seen {
            hash,
            version: sight.view.info.as_ref().map(|info| info.server_version.clone()),
            health,
            running: sight.unit.is_up(),
            blocked: sight.view.blocked().err(),
        }))
    }

    async fn check(
        &self,
        host: &Host,
        target: &ComponentSpec,
        record: Option<&Record>,
    ) -> Result<Finding, HostError> {
        let Some(sight) = look_settled(host).await? else {
            return Ok(Finding::Refused {
                why: "there is no docker.service on this host".to_owned(),
            });
        };
        let way = match sight.view.way(target, record) {
            Ok(way) => way,
            Err(why) => return Ok(Finding::Refused { why }),
        };
        if let Spec::Docker(wanted) = &target.spec
            && let Some(why) = v2_is_missing(wanted).await
        {
            return Ok(Finding::Refused { why });
        }
        Ok(match way {
            Way::InForce => Finding::InForce,
            Way::Write | Way::Reload => Finding::Ready { disrupts: false },
            Way::Restart => Finding::Ready { disrupts: sight.unit.is_up() },
        })
    }

    async fn apply(
        &self,
        host: &Host,
        turn: Turn,
        target: &ComponentSpec,
    ) -> Result<(), HostError> {
        let Some(sight) = look_settled(host).await? else {
            return Err(HostError::Found("there is no docker.service on this host".to_owned()));
        };
        let known = host.state.record(Component::Docker)?;
        let way = sight.view.way(target, known.as_ref()).map_err(HostError::Found)?;
        if way == Way::Restart && sight.unit.is_up() {
            turn.may_stop("Docker")?;
        }
        let file = sight.view.line.config_file.clone();
        let notes = json!({"startedUs": sight.unit.started_us, "up": sight.unit.is_up()});
        let kept =
            host.state.keep(turn.attempt, Component::Docker, std::slice::from_ref(&file), notes)?;
        let text = sight.view.text(target, known.as_ref()).map_err(HostError::Found)?;
        if way == Way::Restart {
            trial::run(host, &sight.unit, &sight.view.line, &text).await?;
        }
        // The record comes before the file: by itself it proves nothing, while a file of ours
        // without a record would be taken as somebody else's.
        if target.spec != Spec::Off {
            let before = rules::ours_in(original(&kept, &file).as_deref());
            let record = Record::new(turn.attempt, target, kept.record.as_ref(), before);
            host.state.set_record(Component::Docker, Some(&record))?;
        }
        if target.spec == Spec::Off && View::is_needless(&text, known.as_ref()) {
            host.root.remove(&file)?;
        } else {
            host.root.write(&file, text.as_bytes(), 0o644, Staging::Beside)?;
        }
        match way {
            Way::InForce | Way::Write => {}
            Way::Reload => reload(host, target).await?,
            Way::Restart => restart(host).await?,
        }
        if target.spec == Spec::Off {
            host.state.set_record(Component::Docker, None)?;
        }
        Ok(())
    }

    fn files(&self, _: Option<&Record>) -> Vec<String> {
        vec![rules::CONFIG.to_owned()]
    }

    /// Files first. The daemon is restarted only if it was restarted for this attempt, or does
    /// not answer: one that took a store by reload keeps it until its next start, harmlessly. Without a
    /// slot one that runs is let run, however it answers.
    async fn undo(&self, host: &Host, turn: Turn, kept: &Kept) -> Result<(), HostError> {
        host.state.put_back(Component::Docker, kept)?;
        let Some(unit) = host.services.look(UNIT).await? else { return Ok(()) };
        let was_up = kept.notes["up"].as_bool().unwrap_or(true);
        let restarted = kept.notes["startedUs"].as_u64() != Some(unit.started_us);
        let well = unit.activity == Activity::Active && host.docker.info().await.is_ok();
        match (was_up, restarted, well) {
            (true, false, true) => Ok(()),
            (true, ..) if unit.is_up() && !turn.may_disrupt => Ok(()),
            (true, ..) => restart(host).await,
            (false, ..) => Ok(host.services.stop(UNIT).await?),
        }
    }
}

/// What was found on the machine.
struct Sight {
    unit: Service,
    view: View,
    /// Why the daemon does not answer.
    silence: Option<String>,
}

/// None if there is no Docker on the host.
async fn look(host: &Host) -> Result<Option<Sight>, HostError> {
    let Some(unit) = host.services.look(UNIT).await? else { return Ok(None) };
    let line = host.command_line(UNIT, &unit).await?;
    let line = line.map_or_else(CommandLine::default, CommandLine::read);
    let file = host.root.exact_text(&line.config_file)?;
    let (info, silence) = match host.docker.info().await {
        Ok(info) => (Some(info), None),
        Err(error) => (None, Some(HostError::from(error).sentence())),
    };
    Ok(Some(Sight { unit, view: View { line, file, info }, silence }))
}

/// The same once the daemon is neither starting nor stopping: at boot it is not restarted because
/// it does not answer yet.
async fn look_settled(host: &Host) -> Result<Option<Sight>, HostError> {
    let patience = Patience::of(host, SETTLES_WITHIN);
    loop {
        let sight = look(host).await?;
        let settled = sight.as_ref().is_none_or(|sight| match sight.unit.activity {
            Activity::Changing => false,
            Activity::Active => sight.view.info.is_some(),
            Activity::Inactive | Activity::Failed => true,
        });
        // What is never answered is for the step to deal with.
        if settled || !patience.lasts().await {
            return Ok(sight);
        }
    }
}

fn original(kept: &Kept, file: &str) -> Option<String> {
    let (_, found) = kept.files.iter().find(|(path, _)| path == file)?;
    Some(String::from_utf8_lossy(&found.as_ref()?.bytes).into_owned())
}

async fn reload(host: &Host, target: &ComponentSpec) -> Result<(), HostError> {
    host.services.reload(UNIT).await?;
    let Spec::Docker(wanted) = &target.spec else { return Ok(()) };
    let patience = Patience::of(host, RELOADS_WITHIN);
    while !host.docker.info().await.is_ok_and(|info| rules::uses(&info, wanted)) {
        if !patience.lasts().await {
            let why = "Docker has not taken the cluster store by reload; its log says why";
            return Err(HostError::Found(why.to_owned()));
        }
    }
    Ok(())
}

/// After some failures in a row systemd would not start it any more, so that is cleared first.
async fn restart(host: &Host) -> Result<(), HostError> {
    // Where there is nothing to clear, old versions of systemd refuse.
    let _ = host.services.reset_failed(UNIT).await;
    host.services.restart(UNIT).await?;
    let patience = Patience::of(host, ANSWERS_WITHIN);
    while host.docker.info().await.is_err() {
        // systemd has given it up: what was there before is not to wait.
        let unit = host.services.look(UNIT).await?;
        if unit.is_some_and(|unit| unit.activity == Activity::Failed) {
            return Err(ServiceError::NotUp { unit: UNIT.to_owned() }.into());
        }
        if !patience.lasts().await {
            let why = "Docker is up and does not answer; `journalctl -u docker` says why";
            return Err(HostError::Found(why.to_owned()));
        }
    }
    Ok(())
}

/// Docker starts on a store that answers without etcd's v2 API, and then every network fails. A
/// store that does not answer yet may be one that this very change brings.
async fn v2_is_missing(wanted: &Wanted) -> Option<String> {
    let http = dns::http(Duration::from_secs(2)).ok()?;
    if !wanted.cluster_store_opts.is_empty() {
        // It is behind TLS, with certificates that are the daemon's.
        return None;
    }
    let addresses: Vec<&str> = wanted.cluster_store.hosts().collect();
    for address in addresses {
        let answer = http.get(format!("http://{address}/v2/members")).send().await;
        match answer.map(|answer| answer.status().as_u16()) {
            Ok(404) => {
                return Some(format!(
                    "etcd at {address} answers without its v2 API, which Docker's cluster store needs; start etcd with `--enable-v2`"
                ));
            }
            Ok(_) => return None,
            Err(_) => {}
        }
    }
    None
}

/// What the node says of Docker beside the component; none if it cannot be known, which the
/// component says.
pub(in crate::node) async fn facts(host: &Host) -> Option<DockerFacts> {
    let record = host.state.record(Component::Docker).ok()?;
    let Sight { view, .. } = look(host).await.ok()??;
    let foreign = view.foreign(record.as_ref());
    view.info.map(|info| DockerFacts {
        swarm: info.is_in_swarm(),
        cluster_store: Some(info.cluster_store).filter(|store| !store.is_empty()),
        containers: info.containers_running,
        version: info.server_version,
        foreign,
    })
}

/// Only a value that is there counts.
fn given(value: &Value) -> Option<&Value> {
    (!value.is_null()).then_some(value)
}
