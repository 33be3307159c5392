//! The `mesosAgent` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Download, Managed, Resources};
use crate::desired::text::{AbsolutePath, Authority, HttpUrl, Known, PluginName, Sha256};
use crate::words::Component;

/// How Mesos' own containers get their network: exactly one of two ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub enum MesosAgent {
    /// CNI: Mesos 1.0 and later.
    Cni(Cni),
    /// net-modules: Mesos 0.26 to 0.28.
    NetModules(NetModules),
}

impl Managed for MesosAgent {
    const COMPONENT: Component = Component::MesosAgent;
    const REQUIRED: &'static [&'static str] = &[];
    const RESOURCES: Option<Resources> = None;
}

/// How Mesos' own containers get their network.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "MesosAgent")]
struct Form {
    /// Which of the two sections below is in force.
    networking: Networking,
    /// CNI: Mesos 1.0 and later.
    #[serde(skip_serializing_if = "Option::is_none")]
    cni: Option<Cni>,
    /// net-modules: Mesos 0.26 to 0.28.
    #[serde(skip_serializing_if = "Option::is_none")]
    net_modules: Option<NetModules>,
}

/// The way in which Mesos' containers get their network.
#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Networking {
    /// CNI: Mesos 1.0 and later.
    #[default]
    Cni,
    /// net-modules: Mesos 0.26 to 0.28.
    NetModules,
}

impl TryFrom<Form> for MesosAgent {
    type Error = &'static str;

    fn try_from(form: Form) -> Result<Self, &'static str> {
        match form.networking {
            Networking::Cni => Ok(Self::Cni(form.cni.unwrap_or_default())),
            Networking::NetModules => form
                .net_modules
                .map(Self::NetModules)
                .ok_or("`networking: netModules` needs a `netModules` section"),
        }
    }
}

impl From<MesosAgent> for Form {
    fn from(agent: MesosAgent) -> Self {
        match agent {
            MesosAgent::Cni(cni) => {
                Self { networking: Networking::Cni, cni: Some(cni), net_modules: None }
            }
            MesosAgent::NetModules(modules) => {
                Self { networking: Networking::NetModules, cni: None, net_modules: Some(modules) }
            }
        }
    }
}

impl JsonSchema for MesosAgent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MesosAgent".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Form::json_schema(generator)
    }
}

/// CNI plugins and one network for the Mesos containerizer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cni {
    /// Where the agent looks for plugins (`--network_cni_plugins_dir`).
    pub plugin_directory: AbsolutePath,
    /// Where the agent looks for networks (`--network_cni_config_dir`).
    pub config_directory: AbsolutePath,
    /// The plugins to put into `pluginDirectory`. Default: none, they are there already.
    pub plugins: Vec<Plugin>,
    /// The network, as it is written into `configDirectory`.
    pub network: CniNetwork,
}

impl Default for Cni {
    fn default() -> Self {
        Self {
            plugin_directory: AbsolutePath::known("/opt/cni/bin"),
            config_directory: AbsolutePath::known("/etc/cni/net.d"),
            plugins: Vec::new(),
            network: CniNetwork::default(),
        }
    }
}

/// One program to put into the plugin directory: `name` with `url` and `sha256`, or with `path`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PluginForm", into = "PluginForm")]
pub struct Plugin {
    /// Its file name there.
    pub name: PluginName,
    /// Where it comes from.
    pub from: Download,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginForm {
    name: PluginName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<HttpUrl>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<AbsolutePath>,
}

impl TryFrom<PluginForm> for Plugin {
    type Error = &'static str;

    fn try_from(form: PluginForm) -> Result<Self, &'static str> {
        Ok(Self { name: form.name, from: Download::of(form.url, form.sha256, form.path)? })
    }
}

impl From<Plugin> for PluginForm {
    fn from(plugin: Plugin) -> Self {
        let (url, sha256, path) = plugin.from.parts();
        Self { name: plugin.name, url, sha256, path }
    }
}

impl JsonSchema for Plugin {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Plugin".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let name = generator.subschema_for::<PluginName>();
        Download::schema_with(generator, &[("name", name)])
    }
}

/// A CNI network document: at least `name` and `type`, all else as the plugin wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct CniNetwork(Map<String, Value>);

impl CniNetwork {
    /// The document.
    pub fn document(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl Default for CniNetwork {
    fn default() -> Self {
        let document = json!({
            "name": "calico",
            "cniVersion": "0.1.0",
            "type": "calico",
            "ipam": {"type": "calico-ipam"},
            "etcd_endpoints": "http://127.0.0.1:2379",
        });
        match document {
            Value::Object(map) => Self(map),
            _ => Self(Map::new()),
        }
    }
}

impl TryFrom<Map<String, Value>> for CniNetwork {
    type Error = &'static str;

    fn try_from(document: Map<String, Value>) -> Result<Self, &'static str> {
        let given = |key| document.get(key).and_then(Value::as_str).is_some_and(|t| !t.is_empty());
        if given("name") && given("type") {
            Ok(Self(document))
        } else {
            Err("a CNI network needs `name` and `type`")
        }
    }
}

impl From<CniNetwork> for Map<String, Value> {
    fn from(network: CniNetwork) -> Self {
        network.0
    }
}

impl JsonSchema for CniNetwork {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CniNetwork".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "A CNI network document, as the plugin wants it.",
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "type": {"type": "string", "minLength": 1},
            },
            "required": ["name", "type"],
            "additionalProperties": true,
        })
    }
}

/// Calico in the agent itself, for Mesos before 1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetModules {
    /// The module library, built for exactly the agent's Mesos version and distribution.
    pub library: Download,
    /// Where the library is put.
    #[serde(default = "library_path")]
    pub library_path: AbsolutePath,
    /// The `calico_mesos` program.
    pub plugin: Download,
    /// Where the program is put: the isolator's and the IPAM command.
    #[serde(default = "plugin_path")]
    pub plugin_path: AbsolutePath,
    /// The module appended to the agent's `--isolation`.
    #[serde(default = "isolation")]
    #[schemars(length(min = 1))]
    pub isolation: String,
    /// The modules appended to the agent's `--hooks`.
    #[serde(default = "hooks")]
    #[schemars(inner(length(min = 1)))]
    pub hooks: Vec<String>,
    /// etcd as `calico_mesos` finds it: `ETCD_AUTHORITY` in the agent's environment.
    #[serde(default = "etcd_authority")]
    pub etcd_authority: Authority,
}

fn library_path() -> AbsolutePath {
    AbsolutePath::known("/opt/calico/lib/libmesos_network_isolator.so")
}

fn plugin_path() -> AbsolutePath {
    AbsolutePath::known("/calico/calico_mesos")
}

fn isolation() -> String {
    "com_mesosphere_mesos_NetworkIsolator".to_owned()
}

fn hooks() -> Vec<String> {
    vec!["com_mesosphere_mesos_NetworkHook".to_owned()]
}

fn etcd_authority() -> Authority {
    Authority::known("127.0.0.1:2379")
}
