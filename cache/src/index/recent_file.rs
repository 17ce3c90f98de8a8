//! The file of the records that one build used last. It is read by every cached build, so it is made for being read: numbers
//! and counted texts, each layer written once, and with each record what its layer's description says of its tar.

use super::{CacheKey, CacheRecord, EvictedBy, StepHash, StepInputs};
use crate::{
    BootId, LayerId, MachineId, Stamp,
    disk::{FieldReader, FieldWriter, FileStat, array, checksum},
    store::{DescribedDiff, LayerDiff},
};
use rbuild_oci::DiffId;
use std::{collections::HashMap, sync::Arc};

/// Version of the file, its first byte; 1 was JSON.
const VERSION: u8 = 2;
/// Version and checksum.
const HEADER: usize = 9;
/// The fewest bytes of a record.
const LEAST: usize = 64;

/// One of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) key: CacheKey,
    pub(super) record: Arc<CacheRecord>,
    /// What the description of its layer said of the tar.
    pub(super) diff: Option<DescribedDiff>,
}

/// The bytes of a file with these records.
pub(super) fn write(all: &[Kept]) -> Vec<u8> {
    let mut layers = Table::default();
    let mut fields = FieldWriter::default();
    for kept in all {
        fields.raw(kept.key.as_bytes());
        write_record(&mut fields, &kept.record, &mut layers);
        fields.optional(kept.diff, write_diff);
    }
    let mut bytes = FieldWriter::default();
    bytes.raw(&[VERSION]);
    bytes.raw(&[0; HEADER - 1]);
    bytes.number(layers.listed.len() as u64);
    layers.listed.iter().for_each(|layer| bytes.number(layer.to_bits()));
    bytes.number(all.len() as u64);
    bytes.raw(&fields.into_bytes());
    let mut bytes = bytes.into_bytes();
    let sum = checksum(&bytes[HEADER..]);
    bytes[1..HEADER].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The records of such a file; none of a damaged one, or one of another version.
pub(super) fn read(bytes: &[u8]) -> Vec<Kept> {
    whole(bytes).unwrap_or_default()
}

fn whole(bytes: &[u8]) -> Option<Vec<Kept>> {
    let (head, rest) = bytes.split_at_checked(HEADER)?;
    if head[0] != VERSION || u64::from_le_bytes(array(&head[1..])) != checksum(rest) {
        return None;
    }
    let mut fields = FieldReader::new(rest);
    let count = usize::try_from(fields.number()?).ok().filter(|count| *count <= rest.len() / 8)?;
    let layers = (0..count).map(|_| fields.number().map(LayerId::from_bits)).collect::<Option<Vec<_>>>()?;
    let count = usize::try_from(fields.number()?).ok().filter(|count| *count <= rest.len() / LEAST)?;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let key = CacheKey::from_bytes(fields.raw()?);
        let record = Arc::new(read_record(&mut fields, &layers)?);
        all.push(Kept { key, record, diff: fields.optional(read_diff)? });
    }
    fields.rest().is_empty().then_some(all)
}

/// Layers by the numbers that stand for them.
#[derive(Default)]
struct Table {
    listed: Vec<LayerId>,
    numbers: HashMap<LayerId, u32>,
}

impl Table {
    fn number(&mut self, layer: LayerId) -> u32 {
        *self.numbers.entry(layer).or_insert_with(|| {
            self.listed.push(layer);
            u32::try_from(self.listed.len() - 1).expect("a build has fewer layers than there are numbers")
        })
    }

    fn write(&mut self, fields: &mut FieldWriter, layers: &[LayerId]) {
        let numbers: Vec<u8> = layers.iter().flat_map(|layer| self.number(*layer).to_le_bytes()).collect();
        fields.counted(&numbers);
    }
}

fn read_layers(fields: &mut FieldReader<'_>, table: &[LayerId]) -> Option<Vec<LayerId>> {
    let (numbers, rest) = fields.counted()?.as_chunks();
    let layer = |number: &[u8; 4]| table.get(u32::from_le_bytes(*number) as usize).copied();
    if rest.is_empty() { numbers.iter().map(layer).collect() } else { None }
}

