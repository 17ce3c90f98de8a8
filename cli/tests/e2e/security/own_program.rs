//! The builder's own program as the container's (CVE-2019-5736): nothing in a container is rbuild's file.

use super::{Arena, MOUNTS, attack, dockerfile};
use rbuild_testkit::has_program;
use std::{fs, process::Command};

/// Says which file is executed, changes its mode and opens it for writing.
const LOOK: &str = "#include <fcntl.h>\n#include <stdio.h>\n#include <sys/stat.h>\n#include <unistd.h>\n\
    int main() { char b[99]; int n = readlink(\"/proc/self/exe\", b, 99); printf(\"executes %.*s\\n\", n, b);\n\
    chmod(\"/proc/self/exe\", 0777); int f = open(\"/proc/self/exe\", O_WRONLY | O_APPEND);\n\
    if (f >= 0) write(f, \"reached\", 7); fflush(stdout); _exit(0); }\n";

/// Makes the libraries that rbuild is linked with part of the image, so that it could be executed there.
const LIBRARIES: &str = "COPY libraries /\n";

fn copy_libraries(arena: &Arena) {
    let linked = Command::new("ldd").arg(arena.here.path().join("rbuild")).output().unwrap();
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    let to = arena.here.path().join("c/libraries");
    fs::create_dir_all(&to).unwrap();
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = to.join(&library[1..]);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(library, &copy).unwrap();
    }
}

#[test]
fn rbuild_cannot_be_executed_in_a_container() {
    let test = "rbuild_cannot_be_executed_in_a_container";
    attack(test, |arena| {
        if !has_program("ldd", test) {
            return;
        }
        copy_libraries(arena);
        let script = arena.here.write("c/script", "#!/proc/self/exe --version\n");
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let assert_not_rbuild = |said: &str| {
            let is_rbuild = |line: &str| line.split(' ').any(|word| word == "rbuild") && line.ends_with(".0");
            assert!(!said.lines().any(is_rbuild), "{:?}: {said}", arena.who);
        };
        for mount in MOUNTS {
            for command in [
                "RUN MOUNT [\"/proc/self/exe\", \"--version\"]",
                "RUN MOUNT [\"/proc/1/exe\", \"--version\"]",
                "RUN MOUNT [\"/proc/thread-self/exe\", \"--version\"]",
                "COPY script /script\nRUN MOUNT [\"/script\"]",
                "RUN ln -s /proc/self/exe /l\nRUN MOUNT [\"/l\", \"--version\"]",
                "ENV PATH=/proc/self\nRUN MOUNT [\"exe\", \"--version\"]",
                "SHELL [\"/proc/self/exe\"]\nRUN MOUNT --version",
            ] {
                assert_not_rbuild(&arena.build(&dockerfile(mount, &format!("{LIBRARIES}{command}"))).stderr);
            }
        }
        arena.builds(&dockerfile(
            "",
            &format!("{LIBRARIES}RUN ln -s /proc/self/exe /l\nENTRYPOINT [\"/proc/self/exe\"]"),
        ));
        for words in [
            &["run", "--rm", "x", "--version"][..],
            &["run", "--rm", "--entrypoint", "/l", "x", "--version"],
            &["run", "--rm", "--entrypoint", "/proc/1/exe", "x", "--version"],
        ] {
            assert_not_rbuild(&arena.run(words).stdout);
        }
    });
}

#[test]
fn no_process_of_a_container_runs_a_file_of_the_host() {
    attack("no_process_of_a_container_runs_a_file_of_the_host", |arena| {
        if !arena.compiled("no_process_of_a_container_runs_a_file_of_the_host", "look", LOOK) {
            return;
        }
        let gcc = Command::new("gcc")
            .args(["-w", "-Wl,--dynamic-linker=/proc/self/exe", "-o"])
            .args([arena.here.path().join("c/through"), arena.here.path().join("look.c")])
            .status();
        assert!(gcc.unwrap().success());
        for mount in MOUNTS {
            let all = "for p in /proc/[0-9]*; do echo $(readlink $p/exe); chmod 777 $p/exe; \
                 head -c 1 $p/exe >/dev/null; true >> $p/exe; done 2>/dev/null; true";
            let said = arena.builds(&dockerfile(
                mount,
                &format!("COPY look /look\nRUN MOUNT [\"/look\"]\nRUN MOUNT {all}"),
            ));
            assert!(said.contains("executes /look"), "{said}");
            for line in said.lines().filter(|line| line.starts_with('#')) {
                let leads_out = line.contains("memfd") || line.ends_with("/rbuild");
                assert!(!leads_out, "{:?}: {said}", arena.who);
            }
            arena.build(&dockerfile(mount, "COPY through /through\nRUN MOUNT [\"/through\"]"));
        }
    });
}
