//! Keys: kept as hashes, compared in constant time.

use std::sync::{PoisonError, RwLock};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Who a key belongs to, and what that one may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// What jobs are kept under: a part of the key's hash.
    pub id: String,
    /// Whether models, the storage and the server itself may be changed.
    pub is_admin: bool,
    /// Requests a second; `None`: as many as there come.
    pub requests_per_second: Option<u32>,
    /// Jobs that may wait or run; `None`: as the server has it.
    pub queued: Option<u64>,
}

/// The keys of a server.
#[derive(Debug, Default)]
pub struct Keys {
    keys: RwLock<Vec<([u8; 32], Owner)>>,
}

impl Keys {
    /// None yet: nobody gets in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new key, of 128 random bits.
    #[must_use]
    pub fn generate() -> String {
        format!("t2v_{}", Uuid::new_v4().simple())
    }

    /// Lets a key in that may do everything.
    pub fn add_admin(&self, key: &str) {
        self.add(hash(key), true, None, None);
    }

    /// Lets in the key of a hash, in hexadecimal digits.
    ///
    /// # Errors
    /// Something else than 64 such digits.
    pub fn add_hash(
        &self,
        hex: &str,
        is_admin: bool,
        requests_per_second: Option<u32>,
        queued: Option<u64>,
    ) -> Result<(), String> {
        let hash = from_hex(hex).ok_or("a key's hash must be 64 hexadecimal digits (SHA-256)")?;
        self.add(hash, is_admin, requests_per_second, queued);
        Ok(())
    }

    fn add(&self, hash: [u8; 32], is_admin: bool, requests_per_second: Option<u32>, queued: Option<u64>) {
        let owner = Owner {
            id: to_hex(&hash[..8]),
            is_admin,
            requests_per_second,
            queued,
        };
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|(known, _)| *known != hash);
        keys.push((hash, owner));
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whose key this is, if anybody's. It takes as long for a wrong key as for a right one.
    #[must_use]
    pub fn owner(&self, key: &str) -> Option<Owner> {
        let hash = hash(key);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for (known, owner) in keys.iter() {
            if bool::from(known.ct_eq(&hash)) {
                found = Some(owner);
            }
        }
        found.cloned()
    }
}

/// The hash that stands for a key, in hexadecimal digits.
#[must_use]
pub fn key_hash(key: &str) -> String {
    to_hex(&hash(key))
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let is_hex = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    bytes.filter(|_| is_hex)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_hash_alone() {
        let keys = Keys::new();
        assert!(keys.is_empty() && keys.owner("").is_none());
        keys.add_admin("first");
        keys.add_hash(&key_hash("second"), false, Some(5), Some(2)).unwrap();
        let (first, second) = (keys.owner("first").unwrap(), keys.owner("second").unwrap());
        assert!(first.is_admin && !second.is_admin && first.id != second.id);
        assert_eq!((second.requests_per_second, second.queued), (Some(5), Some(2)));
        for wrong in ["", "First", "first ", "third"] {
            assert!(keys.owner(wrong).is_none());
        }
        assert!(!format!("{keys:?}").contains("first"));
    }

    #[test]
    fn hashes_are_sha256_in_hexadecimal_digits() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(key_hash("abc"), abc);
        for wrong in ["", "abc", &abc[1..], &format!("{abc}0"), &abc.replace('b', "g")] {
            assert!(Keys::new().add_hash(wrong, true, None, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn generated_keys_differ() {
        assert_ne!(Keys::generate(), Keys::generate());
        assert_eq!(Keys::generate().len(), 36);
    }
}
