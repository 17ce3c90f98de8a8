//! Seccomp profiles as documents: Docker's form of JSON.

use rbuild_executor::{
    CapSet,
    seccomp::{Answer, Comparison, Condition, Convention, FilterFlags, Profile, Rule},
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The most bytes of a profile; docker's own has 13 KiB.
pub(crate) const MAX_PROFILE: usize = 1 << 20;
/// The most names of calls in all rules together.
const MAX_NAMES: usize = 1 << 14;
/// The most conditions in all rules together.
const MAX_CONDITIONS: usize = 1 << 12;
/// The highest error number that a filter can answer with.
const MAX_ERROR: u64 = 4095;

/// A seccomp profile that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is no JSON document, or one of another form.
    #[error("decoding seccomp profile failed")]
    Document(#[source] serde_json::Error),
    /// It is too large.
    #[error("the seccomp profile has more {what} than the {most} that are allowed")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        most: usize,
    },
    /// A word in it has no meaning.
    #[error("string {word} is not a valid {what} for seccomp")]
    Word {
        /// What it should be.
        what: &'static str,
        /// As it stands there.
        word: String,
    },
    /// A number in it is out of range.
    #[error("{number} is not a valid {what} for seccomp")]
    Number {
        /// What it should be.
        what: &'static str,
        /// As it stands there.
        number: u64,
    },
    /// Of two ways to say something both are taken.
    #[error("both '{0}' and '{1}' are specified in the seccomp profile, use either '{0}' or '{1}'")]
    Both(&'static str, &'static str),
    /// A program outside is to decide about calls.
    #[error("SCMP_ACT_NOTIFY is not supported: there is no program that listens for calls")]
    Notify,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    default_action: String,
    #[serde(default)]
    default_errno_ret: Option<u64>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    syscalls: Option<Vec<Calls>>,
    #[serde(default)]
    flags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    #[serde(default)]
    errno_ret: Option<u64>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Circumstances>,
    #[serde(default)]
    excludes: Option<Circumstances>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u64,
    #[serde(default)]
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Circumstances {
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

/// Reads a profile; `None` is one that confines nothing.
///
/// # Errors
/// [`ProfileError`].
pub(crate) fn read(text: &str) -> Result<Option<Profile>, ProfileError> {
    if text.len() > MAX_PROFILE {
        return Err(ProfileError::TooLarge { what: "bytes", most: MAX_PROFILE });
    }
    // a list would be taken for an object without fields, which confines nothing
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(ProfileError::Document)?;
    let document = Document::deserialize(Value::Object(fields)).map_err(ProfileError::Document)?;
    let calls = document.syscalls.unwrap_or_default();
    if document.default_action.is_empty() && calls.is_empty() {
        return Ok(None);
    }
    let names: usize = calls.iter().map(|calls| calls.names.as_ref().map_or(1, Vec::len)).sum();
    let conditions: usize = calls.iter().map(|calls| calls.args.as_ref().map_or(0, Vec::len)).sum();
    for (what, count, most) in
        [("names of calls", names, MAX_NAMES), ("conditions", conditions, MAX_CONDITIONS)]
    {
        if count > most {
            return Err(ProfileError::TooLarge { what, most });
        }
    }
    let rules = calls.into_iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    let flags = document.flags.unwrap_or_default();
    Ok(Some(Profile {
        default: answer(&document.default_action, document.default_errno_ret)?,
        conventions: conventions(document.architectures, document.arch_map)?,
        rules: rules.into_iter().flatten().collect(),
        flags: flags.iter().try_fold(FilterFlags::default(), |all, word| Ok(all.and(flag(word)?)))?,
    }))
}

/// The rule of one entry, if it holds on this machine.
fn rule(calls: Calls) -> Result<Option<Rule>, ProfileError> {
    let (includes, excludes) = (calls.includes.unwrap_or_default(), calls.excludes.unwrap_or_default());
    let names = match (calls.name.is_empty(), calls.names.unwrap_or_default()) {
        (false, names) if !names.is_empty() => return Err(ProfileError::Both("name", "names")),
        (false, _) => vec![calls.name],
        (true, names) => names,
    };
    let answer = answer(&calls.action, calls.errno_ret)?;
    let conditions = calls.args.unwrap_or_default().iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let (is_included, is_excluded) = (old_enough(&includes)?, old_enough(&excludes)?);
    let here = |arches: &[String]| arches.iter().any(|arch| arch == native().go);
    let arches = includes.arches.unwrap_or_default();
    let needed = includes.caps.unwrap_or_default();
    let needs: Option<Vec<CapSet>> = needed.iter().map(|name| one_capability(name)).collect();
    // one that this rbuild does not know nobody has
    let Some(needs) = needs else { return Ok(None) };
    if is_included == Some(false)
        || is_excluded == Some(true)
        || (!arches.is_empty() && !here(&arches))
        || here(&excludes.arches.unwrap_or_default())
    {
        return Ok(None);
    }
    let excluding = excludes.caps.unwrap_or_default();
    Ok(Some(Rule {
        names,
        answer,
        conditions: alternatives(conditions),
        needs: union(needs),
        excluded_by: union(excluding.iter().filter_map(|name| one_capability(name))),
    }))
}

/// Conditions for one argument twice are alternatives, as runc has it; all others hold together.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let twice =
        |one: &Condition| conditions.iter().filter(|other| other.argument == one.argument).count() > 1;
    if conditions.is_empty() {
        return Vec::new();
    }
    if conditions.iter().any(twice) {
        return conditions.into_iter().map(|condition| vec![condition]).collect();
    }
    vec![conditions]
}

fn union(sets: impl IntoIterator<Item = CapSet>) -> CapSet {
    sets.into_iter().fold(CapSet::EMPTY, CapSet::union)
}

/// The capability `CAP_…`.
fn one_capability(name: &str) -> Option<CapSet> {
    name.strip_prefix("CAP_").and_then(CapSet::by_name).filter(|set| *set != CapSet::ALL)
}

/// Whether the kernel has the version that is asked for, if one is.
fn old_enough(circumstances: &Circumstances) -> Result<Option<bool>, ProfileError> {
    let Some(text) = &circumstances.min_kernel else { return Ok(None) };
    let version = version(text);
    let version =
        version.ok_or_else(|| ProfileError::Word { what: "version of a kernel", word: text.clone() })?;
    Ok(Some(rbuild_sys::kernel_version().is_none_or(|kernel| kernel >= version)))
}

/// Two numbers with a point between them.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?)).filter(|version| *version != (0, 0))
}

