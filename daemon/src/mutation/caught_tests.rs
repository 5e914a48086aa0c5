//! Each mutation breaks a test that passes without it: its place is reached, and somebody watches.
//!
//! The tests named here are run one by one in a process of their own with the bug planted.

use std::process::Command;

use super::Mutation;

/// The mutation, and a test that fails with it.
const CAUGHT_BY: &[(Mutation, &str)] = &[
    (
        Mutation::ReplyBeforeCommit,
        "engine::tests::spreading::nothing_leaves_before_it_is_durable",
    ),
    (
        Mutation::FrontierAhead,
        "engine::tests::damage::a_fork_is_seen_in_the_opening_and_other_logs_go_on",
    ),
    (
        Mutation::DuplicateRefused,
        "engine::tests::spreading::entries_that_come_twice_are_written_once",
    ),
    (
        Mutation::AdditionTwice,
        "store::tests::remote::entries_that_are_held_already_are_skipped",
    ),
    (
        Mutation::TombstoneDropped,
        "store::tests::remote::two_stores_converge_on_records_tallies_and_lives",
    ),
    (
        Mutation::WitnessIgnored,
        "store::tests::records::a_new_incarnation_writes_a_new_log",
    ),
    (
        Mutation::CommitsUncounted,
        "store::tests::promises::every_transaction_is_counted_for_the_witness",
    ),
    (
        Mutation::OwnRollbackOverlooked,
        "engine::tests::damage::a_store_that_went_back_in_time_begins_a_new_log_and_gets_its_entries_back",
    ),
    (
        Mutation::PeerRollbackOverlooked,
        "engine::tests::spreading::a_peer_that_lost_its_store_gets_everything_again",
    ),
    (
        Mutation::AckBeforeCommit,
        "engine::tests::spreading::a_peer_that_lost_its_store_gets_everything_again",
    ),
    (
        Mutation::AckTooMuch,
        "engine::tests::spreading::entries_that_come_twice_are_written_once",
    ),
    (
        Mutation::SentCountsAsHeld,
        "engine::tests::spreading::a_peer_that_lost_its_store_gets_everything_again",
    ),
    (
        Mutation::SyncedWithoutHub,
        "engine::tests::spreading::what_is_known_of_a_peer_survives_a_restart",
    ),
    (
        Mutation::SignatureUnchecked,
        "engine::tests::damage::what_an_author_should_not_have_signed_is_refused",
    ),
    (
        Mutation::AuthorUnchecked,
        "engine::tests::damage::a_log_begun_under_anothers_id_is_not_taken_and_the_true_one_still_is",
    ),
    (
        Mutation::ForkUnseen,
        "engine::tests::damage::a_fork_is_seen_in_the_opening_and_other_logs_go_on",
    ),
    (
        Mutation::ChainUnlinked,
        "store::tests::log::single_edits_do_not_leave_a_signature_each",
    ),
    (
        Mutation::IdempotencyForgotten,
        "store::tests::promises::a_request_that_succeeded_is_remembered_over_a_restart",
    ),
    (
        Mutation::ReviewClosed,
        "store::tests::promises::a_review_that_gains_a_candidate_stays_in_the_list",
    ),
    (
        Mutation::ResolutionReopened,
        "store::tests::records::reviews_are_the_same_everywhere_and_end_with_their_answer",
    ),
    (
        Mutation::CausesCut,
        "store::tests::promises::an_edit_names_every_change_that_it_follows",
    ),
    (
        Mutation::EffectBeforeCause,
        "engine::tests::spreading::devices_that_meet_in_pairs_over_days_all_end_alike",
    ),
    (
        Mutation::HlcUnobserved,
        "engine::tests::spreading::a_clock_far_ahead_makes_its_device_suspect_and_is_not_followed",
    ),
    (
        Mutation::PushSkipped,
        "engine::lanes::tests::a_commit_during_a_fetch_is_still_sent_after_it",
    ),
    (
        Mutation::ResumeFromEnd,
        "engine::tests::opening::commits_during_the_opening_are_not_lost",
    ),
    (
        Mutation::RefusalDropsRest,
        "engine::tests::damage::a_branch_that_does_not_follow_our_chain_is_refused_and_so_is_what_depends_on_it",
    ),
    (
        Mutation::NewsIgnored,
        "engine::tests::opening::commits_during_the_opening_are_not_lost",
    ),
    (
        Mutation::FailureSwallowed,
        "store::tests::faults::a_full_disk_refuses_writes_serves_reads_and_needs_no_restart",
    ),
    (
        Mutation::ViewStale,
        "store::tests::faults::a_damaged_document_is_named_and_rebuilt_from_the_log",
    ),
    (
        Mutation::TallyStale,
        "store::tests::remote::two_stores_converge_on_records_tallies_and_lives",
    ),
    (
        Mutation::EditDropped,
        "store::tests::promises::a_write_to_several_records_says_what_was_asked_for_and_nothing_else",
    ),
    (
        Mutation::AdditionInflated,
        "store::tests::promises::a_write_to_several_records_says_what_was_asked_for_and_nothing_else",
    ),
    (
        Mutation::LogRestarted,
        "store::tests::walks::a_log_goes_ahead_as_far_as_its_causes_are_known",
    ),
    (
        Mutation::MarkRepeated,
        "engine::tests::checkpoints::two_that_hold_the_same_fall_silent",
    ),
    (
        Mutation::EqualSumsOnce,
        "store::tests::merges::equal_additions_of_two_devices_are_both_counted",
    ),
    (
        Mutation::RankBackwards,
        "store::tests::merges::of_concurrent_choices_the_one_that_is_furthest_along_is_shown",
    ),
    (
        Mutation::RacedDeleteUndone,
        "store::tests::merges::where_deletions_win_a_raced_one_stands",
    ),
    (
        Mutation::AnswerHidesOthers,
        "store::tests::merges::an_answer_does_not_speak_for_a_value_that_it_had_not_seen",
    ),
    (
        Mutation::CascadeIgnored,
        "store::tests::goes_with::a_record_that_is_deleted_with_another_is_not_restored_without_it",
    ),
    (
        Mutation::OffsetForgotten,
        "store::tests::merges::a_temperature_is_read_in_the_unit_of_the_version_in_use",
    ),
];

#[test]
fn every_mutation_is_caught_by_a_test_that_passes_without_it() {
    for mutation in Mutation::ALL {
        let (_, test) = CAUGHT_BY
            .iter()
            .find(|(caught, _)| caught == mutation)
            .unwrap_or_else(|| panic!("no test is named that catches {}", mutation.name()));

        let (is_good, words) = run(test, None);
        assert!(
            is_good && words.contains("1 passed"),
            "{test} without a bug: {words}"
        );
        let (is_good, words) = run(test, Some(*mutation));
        let name = mutation.name();
        assert!(
            !is_good && words.contains("1 failed"),
            "{test} with {name}: {words}"
        );
    }
}

/// Runs one test. Returns whether it passed, and what was printed.
fn run(test: &str, mutation: Option<Mutation>) -> (bool, String) {
    let program = std::env::current_exe().expect("a test knows its program");
    let mut command = Command::new(program);
    command
        .args(["--exact", test])
        .env_remove("FIELDMESH_MUTATION");
    if let Some(mutation) = mutation {
        command.env("FIELDMESH_MUTATION", mutation.name());
    }
    let output = command.output().expect("the test runs");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), words)
}
