//! What is said of a block besides its bytes: links, and where faults lead.

use iced_x86::code_asm::{
    CodeAssembler, CodeLabel, byte_ptr, cx, qword_ptr, r11, r11w, rax, rbx, rcx, rdx, rsp,
};

use super::{ADJUST, AT, Claims, PLACES, check_claims, frame, look, test_rcx};
use crate::{emit::Owner, faults::Faults};

/// A comparison of 9 bytes, a branch of 6, a load of 5; then an addition of 3.
fn load(a: &mut CodeAssembler, cold: CodeLabel) {
    look(a, cold);
    a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    a.add(rax, rdx).unwrap();
}

#[test]
fn links_are_distances_of_branches() {
    // Of the branch at 9 and of the jump at its end.
    let rows: &[(u64, bool)] = &[
        (11, true),
        (34, true),
        (0, false),
        (9, false),
        (10, false),
        (12, false),
        // The displacement of the load, its end, and the immediate of the exit.
        (16, false),
        (19, false),
        (29, false),
        (33, false),
        (38, false),
        (u64::MAX - AT + 1, false),
    ];
    let faults = Faults::new(vec![(0, 0)], vec![(0, Owner::of(0))]);
    for (offset, is_fine) in rows {
        let links = [AT.wrapping_add(*offset)];
        let claims = Claims { entries: &[0], links: &links, guesses: &[], faults: &faults };
        let expected = is_fine.then_some(()).ok_or("a link is not the distance of a branch");
        assert_eq!(check_claims(&claims, load), expected, "{offset}");
    }
}

#[test]
fn a_short_branch_is_no_link() {
    let faults = Faults::new(vec![(0, 0)], vec![(0, Owner::of(0))]);
    let program = |a: &mut CodeAssembler, _: CodeLabel| {
        let mut next = a.create_label();
        a.add(rax, rdx).unwrap();
        a.jrcxz(next).unwrap();
        a.set_label(&mut next).unwrap();
        a.add(rax, rdx).unwrap();
    };
    for offset in 0..8 {
        let links = [AT + offset];
        let claims = Claims { entries: &[0], links: &links, guesses: &[], faults: &faults };
        let result = check_claims(&claims, program);
        assert_eq!(result, Err("a link is not the distance of a branch"), "{offset}");
    }
}

#[test]
fn a_guess_is_a_constant_for_rcx() {
    let guess = |a: &mut CodeAssembler, _: CodeLabel| {
        let mut hit = a.create_label();
        a.mov(rcx, 0xffff_f800_0000_1000_u64).unwrap();
        a.lea(rcx, qword_ptr(rcx + r11)).unwrap();
        a.jrcxz(hit).unwrap();
        a.mov(rdx, 0xffff_f800_0000_1000_u64).unwrap();
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(cx, r11w).unwrap();
        a.jmp(qword_ptr(rcx * 8)).unwrap();
        a.set_label(&mut hit).unwrap();
        a.add(rax, rdx).unwrap();
    };
    let faults = Faults::new(vec![(0, 0)], vec![(0, Owner::of(0))]);
    // The first has 10 bytes; 4 and 2 come behind it. Neither the constant of another register nor
    // that of the table may be any other, and a part of an instruction must not.
    for offset in 0..50 {
        let claims = Claims { entries: &[0], links: &[], guesses: &[AT + offset], faults: &faults };
        let expected = (offset == 2).then_some(()).ok_or("a guess is not a constant for rcx");
        assert_eq!(check_claims(&claims, guess), expected, "{offset}");
    }
}

/// Checks a program whose faults lead to these offsets, by the offsets of host instructions.
fn check_faults(
    starts: &[u32],
    owners: &[(u32, Owner)],
    program: impl FnOnce(&mut CodeAssembler, CodeLabel),
) -> Result<(), &'static str> {
    let starts = starts.iter().map(|offset| (0, *offset)).collect();
    let faults = Faults::new(starts, owners.to_vec());
    check_claims(&Claims { entries: &[0], links: &[], guesses: &[], faults: &faults }, program)
}

const NOWHERE: Result<(), &str> = Err("a fault leads to no instruction");
const UNPROVED: Result<(), &str> = Err("guest memory without a check");

