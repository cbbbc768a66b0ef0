//! Memory for large tensors.
//!
//! Fresh memory is cleared by the system page by page while it is filled, which takes longer than reading a file that lies in its
//! cache. Linux is asked for large pages, of which there are five hundred times fewer.

use std::io;

use burn::tensor::Bytes;
use burn_std::AllocationProperty;
use memmap2::MmapMut;

/// Smaller buffers, in bytes, are the allocator's business: several large pages.
pub(crate) const FROM: usize = 4 << 20;

/// A buffer of `len` bytes, filled by `fill`.
pub(crate) fn filled(len: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<Bytes> {
    let mut pages = MmapMut::map_anon(len)?;
    ask_for_large_pages(&pages);
    fill(&mut pages)?;
    let shared = bytes::Bytes::from_owner(pages);
    Ok(Bytes::from_shared(shared, AllocationProperty::Other))
}

#[cfg(target_os = "linux")]
fn ask_for_large_pages(pages: &MmapMut) {
    // Where the system has none, small ones do.
    let _ = pages.advise(memmap2::Advice::HugePage);
}

#[cfg(not(target_os = "linux"))]
fn ask_for_large_pages(_: &MmapMut) {}
