//! What outputs mean, and what is wrong with wrong ones.

use super::*;
use rbuild::{GzipLevel, ImageAnnotations, LayerCompression, Packing, Platform, PulledLayers, ZstdLevel};

fn names(names: &[&str]) -> Vec<ImageName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn settled(outputs: &[&str], tags: &[&str], annotations: &[&str]) -> Result<BuildOutputs, String> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (outputs, annotations, names) = (owned(outputs), owned(annotations), names(tags));
    let (outputs, annotations) = (&outputs[..], &annotations[..]);
    let typed = Typed { outputs, annotations, push: false, load: false, target: None, names: &names };
    BuildOutputs::new(&typed).map_err(|error| error.to_string())
}

fn outputs(text: &str) -> Vec<BuildOutput> {
    settled(&[text], &[], &[]).unwrap().targets.remove(0).outputs
}

fn error(outputs: &[&str]) -> String {
    let error = settled(outputs, &[], &[]).unwrap_err();
    error.strip_prefix("failed to build: ").unwrap_or(&error).to_owned()
}

fn path(path: &str) -> FilePlace {
    FilePlace::Path(path.into())
}

fn directory(path: &str) -> BuildOutput {
    BuildOutput::Directory { path: path.into(), stale: StaleFiles::Kept, split: PlatformSplit::OfSeveral }
}

#[test]
fn short_forms_are_paths_and_standard_output() {
    assert_eq!(outputs("out"), [directory("out")]);
    assert_eq!(outputs("a=b"), [directory("a=b")], "a path may have any sign");
    assert_eq!(outputs("-"), [BuildOutput::Tar(FilePlace::Stdout)]);
    assert_eq!(outputs("type=tar,dest=x.tar"), [BuildOutput::Tar(path("x.tar"))]);
    assert_eq!(outputs("type=local,\"dest=a,b\""), [directory("a,b")]);
    assert_eq!(outputs("TYPE=local,DEST=x"), [directory("x")]);
    let deleting = BuildOutput::Directory {
        path: "x".into(),
        stale: StaleFiles::Removed,
        split: PlatformSplit::OfSeveral,
    };
    assert_eq!(outputs("type=local,dest=x,mode=delete"), [deleting]);
    assert_eq!(outputs("type=cacheonly"), []);
    let stored = settled(&[], &["a"], &[]).unwrap().targets.remove(0).outputs;
    assert_eq!(stored, [BuildOutput::Store { names: names(&["a"]) }]);
}

#[test]
fn images_go_where_they_are_sent() {
    let stored = |given: &[&str]| BuildOutput::Store { names: names(given) };
    let registry = |given: &[&str], place, form, canonical| BuildOutput::Registry {
        names: names(given),
        place,
        form,
        canonical,
    };
    let usual = ImageForm::default;
    let (tag, absent) = (PushedAs::Tag, CanonicalName::Absent);
    assert_eq!(
        outputs("type=registry,\"name=r.example/a,b:1\""),
        [stored(&["r.example/a", "b:1"]), registry(&["r.example/a", "b:1"], tag, usual(), absent)]
    );
    assert_eq!(outputs("type=image,name=a,push=true,store=false"), [registry(&["a"], tag, usual(), absent)]);
    assert_eq!(
        outputs("type=image,name=r.example/a,push-by-digest=true,name-canonical=true,push=true"),
        [stored(&[]), registry(&["r.example/a"], PushedAs::Digest, usual(), CanonicalName::Given)]
    );
    assert_eq!(outputs("type=image"), [stored(&[])]);
    let tagged = settled(&["type=oci,dest=x,name=ignored"], &["a"], &[]).unwrap().targets.remove(0).outputs;
    let archive = BuildOutput::Archive {
        destination: ArchivePlace::File(path("x")),
        format: ArchiveFormat::Oci,
        names: names(&["a"]),
        form: usual(),
    };
    assert_eq!(tagged, [archive], "tags come before the attribute");
    for (typed, tags, context) in [
        ("type=docker", &["a"][..], None),
        ("type=docker,name=a", &[], None),
        ("type=docker,name=a,context=there", &[], Some("there".to_owned())),
    ] {
        let loaded = settled(&[typed], tags, &[]).unwrap().targets.remove(0);
        assert_eq!(loaded.outputs, [stored(&["a"])], "{typed}");
        assert_eq!(loaded.loads, [Load { names: names(&["a"]), context }], "{typed}");
    }
}

