//! Lines of `images`, and which of them `--filter` and a pattern let through.

use crate::{
    FilterError, glob,
    moments::moment,
    names::{Detail, image_id},
    rows::Row,
    sizes::{human_size, human_size_with},
    times::{ago, go_style},
};
use rbuild::{Digest, ImageSummary, ImageUsage, Reference, Timestamp};
use serde_json::{Map, Value};

const NONE: &str = "<none>";
const NOT_APPLICABLE: &str = "N/A";

/// One line of `images`. Its texts are made when they are asked for, because a store may have thousands of images.
#[derive(Clone, Copy, Debug)]
pub struct ImageRow<'a> {
    image: &'a ImageSummary,
    name: Option<&'a Reference>,
    usage: Option<&'a ImageUsage>,
    detail: Detail,
    now: Timestamp,
}

/// One row for each name of `image` that is `shown`; of an image that has none, one row if no name is shown.
pub fn image_rows<'a>(
    image: &'a ImageSummary,
    shown: impl Fn(Option<&Reference>) -> bool,
    detail: Detail,
    now: Timestamp,
) -> impl Iterator<Item = ImageRow<'a>> {
    let nameless = (image.names.is_empty() && shown(None)).then_some(None);
    // a digest has a row of its own only where the repository has no tag
    let has_tag =
        |of: &Reference| image.names.iter().any(|name| name.tag().is_some() && name.has_repository_of(of));
    let fits = move |name: &&Reference| (name.tag().is_some() || !has_tag(name)) && shown(Some(name));
    let names = nameless.into_iter().chain(image.names.iter().filter(fits).map(Some));
    names.map(move |name| ImageRow { image, name, usage: None, detail, now })
}

impl<'a> ImageRow<'a> {
    /// Docker's fields in Docker's order.
    const FIELDS: [&'static str; 11] = [
        "Containers",
        "CreatedAt",
        "CreatedSince",
        "Digest",
        "ID",
        "Repository",
        "SharedSize",
        "Size",
        "Tag",
        "UniqueSize",
        "VirtualSize",
    ];

    /// The same row with the sizes that `df -v` shows. Listings do not compute what images share.
    #[must_use]
    pub fn with_usage(self, usage: &'a ImageUsage) -> Self {
        Self { usage: Some(usage), ..self }
    }

    fn text(&self, field: &str) -> String {
        let Self { image, name, usage, detail, now } = self;
        let of_usage =
            |text: fn(&ImageUsage) -> String| usage.map_or_else(|| NOT_APPLICABLE.to_owned(), text);
        match field {
            "Containers" => of_usage(|usage| usage.containers.len().to_string()),
            "CreatedAt" => go_style(image.created),
            "CreatedSince" => ago(image.created, *now),
            "Digest" => self.digest().map_or_else(|| NONE.to_owned(), Digest::to_string),
            "ID" => image_id(&image.id, *detail),
            "Repository" => name.map_or_else(|| NONE.to_owned(), Reference::familiar_repository),
            "SharedSize" => of_usage(|usage| human_size(usage.shared_bytes)),
            "Size" => {
                usage.map_or_else(|| human_size_with(image.size, 3), |usage| human_size(usage.size_bytes))
            }
            "Tag" => name.and_then(Reference::tag).unwrap_or(NONE).to_owned(),
            "UniqueSize" => of_usage(|usage| human_size(usage.unique_bytes())),
            "VirtualSize" => human_size(image.size),
            _ => String::new(),
        }
    }

    /// The digest that the image was pulled with or pushed as, by this name or another of its repository.
    fn digest(&self) -> Option<&'a Digest> {
        let (name, digests) = (self.name?, &self.image.digests);
        let exact = digests.iter().find(|(of, _)| of == name);
        exact.or_else(|| digests.iter().find(|(of, _)| of.has_repository_of(name))).map(|(_, digest)| digest)
    }
}

impl Row for ImageRow<'_> {
    fn texts(&self, fields: &[&str]) -> Vec<String> {
        fields.iter().map(|field| self.text(field)).collect()
    }

    fn object(&self) -> Map<String, Value> {
        Self::FIELDS.into_iter().map(|field| (field.to_owned(), self.text(field).into())).collect()
    }
}

/// One `--filter`. `M` is the way a moment is given: first the name of an image, then the moment itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageFilter<M> {
    /// Images with a name, or without.
    Dangling(bool),
    /// Images with this label, and this value if there is one.
    Label(String, Option<String>),
    /// Images with a name that fits.
    Reference(String),
    /// Images made before the moment.
    Before(M),
    /// Images made after the moment.
    Since(M),
    /// Images made before this moment, or at it.
    Until(Timestamp),
}

/// All filters of one command: every one must let an image through, but of several patterns for names one is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFilters(Vec<ImageFilter<Option<Timestamp>>>);

