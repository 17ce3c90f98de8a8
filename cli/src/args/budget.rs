//! The flags that say how much the store keeps.

use clap::Args;

/// How much is kept. Each is a size (20g) or a part of the disk (10%).
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BudgetFlags {
    /// Make room before anything is added, so that the store takes at most SIZE (20g, or 10% of the disk) [default: that
    /// of config.toml]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_used_space: Option<String>,
    /// Make room before anything is added, so that SIZE of the disk stays free
    #[arg(long, value_name = "SIZE")]
    pub(crate) min_free_space: Option<String>,
    /// Let SIZE of the build cache stay nevertheless
    #[arg(long, value_name = "SIZE")]
    pub(crate) reserved_space: Option<String>,
}
