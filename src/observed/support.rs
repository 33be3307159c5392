//! What other software can do, by what it says of itself: said once, for plans and for hosts.

/// The first two numbers of a version. Docker's old ones have leading zeros (`17.03.2-ce`), which semver
/// refuses.
#[must_use]
pub fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-', '~', '+']).map_while(|part| part.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// Whether this Docker takes a *first* store by reload, if an advertise address comes with it.
#[must_use]
pub fn takes_first_store_by_reload(docker: &str) -> bool {
    release(docker).is_some_and(|release| ((1, 11)..=(20, 10)).contains(&release))
}

/// Whether the `network/cni` isolator of this Mesos reads network documents when a container starts.
#[must_use]
pub fn reads_networks_live(mesos: &str) -> bool {
    release(mesos).is_some_and(|release| release >= (1, 2))
}

/// Why a store that somebody else has set in `file`, by this key, is not managed.
#[must_use]
pub fn foreign_store(key: &str, file: &str) -> String {
    format!(
        "somebody else has set `{key}` in {file}, which is left alone; take it out to have the store managed, or declare what is there"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_written() {
        for (version, expected) in [
            ("20.10.24", Some((20, 10))),
            ("17.03.2-ce", Some((17, 3))),
            ("1.11.0~dcos", Some((1, 11))),
            ("1.2-rc1", Some((1, 2))),
            ("2", None),
            ("", None),
        ] {
            assert_eq!(release(version), expected, "{version}");
        }
        let reloads =
            ["1.10.3", "1.11.0", "20.10.24", "23.0.1", "?"].map(takes_first_store_by_reload);
        assert_eq!(reloads, [false, true, true, false, false]);
        assert_eq!(["1.1.0", "1.2.0", "?"].map(reads_networks_live), [false, true, false]);
    }
}
