//! The files of the page.

use super::server::Server;
use crate::serve::page::FILES;

#[test]
fn every_file_is_served_with_its_type_and_asks_for_files_of_the_page_only() {
    let server = Server::new(std::path::Path::new("/none"));
    let index = server.get("/");
    assert!(
        index
            .head
            .contains("content-type: text/html; charset=utf-8")
    );
    for (name, kind, text) in FILES {
        let answer = server.get(&format!("/page/{name}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, text), "{name}");
        assert!(
            answer.head.contains(&format!("content-type: {kind}")),
            "{name}"
        );
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/page");
        assert!(dir.join(name).is_file());
        for (_, rest) in text
            .match_indices(" from \"./")
            .map(|(at, it)| (at, &text[at + it.len()..]))
        {
            let wanted = rest.split('"').next().unwrap();
            assert!(
                FILES.iter().any(|(known, ..)| *known == wanted),
                "{name} imports {wanted}"
            );
        }
    }
    for (at, word) in index.body.match_indices("page/") {
        let wanted = index.body[at + word.len()..].split('"').next().unwrap();
        assert!(
            FILES.iter().any(|(known, ..)| *known == wanted),
            "the page wants {wanted}"
        );
    }
}

/// What is not in `FILES` is not part of the binary.
#[test]
fn every_file_is_part_of_the_binary() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/page");
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "index.html" || FILES.iter().any(|(known, ..)| *known == name),
            "{name}"
        );
    }
}
