//! What a container's network lets it reach.

use super::{MOUNTS, Who, attack, dockerfile};
use rbuild_testkit::has_program;
use std::{
    io::Read,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr, UnixListener},
        },
    },
    time::Duration,
};

const PACKETS: &str = "#include <arpa/inet.h>\n#include <netinet/in.h>\n#include <stdio.h>\n#include <string.h>\n\
#include <sys/socket.h>\n#include <sys/un.h>\n#include <unistd.h>\n\
int main(int n, char **a) { setvbuf(stdout, 0, _IONBF, 0);\n\
 struct { int f, t, p; char *s; } k[] = {{AF_INET,SOCK_RAW,1,\"icmp\"},{AF_INET6,SOCK_RAW,58,\"icmp6\"},{AF_PACKET,SOCK_RAW,0x300,\"packet\"},\n\
  {AF_PACKET,SOCK_DGRAM,0x300,\"cooked\"},{AF_INET,SOCK_RAW,255,\"raw\"},{40,SOCK_STREAM,0,\"vsock\"},{38,SOCK_SEQPACKET,0,\"alg\"}};\n\
 for (int i = 0; i < 7; i++) { int f = socket(k[i].f, k[i].t, k[i].p); if (f >= 0) { printf(\"has %s\\n\", k[i].s); close(f); } }\n\
 if (n > 1) { struct sockaddr_un u = {AF_UNIX}; strcpy(u.sun_path + 1, a[1]); int f = socket(AF_UNIX, SOCK_STREAM, 0);\n\
  if (!connect(f, (void *)&u, 3 + strlen(a[1]))) { printf(\"connected\\n\"); write(f, \"reached\", 7); } }\n return 0; }\n";

#[test]
fn no_packets_are_forged_on_the_host_s_network() {
    let test = "no_packets_are_forged_on_the_host_s_network";
    attack(test, |arena| {
        if !arena.compiled(test, "packets", PACKETS) {
            return;
        }
        for mount in MOUNTS {
            for option in ["", "--network=host", "--network=default"] {
                let text = format!("COPY packets /packets\nRUN {option} MOUNT [\"/packets\"]");
                let said = arena.builds_with(&["--network=host"], &dockerfile(mount, &text));
                for kind in ["icmp", "icmp6", "packet", "cooked", "raw"] {
                    assert!(!said.contains(&format!(" has {kind}\n")), "{:?} {option}: {said}", arena.who);
                }
            }
        }
        let ran = arena.run(&["run", "--rm", "--network", "host", "x", "/packets"]);
        for kind in ["icmp\n", "icmp6", "packet", "cooked", "raw"] {
            assert!(!ran.stdout.contains(&format!("has {kind}")), "{:?}: {ran:#?}", arena.who);
        }
    });
}

#[test]
fn on_a_network_of_its_own_a_step_reaches_no_socket_of_the_host() {
    let test = "on_a_network_of_its_own_a_step_reaches_no_socket_of_the_host";
    attack(test, |arena| {
        if !arena.compiled(test, "packets", PACKETS) {
            return;
        }
        let name = format!("rbuild-bait-{:?}-{}", arena.who, std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        port.set_nonblocking(true).unwrap();
        let number = port.local_addr().unwrap().port();
        let tun = std::fs::metadata("/dev/net/tun")
            .is_ok_and(|device| device.permissions().mode() & 0o006 == 0o006);
        let own = has_program("pasta", test) && (tun || arena.who == Who::Root);
        let networks: &[&str] = if own { &["none", "default"] } else { &["none"] };
        for (mount, network) in MOUNTS.iter().flat_map(|mount| networks.iter().map(move |one| (mount, one))) {
            let text = format!(
                "COPY packets /packets\nRUN --network={network} MOUNT /packets {name}; for at in 127.0.0.1 ::1 \
                 $(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'); do timeout 2 nc -w 1 $at {number} </dev/null; done; true"
            );
            let said = arena.builds(&dockerfile(mount, &text));
            assert!(!said.contains(" connected\n"), "{:?}: {said}", arena.who);
        }
        for network in networks {
            arena.run(&["run", "--rm", "--network", network, "x", "/packets", &name]);
        }
        std::thread::sleep(Duration::from_millis(50));
        let reached = listener.accept().map(|(mut stream, _)| {
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text);
            text
        });
        assert!(reached.is_err(), "{:?}: a container reached the host's socket: {reached:?}", arena.who);
        assert!(port.accept().is_err(), "{:?}: a container reached the host's port", arena.who);
    });
}
