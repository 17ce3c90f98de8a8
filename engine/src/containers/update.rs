//! Other limits for a container, at once if it runs and for each start after that.

use super::{
    monitor::MonitorMessage,
    recorded_limits::{from_record, to_record},
};
use crate::{Engine, Error};
use rbuild_cache::{Container, ContainerLimits, ContainerState};
use rbuild_executor::{Limits, UnmetLimit};

impl Engine {
    /// The limits of a container.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`].
    pub fn container_limits(&self, name: &str) -> Result<Limits, Error> {
        let settings = self.container(name)?.settings;
        Ok(settings.map_or_else(Limits::default, |own| from_record(&own.limits)))
    }

    /// Gives a container these limits; returns those that are not in force.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`]; [`Error::LimitsRefused`] for a value that the kernel does not take.
    pub fn update_container(&self, name: &str, limits: &Limits) -> Result<Vec<UnmetLimit>, Error> {
        let container = self.container(name)?;
        let before = container.settings.as_ref().map(|own| own.limits.clone()).unwrap_or_default();
        let record = to_record(limits);
        // first, so that on a full disk nothing changes
        self.record_limits(&container, &record)?;
        let limited = self.limit_running(&container, &record);
        if limited.is_err() {
            self.record_limits(&container, &before)?;
        }
        limited
    }

    fn record_limits(&self, container: &Container, limits: &ContainerLimits) -> Result<(), Error> {
        Ok(self.store.container(&container.id).update(|container| {
            if let Some(settings) = &mut container.settings {
                settings.limits.clone_from(limits);
            }
        })?)
    }

    /// Puts limits into force if the container runs; returns those that are not.
    fn limit_running(
        &self,
        container: &Container,
        limits: &ContainerLimits,
    ) -> Result<Vec<UnmetLimit>, Error> {
        let mut unmet = Vec::new();
        if container.state == ContainerState::Running {
            let monitor = self.connect(container)?;
            monitor.limit(limits)?;
            loop {
                match monitor.answer(&container.name)? {
                    MonitorMessage::Done => break,
                    MonitorMessage::Unmet(limit) => unmet.push(limit),
                    MonitorMessage::Refused(reason) => {
                        return Err(Error::LimitsRefused { name: container.name.clone(), reason });
                    }
                    // it has ended, and starts with the new ones
                    MonitorMessage::Gone | MonitorMessage::Ended(_) => break,
                    MonitorMessage::Started
                    | MonitorMessage::Failed { .. }
                    | MonitorMessage::NoNetwork(_)
                    | MonitorMessage::HealthUnnoted(_)
                    | MonitorMessage::Output(..) => {}
                }
            }
        }
        Ok(unmet)
    }
}
