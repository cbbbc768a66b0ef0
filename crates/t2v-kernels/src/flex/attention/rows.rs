//! Rows that several threads write parts of.

use std::marker::PhantomData;

/// Rows of a buffer. Threads write to it at the same time, each to other elements.
pub(super) struct SharedRows<'a> {
    start: *mut f32,
    len: usize,
    width: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "the elements that threads write are not neighbours")]
// SAFETY: what is shared is a buffer of plain numbers that nobody else has while this has it, and it is not read.
unsafe impl Sync for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    /// Rows of `width` elements.
    pub(super) fn new(buffer: &'a mut [f32], width: usize) -> Self {
        Self {
            start: buffer.as_mut_ptr(),
            len: buffer.len(),
            width,
            buffer: PhantomData,
        }
    }

    /// Writes values to a row, from a column on.
    ///
    /// # Safety
    /// No other thread writes to these elements at the same time.
    #[expect(unsafe_code, reason = "the elements that threads write are not neighbours")]
    pub(super) unsafe fn write(&self, row: usize, column: usize, values: &[f32]) {
        let start = row * self.width + column;
        assert!(
            column + values.len() <= self.width && start + values.len() <= self.len,
            "a part lies within its row"
        );
        // SAFETY: the elements lie within the buffer, which outlives this, and nobody else uses them now.
        unsafe {
            self.start
                .add(start)
                .copy_from_nonoverlapping(values.as_ptr(), values.len());
        }
    }
}
