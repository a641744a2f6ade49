//! What stays valid between a decision and what follows from it: answers that are kept, permits that have not left.

use super::*;

#[test]
fn an_undo_on_the_account_makes_kept_answers_stale() {
    let mut rig = Rig::new(Preset::Organize);
    let six = trash(&["1", "2", "3", "4", "5", "6"]);
    let id = rig.allowed(&six, Scope::Once);
    let _ = rig.guard.take_allowed(&id, NOW).unwrap();
    rig.guard.finish(&id, NOW);
    assert_eq!(rig.held(&six), id, "a retry is given the answer that is kept");
    rig.guard.forget_answers("work");
    assert_eq!(rig.held(&six), id);
    rig.guard.forget_answers("mine");
    assert_ne!(rig.held(&six), id);
}

#[test]
fn an_answer_that_was_given_is_not_given_again_once_something_else_has_changed() {
    let mut rig = Rig::new(Preset::Organize);
    let six = trash(&["1", "2", "3", "4", "5", "6"]);
    let id = rig.allowed(&six, Scope::Once);
    rig.guard.set_waiting(&id, Waits::Comes);
    let (permit, ..) = rig.guard.take_allowed(&id, NOW).unwrap();
    let _ = rig.guard.begin(permit, &[], NOW);
    rig.guard.finish(&id, NOW);
    let change = |rig: &mut Rig, account: &str| {
        let Ruling::Permit(mut permit) = rig.ask_at("work", &trash(&["7"]), NOW) else { panic!("not permitted") };
        account.clone_into(&mut permit.account);
        let _ = rig.guard.begin(permit, &[], NOW);
    };
    change(&mut rig, "mine");
    assert_eq!(rig.held(&six), id, "nobody has heard it yet");
    rig.guard.set_waiting(&id, Waits::Leaves);
    assert_ne!(rig.held(&six), id);

    let mut rig = Rig::new(Preset::Organize);
    let id = rig.allowed(&six, Scope::Once);
    rig.guard.set_waiting(&id, Waits::Comes);
    let (permit, ..) = rig.guard.take_allowed(&id, NOW).unwrap();
    let _ = rig.guard.begin(permit, &[], NOW);
    rig.guard.finish(&id, NOW);
    rig.guard.set_waiting(&id, Waits::Leaves);
    change(&mut rig, "work");
    assert_eq!(rig.held(&six), id, "nothing has changed here");
}

#[test]
fn nothing_leaves_for_an_agent_that_was_stopped_or_lost_its_grant_in_between() {
    let ends: [fn(&mut Guard); 3] = [
        |guard| drop(guard.revoke_grant("g1", NOW)),
        |guard| drop(guard.forget_account("mine", NOW)),
        |guard| assert!(guard.state.stopped.insert("a".to_owned())),
    ];
    for end in ends {
        let mut rig = Rig::new(Preset::Organize);
        let permit = rig.permitted(&trash(&["1"]));
        let mut plan = rig.guard.begin(permit, &[call("/a")], NOW);
        end(&mut rig.guard);
        assert!(rig.guard.lease(&mut plan, 0).is_err());
    }
}
