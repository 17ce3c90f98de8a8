//! Images made by hand, and containers used together: what a person types, in the order in which they type it.

use crate::{RBUILD, as_root_and_user, ordinary_user};
use rbuild_testkit::{Workspace, has_program};
use std::{
    fs,
    io::{Read, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A person at a terminal, which `script` makes.
struct Person {
    terminal: Child,
    seen: Arc<Mutex<String>>,
}

impl Person {
    /// Types `line` after rbuild's name.
    fn types(here: &Workspace, words: &[&str]) -> Self {
        let rbuild = here.command(words);
        let line = std::iter::once(rbuild.get_program()).chain(rbuild.get_args());
        let line = line.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("RBUILD_ROOT", here.store()).env("HOME", here.path());
        let mut terminal = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let (output, shown) = (terminal.stdout.take().unwrap(), Arc::clone(&seen));
        thread::spawn(move || show(output, &shown));
        Self { terminal, seen }
    }

    /// Waits until the terminal shows `text` after what was seen before, and presses `keys`.
    fn after(&mut self, text: &str, keys: &str) {
        let begun = Instant::now();
        loop {
            let mut seen = self.seen.lock().unwrap();
            if let Some(at) = seen.find(text) {
                seen.replace_range(..at + text.len(), "");
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{text:?} does not come: {seen}");
            drop(seen);
            thread::sleep(Duration::from_millis(20));
        }
        self.terminal.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// The exit code of what was typed.
    fn code(mut self) -> Option<i32> {
        self.terminal.wait().unwrap().code()
    }
}

fn show(mut output: ChildStdout, seen: &Mutex<String>) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = output.read(&mut bytes) {
        seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
}

#[test]
fn an_image_is_made_by_hand_from_a_second_terminal() {
    let test = "an_image_is_made_by_hand_from_a_second_terminal";
    if !has_program("script", test) {
        return;
    }
    as_root_and_user(test, |here| {
        let mut first = Person::types(here, &["run", "--name", "b1", "-it", "busybox"]);
        first.after(
            "# ",
            "mkdir -p /data/html; echo '<h1>by hand</h1>' > /data/html/index.html; echo m''ade\n",
        );
        first.after("made", "");
        let id = here.ok(["commit", "-p", "b1"]);
        let listed = here.ok(["image", "ls"]);
        assert!(listed.lines().any(|line| line.starts_with("<none>")), "{listed}");
        here.ok(["tag", id.trim_end(), "name/httpd:v0.1"]);
        let inspect = "{{.State.Status}} {{.Config.Image}} {{.Path}} {{.Name}}";
        assert_eq!(here.ok(["inspect", "-f", inspect, "b1"]), "running busybox sh /b1\n");
        let change = r#"CMD ["cat", "/data/html/index.html"]"#;
        here.ok(["commit", "-a", "me", "-c", change, "-p", "b1", "name/httpd:v0.2"]);
        let named = here.ok(["images", "--format", "{{.Repository}}:{{.Tag}}", "name/httpd"]);
        assert_eq!(named, "name/httpd:v0.2\nname/httpd:v0.1\n");
        assert_eq!(here.ok(["run", "--rm", "name/httpd:v0.2"]), "<h1>by hand</h1>\n");
        here.ok(["commit", "--squash", "-m", "one", "b1", "name/httpd:one"]);
        assert_eq!(here.ok(["inspect", "-f", "{{len .RootFS.Layers}}", "name/httpd:one"]), "1\n");
        let read = ["run", "--rm", "name/httpd:one", "sh", "-c", "cat /data/html/index.html; ls /bin/vi"];
        assert_eq!(here.ok(read), "<h1>by hand</h1>\n/bin/vi\n");
        here.ok(["rmi", "name/httpd:one"]);
        assert_eq!(here.ok(["inspect", "-f", "{{.Author}}", "name/httpd:v0.2"]), "me\n");
        assert_eq!(here.ok(["ps", "--format", "{{.Names}} {{.State}}"]), "b1 running\n", "it goes on");
        first.after("# ", "exit 3\n");
        assert_eq!(first.code(), Some(3));
        let mut again = Person::types(here, &["start", "-ai", "b1"]);
        again.after("# ", "cat /data/html/index.html; exit 4\n");
        again.after("<h1>by hand</h1>", "");
        assert_eq!(again.code(), Some(4));
        assert_eq!(here.ok(["rm", "b1"]), "b1\n");
        assert_eq!(here.ok(["ps", "-aq"]), "");
    });
}

#[test]
fn images_go_to_another_store_in_one_file() {
    as_root_and_user("images_go_to_another_store_in_one_file", |here| {
        here.ok(["run", "--name", "b1", "busybox", "sh", "-c", "echo one > /file"]);
        here.ok(["commit", "b1", "name/httpd:v0.1"]);
        here.ok(["commit", "-c", "CMD [\"cat\", \"/file\"]", "b1", "name/httpd:v0.2"]);
        here.ok(["save", "-o", "both.gz", "name/httpd:v0.1", "name/httpd:v0.2"]);
        here.ok(["rm", "b1"]);
        here.ok(["rmi", "name/httpd:v0.1", "name/httpd:v0.2"]);
        assert_eq!(here.ok(["images", "-q", "name/httpd"]), "");
        let is_user = here.command(["version"]).get_program() == "setpriv";
        let there =
            if is_user { Workspace::for_user(RBUILD, ordinary_user::USER) } else { Workspace::new(RBUILD) };
        fs::copy(here.path().join("both.gz"), there.path().join("both.gz")).unwrap();
        if is_user {
            let user = Some(ordinary_user::USER);
            std::os::unix::fs::chown(there.path().join("both.gz"), user, user).unwrap();
        }
        let loaded = there.ok(["load", "-i", "both.gz"]);
        // in the order of their digests, which have the time of the commit in them
        let mut loaded: Vec<&str> = loaded.lines().collect();
        loaded.sort_unstable();
        assert_eq!(loaded, ["Loaded image: name/httpd:v0.1", "Loaded image: name/httpd:v0.2"]);
        assert_eq!(there.ok(["run", "--rm", "name/httpd:v0.2"]), "one\n");
        assert_eq!(there.ok(["run", "--rm", "name/httpd:v0.1", "cat", "/file"]), "one\n");
    });
}

#[test]
fn containers_share_the_files_of_a_data_container() {
    as_root_and_user("containers_share_the_files_of_a_data_container", |here| {
        here.ok(["run", "--name", "c3", "-d", "-v", "/data", "busybox", "sleep", "1000"]);
        for name in ["c1", "c2"] {
            here.ok(["run", "--name", name, "-d", "--volumes-from", "c3", "busybox", "sleep", "1000"]);
        }
        for name in ["c1", "c2", "c3"] {
            here.ok(["exec", name, "sh", "-c", &format!("echo {name} > /data/{name}")]);
        }
        for name in ["c1", "c2", "c3"] {
            assert_eq!(here.ok(["exec", name, "sh", "-c", "cat /data/*"]), "c1\nc2\nc3\n", "{name}");
        }
        let volume = here.ok(["volume", "ls", "-q"]);
        let with_it = here.ok(["ps", "-q", "--filter", &format!("volume={}", volume.trim_end())]);
        assert_eq!(with_it.lines().count(), 3);
        here.ok(["rm", "-f", "c1"]);
        here.ok(["stop", "-t", "0", "c2", "c3"]);
        // rm $(rbuild ps -aq); rmi $(rbuild images -q)
        let all = here.ok(["ps", "-aq"]);
        assert_eq!(here.ok(std::iter::once("rm").chain(all.lines())), all);
        assert_eq!(here.ok(["ps", "-aq"]), "");
        let images = here.ok(["images", "-q"]);
        here.ok(std::iter::once("rmi").chain(images.lines()));
        assert_eq!(here.ok(["images", "-aq"]), "");
        assert_eq!(here.ok(["volume", "ls", "-q"]), volume, "only rm -v takes volumes along");
        here.ok(["volume", "rm", volume.trim_end()]);
    });
}

#[test]
fn a_container_is_entered_stopped_killed_and_removed() {
    let test = "a_container_is_entered_stopped_killed_and_removed";
    if !has_program("script", test) {
        return;
    }
    as_root_and_user(test, |here| {
        here.ok(["run", "-d", "--rm", "--name", "web", "busybox", "sleep", "1000"]);
        let mut person = Person::types(here, &["exec", "-it", "web", "sh"]);
        person.after("# ", "echo $((40+2)) > /tmp-file; cat /tmp-file; exit 5\n");
        person.after("42", "");
        assert_eq!(person.code(), Some(5));
        here.ok(["stop", "-t", "0", "web"]);
        wait_for(|| here.ok(["ps", "-aq"]).is_empty());
        here.ok(["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
        here.ok(["kill", "web"]);
        assert_eq!(
            here.ok(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "web"]),
            "exited 137\n"
        );
        here.ok(["start", "web"]);
        here.ok(["rm", "-f", "web"]);
        assert_eq!(here.ok(["ps", "-aq"]), "");
    });
}

fn wait_for(mut happens: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happens() {
        assert!(begun.elapsed() < PATIENCE, "it does not happen");
        thread::sleep(Duration::from_millis(50));
    }
}
