//! The flags of `debug`.

use clap::Args;

/// What was typed after `debug`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild debug [OPTIONS] [BUILD] [STEP] [-- COMMAND [ARG...]]")]
pub(crate) struct DebugArgs {
    /// The id of the build or its beginning, ^N for the one N builds before the newest, and the number of the step, as builds
    /// inspect shows it; without them the last failed step of the last build that has one
    #[arg(value_name = "BUILD|STEP", num_args = 0..=2)]
    pub(crate) step: Vec<String>,
    /// The command instead of the shell, and its arguments
    #[arg(value_name = "COMMAND", last = true)]
    pub(crate) command: Vec<String>,

    /// A secret that the step asks for (id=ID[,src=FILE|,env=VARIABLE]); may be repeated
    #[arg(long, value_name = "SECRET")]
    pub(crate) secret: Vec<String>,
    /// Keys that the step asks for: those of an agent or private keys (default|ID[=SOCKET|KEY,...]); may be repeated
    #[arg(long, value_name = "KEYS")]
    pub(crate) ssh: Vec<String>,
}
