use super::*;
use crate::measurement::StaleTiles;

fn budget(text: &str) -> Budget {
    text.parse().expect("a budget")
}

fn error(text: &str) -> String {
    text.parse::<Budget>().expect_err("no budget").to_string()
}

fn workload(name: &str) -> WorkloadResult {
    WorkloadResult { name: name.to_owned(), duration_ms: 840.0, ..WorkloadResult::default() }
}

fn only_check(budget: &Budget, workload: &WorkloadResult) -> Check {
    let mut checks = budget.evaluate_one(workload);
    assert_eq!(checks.len(), 1, "{checks:?}");
    checks.remove(0)
}

#[test]
fn broken_budget_names_workload_value_and_limit() {
    let idle = WorkloadResult { dirt_messages: 20, ..workload("idle") };
    let check = only_check(&budget("[workload.idle]\nmax_dirt_per_s = 6"), &idle);
    assert_eq!(check.name, "idle.max_dirt_per_s");
    assert!(!check.passed);
    assert_eq!(check.detail, "idle: 20 DIRT/s, limit is 6");
}

#[test]
fn value_at_its_limit_keeps_it_and_one_just_above_does_not() {
    let budget = budget("[default]\nmax_over_declaration = 1.5");
    let mut workload = WorkloadResult { declared_px: 15, changed_px: Some(10), ..workload("box") };
    assert!(only_check(&budget, &workload).passed);
    workload.declared_px = 16;
    let check = only_check(&budget, &workload);
    assert!(!check.passed);
    assert_eq!(check.detail, "box: 1.60 px declared for each px changed, limit is 1.50");
}

#[test]
fn declaration_without_any_change_breaks_every_ratio() {
    let workload = WorkloadResult { declared_px: 1, changed_px: Some(0), ..workload("idle") };
    let check = only_check(&budget("[default]\nmax_over_declaration = 1000000"), &workload);
    assert!(!check.passed);
    assert!(check.detail.starts_with("idle: infinitely many px declared"), "{}", check.detail);
}

#[test]
fn unmeasured_quantity_with_a_limit_fails() {
    for key in ["max_missed_px", "max_ring_full", "max_stale_tiles", "max_exits_user_per_dirt"] {
        let check = only_check(&budget(&format!("[default]\n{key} = 0")), &workload("box"));
        assert!(!check.passed && check.detail.contains("not measured, limit is 0"), "{}", check.detail);
    }
}

#[test]
fn without_an_oracle_only_its_limits_go() {
    let budget = budget("[default]\nmax_missed_px = 0\nmax_dirt_per_s = 21").without_oracle();
    assert_eq!((budget.limit("box", "missed_px"), budget.limit("box", "dirt_per_s")), (None, Some(21.0)));
}

#[test]
fn limit_of_a_workload_wins_over_the_default() {
    let budget =
        budget("[default]\nmax_stale_tiles = 0\nmax_dirt_in_1s = 42\n[workload.idle]\nmax_dirt_in_1s = 0");
    assert_eq!(
        (budget.limit("idle", "dirt_in_1s"), budget.limit("box", "dirt_in_1s")),
        (Some(0.0), Some(42.0))
    );
    assert_eq!(budget.limit("idle", "stale_tiles"), Some(0.0));
    assert_eq!(budget.workloads().collect::<Vec<_>>(), ["idle"]);
}

#[test]
fn program_keeps_the_limits_of_exec_unless_it_has_its_own() {
    let budget = budget("[workload.exec]\nmax_dirt_in_1s = 1\n[workload.\"exec:b\"]\nmax_dirt_in_1s = 2");
    assert_eq!(budget.limit("exec:/bin/a", "dirt_in_1s"), Some(1.0));
    assert_eq!(budget.limit("exec:b", "dirt_in_1s"), Some(2.0));
}

#[test]
fn limit_of_none_lifts_the_default() {
    let budget = budget("[default]\nmax_stale_tiles = 0\n[workload.write]\nmax_stale_tiles = \"none\"");
    assert_eq!((budget.limit("write", "stale_tiles"), budget.limit("box", "stale_tiles")), (None, Some(0.0)));
}

#[test]
fn workload_that_was_not_run_is_judged_only_where_the_budget_names_it() {
    let not_run = WorkloadResult { not_run: Some("no mapping".into()), ..workload("mmap") };
    assert_eq!(budget("[default]\nmax_missed_px = 0").evaluate_one(&not_run), []);
    let check = only_check(&budget("[workload.mmap]\nmax_missed_px = 0"), &not_run);
    assert!(!check.passed && check.detail.ends_with("was not run: no mapping"), "{}", check.detail);
}

#[test]
fn stale_tiles_are_counted_where_they_were_compared() {
    let stale = StaleTiles { tile_px: 32, compared: 768, differing: 2, first: vec![(0, 0), (1, 0)] };
    let check = only_check(
        &budget("[default]\nmax_stale_tiles = 0"),
        &WorkloadResult { stale: Some(stale), ..workload("box") },
    );
    assert_eq!(check.detail, "box: 2 stale tiles, limit is 0");
}

#[test]
fn unknown_key_is_told_with_its_line_and_the_known_ones() {
    let error = error("# budget\n\n[workload.idle]\nmax_dirt_per_s = 1\nmax_dirt_per_min = 1\n");
    assert!(
        error.starts_with("line 5: unknown key \"max_dirt_per_min\", known keys: max_dirt_messages, "),
        "{error}"
    );
}

#[test]
fn limit_that_is_no_number_is_told_with_its_line() {
    for value in ["\"6\"", "-1", "true", "nan", "inf", "[6]"] {
        let error = error(&format!("[default]\nmax_dirt_per_s = {value}\n"));
        assert!(
            error.starts_with("line 2: max_dirt_per_s is ")
                && error.ends_with("number from 0 on, or \"none\""),
            "{error}"
        );
    }
}

#[test]
fn unknown_table_and_broken_toml_are_told_with_their_line() {
    for (text, word) in [
        ("[default]\n[workloads.idle]\nmax_dirt_per_s = 1", "workloads"),
        ("[default]\nmax_dirt_per_s = ", "line 2"),
        ("[default]\nmax_dirt_per_s = 1\nmax_dirt_per_s = 2", "duplicate"),
        ("max_dirt_per_s = 1", "max_dirt_per_s"),
    ] {
        let error = error(text);
        assert!(error.contains(word) && error.contains("line "), "{error}");
    }
}

#[test]
fn endless_budget_is_refused() {
    assert!(error(&"#\n".repeat(200_000)).contains("400000 bytes, limit is 262144"));
}

#[test]
fn budget_without_a_limit_judges_nothing() {
    assert_eq!(budget("").evaluate_one(&workload("box")), []);
}
