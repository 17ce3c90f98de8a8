//! The kernel's version.

/// Its first two numbers; `None` if it does not say.
#[must_use]
pub fn kernel_version() -> Option<(u32, u32)> {
    let names = nix::sys::utsname::uname().ok()?;
    let mut numbers = names.release().to_str()?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
