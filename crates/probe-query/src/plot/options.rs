//! What `--plot` asks for.

use std::{
    ffi::{OsStr, OsString},
    io::{self, IsTerminal as _},
    path::Path,
};

use super::{Picture, PictureFile, Target, TextSize};
use crate::{ask::Sums, columns::By, completeness::text::TextStyle};

/// Bars of a picture in the terminal at most.
const MOST_BARS: usize = 1000;
/// Groups of a time series in the terminal at most.
const MOST_GROUPS: usize = 100;
/// Groups and bars of a file unless more are asked for.
const GROUPS: usize = 8;
const BARS: usize = 25;

/// The words of a command line, with `--plot FILE` as `--plot=FILE`: clap lets a value that may be left
/// out begin with an equals sign or be any word, also the first one of a filter. A file is taken for one
/// by its ending.
pub fn joined(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined = Vec::<OsString>::new();
    let mut is_over = false;
    for word in words {
        match joined.last_mut() {
            Some(last) if !is_over && last == "--plot" && is_file(&word) => {
                last.push("=");
                last.push(word);
            }
            _ => joined.push(word),
        }
        is_over |= joined.last().is_some_and(|word| word == "--");
    }
    joined
}

/// Whether it ends like the name of a file, as no first word of a filter does.
fn is_file(word: &OsStr) -> bool {
    let ending = Path::new(word).extension().unwrap_or_default();
    let ending = ending.as_encoded_bytes();
    (3..=4).contains(&ending.len())
        && ending.iter().all(u8::is_ascii_alphabetic)
        && !word.as_encoded_bytes().iter().any(u8::is_ascii_whitespace)
}

impl Picture {
    /// The picture that `--plot` or `--plot=FILE` asks for. Sums get the limit that fits it, with the one
    /// that was asked for, 0 for as many as can be drawn.
    ///
    /// # Errors
    ///
    /// A sentence about the file, or about too many of what is drawn.
    pub fn wanted(
        file: Option<&Path>,
        limit: Option<usize>,
        sums: &mut Sums,
        style: &TextStyle,
    ) -> Result<Self, String> {
        let is_series = sums.by.iter().any(|column| matches!(column, By::Time(_)));
        let (target, usual, most) = if let Some(path) = file {
            let target = Target::File(PictureFile::new(path)?);
            if is_series {
                (target, GROUPS, PictureFile::MOST_GROUPS)
            } else {
                (target, BARS, PictureFile::MOST_BARS)
            }
        } else {
            let size = TextSize::of_output();
            let target = Target::Text(Box::new(io::BufWriter::new(io::stdout())), size);
            if is_series {
                (target, size.groups(), MOST_GROUPS)
            } else {
                (target, size.bars(), MOST_BARS)
            }
        };
        let number = match limit {
            None => usual,
            Some(0) => most,
            Some(limit) if limit <= most => limit,
            Some(limit) => {
                let (what, why) = if is_series {
                    ("series", "can be told apart in such a picture")
                } else {
                    ("bars", "have place in such a picture")
                };
                return Err(format!(
                    "{limit} {what} are more than the {most} that {why}: ask for fewer (`-n {most}`), or \
                     leave --plot away"
                ));
            }
        };
        sums.limit = Some(number);
        Ok(Self::new(target, sums, number, style.clone()))
    }
}

impl TextSize {
    /// That of the terminal; where there is none, of the environment, and no colours.
    fn of_output() -> Self {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
        let columns = size
            .map(|size| usize::from(size.ws_col))
            .filter(|it| *it > 0);
        let rows = size
            .map(|size| usize::from(size.ws_row))
            .filter(|it| *it > 0);
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: columns
                .or_else(|| number("COLUMNS"))
                .unwrap_or(80)
                .min(1000),
            height: rows.or_else(|| number("LINES")).unwrap_or(24).min(1000),
            has_colour: io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb,
        }
    }
}
