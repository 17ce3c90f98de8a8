//! Transfers of an activity: how far each has come, in which words, and when to say so again.

use rbuild_docker_api::human_size_with;
use std::time::Duration;

/// One transfer.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    /// The name of the blob or file that is transferred.
    pub(super) subject: String,
    /// Bytes so far.
    pub(super) done: u64,
    /// Bytes in all, when known.
    pub(super) total: Option<u64>,
    /// When it was first heard of.
    pub(super) begun: Duration,
    /// When it was last written about, in plain output.
    pub(super) reported: Option<Duration>,
}

/// All transfers of an activity, in the order of their beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct Transfers(Vec<Transfer>);

impl Transfers {
    /// Notes progress; gives the transfer, and whether it was over before.
    pub(super) fn update(
        &mut self,
        subject: String,
        (done, total): (u64, Option<u64>),
        now: Duration,
    ) -> (&mut Transfer, bool) {
        let at = self.0.iter().position(|known| known.subject == subject).unwrap_or_else(|| {
            self.0.push(Transfer { subject, done: 0, total, begun: now, reported: None });
            self.0.len() - 1
        });
        let transfer = &mut self.0[at];
        let was_over = transfer.is_over() && transfer.reported.is_some();
        transfer.done = done;
        transfer.total = total.or(transfer.total);
        (transfer, was_over)
    }

    /// Those still going on.
    pub(super) fn running(&self) -> impl Iterator<Item = &Transfer> {
        self.0.iter().filter(|transfer| !transfer.is_over())
    }
}

impl Transfer {
    /// True if all bytes have come.
    pub(super) fn is_over(&self) -> bool {
        self.total == Some(self.done)
    }

    /// `12.3MB / 29.1MB`.
    pub(super) fn amount(&self) -> String {
        let done = human_size_with(self.done, 3);
        self.total.map_or_else(|| done.clone(), |total| format!("{done} / {}", human_size_with(total, 3)))
    }

    /// `[=====>    ]` of `width` columns, nothing when the total is unknown.
    pub(super) fn bar(&self, width: usize) -> String {
        let Some(total) = self.total.filter(|total| *total > 0) else { return String::new() };
        let inner = width.saturating_sub(2);
        let full = (self.done.min(total) as u128 * inner as u128 / u128::from(total)) as usize;
        let head = if full < inner { ">" } else { "" };
        format!("[{}{head}{}]", "=".repeat(full), " ".repeat(inner - full - head.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill_up() {
        let transfer = |done, total| Transfer {
            subject: "x".to_owned(),
            done,
            total,
            begun: Duration::ZERO,
            reported: None,
        };
        assert_eq!(transfer(0, Some(10)).bar(12), "[>         ]");
        assert_eq!(transfer(5, Some(10)).bar(12), "[=====>    ]");
        assert_eq!(transfer(10, Some(10)).bar(12), "[==========]");
        assert_eq!(transfer(10, None).bar(12), "");
        assert_eq!(transfer(1_500_000, Some(29_130_000)).amount(), "1.5MB / 29.1MB");
    }
}
