//! Buffers for results and intermediate values, used again after their tensor is gone.
//!
//! Fresh memory is expensive: the system has to clear each page of it. A denoising step asks
//! for buffers of the same sizes over and over, so large ones go back to a pool of [`POOL_CAPACITY`] bytes when they are dropped.

use std::{
    mem::{ManuallyDrop, MaybeUninit, take},
    ops::{Deref, DerefMut},
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::tensor::Bytes;
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty};

/// Smaller buffers, in bytes, are the allocator's business.
const POOLED_FROM: usize = 1 << 17;
/// Bytes that the pool holds at most.
const POOL_CAPACITY: usize = 1 << 29;
/// Linux is asked to back a fresh buffer of several of these with as many large pages.
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 1 << 21;

/// Buffers that nobody uses, the one that was last dropped at the end.
static POOL: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

fn pool() -> MutexGuard<'static, Vec<Vec<f32>>> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bytes(buffer: &Vec<f32>) -> usize {
    buffer.capacity() * size_of::<f32>()
}

/// A buffer whose values are arbitrary: those of its last use.
pub(super) fn scratch(len: usize) -> Vec<f32> {
    if len * size_of::<f32>() < POOLED_FROM {
        return vec![0.0; len];
    }
    let mut pool = pool();
    let fitting = |buffer: &&Vec<f32>| (len..=len + len / 4).contains(&buffer.capacity());
    let best = pool.iter().filter(fitting).map(Vec::capacity).min();
    let found = best.and_then(|capacity| pool.iter().rposition(|buffer| buffer.capacity() == capacity));
    let Some(mut buffer) = found.map(|index| pool.remove(index)) else {
        drop(pool);
        let buffer = vec![0.0; len];
        #[cfg(target_os = "linux")]
        ask_for_huge_pages(&buffer);
        return buffer;
    };
    buffer.resize(len, 0.0);
    buffer
}

/// Takes a buffer back. What was dropped longest ago makes room for it.
fn recycle(buffer: Vec<f32>) {
    if !(POOLED_FROM..=POOL_CAPACITY).contains(&bytes(&buffer)) {
        return;
    }
    let mut pool = pool();
    pool.push(buffer);
    let mut held: usize = pool.iter().map(bytes).sum();
    let surplus = pool.iter().take_while(|buffer| {
        let over = held > POOL_CAPACITY;
        held -= bytes(buffer);
        over
    });
    let surplus = surplus.count();
    let dropped: Vec<_> = pool.drain(..surplus).collect();
    drop(pool);
    drop(dropped);
}

/// Frees the buffers that nobody uses.
pub(crate) fn release_pool() {
    let dropped = take(&mut *pool());
    drop(dropped);
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library can't give this advice")]
fn ask_for_huge_pages(buffer: &[f32]) {
    let (start, bytes) = (buffer.as_ptr() as usize, size_of_val(buffer));
    let first = start.next_multiple_of(HUGE_PAGE);
    let end = (start + bytes) / HUGE_PAGE * HUGE_PAGE;
    if first < end {
        // SAFETY: the pages lie within the buffer, and the advice changes how they are backed, not what they hold. A
        // failure leaves all as it was, so that it need not be looked at.
        unsafe {
            libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE);
        }
    }
}

/// A [`scratch`] buffer that goes back to the pool by itself.
#[derive(Default)]
pub(super) struct Scratch(Vec<f32>);

impl Scratch {
    pub(super) fn new(len: usize) -> Self {
        Self(scratch(len))
    }

    /// The first `len` elements, in another buffer if this one has fewer.
    pub(super) fn at_least(&mut self, len: usize) -> &mut [f32] {
        if self.0.len() < len {
            *self = Self::new(len);
        }
        &mut self.0[..len]
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        recycle(take(&mut self.0));
    }
}

/// The bytes of values, each as the processor orders them.
#[expect(unsafe_code, reason = "the standard library has no such view")]
pub(super) fn bytes_mut(values: &mut [f32]) -> &mut [u8] {
    let len = size_of_val(values);
    // SAFETY: the same memory, for as long, without padding; any bytes are values of either type.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), len) }
}

/// A buffer as the bytes of a tensor; they go back to the pool with it.
#[expect(unsafe_code, reason = "Burn's way to name an allocator of one's own")]
pub(super) fn into_bytes(values: Vec<f32>) -> Bytes {
    if bytes(&values) < POOLED_FROM {
        return Bytes::from_elems(values);
    }
    let len = size_of_val(values.as_slice());
    // SAFETY: all values of a vector are initialised.
    unsafe { Bytes::from_controller(Box::new(Pooled(values)), len) }
}

/// A vector that goes back to the pool. Its memory is its whole capacity, as [`AllocationController`] has it: a buffer that
/// is used again may have more of that than values, so `Bytes` can be extended in place.
struct Pooled(Vec<f32>);

impl Drop for Pooled {
    fn drop(&mut self) {
        recycle(take(&mut self.0));
    }
}

