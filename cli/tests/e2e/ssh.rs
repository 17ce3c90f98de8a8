//! `RUN --mount=type=ssh`: a real OpenSSH server, a real agent, a real `git clone`.

use crate::{RBUILD, ordinary_user, with_busybox};
use rbuild_testkit::{Base, Ran, Workspace, has_program, is_root};
use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A server whose user root lets in who has the key beside it, with a repository at `/repository`.
const SERVER: &str = "FROM openssh\n\
    RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
    RUN printf 'root:x:0:0::/root:/bin/sh\\nsshd:x:100:100::/run/sshd:/bin/false\\n' > /etc/passwd && mkdir -p /root /run/sshd && chmod 700 /root && ssh-keygen -A\n\
    ENV GIT_SSH_COMMAND='ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'\n\
    RUN git init -q /repository && cd /repository && echo cloned > file && git add . && git -c user.name=n -c user.email=e commit -qm m\n\
    COPY --chmod=600 key.pub /etc/authorized\n";

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts sshd in a container of the image `server`.
    fn start(here: &Workspace) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let number = port.to_string();
        let mut command = here.command([
            "run",
            "--rm",
            "--network=host",
            "server",
            "/usr/sbin/sshd",
            "-f",
            "/dev/null",
            "-D",
            "-e",
            "-p",
            &number,
        ]);
        command.args([
            "-o",
            "AuthorizedKeysFile=/etc/authorized",
            "-o",
            "StrictModes=no",
            "-o",
            "ListenAddress=127.0.0.1",
        ]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        Self { process, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A key without a passphrase, and the image `server`.
fn key_and_server(here: &Workspace) -> PathBuf {
    let key = here.path().join("c/key");
    let context = here.context("c", SERVER, &[]);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "of the test", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    fs::write(context.join(".dockerignore"), "key\n").unwrap();
    // the user of the workspace reads them too
    Command::new("chmod").args(["a+r", "-R"]).arg(&context).status().unwrap();
    here.build("server", &context);
    key
}

fn build(here: &Workspace, steps: &str, configure: impl FnOnce(&mut Command)) -> Ran {
    let context = here.context("d", &format!("FROM server\n{steps}"), &[]);
    // the server listens on the loopback of the machine
    let mut command = here.command(["build", "--network=host", "--no-cache", "--progress=plain", "-t", "x"]);
    configure(command.arg(context));
    Ran::of(command.output().unwrap())
}

/// The number of `ssh-agent`s on the machine that were started by builds which have ended; builds of other tests have theirs.
fn agents() -> usize {
    let commands = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let is_left = |line: &Vec<u8>| {
        let line = String::from_utf8_lossy(line);
        let build =
            line.strip_prefix("ssh-agent\0-D\0-s\0-a\0/proc/").and_then(|rest| rest.split('/').next());
        build.is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap())
    };
    commands.filter(is_left).count()
}

#[test]
fn a_step_clones_with_a_key_file_and_nothing_of_it_is_left() {
    let test = "a_step_clones_with_a_key_file_and_nothing_of_it_is_left";
    if !is_root(test) || !has_program("ssh-agent", test) {
        return;
    }
    let user = ordinary_user::workspace(test);
    for here in std::iter::once(Workspace::new(RBUILD)).chain(user) {
        here.import(Base::OpenSsh);
        let key = key_and_server(&here);
        let server = Server::start(&here);
        let port = server.port;
        let steps = format!(
            "RUN --mount=type=ssh stat -c 'socket %a %u:%g' $SSH_AUTH_SOCK && ssh-add -l | grep -c 'of the test' && git clone -q ssh://root@127.0.0.1:{port}/repository /out\n\
             RUN --mount=type=ssh,target=s,mode=0660,uid=7,gid=8 stat -c 'socket %n %a %u:%g' /s && ! ssh-add -D && ! ssh-add -x </dev/null && ssh-add -l\n\
             RUN ! ls /run/buildkit\n"
        );
        let ran = build(&here, &steps, |command| {
            command.arg(format!("--ssh=default={}", key.display()));
        });
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("socket 600 0:0") && ran.stderr.contains("socket /s 660 7:8"),
            "{}",
            ran.stderr
        );
        assert_eq!(here.ok(["run", "--rm", "x", "cat", "/out/file"]), "cloned\n");
        let private = fs::read_to_string(&key).unwrap();
        let line = private.lines().nth(3).unwrap();
        let found = Command::new("grep").args(["-rlaF", line]).arg(here.store()).output().unwrap();
        assert!(found.stdout.is_empty(), "{found:?}");
    }
    assert_eq!(agents(), 0);
}

