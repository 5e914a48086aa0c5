//! How much to send at a time: frames and a window that follow the measured link.
//!
//! A session begins with small frames, so that a link that drops every few kilobytes still gets whole ones
//! across. Each acknowledgement tells how long the link and the other side's disk took for what it covers, and
//! so how much they take in a given time: that is a frame. The window is a few frames, so that what is under way
//! on a slow link is seconds of its time, and new entries do not wait long behind old ones.

use super::limits::{FRAME_BYTES_FIRST, FRAME_MS, WINDOW_BYTES, WINDOW_FRAMES};
use crate::wire::limits::DATA_BYTES_TARGET;

/// The pace of one direction of a session.
#[derive(Debug)]
pub(super) struct Pace {
    frame_bytes: usize,
    /// When something was last acknowledged.
    acked_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            frame_bytes: FRAME_BYTES_FIRST,
            acked_ms: 0,
        }
    }
}

impl Pace {
    /// How many entry bytes the next frame gathers.
    pub(super) fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// How many entry bytes may be under way.
    pub(super) fn window_bytes(&self) -> usize {
        (self.frame_bytes * WINDOW_FRAMES).min(WINDOW_BYTES)
    }

    /// Takes note of an acknowledgement of `bytes`, the last of them sent at `sent_ms`. Waiting behind what was
    /// sent before is not counted.
    pub(super) fn acknowledged(&mut self, now_ms: u64, sent_ms: u64, bytes: usize) {
        let took = now_ms.saturating_sub(sent_ms.max(self.acked_ms)).max(1);
        self.acked_ms = now_ms;
        let measured = bytes as u64 * FRAME_MS / took;
        let (least, most) = (self.frame_bytes / 2, self.frame_bytes * 2);
        let bytes = (measured as usize).clamp(least, most);
        self.frame_bytes = bytes.clamp(FRAME_BYTES_FIRST, DATA_BYTES_TARGET);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends frames one after the other over a link, and returns the size that they settle at.
    fn settled(bytes_per_second: usize, delay_ms: u64) -> usize {
        let (mut pace, mut now_ms) = (Pace::default(), 1_000);
        for _ in 0..50 {
            let sent_ms = now_ms;
            now_ms += delay_ms + (pace.frame_bytes() * 1_000 / bytes_per_second) as u64;
            pace.acknowledged(now_ms, sent_ms, pace.frame_bytes());
        }
        pace.frame_bytes()
    }

    #[test]
    fn frames_grow_on_a_fast_link_and_stay_small_on_a_slow_one() {
        assert_eq!(settled(10_000_000, 2), DATA_BYTES_TARGET);
        assert_eq!(settled(2_000, 100), FRAME_BYTES_FIRST);
        let between = settled(64_000, 20);
        assert!((8 << 10..=64 << 10).contains(&between), "{between}");
    }

    #[test]
    fn what_waited_behind_other_frames_was_not_slow() {
        let mut pace = Pace::default();
        for frame in 1..=6 {
            // All were sent at once; the link takes 100 ms for each.
            pace.acknowledged(1_000 + 100 * frame, 1_000, FRAME_BYTES_FIRST);
        }

        assert_eq!(pace.frame_bytes(), FRAME_BYTES_FIRST * 5);
    }

    #[test]
    fn a_disk_that_writes_much_at_a_time_but_seldom_is_kept_busy() {
        let mut pace = Pace::default();
        for commit in 1..=10 {
            let window = pace.window_bytes();
            pace.acknowledged(900 * commit, 900 * (commit - 1), window);
        }

        assert_eq!(pace.window_bytes(), WINDOW_BYTES);
    }

    #[test]
    fn the_window_is_a_few_frames_and_never_more_than_a_receiver_takes() {
        let mut pace = Pace::default();
        assert_eq!(pace.window_bytes(), FRAME_BYTES_FIRST * WINDOW_FRAMES);
        for _ in 0..20 {
            pace.acknowledged(1_000, 1_000, pace.frame_bytes());
        }
        assert_eq!(pace.window_bytes(), WINDOW_BYTES);
    }
}
