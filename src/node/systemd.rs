//! systemd over the D-Bus system bus. In a PID namespace, as DC/OS gives every task, `systemctl`
//! fails while the bus works (measured), so nothing here starts a program.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::SelectAll;
use zbus::{Connection, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

use super::service::{Activity, Service, ServiceError, Services, Transient};
use super::watch::Sign;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Between two looks at a job that has not ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A job that takes longer has failed. Docker gives its containers 10 s each to stop, and its
/// unit has no limit for the start.
const JOB: Duration = Duration::from_mins(5);
/// For one answer of systemd.
const ANSWER: Duration = Duration::from_secs(25);

/// The connection, made at its first use and again when it broke.
#[derive(Debug, Default)]
pub struct Systemd {
    bus: tokio::sync::Mutex<Option<Connection>>,
}

impl Systemd {
    async fn bus(&self) -> Result<Connection, ServiceError> {
        let mut bus = self.bus.lock().await;
        if let Some(open) = bus.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let open = Connection::system().await.map_err(no_bus)?;
        *bus = Some(open.clone());
        Ok(open)
    }

    async fn call<B, R>(
        &self,
        path: &str,
        interface: &str,
        method: &'static str,
        body: &B,
    ) -> Result<R, ServiceError>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType + Sync,
        R: serde::de::DeserializeOwned + zbus::zvariant::Type,
    {
        let bus = self.bus().await?;
        let call = bus.call_method(Some(NAME), path, Some(interface), method, body);
        let failed = |error: zbus::Error| match error {
            zbus::Error::MethodError(name, text, _) => ServiceError::Refused {
                what: method,
                name: name.to_string(),
                text: text.unwrap_or_default(),
            },
            error => no_bus(error),
        };
        let answer = tokio::time::timeout(ANSWER, call)
            .await
            .map_err(|_| ServiceError::Silent { what: method })?
            .map_err(failed)?;
        answer.body().deserialize().map_err(failed)
    }

    async fn manager<B, R>(&self, method: &'static str, body: &B) -> Result<R, ServiceError>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType + Sync,
        R: serde::de::DeserializeOwned + zbus::zvariant::Type,
    {
        self.call(PATH, MANAGER, method, body).await
    }

    async fn property(
        &self,
        unit: &OwnedObjectPath,
        interface: &str,
        name: &str,
    ) -> Result<OwnedVariant, ServiceError> {
        self.call(unit.as_str(), PROPERTIES, "Get", &(interface, name)).await
    }

    /// The unit as systemd knows it; also of one that has no file.
    async fn load(&self, unit: &str) -> Result<OwnedObjectPath, ServiceError> {
        self.manager("LoadUnit", &(unit,)).await
    }

    async fn look(&self, unit: &str) -> Result<Option<Service>, ServiceError> {
        let path = self.load(unit).await?;
        let text = async |interface: &'static str, name: &'static str| {
            let value = self.property(&path, interface, name).await?;
            String::try_from(value).map_err(|_| ServiceError::Strange { what: name })
        };
        if text(UNIT, "LoadState").await? == "not-found" {
            return Ok(None);
        }
        let number = async |interface: &'static str, name: &'static str| {
            let value = self.property(&path, interface, name).await?;
            u64::try_from(value).map_err(|_| ServiceError::Strange { what: name })
        };
        let pid = self.property(&path, SERVICE, "MainPID").await?;
        Ok(Some(Service {
            activity: Activity::read(&text(UNIT, "ActiveState").await?),
            file_state: text(UNIT, "UnitFileState").await?,
            main_pid: u32::try_from(pid).map_err(|_| ServiceError::Strange { what: "MainPID" })?,
            started_us: number(SERVICE, "ExecMainStartTimestampMonotonic").await?,
        }))
    }

    /// Waits until nothing is to be done any more for a unit.
    async fn job(&self, unit: &str, method: &'static str) -> Result<(), ServiceError> {
        let _: OwnedObjectPath = self.manager(method, &(unit, "replace")).await?;
        let path = self.load(unit).await?;
        let ended = async {
            loop {
                let job = self.property(&path, UNIT, "Job").await?;
                let (number, _) = <(u32, OwnedObjectPath)>::try_from(job)
                    .map_err(|_| ServiceError::Strange { what: "Job" })?;
                if number == 0 {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let slow = |_| ServiceError::Slow { unit: unit.to_owned(), seconds: JOB.as_secs() };
        tokio::time::timeout(JOB, ended).await.map_err(slow)?
    }

    /// Starts or restarts, and makes sure that the unit is up afterwards.
    async fn up(&self, unit: &str, method: &'static str) -> Result<(), ServiceError> {
        self.job(unit, method).await?;
        match self.look(unit).await?.map(|service| service.activity) {
            Some(Activity::Active | Activity::Changing) => Ok(()),
            _ => Err(ServiceError::NotUp { unit: unit.to_owned() }),
        }
    }

    /// On a connection of its own, which ends with the bus. Signals of the units alone are asked
    /// for: on some hosts timers and mounts make hundreds a minute.
    async fn watch(&self, units: &[&'static str], sign: &Sign) -> Result<Infallible, ServiceError> {
        let bus = Connection::system().await.map_err(no_bus)?;
        bus.call_method(Some(NAME), PATH, Some(MANAGER), "Subscribe", &()).await.map_err(no_bus)?;
        let signal = format!("type='signal',sender='{NAME}'");
        let mut rules: Vec<String> = ["Reloading", "UnitFilesChanged"]
            .map(|member| format!("{signal},interface='{MANAGER}',member='{member}'"))
            .into();
        for unit in units {
            let path = self.load(unit).await?;
            let member = "PropertiesChanged";
            rules.push(format!(
                "{signal},interface='{PROPERTIES}',member='{member}',path='{}'",
                path.as_str()
            ));
        }
        let mut signals = SelectAll::new();
        for rule in &rules {
            let stream = MessageStream::for_match_rule(rule.as_str(), &bus, None).await;
            signals.push(stream.map_err(no_bus)?);
        }
        sign.up();
        while let Some(signal) = signals.next().await {
            signal.map_err(no_bus)?;
            sign.changed();
        }
        Err(ServiceError::Silent { what: "signals" })
    }

    async fn transient(&self, unit: &Transient) -> Result<(), ServiceError> {
        let Some(program) = unit.command.first() else {
            return Err(ServiceError::Strange { what: "ExecStart" });
        };
        // One that failed, on a systemd that does not forget it by itself, would be in the way.
        let _: Result<(), _> = self.manager("ResetFailedUnit", &(unit.name.as_str(),)).await;
        let exec = vec![(program.clone(), unit.command.clone(), false)];
        let mut properties: Vec<(&str, Variant<'_>)> = vec![
            ("Description", unit.description.as_str().into()),
            ("ExecStart", exec.into()),
            ("Type", "exec".into()),
            // What has ended is forgotten, so that the name can be used again.
            ("CollectMode", "inactive-or-failed".into()),
            ("KillMode", "process".into()),
        ];
        let none: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        // Old systemd (219 on CentOS 7) knows neither `Type=exec` nor `CollectMode`.
        for _ in 0..2 {
            let started: Result<OwnedObjectPath, _> = self
                .manager("StartTransientUnit", &(unit.name.as_str(), "fail", &properties, &none))
                .await;
            match started {
                Ok(_) => return Ok(()),
                Err(ServiceError::Refused { name, .. }) if name.ends_with(".UnitExists") => {
                    return Ok(());
                }
                Err(ServiceError::Refused { name, .. })
                    if name.ends_with(".PropertyReadOnly") || name.ends_with(".InvalidArgs") =>
                {
                    properties.retain(|(name, _)| !matches!(*name, "CollectMode" | "Type"));
                }
                Err(error) => return Err(error),
            }
        }
        Err(ServiceError::NotUp { unit: unit.name.clone() })
    }
}

fn no_bus(source: zbus::Error) -> ServiceError {
    ServiceError::NoBus { source: Box::new(source) }
}

type Changes = Vec<(String, String, String)>;

impl Services for Systemd {
    fn look<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<Option<Service>, ServiceError>> {
        Box::pin(Systemd::look(self, unit))
    }

    fn command_line<'a>(
        &'a self,
        unit: &'a str,
        pid: u32,
    ) -> BoxFuture<'a, Result<Option<String>, ServiceError>> {
        Box::pin(async move {
            let processes: Vec<(String, u32, String)> =
                self.manager("GetUnitProcesses", &(unit,)).await?;
            Ok(processes.into_iter().find(|(_, of, _)| *of == pid).map(|(.., line)| line))
        })
    }

    fn watch<'a>(
        &'a self,
        units: &'a [&'static str],
        sign: &'a Sign,
    ) -> BoxFuture<'a, Result<Infallible, ServiceError>> {
        Box::pin(Systemd::watch(self, units, sign))
    }

    fn start<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        Box::pin(self.up(unit, "StartUnit"))
    }

    fn restart<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        Box::pin(self.up(unit, "RestartUnit"))
    }

    fn reload<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        Box::pin(self.job(unit, "ReloadUnit"))
    }

    fn stop<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        Box::pin(self.job(unit, "StopUnit"))
    }

    fn reset_failed<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        Box::pin(async move { self.manager("ResetFailedUnit", &(unit,)).await })
    }

    fn enable<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        Box::pin(async move {
            let _: (bool, Changes) =
                self.manager("EnableUnitFiles", &(vec![unit], false, true)).await?;
            self.manager("Reload", &()).await
        })
    }

    fn disable<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        Box::pin(async move {
            let _: Changes = self.manager("DisableUnitFiles", &(vec![unit], false)).await?;
            self.manager("Reload", &()).await
        })
    }

    fn read_files_again(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        Box::pin(async move { self.manager("Reload", &()).await })
    }

    fn start_transient<'a>(
        &'a self,
        unit: &'a Transient,
    ) -> BoxFuture<'a, Result<(), ServiceError>> {
        Box::pin(self.transient(unit))
    }
}
