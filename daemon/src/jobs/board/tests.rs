//! The board by itself, and under any order of events.

use std::sync::Arc;

use super::*;
use proptest::prelude::*;

use super::State::{Done, Expired, Failed, Queued, Running};

const LIMITS: Limits = Limits {
    workers: 2,
    queued: 4,
    queued_bytes: 100,
    run: Duration::from_secs(1),
    retention: Duration::from_secs(10),
    results: 3,
    result_bytes: 50,
};

fn id(number: u8) -> JobId {
    JobId::numbered(u128::from(number))
}

fn job(kind: Kind, priority: u8, held_bytes: usize) -> Submission<()> {
    Submission { kind, priority, owner: None, held_bytes, submitted_unix_ms: 0, work: () }
}

fn done(bytes: usize) -> End<()> {
    End::Done { result: Arc::new(()), bytes }
}

/// A board with jobs 1, 2, … of these priorities, all submitted at once.
fn board(limits: Limits, priorities: &[u8], now: Instant) -> Board<(), ()> {
    let mut board = Board::new(limits);
    for (priority, number) in priorities.iter().zip(1..) {
        board.submit(id(number), job(Kind::Relief, *priority, 1), now).unwrap();
    }
    board
}

fn begin(board: &mut Board<(), ()>, now: Instant) -> Option<JobId> {
    board.next(now).map(|begun| begun.id)
}

#[test]
fn the_most_urgent_is_next_and_among_equals_the_first() {
    let check = |priorities: &[u8], expected: &[u8]| {
        let now = Instant::now();
        let mut board = board(Limits { workers: 9, ..LIMITS }, priorities, now);
        let position = |number: u8| board.view(id(number), &None, now).unwrap().position.unwrap();
        let positions: Vec<_> = expected.iter().map(|number| position(*number)).collect();
        assert_eq!(positions, (1..=expected.len()).collect::<Vec<_>>(), "{priorities:?}");
        let order: Vec<_> = std::iter::from_fn(|| begin(&mut board, now)).collect();
        assert_eq!(order, expected.iter().map(|number| id(*number)).collect::<Vec<_>>(), "{priorities:?}");
    };
    check(&[], &[]);
    check(&[5, 5, 5], &[1, 2, 3]);
    check(&[5, 1, 9, 1], &[2, 4, 1, 3]);
}

#[test]
fn what_finds_no_room_is_refused() {
    let now = Instant::now();
    let mut full = board(LIMITS, &[5, 5, 5, 5], now);
    assert!(matches!(full.room(0, now), Err(Refused::Full { queued: 4, .. })));
    assert!(begin(&mut full, now).is_some() && full.room(0, now).is_ok());
    assert_eq!(full.room(101, now), Err(Refused::TooLarge { wanted_bytes: 101, total_bytes: 100 }));
    assert!(matches!(full.room(98, now), Err(Refused::NoRoom { held_bytes: 3, .. })));
    full.stop(&Failure { status: 503, message: String::new() }, now);
    assert_eq!(full.room(0, now), Err(Refused::Stopping));
    let view = |number| full.view(id(number), &None, now).unwrap();
    assert_eq!((view(1).state, view(2).state, full.queued()), (Running, Failed, 0));
}

/// Two workers; what runs has run for 1 s of about 4.
#[test]
fn the_wait_is_estimated_from_what_jobs_took() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut board = board(Limits { retention: Duration::from_secs(1000), ..LIMITS }, &[5, 5, 5, 5], start);
    assert_eq!(board.view(id(1), &None, start).unwrap().estimated_wait, Some(Duration::ZERO));
    assert_eq!(board.view(id(2), &None, start).unwrap().estimated_wait, None, "nothing was measured yet");
    begin(&mut board, start);
    assert_eq!(board.end(id(1), done(1), at(4)), Some((Kind::Relief, Done, Duration::from_secs(4))));
    begin(&mut board, at(4));
    begin(&mut board, at(4));
    let wait = |board: &Board<(), ()>| board.view(id(4), &None, at(5)).unwrap().estimated_wait;
    assert_eq!(wait(&board), Some(Duration::from_secs(3)));
    board.submit(id(5), job(Kind::MeshRepair, 1, 1), at(5)).unwrap();
    assert_eq!(wait(&board), Some(Duration::from_secs(3)), "one before it goes to the one worker, it to the other");
    board.submit(id(6), job(Kind::MeshRepair, 1, 1), at(5)).unwrap();
    assert_eq!(wait(&board), Some(Duration::from_secs(7)));
}

/// Ends jobs with these bytes a second after the other, and expects the states at a time.
#[track_caller]
fn check_kept(limits: Limits, start: Instant, bytes: &[usize], look_at_s: u64, expected: &[State]) {
    let mut board = board(limits, &vec![5; bytes.len()], start);
    while begin(&mut board, start).is_some() {}
    for (bytes, number) in bytes.iter().zip(1..) {
        board.end(id(number), done(*bytes), start + Duration::from_secs(u64::from(number)));
    }
    let now = start + Duration::from_secs(look_at_s);
    board.sweep(now);
    let states: Vec<_> =
        (1..).zip(bytes).map(|(number, _)| board.view(id(number), &None, now).unwrap().state).collect();
    assert_eq!(states, expected, "{bytes:?} at {look_at_s} s");
    let kept = bytes.iter().zip(&states).filter(|(_, state)| **state == Done).map(|(bytes, _)| bytes);
    assert_eq!(board.kept_bytes(), kept.sum::<usize>());
}

