//! Sixteen nodes at a time.
//!
//! A loop over whole columns in steps of sixteen becomes vector instructions in the sandbox as on the host, and pays the
//! sandbox's interruption check once a step instead of once a node. Arithmetic on `i32` and on `f32` vectorises, division of
//! integers does not: divide as `f32`.

/// Values of sixteen nodes.
pub type Lanes = [i32; LANES];

/// How many nodes are one step.
pub const LANES: usize = 16;

/// Appends one score per candidate: `kernel` computes sixteen from the same sixteen rows of each column.
///
/// Runs of consecutive candidates are read in place, others are gathered. The kernel may be given rows twice at the end.
///
/// ```
/// let (allocatable, requested) = (vec![10; 32], vec![4; 32]);
/// let mut scores = Vec::new();
/// berth_sdk::lanes::map(&[3, 9], [&allocatable, &requested], &mut scores, |[a, r]| {
///     std::array::from_fn(|i| a[i] - r[i])
/// });
/// assert_eq!(scores, [6, 6]);
/// ```
#[inline(always)]
pub fn map<const K: usize>(
    candidates: &[u32],
    columns: [&[i32]; K],
    scores: &mut Vec<i32>,
    kernel: impl Fn([&Lanes; K]) -> Lanes,
) {
    scores.reserve(candidates.len() + LANES);
    let (chunks, rest) = candidates.as_chunks::<LANES>();
    for chunk in chunks {
        scores.extend_from_slice(&step(chunk, columns, &kernel));
    }
    if let Some(&last) = rest.last() {
        let mut chunk = [last; LANES];
        chunk[..rest.len()].copy_from_slice(rest);
        scores.extend_from_slice(&step(&chunk, columns, &kernel)[..rest.len()]);
    }
}

#[inline(always)]
fn step<const K: usize>(
    slots: &[u32; LANES],
    columns: [&[i32]; K],
    kernel: &impl Fn([&Lanes; K]) -> Lanes,
) -> Lanes {
    let first = slots[0] as usize;
    if is_run(slots)
        && let Some(rows) = in_place(first, columns)
    {
        return kernel(rows);
    }
    let gathered: [Lanes; K] = columns.map(|column| slots.map(|slot| column[slot as usize]));
    kernel(gathered.each_ref())
}

#[inline(always)]
fn in_place<const K: usize>(first: usize, columns: [&[i32]; K]) -> Option<[&Lanes; K]> {
    let mut rows = [&[0; LANES]; K];
    for (row, column) in rows.iter_mut().zip(columns) {
        *row = column.get(first..)?.first_chunk()?;
    }
    Some(rows)
}

/// Whether the slots are consecutive. Without early exit, so that it is one vector comparison.
#[inline(always)]
fn is_run(slots: &[u32; LANES]) -> bool {
    let mut different = 0;
    for (offset, slot) in slots.iter().enumerate() {
        different |= slot.wrapping_sub(slots[0]) ^ offset as u32;
    }
    different == 0
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn runs_gaps_and_tails_give_each_candidate_its_own_row() {
        let column: Vec<i32> = (0..100).map(|i| i * i).collect();
        let dense: Vec<u32> = (5..69).collect();
        let sparse: Vec<u32> = (0..100).rev().step_by(3).collect();
        for candidates in [&dense[..], &sparse, &dense[..7], &[99], &[]] {
            let mut scores = vec![-1];
            map(candidates, [&column], &mut scores, |[row]| row.map(|value| value + 1));
            let expected: Vec<i32> =
                [-1].into_iter().chain(candidates.iter().map(|&c| (c * c) as i32 + 1)).collect();
            assert_eq!(scores, expected);
        }
    }
}
