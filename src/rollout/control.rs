//! What operators ask for: pauses are held, and hosts are tried again, released and forgotten.

use crate::observed::fleet::Condition;
use crate::plan::control::{Control, Release};
use crate::store::keys::Key;
use crate::words::{HostName, Time};

use super::Controller;
use super::event::Level;
use super::host::Host;
use super::ledger::After;
use super::records::Stage;

impl Controller {
    /// Somebody asked for something, or took it back. Errs if the record cannot be read.
    pub(super) fn asked_for(
        &mut self,
        control: &Control,
        value: Option<&str>,
    ) -> serde_json::Result<()> {
        match value {
            Some(value) => self.controls.put(control.clone(), value)?,
            None => self.controls.delete(control),
        }
        match control {
            Control::Paused(_) => self.repause(),
            Control::Retry(host) | Control::Release(host) | Control::Forget(host) => {
                self.hosts.touch(host);
            }
            Control::Teardown => {
                self.farewell_due = None;
                for host in self.hosts.all.values_mut() {
                    host.leaves = self.controls.teardown.is_some();
                }
                self.hosts.touch_all();
            }
            Control::Approved | Control::Promoted => {}
        }
        Ok(())
    }

    /// Gives each host the pause that holds it.
    fn repause(&mut self) {
        let names: Vec<HostName> = self.hosts.all.keys().cloned().collect();
        for name in names {
            let Some(host) = self.hosts.get(&name) else { continue };
            let pools = host.spec.as_ref().and_then(|spec| Some(&spec.as_ref().ok()?.pools[..]));
            let pause = self.controls.pause_of(&name, pools.unwrap_or_default());
            if pause != host.paused
                && let Some(host) = self.hosts.touch(&name)
            {
                host.paused = pause;
            }
        }
    }

    /// Does what is asked for once. Slots are released in the guarded transaction.
    pub(super) fn serve_controls(&mut self, now: Time) {
        for name in std::mem::take(&mut self.controls.retry).into_keys() {
            self.ledger.delete(key(&Control::Retry(name.clone())));
            self.try_again(&name, now);
        }
        for name in std::mem::take(&mut self.controls.forget).into_keys() {
            self.ledger.delete(key(&Control::Forget(name.clone())));
            self.forget(&name);
        }
        let stale = |(name, release): &(&HostName, &Release)| {
            let slot = self.hosts.get(name).and_then(Host::slot);
            slot.is_none_or(|slot| slot.attempt != release.attempt)
        };
        let done: Vec<HostName> =
            self.controls.release.iter().filter(stale).map(|(name, _)| name.clone()).collect();
        for name in done {
            self.controls.release.remove(&name);
            self.ledger.delete(key(&Control::Release(name)));
        }
    }

    /// The host gets a clean sheet. If that is what the rollout halted for, it goes on.
    fn try_again(&mut self, name: &HostName, now: Time) {
        let generation = self.desire.generation();
        let Some(host) = self.hosts.touch(name) else { return };
        host.calm_until = now;
        (host.strikes, host.in_vain) = (0, 0);
        if host.progress_in(generation).is_some() {
            self.progress(name, now, |progress| {
                progress.failures = 0;
                progress.failed = false;
                progress.retry_at = now;
                (progress.refused, progress.refusals) = (None, 0);
                progress.unlaunched = None;
            });
        }
        self.note(Level::Info, Some(name), "tried again, as an operator asks");
        let halted = |stage: &Stage| matches!(stage, Stage::Halted { .. });
        if self.state.as_ref().is_some_and(|state| halted(&state.stage)) {
            // If others have failed too, it halts again in this pass.
            self.enter(Stage::Running, now);
        }
    }

    /// Takes a host off the list that the master does not know as active, and that holds no slot.
    fn forget(&mut self, name: &HostName) {
        let Some(host) = self.hosts.get(name) else { return };
        if host.record.agent.condition == Condition::Active || host.slot.is_some() {
            let why = "it is active, or holds a slot: it is not forgotten";
            return self.note(Level::Warning, Some(name), why);
        }
        let of_host = [Key::Observed, Key::Tasks, Key::Rendered, Key::RolloutHost];
        for key in of_host {
            self.ledger.delete(key(name.clone()));
        }
        self.ledger.after(After::Relist);
        self.note(Level::Info, Some(name), "forgotten, as an operator asks");
    }

    /// Whether the host's slot is given back because an operator asks for it.
    pub(super) fn is_released(&self, name: &HostName) -> bool {
        let slot = self.hosts.get(name).and_then(Host::slot);
        let release = self.controls.release.get(name);
        slot.zip(release).is_some_and(|(slot, release)| slot.attempt == release.attempt)
    }
}

pub(super) fn key(control: &Control) -> Key {
    Key::Control(control.path())
}