fn condition(argument: &Argument) -> Result<Condition, ProfileError> {
    let number = u8::try_from(argument.index).ok().filter(|index| *index < 6);
    let number =
        number.ok_or(ProfileError::Number { what: "index of an argument", number: argument.index })?;
    let plain = |comparison| (comparison, argument.value);
    let (comparison, value) = match argument.op.as_str() {
        "SCMP_CMP_NE" => plain(Comparison::NotEqual),
        "SCMP_CMP_LT" => plain(Comparison::Less),
        "SCMP_CMP_LE" => plain(Comparison::AtMost),
        "SCMP_CMP_EQ" => plain(Comparison::Equal),
        "SCMP_CMP_GE" => plain(Comparison::AtLeast),
        "SCMP_CMP_GT" => plain(Comparison::Greater),
        "SCMP_CMP_MASKED_EQ" => (Comparison::EqualIn(argument.value), argument.value_two),
        other => return Err(ProfileError::Word { what: "operator", word: other.to_owned() }),
    };
    Ok(Condition { argument: number, comparison, value })
}

fn answer(action: &str, number: Option<u64>) -> Result<Answer, ProfileError> {
    let number = || {
        let number = number.unwrap_or(1);
        u16::try_from(number)
            .ok()
            .filter(|_| number <= MAX_ERROR)
            .ok_or(ProfileError::Number { what: "errnoRet", number })
    };
    Ok(match action {
        "SCMP_ACT_ALLOW" => Answer::Allow,
        "SCMP_ACT_LOG" => Answer::Log,
        "SCMP_ACT_ERRNO" => Answer::Fail(number()?),
        "SCMP_ACT_TRACE" => Answer::Trace(number()?),
        "SCMP_ACT_TRAP" => Answer::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Answer::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Answer::KillProcess,
        "SCMP_ACT_NOTIFY" => return Err(ProfileError::Notify),
        other => return Err(ProfileError::Word { what: "action", word: other.to_owned() }),
    })
}

