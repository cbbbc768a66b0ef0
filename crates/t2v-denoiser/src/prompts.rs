//! One clip under several prompts, as guidance has it: what doesn't look at the text is computed once for all of them.

use burn::tensor::Tensor;
use t2v_kernels::repeat_batch;

/// All entries of `x` one time after the other, until there are `rows`; as they are if that is how many there are.
///
/// # Panics
/// `rows` is no multiple of their number.
pub(crate) fn for_all_prompts<const D: usize>(x: Tensor<D>, rows: usize) -> Tensor<D> {
    let given = x.dims()[0];
    assert!(
        rows.is_multiple_of(given),
        "{given} entries serve no {rows}, which is no multiple"
    );
    repeat_batch(x, rows / given)
}
