//! What no structure can say: rules across fields and documents.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::limit::Limit;
use super::path::{Step, child, item, steps};
use super::read::Good;
use super::resolve::{laid_over, refuse_shared_fields};
use super::sheet::{Sheet, has_password, is_secret};
use super::spec::{Spec, complete};
use super::types::{Cluster, Pool, ProxyMode, Selector, Window};
use super::yaml::{Node, Span, Value};
use crate::words::Component;

/// Where the value of a field stands; where the field is absent, the nearest that leads to it.
fn locate(root: &Node, path: &str) -> Span {
    let (mut node, mut span) = (root, &root.span);
    for step in steps(path).unwrap_or_default() {
        let next = match (&step, &node.value) {
            (Step::Key(key), Value::Map(entries)) => entries
                .iter()
                .find(|entry| entry.key == *key)
                .map(|entry| (&entry.value, &entry.key_span)),
            (Step::Index(index), Value::List(items)) => {
                items.get(*index).map(|item| (item, &item.span))
            }
            _ => None,
        };
        match next {
            Some((value, at)) => (node, span) = (value, at),
            None => return span.clone(),
        }
    }
    // A scalar is pointed at itself, anything larger by its key.
    if matches!(node.value, Value::Map(_) | Value::List(_)) {
        span.clone()
    } else {
        node.span.clone()
    }
}

/// Secrets do not belong into documents: they are readable in etcd, in `get`, in the history.
pub(super) fn secrets(sheet: &mut Sheet<'_>, root: &Node) {
    for component in Component::ALL {
        let section = root.get("spec").and_then(|spec| spec.get(component.name()));
        if let Some(section) = section {
            secrets_below(sheet, section, &format!("spec.{component}"));
        }
    }
}

fn secrets_below(sheet: &mut Sheet<'_>, node: &Node, path: &str) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let path = child(path, &entry.key);
                match &entry.value.value {
                    Value::Text(text) if is_secret(&entry.key, text) => {
                        refuse_secret(sheet, &entry.value.span, &entry.key, text, &path);
                    }
                    _ => secrets_below(sheet, &entry.value, &path),
                }
            }
        }
        Value::List(items) => {
            for (index, node) in items.iter().enumerate() {
                let path = item(path, index);
                match &node.value {
                    Value::Text(text) if is_secret("", text) => {
                        refuse_secret(sheet, &node.span, &path, text, &path);
                    }
                    _ => secrets_below(sheet, node, &path),
                }
            }
        }
        _ => {}
    }
}

fn refuse_secret(sheet: &mut Sheet<'_>, at: &Span, name: &str, value: &str, path: &str) {
    let what = if has_password(value) { "has a password in it" } else { "looks like a secret" };
    let message = format!("`{name}` {what}, and a document is no place for one");
    let help = if path.contains(".env.") {
        format!(
            "put it into a file on each host and write `{name}: {{fromFile: /etc/calico/FILE}}`"
        )
    } else {
        "put it into a file on each host, and name the file by a field or option whose name ends in `file`".to_owned()
    };
    sheet.find(at, path, message, Some(help));
}

/// Checks what concerns more than one field. Returns what is no error but has no effect, or not
/// the one that its author may expect.
pub(super) fn check(
    cluster: &Good<Cluster>,
    pools: &[Good<Pool>],
    sheets: &mut [Sheet<'_>],
) -> Vec<Finding> {
    let mut rules = Rules { sheets, warnings: Vec::new() };
    rules.windows(cluster.source, &cluster.root, &cluster.document.spec.rollout.windows);
    rules.cluster(cluster);
    let sound = rules.components(cluster, None);
    for pool in pools {
        let windows = pool.document.spec.rollout.windows.as_deref().unwrap_or_default();
        rules.windows(pool.source, &pool.root, windows);
        rules.pool(cluster, pool);
        if sound {
            rules.components(cluster, Some(pool));
        }
    }
    rules.overlaps(pools);
    rules.warnings
}

struct Rules<'r, 's> {
    sheets: &'r mut [Sheet<'s>],
    warnings: Vec<Finding>,
}

