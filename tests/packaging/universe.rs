//! The DC/OS package in `charts/calico-dcos`.

use std::collections::{BTreeMap, BTreeSet};

use boon::{Compiler, Schemas};
use calico_dcos::desired::{self, Source};
use serde_json::{Value, json};

use super::{assert_good_app, cosmos, environment, json, path, text};

const PACKAGE: &str = "charts/calico-dcos";

fn file(name: &str) -> Value {
    json(&format!("{PACKAGE}/{name}"))
}

fn app(options: &Value) -> Value {
    let template = text(&format!("{PACKAGE}/marathon.json.mustache"));
    let (config, resource) = (file("config.json"), file("resource.json"));
    let given = cosmos::filled(&config, options);
    if let Err(error) = validate(&config, &given) {
        panic!("Cosmos would refuse {given:#}: {error}");
    }
    cosmos::app(&template, &config, &resource, options)
}

fn validate(schema: &Value, value: &Value) -> Result<(), String> {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("config.json", schema.clone()).unwrap();
    // The schema is checked against its own, that of draft 4.
    let index = compiler.compile("config.json", &mut schemas).unwrap();
    schemas.validate(value, index).map_err(|error| format!("{error:#}"))
}

/// All that has to be given.
fn least() -> Value {
    json!({"store": {"endpoints": "http://10.0.0.11:2379"}})
}

/// Every option, each with a value that is not its default.
fn most() -> Value {
    let digest = |digit: &str| digit.repeat(64);
    json!({
        "service": {
            "name": "infra/calico", "user": "calico", "instances": 3, "log-level": "debug",
            "log-format": "json", "token-file": "/etc/calico-dcos/token",
        },
        "calico": {
            "framework-name": "calico two", "principal": "calico-principal", "roles": "*,edge",
            "lease-seconds": 20, "start": "automatic", "max-concurrent-restarts": 4,
            "allow-docker-update": false, "allow-agent-update": false, "run-node": false,
            "run-libnetwork": true, "ignore-loose-rp-filter": false,
            "cpu-limit-framework": 0.5, "mem-limit-framework": 256, "cpu-limit-etcd-proxy": 0.05,
            "mem-limit-etcd-proxy": 64, "cpu-limit-node": 1, "mem-limit-node": 512,
            "cpu-limit-libnetwork": 0.25, "mem-limit-libnetwork": 96,
        },
        "store": {
            "endpoints": "https://10.0.0.11:2379,https://10.0.0.12:2379", "prefix": "/two",
            "user": "calico", "password-file": "/etc/calico-dcos/password",
            "ca-file": "/etc/calico-dcos/ca.pem", "cert-file": "/etc/calico-dcos/cert.pem",
            "key-file": "/etc/calico-dcos/key.pem", "allow-open": true,
        },
        "etcd": {
            "run-proxy": false, "etcd-discovery-url": "etcd.example.com",
            "proxy-endpoints": "http://10.0.0.11:2379,http://10.0.0.12:2379",
            "proxy-mode": "v2-proxy", "proxy-binary-url": "https://mirror.example.com/etcd.tar.gz",
            "proxy-binary-sha256": digest("1"), "etcd-endpoints": "http://10.0.0.11:2379",
        },
        "docker": {
            "override-docker-cluster-store": "etcd://10.0.0.11:2379",
            "cluster-advertise": "eth0:2376",
        },
        "mesos": {
            "master": "zk://10.0.0.11:2181,10.0.0.12:2181/mesos",
            "credentials-file": "/etc/calico-dcos/mesos", "ca-file": "/etc/calico-dcos/mesos.pem",
            "cni-plugins-dir": "/opt/cni/bin", "cni-config-dir": "/etc/cni/net.d",
            "cni-plugin-url": "https://mirror.example.com/calico",
            "cni-plugin-sha256": digest("2"),
            "cni-ipam-plugin-url": "https://mirror.example.com/calico-ipam",
            "cni-ipam-plugin-sha256": digest("3"),
        },
        "resource-overrides": {
            "node-image": "registry.example.com/calico/node:v2.6.11",
            "libnetwork-image": "registry.example.com/calico/node-libnetwork:v0.8.0",
            "installer-url": "https://mirror.example.com/calico-dcos",
        },
    })
}

/// Every option with its schema, as `section.option`.
fn options() -> Vec<(String, Value)> {
    let config = file("config.json");
    let sections = config["properties"].as_object().unwrap();
    let each = sections.iter().flat_map(|(section, schema)| {
        let options = schema["properties"].as_object().unwrap();
        options.iter().map(move |(name, schema)| (format!("{section}.{name}"), schema.clone()))
    });
    each.collect()
}

fn option<'v>(values: &'v Value, name: &str) -> &'v Value {
    let (section, option) = name.split_once('.').unwrap();
    &values[section][option]
}

