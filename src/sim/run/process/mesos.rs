//! A controller process and the master: its stream, its calls, and what it asks as an operator does.

use crate::mesos::agents::agents_seen;
use crate::mesos::features::Features;
use crate::mesos::v1::scheduler::{Call, Event as MesosEvent, Subscribe};
use crate::plan::notice::ScheduleEdit;
use crate::rollout::event::Event;
use crate::sim::mesos::ConnId;

use super::super::World;
use super::{AGAIN_MS, Act};

impl World {
    pub(super) fn subscribe(&mut self, at: usize, mut subscribe: Subscribe) {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let id = subscribe.framework_info.id.clone();
        self.conns.insert(conn, at);
        let again = Act::Subscribe(at, self.processes[at].incarnation, Box::new(subscribe.clone()));
        let version = self.town.cluster.mesos.version().to_string();
        if let Ok(features) = Features::of(&version) {
            let given_up = features.adapt(&mut subscribe.framework_info);
            self.hand(at, Event::Presented { given_up });
        }
        let cut = self.processes[at].master_cut_until > self.now;
        if !cut
            && let Ok(stream) =
                self.town.cluster.mesos.subscribe(self.now, conn, id.clone(), subscribe)
        {
            self.processes[at].conn = Some((conn, id, stream));
        } else {
            self.conns.remove(&conn);
            self.later(self.now.plus_ms(AGAIN_MS), again);
        }
    }

    pub(super) fn call(&mut self, at: usize, incarnation: u64, conn: ConnId, call: Call) {
        self.calls_under_way -= 1;
        let process = &self.processes[at];
        let Some((current, id, stream)) = &process.conn else { return };
        if process.incarnation != incarnation || *current != conn {
            return;
        }
        let Some(id) = id.clone() else { return };
        let stream = stream.clone();
        if self.notes && self.converged_at.is_some() {
            self.town.meter.happened(format!("called: {call:?}"), self.now);
        }
        match call {
            Call::Suppress(_) => self.calls_since_suppress = 0,
            // Mesos asks for a machine again for as long as its schedule names it.
            Call::AcceptInverseOffers(_) | Call::DeclineInverseOffers(_) => {}
            // Offers that crossed with SUPPRESS are given back.
            _ if self.town.cluster.mesos.is_owed(&call) => {}
            _ => self.calls_since_suppress += 1,
        }
        let outcome = self.town.cluster.mesos.call_as(self.now, &id, &stream, call);
        if !outcome.is_accepted() {
            self.stream_closed(at, conn);
        }
    }

    pub(in crate::sim::run) fn mesos_event(&mut self, at: usize, conn: ConnId, event: MesosEvent) {
        if let (MesosEvent::Subscribed(subscribed), Some((current, id, _))) =
            (&event, &mut self.processes[at].conn)
            && *current == conn
        {
            *id = Some(subscribed.framework_id.clone());
        }
        let incarnation = self.processes[at].incarnation;
        self.deliver(at, incarnation, Event::Mesos(event));
    }

    pub(in crate::sim::run) fn stream_closed(&mut self, at: usize, conn: ConnId) {
        let open = self.processes[at].conn.as_ref().is_some_and(|(current, ..)| *current == conn);
        self.conns.remove(&conn);
        if open {
            self.processes[at].conn = None;
            self.processes[at].closed_at = self.now;
            let incarnation = self.processes[at].incarnation;
            self.deliver(at, incarnation, Event::Disconnected);
        }
    }

    pub(super) fn poll(&mut self, at: usize) {
        self.operator_calls += 1;
        if self.processes[at].master_cut_until > self.now {
            return;
        }
        if let Ok(list) = self.town.cluster.mesos.get_agents(self.now) {
            if self.notes {
                let listed = format!("controller-{at} lists {} agents", list.agents.len());
                self.town.meter.happened(listed, self.now);
            }
            self.hand(at, Event::Agents(agents_seen(&list)));
        }
    }

    /// What has left a process is carried out whatever becomes of it.
    pub(super) fn edit_schedule(&mut self, at: usize, incarnation: u64, edit: &ScheduleEdit) {
        self.operator_calls += 1;
        let (edit, forgotten) = match self.plant {
            Some(plant) => plant.edits(edit.clone()),
            None => (edit.clone(), Vec::new()),
        };
        let answer = if self.processes[at].master_cut_until > self.now {
            Err("the master cannot be reached".to_owned())
        } else {
            self.town.cluster.edit_schedule(self.now, &edit)
        };
        let answer = answer.map(|found| found.into_iter().chain(forgotten).collect());
        self.deliver(at, incarnation, Event::ScheduleEdited(answer));
    }
}
