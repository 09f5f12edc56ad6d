//! Writes a preview of a packed data set as PNG: `preview FOLDER PICTURE [SPLIT [COUNT]]`.

use std::path::Path;

use poiesis_collect::{Dataset, Split, preview};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, picture, rest @ ..] = &arguments[..] else {
        return Err("usage: preview FOLDER PICTURE [SPLIT [COUNT]]".into());
    };
    let split = rest.first().and_then(|name| Split::parse(name)).unwrap_or(Split::Train);
    let count = rest.get(1).map_or(Ok(100), |count| count.parse())?;
    let drawn = preview(&Dataset::open(Path::new(folder))?, split, count)?;
    image::save_buffer(picture, &drawn.pixels, drawn.width, drawn.height, image::ColorType::Rgb8)?;
    Ok(())
}
