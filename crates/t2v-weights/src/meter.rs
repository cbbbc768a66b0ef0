//! How much of a network's weights is read, for those who watch from other threads, and may stop it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Counts the bytes that [`Weights::load`](crate::Weights::load) reads, of those that it will read.
///
/// Clones count together. Any number of threads may read at once: a piece counts once it is there, so that [`read`](Self::read)
/// never falls while weights are loaded, and ends at [`total`](Self::total). Bytes are those of the files: of a tensor that is
/// widened, those that are stored. Headers, and tensors that the network has no parameter for, are not among them.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::{DType, Device}};
/// # fn main() -> Result<(), t2v_weights::WeightsError> {
/// # let device = Device::flex();
/// # let header = r#"{"bias":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"weight":{"dtype":"F16","shape":[3,2],"data_offsets":[4,16]}}"#;
/// # let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 16]].concat();
/// # let mut layer = LinearConfig::new(3, 2).init(&device);
/// use t2v_weights::{KeyMap, ReadMeter, Weights};
///
/// let meter = ReadMeter::new();
/// let weights = Weights::from_safetensors("layer.safetensors", file).with_meter(&meter);
/// weights.load(&mut layer, &KeyMap::new(), DType::F32)?;
/// assert_eq!((meter.read(), meter.total()), (16, 16));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct ReadMeter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    read: AtomicU64,
    total: AtomicU64,
    is_stopped: AtomicBool,
}

impl ReadMeter {
    /// One that counted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that are read.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// Bytes that will be read in all; 0 until the headers of the files are read.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// Has reading end soon, within some megabytes, with [`WeightsError::Stopped`](crate::WeightsError::Stopped): now, and until
    /// the meter is [reset](Self::reset).
    pub fn stop(&self) {
        self.0.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Whether [`stop`](Self::stop) was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped.load(Ordering::Relaxed)
    }

    /// Makes it as new.
    pub fn reset(&self) {
        self.begin(0);
        self.0.is_stopped.store(false, Ordering::Relaxed);
    }

    /// From now on so many bytes are read.
    pub(crate) fn begin(&self, total: u64) {
        self.0.read.store(0, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
    }

    /// So many more bytes are there.
    pub(crate) fn count(&self, bytes: u64) {
        self.0.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// # Errors
    /// Reading is to stop.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.is_stopped() {
            true => Err(io::Error::other("reading was stopped")),
            false => Ok(()),
        }
    }
}
