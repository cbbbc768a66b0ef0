//! Checks of a table of replaced characters ("precompiled charsmap") before it is used: what reads it trusts it.
//!
//! It is the size of a trie in bytes, the trie, a double array ([Aoe, 1989](https://doi.org/10.1109/32.31365)) as Darts-clone
//! writes it, and the texts that characters become, each ended by a zero.

use tokenizers::normalizers::Precompiled;

/// Units that belong together: a unit's successors differ in their last byte.
const BLOCK: usize = 256;
/// Set in units that hold a place in the texts.
const LEAF: u32 = 1 << 31;

/// The table, if nothing in it leads out of it. The error says what is wrong.
pub(super) fn precompiled(bytes: &[u8]) -> Result<Precompiled, String> {
    let fault = || "its table of characters (`precompiled_charsmap`) is damaged".to_owned();
    check(bytes).ok_or_else(fault)?;
    Precompiled::from(bytes).map_err(|_| fault())
}

/// None where the table is damaged.
fn check(bytes: &[u8]) -> Option<()> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (trie, texts) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
    let texts = std::str::from_utf8(texts).ok()?;
    let units: Vec<u32> = trie
        .chunks_exact(4)
        .map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]))
        .collect();
    let whole = !units.is_empty() && units.len().is_multiple_of(BLOCK) && trie.len().is_multiple_of(4);
    let stays = |(place, unit): (usize, &u32)| match unit & LEAF {
        0 => (place ^ offset(*unit)) < units.len(),
        _ => texts.is_char_boundary((unit ^ LEAF) as usize),
    };
    (whole && units.iter().enumerate().all(stays)).then_some(())
}

/// How far a unit's successors are away.
fn offset(unit: u32) -> usize {
    let wide = (unit & (1 << 9)) >> 6;
    ((unit >> 10) as usize) << wide
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(units: &[u32], texts: &str) -> Vec<u8> {
        let mut bytes = (4 * units.len() as u32).to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(texts.as_bytes());
        bytes
    }

    #[test]
    fn what_leads_out_of_the_table_is_refused() {
        let mut units = [0; BLOCK];
        assert!(precompiled(&table(&units, "ab\0")).is_ok());
        units[1] = LEAF | 3;
        assert!(precompiled(&table(&units, "ab\0")).is_ok());
        units[1] = LEAF | 4;
        assert!(precompiled(&table(&units, "ab\0")).is_err());
        units[1] = LEAF | 1;
        assert!(precompiled(&table(&units, "ä\0")).is_err());
        units[1] = (BLOCK as u32) << 10;
        assert!(precompiled(&table(&units, "")).is_err());
        for bytes in [
            &[][..],
            &[0, 0, 0],
            &[0, 0, 0, 0],
            &[255, 255, 255, 255],
            &table(&[0; 255], ""),
        ] {
            assert!(precompiled(bytes).is_err(), "{bytes:?}");
        }
        assert!(precompiled(&[table(&[0; BLOCK], ""), vec![0xff]].concat()).is_err());
    }
}
