//! Who may read a compacted day: the same as before.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use probe_testkit::skip;
use rustix::fs::{XattrFlags, getxattr, setxattr};

use super::{Store, background, glob, write_day};
use crate::compact::{CompactError, Outcome};

const ACCESS_LIST: &str = "system.posix_acl_access";
/// Version 2: the owner rw-, user 12345 r--, the group r--, at most r--, others nothing.
const READER: [(u16, u16, u32); 5] = [
    (0x01, 6, u32::MAX),
    (0x02, 4, 12345),
    (0x04, 4, u32::MAX),
    (0x10, 4, u32::MAX),
    (0x20, 0, u32::MAX),
];

fn rights(path: &Path) -> (u32, u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.mode(), metadata.uid(), metadata.gid())
}

#[test]
fn the_new_day_has_the_rights_of_the_old_one() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let store = Store::new();
    write_day(&store.root(), 3, 5);
    chown(store.day(), Some(1234), Some(12345)).unwrap();
    fs::set_permissions(store.day(), Permissions::from_mode(0o2750)).unwrap();
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in READER {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    for file in glob(&store.root()) {
        chown(&file, None, Some(12345)).unwrap();
        setxattr(&file, ACCESS_LIST, &list, XattrFlags::empty()).unwrap();
    }
    let of_file = rights(&glob(&store.root())[0]);
    let of_day = rights(&store.day());
    assert_eq!(of_day, (0o042_750, 1234, 12345));
    assert!(matches!(store.compact().unwrap(), Outcome::Compacted(_)));
    assert_eq!(rights(&store.day()), of_day);
    let file = &glob(&store.root())[0];
    assert_eq!(rights(file), of_file);
    let mut found = [0; 256];
    let length = getxattr(file, ACCESS_LIST, &mut found).unwrap();
    assert_eq!(&found[..length], list);
}

#[test]
fn of_files_with_different_rights_the_newest_counts() {
    let store = Store::new();
    write_day(&store.root(), 3, 5);
    // Until yesterday everybody could read.
    let files = glob(&store.root());
    for (file, mode) in files.iter().zip([0o644, 0o644, 0o600]) {
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }
    store.compact().unwrap();
    assert_eq!(rights(&glob(&store.root())[0]).0 & 0o777, 0o600);
}

#[test]
fn rights_that_cannot_be_given_are_told_before_anything_is_merged() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let store = Store::new();
    write_day(&store.root(), 3, 5);
    let file = glob(&store.root()).remove(2);
    chown(file, None, Some(12345)).unwrap();
    let error = background::unprivileged(|| store.compact()).unwrap_err();
    assert!(matches!(error, CompactError::Rights { .. }), "{error}");
    assert_eq!(glob(&store.root()).len(), 3);
    store.assert_clean();
}
