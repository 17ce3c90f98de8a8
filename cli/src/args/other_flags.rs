//! Flags of `docker build` that rbuild knows but does not do.

use super::known_flags::{
    FlagTable, KnownFlag, KnownFlags,
    Takes::{Switch, Value},
};

/// Those that were given.
pub(crate) type OtherFlags = KnownFlags<BuildFlags>;

/// Those that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BuildFlags;

impl FlagTable for BuildFlags {
    const FLAGS: &[KnownFlag] = &[
        ("attest", None, Value),
        ("builder", None, Value),
        ("compress", None, Switch),
        ("debug", Some('D'), Switch),
        ("disable-content-trust", None, Switch),
        ("force-rm", None, Switch),
        ("isolation", None, Value),
        ("policy", None, Value),
        // these two may stand alone
        ("provenance", None, Switch),
        ("rm", None, Switch),
        ("sbom", None, Switch),
        ("stream", None, Switch),
    ];
}
