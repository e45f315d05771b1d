//! End-to-end tests: the built Worker in the real runtime.
//!
//! The main path runs in `cargo xtask dev`, which is `wrangler dev` with real local secrets. What
//! the local store cannot do (hang, throw, answer nonsense, count) runs in workerd with a store of
//! our own. Each runtime is started once.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "in a test, a panic is how a claim fails"
)]

#[cfg(feature = "rest-api")]
mod administration;
mod apis;
mod batch;
mod callers;
mod client;
mod clients;
mod credentials;
#[cfg(feature = "demo")]
mod demo;
mod dev;
#[cfg(feature = "template")]
mod docs;
mod failures;
mod memory;
mod page;
mod patterns;
mod proxy;
#[cfg(feature = "rest-api")]
mod rest;
#[cfg(feature = "rest-api")]
mod rotate;
mod routes;
#[cfg(feature = "rest-api")]
mod storm;
mod streams;
mod stubs;
mod upstream;
#[cfg(feature = "demo")]
#[cfg(feature = "rest-api")]
mod whole;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};
use xtask::{build, process, tools::Tools};

#[cfg(feature = "rest-api")]
use self::storm::Scene;
use self::{client::MARK, dev::Dev, stubs::Stubs, upstream::Upstream};

/// Everything that the tests share.
pub struct Stage {
    tools: Tools,
    upstream: Upstream,
    #[cfg(feature = "rest-api")]
    scene: Scene,
    stubs: Stubs,
    dev: Dev,
}

impl Stage {
    fn set_up() -> Self {
        let tools = Tools::ensure().unwrap();
        build::with(&tools).unwrap();
        let upstream = Upstream::start();
        #[cfg(feature = "rest-api")]
        let scene = Scene::set();
        let stubs = Stubs::start(
            &tools,
            &upstream,
            #[cfg(feature = "rest-api")]
            &scene,
        );
        let dev = Dev::start(&["--port", "0"]);
        Self {
            tools,
            upstream,
            #[cfg(feature = "rest-api")]
            scene,
            stubs,
            dev,
        }
    }
}

