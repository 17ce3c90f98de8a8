//! Lines of `buildx du`, `buildx prune` and `df -v` for the build cache, and which parts `--filter` lets through.

use crate::{
    FilterError,
    moments::moment,
    names::Detail,
    sizes::human_size,
    times::{ago, go_style},
};
use rbuild::{CacheEntry, CacheKind, MountUsage, Timestamp, familiar_mount_id};
use serde::Serialize;

/// Characters of an id that listings show.
const SHORT_ID: usize = 12;

/// One part of the build cache, with Docker's fields in Docker's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CacheRow {
    /// `regular` or `exec.cachemount`.
    pub cache_type: String,
    /// When it was made.
    pub created_at: String,
    /// How long ago it was made.
    pub created_since: String,
    /// What made it.
    pub description: String,
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// True if a running build has it.
    pub in_use: String,
    /// When a build last used it.
    pub last_used_at: String,
    /// How long ago a build last used it.
    pub last_used_since: String,
    /// True if steps may write to it.
    pub mutable: String,
    /// What it stands on.
    pub parents: String,
    /// True if a prune could remove it.
    pub reclaimable: String,
    /// True if an image has it too.
    pub shared: String,
    /// Its bytes.
    pub size: String,
    /// How often it was used: not counted.
    pub usage_count: String,
}

impl CacheRow {
    /// The line of `entry`.
    #[must_use]
    pub fn new(entry: &CacheEntry, detail: Detail, now: Timestamp) -> Self {
        let id = match detail {
            Detail::Short => entry.id.chars().take(SHORT_ID).collect(),
            Detail::Full => entry.id.clone(),
        };
        Self {
            cache_type: kind(entry.kind).to_owned(),
            created_at: go_style(Some(entry.created)),
            created_since: ago(Some(entry.created), now),
            description: entry.description.clone(),
            id,
            in_use: entry.in_use.to_string(),
            last_used_at: go_style(Some(entry.last_used)),
            last_used_since: ago(Some(entry.last_used), now),
            mutable: is_mutable(entry).to_string(),
            parents: entry.parents.join(" "),
            reclaimable: is_reclaimable(entry).to_string(),
            shared: entry.shared.to_string(),
            size: human_size(entry.size),
            usage_count: "N/A".to_owned(),
        }
    }
}

/// One line of `cache mount ls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CacheMountRow {
    /// How long ago it was made.
    pub created_since: String,
    /// The beginning of the name of its directory, which tells mounts with one id apart.
    pub directory: String,
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// True if a step uses it.
    pub in_use: String,
    /// How long ago a step last used it.
    pub last_used_since: String,
    /// The mode that steps ask for.
    pub mode: String,
    /// The owner that steps ask for, `UID:GID`.
    pub owner: String,
    /// Its bytes.
    pub size: String,
}

impl CacheMountRow {
    /// The line of `mount`.
    #[must_use]
    pub fn new(mount: &MountUsage, now: Timestamp) -> Self {
        Self {
            created_since: ago(Some(mount.created), now),
            directory: mount.directory.chars().take(SHORT_ID).collect(),
            id: if mount.id.is_empty() {
                "<none>".to_owned()
            } else {
                familiar_mount_id(&mount.id).to_owned()
            },
            in_use: mount.in_use.to_string(),
            last_used_since: ago(Some(mount.last_used), now),
            mode: format!("{:04o}", mount.mode.unwrap_or(0o755)),
            owner: format!("{}:{}", mount.uid.unwrap_or(0), mount.gid.unwrap_or(0)),
            size: human_size(mount.bytes),
        }
    }
}

/// How much of a cache is what, for the end of `buildx du`.
#[must_use]
pub fn cache_totals(entries: &[CacheEntry]) -> [(&'static str, u64); 4] {
    let sum = |counts: fn(&CacheEntry) -> bool| {
        entries.iter().filter(|entry| counts(entry)).map(|entry| entry.size).sum::<u64>()
    };
    [
        ("Shared", sum(|entry| entry.shared)),
        ("Private", sum(|entry| !entry.shared)),
        ("Reclaimable", sum(is_reclaimable)),
        ("Total", sum(|_| true)),
    ]
}

fn kind(kind: CacheKind) -> &'static str {
    match kind {
        CacheKind::Step => "regular",
        CacheKind::Mount => "exec.cachemount",
    }
}

fn is_mutable(entry: &CacheEntry) -> bool {
    entry.kind == CacheKind::Mount
}

fn is_reclaimable(entry: &CacheEntry) -> bool {
    !entry.in_use && !entry.shared
}

/// What a listing or a prune of the build cache is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheFilter {
    /// Only what no build has used since this moment.
    pub unused_since: Option<Timestamp>,
    tests: Vec<Test>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    field: Field,
    comparison: Comparison,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    Parents,
    Type,
    Description,
    InUse,
    Shared,
    Private,
    Mutable,
    Immutable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Other,
    Contains,
}

