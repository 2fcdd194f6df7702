//! What the kernel reads: frames of its pipe, records of its vault, sealed payloads, its command line.

use std::io::{Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::OnceLock;

use dvm_kernel::pipe::{MAX_FRAME_BYTES, Pipe, PipeFault};
use dvm_kernel::seal::{SEAL_OVERHEAD_BYTES, SealingKey, seal};
use dvm_kernel::unseal::MasterKey;
use dvm_kernel::vault::{VAULT_FILE, Vault, VaultError, VaultRule};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use crate::{Seen, memory};

/// A stream that only reads.
struct Stream<'a>(Cursor<&'a [u8]>);

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Frames: what was received is what was sent; a length is refused before memory is taken for it.
pub(super) fn pipe(data: &[u8]) -> Seen {
    let mut pipe = Pipe::new(Stream(Cursor::new(data)));
    let (mut again, mut frames) = (Pipe::new(Cursor::new(Vec::new())), 0_usize);
    let end = memory::within(MAX_FRAME_BYTES + memory::FIXED + 4 * data.len(), || {
        loop {
            match pipe.receive() {
                Ok(Some(frame)) => {
                    again.send(&frame).unwrap();
                    frames += 1;
                }
                Ok(None) => break "end",
                Err(PipeFault::Length { length }) => {
                    assert!(length == 0 || length > MAX_FRAME_BYTES);
                    break "length";
                }
                Err(PipeFault::Torn) => break "torn",
                Err(PipeFault::Io(error)) => panic!("{error}"),
            }
        }
    });
    let mut whole = Vec::new();
    let mut echo = Pipe::new(Stream(Cursor::new(data)));
    for _ in 0..frames {
        let frame = echo.receive().unwrap().unwrap();
        whole.extend((frame.len() as u32).to_be_bytes());
        whole.extend(frame);
    }
    assert!(data.starts_with(&whole) && (end != "end" || whole.len() == data.len()));
    Seen::of((end, frames.min(32)))
}

/// Records in the fixture's vault: kind, id, content.
const RECORDS: [(&str, &[u8], &[u8]); 3] =
    [("key", b"treasury", b"share one"), ("key", b"ops", b"share two"), ("mark", b"m", b"used")];

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(9)
}

fn open(directory: &Path) -> Result<Vault, VaultError> {
    let key = MasterKey::from_bytes(Zeroizing::new([7; 32]));
    Vault::open(directory, key, Box::new(rng()))
}

/// A vault with the records, as its one file.
fn template() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let directory = private_directory();
        let mut vault = open(directory.path()).unwrap();
        let filled = vault.txn(|txn| {
            for (kind, id, content) in RECORDS {
                txn.put(kind, id, 1, content)?;
            }
            Ok::<(), VaultError>(())
        });
        filled.unwrap();
        drop(vault);
        let file = directory.path().join(VAULT_FILE);
        // The log's content into the file, so that one file is the whole vault.
        let plain = rusqlite::Connection::open(&file).unwrap();
        plain
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE;")
            .unwrap();
        drop(plain);
        std::fs::read(file).unwrap()
    })
}

/// In memory where the system has such a directory: the vault syncs at every commit.
fn private_directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let directory =
        if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

/// Sealed bytes of every row, in the order of their names.
fn rows(file: &Path) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let plain = rusqlite::Connection::open(file).unwrap();
    let mut all = plain.prepare("SELECT kind, id, sealed FROM record ORDER BY kind, id").unwrap();
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// One row's sealed bytes replaced: the vault does not open, or opens and gives every record as it was
/// or refuses it. The first byte of the input chooses the row.
pub(super) fn vault_record(data: &[u8]) -> Seen {
    let Some((row, sealed)) = data.split_first() else { return Seen::of("empty") };
    let directory = private_directory();
    let file = directory.path().join(VAULT_FILE);
    std::fs::write(&file, template()).unwrap();
    let all = rows(&file);
    let (kind, id, genuine) = &all[usize::from(*row) % all.len()];
    let plain = rusqlite::Connection::open(&file).unwrap();
    let change = "UPDATE record SET sealed=?1 WHERE kind=?2 AND id=?3";
    plain.execute(change, rusqlite::params![sealed, kind, id]).unwrap();
    drop(plain);
    let same = genuine == sealed;
    let mut vault = match open(directory.path()) {
        Ok(vault) => vault,
        Err(VaultError::Refused(rule)) => {
            assert!(!same && kind == "vault", "refused without a reason: {rule}");
            return Seen::of(std::mem::discriminant(&rule));
        }
        Err(error) => panic!("{error}"),
    };
    let mut damaged = 0;
    for (kind_of, id_of, content) in RECORDS {
        let touched = kind == kind_of && id == id_of;
        match vault.get(kind_of, id_of) {
            Ok(record) => {
                assert!(!touched || same, "a damaged record was read");
                assert_eq!(record.unwrap().plaintext.as_slice(), content);
            }
            Err(VaultError::Refused(VaultRule::Damaged { .. })) if touched && !same => damaged += 1,
            Err(error) => panic!("{error}"),
        }
    }
    Seen::of((damaged, same, sealed.len().min(64)))
}

/// A payload sealed to a kernel: only what was sealed under this context opens.
pub(super) fn sealed_payload(data: &[u8]) -> Seen {
    let (key, genuine) = sealed();
    match memory::bounded(data.len(), || key.open(b"context", b"level", data)) {
        Ok(opened) => {
            assert_eq!(genuine, data, "another message opens");
            assert_eq!(opened.len() + SEAL_OVERHEAD_BYTES, data.len());
            Seen::of("opened")
        }
        Err(_) => {
            assert_ne!(genuine, data);
            Seen::of(("not opened", data.len() < SEAL_OVERHEAD_BYTES))
        }
    }
}

fn sealed() -> (SealingKey, Vec<u8>) {
    let mut rng = rng();
    let key = SealingKey::generate(&mut rng);
    let sealed = seal(&key.public(), b"context", b"level", b"a share", &mut rng).unwrap();
    (key, sealed)
}

/// The kernel's command line: what is taken says everything once.
pub(super) fn options(data: &[u8]) -> Seen {
    let Ok(text) = std::str::from_utf8(data) else { return Seen::of("not text") };
    let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let Some(options) = dvm_kernel::options::parse(words.iter().cloned()) else {
        return Seen::of(("refused", words.len().min(8)));
    };
    let flags = words.iter().filter(|word| word.starts_with("--")).count();
    assert!(flags >= 2 && words.len() == 4 + usize::from(options.require_isolation));
    Seen::of(("options", options.require_isolation))
}

/// Genuine inputs of the targets here, for the corpus.
pub(super) fn genuine() -> Vec<(&'static str, Vec<u8>)> {
    let directory = private_directory();
    let file = directory.path().join(VAULT_FILE);
    std::fs::write(&file, template()).unwrap();
    let mut all = vec![("sealed_payload", sealed().1)];
    for (at, (_, _, sealed)) in rows(&file).into_iter().enumerate() {
        all.push(("vault_record", [vec![at as u8], sealed].concat()));
    }
    let frame = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    all.push(("pipe", [frame(b"one"), frame(&[7; 300])].concat()));
    let line = "--vault\n/v\n--identity\n/k\n--require-isolation";
    all.push(("kernel_options", line.as_bytes().to_vec()));
    all
}