#[test]
fn faults_lead_to_instructions() {
    let owner = Owner::of;
    assert_eq!(check_faults(&[0], &[(0, owner(0))], load), Ok(()));
    assert_eq!(check_faults(&[], &[], load), NOWHERE);
    assert_eq!(check_faults(&[0], &[], load), NOWHERE);
    assert_eq!(check_faults(&[0], &[(1, owner(0))], load), NOWHERE);
    assert_eq!(check_faults(&[0], &[(0, owner(1))], load), NOWHERE);
    assert_eq!(check_faults(&[1], &[(0, owner(0))], load), NOWHERE);
    assert_eq!(check_faults(&[16], &[(0, owner(0))], load), NOWHERE);
    assert_eq!(check_faults(&[0x1000], &[(0, owner(0))], load), NOWHERE);
    // Elsewhere nothing is asked: nothing else goes on after a fault.
    assert_eq!(check_faults(&[0, 1], &[(0, owner(0)), (20, owner(1))], load), Ok(()));
}

#[test]
fn a_fault_proves_where_it_leads_no_more_than_where_it_was() {
    let owner = Owner::of;
    // The comparison leads behind itself.
    assert_eq!(check_faults(&[15], &[(0, owner(0))], load), UNPROVED);
    // The load leads to itself, or to the branch, where it is proved.
    let itself = [(0, owner(0)), (15, owner(1))];
    assert_eq!(check_faults(&[0, 15], &itself, load), Ok(()));
    // The second load, by other values, leads to the first: 9 + 6 + 5 + 3 + 9 + 6 bytes.
    let two = |a: &mut CodeAssembler, cold: CodeLabel| {
        load(a, cold);
        a.mov(rbx, rax).unwrap();
        a.cmp(byte_ptr(rbx + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.mov(byte_ptr(rbx).gs(), iced_x86::code_asm::al).unwrap();
    };
    let apart = [(0, owner(0)), (26, owner(1))];
    assert_eq!(check_faults(&[0, 26], &apart, two), Ok(()));
    assert_eq!(check_faults(&[0, 0], &apart, two), Ok(()));
    assert_eq!(check_faults(&[0, 15], &apart, two), UNPROVED);
}

#[test]
fn registers_that_are_given_back_are_others() {
    let with = |borrowed| Owner { borrowed, ..Owner::of(1) };
    let result = |second| check_faults(&[0, 15], &[(0, Owner::of(0)), (15, second)], load);
    assert_eq!(result(with(None)), Ok(()));
    assert_eq!(result(with(Some(0))), Ok(()));
    assert_eq!(result(with(Some(3))), UNPROVED, "rbx");
    assert_eq!(result(with(Some(200))), Ok(()), "none");
    assert_eq!(result(Owner { has_rcx: true, ..Owner::of(1) }), Ok(()));
    let by_rcx = |a: &mut CodeAssembler, cold: CodeLabel| {
        a.cmp(qword_ptr(rcx + 16 + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rcx + 16).gs()).unwrap();
    };
    let rcx_back = Owner { has_rcx: true, ..Owner::of(1) };
    let owners = [(0, Owner::of(0)), (15, rcx_back)];
    assert_eq!(check_faults(&[0, 15], &owners, by_rcx), UNPROVED);
}

#[test]
fn rcx_is_given_back_as_it_is_around_a_comparison_that_keeps_flags() {
    let program = |a: &mut CodeAssembler, cold: CodeLabel| {
        a.cmp(qword_ptr(rcx + 16 + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        let mut fine = a.create_label();
        a.mov(qword_ptr(PLACES.borrowed_rcx()), rcx).unwrap();
        a.mov(rcx, qword_ptr(rbx + ADJUST).fs()).unwrap();
        a.jrcxz(fine).unwrap();
        a.jmp(cold).unwrap();
        a.set_label(&mut fine).unwrap();
        a.mov(rcx, qword_ptr(PLACES.borrowed_rcx())).unwrap();
        a.mov(rax, qword_ptr(rcx + 16).gs()).unwrap();
        a.mov(rdx, qword_ptr(rbx).gs()).unwrap();
    };
    let rcx_back = Owner { has_rcx: true, ..Owner::of(1) };
    // The load of states has 9 bytes; it stands behind 9, 6 and 7.
    let owners = [(0, Owner::of(0)), (15, Owner::of(1)), (22, rcx_back), (31, Owner::of(1))];
    assert_eq!(check_faults(&[0, 15], &owners, program), Ok(()));
    // Another register is not.
    let other = Owner { borrowed: Some(1), ..Owner::of(1) };
    let owners = [(0, Owner::of(0)), (15, Owner::of(1)), (22, other), (31, Owner::of(1))];
    assert_eq!(check_faults(&[0, 15], &owners, program), UNPROVED);
}

/// A call whose target was looked at before its instruction, by rcx, which is put away behind.
fn call_by_rcx(a: &mut CodeAssembler, cold: CodeLabel, between: fn(&mut CodeAssembler)) {
    a.cmp(qword_ptr(rcx + 16 + ADJUST).fs(), 0).unwrap();
    a.jne(cold).unwrap();
    a.mov(qword_ptr(PLACES.borrowed()), r11).unwrap();
    a.mov(r11, qword_ptr(rcx + 16).gs()).unwrap();
    between(a);
    a.mov(qword_ptr(PLACES.borrowed_rcx()), rcx).unwrap();
    a.mov(rcx, qword_ptr(rsp - 8 + ADJUST).fs()).unwrap();
    test_rcx(a, cold);
    a.mov(qword_ptr(rsp - 8).gs(), r11).unwrap();
}

#[test]
fn a_register_that_was_put_away_comes_back_with_what_was_known() {
    // Behind 9 and 6 bytes; 7 put r11 away, 5 load the target, 7 put rcx away.
    let borrowed = Owner { borrowed: Some(11), ..Owner::of(1) };
    let both = Owner { has_rcx: true, ..borrowed };
    let owners = [(0, Owner::of(0)), (15, Owner::of(1)), (22, borrowed), (34, both)];
    let program = |a: &mut CodeAssembler, cold: CodeLabel| call_by_rcx(a, cold, |_| {});
    assert_eq!(check_faults(&[0, 15], &owners, program), Ok(()));
    // It has changed before.
    let changed = |a: &mut CodeAssembler, cold: CodeLabel| {
        call_by_rcx(a, cold, |a| a.add(rcx, 8).unwrap());
    };
    let later = [(0, Owner::of(0)), (15, Owner::of(1)), (22, borrowed), (38, both)];
    assert_eq!(check_faults(&[0, 15], &later, changed), UNPROVED);
    // Another one is in the field.
    let replaced = |a: &mut CodeAssembler, cold: CodeLabel| {
        call_by_rcx(a, cold, |_| {});
        a.mov(qword_ptr(PLACES.borrowed_rcx()), rdx).unwrap();
        a.mov(qword_ptr(rsp - 8).gs(), r11).unwrap();
    };
    assert_eq!(check_faults(&[0, 15], &owners, replaced), UNPROVED);
    // It comes from the other field.
    let crossed = Owner { borrowed: Some(1), ..Owner::of(1) };
    let owners = [(0, Owner::of(0)), (15, Owner::of(1)), (34, crossed)];
    assert_eq!(check_faults(&[0, 15], &owners, program), UNPROVED);
}

#[test]
fn the_bounds_of_the_stack_are_looked_at_again() {
    let program = |a: &mut CodeAssembler, cold: CodeLabel| {
        frame(a, cold);
        a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), -1).unwrap();
    };
    let from = |owner| check_faults(&[0, 26], &[(0, Owner::of(0)), (26, owner)], program);
    // Two comparisons and two branches before.
    assert_eq!(from(Owner::of(1)), Ok(()));
    assert_eq!(from(Owner::of(0)), Ok(()));
    let given = Owner { borrowed: Some(4), ..Owner::of(1) };
    assert_eq!(from(given), Err("states changed without a store"));
}

#[test]
fn nothing_leads_into_the_three_instructions_of_a_jump_by_table() {
    let program = |a: &mut CodeAssembler, cold: CodeLabel| {
        load(a, cold);
        super::jump_by_table(a);
    };
    let own = Owner::of(0);
    assert_eq!(check_faults(&[0], &[(0, own)], program), Ok(()));
    assert_eq!(check_faults(&[23], &[(0, own)], program), Ok(()));
    let reason = Err("a jump through something else than the table");
    // Behind a constant of 10 bytes, and 16 bits by 4.
    assert_eq!(check_faults(&[33], &[(0, own)], program), reason);
    assert_eq!(check_faults(&[37], &[(0, own)], program), reason);
}
