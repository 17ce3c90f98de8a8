//! `cache verify`.

use crate::{
    app::App,
    args::CacheVerifyArgs,
    error::CliError,
    shown::one_line,
    streams::{Answer, answer},
};
use rbuild::{FaultState, FoundFault, Repair, Verified};
use std::fmt::Write;

/// Looks at everything in the store. The exit code is 1 when something is wrong and was not repaired.
pub(super) fn verify(app: &App, args: &CacheVerifyArgs) -> Result<u8, CliError> {
    let repair = if args.repair { Repair::Yes } else { Repair::No };
    let (verified, mended) = app.engine()?.verify(repair)?;
    let mut out = String::new();
    // writing to memory cannot fail
    for remark in &mended {
        let _ = writeln!(out, "{}", one_line(remark));
    }
    for found in &verified.faults {
        let _ = writeln!(out, "{}", one_line(&line(found)));
    }
    out.push_str(&summary(&verified));
    answer(&Answer::Text(out))?;
    let is_clean = verified.faults.iter().all(FoundFault::is_repaired);
    Ok(u8::from(!is_clean || (!mended.is_empty() && repair == Repair::No)))
}

fn line(found: &FoundFault) -> String {
    let names: Vec<String> = found.names.iter().map(|name| name.familiar()).collect();
    let of = if names.is_empty() { String::new() } else { format!(" (of {})", names.join(", ")) };
    let state = match &found.state {
        FaultState::Left => String::new(),
        FaultState::Kept(reason) => format!("; it stays: {reason}"),
        FaultState::Repaired(how) => format!("; {how}"),
    };
    format!("{}{of}{state}", found.fault)
}

fn summary(verified: &Verified) -> String {
    let Verified { blobs, layers, unknown_layers, images, names, records, faults } = verified;
    let repaired = faults.iter().filter(|found| found.is_repaired()).count();
    let left = faults.len() - repaired;
    let wrong = match (left, repaired) {
        (0, 0) => "all of it is whole".to_owned(),
        (0, repaired) => format!("{repaired} faults, all repaired"),
        (left, 0) => format!("{left} faults"),
        (left, repaired) => format!("{repaired} faults repaired, {left} left"),
    };
    let unknown = match unknown_layers {
        0 => String::new(),
        unknown => format!(" ({unknown} more have no digest yet)"),
    };
    format!(
        "{blobs} blobs, {layers} layers{unknown}, {images} images, {names} names and {records} cache records: {wrong}\n"
    )
}