#[test]
fn a_repository_behind_ssh_is_a_context_and_a_source_of_add() {
    let test = "a_repository_behind_ssh_is_a_context_and_a_source_of_add";
    if !is_root(test) || !has_program("ssh-agent", test) {
        return;
    }
    let here = Workspace::new(RBUILD);
    here.import(Base::OpenSsh);
    let key = key_and_server(&here);
    let server = Server::start(&here);
    let url = format!("ssh://root@127.0.0.1:{}/repository", server.port);
    let dockerfile =
        here.write("Local", format!("FROM server\nCOPY . /context/\nADD --keep-git-dir {url} /added\n"));
    let build = |keys: &[&str]| {
        let mut command = here.command(["build", "--progress=plain", "-t", "x"]);
        Ran::of(command.args(keys).arg("-f").arg(&dockerfile).arg(&url).output().unwrap())
    };
    let without = build(&[]);
    assert!(without.code != 0 && without.stderr.contains("Permission denied"), "{without:#?}");
    let given = format!("--ssh=default={}", key.display());
    let ran = build(&[&given]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/context/file", "/added/file"]), "cloned\ncloned\n");
    assert!(here.ok(["run", "--rm", "x", "ls", "-a", "/added"]).contains(".git"));
    // another server with the same address is not the one that was met
    let known = here.store().join("sources/known_hosts");
    let met = fs::read_to_string(&known).unwrap();
    let other = fs::read_to_string(key.with_extension("pub")).unwrap();
    let host = met.split(' ').next().unwrap();
    fs::write(&known, format!("{host} {}", other.rsplit_once(' ').unwrap().0)).unwrap();
    let ran = build(&[&given]);
    assert!(ran.code != 0 && ran.stderr.contains("verification failed"), "{ran:#?}");
}

#[test]
fn a_step_uses_the_agent_of_the_person_who_builds_and_cannot_change_it() {
    let test = "a_step_uses_the_agent_of_the_person_who_builds_and_cannot_change_it";
    if !is_root(test) || !has_program("ssh-agent", test) {
        return;
    }
    let here = Workspace::new(RBUILD);
    here.import(Base::OpenSsh);
    let key = key_and_server(&here);
    let socket = here.path().join("agent");
    let mut agent =
        Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::piped()).spawn().unwrap();
    assert!(agent.stdout.take().unwrap().read(&mut [0; 16]).unwrap() > 0);
    Command::new("chmod").arg("600").arg(&key).status().unwrap();
    let ssh_add = |argument: &Path| {
        let mut command = Command::new("ssh-add");
        command.arg("-q").arg(argument).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null());
        command.output().unwrap()
    };
    assert!(ssh_add(&key).status.success());
    let steps = "RUN --mount=type=ssh,required ssh-add -l && ! ssh-add -D\n\
        RUN --mount=type=ssh,id=other,required ssh-add -l | grep -q 'of the test'\n\
        RUN --mount=type=ssh,id=none test ! -e $SSH_AUTH_SOCK && echo \"at $SSH_AUTH_SOCK\"\n";
    let ran = build(&here, steps, |command| {
        let other = format!("--ssh=other={}", socket.display());
        command.args(["--ssh", "default", &other]).env("SSH_AUTH_SOCK", &socket);
    });
    assert!(ran.code == 0 && ran.stderr.contains("at /run/buildkit/ssh_agent.0"), "{}", ran.stderr);
    assert!(
        String::from_utf8(ssh_add(Path::new("-l")).stdout).unwrap().contains("of the test"),
        "the key is still there"
    );
    agent.kill().unwrap();
    agent.wait().unwrap();
    let dead = build(&here, steps, |command| {
        command.args(["--ssh", "default"]).env("SSH_AUTH_SOCK", &socket);
    });
    assert!(dead.code != 0 && dead.stderr.contains("unset ssh forward key other"), "{}", dead.stderr);
    let dead = build(&here, "RUN --mount=type=ssh true\n", |command| {
        command.args(["--ssh", "default"]).env("SSH_AUTH_SOCK", &socket);
    });
    assert!(dead.code != 0 && dead.stderr.contains("does not answer"), "{}", dead.stderr);
}

#[test]
fn a_build_that_lacks_keys_or_has_bad_ones_says_so() {
    let test = "a_build_that_lacks_keys_or_has_bad_ones_says_so";
    let Some(here) = with_busybox(test) else { return };
    let dockerfile = "FROM busybox\nRUN echo worked > /first\nRUN --mount=type=ssh,required true\n";
    let context = here.context("c", dockerfile, &[("bad", "no key")]);
    let build = |arguments: &[&str]| {
        here.fails(["build", "--progress=plain"].iter().chain(arguments).chain([&context.to_str().unwrap()]))
    };
    let missing = build(&[]);
    assert!(
        missing.stderr.contains("unset ssh forward key default")
            && missing.stderr.contains(">>> RUN --mount=type=ssh"),
        "{}",
        missing.stderr
    );
    assert!(
        missing.code == 1 && !missing.stderr.contains("[2/3] RUN echo worked > /first\n"),
        "{}",
        missing.stderr
    );
    let unset = build(&["--ssh", "default"]);
    assert!(
        unset.stderr.contains("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"),
        "{}",
        unset.stderr
    );
    if !has_program("ssh-agent", test) {
        return;
    }
    let bad = context.join("bad");
    let refused = build(&["--ssh", &format!("default={}", bad.display())]);
    assert!(refused.stderr.contains(&format!("ssh-add refuses {}", bad.display())), "{}", refused.stderr);
    let locked = here.path().join("locked");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "pass phrase", "-f"])
        .arg(&locked)
        .status();
    assert!(made.unwrap().success());
    let refused = build(&["--ssh", &format!("default={}", locked.display())]);
    assert!(refused.stderr.contains("ssh-add refuses"), "{}", refused.stderr);
    assert_eq!(agents(), 0);
}
