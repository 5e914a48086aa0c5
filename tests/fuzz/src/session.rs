//! A device among peers that say anything: members that lie, strangers, and frames that were bent on their way.
//!
//! The input is a script. Whatever it makes the peers do, the device does not panic and stays within its memory,
//! and afterwards an honest peer that never took part is served: its entry is taken in, acknowledged, and the
//! store is whole.

mod author;
mod device;
mod talk;

use arbitrary::{Result, Unstructured};
use fieldmesh::engine::input::Input;

use self::author::Author;
use self::device::Device;
use self::talk::Peer;

/// Most steps of a script.
const STEPS_MAX: usize = 80;
/// Peers that the script may play; they are members' keys, so a liar is among them.
const PEERS: usize = 3;
/// Who comes at the end: no peer of the script has its key.
const HONEST: u8 = 99;
/// Longest that a step waits: past every timer of the engine.
const WAIT_MS_MAX: u64 = 120_000;

/// Plays the script, and then meets the honest peer.
pub(crate) fn session(input: &[u8]) {
    let mut drawn = Unstructured::new(input);
    let mut device = Device::new();
    let mut peers: Vec<Peer> = (0..PEERS).map(|index| Peer::new(index as u8 + 2)).collect();
    for _ in 0..STEPS_MAX {
        // The end of the input ends the script.
        if drawn.is_empty() || step(&mut drawn, &mut device, &mut peers).is_err() {
            break;
        }
    }
    device.recover();
    serve_honest(&mut device);
}

fn step(drawn: &mut Unstructured<'_>, device: &mut Device, peers: &mut [Peer]) -> Result<()> {
    let peer = &mut peers[drawn.choose_index(PEERS)?];
    match drawn.int_in_range(0..=15)? {
        0 => peer.arrive(device),
        1 | 2 => peer.join(device),
        3 => device.wait(drawn.int_in_range(0..=WAIT_MS_MAX)?),
        4 => device.holds_commits = drawn.arbitrary()?,
        5 => device.write(drawn.arbitrary()?),
        6 => peer.leave(device),
        7 => device.handle(Input::Network {
            online: drawn.ratio(3, 4)?,
        }),
        8 => {
            let length = drawn.int_in_range(0..=64)?;
            let bytes = drawn.bytes(length)?.to_owned();
            peer.say_bytes(device, bytes);
        }
        9 => peer.replay(device, drawn.arbitrary()?),
        10 => {
            let frame = peer.frame_of_something(drawn)?;
            let bent = bend(drawn, frame)?;
            peer.say_bytes(device, bent);
        }
        _ => {
            let frame = peer.frame_of_something(drawn)?;
            peer.say_bytes(device, frame);
        }
    }
    Ok(())
}

/// Changes a byte of a frame, or its length.
fn bend(drawn: &mut Unstructured<'_>, mut frame: Vec<u8>) -> Result<Vec<u8>> {
    if drawn.ratio(1, 4)? {
        frame.truncate(drawn.int_in_range(0..=frame.len())?);
    } else if !frame.is_empty() {
        let at = drawn.choose_index(frame.len())?;
        frame[at] ^= drawn.arbitrary::<u8>()?;
    }
    Ok(frame)
}

fn serve_honest(device: &mut Device) {
    let mut honest = Peer::new(HONEST);
    honest.join(device);
    let mut author = Author::new(HONEST, 1);
    let run = author.honest_run(device.now.unix_ms);
    let (log, last) = (run.header.log, run.last());
    honest.say_runs(device, vec![run]);
    device.wait(1_000);
    assert_eq!(
        device.held(&log),
        last,
        "the honest peer's entry is not held: {:?}",
        device.closed
    );
    assert!(
        device.acknowledged(honest.session(), (log, last)),
        "it was not acknowledged"
    );
    device.assert_whole();
}
