//! Bugs that can be planted on purpose, to see that tests and simulations find them.
//!
//! Each [`Mutation`] is a mistake of the kind people make, at one place that asks [`is_planted`]. Without the
//! cargo feature `mutations` the answer is a constant `false`, so nothing of this is in a release.
//!
//! At most one bug is planted at a time, for one thread: in a simulation that is the whole fleet. A thread
//! begins with the one that the environment variable `FIELDMESH_MUTATION` names, if it names one, so that any
//! test can be run with a bug in it.
//!
//! Those of the merge have their places in `crdt-schema`, where `Flaw` stands for them. They are planted together with
//! ours, when the thread first asks for one of ours.
//!
//! This module does not know the places.

#[cfg(feature = "mutations")]
use crdt_schema::mutation::Flaw;

/// Declares the mutations: each with the name that plans and the environment use, and a sentence.
macro_rules! mutations {
    ($($variant:ident, $name:literal, $sentence:literal;)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutation {
            $(#[doc = $sentence] $variant,)+
        }

        impl Mutation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name in plans and in the environment.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What goes wrong, in a sentence without its full stop.
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$variant => $sentence,)+
                }
            }
        }
    };
}

mutations! {
    ReplyBeforeCommit, "reply_before_commit",
        "a write is answered with success before it is in the store";
    FrontierAhead, "frontier_ahead",
        "the store reports one entry more of a log than it has written";
    DuplicateRefused, "duplicate_refused",
        "entries that come a second time are taken for damage and their log is refused";
    AdditionTwice, "addition_twice",
        "an addition to a counter from a peer is counted twice when it comes in company";
    TombstoneDropped, "tombstone_dropped",
        "a delete that comes from a peer is left out of the document";
    WitnessIgnored, "witness_ignored",
        "a restored store goes on in its old logs and uses sequence numbers again";
    CommitsUncounted, "commits_uncounted",
        "transactions are not counted, so the witness takes an older store for the newest";
    OwnRollbackOverlooked, "own_rollback_overlooked",
        "a peer that shows more of our own log than we hold changes nothing";
    PeerRollbackOverlooked, "peer_rollback_overlooked",
        "a peer that holds less than it once said is not believed";
    AckBeforeCommit, "ack_before_commit",
        "entries are acknowledged when they are staged";
    AckTooMuch, "ack_too_much",
        "one entry more is acknowledged than is held";
    SentCountsAsHeld, "sent_counts_as_held",
        "what was sent to a peer counts as held by it";
    SyncedWithoutHub, "synced_without_hub",
        "a record held by any peer is shown as synced";
    SignatureUnchecked, "signature_unchecked",
        "the signature over a run is not verified";
    AuthorUnchecked, "author_unchecked",
        "a log is taken from a device that could not have named it";
    ForkUnseen, "fork_unseen",
        "two histories of one log that are equally long are taken for one";
    ChainUnlinked, "chain_unlinked",
        "an author's chain leaves out the entry before, so history can be changed";
    IdempotencyForgotten, "idempotency_forgotten",
        "a restart forgets which requests have succeeded";
    ReviewClosed, "review_closed",
        "a review that gains a candidate vanishes from the list";
    ResolutionReopened, "resolution_reopened",
        "an answer to a review does not say what it answers, so others see one more candidate";
    RightsUnchecked, "rights_unchecked",
        "an answer to a review is taken from any role";
    CausesCut, "causes_cut",
        "an edit names only one of the changes that it follows";
    EffectBeforeCause, "effect_before_cause",
        "entries are sent in the order of their logs and not of their arrival";
    HlcUnobserved, "hlc_unobserved",
        "the clock does not learn from entries of other devices";
    PushSkipped, "push_skipped",
        "what is committed while the store is read for a peer is not sent to it";
    ResumeFromEnd, "resume_from_end",
        "a session with a peer that lacks entries begins at the end of the arrival order";
    RefusalDropsRest, "refusal_drops_rest",
        "a refused log takes what follows it in the frame along";
    NewsIgnored, "news_ignored",
        "what a peer announces is never asked for";
    FailureSwallowed, "failure_swallowed",
        "a failed write of entries from a peer is reported as done";
    ViewStale, "view_stale",
        "what is shown of a record stays as it was when a peer edits it";
    TallyStale, "tally_stale",
        "the counts of a collection stay as they were when a record is deleted or restored";
    EditDropped, "edit_dropped",
        "of a write to several records the last edit is left out";
    AdditionInflated, "addition_inflated",
        "an author writes an addition twice as large as it was asked for";
    LogRestarted, "log_restarted",
        "a log that goes ahead of the order is sent from its first entry on";
    MarkRepeated, "mark_repeated",
        "a state that two devices have in common is told again and again";
    EqualSumsOnce, "equal_sums_once",
        "two devices that have added the same to a counter count once";
    RankBackwards, "rank_backwards",
        "of concurrent choices the one that is least far along wins";
    RacedDeleteUndone, "raced_delete_undone",
        "where deletions win, one that raced an edit is undone";
    AnswerHidesOthers, "answer_hides_others",
        "an answer closes the review of values that it had not seen";
    CascadeIgnored, "cascade_ignored",
        "a record stays when the one that it goes with is deleted";
    OffsetForgotten, "offset_forgotten",
        "a converted temperature lacks the offset between the scales";
}