#[test]
fn an_output_may_be_of_another_target() {
    let targets = |outputs: &[&str], tags: &[&str]| {
        let targets = settled(outputs, tags, &[]).unwrap().targets.into_iter();
        targets.map(|target| (target.target, target.outputs)).collect::<Vec<_>>()
    };
    let stored = |given: &[&str]| BuildOutput::Store { names: names(given) };
    let named = |target: &str| Some(target.to_owned());
    // with tags the build's own target has its image as ever, which takes them
    let tested = (named("test"), vec![directory("out")]);
    assert_eq!(
        targets(&["type=local,dest=out,target=test"], &["a"]),
        [(None, vec![stored(&["a"])]), tested.clone()]
    );
    // without any it is not built
    assert_eq!(targets(&["type=local,dest=out,target=test"], &[]), std::slice::from_ref(&tested));
    assert_eq!(
        targets(
            &["type=image,name=b,target=lib", "type=local,dest=out,target=test", "type=cacheonly,target=lib"],
            &[]
        ),
        [(named("lib"), vec![stored(&["b"])]), tested]
    );
    assert_eq!(
        targets(&["type=image", "type=image,target=lib"], &["a"]),
        [(None, vec![stored(&["a"])]), (named("lib"), vec![stored(&[])])]
    );
}

#[test]
fn push_is_added_to_what_is_asked_for() {
    let pushed = |typed: &[&str]| {
        let typed: Vec<String> = typed.iter().map(|word| (*word).to_owned()).collect();
        let names = names(&["a"]);
        let typed =
            Typed { outputs: &typed, annotations: &[], push: true, load: false, target: None, names: &names };
        let outputs = BuildOutputs::new(&typed).unwrap().targets.remove(0).outputs;
        outputs.iter().filter(|output| matches!(output, BuildOutput::Registry { .. })).count()
    };
    assert_eq!(pushed(&[]), 1);
    assert_eq!(pushed(&["type=image"]), 1);
    assert_eq!(pushed(&["type=local,dest=x"]), 1);
}

#[test]
fn an_image_may_be_named_by_its_digest() {
    let stored = |given: &[&str]| BuildOutput::Store { names: names(given) };
    let pin = || BuildOutput::Pin { repository: "p".parse().unwrap() };
    assert_eq!(outputs("type=image,dangling-name-prefix=p"), [stored(&[]), pin()]);
    assert_eq!(outputs("type=image,name=a,dangling-name-prefix=p"), [stored(&["a"]), pin()]);
    assert_eq!(
        outputs("type=image,name=a,dangling-name-prefix=p,danging-name-empty-only=true"),
        [stored(&["a"])]
    );
}

#[test]
fn insecure_registries_and_times_are_of_outputs() {
    let insecure = |output: &str| settled(&[output], &[], &[]).unwrap().insecure;
    assert_eq!(insecure("type=registry,name=r.example:5000/a,registry.insecure=true"), ["r.example:5000"]);
    assert!(insecure("type=registry,name=r.example:5000/a,registry.insecure=false").is_empty());
    assert!(
        insecure("type=image,name=r.example:5000/a,registry.insecure=true").is_empty(),
        "nothing is pushed"
    );
    let epoch = |output: &str| settled(&[output], &[], &[]).unwrap().epoch;
    assert_eq!(epoch("type=tar,dest=x,source-date-epoch=7"), Some(7));
    assert_eq!(epoch("type=tar,dest=x,source-date-epoch="), None);
}

#[test]
fn the_form_of_an_image() {
    let form = |attributes: &str| match outputs(&format!("type=oci,dest=x,{attributes}")).remove(0) {
        BuildOutput::Archive { form, .. } => form,
        other => panic!("{other:?}"),
    };
    let zstd = form("compression=zstd,compression-level=9,force-compression=true").packing;
    let compression = LayerCompression::Zstd(ZstdLevel::new(9).unwrap());
    assert_eq!(zstd, Packing { compression, pulled: PulledLayers::Converted });
    let gzip = form("compression-level=1").packing.compression;
    assert_eq!(gzip, LayerCompression::Gzip(GzipLevel::new(1).unwrap()));
    assert_eq!(form("oci-mediatypes=false").media_types, MediaTypes::Docker);
    let annotated = form(
        "annotation.a.b=c=d,annotation-manifest-descriptor.x=y,annotation[linux/s390x].no=1,annotation-manifest.e=f",
    );
    let pairs = |annotations: &ImageAnnotations, platform: Option<&Platform>| {
        annotations.of(platform).iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>()
    };
    assert_eq!(pairs(&annotated.annotations, None), ["a.b: c=d", "e: f"]);
    let other = Platform::normalised("linux", "s390x", None);
    assert_eq!(pairs(&annotated.annotations, Some(&other)), ["a.b: c=d", "e: f", "no: 1"]);
    assert_eq!(pairs(&annotated.descriptor_annotations, None), ["x: y"]);
    let times = settled(&["type=oci,dest=x,rewrite-timestamp=true"], &[], &[]).unwrap().layer_times;
    assert_eq!(times, LayerTimes::Clamped);
}

