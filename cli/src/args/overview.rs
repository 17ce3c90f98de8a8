//! The help of rbuild itself: its commands by what people want to do.

use clap::Command;
use std::fmt::Write;

/// Headings, and the commands below each.
const GROUPS: &[(&str, &[&str])] = &[
    ("Build", &["build", "plan", "check", "context", "debug", "explain", "builds"]),
    ("Images", &["images", "history", "inspect", "diff", "tag", "squash", "rmi", "save", "load", "import"]),
    ("Registries", &["pull", "push", "login", "logout", "search", "registry", "manifest"]),
    (
        "Containers",
        &[
            "run", "ps", "exec", "logs", "attach", "cp", "commit", "create", "start", "stop", "restart",
            "kill", "pause", "unpause", "wait", "top", "stats", "port", "update", "rename", "export", "rm",
            "volume", "network",
        ],
    ),
    ("The store", &["df", "prune", "cache", "system", "info", "version"]),
];

/// `root` with its commands in groups. A command of no group comes last.
pub(crate) fn grouped(root: Command) -> Command {
    let named: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
    let others: Vec<&str> =
        root.get_subcommands().map(Command::get_name).filter(|name| !named.contains(name)).collect();
    let mut text = "{about}\n\n{usage-heading} {usage}\n".to_owned();
    for (heading, names) in
        GROUPS.iter().copied().chain([("Docker's names for groups of commands", &others[..])])
    {
        // writing to memory cannot fail
        let _ = write!(text, "\n{heading}:\n");
        for command in names.iter().filter_map(|name| root.find_subcommand(name)) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let aliases: Vec<&str> = command.get_visible_aliases().collect();
            let alias =
                if aliases.is_empty() { String::new() } else { format!(" [alias: {}]", aliases.join(", ")) };
            let _ = writeln!(text, "  {:<9}  {about}{alias}", command.get_name());
        }
    }
    text.push_str("\nOptions:\n{options}{after-help}");
    root.help_template(text)
}