fn set(values: &mut Value, name: &str, value: &Value) {
    let (section, option) = name.split_once('.').unwrap();
    values[section][option] = value.clone();
}

/// The documents of an app: valid, and without remarks.
fn documents(app: &Value) -> desired::Desired {
    let text = &environment(app)["CALICO_DCOS_INITIAL_DOCUMENTS"];
    let desired = desired::read(&[Source::file("initial", text.as_str())])
        .unwrap_or_else(|findings| panic!("{findings}\n{text}"));
    assert_eq!(desired.remarks, [], "{text}");
    desired
}

#[test]
fn the_package_keeps_the_rules_of_universe() {
    let package = file("package.json");
    assert_eq!(
        (&package["packagingVersion"], &package["name"]),
        (&json!("4.0"), &json!("calico-dcos"))
    );
    assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
    let required = [
        "packagingVersion",
        "name",
        "version",
        "maintainer",
        "description",
        "tags",
        "upgradesFrom",
        "downgradesTo",
        "minDcosReleaseVersion",
    ];
    let optional = [
        "scm",
        "website",
        "framework",
        "preInstallNotes",
        "postInstallNotes",
        "postUninstallNotes",
        "selected",
        "licenses",
    ];
    let keys: BTreeSet<&str> = package.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(required.iter().all(|key| keys.contains(key)), "{keys:?}");
    assert!(keys.iter().all(|key| required.contains(key) || optional.contains(key)), "{keys:?}");
    assert!(
        package["tags"].as_array().unwrap().iter().all(|tag| !tag.as_str().unwrap().contains(' '))
    );
    // Universe's own validator fails on anything else than ASCII, also escaped.
    for name in ["package.json", "config.json", "resource.json", "marathon.json.mustache"] {
        let text = text(&format!("{PACKAGE}/{name}"));
        assert!(text.is_ascii() && !text.contains("\\u"), "{name}");
    }
    // Who uninstalls it first has nothing any more that takes Calico off.
    let after = package["postUninstallNotes"].as_str().unwrap();
    assert!(after.contains("`calico-dcos teardown`"), "{after}");
    let usage = calico_dcos::cli::usage();
    assert!(usage.find_subcommand("teardown").is_some());
    let notes = package["postInstallNotes"].as_str().unwrap();
    let variables = notes.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    let variables: BTreeSet<_> =
        variables.filter(|word| word.starts_with("CALICO_DCOS_")).collect();
    let status = usage.find_subcommand("status").unwrap();
    let known: BTreeSet<_> =
        status.get_arguments().filter_map(|argument| argument.get_env()?.to_str()).collect();
    assert!(variables.contains("CALICO_DCOS_ETCD_ENDPOINTS"), "{notes}");
    assert!(variables.is_subset(&known), "{variables:?} of {known:?}");
    let resource = file("resource.json");
    assert_eq!(resource.as_object().unwrap().keys().collect::<Vec<_>>(), ["assets"]);
    // Nothing else is in there: `command.json` is forbidden since 4.0.
    let files = std::fs::read_dir(path(PACKAGE)).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name()).collect();
    let four = ["config.json", "marathon.json.mustache", "package.json", "resource.json"];
    assert_eq!(files, four.map(Into::into).into_iter().collect());
}

