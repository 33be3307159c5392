//! The end: nothing of ours is left on the host.

use super::boot;
use super::host::{Host, HostError, blocking};

/// Removes all that the host remembers of us, unless a component is in force or a change at work.
pub(super) async fn leave(host: &Host) -> Result<(), HostError> {
    let state = host.state.clone();
    let lock = blocking(move || Ok(state.lock_to_leave()?)).await?;
    // It would fail at every start of the host: the program that it runs goes too.
    boot::disarm(host).await?;
    Ok(host.state.forget_all(lock)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::steps::fakes::Fake;

    const UNIT: &str = "/etc/systemd/system/calico-dcos-boot.service";
    const JOURNAL: &str = "/var/lib/calico-dcos/journal.json";

    #[tokio::test]
    async fn a_boot_unit_that_cannot_be_taken_off_is_not_left_behind_in_silence() {
        let fake = Fake::new();
        boot::arm(&fake.host).await.unwrap();
        fake.put("/var/lib/calico-dcos/starts.json", "{}");
        fake.machine().broken.push("disable calico-dcos-boot.service".to_owned());
        let why = leave(&fake.host).await.unwrap_err().sentence();
        assert!(why.contains("calico-dcos-boot.service"), "{why}");
        assert!(fake.text("/var/lib/calico-dcos/starts.json").is_some(), "it is told again");
        fake.machine().broken.clear();
        leave(&fake.host).await.unwrap();
        assert_eq!(fake.text(UNIT), None);
        assert_eq!(fake.host.root.list("/var/lib").unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn what_may_be_at_work_keeps_its_boot_unit() {
        let fake = Fake::new();
        boot::arm(&fake.host).await.unwrap();
        fake.put(JOURNAL, "damaged");
        leave(&fake.host).await.unwrap_err();
        assert!(fake.text(UNIT).is_some() && fake.text(JOURNAL).is_some());
    }
}
