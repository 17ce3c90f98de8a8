//! What commands are given besides their arguments: the surroundings, and the engine when they ask for it.

use crate::{
    args::GlobalArgs, config_file::ConfigFile, credentials::client_options, environment::Environment,
    error::CliError, exit, options::Certificates, shown::one_line,
};
use rbuild::{
    ClientOptions, Engine, EngineOptions, FailedStepBudget, Registries, SpaceLimits, StoreWarnings,
};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

/// The values that commands get besides their arguments.
pub(crate) struct App {
    /// The surroundings.
    pub(crate) environment: Environment,
    /// The store.
    root: PathBuf,
    config: OnceLock<ConfigFile>,
    /// What the stores that were opened have to say.
    warnings: Mutex<Vec<StoreWarnings>>,
}

impl App {
    /// The surroundings, with the flags of every command applied.
    pub(crate) fn new(environment: Environment, global: &GlobalArgs) -> Self {
        let root = global.root.clone().unwrap_or_else(|| environment.store_root());
        // programs that are given paths of the store have other working directories; without one of its own nothing is relative
        let root = std::path::absolute(&root).unwrap_or(root);
        Self { environment, root, config: OnceLock::new(), warnings: Mutex::default() }
    }

    /// The directory of the store.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The engine, for commands that talk to no registry.
    ///
    /// # Errors
    /// [`CliError::Engine`] when the store cannot be opened.
    pub(crate) fn engine(&self) -> Result<Engine, CliError> {
        let (root, clock) = (self.root.clone(), self.environment.clock);
        let engine = Engine::open(EngineOptions { root, registry: ClientOptions::default(), clock })?;
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(engine.store_warnings());
        Ok(engine)
    }

    /// Says what was damaged of the cache and is mended, as far as the command has not.
    pub(crate) fn tell_mended(&self) {
        for warnings in &*self.warnings.lock().unwrap_or_else(PoisonError::into_inner) {
            warnings.take().iter().for_each(|warning| exit::warn(&one_line(&warning.to_string())));
        }
    }

    /// The engine, for commands that may talk to a registry. What people have configured for registries is read when one is
    /// asked for something, since most commands find all they need in the store.
    ///
    /// # Errors
    /// [`CliError::Engine`] when the store cannot be opened.
    pub(crate) fn engine_with_registries(&self, certificates: Certificates) -> Result<Engine, CliError> {
        self.engine_trusting(certificates, Vec::new())
    }

    /// The same, for commands that trust the hosts `insecure` whatever their certificates, or speak plain HTTP to them.
    ///
    /// # Errors
    /// [`CliError::Engine`] when the store cannot be opened.
    pub(crate) fn engine_trusting(
        &self,
        certificates: Certificates,
        insecure: Vec<String>,
    ) -> Result<Engine, CliError> {
        let environment = self.environment.clone();
        let read = move || {
            let mut options = client_options(&environment, certificates)?;
            if !insecure.is_empty() {
                let trusted = Registries::with_insecure(insecure.iter().map(String::as_str));
                options.registries = trusted.or(options.registries);
            }
            Ok(options)
        };
        Ok(self.engine()?.with_registries(move || read().map_err(|error: CliError| error.into())))
    }

    /// The engine, kept within the budget that flags (`limits`) and the configuration files give.
    ///
    /// # Errors
    /// [`CliError::ConfigFile`], [`CliError::Engine`].
    pub(crate) fn limited(&self, engine: Engine, limits: SpaceLimits) -> Result<Engine, CliError> {
        Ok(engine.within(limits.or(self.config()?.limits))?)
    }

    /// The largest size of a cache mount, if the configuration files have one.
    ///
    /// # Errors
    /// [`CliError::ConfigFile`].
    pub(crate) fn mount_limit(&self) -> Result<Option<u64>, CliError> {
        Ok(self.config()?.mount_max_bytes)
    }

    /// How much is kept of failed steps.
    ///
    /// # Errors
    /// [`CliError::ConfigFile`].
    pub(crate) fn failed_step_budget(&self) -> Result<FailedStepBudget, CliError> {
        let (config, usual) = (self.config()?, FailedStepBudget::default());
        Ok(FailedStepBudget {
            steps: config.failed_steps.unwrap_or(usual.steps),
            bytes: config.failed_bytes.unwrap_or(usual.bytes),
        })
    }

    /// The configuration files, read once.
    fn config(&self) -> Result<ConfigFile, CliError> {
        if let Some(config) = self.config.get() {
            return Ok(*config);
        }
        let config = ConfigFile::read(&self.environment)?;
        Ok(*self.config.get_or_init(|| config))
    }
}
