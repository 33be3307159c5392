//! What a supervising task holds on its agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the task that supervises a component holds on its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Processors.
    pub cpus: Cpus,
    /// Memory in MiB.
    #[schemars(range(min = 32, max = 1_048_576))]
    pub mem: u32,
}

impl Resources {
    /// So many thousandths of a processor and MiB of memory.
    pub const fn new(milli_cpus: u32, mem: u32) -> Self {
        Self { cpus: Cpus { milli: milli_cpus }, mem }
    }
}

/// Processors in thousandths, the precision that Mesos has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Cpus {
    milli: u32,
}

impl Cpus {
    /// Thousandths of a processor.
    pub fn milli(self) -> u32 {
        self.milli
    }
}

impl TryFrom<f64> for Cpus {
    type Error = &'static str;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked first"
    )]
    fn try_from(cpus: f64) -> Result<Self, &'static str> {
        if (0.01..=1024.0).contains(&cpus) {
            Ok(Self { milli: (cpus * 1000.0).round() as u32 })
        } else {
            Err("expected a number of processors from 0.01 to 1024")
        }
    }
}

impl From<Cpus> for f64 {
    fn from(cpus: Cpus) -> Self {
        Self::from(cpus.milli) / 1000.0
    }
}

impl JsonSchema for Cpus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cpus".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "number", "minimum": 0.01, "maximum": 1024,
            "description": "Processors, to a thousandth.",
        })
    }
}
