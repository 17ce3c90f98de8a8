use super::*;
use rbuild_oci::FailureClass::{Environment, Input, Internal};

#[test]
fn the_class_of_a_request_is_that_of_its_cause() {
    const ENOENT: i32 = 2;
    const EACCES: i32 = 13;
    let io = |number| io::Error::from_raw_os_error(number);
    let base = |source: Error| Error::BaseImage {
        written: String::new(),
        reference: String::new(),
        hint: None,
        source: Box::new(source),
        diagnostic: DockerfileText { name: String::new(), bytes: Vec::new() }.at(None),
    };
    let refused = || RegistryError::Refused { host: "r".to_owned(), source: "refused".into() };
    let missing = || RegistryError::NotFound { reference: "r/a".to_owned() };
    for (error, class) in [
        (Error::context("c".into(), io(ENOENT)), Input),
        (Error::context("c".into(), io(EACCES)), Environment),
        (Error::DockerfileUnreadable { path: "D".into(), meant: None, source: io(ENOENT) }, Input),
        (Error::DockerfileUnreadable { path: "D".into(), meant: None, source: io(EACCES) }, Environment),
        (base(Error::Image(ImageError::Registry(refused()))), Environment),
        (base(Error::Registry(missing())), Input),
        (Error::Store(StoreError::RecorderStopped), Internal),
        (Error::Worker(String::new()), Internal),
    ] {
        assert_eq!(error.class(), class);
    }
}

#[test]
fn a_base_image_s_own_hint_comes_before_that_of_its_cause() {
    let denied = || RegistryError::Unauthorized { host: "r.example".to_owned(), server: String::new() };
    let base = |hint| Error::BaseImage {
        written: "a".to_owned(),
        reference: "a".to_owned(),
        hint,
        source: Box::new(Error::Image(ImageError::Registry(denied()))),
        diagnostic: DockerfileText { name: String::new(), bytes: Vec::new() }.at(None),
    };
    assert_eq!(base(None).hint(), Some(Hint::LogIn("r.example".to_owned())));
    assert_eq!(base(Some(Hint::RemoveNames)).hint(), Some(Hint::RemoveNames));
    assert_eq!(Error::NoSuchImage(UnknownName::alone("a")).hint(), None);
}
