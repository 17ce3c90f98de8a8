//! Cache mounts that travel with a cache: `mounts=` of `--cache-to` and `--cache-from`.

use super::Machines;
use crate::RBUILD;
use rbuild_testkit::{S3Server, Workspace};

/// Says which files the mount had before, and leaves one more.
fn text(step: &str) -> String {
    format!(
        "FROM BASE\nRUN --mount=type=cache,id=deps,target=/deps ls /deps > /had && echo {step} > /deps/{step}\nCMD [\"cat\", \"/had\"]\n"
    )
}

#[test]
fn a_fresh_machine_begins_with_the_mounts_of_the_last_one() {
    let Some(machines) = Machines::start("a_fresh_machine_begins_with_the_mounts_of_the_last_one") else {
        return;
    };
    let shared = Workspace::new(RBUILD);
    let mut places =
        vec![machines.cache(), format!("type=local,dest={}", shared.path().join("shared").display())];
    let server = S3Server::start();
    places.extend(server.iter().map(super::bucket::bucket));
    for place in places {
        let (to, from) = match place.starts_with("type=local") {
            true => {
                let directory = place.rsplit_once('=').unwrap().1;
                (format!("type=local,dest={directory}"), format!("type=local,src={directory}"))
            }
            false => (place.clone(), place),
        };
        let (to, from) = (format!("{to},mounts=deps,others,mode=max"), format!("{from},mounts=deps"));
        let (one, other, third) = (Workspace::new(RBUILD), Workspace::new(RBUILD), Workspace::new(RBUILD));
        machines.builds(&one, &text("first"), &["--cache-to", &to]);

        // what is cached needs no mount, and the cache keeps the one it has
        let both = ["--cache-from", from.as_str(), "--cache-to", &to];
        let said = machines.builds(&other, &text("first"), &both);
        assert!(said.contains("CACHED") && !said.contains("importing cache mount"), "{said}");

        let said = machines.builds(&third, &text("second"), &both);
        assert!(said.contains("importing cache mount deps") && !said.contains("WARN"), "{said}");
        assert_eq!(third.ok(["run", "--rm", "app"]), "first\n");
        // one that has files is left alone
        let said = machines.builds(&third, &text("third"), &both);
        assert!(!said.contains("importing cache mount"), "{said}");
        assert_eq!(third.ok(["run", "--rm", "app"]), "first\nsecond\n");

        let fourth = Workspace::new(RBUILD);
        let small = ["--cache-from", from.as_str(), "--cache-mount", "id=deps,max-size=10"];
        let said = machines.builds(&fourth, &text("fourth"), &small);
        let refused = "the cache mount deps does not travel: cache mount deps has ";
        assert!(said.contains(refused) && said.contains("and 10 may travel"), "{said}");
        assert_eq!(fourth.ok(["run", "--rm", "app"]), "");
    }
}