#[expect(unsafe_code, reason = "the trait is made of raw memory")]
impl AllocationController for Pooled {
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Native
    }

    unsafe fn memory_mut(&mut self, _: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let len = bytes(&self.0);
        // SAFETY: all that the vector has allocated, which need not be initialised for this type. The caller promises to
        // write initialised values, and any bytes are a valid f32.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        // SAFETY: all that the vector has allocated, which need not be initialised for this type.
        Ok(unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), bytes(&self.0)) })
    }

    fn capacity(&self) -> usize {
        bytes(&self.0)
    }

    fn try_detach(&mut self) -> Option<NonNull<u8>> {
        NonNull::new(ManuallyDrop::new(take(&mut self.0)).as_mut_ptr().cast())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;
    use crate::flex::{into_elements, tensor, try_into_contiguous};

    /// Nobody else in this process asks for buffers of about this size.
    const LEN: usize = 22_345_678;

    /// Held by tests that rely on what the pool has.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn buffers_are_used_again_and_the_pool_has_an_end() {
        let _alone = alone();
        let first = scratch(LEN);
        let place = first.as_ptr();
        let x: Tensor<1> = tensor(first, [LEN]);
        let other_holder = x.clone();
        drop(x);
        let another = scratch(LEN);
        assert_ne!(another.as_ptr(), place, "the buffer has a holder");
        drop(other_holder);
        let again = Scratch::new(LEN - 5);
        assert_eq!((again.as_ptr(), again.len()), (place, LEN - 5));
        drop(again);
        let again = scratch(LEN);
        assert_eq!(again.as_ptr(), place);
        for _ in 0..3 {
            let buffers: Vec<Scratch> = (0..8).map(|i| Scratch::new((POOL_CAPACITY >> 5) + 1000 * i)).collect();
            drop(buffers);
        }
        assert!(pool().iter().map(bytes).sum::<usize>() <= POOL_CAPACITY);
    }

    #[test]
    fn a_released_pool_is_empty() {
        let _alone = alone();
        release_pool();
        let is_held = || pool().iter().any(|buffer| buffer.capacity() == LEN);
        let in_use = Scratch::new(LEN);
        drop(Scratch::new(LEN));
        assert!(is_held());
        release_pool();
        assert!(!is_held());
        drop(in_use);
        assert!(is_held(), "the buffer in use was not of the pool");
        crate::release_memory(&burn::tensor::Device::flex());
        assert!(!is_held());
    }

    /// Bytes in a buffer that has room for more, of which Burn may use all.
    #[test]
    fn bytes_grow_within_the_capacity_and_beyond() {
        const LEN: usize = 23_456_784;
        const SPARE: usize = 16;
        let _alone = alone();
        release_pool();
        drop(Scratch::new(LEN + SPARE));
        let mut values = scratch(LEN);
        assert_eq!(values.capacity(), LEN + SPARE, "a buffer that is used again");
        values.fill(1.5);
        let place = values.as_ptr().cast::<u8>();
        let mut grown = into_bytes(values);
        assert_eq!((grown.len(), grown.capacity()), (4 * LEN, 4 * (LEN + SPARE)));
        let more: Vec<u8> = [2.5_f32; SPARE].iter().flat_map(|value| value.to_ne_bytes()).collect();
        grown.extend_from_byte_slice(&more);
        assert_eq!(grown.as_ptr(), place, "there was room");
        let copy = grown.clone();
        grown.extend_from_byte_slice(&more);
        assert_ne!(grown.as_ptr(), place, "there was no room");
        let tails = [(copy, LEN + SPARE), (grown, LEN + 2 * SPARE)].map(|(bytes, len)| {
            let data = TensorData::from_bytes(bytes, [len], burn::tensor::DType::F32);
            data.as_slice::<f32>().unwrap()[LEN - 1..].to_vec()
        });
        assert_eq!(tails[0], [&[1.5][..], &[2.5; SPARE]].concat());
        assert_eq!(tails[1], [&[1.5][..], &[2.5; 2 * SPARE]].concat());
        // Detached with all its capacity.
        let again = into_bytes({
            let mut values = scratch(LEN);
            values.fill(3.5);
            values
        });
        let capacity = again.capacity() / 4;
        let detached = again.try_into_vec::<f32>().unwrap();
        assert_eq!((detached.len(), detached.capacity()), (LEN, capacity));
    }

    #[test]
    fn tensors_of_the_pool_are_like_others() {
        const LEN: usize = 1_234_567;
        let values: Vec<f32> = (0..LEN + 1).map(|i| i as f32).collect();
        let x: Tensor<1> = tensor(values.clone(), [LEN + 1]);
        let kept = x.clone();
        // Changed in a copy while there is another holder, in place when there is none.
        let doubled = (x * 2.0).into_data();
        assert_eq!(doubled.as_slice::<f32>().unwrap()[LEN], 2.0 * LEN as f32);
        assert_eq!(kept.clone().into_data(), TensorData::from(values.as_slice()));
        let values_again = into_elements(try_into_contiguous(kept).unwrap());
        assert_eq!(values_again, values);
        let small: Tensor<1> = tensor(vec![1.0, 2.0], [2]);
        assert_eq!(small.device(), Device::flex());
    }
}
