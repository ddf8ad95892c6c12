//! Answers as pictures: in the terminal, or as an SVG or PNG file.
//!
//! [`Picture`] gathers the rows of an answer, like every sink of [`crate::output`], and hands a chart to
//! what draws it. Axes begin at zero and are linear. A part of the time that no interval covers is a
//! hole and never a zero, and what the report of an answer says stands below its picture.

mod calendar;
mod chart;
mod file;
mod options;
mod picture;
mod scale;
mod svg;
#[cfg(test)]
mod tests;
mod text;
mod timeline;

use std::io::{self, Write};

pub use self::{
    file::PictureFile,
    options::joined,
    picture::Picture,
    text::TextSize,
    timeline::{Mark, Part, Timeline},
};

/// Where a picture goes.
pub enum Target {
    /// Text, such as on a terminal.
    Text(Box<dyn Write + Send>, TextSize),
    /// A file, as SVG or PNG.
    File(PictureFile),
}

impl Target {
    fn draw(&mut self, chart: &chart::Chart) -> io::Result<()> {
        match self {
            Self::Text(out, size) => {
                for line in text::lines(chart, *size) {
                    writeln!(out, "{}", line.text(size.has_colour))?;
                }
                out.flush()
            }
            Self::File(file) => file.write(chart),
        }
    }
}
