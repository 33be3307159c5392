//! What masters can do, by their version: how we present ourselves to an older one, and which
//! are too old. The versions are those of Mesos' `docs/upgrades.md` and its change log.

use super::MesosError;
use super::v1::{Capability, CapabilityType, FrameworkInfo};

/// Major and minor version.
type Release = (u64, u64);

/// The oldest Mesos that this program works with: the first with the v1 API of schedulers,
/// executors and operators.
pub const OLDEST: &str = "1.0.0";
const OLDEST_RELEASE: Release = (1, 0);

/// What one master can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    release: Release,
}

impl Features {
    /// Of a master of this version, or an error if it is too old. One that numbers itself in a
    /// way of its own is taken for a new one.
    pub fn of(version: &str) -> Result<Self, MesosError> {
        let mut numbers = version.trim().split(['.', '-', '+']).map_while(|n| n.parse().ok());
        let release = match (numbers.next(), numbers.next()) {
            (Some(major), Some(minor)) => (major, minor),
            _ => return Ok(Self::newest()),
        };
        if release < OLDEST_RELEASE {
            return Err(MesosError::TooOld { version: version.to_owned() });
        }
        Ok(Self { release })
    }

    /// Of a master that does not say its version.
    #[must_use]
    pub fn newest() -> Self {
        Self { release: (u64::MAX, 0) }
    }

    /// Takes out of `info` what this master does not know: it would refuse the whole of it.
    /// Returns the roles that had to be given up.
    pub fn adapt(self, info: &mut FrameworkInfo) -> Vec<String> {
        info.capabilities.retain(|capability| since(&capability.kind) <= self.release);
        if since(&CapabilityType::MultiRole) <= self.release || info.roles.is_empty() {
            return Vec::new();
        }
        let mut roles = std::mem::take(&mut info.roles);
        // Resources that nobody has reserved are offered to every role.
        let kept = roles.iter().position(|role| role == "*").unwrap_or(0);
        info.role = Some(roles.remove(kept));
        roles
    }
}

/// The first release with a capability of frameworks.
fn since(capability: &CapabilityType) -> Release {
    match capability {
        CapabilityType::PartitionAware => (1, 1),
        CapabilityType::MultiRole | CapabilityType::HierarchicalRole => (1, 3),
        CapabilityType::ReservationRefinement => (1, 4),
        CapabilityType::RegionAware => (1, 5),
        _ => OLDEST_RELEASE,
    }
}

/// What we can do as a framework: offers of several roles, what became of tasks in full, and
/// agents with GPUs and in other regions, which are hidden from those who do not ask for them.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    let ours = [
        CapabilityType::MultiRole,
        CapabilityType::PartitionAware,
        CapabilityType::GpuResources,
        CapabilityType::RegionAware,
    ];
    ours.map(Capability::from).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> FrameworkInfo {
        FrameworkInfo {
            roles: vec!["slave_public".to_owned(), "*".to_owned()],
            capabilities: capabilities(),
            ..FrameworkInfo::default()
        }
    }

    #[test]
    fn an_older_master_is_told_only_what_it_knows() {
        use CapabilityType::{GpuResources, MultiRole, PartitionAware, RegionAware};
        let table: [(&str, &[CapabilityType], bool); 7] = [
            ("1.0.4", &[GpuResources], false),
            ("1.1.0", &[PartitionAware, GpuResources], false),
            ("1.2.3", &[PartitionAware, GpuResources], false),
            ("1.3.0-rc1", &[MultiRole, PartitionAware, GpuResources], true),
            ("1.9.0", &[MultiRole, PartitionAware, GpuResources, RegionAware], true),
            ("1.12.0-dev", &[MultiRole, PartitionAware, GpuResources, RegionAware], true),
            ("next", &[MultiRole, PartitionAware, GpuResources, RegionAware], true),
        ];
        for (version, capabilities, multi_role) in table {
            let mut info = info();
            let given_up = Features::of(version).unwrap().adapt(&mut info);
            let kinds: Vec<_> = info.capabilities.iter().map(|c| c.kind.clone()).collect();
            assert_eq!(kinds, capabilities, "{version}");
            if multi_role {
                assert!(info.role.is_none() && info.roles.len() == 2 && given_up.is_empty());
            } else {
                assert_eq!((info.role.as_deref(), info.roles.len()), (Some("*"), 0), "{version}");
                assert_eq!(given_up, ["slave_public"], "{version}");
            }
        }
    }

    #[test]
    fn a_master_below_the_oldest_is_refused() {
        for version in ["0.28.2", "0.23.0", "0.99.99-rc1"] {
            let error = Features::of(version).unwrap_err();
            assert!(error.to_string().contains("1.0.0"), "{error}");
            assert_eq!(error.next_step(), crate::mesos::NextStep::GiveUp);
        }
        Features::of(OLDEST).unwrap();
    }
}
