//! In how many parts a dump is sent.

/// S3 takes no smaller ones, and R2 wants all but the last of one size.
const SMALLEST_PART_BYTES: u64 = 8 << 20;
/// The limit of S3 and Google; Azure takes more.
const MOST_PARTS: u64 = 10_000;

/// Grows with the dump, so that the most parts suffice.
pub fn part_bytes(size_bytes: u64) -> u64 {
    let needed = size_bytes.div_ceil(MOST_PARTS);
    let needed = needed.next_multiple_of(1 << 20);
    needed.max(SMALLEST_PART_BYTES)
}