#[test]
fn annotation_flags_say_where_they_stand() {
    let annotated = |flags: &[&str]| {
        let settled = settled(&["type=oci,dest=x"], &[], flags)?.targets.remove(0).outputs.remove(0);
        let BuildOutput::Archive { form, .. } = settled else { panic!("no archive") };
        Ok::<_, String>((form.annotations, form.descriptor_annotations))
    };
    let (manifest, descriptor) =
        annotated(&["a=1", "manifest:b=2", "manifest,manifest-descriptor[linux/arm64]:c=3"]).unwrap();
    let arm = Platform::normalised("linux", "arm64", None);
    let keys = |annotations: ImageAnnotations| annotations.of(Some(&arm)).into_keys().collect::<Vec<_>>();
    assert_eq!((keys(manifest), descriptor.of(None).len()), (vec!["a".into(), "b".into(), "c".into()], 0));
    assert_eq!(keys(descriptor), ["c"]);
    assert_eq!(annotated(&["d:e=4"]).unwrap_err(), "failed to build: unknown annotation type \"d\"");
    let pushed = settled(&["type=registry,name=a"], &[], &["index-descriptor:a=1"]).unwrap_err();
    assert!(
        pushed.contains("index-descriptor annotations have no place in a store or a registry"),
        "{pushed}"
    );
    let stored = settled(&[], &[], &["a=1"]).unwrap_err();
    assert!(stored.contains("annotation says nothing of an image in the store"), "{stored}");
}

#[test]
fn mistakes_have_docker_s_words() {
    for (typed, message) in [
        (&["dest=x,name=y"][..], "type is required for output"),
        (&["type=local"], "dest is required for local exporter"),
        (&["type=local,dest=-"], "dest cannot be stdout for local exporter"),
        (&["type=oci,tar=false"], "dest is required for oci exporter"),
        (&["-", "type=oci"], "multiple outputs configured to write to stdout"),
        (&["type=registry"], "tag is needed when pushing to registry"),
        (&["type=image,push=true"], "tag is needed when pushing to registry"),
        (
            &["type=oci,dest=x,compression=zstd,oci-mediatypes=false"],
            "exporter option \"compression=zstd\" conflicts with \"oci-mediatypes=false\"",
        ),
        (
            &["type=oci,dest=x,annotation.a=b,oci-mediatypes=false"],
            "exporter option \"annotations\" conflicts with \"oci-mediatypes=false\"",
        ),
        (
            &["type=image,name=a,rewrite-timestamp=true,unpack=true"],
            "exporter option \"rewrite-timestamp\" conflicts with \"unpack\"",
        ),
        (&["type=oci,dest=x,tar=maybe"], "non-bool value specified for tar"),
        (&["type=foo"], "unknown output type \"foo\""),
        (&["type=local,dest=x,mode=foo"], "unknown local exporter mode \"foo\""),
        (&["type=local,dest=x,foo=1"], "output type local has no attribute foo"),
        (
            &["type=image,oci-artifact=true"],
            "oci-artifact=true of output type image is not supported: attestations are not made",
        ),
        (
            &["type=oci,dest=x,prefer-nondist-layers=true"],
            "prefer-nondist-layers=true of output type oci is not supported: a layer leaves rbuild as one that may be distributed",
        ),
        (
            &["type=tar,dest=x,attestation-prefix=y"],
            "attestation-prefix of output type tar is not supported: attestations are not made",
        ),
        (
            &["type=tar,dest=x,source-date-epoch=soon"],
            "invalid source-date-epoch \"soon\": expected seconds since 1970",
        ),
        (
            &["type=tar,dest=x,source-date-epoch=1", "type=local,dest=y"],
            "source-date-epoch must be the same for all outputs of a build",
        ),
        (&["type=tar,dest"], "invalid value dest"),
        (&["\"type=tar"], "invalid value \"type=tar: a quote is not closed"),
        (
            &["type=image,name=a,compression=zstd"],
            "compression says nothing of an image in the store, which gets its form when it leaves: add push=true, or a dest to type=oci or type=docker",
        ),
        (
            &["type=oci,dest=x,rewrite-timestamp=true", "type=docker,dest=y"],
            "rewrite-timestamp must be the same for all outputs of a build",
        ),
    ] {
        assert_eq!(error(typed), message, "{typed:?}");
    }
}