impl ImageFilter<String> {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, FilterError> {
        let invalid = |what: &str| FilterError::Invalid(what.to_owned());
        let (name, value) = text.split_once('=').ok_or_else(|| FilterError::Argument(text.to_owned()))?;
        match name {
            "dangling" => match value {
                "true" | "1" => Ok(Self::Dangling(true)),
                "false" | "0" => Ok(Self::Dangling(false)),
                _ => Err(FilterError::Invalid(format!("dangling=[{value}]"))),
            },
            "label" => Ok(label(value, Self::Label)),
            "reference" => Ok(Self::Reference(value.to_owned())),
            "before" => Ok(Self::Before(value.to_owned())),
            "since" => Ok(Self::Since(value.to_owned())),
            "until" => {
                Ok(Self::Until(moment(value, now).ok_or_else(|| FilterError::Moment(value.to_owned()))?))
            }
            other => Err(invalid(other)),
        }
    }

    /// Looks up when the image was made that the filter names, if it names one.
    ///
    /// # Errors
    /// Those of `created`.
    pub fn resolve<E>(
        self,
        created: impl FnOnce(&str) -> Result<Option<Timestamp>, E>,
    ) -> Result<ImageFilter<Option<Timestamp>>, E> {
        Ok(match self {
            Self::Dangling(dangling) => ImageFilter::Dangling(dangling),
            Self::Label(name, value) => ImageFilter::Label(name, value),
            Self::Reference(pattern) => ImageFilter::Reference(pattern),
            Self::Before(image) => ImageFilter::Before(created(&image)?),
            Self::Since(image) => ImageFilter::Since(created(&image)?),
            Self::Until(moment) => ImageFilter::Until(moment),
        })
    }
}

impl ImageFilter<Option<Timestamp>> {
    /// True if `image` passes.
    fn admits(&self, image: &ImageSummary) -> bool {
        match self {
            Self::Dangling(dangling) => image.names.is_empty() == *dangling,
            Self::Label(name, value) => {
                image.labels.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
            Self::Reference(pattern) => image.names.iter().any(|name| names_image(pattern, name)),
            Self::Before(moment) => image.created < *moment,
            Self::Since(moment) => image.created > *moment,
            Self::Until(moment) => image.created <= Some(*moment),
        }
    }

    fn pattern(&self) -> Option<&str> {
        match self {
            Self::Reference(pattern) => Some(pattern),
            Self::Dangling(_) | Self::Label(..) | Self::Before(_) | Self::Since(_) | Self::Until(_) => None,
        }
    }
}

impl FromIterator<ImageFilter<Option<Timestamp>>> for ImageFilters {
    fn from_iter<I: IntoIterator<Item = ImageFilter<Option<Timestamp>>>>(filters: I) -> Self {
        Self(filters.into_iter().collect())
    }
}

impl ImageFilters {
    /// True if `image` passes.
    #[must_use]
    pub fn admits(&self, image: &ImageSummary) -> bool {
        self.0.iter().all(|filter| filter.pattern().is_some() || filter.admits(image))
            && (self.patterns().next().is_none() || image.names.iter().any(|name| self.names(name)))
    }

    /// True if a listing shows the image by this name: where patterns are asked for, other names of it are not shown.
    #[must_use]
    pub fn names(&self, name: &Reference) -> bool {
        let mut patterns = self.patterns().peekable();
        patterns.peek().is_none() || patterns.any(|pattern| names_image(pattern, name))
    }

    fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(ImageFilter::pattern)
    }
}

/// `NAME[=VALUE]` of a label.
pub(crate) fn label<F>(text: &str, filter: impl FnOnce(String, Option<String>) -> F) -> F {
    match text.split_once('=') {
        Some((name, value)) => filter(name.to_owned(), Some(value.to_owned())),
        None => filter(text.to_owned(), None),
    }
}

/// True if `pattern` names `reference`: by repository, or by repository and tag.
#[must_use]
pub fn names_image(pattern: &str, reference: &Reference) -> bool {
    let with_tag = reference.tag().map(|tag| format!("{}:{tag}", reference.familiar_repository()));
    let has_tag = pattern.rsplit('/').next().unwrap_or_default().contains(':');
    with_tag.is_some_and(|text| glob::matches(pattern, &text))
        || glob::matches(pattern, &reference.familiar())
        || glob::matches(pattern, &reference.familiar_repository())
        // `docker.io/library/debian` and `debian` are the same question
        || pattern.parse::<Reference>().is_ok_and(|asked| {
            asked.domain() == reference.domain()
                && asked.path() == reference.path()
                && (asked.tag() == reference.tag() || !has_tag)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_people_ask_for_them() {
        let name = |text: &str| text.parse::<Reference>().unwrap();
        for (pattern, reference, expected) in [
            ("debian", "debian:12", true),
            ("debian:12", "debian:12", true),
            ("debian:11", "debian:12", false),
            ("deb*", "debian:12", true),
            ("*:12", "debian:12", true),
            ("docker.io/library/debian", "debian:12", true),
            ("me/*", "me/app", true),
            ("r.example:5000/a", "r.example:5000/a:1", true),
            ("a", "r.example:5000/a:1", false),
        ] {
            assert_eq!(names_image(pattern, &name(reference)), expected, "{pattern} {reference}");
        }
    }
}
