//! `RUN --device`: `[name=]NAME[,required[=BOOL]]`, the name of a device that the machine describes.

use crate::lints::parse_bool;
use crate::plan::DeviceRequest;
use crate::stage_lowering::StageLowering;
use crate::{MountError, PlanError, PlanErrorKind};
use rbuild_parser::{Word, parse_fields};

/// The keys, for suggestions.
const KEYS: [&str; 2] = ["name", "required"];

/// The devices of the current RUN, in order.
pub(super) fn lower(stage: &StageLowering<'_, '_>, words: &[Word]) -> Result<Vec<DeviceRequest>, PlanError> {
    let one = |word: &Word| {
        read(&word.value).map_err(|error| match &error {
            MountError::UnexpectedKey { key, .. } => {
                let key = key.clone();
                stage.error(PlanErrorKind::Mount(error)).suggesting(&key, KEYS)
            }
            _ => stage.error(PlanErrorKind::Mount(error)),
        })
    };
    words.iter().map(one).collect()
}

fn read(text: &str) -> Result<DeviceRequest, MountError> {
    let fields = parse_fields(text).map_err(|error| MountError::DeviceCsv(error.to_string()))?;
    let mut request = DeviceRequest { name: String::new(), required: false };
    for field in fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", None) => request.required = true,
            ("required", Some(value)) => {
                let wrong = || MountError::Flag { key: key.clone(), value: value.to_owned() };
                request.required = parse_bool(value).ok_or_else(wrong)?;
            }
            ("name", Some(_)) if !request.name.is_empty() => {
                return Err(MountError::DeviceNamedTwice(request.name));
            }
            ("name", Some(value)) => value.clone_into(&mut request.name),
            _ if request.name.is_empty() => request.name = field,
            (_, None) => return Err(MountError::NotAPair(field)),
            (_, Some(_)) => return Err(MountError::UnexpectedKey { key, field }),
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        match read(text) {
            Ok(DeviceRequest { name, required }) => format!("{name} {required}"),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn names_have_two_forms_and_mistakes_docker_s_words() {
        for (text, expected) in [
            ("vendor.com/Class=dev", "vendor.com/Class=dev false"),
            ("name=vendor.com/class=dev,required", "vendor.com/class=dev true"),
            ("vendor.com/class,required=false", "vendor.com/class false"),
            ("required,class1", "class1 true"),
            ("name=a,name=b", "device name already set to a"),
            ("a,b", "invalid field 'b' must be a key=value pair"),
            ("a,requird=1", "unexpected key 'requird' in 'requird=1'"),
            ("a,required=maybe", "invalid value for required: maybe"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }
}