fn write_record(fields: &mut FieldWriter, record: &CacheRecord, table: &mut Table) {
    let CacheRecord {
        layer,
        created,
        step,
        parent,
        parent_layers,
        source_layers,
        by_content,
        content_step,
        layer_bytes,
        inputs: StepInputs { kind, values, lists },
        duration_ms,
        peak_memory,
        processor_ms,
        instruction,
        evicted,
        evicted_by,
        machine,
        stamp,
    } = record;
    table.write(fields, std::slice::from_ref(layer));
    table.write(fields, parent_layers);
    table.write(fields, source_layers);
    fields.moment(*created);
    fields.raw(step.as_bytes());
    fields.optional(*parent, |fields, key| fields.raw(key.as_bytes()));
    fields.optional(*by_content, |fields, key| fields.raw(key.as_bytes()));
    fields.optional(*content_step, |fields, step| fields.raw(step.as_bytes()));
    fields.optional(*layer_bytes, FieldWriter::number);
    fields.text(kind);
    fields.number(values.len() as u64);
    for (name, value) in values {
        fields.text(name);
        fields.text(value);
    }
    fields.number(lists.len() as u64);
    for (name, list) in lists {
        fields.text(name);
        fields.digest(list);
    }
    fields.number(*duration_ms);
    fields.optional(*peak_memory, FieldWriter::number);
    fields.optional(*processor_ms, FieldWriter::number);
    fields.text(instruction);
    fields.optional(*evicted, FieldWriter::moment);
    fields.optional(*evicted_by, |fields, by| {
        fields.raw(&[match by {
            EvictedBy::Prune => 0,
            EvictedBy::MaxUsedSpace => 1,
            EvictedBy::MinFreeSpace => 2,
            EvictedBy::Lost => 3,
        }]);
    });
    fields.optional(*machine, |fields, machine| fields.raw(&machine.to_bits().to_le_bytes()));
    fields.optional(*stamp, |fields, stamp| {
        fields.raw(&stamp.boot.to_bits().to_le_bytes());
        fields.number(stamp.nanoseconds);
    });
}

fn read_record(fields: &mut FieldReader<'_>, table: &[LayerId]) -> Option<CacheRecord> {
    let [layer] = *read_layers(fields, table)? else { return None };
    Some(CacheRecord {
        layer,
        parent_layers: read_layers(fields, table)?,
        source_layers: read_layers(fields, table)?,
        created: fields.moment()?,
        step: StepHash::from_bytes(fields.raw()?),
        parent: fields.optional(|fields| fields.raw().map(CacheKey::from_bytes))?,
        by_content: fields.optional(|fields| fields.raw().map(CacheKey::from_bytes))?,
        content_step: fields.optional(|fields| fields.raw().map(StepHash::from_bytes))?,
        layer_bytes: fields.optional(FieldReader::number)?,
        inputs: read_inputs(fields)?,
        duration_ms: fields.number()?,
        peak_memory: fields.optional(FieldReader::number)?,
        processor_ms: fields.optional(FieldReader::number)?,
        instruction: fields.text()?.to_owned(),
        evicted: fields.optional(FieldReader::moment)?,
        evicted_by: fields.optional(|fields| {
            Some(match fields.raw()? {
                [0] => EvictedBy::Prune,
                [1] => EvictedBy::MaxUsedSpace,
                [2] => EvictedBy::MinFreeSpace,
                [3] => EvictedBy::Lost,
                _ => return None,
            })
        })?,
        machine: fields.optional(|fields| fields.raw().map(u32::from_le_bytes).map(MachineId::from_bits))?,
        stamp: fields.optional(|fields| {
            let boot = fields.raw().map(u128::from_le_bytes).map(BootId::from_bits)?;
            Some(Stamp { boot, nanoseconds: fields.number()? })
        })?,
    })
}

fn read_inputs(fields: &mut FieldReader<'_>) -> Option<StepInputs> {
    let kind = fields.text()?.to_owned();
    let value = |fields: &mut FieldReader<'_>| Some((fields.text()?.to_owned(), fields.text()?.to_owned()));
    let list = |fields: &mut FieldReader<'_>| Some((fields.text()?.to_owned(), fields.digest()?));
    Some(StepInputs { kind, values: several(fields, value)?, lists: several(fields, list)? })
}