#[test]
fn outcomes_are_kept_within_limits() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let limits = Limits { workers: 9, ..LIMITS };
    check_kept(limits, start, &[1, 1, 1], 10, &[Done, Done, Done]);
    check_kept(limits, start, &[1, 1, 1], 12, &[Expired, Expired, Done]);
    check_kept(limits, start, &[1, 1, 1, 1], 5, &[Expired, Done, Done, Done]);
    check_kept(limits, start, &[30, 20, 1], 5, &[Expired, Done, Done]);
    check_kept(limits, start, &[1, 51], 5, &[Done, Failed]);
    let mut gone = board(limits, &[5], start);
    begin(&mut gone, start);
    gone.end(id(1), done(1), start);
    gone.sweep(at(10));
    assert_eq!(gone.cancel(id(1), &None, at(10)), Some(Cancelling::TooLate(Expired)));
}

#[test]
fn whoever_cancels_frees_a_place() {
    let now = Instant::now();
    let mut board = board(LIMITS, &[5, 5, 5, 5], now);
    begin(&mut board, now);
    assert_eq!(board.cancel(id(2), &None, now), Some(Cancelling::Now { ran: false }));
    assert_eq!(board.cancel(id(1), &None, now), Some(Cancelling::Now { ran: true }));
    assert_eq!((board.queued(), board.running()), (2, 0));
    assert_eq!(board.cancel(id(1), &None, now), Some(Cancelling::Before));
    assert_eq!(board.end(id(1), done(1), now), None, "its result comes too late");
    assert_eq!(board.cancel(id(9), &None, now), None);
}

#[test]
fn a_job_is_its_owners() {
    let now = Instant::now();
    let (one, other) = (Some([1; 32]), Some([2; 32]));
    let mut board: Board<(), ()> = Board::new(LIMITS);
    for (number, owner) in [(1, one), (2, None), (3, one)] {
        board.submit(id(number), Submission { owner, ..job(Kind::Relief, 5, 1) }, now).unwrap();
    }
    assert!(board.view(id(1), &one, now).is_some() && board.view(id(2), &one, now).is_some());
    assert!(board.view(id(1), &other, now).is_none() && board.view(id(1), &None, now).is_none());
    assert_eq!(board.cancel(id(1), &other, now), None);
    assert_eq!(board.list(&one, None, 9), Some((vec![id(3), id(1)], false)));
    assert_eq!(board.list(&one, None, 1), Some((vec![id(3)], true)));
    assert_eq!(board.list(&one, Some(id(3)), 1), Some((vec![id(1)], false)));
    assert_eq!(board.list(&other, Some(id(3)), 1), None);
    assert_eq!(board.list(&None, None, 9), Some((vec![id(2)], false)));
}

#[test]
fn what_happened_is_told_once_and_in_order() {
    let now = Instant::now();
    let mut board = board(LIMITS, &[5], now);
    begin(&mut board, now);
    let step = Step { name: "prepare", done: 0, of: 3 };
    assert!(board.step(id(1), step, now));
    board.end(id(1), done(1), now);
    assert!(!board.step(id(1), step, now), "it does not run any more");
    let (state, changes) = board.changes(id(1), &None, 0).unwrap();
    let told: Vec<_> = changes.iter().map(|change| (change.state, change.step.is_some())).collect();
    assert_eq!((state, told), (Done, vec![(Queued, false), (Running, false), (Running, true), (Done, false)]));
    assert_eq!(board.changes(id(1), &None, 3).unwrap().1, changes[3..]);
    assert_eq!(board.changes(id(1), &None, 9).unwrap().1, []);
}

proptest! {
    /// Whatever happens in whatever order: the limits hold, every job is in one state, and what is counted is there.
    #[test]
    fn limits_hold(steps in proptest::collection::vec((0..6_u8, 0..20_u8, 0..60_usize), 0..120)) {
        let (mut board, mut now, mut came) = (Board::new(LIMITS), Instant::now(), 0_u8);
        for (what, number, size) in steps {
            let which = id(number % came.max(1) + 1);
            match what {
                0 | 1 if came < 250 => {
                    let taken = board.submit(id(came + 1), job(Kind::ALL[size % 3], number % 9 + 1, size), now);
                    came += u8::from(taken.is_ok());
                }
                2 => drop(board.next(now)),
                3 => drop(board.end(which, done(size), now)),
                4 => drop(board.cancel(which, &None, now)),
                _ => now += Duration::from_secs(size as u64 / 10),
            }
            board.sweep(now);
            let views: Vec<_> = (1..=came).filter_map(|number| board.view(id(number), &None, now)).collect();
            prop_assert_eq!(views.len(), usize::from(came), "none is lost");
            let count = |state| views.iter().filter(|view| view.state == state).count();
            prop_assert_eq!((count(Queued), count(Running)), (board.queued(), board.running()));
            prop_assert!(board.queued() <= LIMITS.queued && board.running() <= LIMITS.workers);
            prop_assert!(count(Done) + count(Failed) + count(State::Cancelled) <= LIMITS.results);
            let bytes: usize = views.iter().filter_map(|view| match &view.end {
                Some(End::Done { bytes, .. }) => Some(*bytes),
                _ => None,
            }).sum();
            prop_assert_eq!(bytes, board.kept_bytes());
            prop_assert!(bytes <= LIMITS.result_bytes);
            let mut positions: Vec<_> = views.iter().filter_map(|view| view.position).collect();
            positions.sort_unstable();
            prop_assert_eq!(positions, (1..=board.queued()).collect::<Vec<_>>());
        }
    }
}
