//! Writes records of a log file in the form that EVEN6 sends: names and template definitions inline.
//!
//! A second reader of the same bytes, made of nothing but offsets and tokens: it must not know the decoder.

/// The BinXML of every record of the file, with its number, in EVEN6's form.
pub(crate) fn records(file: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    for chunk in file[4096..].chunks(64 << 10) {
        if !chunk.starts_with(b"ElfChnk\0") {
            continue;
        }
        let end = number(chunk, 48, 4);
        let mut at = 512;
        while at + 28 <= end && chunk[at..].starts_with(b"\x2a\x2a\0\0") {
            let size = number(chunk, at + 4, 4);
            let id = u64::try_from(number(chunk, at + 8, 8)).expect("it fits");
            let mut reader = Reader {
                chunk,
                at: at + 24,
                end: at + size - 4,
            };
            found.push((id, reader.content(false)));
            at += size;
        }
    }
    found
}

fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    let digits = bytes[at..at + length].iter().rev();
    digits.fold(0, |number, byte| number << 8 | usize::from(*byte))
}

struct Reader<'c> {
    chunk: &'c [u8],
    at: usize,
    end: usize,
}

impl Reader<'_> {
    /// Tokens up to the end, or up to an end-of-file token.
    fn content(&mut self, definition: bool) -> Vec<u8> {
        let mut out = Vec::new();
        while self.at < self.end {
            let token = self.chunk[self.at];
            if token == 0 {
                out.extend(self.take(1));
                break;
            }
            out.extend(self.token(definition));
        }
        out
    }

    fn token(&mut self, definition: bool) -> Vec<u8> {
        let token = self.chunk[self.at];
        match token {
            0x0f => self.take(4),
            0x01 | 0x41 => self.element(definition),
            0x0c => self.instance(),
            0x05 | 0x45 if self.chunk[self.at + 1] == 0x21 => {
                let mut out = self.take(2);
                let length = self.take_number(2);
                let inner = self.inner(length).content(false);
                self.at += length;
                out.extend(u16::try_from(inner.len()).expect("it fits").to_le_bytes());
                out.extend(inner);
                out
            }
            0x05 | 0x45 => {
                assert_eq!(self.chunk[self.at + 1], 1, "a value that is text");
                let characters = number(self.chunk, self.at + 2, 2);
                self.take(4 + 2 * characters)
            }
            0x07 | 0x47 | 0x0b => {
                let characters = number(self.chunk, self.at + 1, 2);
                self.take(3 + 2 * characters)
            }
            0x08 | 0x48 => self.take(3),
            0x09 | 0x49 | 0x0a => {
                let mut out = self.take(1);
                out.extend(self.name());
                out
            }
            0x0d | 0x0e => self.take(4),
            other => panic!("token {other:#x} at {}", self.at),
        }
    }

    fn element(&mut self, definition: bool) -> Vec<u8> {
        let opening = self.chunk[self.at];
        let mut out = self.take(if definition { 3 } else { 1 });
        self.take(4);
        let mut body = self.name();
        if opening == 0x41 {
            self.take(4);
            let mut attributes = Vec::new();
            while matches!(self.chunk[self.at], 0x06 | 0x46) {
                attributes.extend(self.take(1));
                attributes.extend(self.name());
                while !matches!(self.chunk[self.at], 0x06 | 0x46 | 0x02 | 0x03) {
                    attributes.extend(self.token(definition));
                }
            }
            body.extend(length(&attributes));
            body.extend(attributes);
        }
        if self.chunk[self.at] == 0x03 {
            body.extend(self.take(1));
        } else {
            assert_eq!(self.chunk[self.at], 0x02, "the end of a start");
            body.extend(self.take(1));
            while self.chunk[self.at] != 0x04 {
                body.extend(self.token(definition));
            }
            body.extend(self.take(1));
        }
        out.extend(length(&body));
        out.extend(body);
        out
    }

    fn instance(&mut self) -> Vec<u8> {
        let mut out = self.take(1);
        out.push(0);
        self.take(5);
        let offset = self.take_number(4);
        let template_length = number(self.chunk, offset + 20, 4);
        if offset == self.at {
            self.take(24 + template_length);
        }
        out.extend(&self.chunk[offset + 4..offset + 20]);
        let mut template = Reader {
            chunk: self.chunk,
            at: offset + 24,
            end: offset + 24 + template_length,
        };
        let mut definition = template.content(true);
        // What follows the end of a definition inside its length is waste, here as there.
        definition.extend(&self.chunk[template.at..template.end]);
        out.extend(length(&definition));
        out.extend(definition);
        let count = self.take_number(4);
        out.extend(u32::try_from(count).expect("it fits").to_le_bytes());
        let specs = self.take(4 * count);
        let mut new_specs = Vec::new();
        let mut values = Vec::new();
        for spec in specs.chunks(4) {
            let size = number(spec, 0, 2);
            let value = if spec[2] == 0x21 && size > 0 {
                self.inner(size).content(false)
            } else {
                self.chunk[self.at..self.at + size].to_vec()
            };
            self.at += size;
            new_specs.extend(u16::try_from(value.len()).expect("it fits").to_le_bytes());
            new_specs.extend(&spec[2..]);
            values.extend(value);
        }
        out.extend(new_specs);
        out.extend(values);
        out
    }

    fn inner(&self, length: usize) -> Self {
        Self {
            end: self.at + length,
            ..*self
        }
    }

    /// A name, which stands here or where the offset says.
    fn name(&mut self) -> Vec<u8> {
        let offset = self.take_number(4);
        let characters = number(self.chunk, offset + 6, 2);
        let length = 4 + 2 * characters + 2;
        if offset == self.at {
            self.take(4 + length);
        }
        self.chunk[offset + 4..offset + 4 + length].to_vec()
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.at += length;
        self.chunk[self.at - length..self.at].to_vec()
    }

    fn take_number(&mut self, length: usize) -> usize {
        self.at += length;
        number(self.chunk, self.at - length, length)
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("it fits").to_le_bytes()
}
