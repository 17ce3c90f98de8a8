//! The pieces of a word, and the ways of cutting a text into them.

/// How a text is cut into words, and which characters are special in it.
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
        /// Whether quotes or an escape protect it from being split at white space.
        quoted: bool,
    },
    /// `$name` or `${name…}`.
    Variable {
        /// The name; may be empty (`${+x}`) or special (`$?`), which is never set.
        name: String,
        /// What is done with the value.
        modifier: Option<Modifier>,
        /// Whether it stands in double quotes.
        quoted: bool,
    },
}

/// What `${name…}` does with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modifier {
    /// `-` and `:-`: the word instead of a missing value.
    Default {
        /// What counts as missing.
        missing: Missing,
        /// The word.
        word: Vec<WordPart>,
    },
    /// `+` and `:+`: the word instead of a value, nothing instead of a missing one.
    Alternative {
        /// What counts as missing.
        missing: Missing,
        /// The word.
        word: Vec<WordPart>,
    },
    /// `?` and `:?`: an error instead of a missing value.
    Required {
        /// What counts as missing.
        missing: Missing,
        /// The message.
        message: Vec<WordPart>,
    },
    /// `#`, `##`, `%` and `%%`: the value without what matches at one side.
    Trim {
        /// Where.
        side: Side,
        /// How much.
        reach: Reach,
        /// The pattern, escapes still in it.
        pattern: Vec<WordPart>,
    },
    /// `/` and `//`: the value with matches replaced.
    Replace {
        /// Which matches.
        matches: Matches,
        /// The pattern, escapes still in it.
        pattern: Vec<WordPart>,
        /// What stands for each match, escapes still in it.
        replacement: Vec<WordPart>,
    },
}

/// What counts as a missing value.
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

/// Which of several possible matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The shortest.
    Shortest,
    /// The longest.
    Longest,
}

/// Which matches are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matches {
    /// The first.
    First,
    /// Every one.
    All,
}