impl CacheFilter {
    /// Reads filters as `builder prune` and `buildx prune` take them. All of them must let a part through.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(texts: &[String], now: Timestamp) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for text in texts.iter().flat_map(|text| text.split(',')) {
            let (name, comparison, value) = split(text);
            let field = match name {
                "until" | "unused-for" if filter.unused_since.is_some() => {
                    return Err(FilterError::Invalid("more than one until filter specified".to_owned()));
                }
                "until" | "unused-for" => {
                    let value = value.ok_or_else(|| FilterError::Argument(text.to_owned()))?;
                    let since = moment(value, now).ok_or_else(|| FilterError::Moment(value.to_owned()))?;
                    filter.unused_since = Some(since);
                    continue;
                }
                "id" => Field::Id,
                "parents" | "parent" => Field::Parents,
                "type" => Field::Type,
                "description" => Field::Description,
                "inuse" => Field::InUse,
                "shared" => Field::Shared,
                "private" => Field::Private,
                "mutable" => Field::Mutable,
                "immutable" => Field::Immutable,
                "label" => {
                    return Err(FilterError::Unsupported("label (the build cache has no labels)".to_owned()));
                }
                other => return Err(FilterError::Invalid(other.to_owned())),
            };
            let value = match (field.is_switch(), value) {
                (true, None | Some("" | "1" | "true")) => "true",
                (true, Some("0" | "false")) => "false",
                (true, Some(_)) => return Err(FilterError::Invalid(text.to_owned())),
                (false, None) => return Err(FilterError::Argument(text.to_owned())),
                (false, Some(value)) => value,
            };
            filter.tests.push(Test { field, comparison, value: value.to_owned() });
        }
        Ok(filter)
    }

    /// True if it asks for more than age.
    #[must_use]
    pub fn chooses(&self) -> bool {
        !self.tests.is_empty()
    }

    /// True if `entry` passes.
    #[must_use]
    pub fn admits(&self, entry: &CacheEntry) -> bool {
        self.unused_since.is_none_or(|since| entry.last_used < since)
            && self.tests.iter().all(|test| test.admits(entry))
    }
}

impl Field {
    fn is_switch(self) -> bool {
        match self {
            Self::InUse | Self::Shared | Self::Private | Self::Mutable | Self::Immutable => true,
            Self::Id | Self::Parents | Self::Type | Self::Description => false,
        }
    }
}

impl Test {
    fn admits(&self, entry: &CacheEntry) -> bool {
        let is = |found: bool| self.compares(&[&found.to_string()]);
        match self.field {
            Field::Id if self.comparison == Comparison::Equal => entry.id.starts_with(&self.value),
            Field::Id => self.compares(&[&entry.id]),
            Field::Parents => self.compares(&entry.parents.iter().map(String::as_str).collect::<Vec<_>>()),
            Field::Type => self.compares(&[kind(entry.kind)]),
            Field::Description => self.compares(&[&entry.description]),
            Field::InUse => is(entry.in_use),
            Field::Shared => is(entry.shared),
            Field::Private => is(!entry.shared),
            Field::Mutable => is(is_mutable(entry)),
            Field::Immutable => is(!is_mutable(entry)),
        }
    }

    fn compares(&self, found: &[&str]) -> bool {
        match self.comparison {
            Comparison::Equal => found.contains(&self.value.as_str()),
            Comparison::Other => !found.contains(&self.value.as_str()),
            Comparison::Contains => found.iter().any(|found| found.contains(&self.value)),
        }
    }
}

/// `NAME`, `NAME=VALUE`, `NAME==VALUE`, `NAME!=VALUE` or `NAME~=VALUE`.
fn split(text: &str) -> (&str, Comparison, Option<&str>) {
    let Some((name, value)) = text.split_once('=') else { return (text, Comparison::Equal, None) };
    let (name, comparison) = match (name.strip_suffix('!'), name.strip_suffix('~')) {
        (Some(name), _) => (name, Comparison::Other),
        (None, Some(name)) => (name, Comparison::Contains),
        (None, None) => (name, Comparison::Equal),
    };
    (name, comparison, Some(value.strip_prefix('=').unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> CacheEntry {
        CacheEntry {
            id: "0123456789abcdef".to_owned(),
            kind: CacheKind::Step,
            description: "RUN make".to_owned(),
            size: 1_234_000,
            created: "2026-05-02T10:00:00Z".parse().unwrap(),
            last_used: "2026-05-02T11:00:00Z".parse().unwrap(),
            parents: vec!["fedcba9876543210".to_owned()],
            in_use: false,
            shared: true,
        }
    }

    fn now() -> Timestamp {
        "2026-05-02T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn filters_are_docker_s() {
        let admits = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            CacheFilter::parse(&texts, now()).map(|filter| filter.admits(&entry()))
        };
        for (texts, expected) in [
            (&[][..], true),
            (&["until=30m"], true),
            (&["unused-for=2h"], false),
            (&["id=0123"], true),
            (&["id=123"], false),
            (&["id~=5678"], true),
            (&["type=regular"], true),
            (&["type==exec.cachemount"], false),
            (&["type!=exec.cachemount", "shared"], true),
            (&["private"], false),
            (&["private=false,inuse=0"], true),
            (&["immutable"], true),
            (&["mutable=true"], false),
            (&["description~=make"], true),
            (&["parents=fedcba9876543210"], true),
        ] {
            assert_eq!(admits(texts), Ok(expected), "{texts:?}");
        }
        assert_eq!(admits(&["until=x"]), Err(FilterError::Moment("x".to_owned())));
        assert_eq!(admits(&["size=x"]), Err(FilterError::Invalid("size".to_owned())));
        assert_eq!(admits(&["id"]), Err(FilterError::Argument("id".to_owned())));
        assert_eq!(admits(&["shared=perhaps"]), Err(FilterError::Invalid("shared=perhaps".to_owned())));
    }

    #[test]
    fn a_row_says_what_a_part_is() {
        let row = CacheRow::new(&entry(), Detail::Short, now());
        assert_eq!(
            [row.id, row.cache_type, row.size, row.last_used_since, row.reclaimable],
            ["0123456789ab", "regular", "1.234MB", "About an hour ago", "false"]
        );
        let totals = cache_totals(&[entry()]);
        assert_eq!(totals.map(|(_, bytes)| bytes), [1_234_000, 0, 0, 1_234_000]);
    }
}
