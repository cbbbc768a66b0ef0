//! Boxes put into a finished tree of boxes.

use crate::error::{Mp4Error, Result};

/// The way to a box from the outside in: box types, and the bytes between a box's header and its first child.
pub(crate) type Way<'a> = &'a [([u8; 4], usize)];

/// Adds a box that `mp4` lacks as the last child of the box that `way` leads to.
pub(crate) fn append_child(tree: &mut Vec<u8>, way: Way, child: &[u8]) -> Result<()> {
    let missing = || Mp4Error::Boxes {
        box_type: "moov",
        reason: "a box inside is missing or too large".to_owned(),
    };
    let mut headers = Vec::new();
    let (mut position, mut end) = (0, tree.len());
    for &(box_type, before_children) in way {
        let size = loop {
            let header = tree[position..end].first_chunk::<8>().ok_or_else(missing)?;
            let [size @ .., _, _, _, _] = *header;
            let size = u32::from_be_bytes(size) as usize;
            if size < 8 || size > end - position {
                return Err(missing());
            }
            if header[4..] == box_type {
                break size;
            }
            position += size;
        };
        headers.push((position, size));
        end = position + size;
        position = (position + 8 + before_children).min(end);
    }
    for (position, size) in headers {
        let size = u32::try_from(size + child.len()).map_err(|_| missing())?;
        tree[position..position + 4].copy_from_slice(&size.to_be_bytes());
    }
    tree.splice(end..end, child.iter().copied());
    Ok(())
}