/// As many values as a number says, which is no reason to take memory for them.
fn several<T>(
    fields: &mut FieldReader<'_>,
    read: impl Fn(&mut FieldReader<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = usize::try_from(fields.number()?).ok().filter(|count| *count <= fields.rest().len())?;
    let mut values = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        values.push(read(fields)?);
    }
    Some(values)
}

fn write_diff(fields: &mut FieldWriter, DescribedDiff { diff, description }: DescribedDiff) {
    fields.digest(diff.diff_id.as_digest());
    fields.optional(diff.tar_size, FieldWriter::number);
    let FileStat { device, inode, size, modified, changed, mode } = description;
    [device, inode, size].into_iter().for_each(|number| fields.number(number));
    [modified, changed].into_iter().for_each(|time| fields.raw(&time.to_le_bytes()));
    fields.raw(&mode.to_le_bytes());
}

fn read_diff(fields: &mut FieldReader<'_>) -> Option<DescribedDiff> {
    let diff = LayerDiff {
        diff_id: DiffId::from_digest(fields.digest()?),
        tar_size: fields.optional(FieldReader::number)?,
    };
    let description = FileStat {
        device: fields.number()?,
        inode: fields.number()?,
        size: fields.number()?,
        modified: fields.raw().map(i64::from_le_bytes)?,
        changed: fields.raw().map(i64::from_le_bytes)?,
        mode: fields.raw().map(u32::from_le_bytes)?,
    };
    Some(DescribedDiff { diff, description })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild_oci::{Digest, Timestamp};

    fn kept(number: u8, full: bool) -> Kept {
        let layer = |number: u8| LayerId::from_bits(u64::from(number) << 40);
        let time = Timestamp::new(1_700_000_000 + i64::from(number), 5).unwrap();
        let key = CacheKey::from_bytes([number; 32]);
        let record = CacheRecord {
            layer: layer(number),
            created: time,
            step: StepHash::from_bytes([number + 1; 32]),
            parent: full.then_some(key),
            parent_layers: (0..number).map(layer).collect(),
            source_layers: if full { vec![layer(200), layer(number)] } else { Vec::new() },
            by_content: full.then_some(key),
            content_step: full.then(|| StepHash::from_bytes([9; 32])),
            layer_bytes: full.then_some(4096),
            inputs: StepInputs {
                kind: "run".to_owned(),
                values: vec![("argv[0]".to_owned(), "ä\n".to_owned()), (String::new(), String::new())],
                lists: if full { vec![("files".to_owned(), Digest::of(b"list"))] } else { Vec::new() },
            },
            duration_ms: u64::MAX,
            peak_memory: full.then_some(1),
            processor_ms: full.then_some(0),
            instruction: format!("RUN {number}"),
            evicted: full.then_some(time),
            evicted_by: full.then_some(EvictedBy::Lost),
            machine: full.then(|| MachineId::from_bits(7)),
            stamp: full.then(|| Stamp { boot: BootId::from_bits(u128::MAX - 1), nanoseconds: 3 }),
        };
        let description =
            FileStat { device: 1, inode: 2, size: 3, modified: -4, changed: i64::MAX, mode: 0o100_600 };
        let diff =
            LayerDiff { diff_id: DiffId::from_digest(Digest::of(b"tar")), tar_size: full.then_some(10) };
        let diff = number.is_multiple_of(2).then_some(DescribedDiff { diff, description });
        Kept { key, record: Arc::new(record), diff }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        for all in [Vec::new(), vec![kept(3, true)], (0..100).map(|n| kept(n, n.is_multiple_of(3))).collect()]
        {
            let bytes = write(&all);
            assert_eq!(read(&bytes), all);
            // each layer stands there once
            assert!(bytes.len() < 1000 + all.len() * 600, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn no_damage_is_believed_and_none_is_fatal() {
        let good = write(&[kept(2, true), kept(5, false)]);
        for length in 0..good.len() {
            assert!(read(&good[..length]).is_empty(), "{length} bytes of {}", good.len());
        }
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x81;
            assert!(read(&bytes).is_empty(), "byte {at}");
            // with a checksum that holds nevertheless, whatever is read is bounded
            let sum = checksum(&bytes[HEADER..]);
            bytes[1..HEADER].copy_from_slice(&sum.to_le_bytes());
            let _ = read(&bytes);
        }
        assert!(read(br#"[["79ec"]]"#).is_empty() && read(b"\x01[]").is_empty(), "the version before");
    }
}
