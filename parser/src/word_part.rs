//! The pieces of a word, and the ways of cutting a text into them.

/// The way of cutting a text into words, which also decides the characters that are special in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordMode {
    /// One word; blanks are data.
    Single,
    /// Unquoted white space, also in values, separates words (EXPOSE).
    List,
    /// A here-document's body: quotes are data and the escape character is always `\`.
    Heredoc,
}

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WordPart {
    /// Text, quotes and escapes removed.
    Literal {
        /// The text.
        text: String,
        /// True if quotes or an escape protect it from being split at white space.
        quoted: bool,
    },
    /// `$name` or `${name…}`.
    Variable {
        /// The name; may be empty (`${+x}`) or special (`$?`), which is never set.
        name: String,
        /// The change to the value.
        modifier: Option<Modifier>,
        /// True if it stands in double quotes.
        quoted: bool,
    },
}

/// The change that `${name…}` makes to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modifier {
    /// `-` and `:-`: the word instead of a missing value.
    Default {
        /// The values that count as missing.
        missing: Missing,
        /// The word.
        word: Vec<WordPart>,
    },
    /// `+` and `:+`: the word instead of a value, nothing instead of a missing one.
    Alternative {
        /// The values that count as missing.
        missing: Missing,
        /// The word.
        word: Vec<WordPart>,
    },
    /// `?` and `:?`: an error instead of a missing value.
    Required {
        /// The values that count as missing.
        missing: Missing,
        /// The message.
        message: Vec<WordPart>,
    },
    /// `#`, `##`, `%` and `%%`: the value without the match at one side.
    Trim {
        /// The side of the match.
        side: Side,
        /// The length of the match.
        reach: Reach,
        /// The pattern, with its escapes.
        pattern: Vec<WordPart>,
    },
    /// `/` and `//`: the value with matches replaced.
    Replace {
        /// The matches that are replaced.
        matches: Matches,
        /// The pattern, with its escapes.
        pattern: Vec<WordPart>,
        /// The replacement of each match, with its escapes.
        replacement: Vec<WordPart>,
    },
}

/// The values that count as missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Only a variable that is not set.
    Unset,
    /// Also an empty one (`:`).
    UnsetOrEmpty,
}

/// The two ends of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The start (`#`).
    Prefix,
    /// The end (`%`).
    Suffix,
}

/// The choice between several possible matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The shortest.
    Shortest,
    /// The longest.
    Longest,
}

/// The matches that are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matches {
    /// The first.
    First,
    /// Every one.
    All,
}
