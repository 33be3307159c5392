//! Texts that are checked when they are read, so that a value of such a type is always good.
//!
//! Each has a `format` in the JSON Schema; [`check`] finds the rule by it. That keeps the
//! structural check (which reports all findings) and deserialising (which stops at the first)
//! on one rule.

use std::fmt;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The text does not have the form that its place asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {allowed}")]
pub struct BadText {
    /// What is allowed, as it reads after "expected".
    pub allowed: &'static str,
}

/// Defaults of ours, which need no check at run time: a test reads all of them back.
pub(super) trait Known {
    fn known(text: &str) -> Self;
}

macro_rules! texts {
    ($(
        $(#[$doc:meta])*
        $name:ident { format: $format:literal, allowed: $allowed:literal, check: $check:expr }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
            #[serde(try_from = "String", into = "String")]
            pub struct $name(String);

            impl $name {
                /// The text as written.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl Known for $name {
                fn known(text: &str) -> Self {
                    Self(text.to_owned())
                }
            }

            impl TryFrom<String> for $name {
                type Error = BadText;

                fn try_from(text: String) -> Result<Self, BadText> {
                    let good: fn(&str) -> bool = $check;
                    if good(&text) { Ok(Self(text)) } else { Err(BadText { allowed: $allowed }) }
                }
            }

            impl std::str::FromStr for $name {
                type Err = BadText;

                fn from_str(text: &str) -> Result<Self, BadText> {
                    text.to_owned().try_into()
                }
            }

            impl From<$name> for String {
                fn from(text: $name) -> Self {
                    text.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }

            impl JsonSchema for $name {
                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                    schemars::json_schema!({
                        "type": "string", "format": $format, "description": $allowed,
                    })
                }
            }
        )*

        /// Checks `text` by the rule of `format`; a format without a rule allows everything.
        pub(super) fn check(format: &str, text: &str) -> Result<(), BadText> {
            match format {
                $($format => $name::try_from(text.to_owned()).map(drop),)*
                super::limit::FORMAT => text.parse::<super::limit::Percent>().map(drop),
                _ => Ok(()),
            }
        }

        /// Every format that has a rule.
        const FORMATS: &[&str] = &[$($format,)* super::limit::FORMAT];
    };
}

texts! {
    /// The name of a Cluster or Pool. It becomes a part of an etcd key.
    Name {
        format: "name",
        allowed: "a name of lower-case letters, digits and `-`, at most 63 of them, such as `edge-1`",
        check: is_name
    }
    /// The reference of a container image.
    Image {
        format: "image-reference",
        allowed: "an image reference such as `calico/node:v2.6.12` or `registry.example:5000/calico/node@sha256:…`",
        check: is_image
    }
    /// An absolute path on a host (or in a container).
    AbsolutePath {
        format: "absolute-path",
        allowed: "an absolute path without `.` and `..`, such as `/etc/calico/ca.pem`",
        check: is_absolute_path
    }
    /// Where something is downloaded or asked. User names and passwords do not belong into it.
    HttpUrl {
        format: "http-url",
        allowed: "a URL of http or https without user name and password, such as `https://mirror.example/etcd.tar.gz`",
        check: is_http_url
    }
    /// A client URL of an etcd member.
    EtcdEndpoint {
        format: "etcd-endpoint",
        allowed: "an etcd client URL with port, without path, user name and password, such as `https://10.0.0.1:2379`",
        check: is_etcd_endpoint
    }
    /// Docker's cluster store, in the form in which Docker takes it.
    ClusterStore {
        format: "cluster-store",
        allowed: "an etcd address in Docker's form without user name and password, such as `etcd://127.0.0.1:2379` or `etcd://10.0.0.1:2379,10.0.0.2:2379`",
        check: is_cluster_store
    }
    /// What Docker announces as its own address.
    Advertise {
        format: "cluster-advertise",
        allowed: "an interface or IP address with a port, such as `eth0:2376` or `10.0.0.1:2376`",
        check: is_advertise
    }
    /// An IP address and a port to listen on.
    Listen {
        format: "listen-address",
        allowed: "an IP address and a port, such as `127.0.0.1:2379`",
        check: |text| text.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0)
    }
    /// A host and a port, without a scheme.
    Authority {
        format: "authority",
        allowed: "a host and a port, such as `127.0.0.1:2379`",
        check: is_host_port
    }
    /// A DNS name.
    DnsName {
        format: "dns-name",
        allowed: "a DNS name such as `etcd.mesos`",
        check: is_dns_name
    }
    /// The SHA-256 of a file.
    Sha256 {
        format: "sha256",
        allowed: "a SHA-256 in 64 lower-case hex digits, as `sha256sum FILE` prints it",
        check: is_sha256
    }
    /// The file name of a CNI plugin.
    PluginName {
        format: "plugin-name",
        allowed: "a file name such as `calico-ipam`",
        check: is_file_name
    }
    /// The name of an environment variable.
    EnvName {
        format: "environment-name",
        allowed: "a variable name of letters, digits and `_` that does not begin with a digit, such as `ETCD_ENDPOINTS`",
        check: is_env_name
    }
    /// What a host's own address is looked up for: the source address that the host would use
    /// towards the Mesos masters (`masters`), or towards the host named.
    Route {
        format: "route",
        allowed: "`masters`, an IP address or a DNS name",
        check: |text| text.parse::<std::net::IpAddr>().is_ok() || is_dns_name(text)
    }
    /// A time of day, by the clock of a window's time zone; `24:00` is the end of the day.
    ClockTime {
        format: "clock-time",
        allowed: "a time of day from `00:00` to `24:00`",
        check: |text| clock_minutes(text).is_some()
    }
    /// A time zone of the IANA data base.
    TimeZoneName {
        format: "time-zone",
        allowed: "a time zone of the IANA data base such as `Europe/Berlin` or `UTC`",
        check: is_time_zone
    }
}

