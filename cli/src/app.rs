//! What commands are given besides their arguments: the surroundings, and the engine when they ask for it.

use crate::{
    args::GlobalArgs,
    config_file::ConfigFile,
    credentials::{Configuration, configuration},
    environment::Environment,
    error::CliError,
    options::Certificates,
};
use rbuild::{ClientOptions, Engine, EngineOptions, SpaceLimits};
use std::path::PathBuf;

/// The values that commands get besides their arguments.
pub(crate) struct App {
    /// The surroundings.
    pub(crate) environment: Environment,
    /// The store.
    root: PathBuf,
}

impl App {
    /// The surroundings, with the flags of every command applied.
    pub(crate) fn new(environment: Environment, global: &GlobalArgs) -> Self {
        let root = global.root.clone().unwrap_or_else(|| environment.store_root());
        Self { environment, root }
    }

    /// The engine, for commands that talk to no registry.
    ///
    /// # Errors
    /// [`CliError::Engine`] when the store cannot be opened.
    pub(crate) fn engine(&self) -> Result<Engine, CliError> {
        self.open(ClientOptions::default(), 1)
    }

    /// The engine, for commands that may talk to a registry, and the configuration it was opened with. At most `jobs`
    /// build steps will run at once.
    ///
    /// # Errors
    /// [`CliError::Configuration`], [`CliError::Engine`].
    pub(crate) fn configured_engine(
        &self,
        certificates: Certificates,
        jobs: usize,
    ) -> Result<(Engine, Configuration), CliError> {
        let configuration = configuration(&self.environment, certificates)?;
        let engine = self.open(configuration.registry.clone(), jobs)?;
        Ok((engine, configuration))
    }

    /// The engine, kept within the budget that flags (`limits`) and the configuration files give.
    ///
    /// # Errors
    /// [`CliError::ConfigFile`], [`CliError::Engine`].
    pub(crate) fn limited(&self, engine: Engine, limits: SpaceLimits) -> Result<Engine, CliError> {
        Ok(engine.within(limits.or(ConfigFile::read(&self.environment)?.limits))?)
    }

    fn open(&self, registry: ClientOptions, jobs: usize) -> Result<Engine, CliError> {
        let (root, clock) = (self.root.clone(), self.environment.clock);
        Ok(Engine::open(EngineOptions { root, jobs, registry, clock })?)
    }
}
