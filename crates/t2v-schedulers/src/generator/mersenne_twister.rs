//! MT19937: M. Matsumoto and T. Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998), doi:10.1145/272991.272995.

const N: usize = 624;
const M: usize = 397;
const MATRIX: u32 = 0x9908_b0df;
const UPPER: u32 = 0x8000_0000;

/// The 32-bit Mersenne Twister with the initialisation of 2002.
#[derive(Clone, Debug)]
pub(super) struct MersenneTwister {
    state: [u32; N],
    used: usize,
}

impl MersenneTwister {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let last = state[i - 1];
            state[i] = 1_812_433_253u32
                .wrapping_mul(last ^ (last >> 30))
                .wrapping_add(i as u32);
        }
        Self { state, used: N }
    }

    pub(super) fn next_u32(&mut self) -> u32 {
        if self.used == N {
            self.twist();
        }
        let mut y = self.state[self.used];
        self.used += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let next = self.state[(i + 1) % N];
            let joined = (self.state[i] & UPPER) | (next & !UPPER);
            let odd = if next & 1 == 1 { MATRIX } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (joined >> 1) ^ odd;
        }
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_10000th_value_of_the_default_seed_is_the_one_of_the_cxx_standard() {
        let mut engine = MersenneTwister::new(5489);
        let value = (0..10_000).map(|_| engine.next_u32()).last();
        assert_eq!(value, Some(4_123_659_995));
    }
}