/// Whether the `format` of a schema is one of ours.
pub(super) fn is_rule(format: &serde_json::Value) -> bool {
    format.as_str().is_some_and(|format| FORMATS.contains(&format))
}

impl ClusterStore {
    /// The hosts with their ports.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let rest = self.0.strip_prefix("etcd://").unwrap_or_default();
        rest.split_once('/').map_or(rest, |(hosts, _)| hosts).split(',')
    }
}

impl ClockTime {
    /// Minutes since midnight, 0 to 1440.
    pub fn minutes(&self) -> u16 {
        clock_minutes(&self.0).unwrap_or_default()
    }
}

fn all(text: &str, allowed: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || allowed.contains(c))
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && all(text, "-")
        && !text.bytes().any(|b| b.is_ascii_uppercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The grammar of `distribution/reference`: `[domain[:port]/]path[:tag][@algorithm:hex]`.
fn is_image(text: &str) -> bool {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let good_digest = digest.is_none_or(|d| d.strip_prefix("sha256:").is_some_and(is_sha256));
    let (rest, tag) = match rest.rsplit_once(':') {
        Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag)),
        _ => (rest, None),
    };
    let good_tag = tag.is_none_or(|tag| {
        (1..=128).contains(&tag.len()) && all(tag, "_.-") && !tag.starts_with(['.', '-'])
    });
    let mut parts: Vec<&str> = rest.split('/').collect();
    // The first part is a registry only if it looks like a host; `calico/node` has none.
    let registry = parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost");
    let good_registry = !registry || is_registry(parts.remove(0));
    let good_path = parts.iter().all(|part| {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        all(part, "_.-")
            && !part.bytes().any(|b| b.is_ascii_uppercase())
            && part.starts_with(edge)
            && part.ends_with(edge)
    });
    rest.len() <= 255 && good_digest && good_tag && good_registry && good_path
}

fn is_registry(text: &str) -> bool {
    if text.contains(':') { is_host_port(text) } else { is_dns_name(text) }
}

fn is_absolute_path(text: &str) -> bool {
    text.len() > 1
        && text.starts_with('/')
        && !text.contains(char::is_control)
        && !text.split('/').any(|part| part == "." || part == "..")
}

/// Scheme and authority of a URL; none if it is no URL or names a user.
fn url_parts(text: &str) -> Option<(String, http::uri::Authority, String)> {
    let uri: http::Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?.to_owned(), uri.authority()?.clone());
    let rest = uri.path_and_query().map_or("", |rest| rest.as_str()).to_owned();
    (!authority.as_str().contains('@') && !authority.host().is_empty())
        .then_some((scheme, authority, rest))
}

fn is_http_url(text: &str) -> bool {
    url_parts(text).is_some_and(|(scheme, ..)| scheme == "http" || scheme == "https")
}

fn is_etcd_endpoint(text: &str) -> bool {
    url_parts(text).is_some_and(|(scheme, authority, rest)| {
        (scheme == "http" || scheme == "https")
            && is_host_port(authority.as_str())
            && matches!(rest.as_str(), "" | "/")
            && !text.ends_with(['?', '#'])
    })
}

fn is_cluster_store(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("etcd://") else { return false };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    hosts.split(',').all(is_host_port) && all(path, "_.-/")
}

fn is_advertise(text: &str) -> bool {
    is_host_port(text)
        || text.split_once(':').is_some_and(|(name, port)| {
            (1..=15).contains(&name.len()) && all(name, "_.-") && is_port(port)
        })
}

fn is_port(text: &str) -> bool {
    all(text, "") && text.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_host_port(text: &str) -> bool {
    match text.parse::<SocketAddr>() {
        Ok(address) => address.port() != 0,
        Err(_) => {
            text.rsplit_once(':').is_some_and(|(host, port)| is_dns_name(host) && is_port(port))
        }
    }
}

fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && all(label, "-_")
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_file_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && all(text, "_.-") && !text.starts_with('.')
}

fn is_env_name(text: &str) -> bool {
    !text.is_empty() && all(text, "_") && !text.starts_with(|c: char| c.is_ascii_digit())
}

fn clock_minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str| {
        (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| digits.parse::<u16>().ok())?
    };
    let total = two(hours)? * 60 + two(minutes).filter(|m| *m < 60)?;
    (total <= 24 * 60).then_some(total)
}

fn is_time_zone(text: &str) -> bool {
    // The data base is bundled: a host without one takes the same documents.
    jiff::tz::TimeZoneDatabase::bundled().get(text).is_ok()
}
