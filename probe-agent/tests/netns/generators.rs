//! Traffic by other people's tools: iperf3 and ping.

use std::{fs, net::IpAddr, process::Stdio};

use super::{eventually, netns::Namespace, process::Process, run};

/// Port 5201 in hexadecimal, as the kernel's tables have it, listening.
const LISTENING: &str = ":1451 ";

/// Sends 1 MiB by iperf3; `options` say which way and how.
#[track_caller]
pub(crate) fn transfer(client: &Namespace, server: &Namespace, to: IpAddr, options: &[&str]) {
    let mut command = server.command("iperf3");
    command.args(["--server", "--one-off", "--bind", &to.to_string()]);
    let mut listener = Process::spawn(command.stdout(Stdio::null()));
    eventually("iperf3 listens", || {
        let tables = ["tcp", "tcp6"].map(|table| {
            let path = format!("/proc/{}/net/{table}", listener.id());
            fs::read_to_string(path).unwrap_or_default()
        });
        let mut lines = tables.iter().flat_map(|table| table.lines());
        lines
            .any(|line| line.contains(LISTENING) && line.contains(" 0A "))
            .then_some(())
    });
    let mut command = client.command("iperf3");
    command.args(["--client", &to.to_string(), "--bytes", "1M"]);
    run(command.args(options));
    assert!(listener.wait("iperf3 ends").success(), "the server failed");
}

/// Five echo requests of so many octets and their replies.
#[track_caller]
pub(crate) fn ping(from: &Namespace, to: IpAddr, octets: usize) {
    let mut command = from.command("ping");
    command.args(["-n", "-c", "5", "-i", "0.05"]);
    run(command.args(["-s", &octets.to_string(), &to.to_string()]));
}
