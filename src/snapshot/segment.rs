//! The files: segments of blocks, written at the end and read from the start.
//!
//! Blocking. What rows mean is [`super::rows`]'s and [`super::load`]'s.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::row::{BLOCK_HEADER_BYTES, Kind, MAX_PAYLOAD, Rows};
use super::{SnapshotError, VERSION};

/// The first bytes of every segment.
const MAGIC: [u8; 8] = *b"JIMSTABL";

/// Bytes before the first block.
pub(super) const HEADER_BYTES: usize = 8 + 2 + 1 + 1 + 8;

/// What a segment's name ends in.
const EXTENSION: &str = ".rows";

/// How much is read at a time.
const READ_BYTES: usize = 1 << 20;

/// How much is read at a time where blocks are skipped.
const LOOK_BYTES: usize = 1 << 12;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// It begins with nothing: what earlier segments hold does not count once it has a table.
    pub(super) fresh: bool,
    /// Where the table ends in the segment before, which this one goes on from; of a fresh one that was folded, where it
    /// ended in the segment that it stands for.
    pub(super) mark: u64,
}

impl Header {
    fn bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = u8::from(self.fresh);
        bytes[12..].copy_from_slice(&self.mark.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Self, SnapshotError> {
        let (magic, rest) = bytes.split_at(8);
        if magic != MAGIC {
            return Err(SnapshotError::NotASnapshot);
        }
        let found = u16::from_le_bytes([rest[0], rest[1]]);
        if found > VERSION {
            return Err(SnapshotError::Newer { found });
        }
        let mut mark = [0; 8];
        mark.copy_from_slice(&rest[4..]);
        match (found, rest[2]) {
            (VERSION, fresh @ (0 | 1)) => Ok(Self {
                fresh: fresh == 1,
                mark: u64::from_le_bytes(mark),
            }),
            _ => Err(SnapshotError::NotASnapshot),
        }
    }
}

/// The numbers of the segments in a folder, rising; none if there is no folder.
pub(super) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| {
            let number = name.strip_suffix(EXTENSION)?.parse().ok()?;
            // Only what we would write ourselves.
            (file_name(number) == name).then_some(number)
        });
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn file_name(number: u64) -> String {
    format!("{number:010}{EXTENSION}")
}

/// Where a segment is.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(file_name(number))
}

/// A segment that is written.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    path: PathBuf,
    /// Bytes that it has.
    end: u64,
}

impl Writer {
    /// Begins a segment; the folder (0700) is made if need be. A file that is there already is replaced: it has nothing
    /// that counts.
    pub(super) fn create(path: PathBuf, header: Header) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(&header.bytes())?;
        // Its name must be as safe as its bytes.
        File::open(folder)?.sync_all()?;
        Ok(Self {
            file,
            path,
            end: HEADER_BYTES as u64,
        })
    }

    /// Adds blocks. After an error the segment ends where it ended before, or in what no reader takes for a block.
    pub(super) fn append(&mut self, blocks: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(blocks) {
            drop(self.file.set_len(self.end));
            return Err(error);
        }
        self.end += blocks.len() as u64;
        Ok(())
    }

    /// Returns when the disk has all of it.
    /// Another handle of the file, for whoever waits for the disk on another thread.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Bytes that it has.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads the blocks of a segment, one after the other.
pub(super) struct Reader {
    from: BufReader<File>,
    payload: Vec<u8>,
    /// Where the next block begins.
    at: u64,
    /// Bytes that the file has.
    size: u64,
    /// There is a block that is not what was written: no crash of the process leaves that.
    is_damaged: bool,
}

impl Reader {
    /// Opens a segment and reads what it says of itself.
    pub(super) fn open(path: &Path) -> Result<(Self, Header), SnapshotError> {
        Self::with_room(path, READ_BYTES)
    }

