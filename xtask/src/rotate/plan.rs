//! What is to be done next, given what the store has. Nothing is looked up or changed here.
//!
//! ```text
//!                  primary   secondary        spare
//! at rest          old       any              -
//!   SetAside       old       any              any
//!   RemoveSecondary old      -                any
//!   KeepPresent    old       old (kept)       any
//!   WriteNew       new (new) old (kept)       any      both are tried, for as long as you like
//! --finish
//!   RemoveSecondary new (new) -               any
//!   CopyNew        new (new) new              any
//!   RemoveSpare    new (new) new              -
//!   Unmark         new       new              -
//! --undo
//!   RemovePrimary  -         old (kept)       any
//!   RestorePrimary old       old (kept)       any
//!   RemoveSecondary old      -                any
//!   RestoreSecondary old     any              any
//!   RemoveSpare    old       any              -
//! ```
//!
//! In brackets: the mark at the end of a secret's comment, written with its value in one request. The
//! API has no way to copy onto a secret that is there, nor to read a value: hence the removals. In each
//! line there is a binding that has the value which is needed then.

use secrets_store_api::SecretId;

/// Where a rotation is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the new value, the one before beside it.
    Forward,
    /// To the new value alone.
    Finish,
    /// To what was there before.
    Undo,
}

/// What the store has of a rotation.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The secret of the binding.
    pub primary: Option<Secret>,
    /// The secret of the binding behind it.
    pub secondary: Option<Secret>,
    /// What the latter had before.
    pub spare: Option<Secret>,
}

/// A secret.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// Its comment without the mark.
    pub comment: String,
    /// Its mark.
    pub mark: Mark,
}

/// What a comment says of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    None,
    /// Secondary: it has what was the primary one's value.
    Kept,
    /// Primary: its value is the new one.
    New,
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Copies the secondary to the spare.
    SetAside,
    /// Deletes the secondary.
    RemoveSecondary,
    /// Copies the primary to the secondary, and marks that.
    KeepPresent,
    /// Changes the value of the primary, and marks it.
    WriteNew,
    /// Copies the primary to the secondary.
    CopyNew,
    /// Deletes the spare.
    RemoveSpare,
    /// Takes the mark from the primary.
    Unmark,
    /// Deletes the primary.
    RemovePrimary,
    /// Copies the secondary to the primary.
    RestorePrimary,
    /// Copies the spare to the secondary.
    RestoreSecondary,
}

/// What the running Worker must see before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// Whatever.
    Nothing,
    /// The primary one can be had.
    Primary,
    /// The secondary one can be had.
    Fallback,
    /// Both, with the same value.
    Same,
    /// Both, with different values.
    Different,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This, as soon as the Worker sees that.
    Do(Step, Expectation),
    /// Nothing more, when the Worker sees that.
    Done(Expectation),
    /// It cannot be done.
    Refuse(Refusal),
}

/// Why it cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such secret.
    NoSecret,
    /// `--undo` was broken off.
    Undoing,
    /// `--finish` was broken off.
    Finishing,
    /// `--finish`, and the new value is not written yet.
    NotWritten,
    /// `--undo`, and the value before is gone.
    TooLate,
}

const BEFORE: &str = " [cargo xtask rotate: ";
const KEPT: &str = "the value before]";
const NEW: &str = "a new value]";

impl Mark {
    /// Reads a comment: its mark, and what was there without it.
    pub fn read(comment: &str) -> (Self, &str) {
        let read = |text, mark| Some((mark, comment.strip_suffix(text)?.strip_suffix(BEFORE)?));
        read(KEPT, Self::Kept).or_else(|| read(NEW, Self::New)).unwrap_or((Self::None, comment))
    }

    /// A comment with this mark.
    pub fn write(self, comment: &str) -> String {
        match self {
            Self::None => comment.to_owned(),
            Self::Kept => format!("{comment}{BEFORE}{KEPT}"),
            Self::New => format!("{comment}{BEFORE}{NEW}"),
        }
    }
}

/// What to do next.
pub fn next(direction: Direction, seen: &Seen) -> Next {
    let is_marked =
        |secret: &Option<Secret>, mark| secret.as_ref().is_some_and(|it| it.mark == mark);
    let is_new = is_marked(&seen.primary, Mark::New);
    let is_kept = is_marked(&seen.secondary, Mark::Kept);
    let (has_secondary, has_spare) = (seen.secondary.is_some(), seen.spare.is_some());
    if seen.primary.is_none() {
        return match (direction, is_kept) {
            (Direction::Undo, true) => Next::Do(Step::RestorePrimary, Expectation::Nothing),
            (_, true) => Next::Refuse(Refusal::Undoing),
            (_, false) => Next::Refuse(Refusal::NoSecret),
        };
    }
    match direction {
        Direction::Forward => match (is_new, is_kept) {
            (true, true) => Next::Done(Expectation::Different),
            (true, false) => Next::Refuse(Refusal::Finishing),
            (false, true) => Next::Do(Step::WriteNew, Expectation::Same),
            (false, false) if !has_secondary => Next::Do(Step::KeepPresent, Expectation::Primary),
            (false, false) if has_spare => Next::Do(Step::RemoveSecondary, Expectation::Primary),
            (false, false) => Next::Do(Step::SetAside, Expectation::Primary),
        },
        Direction::Finish => match (is_new, is_kept) {
            (true, true) => Next::Do(Step::RemoveSecondary, Expectation::Different),
            (true, false) if !has_secondary => Next::Do(Step::CopyNew, Expectation::Nothing),
            (true, false) if has_spare => Next::Do(Step::RemoveSpare, Expectation::Nothing),
            (true, false) => Next::Do(Step::Unmark, Expectation::Same),
            (false, false) if has_secondary && !has_spare => Next::Done(Expectation::Nothing),
            (false, _) => Next::Refuse(Refusal::NotWritten),
        },
        Direction::Undo => match (is_new, is_kept) {
            (true, true) => Next::Do(Step::RemovePrimary, Expectation::Fallback),
            (true, false) => Next::Refuse(Refusal::TooLate),
            (false, true) => Next::Do(Step::RemoveSecondary, Expectation::Same),
            (false, false) if !has_spare => Next::Done(Expectation::Primary),
            (false, false) if has_secondary => Next::Do(Step::RemoveSpare, Expectation::Nothing),
            (false, false) => Next::Do(Step::RestoreSecondary, Expectation::Nothing),
        },
    }
}