fn flag(word: &str) -> Result<FilterFlags, ProfileError> {
    match word {
        "SECCOMP_FILTER_FLAG_LOG" => Ok(FilterFlags::LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(FilterFlags::SPECULATION_ALLOWED),
        // a container has one thread when its filter is put into force
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(FilterFlags::default()),
        other => Err(ProfileError::Word { what: "flag", word: other.to_owned() }),
    }
}

/// The names of a machine.
struct Machine {
    /// In the circumstances of a rule.
    go: &'static str,
    /// That of its own calls, and that of its 32-bit programs' calls.
    conventions: [&'static str; 2],
}

fn native() -> Machine {
    if cfg!(target_arch = "aarch64") {
        Machine { go: "arm64", conventions: ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"] }
    } else {
        Machine { go: "amd64", conventions: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"] }
    }
}

/// The machine's own calls, and those of its 32-bit programs if the profile names them.
fn conventions(
    architectures: Option<Vec<String>>,
    map: Option<Vec<ArchMap>>,
) -> Result<Vec<Convention>, ProfileError> {
    let (architectures, map) = (architectures.unwrap_or_default(), map.unwrap_or_default());
    if !architectures.is_empty() && !map.is_empty() {
        return Err(ProfileError::Both("architectures", "archMap"));
    }
    let [own, compatible] = native().conventions;
    let own_entry = map.into_iter().find(|entry| entry.architecture == own);
    let named = own_entry.map_or(architectures, |entry| entry.sub_architectures.unwrap_or_default());
    if let Some(word) = named.iter().find(|word| !word.starts_with("SCMP_ARCH_")) {
        return Err(ProfileError::Word { what: "arch", word: word.clone() });
    }
    let has_compatible = named.iter().any(|word| word == compatible);
    Ok([Convention::Native].into_iter().chain(has_compatible.then_some(Convention::Compatible)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn a_profile_is_read() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "comment": "more",
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
                        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
            "syscalls": [
              {"names": ["read", "not_a_call"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {}},
              {"name": "clone", "action": "SCMP_ACT_LOG", "args": [{"index": 1, "value": 255, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}],
               "excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_TO_COME"]}},
              {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"], "minKernel": "4.8"}},
              {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_TO_COME"]}},
              {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "400.0"}},
              {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
              {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "2.6"}},
              {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": [
                {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 38, "op": "SCMP_CMP_EQ"}]}]}"#;
        let profile = read(text).unwrap().unwrap();
        assert_eq!(profile.default, Answer::Fail(38));
        assert_eq!(profile.conventions, [Convention::Native, Convention::Compatible]);
        let names: Vec<&str> =
            profile.rules.iter().flat_map(|rule| &rule.names).map(String::as_str).collect();
        assert_eq!(names, ["read", "not_a_call", "clone", "bpf", "socket"]);
        let admin = CapSet::by_name("SYS_ADMIN").unwrap();
        assert_eq!((profile.rules[1].excluded_by, profile.rules[1].answer), (admin, Answer::Log));
        assert_eq!(profile.rules[1].conditions[0][0].comparison, Comparison::EqualIn(255));
        assert_eq!(profile.rules[2].needs, CapSet::by_name("BPF").unwrap());
        assert_eq!(profile.rules[3].conditions.len(), 2, "two conditions for one argument are alternatives");
        assert!(read("{}").unwrap().is_none(), "nothing is confined");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, part) in [
            ("", "decoding seccomp profile failed"),
            ("[]", "decoding seccomp profile failed"),
            ("[1]", "decoding seccomp profile failed"),
            (r#"{"defaultAction": "ALLOW"}"#, "string ALLOW is not a valid action for seccomp"),
            (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#, "SCMP_ACT_NOTIFY is not supported"),
            (
                r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000}"#,
                "70000 is not a valid errnoRet",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}"#,
                "both 'architectures' and 'archMap' are specified",
            ),
            (
                r#"{"syscalls": [{"name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW"}]}"#,
                "both 'name' and 'names' are specified",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_KILL", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}]}"#,
                "6 is not a valid index of an argument",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_KILL", "args": [{"index": 0, "op": "="}]}]}"#,
                "string = is not a valid operator",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_KILL", "includes": {"minKernel": "new"}}]}"#,
                "string new is not a valid version",
            ),
            (r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["FAST"]}"#, "string FAST is not a valid flag"),
        ] {
            let said = failure(text);
            assert!(said.starts_with(part), "{text}: {said}");
        }
        let deep = "[".repeat(100_000);
        assert!(failure(&format!("{{\"syscalls\": {deep}")).starts_with("decoding"));
        let many = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": [{}"a"], "action": "SCMP_ACT_KILL"}}]}}"#,
            "\"a\",".repeat(1 << 15)
        );
        assert_eq!(
            failure(&many),
            "the seccomp profile has more names of calls than the 16384 that are allowed"
        );
        assert!(failure(&" ".repeat(MAX_PROFILE + 1)).contains("more bytes than"));
    }
}
