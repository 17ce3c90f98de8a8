//! Servers of caches that are slow, lie or die: what they cost is bounded, and no build fails.

use super::{Machines, cached};
use crate::RBUILD;
use rbuild_testkit::{HttpBody, HttpReply, HttpServer, Workspace};
use std::time::Instant;

const TEXT: &str = "FROM BASE\nRUN echo ran > /ran\nCMD [\"cat\", \"/ran\"]\n";

/// A server whose answer for a manifest has this body.
fn server(body: HttpBody) -> HttpServer {
    HttpServer::start(move |asked| {
        let mut reply =
            HttpReply::new(200, "{}").header("Content-Type", "application/vnd.oci.image.index.v1+json");
        if asked.target.contains("/manifests/") {
            reply.body = body.clone();
        }
        reply
    })
}

#[test]
fn a_server_that_lies_or_stalls_costs_a_line_and_half_a_minute_at_most() {
    let Some(machines) = Machines::start("a_server_that_lies_or_stalls") else { return };
    let whole = |text: &str| HttpBody::Whole(text.as_bytes().to_vec());
    let bodies = [
        (whole("<html>log in here</html>"), "cannot read the manifest of"),
        (whole(r#"{"schemaVersion":2,"hello":[]}"#), "it is neither a manifest nor an index"),
        (whole(&" ".repeat(100 << 20)), "sent more than 4194304 bytes"),
        (HttpBody::Endless, "sent more than 4194304 bytes"),
        (HttpBody::Stalled { sent: b"{".to_vec(), announced: 100 }, "has not said within 30 seconds"),
    ];
    for (body, reason) in bodies {
        let server = server(body);
        let machine = Workspace::new(RBUILD);
        let begun = Instant::now();
        let from = format!("{}/team/cache:1", server.host());
        let said = machines.builds(&machine, TEXT, &["--cache-from", &from]);
        let warnings = said.lines().filter(|line| line.contains("WARN: the cache ") && line.contains(reason));
        assert_eq!((warnings.count(), cached(&said)), (1, 0), "{reason}: {said}");
        assert!(begun.elapsed().as_secs() < 60, "{reason}: {:?}", begun.elapsed());
        assert_eq!(machine.ok(["run", "--rm", "app"]), "ran\n");
    }
}
