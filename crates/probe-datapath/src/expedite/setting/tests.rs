//! What killed agents leave.

use std::{fs, process::Command};

use super::{
    super::tests::{expedited, kernel},
    MARK, StaleSetting, put_back_stale_setting_at,
};

#[test]
fn what_a_killed_agent_left_is_put_back() {
    let mut child = Command::new("true").spawn().expect("a child");
    child.wait().expect("its end");
    let process = i32::try_from(child.id()).expect("a number");
    let kernel = kernel(&format!("{}\n", MARK + process), "0\n");
    let stale = put_back_stale_setting_at(kernel.path()).expect("it can be written");
    assert_eq!(stale, Some(StaleSetting { process }));
    assert_eq!(expedited(&kernel), 0);
    assert_eq!(
        put_back_stale_setting_at(kernel.path()).expect("read"),
        None
    );
}

#[test]
fn what_is_no_stale_setting_stays() {
    for value in ["1", "2", "-1", "2147483647", "-2147483648"] {
        let kernel = kernel(value, "0\n");
        assert_eq!(
            put_back_stale_setting_at(kernel.path()).expect("read"),
            None
        );
        assert_eq!(expedited(&kernel).to_string(), value);
    }
}

#[test]
fn a_living_agent_keeps_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("probe-agent");
    fs::copy("/bin/sleep", &program).expect("a copy");
    let mut agent = Command::new(program).arg("60").spawn().expect("a child");
    let mark = MARK + i32::try_from(agent.id()).expect("a number");
    let kernel = kernel(&mark.to_string(), "0\n");
    assert_eq!(
        put_back_stale_setting_at(kernel.path()).expect("read"),
        None
    );
    agent.kill().expect("killed");
    // Not waited for yet.
    while put_back_stale_setting_at(kernel.path())
        .expect("written")
        .is_none()
    {
        std::thread::yield_now();
    }
    assert_eq!(expedited(&kernel), 0);
    agent.wait().expect("its end");
}
