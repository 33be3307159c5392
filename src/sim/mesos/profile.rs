//! What a master of an older version does not know yet: calls, capabilities and fields. The versions
//! are those of Mesos' `docs/upgrades.md` and its change log; [`features`](crate::mesos::features)
//! has a list of its own, so that a mistake in one of them is found by the other.

use serde_json::Value;

use super::master::Master;
use crate::mesos::v1::scheduler::Call;
use crate::mesos::v1::{CapabilityType, FrameworkInfo};

impl Master {
    /// Whether this master is of that minor version of Mesos 1, or newer.
    pub(super) fn since(&self, minor: u64) -> bool {
        (self.version.major, self.version.minor) >= (1, minor)
    }

    /// Whether it knows the type of a scheduler's call.
    pub(super) fn knows(&self, call: &Call) -> bool {
        !matches!(call, Call::UpdateFramework(_)) || self.since(9)
    }

    /// Whether it knows the type of an operator's call.
    pub(super) fn knows_operators(&self, kind: &str) -> bool {
        match kind {
            "MARK_AGENT_GONE" => self.since(5),
            "DRAIN_AGENT" | "DEACTIVATE_AGENT" | "REACTIVATE_AGENT" => self.since(9),
            _ => true,
        }
    }

    /// What it takes in of a framework: names of enums and fields that it does not know are as
    /// if they were not there.
    pub(super) fn understood(&self, mut info: FrameworkInfo) -> FrameworkInfo {
        info.capabilities.retain(|capability| {
            self.since(match capability.kind {
                CapabilityType::PartitionAware => 1,
                CapabilityType::MultiRole | CapabilityType::HierarchicalRole => 3,
                CapabilityType::ReservationRefinement => 4,
                CapabilityType::RegionAware => 5,
                _ => 0,
            })
        });
        if !self.since(3) {
            info.roles.clear();
        }
        info
    }

    /// Takes out of an agent what operators of this master are not told.
    pub(super) fn dated(&self, agent: &mut Value) {
        if let Some(agent) = agent.as_object_mut().filter(|_| !self.since(9)) {
            agent.remove("deactivated");
        }
    }
}