impl Rules<'_, '_> {
    fn find(&mut self, source: usize, root: &Node, path: &str, message: &str, help: &str) {
        let at = locate(root, path);
        self.sheets[source].find(&at, path, message, Some(help.to_owned()));
    }

    fn warn(&mut self, source: usize, root: &Node, path: &str, message: &str, help: &str) {
        let at = locate(root, path);
        let warning = self.sheets[source].finding(&at, path, message, Some(help.to_owned()));
        self.warnings.push(warning);
    }

    fn windows(&mut self, source: usize, root: &Node, windows: &[Window]) {
        for (index, window) in windows.iter().enumerate() {
            if window.start.minutes() == window.end.minutes() {
                let path = format!("spec.rollout.windows[{index}].end");
                let message = "the window ends when it starts";
                let help = "for the whole day write `start: \"00:00\"` and `end: \"24:00\"`";
                self.find(source, root, &path, message, help);
            }
        }
    }

    fn cluster(&mut self, cluster: &Good<Cluster>) {
        let (source, root) = (cluster.source, &cluster.root);
        let rollout = &cluster.document.spec.rollout;
        if is_zero(rollout.max_concurrent_restarts) {
            let path = "spec.rollout.maxConcurrentRestarts";
            let message = "the budget is zero: nothing that disrupts a host will ever start";
            self.warn(
                source,
                root,
                path,
                message,
                "to stop for a while, `paused: true` says it better",
            );
        }
        if rollout.canary.as_ref().is_some_and(|canary| is_zero(canary.hosts)) {
            let path = "spec.rollout.canary.hosts";
            let message = "a canary of no hosts would hold the rollout for ever";
            self.find(source, root, path, message, "write at least 1, or take `canary` out");
        }
    }

    fn pool(&mut self, cluster: &Good<Cluster>, pool: &Good<Pool>) {
        let (source, root) = (pool.source, &pool.root);
        let selector = &pool.document.spec.selector;
        let blank = selector.attributes.is_empty()
            && selector.roles.is_empty()
            && selector.names.is_empty();
        if blank {
            let help = "give `attributes`, `roles` or `names`; what is for all hosts belongs into the Cluster";
            self.find(source, root, "spec.selector", "the selector selects nothing", help);
        }
        let own = pool.document.spec.rollout.max_concurrent_restarts;
        let most = cluster.document.spec.rollout.max_concurrent_restarts;
        if let Some(own) = own.filter(|own| exceeds(*own, most)) {
            let message = format!("the pool's limit {own} is above the Cluster's, {most}");
            let help =
                "a pool can only be slower than the Cluster; lower the one or raise the other";
            self.find(source, root, "spec.rollout.maxConcurrentRestarts", &message, help);
        }
        let spec = root.get("spec").map_or(0, |spec| spec.entries().len());
        if spec <= 1 {
            let message = "the pool sets nothing";
            self.warn(
                source,
                root,
                "spec",
                message,
                "add what is to differ on its hosts, or delete it",
            );
        }
    }

    /// Pools that both name a host, and set the same of its fields. (Whether pools that select by
    /// attribute or role meet on a host is known when the hosts are.)
    fn overlaps(&mut self, pools: &[Good<Pool>]) {
        let by_name = |selector: &Selector| {
            let others = !selector.attributes.is_empty() || !selector.roles.is_empty();
            if others { BTreeSet::new() } else { selector.names.clone() }
        };
        for (index, pool) in pools.iter().enumerate() {
            let names = by_name(&pool.document.spec.selector);
            for other in &pools[..index] {
                let others = by_name(&other.document.spec.selector);
                let Some(host) = names.intersection(&others).next() else { continue };
                if let Err(conflict) = refuse_shared_fields(&[&other.document, &pool.document]) {
                    let message = format!("{conflict} (as `{host}` is)");
                    let at = locate(&pool.root, "spec.selector.names");
                    self.sheets[pool.source].find(&at, "spec.selector.names", message, None);
                }
            }
        }
    }