#[test]
fn options_are_described_and_have_defaults_that_are_allowed() {
    let config = file("config.json");
    let defaults = cosmos::filled(&config, &json!({}));
    let refusal = validate(&config, &defaults).unwrap_err();
    assert!(refusal.contains("endpoints"), "where etcd is cannot be guessed: {refusal}");
    validate(&config, &cosmos::filled(&config, &least())).unwrap();
    for (name, schema) in options() {
        assert!(schema["description"].as_str().is_some_and(|text| text.ends_with('.')), "{name}");
        if let Some(default) = schema.get("default") {
            validate(&schema, default).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        // A quote would end the text that the template puts it into.
        if schema["type"] == "string" && schema["enum"].is_null() {
            validate(&schema, &json!("/https://x\"y\\z/calico-dcos")).unwrap_err();
        }
    }
    let digest = "0".repeat(64);
    for (section, lonely) in [
        ("etcd", json!({"proxy-binary-url": "https://x/etcd"})),
        ("mesos", json!({"cni-plugin-url": "https://x/c", "cni-plugin-sha256": digest})),
        ("calico", json!({"max-concurrent-restarts": -1})),
        ("calico", json!({"max-concurent-restarts": 1})),
        ("store", json!({"endpoints": ""})),
    ] {
        let mut options = least();
        for (name, value) in lonely.as_object().unwrap() {
            options[section][name] = value.clone();
        }
        let refused = validate(&config, &cosmos::filled(&config, &options));
        assert!(refused.is_err(), "{section} {lonely}");
    }
}

#[test]
fn with_defaults_it_runs_and_waits_for_approval() {
    let app = app(&least());
    assert_good_app(&app);
    assert_eq!((app["id"].as_str(), app["instances"].as_u64()), (Some("/calico-dcos"), Some(1)));
    let desired = documents(&app);
    let spec = desired.cluster.spec;
    assert_eq!(spec.rollout.start, desired::Start::Approved);
    assert!(spec.etcd_proxy.is_some() && spec.docker.is_some() && spec.mesos_agent.is_some());
    assert!(spec.calico_node.is_some() && spec.calico_libnetwork.is_none());
}

#[test]
fn with_every_option_set_it_runs() {
    let most = most();
    let app = app(&most);
    assert_good_app(&app);
    assert_eq!(app["labels"]["DCOS_PACKAGE_FRAMEWORK_NAME"], "calico two");
    documents(&app);
    let default = cosmos::filled(&file("config.json"), &json!({}));
    for (name, _) in options() {
        let value = option(&most, &name);
        assert!(!value.is_null(), "`most` does not set {name}");
        assert_ne!(value, option(&default, &name), "{name}");
    }
}

#[test]
fn every_option_has_an_effect_and_leaves_a_good_app() {
    // Everything on, so that an option of a component is not hidden by the one that leaves it out.
    let mut on = least();
    on["resource-overrides"] = json!({});
    on["calico"] = json!({"run-libnetwork": true});
    let whole = ["etcd.proxy-binary-url", "mesos.cni-plugin-url"];
    for (name, schema) in options() {
        let mut before = on.clone();
        for section in ["service", "etcd", "docker", "mesos"] {
            before[section] = json!({});
        }
        let dependent = ["proxy-binary-", "cni-plugin-", "cni-ipam-"];
        if dependent.iter().any(|part| name.contains(part)) {
            let all = options();
            let parts =
                all.iter().filter(|(one, _)| dependent.iter().any(|part| one.contains(part)));
            parts.for_each(|(one, _)| set(&mut before, one, option(&most(), one)));
        }
        let mut after = before.clone();
        let other = match option(&most(), &name) {
            _ if whole.contains(&name.as_str()) => json!("https://other.example.com/file"),
            _ if name.ends_with("sha256") => json!("4".repeat(64)),
            _ if name == "mesos.cni-ipam-plugin-url" => json!("https://other.example.com/ipam"),
            _ if name == "calico.run-libnetwork" => json!(false),
            value => value.clone(),
        };
        set(&mut after, &name, &other);
        let (before, after) = (app(&before), app(&after));
        assert_ne!(before, after, "{name} changes nothing ({schema})");
        assert_good_app(&after);
        documents(&after);
    }
}

#[test]
fn every_option_of_the_package_calico_has_a_place_or_a_reason() {
    let guide = text("charts/README.md");
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: BTreeMap<&str, &str> = rows.filter_map(|row| row.split_once("` | ")).collect();
    let known: BTreeSet<String> = options().into_iter().map(|(name, _)| name).collect();
    let old = [
        "calico.framework-name",
        "calico.allow-agent-update",
        "calico.allow-docker-update",
        "calico.max-concurrent-restarts",
        "calico.zk",
        "calico.cpu-limit-framework",
        "calico.mem-limit-framework",
        "calico.cpu-limit-install",
        "calico.mem-limit-install",
        "calico.cpu-limit-etcd-proxy",
        "calico.mem-limit-etcd-proxy",
        "calico.cpu-limit-node",
        "calico.mem-limit-node",
        "calico.cpu-limit-libnetwork",
        "calico.mem-limit-libnetwork",
        "calico.status-dns",
        "etcd.etcd-discovery-url",
        "mesos.master",
        "mesos.cni-plugins-dir",
        "mesos.cni-config-dir",
        "resource-overrides.node-image",
        "resource-overrides.installer-url",
        "resource-overrides.framework-image",
        "Etcd Settings.run-proxy",
        "Etcd Settings.etcd-endpoints",
        "Configure Docker Cluster-Store.enable",
        "Configure Docker Cluster-Store.override-docker-cluster-store",
        "Install CNI.enable",
        "Run Calico-Node.enable",
        "Run Calico-Libnetwork.enable",
    ];
    for name in old {
        let row = rows.get(name).unwrap_or_else(|| panic!("{name} is not in charts/README.md"));
        let place = row.split('`').nth(1).filter(|_| row.starts_with('`'));
        match place {
            Some(place) => assert!(known.contains(place), "{name}: there is no {place}"),
            None => assert!(row.starts_with("none: "), "{name}: {row}"),
        }
        let kept = known.contains(name);
        assert!(!kept || place == Some(name), "{name} is kept, and the guide says {row}");
    }
}