/// Lists tests by their path; a function that is in no list is dead code, which is an error.
macro_rules! trials {
    ($($(#[$only:meta])* $module:ident: $($test:ident),+;)+) => {
        fn trials(stage: &Option<Arc<Stage>>) -> Vec<Trial> {
            let mut trials = Vec::new();
            $($(#[$only])* {$(
                let stage_of_this = stage.clone();
                trials.push(Trial::test(
                    concat!(stringify!($module), "::", stringify!($test)),
                    move || {
                        $module::$test(stage_of_this.as_deref().ok_or("there is no stage")?);
                        Ok(())
                    },
                ));
            )+})+
            // A project that leaves the page out leaves these out.
            trials.retain(|it| cfg!(feature = "status-page") || !it.name().starts_with("page::"));
            trials
        }
    };
}

trials! {
    #[cfg(feature = "rest-api")]
    administration: nothing_but_the_operation_reaches_the_api,
        the_apis_answer_is_handed_back_as_it_is,
        an_api_that_fails_is_told_in_its_envelope,
        a_broken_setting_is_told_to_its_clients_in_full,
        the_rest_api_is_for_admins_of_its_account_alone,
        what_the_api_would_refuse_is_not_sent,
        every_operation_works_through_the_worker,
        a_whole_quota_of_secrets_goes_through_in_one_batch,
        wranglers_remote_commands_work_through_the_worker,
        the_official_sdk_works_through_the_worker;
    batch: a_batch_runs_its_requests_in_their_order_with_secrets_fetched_once,
        one_failure_in_a_batch_does_not_fail_the_others,
        a_batch_of_a_stranger_is_refused_as_a_whole,
        a_batch_for_a_public_upstream_needs_no_token,
        a_batch_that_is_malformed_or_too_large_is_refused,
        the_requests_of_a_batch_run_at_once,
        in_a_batch_a_token_admits_outside_alone_and_goes_on_nowhere,
        a_batch_knows_the_gateways_on_its_way,
        a_batch_follows_no_redirect_and_retries_a_refused_key,
        a_body_that_is_no_text_comes_back_as_base64,
        an_answer_in_a_batch_is_whole_however_long_it_is;
    callers: a_token_is_taken_in_each_of_the_four_ways_and_never_sent_on,
        no_token_a_wrong_one_and_an_empty_one_are_refused_alike,
        without_a_token_nothing_is_fetched,
        an_unauthenticated_caller_learns_nothing_about_credentials,
        either_of_two_tokens_admits_while_one_is_missing,
        the_tokens_of_several_callers_are_fetched_at_once,
        a_missing_or_empty_token_secret_admits_nobody,
        a_public_upstream_admits_anyone,
        the_log_names_the_callers_binding_and_never_its_token;
    clients: official_clients_for_node_work_through_the_worker,
        official_clients_for_python_work_through_the_worker,
        the_curl_lines_of_the_clients_page_answer_as_they_say,
        the_clients_page_names_the_versions_that_are_tried;
    credentials: each_credential_reaches_the_upstream_byte_for_byte,
        several_credentials_are_attached_together,
        the_callers_own_value_at_a_credentials_place_is_replaced,
        a_plain_worker_secret_works_under_the_same_name,
        a_binding_may_answer_without_a_promise,
        a_secret_in_the_query_does_not_come_back_in_a_redirect;
    #[cfg(feature = "demo")]
    demo: the_printed_curl_line_gets_the_upstreams_answer,
        a_value_changed_with_wrangler_is_used_by_the_next_request;
    dev: doctor_finds_nothing_wrong_in_the_store_that_dev_has_filled,
        each_request_is_one_readable_line,
        a_second_dev_finds_free_ports_and_ends_all_it_started,
        plain_npx_wrangler_works_after_the_first_run;
    #[cfg(feature = "template")]
    docs: the_lines_of_the_docs_do_as_they_say,
        the_upstream_of_the_readme_is_one_that_doctor_finds_right,
        every_message_that_settings_md_names_is_one_that_there_is,
        every_link_of_the_docs_leads_somewhere;
    failures: every_way_to_fail_answers_500_and_names_no_value,
        the_fallback_is_used_when_the_primary_fails,
        the_fallback_is_not_asked_for_while_the_primary_works,
        a_fallback_waits_for_no_other_secret,
        when_both_fail_the_log_tells_both,
        every_failed_binding_is_in_the_log,
        a_strangers_answer_does_not_wait_for_the_credentials,
        sixteen_secrets_are_fetched_in_one_wave,
        a_binding_is_fetched_once_for_a_request,
        a_changed_value_is_used_by_the_next_request,
        an_upstream_that_refuses_the_key_gets_the_fallback,
        what_cannot_be_sent_again_is_not,
        the_upstreams_refusal_is_handed_on_when_the_fallback_is_no_better;
    patterns: each_pattern_of_the_binding_api_runs_in_the_runtime,
        a_missing_secret_answers_500_in_the_example_too;
    page: a_browser_gets_the_page_and_others_json,
        it_asks_for_nothing_before_it_has_a_token,
        each_way_to_get_no_answer_is_told_in_words,
        every_binding_is_shown_with_its_state_and_what_mends_it,
        names_are_shown_as_text_whatever_is_in_them,
        a_refresh_shows_what_has_changed,
        the_token_is_kept_nowhere,
        it_works_by_keyboard_and_says_what_it_does,
        it_fits_a_phone_and_can_be_read_in_light_and_dark,
        its_pictures_are_taken;
    proxy: the_path_and_the_query_go_on_byte_for_byte,
        nothing_leaves_the_base_url,
        paths_and_methods_narrow_an_upstream,
        what_is_refused_anyway_fetches_no_credential,
        a_host_of_its_own_leads_to_its_upstream,
        headers_of_the_connection_and_the_gateway_are_not_sent_on,
        an_upstreams_answer_is_handed_back_as_it_is,
        an_answer_streams,
        an_upload_streams,
        an_answer_that_breaks_off_reaches_the_caller_as_broken,
        the_gateway_does_not_call_itself,
        a_caller_who_goes_away_ends_the_request_to_the_upstream,
        a_websocket_goes_through,
        an_upstream_that_is_unreachable_is_a_502,
        an_upstream_that_takes_too_long_is_a_504;
    #[cfg(feature = "rest-api")]
    rest: readyz_finds_every_binding_of_the_shipped_settings,
        the_second_printed_curl_line_creates_a_secret;
    #[cfg(feature = "rest-api")]
    rotate: no_request_fails_while_a_credential_is_rotated;
    routes: healthz_answers_anyone,
        an_unknown_route_or_upstream_is_a_404,
        a_wrong_method_is_a_405_that_says_what_is_allowed,
        a_request_id_is_taken_over_or_made,
        readyz_tells_each_bindings_state_to_admins_alone,
        a_broken_setting_is_told_to_the_log_with_its_path;
    #[cfg(feature = "rest-api")]
    storm: nothing_gets_out_and_nothing_breaks;
    streams: long_bodies_do_not_pass_through_wasm_memory,
        a_slow_reader_slows_the_writer_down;
    #[cfg(feature = "demo")]
    #[cfg(feature = "rest-api")]
    whole: readyz_tells_which_bindings_have_the_same_value,
        a_value_changed_over_rest_is_used_by_the_next_request,
        a_secret_that_is_created_and_deleted_over_rest_comes_and_goes,
        the_check_after_a_deployment_names_the_binding_that_cannot_be_had;
}

fn main() -> ExitCode {
    process::end_children_when_told_to_end();
    let arguments = Arguments::from_args();
    // The list needs no runtime.
    let stage = (!arguments.list).then(|| Arc::new(Stage::set_up()));
    let wants = |trial: &Trial| trial.name() != clients::OF_PYTHON || clients::wants_python();
    let trials = trials(&stage).into_iter().map(|trial| {
        let is_left_out = !wants(&trial);
        trial.with_ignored_flag(is_left_out)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    // After everything that the tests have done: each credential, the fallbacks, the batches, the
    // errors on the way.
    let mut leaks: Vec<String> = stage.iter().flat_map(|stage| leaks(stage)).collect();
    if !arguments.list && arguments.filter.is_none() {
        leaks.extend(stage.iter().flat_map(|stage| stage.stubs.residue()));
    }
    drop(stage);
    if !leaks.is_empty() {
        eprintln!("secrets got out:\n{}", leaks.join("\n"));
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// Lines of all logs with a secret in them.
fn leaks(stage: &Stage) -> Vec<String> {
    let lines = stage.stubs.lines().into_iter().chain(stage.dev.log());
    lines.filter(|line| line.contains(MARK) || line.contains("dev-only")).collect()
}