impl Mutation {
    /// The mutation with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|mutation| mutation.name() == name)
    }

    /// The flaw that it is, if its place is in the merge.
    #[cfg(feature = "mutations")]
    fn flaw(self) -> Option<Flaw> {
        Some(match self {
            Self::EqualSumsOnce => Flaw::EqualSumsOnce,
            Self::RankBackwards => Flaw::RankBackwards,
            Self::RacedDeleteUndone => Flaw::RacedDeleteUndone,
            Self::AnswerHidesOthers => Flaw::AnswerHidesOthers,
            Self::CascadeIgnored => Flaw::CascadeIgnored,
            Self::OffsetForgotten => Flaw::OffsetForgotten,
            _ => return None,
        })
    }
}

/// Whether the bug is planted: never, in a build without the feature `mutations`.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub(crate) const fn is_planted(_: Mutation) -> bool {
    false
}

#[cfg(feature = "mutations")]
pub use planted::{plant, was_reached};

#[cfg(feature = "mutations")]
pub(crate) use planted::is_planted;

#[cfg(feature = "mutations")]
mod planted {
    use std::cell::Cell;

    use crdt_schema::mutation as merge;

    use super::Mutation;

    thread_local! {
        static PLANTED: Cell<Option<Mutation>> = Cell::new(from_environment());
        static IS_REACHED: Cell<bool> = const { Cell::new(false) };
    }

    /// A name that is none stops the test at once: it would pass for the wrong reason.
    fn from_environment() -> Option<Mutation> {
        let name = std::env::var("FIELDMESH_MUTATION").ok()?;
        let known = Mutation::by_name(&name);
        assert!(
            known.is_some(),
            "FIELDMESH_MUTATION names no mutation: {name}"
        );
        merge::plant(known.and_then(Mutation::flaw));
        known
    }

    /// Plants a bug in this thread, in the place of the one before; `None` takes it out.
    pub fn plant(mutation: Option<Mutation>) {
        PLANTED.set(mutation);
        IS_REACHED.set(false);
        merge::plant(mutation.and_then(Mutation::flaw));
    }

    /// Whether the place of the planted bug has been come to since it was planted.
    pub fn was_reached() -> bool {
        IS_REACHED.get() || merge::was_reached()
    }

    /// Whether the bug is planted.
    pub(crate) fn is_planted(mutation: Mutation) -> bool {
        let is_planted = PLANTED.get() == Some(mutation);
        if is_planted {
            IS_REACHED.set(true);
        }
        is_planted
    }
}

#[cfg(all(test, feature = "mutations"))]
mod caught_tests;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_mutation_has_a_name_and_a_sentence_of_its_own() {
        let names: BTreeSet<_> = Mutation::ALL.iter().map(|m| m.name()).collect();
        let sentences: BTreeSet<_> = Mutation::ALL.iter().map(|m| m.sentence()).collect();

        assert_eq!(names.len(), Mutation::ALL.len());
        assert_eq!(sentences.len(), Mutation::ALL.len());
        assert!(
            Mutation::ALL
                .iter()
                .all(|m| Mutation::by_name(m.name()) == Some(*m))
        );
        assert_eq!(Mutation::by_name("none"), None);
    }

    #[cfg(not(feature = "mutations"))]
    #[test]
    fn without_the_feature_nothing_is_planted() {
        assert!(Mutation::ALL.iter().all(|mutation| !is_planted(*mutation)));
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn one_bug_is_planted_at_a_time_and_notes_that_it_was_reached() {
        plant(Some(Mutation::AckTooMuch));
        assert!(!is_planted(Mutation::ViewStale) && !was_reached());
        assert!(is_planted(Mutation::AckTooMuch) && was_reached());

        plant(None);

        assert!(!is_planted(Mutation::AckTooMuch) && !was_reached());
    }
}