    /// The components as a host gets them that is in this pool and no other; whether all are good.
    fn components(&mut self, cluster: &Good<Cluster>, pool: Option<&Good<Pool>>) -> bool {
        let (source, root) = pool.map_or((cluster.source, &cluster.root), |p| (p.source, &p.root));
        let over: Vec<&Pool> = pool.iter().map(|pool| &pool.document).collect();
        let (mut sound, mut specs) = (true, Vec::new());
        for component in Component::ALL {
            let below = cluster.document.spec.section(component);
            let Some(written) = laid_over(component, below, &over) else { continue };
            let path = format!("spec.{component}");
            match complete(component, &written) {
                Ok(resolved) => {
                    if pool.is_none_or(|pool| pool.document.spec.section(component).is_some()) {
                        self.unused(source, root, &path, &resolved.spec);
                    }
                    specs.push(resolved.spec);
                }
                Err(error) => {
                    sound = false;
                    let message = match pool {
                        None => format!("this section is not complete: {error}"),
                        Some(_) => {
                            format!("with the Cluster's, this section is not complete: {error}")
                        }
                    };
                    let help = "add what is missing, here or in the Cluster";
                    self.find(source, root, &path, &message, help);
                }
            }
        }
        self.proxy_serves_docker(source, root, &specs);
        sound
    }

    /// Docker speaks etcd's v2 API, which a `grpc-proxy` does not pass (etcd 3.1 to 3.6: 404).
    fn proxy_serves_docker(&mut self, source: usize, root: &Node, specs: &[Spec]) {
        let listens = specs.iter().find_map(|spec| match spec {
            Spec::EtcdProxy(proxy) if proxy.mode == ProxyMode::GrpcProxy => Some(&proxy.listen),
            _ => None,
        });
        let store = specs.iter().find_map(|spec| match spec {
            Spec::Docker(docker) => Some(&docker.cluster_store),
            _ => None,
        });
        if let (Some(listens), Some(store)) = (listens, store)
            && store.hosts().any(|host| host == listens.as_str())
        {
            let message =
                "Docker's cluster store needs etcd's v2 API, and a grpc-proxy passes v3 only";
            let help = "use `mode: gateway`, which passes both";
            self.find(source, root, "spec.etcdProxy.mode", message, help);
        }
    }

    /// Warns of fields that are not in force.
    fn unused(&mut self, source: usize, root: &Node, path: &str, spec: &Spec) {
        let unused = match spec {
            Spec::EtcdProxy(proxy) if proxy.mode == ProxyMode::Gateway && proxy.tls.is_some() => {
                ("tls", "a gateway passes TLS through and needs no certificates")
            }
            Spec::MesosAgent(super::MesosAgent::Cni(_)) => {
                ("netModules", "with `networking: cni` this section is not in force")
            }
            Spec::MesosAgent(super::MesosAgent::NetModules(_)) => {
                ("cni", "with `networking: netModules` this section is not in force")
            }
            _ => return,
        };
        let (field, message) = unused;
        let section = root.get("spec").and_then(|spec| spec.get(path.trim_start_matches("spec.")));
        if section.is_some_and(|section| section.get(field).is_some()) {
            self.warn(
                source,
                root,
                &child(path, field),
                message,
                "take it out if it is not kept for later",
            );
        }
    }
}

fn is_zero(limit: Limit) -> bool {
    limit.of(usize::MAX / 100) == 0
}

/// Whether one limit is above the other whatever the number of hosts; a number and a percentage
/// cannot be compared.
fn exceeds(own: Limit, most: Limit) -> bool {
    match (own, most) {
        (Limit::Count(own), Limit::Count(most)) => own > most,
        (Limit::Percent(own), Limit::Percent(most)) => own > most,
        _ => false,
    }
}
