//! Addresses of masters: their endpoints, and whom a standby refers to.

use reqwest::Url;

/// An address as people write it, without the slash that every URL ends in.
pub(super) fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// The URL of an endpoint of a master. A proxy may have put the master under a path of its own.
pub(super) fn endpoint(master: &Url, path: &str) -> Url {
    let mut url = master.clone();
    url.set_path(&format!("{}{path}", master.path().trim_end_matches('/')));
    url
}

/// Which master a standby means by `location`, given for `path` of `standby`. Its usual form has
/// neither scheme nor our path: `//HOST:PORT/master/api/v1/scheduler`. The scheme stays ours;
/// `None` if it is no address, or would send credentials in the clear.
pub(super) fn redirected(standby: &Url, path: &str, location: &str) -> Option<Url> {
    let mut url = endpoint(standby, path).join(location).ok()?;
    let downgraded = standby.scheme() == "https" && url.scheme() != "https";
    if downgraded || !matches!(url.scheme(), "http" | "https") || location.contains('@') {
        return None;
    }
    // libprocess puts `/master` before the path of what is asked of no process by name, and takes
    // either form: it is not a part of the address.
    let prefix = url.path().strip_suffix(path).filter(|prefix| *prefix != "/master");
    let prefix = prefix.unwrap_or_default().to_owned();
    url.set_path(&prefix);
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn point_07_a_redirect_keeps_the_scheme_and_finds_the_address_of_the_master() {
        const PATH: &str = "/api/v1/scheduler";
        let table = [
            // As recorded from a real standby (`11_nonleading_redirect`).
            ("http://b:5061", "//a:5060/master/api/v1/scheduler", Some("http://a:5060")),
            ("https://b:5061", "//a:5060/master/api/v1/scheduler", Some("https://a:5060")),
            ("http://b/mesos", "//a/mesos/master/api/v1/scheduler", Some("http://a/mesos/master")),
            ("http://b:5061", "//a:5060", Some("http://a:5060")),
            ("http://b:5061", "http://a:5060/api/v1/scheduler", Some("http://a:5060")),
            ("http://b:5061", "https://a:5060/api/v1/scheduler", Some("https://a:5060")),
            ("https://b:5061", "http://a:5060/api/v1/scheduler", None),
            ("http://b/mesos", "/leader/api/v1/scheduler", Some("http://b/leader")),
            ("http://b:5061", "ftp://a:5060", None),
            ("http://b:5061", "//u:p@a:5060", None),
            ("http://b:5061", "//", None),
        ];
        for (standby, location, leader) in table {
            let standby = Url::parse(standby).unwrap();
            let found = redirected(&standby, PATH, location);
            assert_eq!(found.as_ref().map(shown).as_deref(), leader, "{standby} {location}");
        }
    }

    #[test]
    fn an_endpoint_is_under_the_masters_path() {
        for (master, url) in [
            ("http://a:5050", "http://a:5050/api/v1"),
            ("http://a:5050/master", "http://a:5050/master/api/v1"),
            ("https://dcos/mesos/", "https://dcos/mesos/api/v1"),
        ] {
            assert_eq!(endpoint(&Url::parse(master).unwrap(), "/api/v1").as_str(), url);
        }
    }
}
