//! What the endpoints can be told by a configuration: addresses, who may ask over TCP, and with what
//! it is encrypted.

use std::{fmt, path::PathBuf};

/// Shortest key that is accepted: 32 characters of hexadecimal digits are 128 bits.
pub const MIN_KEY_LENGTH: usize = 32;

/// Longest key: it must fit into a header.
const MAX_KEY_LENGTH: usize = 256;

/// Where the API listens and which clients may use it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiConfig {
    /// `unix:/path` or `host:port`; `None` switches it off.
    pub addr: Option<String>,
    /// `host:port` of `/metrics`, `/healthz` and `/readyz`; `None` switches it off.
    pub metrics_addr: Option<String>,
    /// Leaves the `iface` label out of the metrics.
    pub disable_iface_metrics: bool,
    /// Who may ask over TCP.
    pub keys: Vec<ApiKey>,
    /// Certificate and key of the TCP address; plain HTTP without.
    pub tls: Option<TlsConfig>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            addr: Some("unix:/run/probe/probe.sock".to_owned()),
            metrics_addr: Some("127.0.0.1:9478".to_owned()),
            disable_iface_metrics: false,
            keys: Vec::new(),
            tls: None,
        }
    }
}

/// What a client may do.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// May read status, flows and configuration.
    #[default]
    Read,
    /// May read, and may change the configuration or ask for a rotation.
    Admin,
}

impl Role {
    /// Name of the role in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// A key and what it allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiKey {
    /// What its holder may do.
    pub role: Role,
    /// File or text that holds the key.
    pub source: KeySource,
}

/// Where a key is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// The key itself stands in the configuration.
    Inline(Secret),
    /// In a file of its own.
    File(PathBuf),
}

/// Text that is never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Checks a key. The error is the end of a sentence, and does not show it.
    ///
    /// # Errors
    ///
    /// The text has fewer than [`MIN_KEY_LENGTH`] or more than 256 characters, or one that is not
    /// visible ASCII.
    pub fn new(text: &str) -> Result<Self, String> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be of visible ASCII characters without spaces".to_owned());
        }
        if !(MIN_KEY_LENGTH..=MAX_KEY_LENGTH).contains(&text.len()) {
            return Err(format!(
                "must have {MIN_KEY_LENGTH} to {MAX_KEY_LENGTH} characters, found {}; \
                 `openssl rand -hex 32` makes a good one",
                text.len()
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text, to be compared and nothing else.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// Files of the TLS identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsConfig {
    /// Certificates as PEM, our own first.
    pub cert: PathBuf,
    /// Private key as PEM.
    pub key: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_key_is_checked_and_never_shown() {
        let key = "0123456789abcdef0123456789abcdef";
        let secret = Secret::new(key).expect("long enough");
        assert_eq!(format!("{secret:?}"), "(redacted)");
        assert_eq!(secret.expose(), key.as_bytes());
        for bad in [&key[1..], &"x".repeat(257), &key.replace('0', " ")] {
            let told = Secret::new(bad).expect_err("refused");
            assert!(!told.contains(bad), "{told}");
        }
    }
}
