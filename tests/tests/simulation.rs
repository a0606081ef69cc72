//! Worlds in virtual time: drawn at random, and scenes in which the process dies at each of its writes.
#![allow(missing_docs, clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use ssm_ready_tests::simulation::{
    fate::{Point, Side},
    play::play,
    scenes,
    soak::{self, Soak},
    world::World,
};

/// How many worlds are drawn; `SSM_READY_WORLDS` says otherwise, and `SSM_READY_SEED` where to begin. With
/// `SSM_READY_GO_ON=1` all that break a rule are told of, and none is made smaller.
const WORLDS: u64 = 5_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn every_world_keeps_the_rules_and_comes_to_rest() {
    let soak = match number("SSM_READY_WORLD") {
        Some(seed) => Soak { first: seed, worlds: Some(1), ..Soak::default() },
        None => Soak {
            first: number("SSM_READY_SEED").unwrap_or(1),
            worlds: Some(number("SSM_READY_WORLDS").unwrap_or(WORLDS)),
            goes_on: number("SSM_READY_GO_ON") == Some(1),
            ..Soak::default()
        },
    };
    match soak::run(&soak) {
        Ok(figures) => println!("{figures}"),
        Err(broken) => panic!("{broken}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_world_and_the_same_run() {
    for seed in 1..=20 {
        let world: World = soak::world(seed);
        let (first, end) = play(&world, None).unwrap();
        let (second, again) = play(&world, None).unwrap();
        assert_eq!(format!("{first:?}"), format!("{second:?}"), "seed {seed}");
        assert_eq!(end, again, "seed {seed}");
    }
}

#[test]
fn a_process_that_dies_at_any_write_leaves_no_trace() {
    let all: BTreeSet<(Point, Side)> =
        Point::all().into_iter().flat_map(|point| Side::BOTH.map(|side| (point, side))).collect();
    let covered: BTreeMap<(Point, Side), AtomicUsize> = all.iter().map(|p| (*p, AtomicUsize::new(0))).collect();
    let (runs, failures) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|threads| {
        for scene in scenes::all() {
            let (covered, runs, failures) = (&covered, &runs, &failures);
            threads.spawn(move || {
                let (figures, end) = match play(&scene.world, None) {
                    Ok(played) => played,
                    Err(broken) => {
                        failures.lock().unwrap().push(format!("{}: no death: {broken:?}", scene.name));
                        return;
                    }
                };
                for (number, point) in figures.points.iter().enumerate() {
                    for side in Side::BOTH {
                        let outcome = play(&scene.world, Some((number, side)));
                        runs.fetch_add(1, Ordering::Relaxed);
                        covered[&(*point, side)].fetch_add(1, Ordering::Relaxed);
                        let trouble = match outcome {
                            Ok((figures, _)) if figures.deaths == 0 => Some("it did not die".to_owned()),
                            Ok((_, after)) if after != end => {
                                Some(format!("another end: {}", difference(&end, &after)))
                            }
                            Ok(_) => None,
                            Err(broken) => Some(format!("{broken:?}")),
                        };
                        if let Some(trouble) = trouble {
                            let text = format!("{}: death {side:?} write {number}, {point}: {trouble}", scene.name);
                            failures.lock().unwrap().push(text);
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} runs:\n{}", failures.len(), runs.into_inner(), failures.join("\n"));
    let missing: Vec<String> = covered
        .iter()
        .filter(|(_, count)| count.load(Ordering::Relaxed) == 0)
        .map(|((point, side), _)| format!("{side:?} {point}"))
        .collect();
    println!("{} crash points of {}, {} runs", all.len() - missing.len(), all.len(), runs.into_inner());
    assert!(missing.is_empty(), "not covered by any scene: {missing:?}");
}

fn difference(end: &ssm_ready_tests::simulation::play::End, after: &ssm_ready_tests::simulation::play::End) -> String {
    let lines = |e: &ssm_ready_tests::simulation::play::End| -> BTreeSet<String> {
        e.aws.iter().chain(&e.kubernetes).cloned().collect()
    };
    let (end, after) = (lines(end), lines(after));
    let lost: Vec<&String> = end.difference(&after).collect();
    let new: Vec<&String> = after.difference(&end).collect();
    format!("\n  without the death {lost:#?}\n  with it {new:#?}")
}
