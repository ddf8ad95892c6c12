//! What a configuration names on this host: the directories of its sinks and the files of its keys.

use std::path::Path;

use probe_api::{
    SecretError, api_key_mistake, certificate_mistake, endpoint::Endpoint, private_key_mistake,
    tls_mistake,
};
use probe_store::examine::{examine_directory, file_system_size};

use super::kernel_files;
use crate::{
    config::{Named, OnHost, Reading, Severity},
    term::human::bytes,
};

/// Judges each value by itself, whatever else is wrong. What this user may not do the agent's user may, so
/// that is a warning.
pub(super) fn judge(reading: &mut Reading<'_>) {
    let reads_secrets = reads_secrets(reading);
    let named = reading.named();
    let mut found: Vec<_> = named
        .iter()
        .filter(|named| reads_secrets || !is_secret(&named.what))
        .filter_map(|named| found(named).map(|found| (named, found)))
        .collect();
    // Of what is no directory the size does not matter.
    let refused = found
        .iter()
        .filter(|(_, (severity, _))| *severity == Severity::Error);
    let refused: Vec<_> = refused
        .filter_map(|(named, _)| directory(&named.what))
        .collect();
    found.retain(|(named, _)| match &named.what {
        Named::SizeLimit { path, .. } => !refused.contains(&path.as_path()),
        _ => true,
    });
    let pair = (reads_secrets && !found.iter().any(|(named, _)| is_of_tls(&named.what)))
        .then(|| pair(reading, &named))
        .flatten();
    for (named, (severity, message)) in found.into_iter().chain(pair) {
        reading.judge(severity, named, message);
    }
}

/// `run` reads keys for a TCP address only.
fn reads_secrets(reading: &Reading<'_>) -> bool {
    let addr = reading.config().and_then(|it| it.api.addr.as_deref());
    let is_tcp = matches!(addr.map(Endpoint::parse), Some(Ok(Endpoint::Tcp(_))));
    is_tcp || reading.is_refused("api.addr")
}

fn directory(named: &Named) -> Option<&Path> {
    match named {
        Named::Directory { path, .. } => Some(path),
        _ => None,
    }
}

const fn is_of_tls(named: &Named) -> bool {
    matches!(named, Named::Certificate(_) | Named::PrivateKey(_))
}

const fn is_secret(named: &Named) -> bool {
    is_of_tls(named) || matches!(named, Named::ApiKey(_))
}

type Finding = (Severity, String);

fn found(OnHost { key, what, .. }: &OnHost) -> Option<Finding> {
    let secret = |error: SecretError| secret(key, &error);
    match what {
        Named::ApiKey(path) => api_key_mistake(path).map(secret),
        Named::Certificate(path) => certificate_mistake(path).map(secret),
        Named::PrivateKey(path) => private_key_mistake(path).map(secret),
        Named::Directory { format, path } => {
            // Without a format that can be read: either writes files.
            let sink = format.map_or("file", |format| format.name());
            if let Err(error) = examine_directory(sink, path) {
                return Some(if error.is_permission_denied() {
                    (Severity::Warning, format!("as this user, {error}"))
                } else {
                    (Severity::Error, error.to_string())
                });
            }
            let of_kernel = kernel_files::above(path)?;
            let message = format!(
                "the {sink} sink cannot store files below {}: {} is of a file system of the kernel, which \
                 keeps none; choose a directory on a disk",
                path.display(),
                of_kernel.display()
            );
            Some((Severity::Error, message))
        }
        Named::SizeLimit {
            path,
            max_size_bytes,
        } => {
            let size = file_system_size(path).filter(|size| max_size_bytes > size)?;
            let message = format!(
                "{} is more than the whole file system of {} has, {}: the disk is full before \
                 anything is deleted for it; lower it, or set retention.min_free",
                bytes(*max_size_bytes),
                path.display(),
                bytes(size)
            );
            Some((Severity::Warning, message))
        }
    }
}

fn secret(key: &str, error: &SecretError) -> Finding {
    if error.is_permission_denied() {
        return (Severity::Warning, format!("as this user, {error}"));
    }
    let message = error.to_string();
    // The place has said the key.
    let message = message.strip_prefix(&format!("{key}: "));
    let message = message.map_or_else(|| error.to_string(), str::to_owned);
    (Severity::Error, message)
}

/// Whether certificate and key, each good, belong together.
fn pair<'a>(reading: &Reading<'_>, named: &'a [OnHost]) -> Option<(&'a OnHost, Finding)> {
    let tls = reading.config()?.api.tls.as_ref()?;
    let mistake = tls_mistake(tls)?;
    let certificate = named
        .iter()
        .find(|named| matches!(named.what, Named::Certificate(_)))?;
    Some((certificate, secret(&certificate.key, &mistake)))
}
