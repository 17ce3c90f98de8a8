//! `registry test`: a line for each thing that has to be right, and what to do where it is not.

use crate::{
    app::App,
    args::RegistryTestArgs,
    credentials::client_options,
    error::CliError,
    exit,
    failure::in_full,
    options::{Certificates, reference},
    progress::Style,
    streams::print,
    working::work,
};
use rbuild::{Error, LoginOrigin, PlaceReport, Protection, RegistryReport, test_registry};

/// Tests what an image's name leads to.
pub(super) fn test(app: &App, args: &RegistryTestArgs) -> Result<(), CliError> {
    let name = reference(&args.name)?;
    let options = client_options(&app.environment, Certificates::from_flag(args.tls_verify))?;
    let report = work(Style::Quiet, async |_| test_registry(options, &name).await)?;
    let mut text = format!("{name}\n");
    for (at, place) in report.places.iter().enumerate() {
        let is_registry = at + 1 == report.places.len();
        let role = if is_registry { "registry".to_owned() } else { format!("mirror {}", at + 1) };
        describe(place, &role, &mut text);
        if is_registry {
            match &report.push {
                Ok(()) => line(&mut text, "push", "ok: an upload was opened and closed again"),
                Err(error) => failed(&mut text, "push", error),
            }
        }
    }
    print(&text)?;
    match code(&report, args.push) {
        0 => Ok(()),
        code => Err(CliError::Reported { code }),
    }
}

fn describe(place: &PlaceReport, role: &str, text: &mut String) {
    text.push_str(&format!("{role}: {}\n", place.reference));
    match &place.reach {
        Ok(reached) => {
            line(text, "reach", &format!("ok: {}", reached.address));
            line(
                text,
                "TLS",
                match reached.protection {
                    Protection::Checked => "ok: the certificate is trusted",
                    Protection::Unchecked => "ok: any certificate is accepted (insecure or on this machine)",
                    Protection::PlainHttp => "none: plain HTTP (insecure or on this machine)",
                },
            );
        }
        Err(error) => failed(text, "reach", error),
    }
    line(text, "login", &origin(place.login.as_ref()));
    match &place.pull {
        Some(Ok(digest)) => line(text, "pull", &format!("ok: {digest}")),
        Some(Err(error)) => failed(text, "pull", error),
        None => line(text, "pull", "not tried"),
    }
}

fn origin(login: Option<&LoginOrigin>) -> String {
    match login {
        None => "none".to_owned(),
        Some(LoginOrigin { file, helper: None }) => format!("in {}", file.display()),
        Some(LoginOrigin { file, helper: Some(helper) }) => {
            format!("of docker-credential-{helper}, which {} names", file.display())
        }
    }
}

fn line(text: &mut String, what: &str, said: &str) {
    text.push_str(&format!("  {what:<6} {said}\n"));
}

/// The failure, and what to do about it.
fn failed(text: &mut String, what: &str, error: &Error) {
    line(text, what, &format!("FAILED: {}", in_full(error, error.hint().as_ref())));
    if let Some(advice) = error.registry_advice() {
        line(text, "", advice);
    }
}

/// 0 when a pull works, and a push if that is asked for; else the code of the failure in the registry.
fn code(report: &RegistryReport, push: bool) -> u8 {
    let failure = |error: &Error| exit::class_code(error.class());
    let registry = report.places.last();
    let pulled = report.places.iter().any(|place| matches!(place.pull, Some(Ok(_))));
    let reason = registry.and_then(|place| {
        place.reach.as_ref().err().or_else(|| place.pull.as_ref().and_then(|pull| pull.as_ref().err()))
    });
    match (pulled, &report.push) {
        (true, Err(error)) if push => failure(error),
        (true, _) => 0,
        (false, _) => reason.map_or(1, failure),
    }
}
