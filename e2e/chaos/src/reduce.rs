//! Makes a broken life shorter: leaves out as many of its steps as can be left out so that the same invariant still
//! breaks. What each step does follows from the seed and its number alone, so the others stay as they are.

use crate::invariants::Breach;
use crate::{Life, Mistake, Script};

/// The script with as few steps as can be found, and its life, told.
///
/// # Errors
/// A mistake of this program: a world could not be made.
pub fn reduce(script: &Script, broken: &Breach) -> Result<(Script, Life), Mistake> {
    let steps: Vec<usize> = (0..script.steps).collect();
    let without = |omitted: &[usize]| Script { omitted: omitted.iter().copied().collect(), ..script.clone() };
    let mut mistake = None;
    let kept = fewest(&steps, |kept| {
        let omitted: Vec<usize> = steps.iter().filter(|step| !kept.contains(step)).copied().collect();
        match without(&omitted).live(false) {
            Ok(life) => life.breach.is_some_and(|breach| breach.invariant == broken.invariant),
            Err(error) => {
                mistake = Some(error);
                false
            }
        }
    });
    if let Some(mistake) = mistake {
        return Err(mistake);
    }
    let omitted: Vec<usize> = steps.iter().filter(|step| !kept.contains(step)).copied().collect();
    let script = without(&omitted);
    let life = script.live(true)?;
    Ok((script, life))
}

/// As few of `all` as still do, as far as leaving out halves, quarters and so on, down to single ones, finds out.
fn fewest(all: &[usize], mut still_do: impl FnMut(&[usize]) -> bool) -> Vec<usize> {
    let mut kept = all.to_vec();
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < kept.len() {
            let end = (start + size).min(kept.len());
            let fewer: Vec<usize> = kept[..start].iter().chain(&kept[end..]).copied().collect();
            if still_do(&fewer) {
                kept = fewer;
            } else {
                start = end;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_stays_and_nothing_else() {
        let all: Vec<usize> = (0..200).collect();
        for needed in [vec![], vec![0], vec![199], vec![3, 4, 150], (0..200).collect::<Vec<_>>()] {
            let still_do = |kept: &[usize]| needed.iter().all(|one| kept.contains(one));
            assert_eq!(fewest(&all, still_do), needed);
        }
    }
}
