//! Ids and commands, short enough for a column.

use super::shortened;

/// The twelve digits by which people call something.
pub(crate) fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// A command as `ps` and `history` show it.
pub(crate) fn shortened_command(command: &str, width: usize) -> String {
    shortened(&command.replace('\t', " "), width)
}
