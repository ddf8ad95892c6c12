//! Pictures as files: the whole picture or none, in the place of whatever had the name before.

use std::{
    fs::Permissions,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use resvg::{tiny_skia, usvg};

use super::{chart::Chart, svg};

/// Pixels of a PNG file for each of an SVG file, so that text is sharp where screens are.
const SCALE: f32 = 2.0;

/// Formats of files, by their endings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Svg,
    Png,
}

/// A file that a picture goes to.
#[derive(Clone, Debug)]
pub struct PictureFile {
    path: PathBuf,
    kind: Kind,
}

impl PictureFile {
    /// Most groups of a time series, which have to be told apart by their colours.
    pub const MOST_GROUPS: usize = svg::COLOURS;
    /// Most bars, for the sake of those who scroll.
    pub const MOST_BARS: usize = 200;

    /// The file with this path, whose ending says what it is.
    ///
    /// # Errors
    ///
    /// A sentence: the ending is none of a picture, or nothing can be written there. So nobody waits for
    /// an answer that has no place.
    pub fn new(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        let kind = match &*ending.to_ascii_lowercase() {
            "svg" => Kind::Svg,
            "png" => Kind::Png,
            _ => {
                return Err(format!(
                    "{shown} is the name of no picture: it has to end with .svg or .png; `--plot` \
                     without a name draws in the terminal"
                ));
            }
        };
        let directory = directory(path);
        if !directory.is_dir() {
            return Err(format!(
                "{shown} cannot be written: there is no directory {}; make it, or name another",
                directory.display()
            ));
        }
        if path.exists() && !path.is_file() {
            return Err(format!("{shown} is no file: name another"));
        }
        Ok(Self {
            path: path.to_owned(),
            kind,
        })
    }

    /// Writes the picture beside the place, and puts it there when it is whole.
    pub(super) fn write(&self, chart: &Chart) -> io::Result<()> {
        let svg = svg::document(chart);
        let octets = match self.kind {
            Kind::Svg => svg.into_bytes(),
            Kind::Png => png(&svg)?,
        };
        let named = |error: io::Error| {
            let kind = error.kind();
            io::Error::new(kind, format!("{}: {error}", self.path.display()))
        };
        let mut file = tempfile::Builder::new()
            .prefix(".probe-query-")
            // As the shell would make it, less what the mask takes away.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory(&self.path))
            .map_err(named)?;
        file.write_all(&octets).map_err(named)?;
        file.persist(&self.path)
            .map_err(|error| named(error.error))?;
        Ok(())
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The picture in pixels, in its light colours, with the font that the program has with it.
fn png(svg: &str) -> io::Result<Vec<u8>> {
    let mut options = usvg::Options {
        font_family: "Hack".to_owned(),
        ..usvg::Options::default()
    };
    let fonts = Arc::make_mut(&mut options.fontdb);
    fonts.load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
    fonts.set_monospace_family("Hack");
    let tree = usvg::Tree::from_str(svg, &options).map_err(io::Error::other)?;
    let size = tree
        .size()
        .to_int_size()
        .scale_by(SCALE)
        .ok_or_else(|| io::Error::other("the picture has no size"))?;
    let mut pixels = tiny_skia::Pixmap::new(size.width(), size.height())
        .ok_or_else(|| io::Error::other("the picture is too large: ask for fewer rows (`-n`)"))?;
    let scale = tiny_skia::Transform::from_scale(SCALE, SCALE);
    resvg::render(&tree, scale, &mut pixels.as_mut());
    pixels.encode_png().map_err(io::Error::other)
}
