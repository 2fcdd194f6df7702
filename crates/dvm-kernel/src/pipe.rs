//! The one channel of the kernel: length-prefixed frames over the socket inherited as descriptor 0.
//!
//! A frame is its length (u32, big-endian) and that many bytes; an empty frame is refused, for nothing is said by it.
//! Always true: the length is checked against [`MAX_FRAME_BYTES`] before a byte is allocated; a frame is delivered
//! whole or not at all; the end of the stream between two frames is an orderly end, inside one it is a fault.
//! Not here: what the bytes mean.

use std::io::{self, Read, Write};

/// The longest frame either side may send: 8 MiB. The largest message of the protocols (a DKLs23 setup round towards
/// all peers) is below 2 MiB; what is longer is a mistake or an attempt to exhaust memory.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;

/// Why the pipe failed. Every one of these ends the kernel: a pipe is not resynchronised.
#[derive(Debug, thiserror::Error)]
pub enum PipeFault {
    /// A frame of zero bytes, or one longer than [`MAX_FRAME_BYTES`].
    #[error("frame of {length} bytes; allowed are 1 to {MAX_FRAME_BYTES}")]
    Length {
        /// The length announced or asked for.
        length: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Torn,
    /// The operating system refused to read or write.
    #[error("pipe: {0}")]
    Io(#[from] io::Error),
}

/// Frames over a byte stream.
#[derive(Debug)]
pub struct Pipe<S> {
    stream: S,
}

/// Descriptor 0, the socket that the node passed. Unbuffered, and never duplicated: the sandbox closes what is above 2.
#[derive(Debug)]
pub struct InheritedSocket;

impl Read for InheritedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        nix::unistd::read(io::stdin(), buffer).map_err(io::Error::from)
    }
}

impl Write for InheritedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        nix::unistd::write(io::stdin(), bytes).map_err(io::Error::from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pipe<InheritedSocket> {
    /// Frames over the inherited socket.
    pub fn inherited() -> Self {
        Self::new(InheritedSocket)
    }
}

impl<S: Read + Write> Pipe<S> {
    /// Frames over `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream }
    }

    /// The next frame, or `None` when the peer closed the stream between two frames.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>, PipeFault> {
        let mut prefix = [0u8; LENGTH_BYTES];
        if !self.fill_or_end(&mut prefix)? {
            return Ok(None);
        }
        let length = u32::from_be_bytes(prefix) as usize;
        check_length(length)?;
        let mut frame = vec![0u8; length];
        self.stream.read_exact(&mut frame).map_err(torn_at_end)?;
        Ok(Some(frame))
    }

    /// Sends one frame, whole.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), PipeFault> {
        check_length(frame.len())?;
        let length =
            u32::try_from(frame.len()).map_err(|_| PipeFault::Length { length: frame.len() })?;
        self.stream.write_all(&length.to_be_bytes())?;
        self.stream.write_all(frame)?;
        self.stream.flush()?;
        Ok(())
    }

    /// Fills `prefix`; false if the stream ended before its first byte.
    fn fill_or_end(&mut self, prefix: &mut [u8; LENGTH_BYTES]) -> Result<bool, PipeFault> {
        let (first, rest) = prefix.split_at_mut(1);
        loop {
            match self.stream.read(first) {
                Ok(0) => return Ok(false),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.stream.read_exact(rest).map_err(torn_at_end)?;
        Ok(true)
    }
}

fn check_length(length: usize) -> Result<(), PipeFault> {
    if length == 0 || length > MAX_FRAME_BYTES { Err(PipeFault::Length { length }) } else { Ok(()) }
}

fn torn_at_end(error: io::Error) -> PipeFault {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        PipeFault::Torn
    } else {
        PipeFault::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Pipe<UnixStream>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Pipe::new(ours), theirs)
    }

    #[test]
    fn frames_arrive_whole_and_in_order() {
        let (mut ours, theirs) = pair();
        let mut theirs = Pipe::new(theirs);
        theirs.send(b"one").unwrap();
        theirs.send(b"two").unwrap();
        assert_eq!(ours.receive().unwrap().unwrap(), b"one");
        assert_eq!(ours.receive().unwrap().unwrap(), b"two");
    }

    #[test]
    fn end_between_frames_is_orderly_and_inside_one_is_torn() {
        let (mut ours, theirs) = pair();
        drop(theirs);
        assert!(ours.receive().unwrap().is_none());
        for torn in [&[0u8, 0][..], &[0, 0, 0, 2, 7]] {
            let (mut ours, mut theirs) = pair();
            theirs.write_all(torn).unwrap();
            drop(theirs);
            assert!(matches!(ours.receive(), Err(PipeFault::Torn)));
        }
    }

    #[test]
    fn length_is_refused_one_above_the_bound_and_at_zero() {
        for length in [0, MAX_FRAME_BYTES as u32 + 1, u32::MAX] {
            let (mut ours, mut theirs) = pair();
            theirs.write_all(&length.to_be_bytes()).unwrap();
            assert!(matches!(ours.receive(), Err(PipeFault::Length { .. })));
        }
        let (mut ours, _theirs) = pair();
        assert!(matches!(ours.send(&vec![0; MAX_FRAME_BYTES + 1]), Err(PipeFault::Length { .. })));
        assert!(matches!(ours.send(&[]), Err(PipeFault::Length { .. })));
    }

    #[test]
    fn frame_at_the_bound_passes() {
        let (mut ours, theirs) = pair();
        let sender = std::thread::spawn(move || Pipe::new(theirs).send(&vec![7; MAX_FRAME_BYTES]));
        assert_eq!(ours.receive().unwrap().unwrap().len(), MAX_FRAME_BYTES);
        sender.join().unwrap().unwrap();
    }
}
