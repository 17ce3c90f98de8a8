//! Other limits for a container, at once if it runs and for each start after that.

use super::{
    monitor::MonitorMessage,
    recorded_limits::{from_record, to_record},
};
use crate::{Engine, Error};
use rbuild_cache::ContainerState;
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
    /// [`Error::NoSuchContainer`]; [`Error::NoMonitor`] for a container that another rbuild runs in its foreground;
    /// [`Error::LimitsRefused`] for a value that the kernel does not take.
    pub fn update_container(&self, name: &str, limits: &Limits) -> Result<Vec<UnmetLimit>, Error> {
        let container = self.container(name)?;
        let record = to_record(limits);
        let mut unmet = Vec::new();
        if container.state == ContainerState::Running {
            let monitor = self.connect(&container)?;
            monitor.limit(&record)?;
            loop {
                match monitor.next()? {
                    MonitorMessage::Done => break,
                    MonitorMessage::Unmet(limit) => unmet.push(limit),
                    MonitorMessage::Refused(reason) => {
                        return Err(Error::LimitsRefused { name: container.name, reason });
                    }
                    // it has ended, and starts with the new ones
                    MonitorMessage::Gone | MonitorMessage::Ended(_) => break,
                    MonitorMessage::Started
                    | MonitorMessage::Failed { .. }
                    | MonitorMessage::NoNetwork(_)
                    | MonitorMessage::Output(..) => {}
                }
            }
        }
        self.store.container(&container.id).update(|container| {
            if let Some(settings) = &mut container.settings {
                settings.limits = record;
            }
        })?;
        Ok(unmet)
    }
}