    /// As [`Reader::open`], to read so many bytes at a time.
    fn with_room(path: &Path, bytes: usize) -> Result<(Self, Header), SnapshotError> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut from = BufReader::with_capacity(bytes, file);
        let mut header = [0; HEADER_BYTES];
        match from.read_exact(&mut header) {
            Ok(()) => {}
            // A crash before its first table.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(SnapshotError::Begun);
            }
            Err(error) => return Err(error.into()),
        }
        let reader = Self {
            from,
            payload: Vec::new(),
            at: HEADER_BYTES as u64,
            size,
            is_damaged: false,
        };
        Ok((reader, Header::read(&header)?))
    }

    /// The next block's payload and where it ends; `None`: there is no further block, whatever bytes there are.
    pub(super) fn next(&mut self) -> io::Result<Option<(&[u8], u64)>> {
        let mut payload = std::mem::take(&mut self.payload);
        let block = self.read(&mut payload)?;
        self.payload = payload;
        let Some(block) = block else {
            return Ok(None);
        };
        if !block.is_whole(&self.payload) {
            self.is_damaged = true;
            return Ok(None);
        }
        Ok(Some((&self.payload, block.end)))
    }

    /// Reads the next block, whose payload may not be what was written; `None`: there is no further one.
    fn read(&mut self, payload: &mut Vec<u8>) -> io::Result<Option<Block>> {
        let Some(block) = self.header()? else {
            return Ok(None);
        };
        payload.resize(block.length as usize, 0);
        self.from.read_exact(payload)?;
        self.at = block.end;
        Ok(Some(block))
    }

    /// The next block's header.
    fn header(&mut self) -> io::Result<Option<Block>> {
        let left = self.size.saturating_sub(self.at);
        let mut header = [0; BLOCK_HEADER_BYTES];
        if left < header.len() as u64 {
            return Ok(None);
        }
        self.from.read_exact(&mut header)?;
        let [a, b, c, d, e, f, g, h] = header;
        let (length, crc) = (
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        );
        let end = self.at + header.len() as u64 + u64::from(length);
        if length > MAX_PAYLOAD || end > self.size {
            return Ok(None);
        }
        Ok(Some(Block { crc, length, end }))
    }

    /// Goes past the payload of a block whose header was read.
    fn skip(&mut self, block: Block) -> io::Result<()> {
        self.at = block.end;
        self.from.seek_relative(i64::from(block.length))
    }

    /// Whether blocks fill the segment to its last byte, the last of which is whole and ends with an instant: so it is with
    /// nearly every segment. The others are not read.
    fn is_complete(&mut self) -> io::Result<bool> {
        while let Some(block) = self.header()? {
            if block.end == self.size {
                let mut payload = vec![0; block.length as usize];
                self.from.read_exact(&mut payload)?;
                return Ok(block.is_whole(&payload) && ends_with_instant(&payload));
            }
            self.skip(block)?;
        }
        Ok(false)
    }
}

/// What a block says of its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    crc: u32,
    /// Bytes of its payload.
    length: u32,
    /// Where it ends.
    end: u64,
}

/// The blocks of a segment up to the end of a table, and its file.
pub(super) fn blocks(path: &Path, end: u64) -> Result<(File, Vec<Block>), SnapshotError> {
    let (mut reader, _header) = Reader::with_room(path, LOOK_BYTES)?;
    let mut blocks = Vec::new();
    while reader.at < end {
        let block = reader.header()?.filter(|block| block.end <= end);
        let block = block.ok_or(SnapshotError::Content { what: "a block" })?;
        reader.skip(block)?;
        blocks.push(block);
    }
    Ok((reader.from.into_inner(), blocks))
}

impl Block {
    /// Reads its payload; whether it is what was written.
    pub(super) fn read(self, from: &File, payload: &mut Vec<u8>) -> io::Result<bool> {
        payload.resize(self.length as usize, 0);
        from.read_exact_at(payload, self.end - u64::from(self.length))?;
        Ok(self.is_whole(payload))
    }

    /// Whether the payload is what was written.
    fn is_whole(self, payload: &[u8]) -> bool {
        crc32fast::hash(payload) == self.crc
    }
}

/// What there is of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) header: Header,
    /// Where the last table in it ends; `None`: it has none.
    pub(super) table_end: Option<u64>,
    /// Bytes of the file.
    pub(super) size: u64,
    /// Something behind that is not what was written.
    pub(super) is_damaged: bool,
}

/// How a segment is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// If all seems well, only the last block is read: whoever reads the others will see whether they are whole.
    Little,
    /// Every block is read: with a million sessions a tenth of a second more.
    All,
}

/// Looks through a segment.
pub(super) fn look(path: &Path, care: Care) -> Result<Extent, SnapshotError> {
    if care == Care::Little {
        let (mut reader, header) = Reader::with_room(path, LOOK_BYTES)?;
        if reader.is_complete()? {
            return Ok(Extent {
                header,
                table_end: Some(reader.size),
                size: reader.size,
                is_damaged: false,
            });
        }
    }
    let (mut reader, header) = Reader::open(path)?;
    let mut table_end = None;
    while let Some((payload, end)) = reader.next()? {
        if ends_with_instant(payload) {
            table_end = Some(end);
        }
    }
    Ok(Extent {
        header,
        table_end,
        size: reader.size,
        is_damaged: reader.is_damaged,
    })
}

fn ends_with_instant(payload: &[u8]) -> bool {
    let last = Rows::of(payload).last();
    matches!(last, Some(Ok(row)) if row.kind == Kind::Instant)
}
